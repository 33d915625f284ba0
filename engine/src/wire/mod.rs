//! Bytes to values and back: every message, header and object of every draft.
//!
//! This module works without a connection, for people who build tools, tests or their own
//! protocol logic. What a draft looks like on the wire is a [`Dialect`]; the constants live in
//! [`draft`](crate::draft).
//!
//! ```
//! use moqt_engine::draft::D18;
//! use moqt_engine::model::{Message, Parameters, Subscribe};
//! use moqt_engine::wire::{ControlReader, encode_message};
//!
//! let subscribe = Message::Subscribe(Subscribe {
//!     request_id: 0,
//!     track: "meeting--video".parse()?,
//!     parameters: Parameters::default(),
//! });
//! let mut bytes = Vec::new();
//! encode_message(&D18, &subscribe, &mut bytes)?;
//!
//! let mut reader = ControlReader::new(&D18);
//! reader.push(bytes.into());
//! assert_eq!(reader.next_message()?, Some(subscribe));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotate;
mod control;
mod datagram;
mod dialect;
mod error;
mod fetch;
mod filter;
mod ints;
mod message;
mod name;
mod note;
mod object;
mod pairs;
mod parameters;
mod properties;
mod reader;
mod setup;
mod stash;
mod stream_type;
mod subgroup;
mod token;
mod writer;

pub use annotate::{Annotated, Annotator, Field, FieldValue, Subject};
pub use control::{ControlReader, MAX_CONTROL_HEADER_LEN, RawMessage};
pub use datagram::{Datagram, DatagramHeader, ObjectDatagram};
pub use dialect::{
    Carrier, CarrierSet, CodeTables, Dialect, FetchLayout, JoiningRule, ObjectRules, ParameterForm,
    ParameterSpec, ParameterTarget, SetupLayout, Tolerance,
};
pub use error::{DecodeError, EncodeError, Fault};
pub use fetch::{FetchEvent, FetchObject, FetchReader, FetchWriter};
pub use ints::{Ints, MAX_INT_LEN};
pub use message::{decode_message, encode_message};
pub use object::{ObjectHeader, Payload};
pub use properties::Properties;
pub use stream_type::StreamType;
pub use subgroup::{SubgroupEvent, SubgroupHeader, SubgroupReader, SubgroupWriter};

pub(crate) use note::Note;
pub(crate) use reader::{Malformed, Reader};
pub(crate) use subgroup::{FIRST_OBJECT, Quick};
pub(crate) use writer::Writer;
