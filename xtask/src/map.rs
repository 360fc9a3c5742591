//! Which test shows which requirement: the table in tests/README.md, and the check that it is whole.
//!
//! The truth stands in the comments above the tests; what has no test stands in tests/not-built.md
//! with the reason. The table is made from both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::annotation::{self, Test};
use crate::not_built::{NOT_BUILT, NotBuilt};
use crate::project::Project;
use crate::requirement::{self, Id, Section};

const README: &str = "tests/README.md";
const BEGIN: &str = "<!-- written by `cargo xtask map`; do not edit -->";
const END: &str = "<!-- end of what `cargo xtask map` writes -->";
/// How many tests of one requirement are named; the others are counted.
const NAMED: usize = 3;

/// Where tests are and how their names end, the quickest first.
const PLACES: [(&str, &str); 7] = [
    // Only the files that lie in it.
    ("tests", ".rs"),
    ("src", ".rs"),
    ("tests/policy", ".rs"),
    ("tests/web", ".rs"),
    ("pkg/test", ".test.ts"),
    ("tests/e2e", ".test.mjs"),
    (SERVER, ".rs"),
];
/// What the test server's own tests show is about the server, so they need name nothing.
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
    let tests = map.files.iter().flat_map(|file| &file.tests);
    let tests = tests.filter(|test| !test.ids.is_empty()).count();
    println!("    {}; {tests} tests name them", map.totals());
    Ok(())
}

fn complain(mistakes: &[String]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    bail!(
        "the map of requirements and tests ({}):\n    {}",
        mistakes.len(),
        mistakes.join("\n    ")
    )
}

/// Everything that the table is made of.
struct Map {
    sections: Vec<Section>,
    files: Vec<File>,
    not_built: NotBuilt,
}

/// The tests of one file.
struct File {
    path: String,
    tests: Vec<Test>,
}

impl Map {
    fn read(root: &Path) -> Result<Self> {
        let sections = requirement::read(
            &read(root, "docs/behaviour.md")?,
            &read(root, "docs/known-failures.md")?,
        )?;
        Ok(Self {
            sections,
            files: files(root)?,
            not_built: NotBuilt::parse(&read(root, NOT_BUILT)?),
        })
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
        let mut mistakes = self.not_built.mistakes.clone();
        for file in &self.files {
            for test in &file.tests {
                mistakes.extend(mistakes_of(&file.path, test, &known));
            }
        }
        for id in &known {
            let tested = self.tests_of(*id);
            match (self.not_built.reasons.get(id), tested.first()) {
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
        let strange = self
            .not_built
            .reasons
            .keys()
            .filter(|id| !known.contains(id));
        mistakes.extend(strange.map(|id| format!("{NOT_BUILT}: there is no requirement {id}")));
        mistakes
    }

    fn totals(&self) -> String {
        let known = self.known();
        let tested = known.iter().filter(|id| !self.tests_of(**id).is_empty());
        format!(
            "{} of {} requirements have a test, {} have a reason in {NOT_BUILT}",
            tested.count(),
            known.len(),
            self.not_built.reasons.len()
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
            let reason = self.not_built.reasons.get(&id).cloned();
            return reason.unwrap_or_else(|| "**none**".to_owned());
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

/// The files at a place, sorted, relative to the root and with `/`.
fn paths(root: &Path, place: &str, ending: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(root.join(place));
    for entry in entries.with_context(|| format!("cannot read {place}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{place}/{name}");
        let deeper = place != "tests" && name != "node_modules";
        if !entry.file_type()?.is_dir() {
            found.extend(Some(path).filter(|path| path.ends_with(ending)));
        } else if deeper {
            found.extend(paths(root, &path, ending)?);
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

    fn map(source: &str, not_built: &str) -> Map {
        Map {
            sections: requirement::read(BEHAVIOUR, "| 1 | a#1 | Fourth thing | x |\n").unwrap(),
            files: vec![File {
                path: "tests/policy.rs".to_owned(),
                tests: annotation::rust(source),
            }],
            not_built: NotBuilt::parse(not_built),
        }
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
            "2 of 4 requirements have a test, 2 have a reason in tests/not-built.md.\n",
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
        let shown: Vec<_> = named.iter().map(|(_, test)| test.name.as_str()).collect();
        assert_eq!(shown, ["a", "b", "d"]);
    }
}
