//! A whole session in the memory network: two connections, the links between them, and what
//! keeps the clock.

use bytes::Bytes;
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Draft, SubgroupOptions};
use moqt_loopback::{Pair, Record, Subscription};

use crate::Case;

/// Objects that are written before the network runs.
const BATCH: u64 = 100;

/// 1 KiB objects of one group, published in batches of 100, received and recorded: a fixture of
/// one subscription on a link with default settings.
#[derive(Debug)]
pub struct Session {
    pair: Pair,
    subscription: Subscription,
    payload: Bytes,
    count: u64,
}

impl Session {
    /// Prepared for `count` objects.
    ///
    /// # Panics
    ///
    /// If the subscription is not established, which would be a bug in what is measured.
    #[must_use]
    #[expect(clippy::expect_used, reason = "nothing is measured if it fails")]
    pub fn new(draft: Draft, count: u64) -> Self {
        let mut pair = Pair::new(draft, 1);
        let track = "bench--loopback".parse().expect("a valid name");
        let subscription = pair.subscribe(&track).expect("accepted");
        Self { pair, subscription, payload: vec![7; 1024].into(), count }
    }
}

impl Case for Session {
    fn run(&mut self) -> u64 {
        let publisher = self.subscription.publisher;
        let payload_len = self.payload.len() as u64;
        let stream = self.pair.network.with(self.pair.server, |server, _| {
            server.publisher(publisher)?.open_subgroup(SubgroupOptions::new(0)).ok()?
        });
        let mut record = Record::default();
        for first in (0..self.count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            self.pair.network.with(self.pair.server, |server, _| {
                let mut subgroup = server.subgroup(stream?)?;
                for object_id in first..self.count.min(first + BATCH) {
                    let header = ObjectHeader { object_id, payload_len, ..Default::default() };
                    subgroup.object(&header, self.payload.clone()).ok()?;
                }
                Some(())
            });
            loop {
                record.collect(&mut self.pair.network, self.pair.client);
                if self.pair.network.is_idle() || !self.pair.network.step() {
                    break;
                }
            }
        }
        let received = record.payloads().count() as u64;
        assert_eq!(received, self.count, "everything must arrive");
        received
    }
}
