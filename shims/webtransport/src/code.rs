//! Error codes of HTTP/3 (RFC 9114, section 8.1), QPACK (RFC 9204), HTTP datagrams (RFC 9297) and
//! WebTransport.

/// There is no error.
pub const H3_NO_ERROR: u64 = 0x100;
/// The peer violated the protocol in a way that no other code names.
pub const H3_GENERAL_PROTOCOL_ERROR: u64 = 0x101;
/// The peer opened a stream that it may not.
pub const H3_STREAM_CREATION_ERROR: u64 = 0x103;
/// A stream that the connection needs was closed or reset.
pub const H3_CLOSED_CRITICAL_STREAM: u64 = 0x104;
/// A frame where it may not be.
pub const H3_FRAME_UNEXPECTED: u64 = 0x105;
/// A frame that is malformed or has the wrong size.
pub const H3_FRAME_ERROR: u64 = 0x106;
/// The peer makes more work than it should.
pub const H3_EXCESSIVE_LOAD: u64 = 0x107;
/// An ID that may not be, or not any more.
pub const H3_ID_ERROR: u64 = 0x108;
/// SETTINGS that contradict themselves.
pub const H3_SETTINGS_ERROR: u64 = 0x109;
/// A control stream that does not begin with SETTINGS.
pub const H3_MISSING_SETTINGS: u64 = 0x10a;
/// A request that was not processed at all.
pub const H3_REQUEST_REJECTED: u64 = 0x10b;
/// A request or response that is not wanted any more.
pub const H3_REQUEST_CANCELLED: u64 = 0x10c;
/// A request that ended too early.
pub const H3_REQUEST_INCOMPLETE: u64 = 0x10d;
/// A request, response or capsule that is malformed.
pub const H3_MESSAGE_ERROR: u64 = 0x10e;
/// A datagram that is malformed.
pub const H3_DATAGRAM_ERROR: u64 = 0x33;
/// A field section that cannot be decoded.
pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
/// A QPACK encoder stream that cannot be understood, or uses a dynamic table.
pub const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
/// A QPACK decoder stream that cannot be understood.
pub const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;
/// A stream without a session, rejected.
pub const WT_BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;
/// A stream whose session is over.
pub const WT_SESSION_GONE: u64 = 0x170d_7b68;
/// Application protocols could not be agreed upon.
pub const WT_ALPN_ERROR: u64 = 0x0817_b3dd;
/// The peer lacks what WebTransport needs.
pub const WT_REQUIREMENTS_NOT_MET: u64 = 0x212c_0d48;

/// The name of a code, if it has one here.
pub fn name(code: u64) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// HTTP/3's code for an application's code on a stream.
pub fn error_to_http3(code: u32) -> u64 {
    let code = u64::from(code);
    FIRST_APPLICATION_ERROR.saturating_add(code).saturating_add(code / 0x1e)
}

/// The application's code for HTTP/3's code on a stream: `None` for one outside the range of
/// WT_APPLICATION_ERROR, and for those in it that HTTP/3 reserves.
///
/// A stream with such a code is reset or stopped all the same, without an application's code.
pub fn error_from_http3(code: u64) -> Option<u32> {
    let shifted = code.checked_sub(FIRST_APPLICATION_ERROR)?;
    if code > LAST_APPLICATION_ERROR || is_reserved(code) {
        return None;
    }
    u32::try_from(shifted.checked_sub(shifted / 0x1f)?).ok()
}

/// Whether HTTP/3 reserves a number so that it means nothing: codes, and types of settings, frames
/// and streams likewise.
pub(crate) fn is_reserved(number: u64) -> bool {
    number.checked_sub(0x21).is_some_and(|number| number.is_multiple_of(0x1f))
}

const FIRST_APPLICATION_ERROR: u64 = 0x52e4_a40f_a8db;
const LAST_APPLICATION_ERROR: u64 = 0x52e5_ac98_3162;

