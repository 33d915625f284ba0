//! The ledger of requirements: what each draft demands of whom, and which test shows it.
//!
//! The files `conformance/ledger/*.toml` hold one [`Rule`] for each statement with a key word of
//! BCP 14 (MUST, SHOULD and so on; MAY is left out) in drafts 14, 16 and 18. A statement that is
//! the same in several drafts is one rule with an [`Id`] in each. [`Ledger::problems`] finds what
//! is wrong with the ledger itself and with the tests it cites; [`Ledger::differences`] compares it
//! with the text of a draft, key word by key word.

pub mod coverage;
pub mod rule;
pub mod sources;
pub mod text;

pub use rule::{Id, Level, Rule, State, Who};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

/// The drafts the ledger is about.
pub const DRAFTS: [u8; 3] = [14, 16, 18];

/// All rules, in the order of their files and in these.
#[derive(Debug)]
pub struct Ledger {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One file of the ledger.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

impl Ledger {
    /// The folder of the ledger that this crate holds.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("ledger")
    }

    /// Reads every `.toml` file of a folder, in the order of their names.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let mut rules = Vec::new();
        for path in paths {
            let file: File = toml::from_str(&fs::read_to_string(&path)?)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            rules.extend(file.rule);
        }
        Ok(Self { rules })
    }

    /// What is wrong with the ledger, a line each: an id that is there twice or leaves a number
    /// out, a rule without a state or with two, a test that is not among `tests`.
    pub fn problems(&self, tests: &BTreeSet<String>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut ids = BTreeSet::new();
        for rule in &self.rules {
            let mut problem = |what: String| problems.push(format!("{}: {what}", rule.name()));
            if rule.ids.is_empty() || rule.text.is_empty() {
                problem("a rule needs ids and a text".to_owned());
            }
            if let Err(what) = rule.state() {
                problem(what.to_owned());
            }
            for test in rule.tests.iter().filter(|test| !tests.contains(*test)) {
                problem(format!("there is no test {test}"));
            }
            for id in &rule.ids {
                if !DRAFTS.contains(&id.draft) {
                    problem(format!("{id} is of no draft we speak"));
                }
                if !ids.insert(id) {
                    problem(format!("{id} is there twice"));
                }
            }
        }
        for id in &ids {
            let before = Id { ordinal: id.ordinal.saturating_sub(1), ..(*id).clone() };
            if id.ordinal == 0 || (id.ordinal > 1 && !ids.contains(&before)) {
                problems.push(format!("{id} follows nothing: ordinals count from 1"));
            }
        }
        problems
    }

    /// How the ledger differs from the text of `draft`, a line each: the sections that hold more
    /// or fewer key words than the ledger accounts for, and the key words of another level.
    pub fn differences(&self, draft: u8, text: &str) -> Vec<String> {
        let mut ours: BTreeMap<&str, BTreeMap<u32, Level>> = BTreeMap::new();
        for rule in &self.rules {
            for id in rule.ids.iter().filter(|id| id.draft == draft) {
                ours.entry(&id.section).or_default().insert(id.ordinal, rule.level);
            }
        }
        let theirs = text::key_words(text);
        let mut differences = Vec::new();
        for (section, levels) in &theirs {
            let accounted = ours.remove(section.as_str()).unwrap_or_default();
            if accounted.len() != levels.len() {
                differences.push(format!(
                    "{draft}:#{section}: {} key words in the text, {} in the ledger",
                    levels.len(),
                    accounted.len()
                ));
            }
            for (ordinal, theirs) in (1..).zip(levels) {
                if let Some(ours) = accounted.get(&ordinal).filter(|ours| *ours != theirs) {
                    differences.push(format!(
                        "{draft}:#{section}.{ordinal}: {theirs} in the text, {ours} in the ledger"
                    ));
                }
            }
        }
        for (section, accounted) in ours {
            differences.push(format!(
                "{draft}:#{section}: 0 key words in the text, {} in the ledger",
                accounted.len()
            ));
        }
        differences
    }

    /// Up to `count` rules of level MUST or MUST NOT that tests cover, or of any level if `all`,
    /// drawn without repetition; the same for the same seed and ledger.
    pub fn sample(&self, count: usize, seed: u64, all: bool) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| (all || rule.level.is_must()) && rule.state() == Ok(State::Covered))
            .collect();
        let mut state = seed;
        let mut drawn = Vec::new();
        while drawn.len() < count && !rules.is_empty() {
            let left = rules.len() as u64;
            let index = usize::try_from(split_mix(&mut state) % left).unwrap_or_default();
            drawn.push(rules.swap_remove(index));
        }
        drawn
    }
}

