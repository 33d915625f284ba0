use core::{fmt, str::FromStr};

/// A version of the MoQT specification that this crate speaks.
///
/// Applications seldom need it: one is chosen per connection by negotiation, and everything
/// else is the same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Draft {
    /// draft-ietf-moq-transport-14.
    D14,
    /// draft-ietf-moq-transport-16.
    D16,
    /// draft-ietf-moq-transport-18.
    D18,
}

impl Draft {
    /// Every draft, newest first: the order in which to offer them.
    pub const ALL: [Self; 3] = [Self::D18, Self::D16, Self::D14];

    /// The draft's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::D14 => 14,
            Self::D16 => 16,
            Self::D18 => 18,
        }
    }
}

impl Draft {
    /// The numbers of all drafts, as a choice for people: `14, 16 or 18`.
    pub fn choice() -> impl fmt::Display {
        struct Choice;
        impl fmt::Display for Choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (after, draft) in Draft::ALL.iter().enumerate().rev() {
                    let separator = match after {
                        0 => "",
                        1 => " or ",
                        _ => ", ",
                    };
                    write!(f, "{}{separator}", draft.number())?;
                }
                Ok(())
            }
        }
        Choice
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "draft-{}", self.number())
    }
}

/// The text given is not the number of a draft that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownDraft;

impl fmt::Display for UnknownDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a supported draft: use {}", Draft::choice())
    }
}

impl core::error::Error for UnknownDraft {}

impl FromStr for Draft {
    type Err = UnknownDraft;

    fn from_str(text: &str) -> Result<Self, UnknownDraft> {
        Self::ALL.into_iter().find(|draft| text.parse() == Ok(draft.number())).ok_or(UnknownDraft)
    }
}
