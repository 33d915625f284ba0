//! SETTINGS (RFC 9114, section 7.2.4).

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use crate::{Missing, Version, code, varint};

const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
const H3_DATAGRAM: u64 = 0x33;
/// SETTINGS_H3_DATAGRAM of draft-ietf-masque-h3-datagram-04, which peers of WebTransport's draft-02
/// look for.
const H3_DATAGRAM_DRAFT04: u64 = 0xff_d277;

/// Settings of HTTP/2 that HTTP/3 does not have (RFC 9114, section 11.2.2).
const OF_HTTP2: [u64; 5] = [0x0, 0x2, 0x3, 0x4, 0x5];

/// What of the peer's SETTINGS matters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The versions of WebTransport that it speaks.
    versions: Vec<Version>,
    extended_connect: bool,
    datagrams: bool,
    /// The size of a field section that it takes; no limit unless it says so.
    pub(crate) max_field_section_size: u64,
}

/// What is wrong with a peer's SETTINGS: code and reason.
pub(crate) type Fault = (u64, &'static str);

impl Settings {
    /// Reads a frame's payload.
    pub(crate) fn decode(mut payload: Bytes, from_server: bool) -> Result<Self, Fault> {
        let mut settings = Self {
            versions: Vec::new(),
            extended_connect: false,
            datagrams: false,
            max_field_section_size: u64::MAX,
        };
        let mut seen = BTreeSet::new();
        while !payload.is_empty() {
            let (Some(id), Some(value)) = (varint::take(&mut payload), varint::take(&mut payload))
            else {
                return Err((code::H3_FRAME_ERROR, "SETTINGS end within a setting"));
            };
            if OF_HTTP2.contains(&id) {
                return Err((code::H3_SETTINGS_ERROR, "SETTINGS have one of HTTP/2's"));
            }
            if !seen.insert(id) {
                return Err((code::H3_SETTINGS_ERROR, "SETTINGS have one twice"));
            }
            settings.take(id, value, from_server)?;
        }
        Ok(settings)
    }

    fn take(&mut self, id: u64, value: u64, from_server: bool) -> Result<(), Fault> {
        match id {
            MAX_FIELD_SECTION_SIZE => self.max_field_section_size = value,
            ENABLE_CONNECT_PROTOCOL => {
                self.extended_connect =
                    boolean(value, "SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1")?;
            }
            H3_DATAGRAM | H3_DATAGRAM_DRAFT04 => {
                self.datagrams |= boolean(value, "SETTINGS_H3_DATAGRAM is neither 0 nor 1")?;
            }
            _ => {
                let version = Version::ALL.into_iter().find(|version| version.setting() == id);
                if let Some(version) = version {
                    if from_server && version.is_boolean() {
                        boolean(value, "SETTINGS_WT_ENABLED is neither 0 nor 1")?;
                    }
                    if value > 0 {
                        self.versions.push(version);
                    }
                }
            }
        }
        Ok(())
    }

    /// The newest version that both speak and that `fits`, or what the peer lacks for one.
    pub(crate) fn choose(
        &self,
        offered: &[Version],
        from_server: bool,
        fits: impl Fn(Version) -> bool,
    ) -> Result<Version, Vec<Missing>> {
        let common = offered.iter().filter(|version| self.versions.contains(version));
        let newest = common.copied().filter(|version| fits(*version)).max();
        let mut missing = Vec::new();
        match newest {
            None => missing.push(Missing::Version { offered: offered.to_vec() }),
            Some(version) => {
                if from_server && !self.extended_connect && !version.implies_extended_connect() {
                    missing.push(Missing::ExtendedConnect);
                }
            }
        }
        if !self.datagrams {
            missing.push(Missing::Datagrams);
        }
        newest.filter(|_| missing.is_empty()).ok_or(missing)
    }
}

fn boolean(value: u64, fault: &'static str) -> Result<bool, Fault> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err((code::H3_SETTINGS_ERROR, fault)),
    }
}