/// The next number of `SplitMix64`, which is enough to draw a sample with.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(text: &str) -> Ledger {
        let file: File = toml::from_str(text).unwrap();
        Ledger { rules: file.rule }
    }

    fn rule(ids: &str, rest: &str) -> String {
        format!(
            "[[rule]]\nids = [{ids}]\nlevel = \"MUST\"\nwho = \"relay\"\ntext = \"t\"\n{rest}\n"
        )
    }

    #[test]
    fn what_is_wrong_is_found() {
        let tests = BTreeSet::from(["a::b".to_owned()]);
        let problems = |text: &str| ledger(text).problems(&tests);
        let ok = rule("'14:#s.1', '18:#s.1'", "tests = ['a::b']");
        assert_eq!(problems(&ok), [""; 0]);
        for (ids, rest, expected) in [
            ("'18:#r.1'", "", "18:#r.1: no state: give tests, exception or open"),
            ("'18:#r.1'", "tests = ['a::c']", "18:#r.1: there is no test a::c"),
            ("'18:#r.1'", "exception = 'x'\nopen = 'y'", "18:#r.1: an exception is not open"),
            ("'18:#s.1'", "open = 'y'", "18:#s.1: 18:#s.1 is there twice"),
            ("'15:#r.1'", "open = 'y'", "15:#r.1: 15:#r.1 is of no draft we speak"),
            ("'18:#s.3'", "open = 'y'", "18:#s.3 follows nothing: ordinals count from 1"),
            ("'18:#s.0'", "open = 'y'", "18:#s.0 follows nothing: ordinals count from 1"),
            ("", "open = 'y'", ": a rule needs ids and a text"),
        ] {
            assert_eq!(problems(&format!("{ok}{}", rule(ids, rest))), [expected]);
        }
        let no_id = rule("'18-s-1'", "");
        assert!(toml::from_str::<File>(&no_id).is_err());
    }

    #[test]
    fn what_differs_from_the_text_is_found() {
        let ledger = ledger(
            &(rule("'18:#s.1', '18:#s.2'", "open = 'y'") + &rule("'18:#t.1'", "open = 'y'")),
        );
        let differences =
            |text: &str| ledger.differences(18, &format!("--- middle\n{text}\n--- back\n"));
        assert_eq!(differences("# S {#s}\nMUST MUST\n# T\nMUST"), [""; 0]);
        let more = "18:#s: 3 key words in the text, 2 in the ledger";
        assert_eq!(differences("# S {#s}\nMUST MUST MUST\n# T\nMUST"), [more]);
        let none = "18:#t: 0 key words in the text, 1 in the ledger";
        assert_eq!(differences("# S {#s}\nMUST MUST\n# T"), [none]);
        let level = "18:#s.2: MUST NOT in the text, MUST in the ledger";
        assert_eq!(differences("# S {#s}\nMUST MUST NOT\n# T\nMUST"), [level]);
    }

    #[test]
    fn a_sample_is_the_same_for_the_same_seed() {
        let rules: String =
            (1..=20).map(|n| rule(&format!("'18:#s.{n}'"), "tests = ['a::b']")).collect();
        let should = rule("'18:#s.22'", "tests = ['a::b']").replace("MUST", "SHOULD");
        let ledger = ledger(&(rules + &rule("'18:#s.21'", "open = 'y'") + &should));
        let names =
            |seed| -> Vec<_> { ledger.sample(5, seed, false).iter().map(|r| r.name()).collect() };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        let all: BTreeSet<_> = ledger.sample(50, 3, false).iter().map(|rule| rule.name()).collect();
        assert_eq!(all.len(), 20, "each once, and only those that are covered");
        assert_eq!(ledger.sample(50, 3, true).len(), 21, "and the one that is a SHOULD");
    }
}
