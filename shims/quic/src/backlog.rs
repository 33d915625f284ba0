use std::ops::RangeInclusive;
use std::time::Duration;

/// The least and the most to have written beyond the congestion window.
const SLACK: RangeInclusive<u64> = 16 * 1024..=128 * 1024;

/// The bound on paths whose round trip is next to nothing.
const NEAR: u64 = 128 * 1024;

/// How that bound grows with the round trip: bytes a microsecond, as much as 10 Gbit/s.
const RATE: u64 = 1250;

/// How much to have written to QUIC: what is there can be neither reordered nor taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogBound {
    /// The most to have written and not acknowledged, in bytes.
    pub target: u64,
    /// How much of that is beyond the congestion window, in bytes.
    pub slack: u64,
}

impl BacklogBound {
    /// Follows the path: its congestion window in bytes, and its shortest round trip. `max` is the
    /// bound on all paths, in bytes.
    pub fn new(congestion_window: u64, min_rtt: Duration, max: u64) -> Self {
        let slack = (congestion_window / 2).clamp(*SLACK.start(), *SLACK.end());
        let micros = u64::try_from(min_rtt.as_micros()).unwrap_or(u64::MAX);
        let far = micros.saturating_mul(RATE).max(NEAR);
        let target = congestion_window.saturating_add(slack).min(far).min(max).max(*SLACK.start());
        Self { target, slack: slack.min(target) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    #[test]
    fn the_bound_follows_the_congestion_window_and_the_path() {
        let near = Duration::from_micros(50);
        let far = Duration::from_millis(100);
        let bound = |window, min_rtt, max| {
            let bound = BacklogBound::new(window, min_rtt, max);
            (bound.target, bound.slack)
        };
        assert_eq!(bound(12 * KIB, far, 32 * MIB), (28 * KIB, 16 * KIB));
        assert_eq!(bound(64 * KIB, far, 32 * MIB), (96 * KIB, 32 * KIB));
        assert_eq!(bound(16 * MIB, far, 32 * MIB), (16 * MIB + 128 * KIB, 128 * KIB));
        assert_eq!(bound(64 * MIB, far, 32 * MIB).0, 32 * MIB);
        assert_eq!(bound(16 * MIB, near, 32 * MIB).0, 128 * KIB);
        assert_eq!(bound(u64::MAX, Duration::MAX, u64::MAX).0, u64::MAX);
    }
}
