//! One rule of the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A statement of one or more drafts that demands something.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where the statement is, in each draft that makes it. Two ids in one draft if it says the
    /// same twice.
    pub ids: Vec<Id>,
    /// How much is demanded.
    pub level: Level,
    /// Of whom.
    pub who: Who,
    /// What is demanded, in our own words.
    pub text: String,
    /// The tests that show it: `target::module::name` (see [`super::sources`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// Why no test can or need show it, or why we do otherwise. Tests beside it show a part of
    /// the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// What is missing. Tests beside it show a part of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

/// What becomes of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Tests show it.
    Covered,
    /// There is a reason to have no test.
    Exception,
    /// Something is missing.
    Open,
}

impl Rule {
    /// The state the rule is in, or what is wrong with how it says so.
    pub fn state(&self) -> Result<State, &'static str> {
        match (self.tests.is_empty(), &self.exception, &self.open) {
            (false, None, None) => Ok(State::Covered),
            (_, Some(_), None) => Ok(State::Exception),
            (_, None, Some(_)) => Ok(State::Open),
            (true, None, None) => Err("no state: give tests, exception or open"),
            (_, Some(_), Some(_)) => Err("an exception is not open"),
        }
    }

    /// The name to call the rule by: its last id.
    pub fn name(&self) -> String {
        self.ids.last().map(ToString::to_string).unwrap_or_default()
    }
}

/// A place in a draft: `18:#message-goaway.3` is the third key word in the section with the
/// anchor `message-goaway` of draft 18. Key words count from 1 and in the order of the text,
/// those of subsections apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id {
    /// The draft.
    pub draft: u8,
    /// The anchor of the section.
    pub section: String,
    /// Which of the key words in the section, from 1.
    pub ordinal: u32,
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(":#").and_then(|(draft, place)| {
            let (section, ordinal) = place.rsplit_once('.')?;
            Some((draft.parse().ok()?, section.to_owned(), ordinal.parse().ok()?))
        });
        let Some((draft, section, ordinal)) = parts else {
            return Err(format!("{text:?} is no id: they look like 18:#message-goaway.3"));
        };
        Ok(Self { draft, section, ordinal })
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:#{}.{}", self.draft, self.section, self.ordinal)
    }
}

/// A key word of BCP 14. SHALL and REQUIRED count as MUST, RECOMMENDED as SHOULD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Level {
    /// MUST.
    #[serde(rename = "MUST")]
    Must,
    /// MUST NOT.
    #[serde(rename = "MUST NOT")]
    MustNot,
    /// SHOULD.
    #[serde(rename = "SHOULD")]
    Should,
    /// SHOULD NOT.
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
}

impl Level {
    /// Whether there is no choice.
    pub fn is_must(self) -> bool {
        matches!(self, Self::Must | Self::MustNot)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
        })
    }
}

/// Of whom something is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Either end of a session, whatever it does there.
    Endpoint,
    /// Who sends objects or offers tracks.
    Publisher,
    /// Who receives objects or asks for tracks.
    Subscriber,
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
    /// Who forwards and caches what others publish.
    Relay,
    /// Who uses the library: it chooses names, contents and policies.
    Application,
    /// Who writes extensions and later versions, or registers values.
    Document,
}
