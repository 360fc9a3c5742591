//! Which test shows which requirement: the table in tests/README.md, and the check that it is whole.
//!
//! The truth stands in the comments above the tests; what has no test stands in tests/not-built.md
//! with the reason. The table is made from both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::annotation::{self, Test};
use crate::project::Project;
use crate::requirement::{self, Id, Section};

const README: &str = "tests/README.md";
const NOT_BUILT: &str = "tests/not-built.md";
const BEGIN: &str = "<!-- written by `cargo xtask map`; do not edit -->";
const END: &str = "<!-- end of what `cargo xtask map` writes -->";
/// How many tests of one requirement are named; the others are counted.
const NAMED: usize = 3;

/// Where tests are, the quickest first. The tests of the test server show nothing of the client.
const PLACES: [(&str, &str); 8] = [
    ("tests/policy.rs", ".rs"),
    ("tests/sim.rs", ".rs"),
    ("tests/properties.rs", ".rs"),
    ("src/policy", ".rs"),
    ("tests/web", ".rs"),
    ("pkg/test", ".test.ts"),
    ("tests/e2e", ".test.mjs"),
    (SERVER, ".rs"),
];
const SERVER: &str = "tests/server/tests";

/// Rewrites the table in tests/README.md, and says what is missing.
pub(crate) fn write(project: &Project) -> Result<()> {
    let map = Map::read(&project.root)?;
    let path = project.root.join(README);
    let old = read(&project.root, README)?;
    let new = with_block(&old, &map.table())?;
    if new == old {
        println!("{README} is up to date");
    } else {
        std::fs::write(&path, new).with_context(|| format!("cannot write {README}"))?;
        println!("{README} is rewritten");
    }
    complain(&map.mistakes())
}

/// Fails unless every requirement has a test or a reason, every test names what it shows, and the
/// table says so.
pub(crate) fn check(project: &Project) -> Result<()> {
    let map = Map::read(&project.root)?;
    let mut mistakes = map.mistakes();
    let readme = read(&project.root, README)?;
    if with_block(&readme, &map.table())? != readme {
        mistakes.push(format!(
            "{README}: the table is out of date; run `cargo xtask map`"
        ));
    }
    complain(&mistakes)?;
    println!("    {}", map.totals());
    Ok(())
}

fn complain(mistakes: &[String]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    bail!(
        "{} mistakes in the map of requirements and tests\n    {}",
        mistakes.len(),
        mistakes.join("\n    ")
    )
}

/// Everything that the table is made of.
#[derive(Default)]
struct Map {
    sections: Vec<Section>,
    files: Vec<File>,
    excuses: BTreeMap<Id, Excuse>,
    /// What was wrong with tests/not-built.md itself.
    unreadable: Vec<String>,
}

/// The tests of one file.
struct File {
    path: String,
    tests: Vec<Test>,
}

/// Why there is no test.
struct Excuse {
    /// The heading it stands under.
    kind: String,
    reason: String,
}

impl Map {
    fn read(root: &Path) -> Result<Self> {
        let sections = requirement::read(
            &read(root, "docs/behaviour.md")?,
            &read(root, "docs/known-failures.md")?,
        )?;
        let mut map = Self {
            sections,
            files: files(root)?,
            ..Self::default()
        };
        map.read_excuses(&read(root, NOT_BUILT)?);
        Ok(map)
    }

