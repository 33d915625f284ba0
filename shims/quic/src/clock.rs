use std::time::{Duration, Instant};

use moqt_engine::Timestamp;

/// The engine's clock: microseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins at zero now.
    pub fn new(now: Instant) -> Self {
        Self(now)
    }

    /// The engine's time at a time of the system's.
    pub fn timestamp(self, at: Instant) -> Timestamp {
        let micros = at.saturating_duration_since(self.0).as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The other way round. `None` if that is too far away to be represented.
    pub fn instant(self, at: Timestamp) -> Option<Instant> {
        self.0.checked_add(Duration::from_micros(at.as_micros()))
    }
}
