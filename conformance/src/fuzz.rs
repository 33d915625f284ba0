//! What the fuzz targets do: each takes bytes, whatever they are, and panics if the engine does
//! with them what it must not.
//!
//! The targets themselves, in `fuzz/`, only call these. `cargo test` runs each of them over its
//! corpus (`fuzz/corpus`), so that none falls behind. To look for more:
//!
//! ```sh
//! cargo +nightly fuzz run track_name_text
//! ```

mod carried;
mod connection_ops;
mod control_message;
mod datagram;
pub mod differential;
mod framer_chunks;
mod framer_interleaving;
mod framing;
mod pair_against_model;
mod parameters_and_properties;
mod reference;
mod track_name_text;
mod values;
mod varints;
mod webtransport;

pub use connection_ops::connection_ops;
pub use control_message::control_message;
pub use datagram::datagram;
pub use differential::differential;
pub use framer_chunks::framer_chunks;
pub use framer_interleaving::framer_interleaving;
pub use pair_against_model::pair_against_model;
pub use parameters_and_properties::parameters_and_properties;
pub use track_name_text::track_name_text;
pub use varints::varints;
pub use webtransport::webtransport;

/// What a target does with its bytes.
pub type Body = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("connection_ops", connection_ops),
    ("control_message", control_message),
    ("datagram", datagram),
    ("differential", differential),
    ("framer_chunks", framer_chunks),
    ("framer_interleaving", framer_interleaving),
    ("pair_against_model", pair_against_model),
    ("parameters_and_properties", parameters_and_properties),
    ("track_name_text", track_name_text),
    ("varints", varints),
    ("webtransport", webtransport),
];
