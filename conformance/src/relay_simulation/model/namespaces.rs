//! Namespaces: those who asked are told of all that there are.

use std::collections::BTreeSet;

use moqt_engine::model::TrackNamespace;

use super::{Checked, Model, known, must};
use crate::relay_simulation::record::{Announced, Told};
use crate::relay_simulation::scenario::How;
use crate::simulation::history::track_name;

impl Model<'_> {
    pub(super) fn namespace_subscription(&self, told: &Told) -> Checked {
        let Told { client, prefix, interest, accepted, ended, news } = told;
        let about = |what: String| {
            format!(
                "namespace subscription of client {client} to {prefix}, accepted at {accepted:?}, \
                 ended at {ended:?}: {what}"
            )
        };
        for (at, namespace, is_there) in news {
            let mut announced = self.record.announced.iter();
            let was_announced = announced.any(|it| it.namespace == *namespace && it.from <= *at);
            let was_published = self.has_tracks(namespace, |it| it <= *at);
            must(
                namespace.starts_with(prefix) && (!is_there || was_announced || was_published),
                "a namespace that is told of is there",
                || about(format!("{namespace} at {at:?}")),
            )?;
        }
        let Some(accepted) = accepted else { return Ok(()) };
        let until = ended.unwrap_or(self.record.ended);
        if !interest.0 {
            return Ok(());
        }
        // What is there, and has been long enough, is known when the subscription ends.
        let is_steady = |it: &&Announced| {
            !it.is_refused
                && it.client != *client
                && known(it.from) <= until
                && it.to.is_none_or(|to| to >= until)
                && it.namespace.starts_with(prefix)
        };
        if known(*accepted) > until || !self.is_quiet(*accepted, until) {
            return Ok(());
        }
        let mut known_then = BTreeSet::new();
        for (at, namespace, is_there) in news {
            if *at <= until && *is_there {
                known_then.insert(namespace);
            } else if *at <= until {
                known_then.remove(namespace);
            }
        }
        for announced in self.record.announced.iter().filter(is_steady) {
            must(known_then.contains(&announced.namespace), "namespaces are told of", || {
                about(format!("{} of client {}", announced.namespace, announced.client))
            })?;
        }
        // What is gone, and has been long enough, is known to be.
        for namespace in known_then {
            let mut all = self.record.announced.iter().filter(|it| it.namespace == *namespace);
            let is_gone = all.all(|it| it.to.is_some_and(|to| known(to) <= until));
            let has_tracks = self.has_tracks(namespace, |_| true);
            must(!is_gone || has_tracks, "namespaces that are gone are told of", || {
                about(namespace.to_string())
            })?;
        }
        Ok(())
    }

    /// Whether tracks of a namespace have been offered by themselves, in such a time.
    fn has_tracks(
        &self,
        namespace: &TrackNamespace,
        is_it: impl Fn(moqt_engine::Timestamp) -> bool,
    ) -> bool {
        let mut tracks = self.record.tracks.iter().enumerate();
        tracks.any(|(number, track)| {
            let is_in = track_name(number).is_some_and(|name| name.namespace() == namespace);
            is_in && track.publishers.iter().any(|it| it.how != How::Namespace && is_it(it.from))
        })
    }
}
