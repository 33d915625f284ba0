//! The connection publishes.

use std::time::Duration;

use moqt_conformance::say;
use moqt_engine::Draft;
use moqt_engine::model::{
    Message, Parameters, PublishNamespaceCancel, RequestErrorCode, RequestKind, StreamResetCode,
};

use super::{How, Machine, Publication, Said, Saw, State, Step, Update};
use crate::choose;

pub(super) fn act(machine: &mut Machine, step: Step) -> Vec<Saw> {
    match step {
        Step::Publish { name } => publish(machine, name),
        Step::Accept { which } => answer(machine, which, true),
        Step::Refuse { which } => answer(machine, which, false),
        Step::Withdraw { which, .. } => withdraw(machine, which),
        Step::Revoke { which, how } => revoke(machine, which, how),
        Step::Update { which } => update(machine, which),
        Step::Wait { millis } => wait(machine, Duration::from_millis(millis)),
        Step::AnswerUpdate { which, accepts, ends } => answer_update(machine, which, accepts, ends),
    }
}

fn publish(machine: &mut Machine, name: &str) -> Vec<Saw> {
    let (id, name) = (machine.end.next_own_id(), say::namespace(name));
    let none = Parameters::default();
    let published = machine.end.with(|engine, now| engine.publish_namespace(now, &name, &none));
    // Told apart by name alone, it is published once at a time.
    let is_taken = machine.draft == Draft::D14
        && machine.publications.iter().any(|known| known.is_live() && known.name == name);
    assert_eq!(published.is_err(), is_taken, "{published:?}");
    if let Ok(key) = published {
        let n = machine.add(key, id, machine.end.own_request(), name);
        machine.unsaid.push((n, Said::Publish));
    }
    vec![]
}

fn answer(machine: &mut Machine, which: u8, accepts: bool) -> Vec<Saw> {
    // Hardly ever one that was accepted, as that closes the session.
    let fits = |known: &Publication| which.is_multiple_of(32) || known.state != State::Accepted;
    let Some(n) = choose(which, &machine.publications, fits) else { return vec![] };
    let Publication { id, ref updates, failed, .. } = machine.publications[n];
    if machine.has_streams() && (!updates.is_empty() || failed.is_some()) {
        // It would answer an update.
        return vec![];
    }
    let kind = RequestKind::PublishNamespace;
    let message = if accepts {
        say::ok(id, kind)
    } else {
        say::error(id, kind, RequestErrorCode::Unauthorized)
    };
    if !machine.say(n, &message) {
        return vec![];
    }
    match machine.publications[n].state {
        State::Pending { .. } if accepts => {
            machine.publications[n].state = State::Accepted;
            vec![Saw::Accepted(n)]
        }
        State::Pending { .. } => {
            machine.fin(n);
            machine.over(n);
            vec![Saw::Rejected(n)]
        }
        // "The publisher SHOULD close the session with a protocol error if it receives
        // more than one."
        State::Accepted => machine.close(),
        // It crossed with the end.
        State::Over => vec![],
    }
}

fn withdraw(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    let (key, code) = (machine.publications[n].key, StreamResetCode::Cancelled);
    let cancelled = machine.end.with(|engine, now| engine.cancel(now, key, code));
    // "After receiving an PUBLISH_NAMESPACE_CANCEL, the publisher does not send
    // PUBLISH_NAMESPACE_DONE."
    assert_eq!(cancelled.is_ok(), machine.publications[n].is_live(), "{cancelled:?}");
    if cancelled.is_ok() {
        machine.ended_here(n, Said::Done);
    }
    vec![]
}

