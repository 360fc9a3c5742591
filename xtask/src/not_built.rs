//! The requirements that have no test, and why: tests/not-built.md.

use std::collections::BTreeMap;

use crate::annotation;
use crate::requirement::Id;

pub(crate) const NOT_BUILT: &str = "tests/not-built.md";

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct NotBuilt {
    /// For each id its heading and reason, as the map shows them.
    pub(crate) reasons: BTreeMap<Id, String>,
    /// What is wrong with the file itself.
    pub(crate) mistakes: Vec<String>,
}

impl NotBuilt {
    /// Reads lines such as `- 6.19, 6.20: DPoP` under headings that say what kind of reason it is.
    pub(crate) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let mut kind = String::new();
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(heading) = text.strip_prefix("## ") {
                kind = heading.trim().to_lowercase();
            }
            let Some(entry) = text.strip_prefix("- ") else {
                continue;
            };
            if let Err(mistake) = file.add(&kind, entry) {
                file.mistakes.push(format!("{NOT_BUILT}:{line}: {mistake}"));
            }
        }
        file
    }

    fn add(&mut self, kind: &str, entry: &str) -> Result<(), String> {
        let (ids, reason) = entry.split_once(": ").unwrap_or((entry, ""));
        let reason = reason.trim();
        if reason.is_empty() {
            return Err("no reason is given; write `- 6.19: why there is no test`".to_owned());
        }
        for id in annotation::listed(ids)? {
            let shown = format!("*{kind}*: {reason}");
            if self.reasons.insert(id, shown).is_some() {
                return Err(format!("{id} stands here twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_its_heading_and_reason() {
        let text = "# All\n\n## Not built\n\n- 6.19, known-failures 36: DPoP: no\n";
        let file = NotBuilt::parse(text);
        let found: Vec<_> = file
            .reasons
            .iter()
            .map(|(id, reason)| format!("{id} {reason}"))
            .collect();
        assert_eq!(
            found,
            [
                "6.19 *not built*: DPoP: no",
                "known-failures 36 *not built*: DPoP: no"
            ]
        );
        assert!(file.mistakes.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (line, expected) in [
            ("- 1.2, 1.3", "no reason"),
            ("- 1.2 to 1.3: x", "is a range"),
            ("- something: x", "no list of ids"),
            ("- 1.2, 1.2: x", "twice"),
        ] {
            let mistakes = NotBuilt::parse(&format!("\n{line}\n")).mistakes;
            assert!(
                mistakes[0].starts_with("tests/not-built.md:2: "),
                "{mistakes:?}"
            );
            assert!(mistakes[0].contains(expected), "{mistakes:?}");
        }
    }
}
