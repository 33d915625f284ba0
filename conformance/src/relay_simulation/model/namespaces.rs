//! Namespaces: those who asked are told of all that there are.

use moqt_engine::model::TrackNamespace;
use moqt_engine::{Draft, Timestamp};

use super::{Checked, Model, known, must};
use crate::relay_simulation::record::{Announced, SubscriptionEnd, Told};
use crate::relay_simulation::scenario::How;
use crate::simulation::history::track_name;

impl Model<'_> {
    pub(super) fn namespace_subscription(&self, told: &Told) -> Checked {
        let Told { client, prefix, interest, accepted, ended, news, .. } = told;
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
        if interest.1 {
            self.offers(told, *accepted, until)?;
        }
        if !interest.0 {
            return Ok(());
        }
        // What is there, and has been long enough, is known when the subscription ends.
        let is_steady = |it: &&Announced| {
            !it.is_refused
                && known(it.from) <= until
                && it.to.is_none_or(|to| to >= until)
                && it.namespace.starts_with(prefix)
        };
        if known(*accepted) > until || !self.is_quiet(*accepted, until) || self.is_unsaid(prefix) {
            return Ok(());
        }
        let mut known_then = told.known(until);
        for announced in self.record.announced.iter().filter(is_steady) {
            must(known_then.contains(&announced.namespace), "namespaces are told of", || {
                about(format!("{} of client {}", announced.namespace, announced.client))
            })?;
        }
        // What is gone, and has been long enough, is known to be.
        // It is not told while the subscription has another prefix.
        known_then.retain(|namespace| !told.known.contains(namespace));
        for namespace in known_then {
            let mut all = self.record.announced.iter().filter(|it| it.namespace == namespace);
            let is_gone = all.all(|it| it.to.is_some_and(|to| known(to) <= until));
            let has_tracks = self.has_tracks(&namespace, |_| true);
            must(!is_gone || has_tracks, "namespaces that are gone are told of", || {
                about(namespace.to_string())
            })?;
        }
        Ok(())
    }

    /// Who asks for tracks is offered all that others publish, unless it subscribes to them already.
    fn offers(&self, told: &Told, accepted: Timestamp, until: Timestamp) -> Checked {
        if self.is_unsaid(&told.prefix) {
            return Ok(());
        }
        for (number, track) in self.record.tracks.iter().enumerate() {
            // Nobody is offered what it publishes itself.
            if track.publishers.iter().any(|it| it.client == told.client) {
                continue;
            }
            if !track_name(number).is_some_and(|name| name.namespace().starts_with(&told.prefix)) {
                continue;
            }
            for published in &track.publishers {
                let begun = published.from.max(accepted);
                let due = known(begun);
                let is_due = published.how != How::Namespace
                    && !published.is_refused
                    && due <= until
                    && published.to.is_none_or(|(to, _)| to >= due)
                    && self.is_quiet(begun, due);
                let subscriptions = || self.record.subscriptions.iter();
                let has_it = subscriptions().any(|it| {
                    // Who has left a track is not offered it again.
                    let is_over = |end: &(Timestamp, SubscriptionEnd)| {
                        end.0 < begun && end.1 != SubscriptionEnd::Left
                    };
                    (it.client, it.track) == (told.client, number)
                        && it.asked <= due
                        && !it.end.as_ref().is_some_and(is_over)
                });
                // A relay that has subscribed to what somebody else has by its namespace cannot be
                // offered it any more, and does not offer it on.
                let is_pulled = subscriptions()
                    .any(|it| !it.is_offered && it.track == number && it.asked <= due)
                    && self.record.announced.iter().any(|it| {
                        let name = track_name(number);
                        it.from <= due
                            && name.is_some_and(|name| name.namespace().starts_with(&it.namespace))
                    });
                must(
                    !is_due || has_it || is_pulled,
                    "tracks are offered to who asks for them",
                    || {
                        format!(
                            "namespace subscription of client {} to {}, accepted at {accepted:?}: \
                         track {number}, published by client {} since {:?}",
                            told.client, told.prefix, published.client, published.from
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    /// Whether some relay may not be able to ask the one above it about a prefix: draft 14 does not
    /// have the one of no fields, which takes the place of all others.
    fn is_unsaid(&self, prefix: &TrackNamespace) -> bool {
        let mut relays = self.scenario.relays.iter();
        let mut all = self.record.namespaces.iter();
        let is_root = prefix.is_empty() || all.any(|told| told.prefix.is_empty());
        is_root && relays.any(|relay| relay.draft < Draft::D16)
    }

    /// Whether tracks of a namespace have been offered by themselves, in such a time.
    fn has_tracks(&self, namespace: &TrackNamespace, is_it: impl Fn(Timestamp) -> bool) -> bool {
        let mut tracks = self.record.tracks.iter().enumerate();
        tracks.any(|(number, track)| {
            let is_in = track_name(number).is_some_and(|name| name.namespace() == namespace);
            is_in && track.publishers.iter().any(|it| it.how != How::Namespace && is_it(it.from))
        })
    }
}
