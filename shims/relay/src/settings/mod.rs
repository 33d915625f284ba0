//! What a relay allows and keeps, from a file.

mod table;

use std::fs;
use std::path::Path;

use moqt_engine::Limits;
use moqt_quinn_proto::{ConnectionLimits, TransportOptions};
use moqt_relay::Config;
use serde::Deserialize;

use crate::load_error::LoadError;
use table::{ConnectionsTable, RelayTable, SessionTable, TransportTable};

/// What a relay allows and keeps: all that has a number. [`sample`](Self::sample) is a
/// file with all of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// `[relay]`: how it relays, and what each shard keeps.
    pub relay: Config,
    /// `[connections]`: who is let in.
    pub connections: ConnectionLimits,
    /// `[session]`: what one client can cause.
    pub session: Limits,
    /// `[transport]`: QUIC's parameters.
    pub transport: TransportOptions,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    relay: RelayTable,
    connections: ConnectionsTable,
    session: SessionTable,
    transport: TransportTable,
}

impl Default for Settings {
    /// What suits a relay: sessions may have more than those of other endpoints, and answers may
    /// take as long as a SUBSCRIBE waits for a publisher here and there.
    fn default() -> Self {
        use std::time::Duration;

        let relay = Config::default();
        let mut connections = ConnectionLimits::default();
        connections.per_address = 1024;
        connections.half_open = 1024;
        connections.setup_timeout = Some(Duration::from_secs(10));
        let mut session = Limits::default();
        session.open_requests = 16_384;
        session.open_subscriptions = 8192;
        session.open_publishes = 8192;
        session.open_publish_namespaces = 8192;
        session.open_namespace_subscriptions = 1024;
        session.answer_timeout =
            Some(relay.wait_for_publisher_max.saturating_add(Duration::from_secs(10)));
        let transport = TransportOptions::default();
        Self { relay, connections, session, transport }
    }
}

impl Settings {
    /// The defaults, and what a file says otherwise.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let text = fs::read_to_string(file);
        let text =
            text.map_err(|error| LoadError::new(file, format!("cannot be read: {error}")))?;
        Self::parse(file, &text)
    }

    /// The same with the text that the file has.
    pub fn parse(file: &Path, text: &str) -> Result<Self, LoadError> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let what = error.message().to_owned();
            match error.span() {
                Some(place) => LoadError::at(file, text, place, what),
                None => LoadError::new(file, what),
            }
        })?;
        let mut settings = Self::default();
        document.relay.apply(&mut settings.relay);
        document.connections.apply(&mut settings.connections);
        document.session.apply(&mut settings.session);
        document.transport.apply(&mut settings.transport);
        Ok(settings)
    }

    /// A file that says all this, with a comment on each.
    pub fn sample(&self) -> String {
        let mut text = String::from(
            "# What a relay allows and keeps. Times are in seconds, sizes in bytes. What is not said\n\
             # here has its default, which is what `moqt relay --print-config` prints.\n",
        );
        text.push_str("\n# How it relays, and what each shard keeps.\n[relay]\n");
        RelayTable::write(&self.relay, &mut text);
        text.push_str("\n# Who is let in.\n[connections]\n");
        ConnectionsTable::write(&self.connections, &mut text);
        text.push_str("\n# What one client can cause.\n[session]\n");
        SessionTable::write(&self.session, &mut text);
        text.push_str("\n# QUIC.\n[transport]\n");
        TransportTable::write(&self.transport, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Settings, LoadError> {
        Settings::parse(Path::new("relay.toml"), text)
    }

    /// The lines of a value's fields.
    fn fields(value: &impl Debug) -> Vec<String> {
        let text = format!("{value:#?}");
        let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
        lines.filter(|line| !line.starts_with([' ', ')'])).map(str::to_owned).collect()
    }

    #[test]
    fn the_file_in_the_repository_is_the_sample() {
        let file = include_str!("../../deploy/relay.toml");
        assert!(file == Settings::default().sample(), "run: moqt relay --print-config");
    }

    #[test]
    fn the_sample_has_every_field_and_says_the_same() {
        let settings = Settings::default();
        let sample = settings.sample();
        for field in fields(&settings.relay).iter().chain(&fields(&settings.connections)) {
            let (name, _) = field.split_once(": ").unwrap();
            assert!(sample.contains(&format!("\n{name} = ")), "{name} is not in the sample");
        }
        let read = parse(&sample).unwrap();
        assert_eq!(format!("{read:?}"), format!("{settings:?}"));
    }

    #[test]
    fn every_setting_is_set() {
        // Each number of the sample, changed, changes what comes of it.
        let sample = Settings::default().sample();
        let before = format!("{:?}", Settings::default());
        let mut count = 0;
        let mut section = "";
        for line in sample.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some((name, value)) = line.split_once(" = ") else { continue };
            if line.starts_with('#') {
                continue;
            }
            let other = match value {
                "false" => "true",
                "true" => "false",
                "1234" => "1235",
                _ => "1234",
            };
            let changed = parse(&format!("{section}\n{name} = {other}\n")).unwrap();
            assert_ne!(format!("{changed:?}"), before, "{section} {name}");
            count += 1;
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, what) in [
            ("[relay]\nlinger = 1\nligner = 2\n", 3, "ligner"),
            ("\n[rely]\n", 2, "rely"),
            ("[relay]\nlinger = \"soon\"\n", 2, "seconds"),
            ("[relay]\nlinger = -1\n", 2, "seconds"),
            ("[relay]\ntracks = -1\n", 2, ""),
            ("[session]\nopen_requests = 5000000000\n", 2, ""),
            ("[relay\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line(), Some(line), "{text:?}: {error}");
            assert!(error.to_string().contains(what), "{text:?}: {error}");
            assert!(error.to_string().starts_with("relay.toml:"), "{error}");
        }
    }

    #[test]
    fn times_may_be_parts_of_a_second_and_none_at_all() {
        let settings = parse("[relay]\nlinger = 0.25\n[transport]\nkeep_alive = 0\n").unwrap();
        assert_eq!(settings.relay.linger, Duration::from_millis(250));
        assert_eq!(settings.transport.keep_alive, None);
    }
}
