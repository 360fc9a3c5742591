//! What the tests have to show: the numbered requirements, and the failures of other clients.

use std::fmt;

use anyhow::{Result, bail};

/// The longest title in the map, characters.
const TITLE: usize = 60;

/// Names one thing that has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    /// Section and number in `docs/behaviour.md`.
    Rule(u32, u32),
    /// A row of `docs/known-failures.md`.
    Known(u32),
}

impl Id {
    /// Reads `5.9`.
    pub(crate) fn rule(text: &str) -> Option<Self> {
        let (section, number) = text.split_once('.')?;
        Some(Self::Rule(digits(section)?, digits(number)?))
    }

    /// Reads the `12` of `known-failures 12`.
    pub(crate) fn known(text: &str) -> Option<Self> {
        digits(text).map(Self::Known)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(section, number) => write!(out, "{section}.{number}"),
            Self::Known(row) => write!(out, "known-failures {row}"),
        }
    }
}

/// One thing that has to hold, and the first words of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Requirement {
    pub(crate) id: Id,
    pub(crate) title: String,
}

/// Requirements that stand together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) requirements: Vec<Requirement>,
}

/// All sections of `docs/behaviour.md`, and one with the rows of `docs/known-failures.md`.
pub(crate) fn read(behaviour: &str, known_failures: &str) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for line in behaviour.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                title: title_of(title),
                requirements: Vec::new(),
            });
        }
        let Some((number, text)) = line.split_once(' ') else {
            continue;
        };
        if let (Some(id), Some(section)) = (Id::rule(number), sections.last_mut()) {
            section.requirements.push(Requirement {
                id,
                title: title_of(text),
            });
        }
    }
    sections.push(Section {
        title: "Known failures".to_owned(),
        requirements: known_failures.lines().filter_map(row).collect(),
    });
    no_gaps(&sections)?;
    Ok(sections)
}

/// `| 12 | thread | scenario | what is required |`.
fn row(line: &str) -> Option<Requirement> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let id = Id::known(cells.next()?)?;
    let title = title_of(cells.nth(1)?);
    Some(Requirement { id, title })
}

/// A number that is skipped was not read, and what is not read is not asked for.
fn no_gaps(sections: &[Section]) -> Result<()> {
    for section in sections {
        let mut expected = 0;
        for Requirement { id, .. } in &section.requirements {
            let (Id::Rule(_, number) | Id::Known(number)) = id;
            expected += 1;
            if *number != expected {
                bail!("docs: {id} stands where number {expected} of its section should be");
            }
        }
    }
    Ok(())
}

/// The first words, as plain text for a table.
fn title_of(text: &str) -> String {
    let text = text.replace(['*', '`', '|'], "");
    let ends = |at: usize| {
        let follows = &text[at + 1..];
        at >= 8 && (text[at..].starts_with('(') || !follows.starts_with(char::is_alphanumeric))
    };
    let mut marks = text.match_indices([':', ';', '(', '.']);
    let clause = marks
        .find(|(at, _)| ends(*at))
        .map_or(text.as_str(), |(at, _)| &text[..at]);
    let clause = clause.trim();
    if clause.chars().count() <= TITLE {
        return clause.to_owned();
    }
    let mut title = String::new();
    for word in clause.split(' ') {
        if title.chars().count() + word.chars().count() > TITLE {
            break;
        }
        title.push_str(word);
        title.push(' ');
    }
    format!("{}…", title.trim_end_matches([' ', ',']))
}

fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_and_rows_are_read_by_section() {
        let behaviour = "# All\n## 1. Tokens\n1.1 Success needs HTTP 2xx (RFC 6749) AND more.\n\
            | 1.2 | a table |\n1.2 **CAS rule**: TERMINAL applies. [V]\n## 2. Rest\n2.1 x\n";
        let known = "| # | Thread | Scenario | Required |\n|--|--|--|--|\n\
            | 1 | a#56 | Two requests | one refresh |\n";
        let sections = read(behaviour, known).unwrap();
        let all: Vec<String> = sections
            .iter()
            .flat_map(|section| &section.requirements)
            .map(|each| format!("{} {}", each.id, each.title))
            .collect();
        assert_eq!(
            all,
            [
                "1.1 Success needs HTTP 2xx",
                "1.2 CAS rule",
                "2.1 x",
                "known-failures 1 Two requests"
            ]
        );
        assert_eq!(sections[2].title, "Known failures");
    }

    #[test]
    fn a_number_that_is_missing_is_noticed() {
        let error = read("## 1. T\n1.1 a\n1.3 b\n", "").unwrap_err();
        assert!(error.to_string().contains("1.3"), "{error}");
    }

    #[test]
    fn titles_are_short_and_plain() {
        assert_eq!(
            title_of("HTTP 1.1 and `x.y` stay whole. Rest"),
            "HTTP 1.1 and x.y stay whole"
        );
        let long = title_of(&"word ".repeat(40));
        assert!(
            long.ends_with("word…") && long.chars().count() <= TITLE + 1,
            "{long}"
        );
    }

    #[test]
    fn ids_are_digits_only() {
        assert_eq!(Id::rule("5.12"), Some(Id::Rule(5, 12)));
        for text in ["5", "5.", "5.x", "1.2.3", "+1.2", ""] {
            assert_eq!(Id::rule(text), None, "{text}");
        }
    }
}
