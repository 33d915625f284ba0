//! Where a group ends may be said by a datagram, and counts for datagrams and streams alike
//! ("Malformed Tracks" and "Object Datagram" of each draft).

use moqt_conformance::objects::{SubgroupStream, datagram, datagram_bytes};
use moqt_conformance::{cases, drafts_from};
use moqt_engine::{Dir, Draft, MalformedRule, Role};

use crate::malformed::Subscribed;

const ALIAS: u64 = 1;

impl Subscribed {
    /// The peer sends a group's last object in a datagram.
    fn send_last_datagram(&mut self, group: u64, object: u64) {
        let mut header = datagram(ALIAS, group, object);
        header.end_of_group = true;
        self.end.datagram(datagram_bytes(self.end.draft(), &header, b"last"));
    }
}

// "An Object is received in a Group whose Object ID is larger than the final Object in the Group."
// (draft-18; draft-14 and -16 likewise)
#[test]
fn a_datagram_beyond_its_groups_last_is_malformed_in_either_order() {
    for (draft, role) in cases() {
        let rule = MalformedRule::AfterGroupEnd;
        let mut track = Subscribed::new(draft, role);
        track.send_last_datagram(2, 5);
        track.send_datagram(2, 6, b"x");
        track.assert_malformed(rule, (2, 6), "after it");

        let mut track = Subscribed::new(draft, role);
        track.send_datagram(2, 6, b"x");
        track.send_last_datagram(2, 5);
        track.assert_malformed(rule, (2, 6), "before it");

        let mut track = Subscribed::new(draft, role);
        track.send_datagram(2, 4, b"x");
        track.send_last_datagram(2, 5);
        track.send_datagram(2, 3, b"x");
        track.send_datagram(3, 6, b"x");
        track.assert_well_formed("below it, and in another group");
    }
}

// The same. From draft 16 on "the Original Publisher MAY use both Subgroups and Datagrams within
// a Group or Track".
#[test]
fn a_group_that_ends_in_a_datagram_ends_on_its_open_streams() {
    for draft in drafts_from(Draft::D16) {
        let mut track = Subscribed::new(draft, Role::Client);
        let mut open = SubgroupStream::plain(draft, ALIAS, 2).objects([0]);
        let name = track.end.open_with(Dir::Uni, open.take());
        track.send_last_datagram(2, 5);
        track.end.data(name, open.objects([4, 6]).take());
        track.assert_malformed(MalformedRule::AfterGroupEnd, (2, 6), "6 after 5");
    }
}

// The same: what has been read of a stream by then counts, though the stream goes on.
#[test]
fn a_group_that_ended_in_a_datagram_had_no_more_on_its_open_streams() {
    for draft in drafts_from(Draft::D16) {
        let mut track = Subscribed::new(draft, Role::Client);
        track.send_all([SubgroupStream::plain(draft, ALIAS, 2).objects([0, 6])]);
        track.send_last_datagram(2, 5);
        track.assert_malformed(MalformedRule::AfterGroupEnd, (2, 6), "6 before 5");
    }
}
