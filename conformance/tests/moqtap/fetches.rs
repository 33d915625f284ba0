//! Objects and ranges on fetch streams.

use moqt_conformance::moqtap;
use moqt_conformance::streams::{End, Found, Item, read_fetch, write_fetch};
use moqt_engine::model::{Draft, GroupOrder};
use moqt_engine::wire::FetchWriter;
use proptest::prelude::*;

use super::generate::objects::{items, order};

fn with_header(draft: Draft, order: GroupOrder, items: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FetchWriter::new(draft.dialect(), order).header(4, &mut bytes).unwrap();
    bytes.extend(items);
    bytes
}

/// What we write it reads, and what it writes we read. It refers to prior objects more often than
/// we do, so the bytes are not compared.
fn compare_fetch(draft: Draft, order: GroupOrder, items: &[Item]) -> Result<(), TestCaseError> {
    let ours = with_header(draft, order, &write_fetch(draft, order, items).unwrap().concat());
    let found = Found { header: Some(4), items: items.to_vec(), end: End::Boundary };
    prop_assert_eq!(&read_fetch(draft, order, &ours), &found);
    let Found { header, items: read, end } = moqtap::read_fetch(draft, order, &ours);
    prop_assert_eq!((header, read, end), (Some(4), items.to_vec(), End::Boundary));
    let theirs = with_header(draft, order, &moqtap::write_fetch(draft, order, items).unwrap());
    prop_assert_eq!(&read_fetch(draft, order, &theirs), &found);
    Ok(())
}

proptest! {
    #[test]
    fn fetches(
        (order, d14, d16, d18) in order().prop_flat_map(|order| (
            Just(order), items(Draft::D14, order), items(Draft::D16, order), items(Draft::D18, order)
        )),
    ) {
        compare_fetch(Draft::D14, order, &d14)?;
        compare_fetch(Draft::D16, order, &d16)?;
        compare_fetch(Draft::D18, order, &d18)?;
    }
}
