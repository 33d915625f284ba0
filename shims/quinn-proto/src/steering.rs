//! Connection IDs that say which of several endpoints a connection belongs to.

use std::hash::{BuildHasher, RandomState};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, RandomConnectionIdGenerator};

/// Random bytes at the start of a connection ID.
const NONCE: usize = 6;
/// The endpoint's number, masked by what only this process can make from the random bytes: nobody
/// else can tell which IDs are of the same connection (RFC 9000, section 5.1).
const NUMBER: usize = 2;

/// Long headers have the first bit, and these are of handshake packets (RFC 9000, section 17.2.4).
const FORM_AND_TYPE: u8 = 0b1011_0000;
const LONG_HANDSHAKE: u8 = 0b1010_0000;
const LONG: u8 = 0b1000_0000;
/// First byte and version, before the length of the destination's connection ID.
const BEFORE_LENGTH: usize = 5;

/// Tells which of several endpoints that share a port a packet belongs to, by its connection ID.
/// Clones agree with each other.
#[derive(Clone, Debug)]
pub struct Steering {
    keys: RandomState,
    endpoints: u16,
}

impl Steering {
    /// Among so many endpoints, counted from 0.
    pub fn new(endpoints: u16) -> Self {
        Self { keys: RandomState::new(), endpoints }
    }

    /// The endpoint that a datagram belongs to, if its connection ID was made by one of them. A
    /// client's first packets have an ID of its own choice and belong to whoever gets them.
    pub fn endpoint_of(&self, datagram: &[u8]) -> Option<u16> {
        let first = *datagram.first()?;
        let id = if first & LONG == 0 {
            datagram.get(1..)?
        } else if first & FORM_AND_TYPE == LONG_HANDSHAKE {
            let (length, rest) = datagram.get(BEFORE_LENGTH..)?.split_first()?;
            rest.get(..usize::from(*length)).filter(|id| id.len() == NONCE + NUMBER)?
        } else {
            return None;
        };
        let (nonce, masked) = id.get(..NONCE + NUMBER)?.split_at_checked(NONCE)?;
        let number = u16::from_be_bytes(masked.try_into().ok()?) ^ self.mask(nonce);
        (number < self.endpoints).then_some(number)
    }

    /// What makes the connection IDs of an endpoint.
    pub(crate) fn generator(&self, endpoint: u16) -> Generator {
        let random = RandomConnectionIdGenerator::new(NONCE);
        Generator { steering: self.clone(), endpoint, random }
    }

    fn mask(&self, nonce: &[u8]) -> u16 {
        let [a, b, ..] = self.keys.hash_one(nonce).to_be_bytes();
        u16::from_be_bytes([a, b])
    }
}

/// Makes the connection IDs of one endpoint.
#[derive(Debug)]
pub(crate) struct Generator {
    steering: Steering,
    endpoint: u16,
    random: RandomConnectionIdGenerator,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = self.random.generate_cid();
        let number = self.endpoint ^ self.steering.mask(&nonce);
        let mut id = [0; NONCE + NUMBER];
        for (to, from) in id.iter_mut().zip(nonce.iter().chain(&number.to_be_bytes())) {
            *to = *from;
        }
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        NONCE + NUMBER
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(id: &[u8]) -> Vec<u8> {
        [&[0x40], id, &[0; 20]].concat()
    }

    #[test]
    fn packets_find_the_endpoint_that_made_their_id() {
        let steering = Steering::new(3);
        for endpoint in 0..3 {
            let mut ids = steering.clone().generator(endpoint);
            for _ in 0..100 {
                let id = ids.generate_cid();
                assert_eq!(id.len(), ids.cid_len());
                assert_eq!(steering.endpoint_of(&short(&id)), Some(endpoint));
                let handshake = [&[0xe0, 0, 0, 0, 1, 8], &id[..], &[0; 20]].concat();
                assert_eq!(steering.endpoint_of(&handshake), Some(endpoint));
            }
        }
    }

    #[test]
    fn what_has_an_id_of_the_clients_is_for_whoever_gets_it() {
        let steering = Steering::new(1);
        let id = steering.generator(0).generate_cid();
        let initial = [&[0xc0, 0, 0, 0, 1, 8], &id[..], &[0; 20]].concat();
        assert_eq!(steering.endpoint_of(&initial), None);
        for cut in 0..8 {
            assert_eq!(steering.endpoint_of(&short(&id)[..cut]), None);
        }
        let foreign = [0xe0, 0, 0, 0, 1, 200, 1, 2, 3];
        assert_eq!(steering.endpoint_of(&foreign), None);
    }

    #[test]
    fn ids_do_not_show_the_endpoint() {
        // Of many IDs of one endpoint, the bytes that hold its number take many values.
        let mut ids = Steering::new(2).generator(1);
        let numbers: std::collections::HashSet<[u8; 2]> =
            (0..1000).map(|_| ids.generate_cid()[NONCE..].try_into().unwrap()).collect();
        assert!(numbers.len() > 900, "{}", numbers.len());
    }
}
