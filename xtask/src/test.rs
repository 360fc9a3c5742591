//! Runs all tests and sums them up.

use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::build;
use crate::demo;
use crate::map;
use crate::npm;
use crate::project::Project;
use crate::setup;
use crate::step::{Outcome, Task};
use crate::summary::{Count, Ending, Row, SETUP, Summary, failed_names};
use crate::toolchain::TARGET;

/// A step that can be asked for by name, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Fmt,
    Map,
    Clippy,
    Native,
    Build,
    Pkg,
    Wasm,
    E2e,
    Demo,
}

const STEPS: [(&str, Step); 9] = [
    ("fmt", Step::Fmt),
    ("map", Step::Map),
    ("clippy", Step::Clippy),
    ("native", Step::Native),
    ("build", Step::Build),
    ("pkg", Step::Pkg),
    ("wasm", Step::Wasm),
    ("e2e", Step::E2e),
    ("demo", Step::Demo),
];

impl FromStr for Step {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        STEPS
            .iter()
            .find_map(|(known, step)| (*known == name).then_some(*step))
            .ok_or_else(|| anyhow!("there is no test step `{name}`"))
    }
}

/// Runs the steps named, or all, and goes on after failures.
pub(crate) fn run(project: &Project, named: &[Step]) -> ExitCode {
    let started = Instant::now();
    let mut tests = Tests {
        project,
        summary: Summary::default(),
    };
    let steps = with_needs(named);
    tests.set_up(&steps);
    for step in steps {
        tests.step(step);
    }
    println!("\n{}", "-".repeat(60));
    println!("whole run: {:.0} s", started.elapsed().as_secs_f64());
    println!("{}", tests.summary.text());
    if tests.summary.good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All steps if none is named; the package's tests and what drives a page need the build.
fn with_needs(named: &[Step]) -> Vec<Step> {
    if named.is_empty() {
        return STEPS.map(|(_, step)| step).to_vec();
    }
    let mut steps = named.to_vec();
    if named.iter().any(|step| needs_build(*step)) {
        steps.push(Step::Build);
    }
    steps.sort_unstable();
    steps.dedup();
    steps
}

fn needs_build(step: Step) -> bool {
    matches!(step, Step::Pkg | Step::E2e | Step::Demo)
}

struct Tests<'a> {
    project: &'a Project,
    summary: Summary,
}

