//! Which connections a server takes on.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds on the connections of a server.
///
/// From half of any of them on, clients must prove their address first, at the price of a round
/// trip: nobody can use up more than that in the name of others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections at a time: 10,000. More are refused.
    pub total: usize,
    /// Connections at a time from one address, or one /64 of IPv6: no bound. More are refused.
    pub per_address: usize,
    /// Connections at a time whose sessions are not set up yet: no bound. More are refused.
    pub half_open: usize,
    /// Time from a client's first packet until its session is set up, if there is a bound: 20 s.
    /// Then the connection is closed.
    pub setup_timeout: Option<Duration>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 10_000,
            per_address: usize::MAX,
            half_open: usize::MAX,
            setup_timeout: Some(Duration::from_secs(20)),
        }
    }
}

/// Counts the connections of a server. Clones count together.
#[derive(Clone)]
pub struct Admission {
    limits: ConnectionLimits,
    counts: Arc<Mutex<Counts>>,
    /// Addresses that are not taken, for whatever reason.
    is_blocked: Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    half_open: usize,
    by_address: HashMap<IpAddr, usize>,
    refuses_all: bool,
    refused: u64,
    retried: u64,
}

/// What to do about a client that wants to connect.
#[derive(Debug)]
pub enum Decision {
    /// Take it on. It counts until its place is dropped.
    Accept(Place),
    /// Have it prove its address, by Retry.
    Retry,
    /// Refuse it, for this reason.
    Refuse(&'static str),
}

/// What an [`Admission`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdmissionStats {
    /// Connections now.
    pub connections: usize,
    /// Of these, those whose sessions are not set up yet.
    pub half_open: usize,
    /// Addresses that they come from, a /64 of IPv6 counting as one.
    pub addresses: usize,
    /// Connections that were refused so far.
    pub refused: u64,
    /// Clients that had to prove their address so far.
    pub retried: u64,
}

impl Admission {
    /// Within these limits.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, counts: Arc::default(), is_blocked: None }
    }

    /// Refuses clients at addresses of which `is_blocked` says so, too.
    #[must_use]
    pub fn unless(self, is_blocked: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { is_blocked: Some(Arc::new(is_blocked)), ..self }
    }

    /// The limits.
    pub fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// Decides on a client at this address. `can_retry` says that it has not proved to be there
    /// and can be asked to.
    pub fn decide(&self, address: IpAddr, can_retry: bool) -> Decision {
        let network = network_of(address);
        let is_blocked = self.is_blocked.as_ref().is_some_and(|is_blocked| is_blocked(address));
        let limits = &self.limits;
        let mut counts = self.lock();
        let from_there = counts.by_address.get(&network).copied().unwrap_or_default();
        if counts.refuses_all {
            counts.refused = counts.refused.saturating_add(1);
            return Decision::Refuse("the server takes no more connections");
        }
        if is_blocked {
            counts.refused = counts.refused.saturating_add(1);
            return Decision::Refuse("the address is blocked");
        }
        let all = [
            (counts.total, limits.total, "too many connections"),
            (counts.half_open, limits.half_open, "too many connections without a session"),
            (from_there, limits.per_address, "too many connections from there"),
        ];
        if let Some((.., why)) = all.into_iter().find(|(count, max, _)| count >= max) {
            counts.refused = counts.refused.saturating_add(1);
            return Decision::Refuse(why);
        }
        if can_retry && all.into_iter().any(|(count, max, _)| count >= max / 2) {
            counts.retried = counts.retried.saturating_add(1);
            return Decision::Retry;
        }
        counts.total = counts.total.saturating_add(1);
        counts.half_open = counts.half_open.saturating_add(1);
        counts.by_address.insert(network, from_there.saturating_add(1));
        Decision::Accept(Place { admission: self.clone(), network, is_half_open: true })
    }

    /// Refuses whoever comes from now on.
    pub fn refuse_all(&self) {
        self.lock().refuses_all = true;
    }

    /// Whether it was told to.
    pub fn refuses_all(&self) -> bool {
        self.lock().refuses_all
    }

    /// What it has counted.
    pub fn stats(&self) -> AdmissionStats {
        let counts = self.lock();
        AdmissionStats {
            connections: counts.total,
            half_open: counts.half_open,
            addresses: counts.by_address.len(),
            refused: counts.refused,
            retried: counts.retried,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, counts, .. } = self;
        let mut debug = f.debug_struct("Admission");
        debug.field("limits", limits).field("counts", counts).finish_non_exhaustive()
    }
}

/// A connection's place among those of a server, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    network: IpAddr,
    is_half_open: bool,
}

impl Place {
    /// The session is set up.
    pub fn session_established(&mut self) {
        if std::mem::take(&mut self.is_half_open) {
            let mut counts = self.admission.lock();
            counts.half_open = counts.half_open.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.session_established();
        let mut counts = self.admission.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&self.network);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or a /64 of IPv6, all of which one host may have.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, per_address: usize, half_open: usize) -> Admission {
        let setup_timeout = None;
        Admission::new(ConnectionLimits { total, per_address, half_open, setup_timeout })
    }

    fn accepted(admission: &Admission, address: &str) -> Place {
        match admission.decide(address.parse().unwrap(), false) {
            Decision::Accept(place) => place,
            other => panic!("{address}: {other:?}"),
        }
    }

    fn is_refused(admission: &Admission, address: &str) -> bool {
        matches!(admission.decide(address.parse().unwrap(), true), Decision::Refuse(_))
    }

    #[test]
    fn an_address_has_so_many_and_others_have_theirs() {
        let admission = admission(100, 2, 100);
        let first = accepted(&admission, "192.0.2.1");
        // The same, as IPv6 sockets name it.
        let _second = accepted(&admission, "::ffff:192.0.2.1");
        assert!(is_refused(&admission, "192.0.2.1"));
        let _other = accepted(&admission, "192.0.2.2");
        drop(first);
        let _again = accepted(&admission, "192.0.2.1");
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        let admission = admission(100, 1, 100);
        let _first = accepted(&admission, "2001:db8:0:1::1");
        assert!(is_refused(&admission, "2001:db8:0:1:ffff::2"));
        let _next_network = accepted(&admission, "2001:db8:0:2::1");
    }

    #[test]
    fn half_open_ones_count_until_their_session_is_set_up() {
        let admission = admission(100, 100, 1);
        let mut first = accepted(&admission, "192.0.2.1");
        assert!(is_refused(&admission, "192.0.2.2"));
        first.session_established();
        let second = accepted(&admission, "192.0.2.2");
        drop(second);
        drop(first);
        let stats = admission.stats();
        assert_eq!((stats.connections, stats.half_open, stats.addresses), (0, 0, 0));
    }

    #[test]
    fn blocked_addresses_are_refused_while_they_are() {
        let blocked: IpAddr = "192.0.2.1".parse().unwrap();
        let admission = admission(100, 100, 100).unless(move |address| address == blocked);
        assert!(is_refused(&admission, "192.0.2.1"));
        let _other = accepted(&admission, "192.0.2.2");
    }

    #[test]
    fn from_half_on_addresses_are_proved() {
        let admission = admission(4, 100, 100);
        let address = "192.0.2.1".parse().unwrap();
        assert!(matches!(admission.decide(address, true), Decision::Accept(_)));
        let _two = [accepted(&admission, "192.0.2.1"), accepted(&admission, "192.0.2.1")];
        assert!(matches!(admission.decide(address, true), Decision::Retry));
        assert!(matches!(admission.decide(address, false), Decision::Accept(_)));
    }
}