    /// Lines such as `- 6.19, 6.20: DPoP`, under headings that say what kind of reason it is.
    fn read_excuses(&mut self, text: &str) {
        let mut kind = String::new();
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(heading) = text.strip_prefix("## ") {
                heading.trim().clone_into(&mut kind);
            }
            let Some(entry) = text.strip_prefix("- ") else {
                continue;
            };
            let (ids, reason) = entry.split_once(": ").unwrap_or((entry, ""));
            match annotation::listed(ids) {
                Ok(ids) if !reason.trim().is_empty() => {
                    for id in ids {
                        let reason = reason.trim().to_owned();
                        let kind = kind.clone();
                        self.excuses.insert(id, Excuse { kind, reason });
                    }
                }
                Ok(_) => self.unreadable.push(format!(
                    "{NOT_BUILT}:{line}: no reason is given; write `- 6.19: why there is no test`"
                )),
                Err(mistake) => self
                    .unreadable
                    .push(format!("{NOT_BUILT}:{line}: {mistake}")),
            }
        }
    }

    fn known(&self) -> BTreeSet<Id> {
        let all = self.sections.iter().flat_map(|each| &each.requirements);
        all.map(|requirement| requirement.id).collect()
    }

    /// The tests that show it, quickest first, each with its file.
    fn tests_of(&self, id: Id) -> Vec<(&str, &Test)> {
        let all = self.files.iter().flat_map(|file| {
            let path = file.path.as_str();
            file.tests.iter().map(move |test| (path, test))
        });
        all.filter(|(_, test)| !test.todo && test.ids.contains(&id))
            .collect()
    }

    /// What to do, one sentence each; none if all is well.
    fn mistakes(&self) -> Vec<String> {
        let known = self.known();
        let mut mistakes = self.unreadable.clone();
        for file in &self.files {
            for test in &file.tests {
                mistakes.extend(mistakes_of(&file.path, test, &known));
            }
        }
        for id in &known {
            let tested = self.tests_of(*id);
            match (self.excuses.get(id), tested.first()) {
                (None, None) => mistakes.push(format!(
                    "{id} has no test; write one with `// {id}` above it, or give the reason in {NOT_BUILT}"
                )),
                (Some(_), Some((path, test))) => mistakes.push(format!(
                    "{id} has a test ({path}:{}); take it out of {NOT_BUILT}",
                    test.line
                )),
                _ => {}
            }
        }
        let strange = self.excuses.keys().filter(|id| !known.contains(id));
        mistakes.extend(strange.map(|id| format!("{NOT_BUILT}: there is no requirement {id}")));
        mistakes
    }

    fn totals(&self) -> String {
        let known = self.known();
        let tested = known.iter().filter(|id| !self.tests_of(**id).is_empty());
        let tests = self.files.iter().flat_map(|file| &file.tests);
        let tests = tests.filter(|test| !test.ids.is_empty()).count();
        format!(
            "{} of {} requirements are shown by {tests} tests; {} have a reason in {NOT_BUILT}",
            tested.count(),
            known.len(),
            self.excuses.len()
        )
    }

    fn table(&self) -> String {
        let mut text = format!("{}.\n", self.totals());
        for section in &self.sections {
            let rows = section.requirements.iter().map(|requirement| {
                let shown = self.shown(requirement.id);
                let id = requirement.id.to_string();
                let id = id.strip_prefix("known-failures ").unwrap_or(&id);
                format!("| {id} | {} | {shown} |\n", requirement.title)
            });
            let rows: String = rows.collect();
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n### {}\n\n| | requirement | tests |\n|---|---|---|\n{rows}",
                section.title
            );
        }
        text
    }

    /// The last cell of a row: tests by file, or the reason why there is none.
    fn shown(&self, id: Id) -> String {
        let tests = self.tests_of(id);
        if tests.is_empty() {
            return self.excuses.get(&id).map_or_else(
                || "**none**".to_owned(),
                |excuse| format!("*{}*: {}", excuse.kind.to_lowercase(), excuse.reason),
            );
        }
        let named = one_of_each_file_first(&tests);
        let more = tests.len() - named.len();
        let mut cell: Vec<String> = named
            .iter()
            .map(|(path, test)| format!("{}: `{}`", short(path), test.name.replace('|', "/")))
            .collect();
        if more > 0 {
            cell.push(format!("+{more}"));
        }
        cell.join("<br>")
    }
}

fn mistakes_of(path: &str, test: &Test, known: &BTreeSet<Id>) -> Vec<String> {
    let place = format!("{path}:{}", test.line);
    let mut mistakes: Vec<String> = test
        .ids
        .iter()
        .filter(|id| !known.contains(id))
        .map(|id| format!("{place}: there is no requirement {id}"))
        .collect();
    match &test.mistake {
        Some(mistake) => mistakes.push(format!("{place}: {mistake}")),
        None if test.ids.is_empty() && !test.elsewhere && !path.starts_with(SERVER) => {
            mistakes.push(format!(
                "{place}: `{}` names no requirement; write `// 5.9: why` above it, or `// README: Log lines`",
                test.name
            ));
        }
        None => {}
    }
    mistakes
}

/// Up to [`NAMED`] tests: of as many files as there are, then of the first.
fn one_of_each_file_first<'a>(tests: &[(&'a str, &'a Test)]) -> Vec<(&'a str, &'a Test)> {
    let mut seen = BTreeSet::new();
    let (first, rest): (Vec<_>, Vec<_>) = tests.iter().partition(|(path, _)| seen.insert(*path));
    let mut named: Vec<_> = first.into_iter().chain(rest).take(NAMED).copied().collect();
    named.sort_by_key(|(path, _)| tests.iter().position(|(other, _)| other == path));
    named
}

/// A path as the README says it: relative to tests/.
fn short(path: &str) -> &str {
    path.strip_prefix("tests/").unwrap_or(path)
}