impl Tests<'_> {
    /// Installs what the steps need. What fails here is kept by `Project` and fails the steps
    /// that need it, with the same sentence.
    fn set_up(&mut self, steps: &[Step]) {
        let project = self.project;
        self.row(SETUP, None, || {
            let mut failures = Vec::new();
            let mut note = |result: Result<()>| {
                if let Err(error) = result {
                    failures.push(format!("{error:#}"));
                }
            };
            let has = |step| steps.contains(&step);
            if has(Step::Fmt) || has(Step::Clippy) {
                note(setup::components(project));
            }
            if has(Step::Clippy) {
                note(project.toolchain().map(drop));
            }
            if has(Step::Build) {
                note(setup::for_build(project));
            }
            if has(Step::Wasm) {
                note(setup::for_wasm_tests(project));
            }
            if has(Step::E2e) || has(Step::Demo) {
                note(project.chromium().map(drop));
                note(npm::install(project, "tests/e2e"));
            }
            if has(Step::E2e) {
                note(project.firefox().map(drop));
            }
            failures.dedup();
            if failures.is_empty() {
                Ok(None)
            } else {
                bail!(failures.join("\n  "))
            }
        });
    }

    fn step(&mut self, step: Step) {
        let project = self.project;
        match step {
            Step::Fmt => self.row("fmt", None, || fmt(project)),
            Step::Map => self.row("map", None, || map::check(project).map(|()| None)),
            Step::Clippy => {
                self.row("clippy native", None, || clippy_native(project));
                self.row("clippy wasm32", None, || clippy_wasm(project));
            }
            Step::Native => self.row("native", None, || native(project)),
            Step::Build => self.row("build", None, || {
                build::package(project, false).map(|()| None)
            }),
            Step::Pkg => {
                self.row("pkg lint", Some("build"), || pkg_lint(project));
                self.row("pkg", Some("build"), || pkg_test(project));
            }
            Step::Wasm => {
                self.row("wasm chromium", None, || wasm_chromium(project));
                self.row("wasm firefox", None, || wasm_firefox(project));
            }
            Step::E2e => {
                self.row("e2e chromium", Some("build"), || e2e_chromium(project));
                self.row("e2e firefox", Some("build"), || e2e_firefox(project));
            }
            Step::Demo => self.row("demo", Some("build"), || {
                demo::server_program(project)?;
                demo::headless(project, 0).map(Some)
            }),
        }
    }

    /// Runs one row of the table, unless the row it needs has failed.
    fn row(
        &mut self,
        name: &'static str,
        needs: Option<&'static str>,
        work: impl FnOnce() -> Result<Option<Outcome>>,
    ) {
        let rows = &mut self.summary.rows;
        let started = Instant::now();
        let broken = |row: &Row| Some(row.name) == needs && row.ending != Ending::Passed;
        if rows.iter().any(broken) {
            rows.push(Row {
                name,
                ending: Ending::Skipped(needs.unwrap_or_default()),
                count: None,
                took: Duration::ZERO,
                why: None,
                failing: Vec::new(),
            });
            return;
        }
        println!("\n---- {name}");
        let (count, why, failing) = match work() {
            Ok(None) => (None, None, Vec::new()),
            Ok(Some(Outcome { text, failure })) => {
                let failing = failed_names(&text).into_iter().map(str::to_owned);
                let failing = failing.filter(|_| failure.is_some()).collect();
                (Count::read(&text), failure, failing)
            }
            Err(error) => (None, Some(format!("{error:#}")), Vec::new()),
        };
        if let Some(why) = &why {
            println!("    {why}");
        }
        // A runner that succeeds although it counts failures is not to be trusted.
        let failed = why.is_some() || count.is_some_and(|count| count.failed > 0);
        rows.push(Row {
            name,
            ending: if failed {
                Ending::Failed
            } else {
                Ending::Passed
            },
            count,
            took: started.elapsed(),
            why,
            failing,
        });
    }
}

fn attempt(
    project: &Project,
    log: &str,
    title: &str,
    command: Command,
    advice: &str,
) -> Result<Option<Outcome>> {
    project
        .runner
        .attempt(Task::new(log, title, command, advice))
        .map(Some)
}

fn fmt(project: &Project) -> Result<Option<Outcome>> {
    let mut cargo = project.cargo();
    cargo.args(["fmt", "--all", "--check"]);
    attempt(
        project,
        "fmt",
        "fmt: Rust sources are formatted",
        cargo,
        "run `cargo fmt --all`",
    )
}

fn clippy_native(project: &Project) -> Result<Option<Outcome>> {
    let mut cargo = project.cargo();
    cargo.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    let title = "clippy native: lints all crates, warnings are errors";
    attempt(
        project,
        "clippy-native",
        title,
        cargo,
        "fix what clippy says",
    )
}

fn clippy_wasm(project: &Project) -> Result<Option<Outcome>> {
    let mut cargo = project.toolchain()?.cargo(project);
    cargo
        .args(["clippy", "--package", "keepfresh", "--target", TARGET])
        .args(["--all-targets", "--", "-D", "warnings"]);
    let title = "clippy wasm32: lints the core as the browser gets it";
    attempt(
        project,
        "clippy-wasm32",
        title,
        cargo,
        "fix what clippy says",
    )
}

fn native(project: &Project) -> Result<Option<Outcome>> {
    let mut cargo = project.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    let title = "native: unit, property and server tests";
    attempt(
        project,
        "native",
        title,
        cargo,
        "run one test with `cargo test NAME`",
    )
}

fn pkg_lint(project: &Project) -> Result<Option<Outcome>> {
    npm::install(project, "pkg")?;
    let mut npm = npm::npm(project, "pkg");
    npm.args(["run", "lint"]);
    let title = "pkg lint: style and types of the TypeScript";
    let advice = "run `npx biome check --write .` in pkg for what it can fix itself";
    // Its chatter has no test counts, so the row counts as one.
    let outcome = attempt(project, "pkg-lint", title, npm, advice)?;
    outcome.map_or(Ok(None), |outcome| outcome.check().map(|_| None))
}

