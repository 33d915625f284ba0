use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{Draft, Parameters, StreamResetCode};
use moqt_engine::wire::{Datagram, ObjectDatagram};
use moqt_engine::{Config, Event};

use crate::end::End;
use crate::{cases, say};

/// Datagrams: as values, and what becomes of them in a session.
///
/// The first byte chooses draft and role. Then come datagrams, each with its length in one byte.
/// The first three subscriptions have the aliases 0, 1 and 2, of which the third is over.
pub fn datagram(data: &[u8]) {
    let Some((choice, mut data)) = data.split_first() else { return };
    let cases: Vec<_> = cases().collect();
    let (draft, role) = cases[usize::from(*choice) % cases.len()];
    let mut end = End::established(draft, role, Config::default());
    for alias in 0..3 {
        subscribe(&mut end, alias);
    }
    let mut objects = 0;
    while let Some((len, rest)) = data.split_first() {
        let (datagram, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let datagram = Bytes::copy_from_slice(datagram);
        let decoded = value(draft, &datagram);
        if end.closed().is_none() && matches!(decoded, Some(Datagram::Object(_))) {
            objects += 1;
        }
        end.datagram(datagram);
        assert!(decoded.is_some() || end.closed().is_some(), "{draft}: wrong, and no matter");
    }
    // Whatever waits for its track to be announced does not wait for ever.
    end.wait(Duration::from_secs(3600));
    if end.closed().is_none() {
        assert_eq!(accounted(&mut end), objects, "{draft}: {:?}", end.engine.stats().received);
    }
}

fn subscribe(end: &mut End, alias: u64) {
    let (id, track) = (end.next_own_id(), say::track(&alias.to_string()));
    let request = end.with(|engine, now| engine.subscribe(now, &track, &Parameters::default()));
    let request = request.expect("nothing in the way");
    let on = end.own_request();
    end.say(on, &say::subscribe_ok(id, alias));
    if alias == 2 {
        let code = StreamResetCode::Cancelled;
        end.with(|engine, now| engine.cancel(now, request, code)).expect("it is there");
    }
    end.take_events();
}

/// Datagrams with objects of which something was said: given, dropped, or their track cancelled
/// for them.
fn accounted(end: &mut End) -> usize {
    let events = end.take_events();
    let objects = events.iter().filter(|event| {
        matches!(
            event,
            Event::Datagram { .. } | Event::DatagramDropped { .. } | Event::TrackMalformed { .. }
        )
    });
    objects.count()
}

/// A datagram is refused with a reason, or means what is written of it. What it says otherwise
/// than it would be written means the same.
fn value(draft: Draft, data: &Bytes) -> Option<Datagram> {
    let dialect = draft.dialect();
    let limit = Config::default().limits.object_properties;
    let datagram = match Datagram::decode(dialect, data, limit) {
        Ok(datagram) => datagram,
        Err(error) => {
            assert!(error.offset <= data.len(), "{error} of {} bytes", data.len());
            return None;
        }
    };
    if let Datagram::Object(object) = &datagram {
        let written = write(draft, object);
        assert!(written.len() <= data.len(), "{object:?} has become longer");
        let read = Datagram::decode(dialect, &written, limit);
        assert_eq!(read.as_ref(), Ok(&datagram), "{draft}");
        if let Ok(Datagram::Object(read)) = read {
            assert_eq!(write(draft, &read), written, "{draft}");
        }
        for cut in 0..written.len() - object.payload.len() {
            let cut = Datagram::decode(dialect, &written.slice(..cut), limit);
            assert!(cut.is_err(), "{draft}: {cut:?} of {object:?}");
        }
    }
    Some(datagram)
}

fn write(draft: Draft, object: &ObjectDatagram) -> Bytes {
    let mut bytes = Vec::new();
    let header = &object.header;
    let written = header.encode(draft.dialect(), object.payload.len(), &mut bytes);
    assert_eq!(written, Ok(()), "{draft}: {object:?}");
    bytes.extend_from_slice(&object.payload);
    bytes.into()
}
