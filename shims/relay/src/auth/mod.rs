//! Who may do what on a relay.

mod pattern;

pub use pattern::{NamespacePattern, PatternError, TextPattern};
