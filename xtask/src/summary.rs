//! What the runners counted, and the table at the end.

use std::time::Duration;

/// Single tests of one step.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Count {
    /// Adds up every summary that cargo test, wasm-bindgen-test-runner and node's test runner
    /// left in `text`; `None` if there is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for found in text.lines().filter_map(summary_line) {
            let sum = sum.get_or_insert_default();
            sum.passed += found.passed;
            sum.failed += found.failed;
        }
        sum
    }
}

/// `test result: ok. 3 passed; 0 failed; ...`, or node's `# pass 3` / `ℹ fail 0`, or a line
/// `3 passed, 0 failed` of a runner of our own.
fn summary_line(line: &str) -> Option<Count> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("test result: ") {
        let (_, counts) = rest.split_once(". ")?;
        return passed_failed(counts.split(';'));
    }
    if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
        let (word, number) = rest.split_once(' ')?;
        let number = number.trim().parse().ok()?;
        return match word {
            "pass" => Some(Count {
                passed: number,
                failed: 0,
            }),
            "fail" | "cancelled" => Some(Count {
                passed: 0,
                failed: number,
            }),
            _ => None,
        };
    }
    passed_failed(line.split(','))
}

fn passed_failed<'a>(mut parts: impl Iterator<Item = &'a str>) -> Option<Count> {
    let mut number = |word: &str| -> Option<usize> {
        parts.next()?.trim().strip_suffix(word)?.trim().parse().ok()
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

/// The names of the tests that failed, as cargo test, wasm-bindgen-test-runner and node print
/// them; each once.
pub(crate) fn failed_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in text.lines().filter_map(failed_name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn failed_name(line: &str) -> Option<&str> {
    let line = line.trim();
    // Known gaps are run and reported by node, but do not fail.
    if line.contains(" # TODO") {
        return None;
    }
    if let Some(rest) = line.strip_prefix("test ") {
        let (name, result) = rest.rsplit_once(" ... ")?;
        return result.starts_with("FAIL").then_some(name);
    }
    if let Some(rest) = line.strip_prefix("✖ ") {
        // The reason of a known gap follows the time it took.
        if rest.contains("ms) # ") {
            return None;
        }
        // Without the time; the heading of node's list of failures is no test.
        let name = rest.rsplit_once(" (").map_or(rest, |(name, _)| name);
        return (name != "failing tests:").then_some(name);
    }
    line.strip_prefix("not ok ")?
        .split_once(" - ")
        .map(|(_, name)| name)
}

/// How a row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Passed,
    Failed,
    /// Not run, because of the row named here.
    Skipped(&'static str),
}

/// The name of the row that installs what is missing; only its failure counts.
pub(crate) const SETUP: &str = "setup";

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ending: Ending,
    pub(crate) count: Option<Count>,
    pub(crate) took: Duration,
    /// Why it failed, one sentence.
    pub(crate) why: Option<String>,
    /// The names of the tests that failed.
    pub(crate) failing: Vec<String>,
}

impl Row {
    /// Single tests where the runner told, else the step itself. A step that fails although all
    /// its tests passed, or that could not run, counts as one failure.
    fn tally(&self) -> Count {
        let counted = self.count.unwrap_or_default();
        match self.ending {
            // Having installed what is needed proves nothing.
            Ending::Passed if self.name == SETUP => Count::default(),
            Ending::Passed if self.count.is_none() => Count {
                passed: 1,
                failed: 0,
            },
            Ending::Passed => counted,
            Ending::Failed | Ending::Skipped(_) => Count {
                passed: counted.passed,
                failed: counted.failed.max(1),
            },
        }
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) rows: Vec<Row>,
}

impl Summary {
    /// Whether nothing failed and nothing had to be left out.
    pub(crate) fn good(&self) -> bool {
        self.rows.iter().all(|row| row.ending == Ending::Passed)
    }

    /// The table, the reasons, and the last line.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("{:<16} {:<26} {:>8}", "step", "result", "seconds")];
        let mut total = Count::default();
        for row in &self.rows {
            let tally = row.tally();
            total.passed += tally.passed;
            total.failed += tally.failed;
            let result = match (&row.ending, row.count) {
                (Ending::Passed, None) => "passed".to_owned(),
                (Ending::Passed, Some(count)) => format!("passed ({})", count.passed),
                (Ending::Failed, Some(count)) if count.failed > 0 => {
                    format!(
                        "FAILED ({} of {})",
                        count.failed,
                        count.passed + count.failed
                    )
                }
                (Ending::Failed, _) => "FAILED".to_owned(),
                (Ending::Skipped(cause), _) => format!("not run: {cause} failed"),
            };
            let seconds = row.took.as_secs_f64();
            lines.push(format!("{:<16} {result:<26} {seconds:>8.1}", row.name));
        }
        for row in &self.rows {
            if let Some(why) = &row.why {
                lines.push(format!("{}: {why}", row.name));
            }
            lines.extend(row.failing.iter().map(|test| format!("    {test}")));
        }
        lines.push(format!("{} passed, {} failed", total.passed, total.failed));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(passed: usize, failed: usize) -> Count {
        Count { passed, failed }
    }

    #[test]
    fn cargo_and_wasm_summaries_add_up() {
        let text = "running 2 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 filtered out\n";
        assert_eq!(Count::read(text), Some(count(15, 2)));
    }

    #[test]
    fn node_summaries_in_both_reporters() {
        let tap = "# tests 5\n# pass 4\n# fail 1\n# cancelled 0\n# skipped 0\n";
        assert_eq!(Count::read(tap), Some(count(4, 1)));
        let spec = "ℹ tests 3\nℹ suites 1\nℹ pass 3\nℹ fail 0\nℹ duration_ms 61.5\n";
        assert_eq!(Count::read(spec), Some(count(3, 0)));
    }

    #[test]
    fn own_runners_and_chatter() {
        assert_eq!(Count::read("7 passed, 1 failed\n"), Some(count(7, 1)));
        assert_eq!(Count::read("Compiling x\n# a heading\n3 things\n"), None);
    }

    #[test]
    fn failures_are_named_once() {
        let text = "test a::b ... FAILED\ntest a::c ... ok\ntest web::d ... FAIL\n\
            ✖ signs in (12.5ms)\n✔ signs out (3ms)\n✖ failing tests:\n✖ signs in (12.5ms)\n\
            ✖ sleeps (7.5ms) # 5.6 is open (later)\nnot ok 3 - replays\nnot ok 4 - later # TODO\n\
            ok 5 - x\n";
        assert_eq!(
            failed_names(text),
            ["a::b", "web::d", "signs in", "replays"]
        );
    }

    #[test]
    fn the_last_line_counts_tests_else_steps() {
        let row = |name, ending, count| Row {
            name,
            ending,
            count,
            took: Duration::from_millis(1500),
            why: None,
            failing: Vec::new(),
        };
        let summary = Summary {
            rows: vec![
                row(SETUP, Ending::Passed, None),
                row("fmt", Ending::Passed, None),
                row("native", Ending::Passed, Some(count(10, 0))),
                row("pkg", Ending::Failed, Some(count(5, 2))),
                row("build", Ending::Failed, None),
                row("e2e", Ending::Skipped("build"), None),
            ],
        };
        let text = summary.text();
        assert!(!summary.good());
        assert!(text.contains("FAILED (2 of 7)") && text.contains("not run: build failed"));
        assert_eq!(text.lines().last(), Some("16 passed, 4 failed"));
    }
}
