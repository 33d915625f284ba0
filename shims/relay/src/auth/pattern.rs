//! Patterns that namespaces and track names are held against.

use std::fmt;
use std::str::FromStr;

use moqt_engine::model::TrackNamespace;

/// Which namespaces are meant: fields with `/` between them.
///
/// In a field `*` stands for any bytes, also none; as the last field `**` stands for any further
/// fields, also none. `%` and two hex digits stand for that byte, whatever it is: `%2A` is a star
/// and `%2F` a slash.
///
/// | pattern | what it matches |
/// |---|---|
/// | `meet/room/audio` | that namespace alone |
/// | `meet/*/audio` | `meet/any/audio` |
/// | `meet/cam-*` | `meet/cam-1`, `meet/cam-` |
/// | `meet/**` | `meet`, `meet/room`, `meet/room/audio` |
/// | `**` | all |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePattern {
    fields: Vec<TextPattern>,
    /// It ends in `**`.
    is_open: bool,
}

/// Which texts are meant: `*` stands for any bytes, also none, and `%` with two hex digits for
/// that byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPattern {
    /// What is between the stars; at least one part.
    parts: Vec<Vec<u8>>,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// A field has no bytes, which no namespace's field may have.
    EmptyField,
    /// `**` is not the last field.
    OpenInside,
    /// `%` without two hex digits after it.
    Escape,
}

impl NamespacePattern {
    /// A pattern for the namespaces that begin with these fields, which have no wildcards.
    pub fn prefix(text: &str) -> Result<Self, PatternError> {
        let fields = text.split('/').filter(|field| !field.is_empty());
        let fields = fields.map(TextPattern::literal).collect::<Result<_, _>>()?;
        Ok(Self { fields, is_open: true })
    }

    /// This pattern beneath another's fields; that the other ends in `**` does not matter.
    #[must_use]
    pub fn beneath(self, root: &Self) -> Self {
        let fields = root.fields.iter().cloned().chain(self.fields).collect();
        Self { fields, is_open: self.is_open }
    }

    /// Whether a namespace is one of those meant.
    pub fn matches(&self, namespace: &TrackNamespace) -> bool {
        let (long, needed) = (namespace.len(), self.fields.len());
        let fits = long == needed || (self.is_open && long > needed);
        let mut fields = self.fields.iter().zip(namespace.fields());
        fits && fields.all(|(pattern, field)| pattern.matches(field))
    }

    /// Whether all namespaces that begin with this one are meant.
    pub fn matches_all_beneath(&self, prefix: &TrackNamespace) -> bool {
        self.is_open && self.matches(prefix)
    }
}

impl FromStr for NamespacePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (text, is_open) = match text.strip_suffix("**") {
            Some("") => return Ok(Self { fields: Vec::new(), is_open: true }),
            Some(before) => (before.strip_suffix('/').ok_or(PatternError::OpenInside)?, true),
            None => (text, false),
        };
        let field = |field: &str| {
            if field.is_empty() {
                return Err(PatternError::EmptyField);
            }
            if field.contains("**") {
                return Err(PatternError::OpenInside);
            }
            field.parse()
        };
        Ok(Self { fields: text.split('/').map(field).collect::<Result<_, _>>()?, is_open })
    }
}

impl TextPattern {
    fn literal(text: &str) -> Result<Self, PatternError> {
        Ok(Self { parts: vec![unescape(text)?] })
    }

    /// Whether a text is one of those meant.
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, inner)) = rest.split_last() else { return text == first.as_slice() };
        let Some(mut text) = text.strip_prefix(first.as_slice()) else { return false };
        let Some(before) = text.strip_suffix(last.as_slice()) else { return false };
        text = before;
        // The first place is as good as any: what is left for the parts after it is longest.
        for part in inner.iter().filter(|part| !part.is_empty()) {
            let Some(at) = text.windows(part.len()).position(|window| window == part.as_slice())
            else {
                return false;
            };
            text = text.get(at.saturating_add(part.len())..).unwrap_or_default();
        }
        true
    }
}

impl FromStr for TextPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Ok(Self { parts: text.split('*').map(unescape).collect::<Result<_, _>>()? })
    }
}