fn revoke(machine: &mut Machine, which: u8, how: How) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    if machine.has_streams() {
        return machine.end_stream(n, how);
    }
    let Publication { id, ref name, .. } = machine.publications[n];
    let cancel = Message::PublishNamespaceCancel(PublishNamespaceCancel {
        target: say::published_namespace(machine.draft, id, name),
        code: RequestErrorCode::ExpiredAuthToken,
        reason: "old".into(),
    });
    // "to revoke acceptance": by name it is not for one that was not accepted, but for
    // one before it, with whose end it crossed.
    let of = if machine.draft == Draft::D14 {
        let accepted = |known: &Publication| known.state == State::Accepted && known.name == *name;
        machine.publications.iter().position(accepted)
    } else {
        Some(n).filter(|n| machine.publications[*n].is_live())
    };
    machine.end.say(machine.end.control, &cancel);
    let Some(n) = of else { return vec![] };
    machine.over(n);
    vec![Saw::Cancelled(n, Some("old".into()))]
}

fn update(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    let (id, none) = (machine.end.next_own_id(), Parameters::default());
    let Publication { key, state, failed, .. } = machine.publications[n];
    let updated = machine.end.with(|engine, now| engine.update(now, key, &none));
    let may = machine.draft >= Draft::D16 && state == State::Accepted && failed.is_none();
    assert_eq!(updated.is_ok(), may, "{updated:?}");
    if may {
        let until = machine.answered_until();
        machine.publications[n].updates.push(Update { id, until });
        machine.unsaid.push((n, Said::Update(id)));
    }
    vec![]
}

fn wait(machine: &mut Machine, time: Duration) -> Vec<Saw> {
    let before = machine.end.now;
    machine.end.wait(time);
    let now = machine.end.now;
    let mut saw = vec![];
    for n in 0..machine.publications.len() {
        let known = &machine.publications[n];
        let state = known.state;
        let is_late = |update: &&Update| before < update.until && update.until <= now;
        if known.is_live() {
            let late = known.updates.iter().filter(is_late).count();
            saw.extend(vec![Saw::NotUpdated(n); late]);
        }
        if known.failed.is_some_and(|until| until <= now) {
            machine.ended_here(n, Said::Done);
            saw.push(Saw::Cancelled(n, None));
        }
        if matches!(state, State::Pending { until } if until <= machine.end.now) {
            machine.ended_here(n, Said::Done);
            saw.push(Saw::Rejected(n));
        }
    }
    saw
}

/// "The receiver of a REQUEST_UPDATE MUST respond with exactly one REQUEST_OK or REQUEST_ERROR";
/// "When a REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or PUBLISH_NAMESPACE, the responder MUST
/// close the bidi stream" (draft-18; in draft 16 the request goes on).
fn answer_update(machine: &mut Machine, which: u8, accepts: bool, ends: bool) -> Vec<Saw> {
    let waits = |known: &Publication| !known.updates.is_empty() && known.failed.is_none();
    let Some(n) = choose(which, &machine.publications, waits) else { return vec![] };
    let Update { id, until } = machine.publications[n].updates.remove(0);
    let message = if accepts {
        say::ok(id, RequestKind::Update)
    } else {
        say::error(id, RequestKind::Update, RequestErrorCode::Unauthorized)
    };
    if !machine.say(n, &message) || !machine.publications[n].is_live() {
        return vec![];
    }
    let now = machine.end.now;
    let is_awaited = |update: &Update| update.until > now;
    if accepts || !machine.has_streams() {
        let is_awaited = is_awaited(&Update { id, until });
        let saw = if accepts { Saw::Updated(n) } else { Saw::NotUpdated(n) };
        return vec![saw].into_iter().filter(|_| is_awaited).collect();
    }
    // "If the coalesced REQUEST_UPDATE results in REQUEST_ERROR, only a single REQUEST_ERROR
    // will be sent"
    let mut failed = core::mem::take(&mut machine.publications[n].updates);
    failed.push(Update { id, until });
    let failed = failed.into_iter().filter(is_awaited);
    let mut saw = vec![Saw::NotUpdated(n); failed.count()];
    machine.publications[n].failed = Some(machine.answered_until());
    if ends {
        saw.extend(machine.end_stream(n, How::Finish));
    }
    saw
}