const NAMES: &[(u64, &str)] = &[
    (H3_NO_ERROR, "H3_NO_ERROR"),
    (H3_GENERAL_PROTOCOL_ERROR, "H3_GENERAL_PROTOCOL_ERROR"),
    (0x102, "H3_INTERNAL_ERROR"),
    (H3_STREAM_CREATION_ERROR, "H3_STREAM_CREATION_ERROR"),
    (H3_CLOSED_CRITICAL_STREAM, "H3_CLOSED_CRITICAL_STREAM"),
    (H3_FRAME_UNEXPECTED, "H3_FRAME_UNEXPECTED"),
    (H3_FRAME_ERROR, "H3_FRAME_ERROR"),
    (H3_EXCESSIVE_LOAD, "H3_EXCESSIVE_LOAD"),
    (H3_ID_ERROR, "H3_ID_ERROR"),
    (H3_SETTINGS_ERROR, "H3_SETTINGS_ERROR"),
    (H3_MISSING_SETTINGS, "H3_MISSING_SETTINGS"),
    (H3_REQUEST_REJECTED, "H3_REQUEST_REJECTED"),
    (H3_REQUEST_CANCELLED, "H3_REQUEST_CANCELLED"),
    (H3_REQUEST_INCOMPLETE, "H3_REQUEST_INCOMPLETE"),
    (H3_MESSAGE_ERROR, "H3_MESSAGE_ERROR"),
    (0x10f, "H3_CONNECT_ERROR"),
    (0x110, "H3_VERSION_FALLBACK"),
    (H3_DATAGRAM_ERROR, "H3_DATAGRAM_ERROR"),
    (QPACK_DECOMPRESSION_FAILED, "QPACK_DECOMPRESSION_FAILED"),
    (QPACK_ENCODER_STREAM_ERROR, "QPACK_ENCODER_STREAM_ERROR"),
    (QPACK_DECODER_STREAM_ERROR, "QPACK_DECODER_STREAM_ERROR"),
    (WT_BUFFERED_STREAM_REJECTED, "WT_BUFFERED_STREAM_REJECTED"),
    (WT_SESSION_GONE, "WT_SESSION_GONE"),
    (0x045d_4487, "WT_FLOW_CONTROL_ERROR"),
    (WT_ALPN_ERROR, "WT_ALPN_ERROR"),
    (WT_REQUIREMENTS_NOT_MET, "WT_REQUIREMENTS_NOT_MET"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_codes_are_where_the_text_puts_them() {
        assert_eq!(error_to_http3(0), 0x52e4_a40f_a8db);
        assert_eq!(error_to_http3(u32::MAX), 0x52e5_ac98_3162);
        // draft-ietf-webtrans-http3-02: 0xff corresponds to 0x52e4a40fa9e2.
        assert_eq!(error_to_http3(0xff), 0x52e4_a40f_a9e2);
    }

    #[test]
    fn application_codes_come_back_and_skip_those_reserved() {
        let codes = (0..2000).chain(u32::MAX - 2000..=u32::MAX);
        for code in codes {
            let there = error_to_http3(code);
            assert!(!is_reserved(there), "{there:#x}");
            assert_eq!(error_from_http3(there), Some(code));
        }
        let reserved: Vec<u64> =
            (0x52e4_a40f_a8db..0x52e4_a40f_a9e2).filter(|code| is_reserved(*code)).collect();
        assert_eq!(reserved.len(), 8);
        for code in reserved {
            assert_eq!(error_from_http3(code), None, "{code:#x}");
        }
    }

    #[test]
    fn other_codes_are_no_application_codes() {
        for code in [0, H3_NO_ERROR, WT_SESSION_GONE, 0x52e4_a40f_a8da, 0x52e5_ac98_3163, u64::MAX]
        {
            assert_eq!(error_from_http3(code), None, "{code:#x}");
        }
    }

    #[test]
    fn each_code_has_one_name() {
        assert_eq!(name(0x33), Some("H3_DATAGRAM_ERROR"));
        assert_eq!(name(0x52e4_a40f_a8db), None);
        let mut codes: Vec<u64> = NAMES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), NAMES.len());
    }
}
