//! Time an object (or message) takes: `cargo bench -p moqt-bench`. The fixtures are those of
//! the instruction counts; on a shared machine compare figures within one run only.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, main};
use moqt_bench::Case;
use moqt_bench::codec::{DecodeSubscribe, Read, WriteHeaders};
use moqt_bench::connection::{Receive, Transmit};
use moqt_bench::loopback::Session;
use moqt_engine::Draft;

const COUNT: u64 = 1000;

const DRAFTS: [u8; 3] = [14, 16, 18];

fn draft(number: u8) -> Draft {
    Draft::ALL.into_iter().find(|draft| draft.number() == number).unwrap_or(Draft::D18)
}

fn bench<C: Case>(bencher: Bencher<'_, '_>, bytes: u64, prepare: impl Fn() -> C + Sync) {
    bencher
        .counter(ItemsCount::new(COUNT))
        .counter(BytesCount::new(COUNT * bytes))
        .with_inputs(prepare)
        .bench_local_refs(Case::run);
}

#[divan::bench(args = DRAFTS)]
fn read_one_buffer(bencher: Bencher<'_, '_>, number: u8) {
    bench(bencher, 1024, || Read::new(draft(number), COUNT, 1024, usize::MAX));
}

#[divan::bench(args = DRAFTS)]
fn read_chunks_of_1200(bencher: Bencher<'_, '_>, number: u8) {
    bench(bencher, 1024, || Read::new(draft(number), COUNT, 1024, 1200));
}

#[divan::bench(args = DRAFTS)]
fn write_headers(bencher: Bencher<'_, '_>, number: u8) {
    bench(bencher, 0, || WriteHeaders::new(draft(number), COUNT));
}

#[divan::bench(args = DRAFTS)]
fn decode_subscribe(bencher: Bencher<'_, '_>, number: u8) {
    bench(bencher, 0, || DecodeSubscribe::new(draft(number), COUNT));
}

#[divan::bench(args = [1, 100, 10_000])]
fn connection_receives(bencher: Bencher<'_, '_>, subscriptions: u64) {
    bench(bencher, 1024, || Receive::new(Draft::D18, COUNT, usize::MAX, subscriptions));
}

#[divan::bench(args = [1, 100, 10_000])]
fn connection_sends(bencher: Bencher<'_, '_>, subscriptions: u64) {
    bench(bencher, 1024, || Transmit::new(Draft::D18, COUNT, subscriptions));
}

#[divan::bench(args = DRAFTS)]
fn session_over_the_loopback(bencher: Bencher<'_, '_>, number: u8) {
    bench(bencher, 1024, || Session::new(draft(number), COUNT));
}
