//! Streams that the connection needs: the control streams, and QPACK's.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Connection, connect::Stage, is_request};
use crate::frame::{self, Part, Reader};
use crate::settings::{self, Settings};
use crate::{Error, Event, code, varint};

/// The longest integer, in bytes.
const MAX_VARINT: u64 = 8;

/// The peer's control stream.
#[derive(Debug)]
pub(super) struct PeerControl {
    stream: u64,
    reader: Reader,
    /// The type of a frame that means something, while it comes.
    kind: Option<u64>,
    payload: BytesMut,
    goaway: Option<u64>,
    max_push_id: Option<u64>,
}

/// What is wrong: code and reason.
type Fault = (u64, &'static str);

impl Connection {
    pub(super) fn is_critical(&self, stream: u64) -> bool {
        let control = self.peer_control.as_ref().map(|control| control.stream);
        let encoder = self.peer_encoder.as_ref().map(|(stream, _)| *stream);
        let decoder = self.peer_decoder.as_ref().map(|(stream, _)| *stream);
        [control, encoder, decoder].contains(&Some(stream))
    }

    pub(super) fn begin_control(&mut self, stream: u64) {
        self.peer_control = Some(PeerControl {
            stream,
            reader: Reader::default(),
            kind: None,
            payload: BytesMut::new(),
            goaway: None,
            max_push_id: None,
        });
    }

    /// What came on a stream that the connection needs.
    pub(super) fn critical_data(&mut self, stream: u64, data: Bytes, fin: bool) {
        let done = match (&mut self.peer_encoder, &mut self.peer_decoder) {
            (Some((encoder, instructions)), _) if *encoder == stream => instructions.take(data),
            (_, Some((decoder, instructions))) if *decoder == stream => instructions.take(data),
            _ => self.control_data(data),
        };
        match done {
            Err((code, reason)) => self.fail(code, reason),
            Ok(()) if fin => self.critical_stream_is_closed(),
            Ok(()) => {}
        }
    }

    pub(super) fn critical_stream_is_closed(&mut self) {
        self.fail(
            code::H3_CLOSED_CRITICAL_STREAM,
            "a stream that the connection needs, control or QPACK, was closed",
        );
    }

    fn control_data(&mut self, mut data: Bytes) -> Result<(), Fault> {
        let (is_client, max_settings) = (self.is_client(), self.limits.settings);
        while let Some(control) = &mut self.peer_control
            && let Some(part) = control.reader.next(&mut data)
        {
            match part {
                Part::Kind(kind) => {
                    control.kind = begin_frame(kind, self.settings.is_none(), is_client)?;
                }
                Part::Length(length) => check_length(control.kind, length, max_settings)?,
                Part::Payload(payload) => {
                    if control.kind.is_some() {
                        control.payload.put_slice(&payload);
                    }
                }
                Part::End => {
                    let payload = std::mem::take(&mut control.payload).freeze();
                    if let Some(kind) = control.kind.take() {
                        self.control_frame(kind, payload)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn control_frame(&mut self, kind: u64, mut payload: Bytes) -> Result<(), Fault> {
        if kind == frame::SETTINGS {
            self.settings = Some(Settings::decode(payload, self.is_client())?);
            self.settings_are_known();
            return Ok(());
        }
        let id = varint::take(&mut payload).filter(|_| payload.is_empty());
        let id = id.ok_or((code::H3_FRAME_ERROR, "a frame that is not one ID"))?;
        let is_client = self.is_client();
        let Some(control) = &mut self.peer_control else { return Ok(()) };
        match kind {
            frame::GOAWAY => {
                if is_client && !is_request(id) {
                    return Err((code::H3_ID_ERROR, "GOAWAY with an ID that is no request's"));
                }
                if control.goaway.replace(id).is_some_and(|before| before < id) {
                    return Err((code::H3_ID_ERROR, "GOAWAY with a larger ID than before"));
                }
                self.peer_goes(id);
                Ok(())
            }
            frame::MAX_PUSH_ID => {
                if control.max_push_id.replace(id).is_some_and(|before| before > id) {
                    return Err((code::H3_ID_ERROR, "MAX_PUSH_ID with a smaller ID than before"));
                }
                Ok(())
            }
            _ => Err((code::H3_ID_ERROR, "CANCEL_PUSH of a push that there is not")),
        }
    }

    /// The peer goes away: a server processes requests below `id` only.
    fn peer_goes(&mut self, id: u64) {
        self.peer_is_going = true;
        let is_processed = self.session_id().is_some_and(|session| session < id);
        match self.stage {
            Stage::Over => {}
            Stage::Established => self.events.push_back(Event::Draining),
            Stage::Requested if self.is_client() && is_processed => {}
            _ if self.is_client() => {
                self.end_session(Some(Event::Failed(Error::GoingAway)));
                self.close_connection(code::H3_NO_ERROR, "no session can be had");
            }
            // A client says that it wants no pushes.
            _ => {}
        }
    }

    pub(super) fn open_control(&mut self, stream: u64) {
        self.control = Some(stream);
        let mut data = BytesMut::new();
        varint::put(&mut data, 0);
        let settings = settings::encode(
            &self.versions,
            self.limits.field_section,
            self.is_client(),
            self.grease_seed,
        );
        frame::put(&mut data, frame::SETTINGS, &settings);
        frame::put(&mut data, settings::grease(self.grease_seed, 2), b"moqt");
        data.put_slice(&std::mem::take(&mut self.for_control));
        self.send(stream, data.freeze(), false);
    }

    pub(super) fn send_goaway(&mut self) {
        // Of a client's it is a push ID.
        let id = if self.is_client() { 0 } else { self.next_request };
        if self.goaway.is_some_and(|before| before <= id) {
            return;
        }
        self.goaway = Some(id);
        let mut payload = BytesMut::new();
        varint::put(&mut payload, id);
        frame::put(&mut self.for_control, frame::GOAWAY, &payload);
        if let Some(control) = self.control {
            let data = std::mem::take(&mut self.for_control).freeze();
            self.send(control, data, false);
        }
    }
}

/// A frame begins: its type, if it means something.
fn begin_frame(kind: u64, is_first: bool, is_client: bool) -> Result<Option<u64>, Fault> {
    match kind {
        frame::WT_STREAM => {
            Err((code::H3_FRAME_ERROR, "WT_STREAM elsewhere than at the beginning of a stream"))
        }
        frame::SETTINGS if is_first => Ok(Some(kind)),
        _ if is_first => {
            Err((code::H3_MISSING_SETTINGS, "a control stream that does not begin with SETTINGS"))
        }
        frame::SETTINGS => Err((code::H3_FRAME_UNEXPECTED, "SETTINGS a second time")),
        frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
            Err((code::H3_FRAME_UNEXPECTED, "a frame that may not be on a control stream"))
        }
        frame::MAX_PUSH_ID if is_client => {
            Err((code::H3_FRAME_UNEXPECTED, "MAX_PUSH_ID of a server's"))
        }
        frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH => Ok(Some(kind)),
        kind if frame::OF_HTTP2.contains(&kind) => {
            Err((code::H3_FRAME_UNEXPECTED, "a frame of HTTP/2's"))
        }
        _ => Ok(None),
    }
}

fn check_length(kind: Option<u64>, length: u64, max_settings: usize) -> Result<(), Fault> {
    let max_settings = u64::try_from(max_settings).unwrap_or(u64::MAX);
    match kind {
        Some(frame::SETTINGS) if length > max_settings => {
            Err((code::H3_EXCESSIVE_LOAD, "SETTINGS that are too long"))
        }
        Some(frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH) if length > MAX_VARINT => {
            Err((code::H3_FRAME_ERROR, "a frame that is not one ID"))
        }
        _ => Ok(()),
    }
}
