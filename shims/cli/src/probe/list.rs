//! The relays to probe.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use moqt_quic::{Target, TargetError};
use serde::Deserialize;

use crate::failure::Failure;

/// A relay, and where it is to be found.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Time between two probes, if it has one of its own; zero for one probe alone.
    pub(crate) interval: Option<Duration>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// Whether its certificate is to be looked at; as the command line says if this says nothing.
    pub(crate) verify_tls: Option<bool>,
}

impl Listed {
    /// A relay of which nothing but its URL is known.
    pub(crate) fn of_url(url: &str) -> Result<Self, Failure> {
        let _: Target =
            url.parse().map_err(|error: TargetError| Failure::new(error.to_string()))?;
        Ok(Self {
            id: url.to_owned(),
            name: url.to_owned(),
            interval: None,
            endpoints: vec![Endpoint { url: url.to_owned(), verify_tls: None }],
        })
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(|endpoint| endpoint.url.as_str())
    }
}

/// A relay as the file has it.
#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
    name: Option<String>,
    /// Seconds.
    interval: Option<f64>,
    endpoints: Vec<Endpoint>,
}

/// Reads a list of relays. A URL that is none is not an error here: it is an endpoint that is down.
pub(crate) fn read(file: &Path) -> Result<Vec<Listed>, Failure> {
    let cannot =
        |why: &str| Failure::new(format!("cannot read relays from {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| cannot(&error.to_string()))?;
    parse(&text).map_err(|why| cannot(&why))
}

fn parse(text: &str) -> Result<Vec<Listed>, String> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if entries.is_empty() {
        return Err("the list is empty".into());
    }
    let mut ids = HashSet::new();
    let listed = entries.into_iter().map(|entry| {
        let Entry { id, name, interval, endpoints } = entry;
        if !ids.insert(id.clone()) {
            return Err(format!("the relay {id:?} is listed twice"));
        }
        let interval = interval.map(Duration::try_from_secs_f64).transpose();
        let interval = interval.map_err(|error| format!("the interval of {id:?}: {error}"))?;
        Ok(Listed { name: name.unwrap_or_else(|| id.clone()), id, interval, endpoints })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_meaning() {
        let relays = parse(
            r#"[{"id": "a", "endpoints": [{"url": "moqt://a"}]},
                {"id": "b", "name": "B", "interval": 1.5, "notes": "ignored",
                 "endpoints": [{"url": "https://b/", "verify_tls": false}]}]"#,
        )
        .unwrap();
        assert_eq!((relays[0].name.as_str(), relays[0].interval), ("a", None));
        assert_eq!(relays[0].endpoints[0].verify_tls, None);
        assert_eq!(relays[1].interval, Some(Duration::from_millis(1500)));
        assert_eq!(relays[1].endpoints[0].verify_tls, Some(false));
    }

    #[test]
    fn a_list_that_is_wrong_is_told_so() {
        for (text, what) in [
            ("[]", "empty"),
            ("{", "line 1"),
            (r#"[{"id": "a", "endpoints": []}, {"id": "a", "endpoints": []}]"#, "twice"),
            (r#"[{"id": "a", "interval": -1, "endpoints": []}]"#, "interval of \"a\""),
            (r#"[{"id": "a"}]"#, "endpoints"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
