use std::fmt;

/// A version of WebTransport over HTTP/3: the drafts of which peers are in use.
///
/// Streams, datagrams and capsules are the same in all of them. What differs is how a peer says
/// that it speaks the version, and what the CONNECT request looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// draft-ietf-webtrans-http3-02, which Chromium speaks.
    Draft02,
    /// draft-ietf-webtrans-http3-07, and up to 12.
    Draft07,
    /// draft-ietf-webtrans-http3-13 and 14.
    Draft13,
    /// draft-ietf-webtrans-http3-15 and 16.
    Draft15,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 4] = [Self::Draft02, Self::Draft07, Self::Draft13, Self::Draft15];

    /// The setting by which both sides say that they speak this version.
    pub(crate) fn setting(self) -> u64 {
        match self {
            Self::Draft02 => 0x2b60_3742,
            Self::Draft07 => 0xc671_706a,
            Self::Draft13 => 0x14e9_cd29,
            Self::Draft15 => 0x2c7c_f000,
        }
    }

    /// Whether that setting is 0 or 1, which a client checks: draft-16's text. Older versions have a
    /// number of sessions, or do not say.
    pub(crate) fn is_boolean(self) -> bool {
        self >= Self::Draft15
    }

    /// What a CONNECT request of this version has as `:protocol`.
    pub(crate) fn upgrade_token(self) -> &'static str {
        match self {
            Self::Draft02 | Self::Draft07 | Self::Draft13 => "webtransport",
            Self::Draft15 => "webtransport-h3",
        }
    }

    /// In draft-02 SETTINGS_ENABLE_WEBTRANSPORT implies extended CONNECT.
    pub(crate) fn implies_extended_connect(self) -> bool {
        self < Self::Draft07
    }

    /// The CONNECT request and the response name the version in a header field of their own.
    pub(crate) fn has_version_fields(self) -> bool {
        self < Self::Draft07
    }

    /// A `WT-Protocol` that was not offered ends the session; before it was ignored.
    pub(crate) fn refuses_other_protocols(self) -> bool {
        self >= Self::Draft15
    }

    /// Flow control capsules of single streams are prohibited, rather than unknown.
    pub(crate) fn prohibits_stream_flow_control(self) -> bool {
        self >= Self::Draft13
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draft02 => "draft-ietf-webtrans-http3-02",
            Self::Draft07 => "draft-ietf-webtrans-http3-07",
            Self::Draft13 => "draft-ietf-webtrans-http3-13",
            Self::Draft15 => "draft-ietf-webtrans-http3-15",
        })
    }
}
