use moqt_engine::wire::{Ints, MAX_INT_LEN};

use super::reference;

/// Variable-length integers, the two kinds: bytes to a value, by the text and by the engine; and
/// the same bytes, as a value, written in every length there is.
pub fn varints(data: &[u8]) {
    for ints in [Ints::Quic, Ints::Vi64] {
        read(ints, data);
        let mut value = [0; 8];
        for (to, from) in value.iter_mut().rev().zip(data.iter().rev()) {
            *to = *from;
        }
        write(ints, u64::from_be_bytes(value));
    }
}

fn read(ints: Ints, data: &[u8]) {
    let found = ints.decode(data);
    let expected = reference::int(ints, data);
    assert_eq!(found.map(|(value, len)| (u128::from(value), len)), expected, "{ints:?}");
    let Some((value, len)) = found else { return };
    assert!(len <= MAX_INT_LEN && value <= ints.max());
    assert!(ints.len(value) <= len, "{ints:?}: no form of {value} is shorter than the shortest");
    for cut in 0..len {
        assert_eq!(ints.decode(&data[..cut]), None, "{ints:?}: {cut} bytes of {len}");
    }
    assert_eq!(ints.decode(&data[..len]), found, "{ints:?}: what follows matters");
    write(ints, value);
}

fn write(ints: Ints, value: u64) {
    let forms: Vec<Vec<u8>> = (1..=MAX_INT_LEN)
        .filter_map(|len| reference::int_in(ints, u128::from(value), len))
        .collect();
    for form in &forms {
        assert_eq!(ints.decode(form), Some((value, form.len())), "{ints:?}");
    }
    let written = ints.encode(value).map(|(bytes, len)| bytes[..len].to_vec());
    assert_eq!(written.as_ref(), forms.first(), "{ints:?}: {value}");
    assert_eq!(written.is_some(), value <= ints.max(), "{ints:?}: {value}");
    if let Some(written) = written {
        assert_eq!(written.len(), ints.len(value), "{ints:?}: {value}");
    }
}
