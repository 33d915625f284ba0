//! A relay's figures, in the text format of OpenMetrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::{Report, ShardReport};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of a report.
pub(super) fn text(report: Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("moqt_relay");
    registry.register_collector(Box::new(Figures(report)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures(Report);

type Of = fn(&ShardReport) -> u64;

/// What every shard has now.
const GAUGES: [(&str, &str, Of); 9] = [
    ("sessions", "Sessions", |shard| shard.relay.sessions),
    ("tracks", "Tracks known, with subscribers or publishers", |shard| shard.relay.tracks),
    ("namespaces", "Namespaces published", |shard| shard.relay.namespaces),
    ("subscribers", "Subscriptions of clients", |shard| shard.relay.subscribers),
    ("publishers", "Subscriptions upstream", |shard| shard.relay.publishers),
    ("cache_bytes", "Bytes in the cache", |shard| shard.relay.cache_bytes),
    ("cache_objects", "Objects in the cache", |shard| shard.relay.cache_objects),
    ("connections", "QUIC connections, with or without a session", |shard| shard.connections),
    ("shard_messages_waiting", "Messages from other shards that wait", |shard| {
        shard.messages_waiting
    }),
];

/// What every shard has done so far.
const COUNTERS: [(&str, &str, Of); 20] = [
    ("sessions_begun", "Sessions that there have been", |shard| shard.relay.sessions_total),
    ("requests", "Requests of clients", |shard| shard.relay.requests),
    ("requests_refused", "Requests of clients that were refused", |shard| {
        shard.relay.requests_refused
    }),
    ("unauthorized", "Requests and sessions that were not authorized", |shard| {
        shard.relay.unauthorized
    }),
    ("objects_in", "Objects that came in", |shard| shard.relay.objects_in),
    ("object_bytes_in", "Payload of objects that came in", |shard| shard.relay.bytes_in),
    ("duplicate_objects", "Objects that another publisher had given already", |shard| {
        shard.relay.duplicates
    }),
    ("objects_out", "Objects handed to subscribers' connections", |shard| shard.relay.objects_out),
    ("object_bytes_out", "Payload of objects handed to subscribers' connections", |shard| {
        shard.relay.bytes_out
    }),
    ("subgroups_given_up", "Subgroups that slow subscribers did not get whole", |shard| {
        shard.relay.subgroups_given_up
    }),
    ("too_far_behind", "Subscriptions ended with TOO_FAR_BEHIND", |shard| {
        shard.relay.too_far_behind
    }),
    ("cache_hits", "FETCHes answered from the cache alone", |shard| shard.relay.cache_hits),
    ("cache_misses", "FETCHes for which something was fetched upstream", |shard| {
        shard.relay.cache_misses
    }),
    ("malformed_tracks", "Tracks found malformed", |shard| shard.relay.malformed_tracks),
    ("udp_datagrams_in", "UDP datagrams that came in", |shard| shard.traffic.datagrams_in),
    ("udp_bytes_in", "Payload of UDP datagrams that came in", |shard| shard.traffic.bytes_in),
    ("udp_datagrams_out", "UDP datagrams that were sent", |shard| shard.traffic.datagrams_out),
    ("udp_bytes_out", "Payload of UDP datagrams that were sent", |shard| shard.traffic.bytes_out),
    ("strays", "UDP datagrams that came in at another shard's socket", |shard| shard.strays),
    ("shard_messages", "Messages from other shards", |shard| shard.messages),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Report { shards, admission } = &self.0;
        for (name, help, of) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (index, shard) in shards.iter().enumerate() {
                let labels = [("shard", index.to_string())];
                family.encode_family(&labels)?.encode_gauge(&signed(of(shard)))?;
            }
        }
        for (name, help, of) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (index, shard) in shards.iter().enumerate() {
                let labels = [("shard", index.to_string())];
                let value = of(shard);
                let mut metric = family.encode_family(&labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        let gauges = [
            ("clients", "Connections of clients", admission.connections as u64),
            (
                "clients_half_open",
                "Clients whose sessions are not set up",
                admission.half_open as u64,
            ),
            ("client_addresses", "Addresses that clients come from", admission.addresses as u64),
        ];
        let memory = resident_memory().map(|bytes| {
            ("resident_memory_bytes", "Memory of the process that is resident", bytes)
        });
        for (name, help, value) in gauges.into_iter().chain(memory) {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&signed(value))?;
        }
        let counters = [
            ("clients_refused", "Connections of clients that were refused", admission.refused),
            ("clients_retried", "Clients that had to prove their address", admission.retried),
        ];
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The memory of this process, where the system says.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
