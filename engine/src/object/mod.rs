//! What the objects of a track may say, whoever reads them: the rules that span streams,
//! datagrams and properties.

mod malformed;
mod memory;
mod properties;

pub use malformed::MalformedRule;
pub(crate) use malformed::{Broken, ObjectFacts, Print, TrackRules};
pub(crate) use properties::{Gaps, PropertyFault};