fn with_block(readme: &str, table: &str) -> Result<String> {
    let parts = readme
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("{README} has lost the lines around the table; restore `{BEGIN}` and `{END}`");
    };
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn files(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for (place, ending) in PLACES {
        for path in paths(root, place, ending)? {
            let source = read(root, &path)?;
            let tests = if ending == ".rs" {
                annotation::rust(&source)
            } else {
                annotation::script(&source)
            };
            files.push(File { path, tests });
        }
    }
    Ok(files)
}

/// The files at or below a place, sorted, relative to the root and with `/`.
fn paths(root: &Path, place: &str, ending: &str) -> Result<Vec<String>> {
    let full = root.join(place);
    if full.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    let entries = std::fs::read_dir(&full).with_context(|| format!("cannot read {place}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{place}/{name}");
        if entry.file_type()?.is_dir() && name != "node_modules" {
            found.extend(paths(root, &path, ending)?);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// With `\n` at the ends of lines, whatever git made of them.
fn read(root: &Path, path: &str) -> Result<String> {
    let text = std::fs::read_to_string(root.join(path));
    let text = text.with_context(|| format!("cannot read {path}"))?;
    Ok(text.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHAVIOUR: &str = "## 1. Tokens\n1.1 First thing.\n1.2 Second thing.\n1.3 Third thing.\n";

    fn map(source: &str, excuses: &str) -> Map {
        let mut map = Map {
            sections: requirement::read(BEHAVIOUR, "| 1 | a#1 | Fourth thing | x |\n").unwrap(),
            files: vec![File {
                path: "tests/policy.rs".to_owned(),
                tests: annotation::rust(source),
            }],
            ..Map::default()
        };
        map.read_excuses(excuses);
        map
    }

    const GOOD: &str = "// 1.1, known-failures 1\n#[test]\nfn one() {}\n\
        // 1.1: and more\n#[test]\nfn two() {}\n";
    const LIST: &str = "## Not built\n- 1.2: DPoP\n\n## Documentation\n- 1.3: README, Security\n";

    #[test]
    fn a_whole_map_is_a_table() {
        let map = map(GOOD, LIST);
        assert_eq!(map.mistakes(), [""; 0]);
        let table = map.table();
        for row in [
            "2 of 4 requirements are shown by 2 tests; 2 have a reason in tests/not-built.md.\n",
            "### 1. Tokens\n",
            "| 1.1 | First thing | policy.rs: `one`<br>policy.rs: `two` |\n",
            "| 1.2 | Second thing | *not built*: DPoP |\n",
            "| 1 | Fourth thing | policy.rs: `one` |\n",
        ] {
            assert!(table.contains(row), "{row}\n{table}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (source, list, expected) in [
            (GOOD, "- 1.2: x\n", "1.3 has no test"),
            (
                GOOD,
                "- 1.1, 1.2, 1.3: x\n",
                "1.1 has a test (tests/policy.rs:3)",
            ),
            (GOOD, "- 1.2, 1.3, 1.9: x\n", "no requirement 1.9"),
            (GOOD, "- 1.2, 1.3\n", "no reason is given"),
            (GOOD, "- 1.2 to 1.3: x\n", "is a range"),
            (
                "// 8.1\n#[test]\nfn x() {}\n",
                "- 1.1, 1.2, 1.3, known-failures 1: x\n",
                "tests/policy.rs:3: there is no requirement 8.1",
            ),
            (
                "#[test]\nfn nameless() {}\n",
                "- 1.1, 1.2, 1.3, known-failures 1: x\n",
                "tests/policy.rs:2: `nameless` names no requirement",
            ),
        ] {
            let mistakes = map(source, list).mistakes();
            assert!(
                mistakes.iter().any(|mistake| mistake.contains(expected)),
                "{expected}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn the_block_is_replaced_and_nothing_else() {
        let readme = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let new = with_block(&readme, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nz\n"));
        assert_eq!(with_block(&new, "new\n").unwrap(), new);
        assert!(with_block("a\n", "new\n").is_err());
    }

    #[test]
    fn of_many_tests_a_few_are_named() {
        let test = |name: &str| Test {
            name: name.to_owned(),
            ..Test::default()
        };
        let all = ["a", "b", "c", "d"].map(test);
        let tests = [
            ("x", &all[0]),
            ("x", &all[1]),
            ("x", &all[2]),
            ("y", &all[3]),
        ];
        let named = one_of_each_file_first(&tests);
        let names: Vec<_> = named.iter().map(|(_, test)| test.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }
}
