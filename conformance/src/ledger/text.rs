//! The key words in the text of a draft.

use std::collections::BTreeMap;

use super::Level;

/// The levels of the key words in each section of a draft, in the order of the text. `text` is
/// the source of the draft in kramdown, as `draft-ietf-moq-transport.md` is in the public
/// repository; what counts is between `--- middle` and `--- back`.
///
/// A section is known by its anchor (`{#anchor}` in its heading, else what kramdown makes of the
/// title); sections with the same anchor count as one. Sections without key words are left out.
pub fn key_words(text: &str) -> BTreeMap<String, Vec<Level>> {
    let mut sections: BTreeMap<String, Vec<Level>> = BTreeMap::new();
    let mut section = String::new();
    let mut fenced = false;
    // A key word that a NOT may still follow, on the next line too.
    let mut last: Option<Level> = None;
    let lines = text.lines().skip_while(|line| !line.starts_with("--- middle")).skip(1);
    for line in lines.take_while(|line| !line.starts_with("--- back")) {
        if line.starts_with("~~~") || line.starts_with("```") {
            fenced = !fenced;
        }
        if !fenced && line.starts_with('#') {
            section = anchor(line);
            continue;
        }
        for word in line.split_whitespace() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            let levels = sections.entry(section.clone()).or_default();
            let negated = last.take().and_then(|level| match (level, bare) {
                (Level::Must, "NOT") => Some(Level::MustNot),
                (Level::Should, "NOT") => Some(Level::ShouldNot),
                _ => None,
            });
            if let (Some(negated), Some(level)) = (negated, levels.last_mut()) {
                *level = negated;
            }
            let level = match bare {
                "MUST" | "SHALL" | "REQUIRED" => Level::Must,
                "SHOULD" | "RECOMMENDED" => Level::Should,
                _ => continue,
            };
            levels.push(level);
            last = Some(level);
        }
    }
    sections.retain(|_, levels| !levels.is_empty());
    sections
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim();
    if let Some((_, attributes)) = title.rsplit_once("{#") {
        return attributes.chars().take_while(|c| !c.is_whitespace() && *c != '}').collect();
    }
    title
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_ascii_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_words_are_counted_by_section() {
        let text = "MUST\n--- middle\n# One {#first}\nIt MUST\nNOT be, and **SHOULD** be (MUST).\n\
                    ~~~\n# no heading\n~~~\nMUST do; not a must, MUSTER, MAY.\n## A (big) Title\n\
                    Is RECOMMENDED.\n# Empty\n--- back\nMUST";
        let mut expected = BTreeMap::new();
        let first = vec![Level::MustNot, Level::Should, Level::Must, Level::Must];
        expected.insert("first".to_owned(), first);
        expected.insert("a-big-title".to_owned(), vec![Level::Should]);
        assert_eq!(key_words(text), expected);
    }
}