/// The bytes that a text with `%` escapes stands for.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, PatternError> {
    let mut parts = text.as_bytes().split(|byte| *byte == b'%');
    let mut bytes = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(PatternError::Escape)?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let byte = match digits {
            [high, low] => digit(high).zip(digit(low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        bytes.push(byte.and_then(|byte| u8::try_from(byte).ok()).ok_or(PatternError::Escape)?);
        bytes.extend_from_slice(rest);
    }
    Ok(bytes)
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyField => "a field is empty: remove a slash too many",
            Self::OpenInside => {
                "`**` is not the last field: write `*` for one field, \
                                 and `**` only at the end"
            }
            Self::Escape => "`%` without two hex digits after it: write `%25` for a percent sign",
        })
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(fields: &[&str]) -> TrackNamespace {
        TrackNamespace::new(fields).unwrap()
    }

    fn pattern(text: &str) -> NamespacePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_one_field() {
        let pattern = pattern("meet/*/audio");
        assert!(pattern.matches(&namespace(&["meet", "a", "audio"])));
        assert!(pattern.matches(&namespace(&["meet", "a/b", "audio"])), "a slash in a field");
        for other in [
            &["meet", "a", "video"][..],
            &["meet", "audio"],
            &["meet", "a", "b", "audio"],
            &["meet", "a", "audio", "x"],
            &["Meet", "a", "audio"],
        ] {
            assert!(!pattern.matches(&namespace(other)), "{other:?}");
        }
    }

    #[test]
    fn two_stars_are_all_that_follow() {
        let all = pattern("meet/**");
        for inside in [&["meet"][..], &["meet", "a"], &["meet", "a", "b"]] {
            assert!(all.matches(&namespace(inside)), "{inside:?}");
        }
        for outside in [&["meetx"][..], &["mee"], &["x", "meet"]] {
            assert!(!all.matches(&namespace(outside)), "{outside:?}");
        }
        assert!(!all.matches(&TrackNamespace::root()));
        assert!(pattern("**").matches(&TrackNamespace::root()));
        assert!(pattern("**").matches(&namespace(&["x"])));
    }

    #[test]
    fn only_an_open_pattern_covers_what_is_beneath() {
        let room = namespace(&["meet", "room"]);
        assert!(pattern("meet/room").matches(&room));
        assert!(!pattern("meet/room").matches_all_beneath(&room));
        assert!(pattern("meet/room/**").matches_all_beneath(&room));
        assert!(pattern("meet/**").matches_all_beneath(&room));
        assert!(!pattern("meet/room/a/**").matches_all_beneath(&room));
        assert!(!pattern("*/*").matches_all_beneath(&room));
    }

    #[test]
    fn stars_within_a_text() {
        let matches = |pattern: &str, text: &str| {
            pattern.parse::<TextPattern>().unwrap().matches(text.as_bytes())
        };
        assert!(matches("cam-*", "cam-"));
        assert!(matches("cam-*", "cam-12"));
        assert!(!matches("cam-*", "xcam-1"));
        assert!(matches("*.m4s", "a.m4s"));
        assert!(!matches("*.m4s", "a.m4sx"));
        assert!(matches("a*b*c", "abbc") && matches("a*b*c", "axbyc"));
        assert!(!matches("a*b*c", "ac") && !matches("a*b*c", "acb"));
        assert!(!matches("ab*ba", "aba"), "the ends do not overlap");
        assert!(matches("*", "") && matches("", "") && !matches("", "a"));
    }

    #[test]
    fn escapes_are_bytes_and_never_wildcards() {
        let star = pattern("a%2A/b%2Fc");
        assert!(star.matches(&namespace(&["a*", "b/c"])));
        assert!(!star.matches(&namespace(&["ab", "b/c"])));
        let any = TrackNamespace::new([&[0xff_u8, 0x00][..]]).unwrap();
        assert!(pattern("%ff%00").matches(&any));
    }

    #[test]
    fn a_prefix_has_no_wildcards() {
        let prefix = NamespacePattern::prefix("/demo/*/").unwrap();
        assert!(prefix.matches(&namespace(&["demo", "*", "x"])));
        assert!(!prefix.matches(&namespace(&["demo", "y"])));
        assert!(NamespacePattern::prefix("").unwrap().matches(&TrackNamespace::root()));
        let beneath = pattern("a/*").beneath(&prefix);
        assert!(beneath.matches(&namespace(&["demo", "*", "a", "z"])));
        assert!(!beneath.matches(&namespace(&["a", "z"])));
    }

    #[test]
    fn what_is_no_pattern() {
        for (text, error) in [
            ("", PatternError::EmptyField),
            ("/a", PatternError::EmptyField),
            ("a/", PatternError::EmptyField),
            ("a//b", PatternError::EmptyField),
            ("a/**/b", PatternError::OpenInside),
            ("a**", PatternError::OpenInside),
            ("/**", PatternError::EmptyField),
            ("a%2", PatternError::Escape),
            ("a%", PatternError::Escape),
            ("a%zz", PatternError::Escape),
            ("%+1", PatternError::Escape),
        ] {
            assert_eq!(text.parse::<NamespacePattern>(), Err(error), "{text:?}");
        }
    }
}
