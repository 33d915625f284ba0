//! What may be in a field section (RFC 9114, sections 4.2 and 4.3).

use bytes::Bytes;

use crate::qpack::Field;

/// A message that is malformed, and why: H3_MESSAGE_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A field section, taken apart.
#[derive(Debug)]
pub(crate) struct Sorted<'a, const N: usize> {
    /// The pseudo-header fields.
    pub(crate) pseudo: [Option<&'a str>; N],
    /// All others, in order.
    pub(crate) headers: Vec<(String, Bytes)>,
}

/// Takes a field section apart: the pseudo-header fields that may be in it, and all others.
pub(crate) fn sort<'a, const N: usize>(
    fields: &'a [Field],
    names: [&str; N],
) -> Result<Sorted<'a, N>, Malformed> {
    let mut sorted = Sorted { pseudo: [None; N], headers: Vec::new() };
    for field in fields {
        if field.name.first() == Some(&b':') {
            if !sorted.headers.is_empty() {
                return Err(Malformed("a pseudo-header field after others"));
            }
            let value = graphic(&field.value)?;
            let place = names.iter().zip(&mut sorted.pseudo);
            let place =
                place.filter(|(name, _)| name.as_bytes() == field.name).map(|(_, p)| p).next();
            match place {
                None => return Err(Malformed("an unknown pseudo-header field")),
                Some(Some(_)) => return Err(Malformed("a pseudo-header field twice")),
                Some(place) => *place = Some(value),
            }
        } else {
            sorted.headers.push((check(field)?.to_owned(), field.value.clone()));
        }
    }
    Ok(sorted)
}

/// The name of a field that is none of HTTP/3's own, if the field may be sent.
pub(crate) fn check(field: &Field) -> Result<&str, Malformed> {
    let name = std::str::from_utf8(&field.name);
    let Some(name) = name.ok().filter(|name| !name.is_empty() && name.bytes().all(is_lower_token))
    else {
        return Err(Malformed("a field name that is not a token in lower case"));
    };
    if CONNECTION_SPECIFIC.contains(&name) || (name == "te" && field.value != "trailers") {
        return Err(Malformed("a field of HTTP/1.1's connections"));
    }
    // RFC 9110, section 5.5.
    if field.value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Malformed("a field value with a control character"));
    }
    Ok(name)
}

/// RFC 9114, section 4.2.
const CONNECTION_SPECIFIC: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// RFC 9110, section 5.6.2, without capitals.
fn is_lower_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Methods, schemes, authorities, paths and statuses have printable ASCII characters and no space.
fn graphic(value: &Bytes) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(value).ok();
    text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(Malformed("a pseudo-header field with a character that may not be in it"))
}
