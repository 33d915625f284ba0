//! Streams read again, from the drafts' figures and with all bytes at hand, to hold what a
//! connection gave against what its stream held.
//!
//! Nothing of the engine's is used for it but the types of what is given.

use moqt_engine::Draft;
use moqt_engine::model::ObjectStatus;

use crate::end::{Fetched, Got};

/// What a data stream holds, as far as it can be told.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// Everything up to the end, or to what cannot be.
    pub items: Vec<Item<'a>>,
    /// Where the bytes end.
    pub end: Ended,
    /// The header is whole: the track alias or Request ID in it.
    pub header: Option<u64>,
}

/// Where a data stream's bytes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Between items: where the stream may finish.
    Between,
    /// In the header, in an item, or in payload.
    Within,
    /// Before something that cannot be.
    Broken,
}

/// An object, or a range of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Item<'a> {
    pub group: u64,
    /// `None` if the object was a datagram; known of fetches only.
    pub subgroup: Option<u64>,
    pub object: u64,
    pub is_range: bool,
    pub status: u64,
    pub properties: &'a [u8],
    pub payload_len: u64,
    /// As much of it as there is.
    pub payload: &'a [u8],
}

/// What a subgroup stream holds. Properties are no longer than `max`.
pub fn subgroup(draft: Draft, bytes: &[u8], max: u64) -> Held<'_> {
    let mut cursor = Cursor { draft, rest: bytes };
    let mut held = Held { items: Vec::new(), end: Ended::Within, header: None };
    held.end = match subgroup_items(&mut cursor, &mut held, max) {
        Ok(()) => Ended::Between,
        Err(end) => end,
    };
    held
}

fn subgroup_items<'a>(cursor: &mut Cursor<'a>, held: &mut Held<'a>, max: u64) -> Result<(), Ended> {
    let draft = cursor.draft;
    let code = cursor.int()?;
    let bits = match draft {
        Draft::D14 => 0x0F,
        Draft::D16 => 0x2F,
        _ => 0x6F,
    };
    if code & 0x10 == 0 || code & !(bits | 0x10) != 0 || code & 6 == 6 {
        return Err(Ended::Broken);
    }
    let alias = cursor.int()?;
    let group = cursor.int()?;
    if code & 6 == 4 {
        cursor.int()?;
    }
    if code & 0x20 == 0 {
        cursor.take(1)?;
    }
    held.header = Some(alias);
    let mut before = None;
    while !cursor.rest.is_empty() {
        let delta = cursor.int()?;
        let properties = if code & 1 == 0 { &[][..] } else { cursor.block(max)? };
        let payload_len = cursor.int()?;
        let status = if payload_len == 0 { cursor.int()? } else { 0 };
        let first = before.map_or(Some(0), |before| cursor.sum(before, 1));
        let object = first.and_then(|first| cursor.sum(first, delta)).ok_or(Ended::Broken)?;
        check_status(draft, status, properties)?;
        before = Some(object);
        let payload = cursor.up_to(payload_len);
        let item = Item { group, object, status, properties, payload_len, payload, ..item() };
        held.items.push(item);
        if (payload.len() as u64) < payload_len {
            return Err(Ended::Within);
        }
    }
    Ok(())
}

/// What the stream of a fetch holds whose groups come in ascending order.
pub fn fetch(draft: Draft, bytes: &[u8], max: u64) -> Held<'_> {
    let mut cursor = Cursor { draft, rest: bytes };
    let mut held = Held { items: Vec::new(), end: Ended::Within, header: None };
    held.end = match fetch_items(&mut cursor, &mut held, max) {
        Ok(()) => Ended::Between,
        Err(end) => end,
    };
    held
}

fn fetch_items<'a>(cursor: &mut Cursor<'a>, held: &mut Held<'a>, max: u64) -> Result<(), Ended> {
    if cursor.int()? != 5 {
        return Err(Ended::Broken);
    }
    held.header = Some(cursor.int()?);
    while !cursor.rest.is_empty() {
        let mut item = if cursor.draft == Draft::D14 {
            absolute(cursor, max)?
        } else {
            flagged(cursor, &held.items, max)?
        };
        item.payload = cursor.up_to(item.payload_len);
        held.items.push(item);
        if (item.payload.len() as u64) < item.payload_len {
            return Err(Ended::Within);
        }
    }
    Ok(())
}

fn absolute<'a>(cursor: &mut Cursor<'a>, max: u64) -> Result<Item<'a>, Ended> {
    let group = cursor.int()?;
    let subgroup = Some(cursor.int()?);
    let object = cursor.int()?;
    cursor.take(1)?;
    let properties = cursor.block(max)?;
    let payload_len = cursor.int()?;
    let status = if payload_len == 0 { cursor.int()? } else { 0 };
    check_status(cursor.draft, status, properties)?;
    Ok(Item { group, subgroup, object, status, properties, payload_len, ..item() })
}

