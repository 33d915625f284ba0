//! The peer publishes.

use std::time::Duration;

use moqt_conformance::end::Output;
use moqt_conformance::say;
use moqt_engine::model::{Message, Parameters, RequestErrorCode};
use moqt_engine::{Accept, CommandError, Draft, Event, Refusal};

use super::{How, Machine, Publication, Said, Saw, State, Step, Update};

pub(super) fn act(machine: &mut Machine, step: Step) -> Vec<Saw> {
    match step {
        Step::Publish { name } => publish(machine, name),
        Step::Accept { which } => accept(machine, which),
        Step::Refuse { which } => refuse(machine, which),
        Step::Withdraw { which, how } => withdraw(machine, which, how),
        Step::Revoke { which, .. } => revoke(machine, which),
        Step::Update { which } => update(machine, which),
        // The application may take its time.
        Step::Wait { millis } => {
            machine.end.wait(Duration::from_millis(millis));
            vec![]
        }
        Step::AnswerUpdate { .. } => vec![],
    }
}

fn publish(machine: &mut Machine, name: &str) -> Vec<Saw> {
    let id = machine.end.fresh_id();
    let on = machine.end.request(&say::publish_namespace(id, name));
    let Some(Event::Request { request, .. }) = machine.end.events.last() else {
        panic!("{:?}", machine.end.events)
    };
    let key = *request;
    let name = say::namespace(name);
    let n = machine.add(key, id, on, name.clone());
    vec![Saw::Asked(n, name)]
}

fn accept(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    let key = machine.publications[n].key;
    let accepted = machine.end.with(|e, now| e.accept(now, key, Accept::default()));
    // "A subscriber MUST send exactly one"
    assert_eq!(accepted.is_ok(), machine.publications[n].is_pending(), "{accepted:?}");
    if accepted.is_ok() {
        machine.publications[n].state = State::Accepted;
        machine.unsaid.push((n, Said::Ok));
        // Held until now: the first answer on the stream is the one to the request.
        for Update { id, .. } in core::mem::take(&mut machine.publications[n].updates) {
            machine.unsaid.push((n, Said::UpdateOk(id)));
        }
    }
    vec![]
}

fn refuse(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    let Publication { key, on, .. } = machine.publications[n];
    let refusal = Refusal::new(RequestErrorCode::Unauthorized);
    let refused = machine.end.with(|engine, now| engine.reject(now, key, refusal));
    assert_eq!(refused.is_ok(), machine.publications[n].is_pending(), "{refused:?}");
    if refused.is_ok() {
        // "it SHOULD send a REQUEST_ERROR and FIN the stream"
        assert!(!machine.has_streams() || machine.end.did(&Output::Fin(on)));
        machine.fin(n);
        machine.over(n);
        machine.unsaid.push((n, Said::Error));
    }
    vec![]
}

fn withdraw(machine: &mut Machine, which: u8, how: How) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    if machine.has_streams() {
        return machine.end_stream(n, how);
    }
    let Publication { id, ref name, .. } = machine.publications[n];
    let target = say::published_namespace(machine.draft, id, name);
    // By name it is for one of those that have it; the oldest here.
    let of = if machine.draft == Draft::D14 {
        let named = |known: &Publication| known.is_live() && known.name == *name;
        machine.publications.iter().position(named)
    } else {
        Some(n).filter(|n| machine.publications[*n].is_live())
    };
    machine.end.say(machine.end.control, &Message::PublishNamespaceDone(target));
    let Some(n) = of else { return vec![] };
    machine.over(n);
    vec![Saw::Cancelled(n, None)]
}

fn revoke(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which) else { return vec![] };
    let key = machine.publications[n].key;
    let code = RequestErrorCode::ExpiredAuthToken;
    let revoked =
        machine.end.with(|engine, now| engine.cancel_publish_namespace(now, key, code, "old"));
    match machine.publications[n].state {
        State::Accepted => {
            assert_eq!(revoked, Ok(()));
            machine.ended_here(n, Said::Cancel);
        }
        State::Pending { .. } => {
            assert!(matches!(revoked, Err(CommandError::WrongState(_))), "{revoked:?}");
        }
        State::Over => assert_eq!(revoked, Err(CommandError::Gone)),
    }
    vec![]
}

fn update(machine: &mut Machine, which: u8) -> Vec<Saw> {
    let Some(n) = machine.choose(which).filter(|_| machine.draft >= Draft::D16) else {
        return vec![];
    };
    if machine.publications[n].is_silent {
        return vec![];
    }
    let (id, until) = (machine.end.fresh_id(), machine.answered_until());
    let update = say::update(id, machine.publications[n].id, Parameters::default());
    machine.say(n, &update);
    match machine.publications[n].state {
        State::Over if machine.has_streams() => return vec![],
        // It crossed with the end.
        State::Over => {
            machine.unsaid.push((n, Said::UpdateError(id)));
            return vec![];
        }
        State::Pending { .. } if machine.has_streams() => {
            machine.publications[n].updates.push(Update { id, until });
        }
        _ => machine.unsaid.push((n, Said::UpdateOk(id))),
    }
    vec![Saw::Updated(n)]
}
