//! Objects: what comes is what was published.

use moqt_engine::model::ObjectStatus;

use super::{Checked, Model, must};
use crate::relay_simulation::record::{Made, Seen};

impl Model<'_> {
    /// An object that came, wherever. In a fetch, some drafts do not tell all of it.
    pub(super) fn object(&self, track: usize, seen: &Seen, is_fetched: bool) -> Checked {
        let known = &self.record.tracks[track];
        let about = |what: &str| {
            let Seen { location, status, subgroup, at, .. } = seen;
            format!(
                "track {track}, {location} in subgroup {subgroup:?}, {status:?}, at {at:?}: {what}"
            )
        };
        let made = known.objects.get(&seen.location);
        if seen.status != ObjectStatus::Normal
            && made.is_none_or(|it| it.object.status != seen.status)
        {
            // A relay may say in this way what a publisher has said in another.
            let group = seen.location.group;
            let is_over = known.groups_over.get(&group).is_some_and(|over| *over <= seen.at);
            let last = known.objects.keys().rfind(|location| location.group == group);
            let is_after = last.is_none_or(|last| *last < seen.location);
            return must(is_over && is_after, "a group ends where it does", || about("it goes on"));
        }
        let Some(made) = made else {
            return must(false, "what comes was published", || about("it was not"));
        };
        self.same(seen, made, is_fetched, about)
    }

    fn same(
        &self,
        seen: &Seen,
        made: &Made,
        is_fetched: bool,
        about: impl Fn(&str) -> String,
    ) -> Checked {
        let Made { at, object, .. } = made;
        must(*at <= seen.at, "what comes was published before", || about("too early"))?;
        must(object.payload == seen.payload, "payload comes as it was published", || {
            about(&format!("{} bytes, not {}", seen.payload.len(), object.payload.len()))
        })?;
        must(object.status == seen.status, "a status comes as it was published", || {
            about(&format!("not {:?}", object.status))
        })?;
        let is_told = !(is_fetched && self.has_draft_14());
        must(
            !is_told || object.subgroup == seen.subgroup,
            "an object stays in its subgroup, or a datagram",
            || about(&format!("not {:?}", object.subgroup)),
        )?;
        must(
            seen.priority.is_none_or(|priority| priority == object.priority),
            "a priority comes as it was published",
            || about(&format!("{:?}, not {}", seen.priority, object.priority)),
        )?;
        let properties: Vec<_> = object.properties.iter().map_while(Result::ok).collect();
        must(properties == seen.properties, "properties come as they were published", || {
            about(&format!("{:?}, not {properties:?}", seen.properties))
        })
    }
}
