//! Application protocols: `WT-Available-Protocols` and `WT-Protocol`, structured fields (RFC 9651).
//!
//! Their members are strings. Some peers write tokens instead, which are unambiguous, so those are
//! read as well, although the text would have the whole field ignored.

use sfv::{BareItem, Item, List, ListEntry, ListSerializer, Parser, StringRef};

pub(crate) const AVAILABLE: &str = "wt-available-protocols";
pub(crate) const CHOSEN: &str = "wt-protocol";

/// The value of `WT-Available-Protocols`, or of `WT-Protocol` if it is one; `None` if there is
/// none, or one cannot be written.
pub(crate) fn encode<'a>(protocols: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut list = ListSerializer::new();
    for protocol in protocols {
        let _ = list.bare_item(StringRef::from_str(protocol).ok()?);
    }
    list.finish()
}

/// What the lines of a `WT-Available-Protocols` say; nothing if they are to be ignored.
pub(crate) fn decode_list(lines: &[&[u8]]) -> Vec<String> {
    let members = || {
        let list: List = Parser::new(&joined(lines)).parse().ok()?;
        let names = list.into_iter().map(|member| match member {
            ListEntry::Item(item) => name(item),
            ListEntry::InnerList(_) => None,
        });
        names.collect::<Option<Vec<String>>>()
    };
    members().unwrap_or_default()
}

/// What the lines of a `WT-Protocol` say; `None` if they are to be ignored.
pub(crate) fn decode_item(lines: &[&[u8]]) -> Option<String> {
    Parser::new(&joined(lines)).parse().ok().and_then(name)
}

/// RFC 9651, section 4.2.
fn joined(lines: &[&[u8]]) -> Vec<u8> {
    lines.join(&b", "[..])
}

/// Parameters mean nothing.
fn name(item: Item) -> Option<String> {
    match item.bare_item {
        BareItem::String(string) => Some(string.into()),
        BareItem::Token(token) => Some(token.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        assert_eq!(encode(["moqt-18"]).as_deref(), Some("\"moqt-18\""));
        assert_eq!(encode(["a\"b", "c\\d"]).as_deref(), Some(r#""a\"b", "c\\d""#));
        assert_eq!(encode([]), None);
        assert_eq!(encode(["a", "ü"]), None);
    }

    #[test]
    fn lists_are_read_over_several_lines() {
        let lines: [&[u8]; 2] = [b"\"a\", \"b\";q=1", b" c "];
        assert_eq!(decode_list(&lines), ["a", "b", "c"]);
        assert_eq!(decode_list(&[]), [""; 0]);
    }

    #[test]
    fn fields_with_anything_else_are_ignored() {
        for field in
            [&b"\"a\", 1"[..], b"\"a\", (\"b\")", b"\"a\",", b"\"a", b"?1", b"\xff", b"a b"]
        {
            assert_eq!(decode_list(&[field]), [""; 0], "{field:x?}");
            assert_eq!(decode_item(&[field]), None, "{field:x?}");
        }
    }

    #[test]
    fn items_are_strings_or_tokens() {
        assert_eq!(decode_item(&[b"\"moqt-18\""]).as_deref(), Some("moqt-18"));
        assert_eq!(decode_item(&[b"moqt-18;x"]).as_deref(), Some("moqt-18"));
        assert_eq!(decode_item(&[b"\"a\"", b"\"b\""]), None);
        assert_eq!(decode_item(&[]), None);
    }
}
