//! Control messages of all drafts, alike.

use std::fmt::Debug;

use moqt_engine::model::{Draft, Message, MessageKind};
use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::KeyValuePair;

use super::{d14, d16, d18, normal};

/// The other codec's control messages of one draft.
pub trait TheirMessage: Clone + Debug + PartialEq + Sized {
    /// The draft.
    const DRAFT: Draft;

    /// Our message in its types.
    fn translated(kind: MessageKind, message: &Message) -> Self;

    /// Takes a message off the front of `input`.
    fn read(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// The message's bytes.
    fn written(&self) -> Result<Vec<u8>, CodecError>;

    /// What was read, in the form that [`translated`](Self::translated) gives: without what the
    /// draft has a receiver ignore, and with inner values in their shortest form.
    #[must_use]
    fn normal(self) -> Self;

    /// The track properties in it.
    fn track_properties(&self) -> &[KeyValuePair];
}

macro_rules! their_message {
    ($draft:expr, $module:ident, $track_properties:expr) => {
        impl TheirMessage for $module::ControlMessage {
            const DRAFT: Draft = $draft;

            fn translated(kind: MessageKind, message: &Message) -> Self {
                $module::message(kind, message)
            }

            fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
                Self::decode(input)
            }

            fn written(&self) -> Result<Vec<u8>, CodecError> {
                let mut bytes = Vec::new();
                self.encode(&mut bytes)?;
                Ok(bytes)
            }

            fn normal(self) -> Self {
                normal::$module(self)
            }

            fn track_properties(&self) -> &[KeyValuePair] {
                $track_properties(self)
            }
        }
    };
}

their_message!(Draft::D14, d14, |_| &[]);
their_message!(Draft::D16, d16, normal::d16_track_properties);
their_message!(Draft::D18, d18, normal::d18_track_properties);