fn pkg_test(project: &Project) -> Result<Option<Outcome>> {
    npm::install(project, "pkg")?;
    let mut npm = npm::npm(project, "pkg");
    npm.arg("test");
    let title = "pkg: unit tests of the TypeScript";
    attempt(project, "pkg", title, npm, "run `npm test` in pkg")
}

fn wasm_chromium(project: &Project) -> Result<Option<Outcome>> {
    let mut pack = wasm_pack(project)?;
    pack.arg("--chrome");
    project.chromium()?;
    if let Some(driver) = project.chromedriver()? {
        pack.arg("--chromedriver").arg(driver);
    }
    let title = "wasm chromium: tests/web.rs in headless Chromium";
    browser_tests(project, "wasm-chromium", title, pack)
}

fn wasm_firefox(project: &Project) -> Result<Option<Outcome>> {
    project.firefox()?;
    let driver = format!("geckodriver{}", std::env::consts::EXE_SUFFIX);
    let mut pack = wasm_pack(project)?;
    pack.arg("--firefox")
        .arg("--geckodriver")
        .arg(project.gecko()?.join(driver));
    let title = "wasm firefox: tests/web.rs in headless Firefox";
    browser_tests(project, "wasm-firefox", title, pack)
}

/// `wasm-pack test --headless`, so that it finds the right cargo, wasm-bindgen and webdriver.json.
fn wasm_pack(project: &Project) -> Result<Command> {
    if !project.root.join("tests/web.rs").is_file() {
        bail!("tests/web.rs is missing; restore it with `git checkout tests/web.rs`");
    }
    let bindgen = project.bindgen()?;
    let mut pack = project.command(project.pack()?.join("wasm-pack"), "");
    project.toolchain()?.equip(&mut pack, project, &[bindgen]);
    pack.args(["test", "--headless"])
        // The runner's own backtrace would hide what the tests said.
        .env_remove("RUST_BACKTRACE")
        // In seconds, for all tests together; the default of 20 is too short for a busy machine.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    Ok(pack)
}

fn browser_tests(
    project: &Project,
    log: &str,
    title: &str,
    mut pack: Command,
) -> Result<Option<Outcome>> {
    pack.args(["--", "--test", "web"]);
    let advice =
        "browser and driver have to be of the same version; the flags are in webdriver.json";
    let mut task = Task::new(log, title, pack, advice);
    task.limit = Duration::from_mins(10);
    project.runner.attempt(task).map(Some)
}

const E2E_ADVICE: &str =
    "run one file with `node --test` in tests/e2e, with KEEPFRESH_BROWSER=firefox in Firefox";

fn e2e_chromium(project: &Project) -> Result<Option<Outcome>> {
    let mut npm = e2e(project, "chromium")?;
    npm.env("KEEPFRESH_CHROMIUM", project.chromium()?);
    let title = "e2e chromium: the package against the server";
    attempt(project, "e2e-chromium", title, npm, E2E_ADVICE)
}

fn e2e_firefox(project: &Project) -> Result<Option<Outcome>> {
    let mut npm = e2e(project, "firefox")?;
    npm.env("KEEPFRESH_FIREFOX", project.firefox()?);
    let title = "e2e firefox: storage, several tabs and their lives";
    attempt(project, "e2e-firefox", title, npm, E2E_ADVICE)
}

/// `npm test` in tests/e2e for one browser.
fn e2e(project: &Project, browser: &str) -> Result<Command> {
    npm::install(project, "tests/e2e")?;
    let server = demo::server_program(project)?;
    let mut npm = npm::npm(project, "tests/e2e");
    npm.arg("test")
        .env("KEEPFRESH_SERVER", server)
        .env("KEEPFRESH_BROWSER", browser);
    Ok(npm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_bring_what_they_need_in_order() {
        assert_eq!(with_needs(&[]).len(), STEPS.len());
        assert_eq!(
            with_needs(&[Step::Wasm, Step::Fmt]),
            [Step::Fmt, Step::Wasm]
        );
        assert_eq!(
            with_needs(&[Step::E2e, Step::Pkg, Step::E2e]),
            [Step::Build, Step::Pkg, Step::E2e]
        );
    }
}