/// A frame's payload.
pub(crate) fn encode(
    versions: &[Version],
    max_field_section: usize,
    is_client: bool,
    grease_seed: u64,
) -> Bytes {
    let mut out = BytesMut::new();
    let mut put = |id, value| {
        varint::put(&mut out, id);
        varint::put(&mut out, value);
    };
    put(MAX_FIELD_SECTION_SIZE, u64::try_from(max_field_section).unwrap_or_default());
    if !is_client {
        put(ENABLE_CONNECT_PROTOCOL, 1);
    }
    put(H3_DATAGRAM, 1);
    put(H3_DATAGRAM_DRAFT04, 1);
    for version in versions {
        put(version.setting(), 1);
    }
    put(grease(grease_seed, 0), spread(grease_seed, 1) >> 2);
    out.freeze()
}

/// One of the numbers that mean nothing (RFC 9114, section 7.2.4.1), as the seed has it.
pub(crate) fn grease(seed: u64, purpose: u64) -> u64 {
    (spread(seed, purpose) >> 8).wrapping_mul(0x1f).wrapping_add(0x21)
}

/// Spreads small seeds over all bits (SplitMix64).
fn spread(seed: u64, purpose: u64) -> u64 {
    let value = seed.wrapping_add(purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn decode(settings: &[(u64, u64)]) -> Result<Settings, Fault> {
        let mut out = BytesMut::new();
        for (id, value) in settings {
            varint::put(&mut out, *id);
            varint::put(&mut out, *value);
        }
        Settings::decode(out.freeze(), true)
    }

    #[test]
    fn settings_are_sent_for_every_version() {
        for (is_client, seed) in [(true, 0), (false, 1), (false, u64::MAX)] {
            let encoded = encode(&Version::ALL, 1000, is_client, seed);
            let settings = Settings::decode(encoded, true).unwrap();
            assert_eq!(settings.versions, Version::ALL);
            assert_eq!(settings.max_field_section_size, 1000);
            assert!(settings.datagrams);
            assert_eq!(settings.extended_connect, !is_client);
            assert!(code::is_reserved(grease(seed, 0)) && grease(seed, 0) < 1 << 62);
        }
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        for settings in [
            &[(0x33, 1), (0x33, 1)][..],
            &[(0x1234, 1), (6, 1), (0x1234, 2)],
            &[(0x33, 2)],
            &[(0xff_d277, 2)],
            &[(0x8, 2)],
            &[(0x2c7c_f000, 2)],
            &[(0, 0)],
            &[(2, 0)],
            &[(3, 0)],
            &[(4, 0)],
            &[(5, 0)],
        ] {
            let code = decode(settings).map_err(|(code, _)| code);
            assert_eq!(code, Err(code::H3_SETTINGS_ERROR), "{settings:x?}");
        }
        for cut in [&[6][..], &[0x40], &[6, 0x40], &[6, 1, 0x33]] {
            let code =
                Settings::decode(Bytes::copy_from_slice(cut), true).map_err(|(code, _)| code);
            assert_eq!(code, Err(code::H3_FRAME_ERROR), "{cut:x?}");
        }
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        let all = [(0x33, 1), (8, 1), (0x2b60_3742, 1), (0xc671_706a, 9), (0x14e9_cd29, 1)];
        let settings = decode(&all).unwrap();
        let choose = |offered: &[Version]| settings.choose(offered, true, |_| true);
        assert_eq!(choose(&Version::ALL), Ok(Version::Draft13));
        assert_eq!(choose(&[Version::Draft07, Version::Draft02]), Ok(Version::Draft07));
        let offered = vec![Version::Draft15];
        assert_eq!(choose(&offered), Err(vec![Missing::Version { offered }]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let offered = Version::ALL;
        let choose =
            |settings: &[(u64, u64)]| decode(settings).unwrap().choose(&offered, true, |_| true);
        let no_version = Missing::Version { offered: offered.to_vec() };
        assert_eq!(choose(&[]), Err(vec![no_version.clone(), Missing::Datagrams]));
        assert_eq!(choose(&[(0x33, 1), (0xc671_706a, 0)]), Err(vec![no_version]));
        let missing = vec![Missing::ExtendedConnect, Missing::Datagrams];
        assert_eq!(choose(&[(0x2c7c_f000, 1)]), Err(missing));
        // draft-02 implies extended CONNECT, and has H3_DATAGRAM by its older number.
        assert_eq!(choose(&[(0x2b60_3742, 1), (0xff_d277, 1)]), Ok(Version::Draft02));
    }
}