fn flagged<'a>(cursor: &mut Cursor<'a>, before: &[Item<'_>], max: u64) -> Result<Item<'a>, Ended> {
    let deltas = cursor.draft != Draft::D16;
    let flags = cursor.int()?;
    if flags == 0x8C || flags == 0x10C {
        let (group, object) = (cursor.int()?, cursor.int()?);
        return Ok(Item { group, object, is_range: true, ..item() });
    }
    if flags >= 0x80 {
        return Err(Ended::Broken);
    }
    let has = |bit: u64| flags & bit != 0;
    // What flags may refer to besides the location, which is that of a range, too.
    let prior = before.iter().rev().find(|item| !item.is_range);
    let group = if has(8) { Some(cursor.int()?) } else { None };
    let subgroup = match flags & 3 {
        _ if has(0x40) => None,
        3 => Some(cursor.int()?),
        0 => Some(0),
        mode => {
            let id = prior.and_then(|prior| prior.subgroup).ok_or(Ended::Broken)?;
            Some(cursor.sum(id, mode - 1).ok_or(Ended::Broken)?)
        }
    };
    let object = if has(4) { Some(cursor.int()?) } else { None };
    let (group, object) = match before.last() {
        None => (group, object),
        Some(last) => {
            let id = match object {
                None => cursor.sum(last.object, 1),
                Some(delta) if deltas && group.is_none() => cursor.sum(last.object, delta),
                id => id,
            };
            let group = match group {
                None => Some(last.group),
                Some(delta) if deltas => {
                    cursor.sum(delta, 1).and_then(|step| cursor.sum(last.group, step))
                }
                id => id,
            };
            (group, id)
        }
    };
    let (group, object) = (group.ok_or(Ended::Broken)?, object.ok_or(Ended::Broken)?);
    if has(0x10) {
        cursor.take(1)?;
    } else if prior.is_none() {
        return Err(Ended::Broken);
    }
    let properties = if has(0x20) { cursor.block(max)? } else { &[][..] };
    let payload_len = cursor.int()?;
    Ok(Item { group, subgroup, object, properties, payload_len, ..item() })
}

fn item() -> Item<'static> {
    Item::default()
}

fn check_status(draft: Draft, status: u64, properties: &[u8]) -> Result<(), Ended> {
    let may_have_properties = match status {
        0 => true,
        1 if draft == Draft::D14 => false,
        3 | 4 => draft == Draft::D14,
        _ => return Err(Ended::Broken),
    };
    if may_have_properties || properties.is_empty() { Ok(()) } else { Err(Ended::Broken) }
}

struct Cursor<'a> {
    draft: Draft,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Ended> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Ended::Within)?;
        self.rest = rest;
        Ok(taken)
    }

    fn up_to(&mut self, len: u64) -> &'a [u8] {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.rest.len());
        self.take(len).unwrap_or_default()
    }

    fn block(&mut self, max: u64) -> Result<&'a [u8], Ended> {
        let len = self.int()?;
        if len > max {
            return Err(Ended::Broken);
        }
        self.take(usize::try_from(len).map_err(|_| Ended::Broken)?)
    }

    /// If that is an integer of the draft.
    fn sum(&self, first: u64, second: u64) -> Option<u64> {
        let largest = if self.draft < Draft::D18 { (1 << 62) - 1 } else { u64::MAX };
        first.checked_add(second).filter(|sum| *sum <= largest)
    }

    fn int(&mut self) -> Result<u64, Ended> {
        let first = *self.rest.first().ok_or(Ended::Within)?;
        let (len, bits) = match self.draft {
            Draft::D14 | Draft::D16 => (1 << (first >> 6), first & 0x3F),
            _ => {
                let ones = first.leading_ones();
                (1 + ones as usize, first & 0x7F_u8.checked_shr(ones).unwrap_or(0))
            }
        };
        let bytes = self.take(len)?;
        let low = bytes.iter().skip(1);
        Ok(low.fold(u64::from(bits), |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// Checks that what was read of a subgroup is a beginning of what it held, whole if `all`.
pub fn check_subgroup(held: &Held<'_>, got: &[Got], all: bool) {
    let mut items = held.items.iter();
    let mut is_open = false;
    for got in got {
        let Got::Object(header, payload) = got else { break };
        assert!(!is_open, "an object after one that was cut off");
        let Some(item) = items.next() else { unreachable!("{header:?} is not in {held:?}") };
        assert_eq!(header.object_id, item.object);
        assert_eq!(header.payload_len, item.payload_len);
        assert_eq!(header.status, status(item.status));
        assert_eq!(header.properties.as_bytes(), item.properties);
        is_open = check_payload(item, payload, all);
    }
    assert!(!all || items.next().is_none(), "an object was not given: {held:?}, {got:?}");
}

/// The same for a fetch.
pub fn check_fetch(held: &Held<'_>, got: &[Fetched], all: bool) {
    let mut items = held.items.iter();
    let mut is_open = false;
    for got in got {
        if !matches!(got, Fetched::Object(..) | Fetched::EndOfRange(..)) {
            break;
        }
        assert!(!is_open, "something after an object that was cut off");
        let Some(item) = items.next() else { unreachable!("{got:?} is not in {held:?}") };
        let location = match got {
            Fetched::Object(object, payload) => {
                assert!(!item.is_range);
                assert_eq!(object.subgroup_id, item.subgroup);
                assert_eq!(object.payload_len, item.payload_len);
                assert_eq!(object.status, status(item.status));
                assert_eq!(object.properties.as_bytes(), item.properties);
                is_open = check_payload(item, payload, all);
                object.location
            }
            Fetched::EndOfRange(location, _) => {
                assert!(item.is_range);
                *location
            }
            _ => break,
        };
        assert_eq!((location.group, location.object), (item.group, item.object));
    }
    assert!(!all || items.next().is_none(), "an object was not given: {held:?}, {got:?}");
}

/// Whether payload of the object was missing.
fn check_payload(item: &Item<'_>, payload: &[u8], all: bool) -> bool {
    assert!(item.payload.starts_with(payload), "{payload:?} of {item:?}");
    assert!(!all || payload == item.payload, "{payload:?} of {item:?}");
    (payload.len() as u64) < item.payload_len
}

fn status(code: u64) -> ObjectStatus {
    match code {
        0 => ObjectStatus::Normal,
        1 => ObjectStatus::DoesNotExist,
        3 => ObjectStatus::EndOfGroup,
        _ => ObjectStatus::EndOfTrack,
    }
}
