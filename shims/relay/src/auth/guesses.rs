//! How often somebody may try a token that is none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moqt_quinn_proto::network_of;

/// Counts failed attempts by address; IPv6 addresses of one /64 count as one.
///
/// An attempt has failed if a session or a request is refused that showed a token which is not
/// known or cannot be read, or a request of somebody of whom no token is known. Tokens that are
/// good for something else, and those that have expired, are no attempts.
///
/// An address has [`ATTEMPTS`](Self::ATTEMPTS), and gets one back every
/// [`REGAINED`](Self::REGAINED). With none left, new sessions and requests with tokens of their own
/// are refused as UNAUTHORIZED without a look at the tokens; what the tokens of a session allow
/// goes on. A server asks [`is_blocked`](Self::is_blocked) before it takes on a connection. Clones
/// count together.
///
/// At most [`ADDRESSES`](Self::ADDRESSES) are known at a time. When there are more, those that have
/// tried least are forgotten, half of them at once.
#[derive(Clone, Debug, Default)]
pub struct Guesses(Arc<Mutex<HashMap<IpAddr, Tries>>>);

/// What an address has used up: `used` attempts at the time `at`.
#[derive(Clone, Copy, Debug)]
struct Tries {
    used: u32,
    at: Duration,
}

impl Guesses {
    /// Attempts that may fail in a row.
    pub const ATTEMPTS: u32 = 20;
    /// Time after which one more may fail.
    pub const REGAINED: Duration = Duration::from_secs(3);
    /// Addresses that are counted at a time.
    pub const ADDRESSES: usize = 16_384;

    /// An attempt from an address has failed.
    pub fn failed(&self, address: IpAddr, now: Duration) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network_of(address);
        if tries.len() >= Self::ADDRESSES && !tries.contains_key(&network) {
            forget_half(&mut tries, now);
        }
        let mine = tries.entry(network).or_insert(Tries { used: 0, at: now });
        *mine = mine.later(now);
        mine.used = mine.used.saturating_add(1).min(Self::ATTEMPTS);
    }

    /// Whether an address has no attempt left.
    pub fn is_blocked(&self, address: IpAddr, now: Duration) -> bool {
        let tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tries.get(&network_of(address)).is_some_and(|tries| tries.later(now).used >= Self::ATTEMPTS)
    }
}

impl Tries {
    /// What is used up at a later time.
    fn later(self, now: Duration) -> Self {
        let passed = now.saturating_sub(self.at);
        let regained = passed.as_millis() / Guesses::REGAINED.as_millis().max(1);
        let regained = u32::try_from(regained).unwrap_or(u32::MAX);
        if regained >= self.used {
            return Self { used: 0, at: now };
        }
        let at = self.at.saturating_add(Guesses::REGAINED.saturating_mul(regained));
        Self { used: self.used.saturating_sub(regained), at }
    }
}

fn forget_half(tries: &mut HashMap<IpAddr, Tries>, now: Duration) {
    let mut used: Vec<u32> = tries.values().map(|tries| tries.later(now).used).collect();
    let middle = used.len() / 2;
    let (_, &mut median, _) = used.select_nth_unstable(middle);
    let mut too_many = middle.max(1);
    tries.retain(|_, tries| {
        let stays = tries.later(now).used > median || too_many == 0;
        too_many = too_many.saturating_sub(usize::from(!stays));
        stays
    });
}
