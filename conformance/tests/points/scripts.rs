//! What happens to a request in its life, step by step, if nothing goes wrong.

mod ours;
mod theirs;

use moqt_engine::Draft;

use crate::play::Play;

/// One step: something that either end does.
pub(crate) type Step = fn(&mut Play);

/// Whether a draft has a step.
type Has = fn(Draft) -> bool;

/// The life of a request.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) decides_updates: bool,
    steps: Vec<(Has, Step)>,
}

impl Script {
    fn new(name: &'static str) -> Self {
        Self { name, decides_updates: false, steps: Vec::new() }
    }

    /// A step that all drafts have.
    fn then(self, step: Step) -> Self {
        self.on(|_| true, step)
    }

    /// A step of some drafts.
    fn on(mut self, has: Has, step: Step) -> Self {
        self.steps.push((has, step));
        self
    }

    fn deciding_updates(self) -> Self {
        Self { decides_updates: true, ..self }
    }

    /// Its steps in a draft.
    pub(crate) fn steps(&self, draft: Draft) -> Vec<Step> {
        self.steps.iter().filter(|(has, _)| has(draft)).map(|(_, step)| *step).collect()
    }
}

/// Every kind of request, begun by either side.
pub(crate) fn all() -> Vec<Script> {
    ours::all().into_iter().chain(theirs::all()).collect()
}

fn answers_updates(draft: Draft) -> bool {
    draft >= Draft::D16
}

fn updates_subscriptions_only(draft: Draft) -> bool {
    draft < Draft::D16
}

fn has_request_streams(draft: Draft) -> bool {
    draft >= Draft::D18
}

fn tells_namespaces(draft: Draft) -> bool {
    draft >= Draft::D16
}
