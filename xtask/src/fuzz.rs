//! Hostile input, a great deal of it: the properties of tests/properties.rs with a million cases each.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::project::Project;
use crate::step::Task;
use crate::summary::{Count, failed_names};

const CASES: u32 = 1_000_000;
/// A night.
const LIMIT: Duration = Duration::from_hours(12);

/// What to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fuzz {
    /// Cases of each property.
    pub(crate) cases: Option<u32>,
    /// The same seed makes the same cases.
    pub(crate) seed: Option<u64>,
    /// Only the properties whose names hold this text.
    pub(crate) name: Option<String>,
}

/// Runs the properties in an optimised build in which arithmetic that overflows panics.
pub(crate) fn run(project: &Project, fuzz: &Fuzz) -> Result<ExitCode> {
    let cases = fuzz.cases.unwrap_or(CASES).to_string();
    let seed = fuzz.seed.unwrap_or_else(any_seed).to_string();
    println!("{cases} cases of each property, seed {seed}");
    let mut cargo = project.cargo();
    cargo
        .args(["test", "--profile", "fuzz", "--package", "keepfresh"])
        .args(["--test", "properties", "--"])
        .args(&fuzz.name)
        .env("PROPTEST_CASES", &cases)
        .env("PROPTEST_RNG_SEED", &seed);
    let title = "fuzz: hostile input for every parser and for the policy";
    let mut task = Task::new("fuzz", title, cargo, "");
    task.limit = LIMIT;
    let outcome = project.runner.attempt(task)?;
    let Some(failure) = outcome.failure else {
        let passed = Count::read(&outcome.text).map_or(0, |count| count.passed);
        println!("{passed} properties held, seed {seed}");
        return Ok(ExitCode::SUCCESS);
    };
    println!("\n{failure}");
    for name in failed_names(&outcome.text) {
        println!("all cases again:    cargo xtask fuzz --cases {cases} --seed {seed} {name}");
        println!("the failed one:     cargo test -p keepfresh --test properties {name}");
    }
    println!("What failed is noted in tests/properties.proptest-regressions; commit that file.");
    Ok(ExitCode::FAILURE)
}

fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
