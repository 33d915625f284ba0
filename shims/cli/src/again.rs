//! Trying again when a session was lost.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::args::ReconnectArgs;
use crate::failure::Failure;
use crate::progress::Progress;

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Makes attempts to go on after `why`, if the command line says so, with growing pauses between
/// them and until the time for it has passed.
pub(crate) async fn go_on<T>(
    reconnect: ReconnectArgs,
    why: Failure,
    progress: &Progress,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(patience) = reconnect.reconnect else { return Err(why) };
    let lost = Instant::now();
    progress.say(&format!("{why}; connecting again"));
    let mut pause = PAUSES.0;
    loop {
        // Not all who were cut off at once come back at once.
        tokio::time::sleep(pause.mul_f64(0.5 + chance() / 2.0)).await;
        match attempt().await {
            Ok(done) => {
                progress.say(&format!("going on after {:.1?}", lost.elapsed()));
                return Ok(done);
            }
            Err(failure) if lost.elapsed() >= patience => return Err(failure),
            Err(failure) => progress.say(&format!("{failure}; trying on")),
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// A number between 0 and 1, another each time.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(Instant::now());
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
