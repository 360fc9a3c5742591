//! Node and the npm packages.

use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::host;
use crate::project::Project;
use crate::step::{Outcome, Task};

/// The oldest Node that pkg/ supports for its scripts.
const OLDEST: &str = "20.0.0";
/// A copy of the lock file that `node_modules` was made from.
const STAMP: &str = "node_modules/.keepfresh-lock.json";

/// Node and npm are there and new enough.
pub(crate) fn check_node(project: &Project) -> Result<()> {
    let missing = |what: &str| {
        anyhow!(host::missing(
            what,
            "sudo apt-get install -y nodejs npm",
            "brew install node",
            "install Node 20 or later from https://nodejs.org",
        ))
    };
    let text = host::output(project.command("node", "").arg("--version"))
        .ok_or_else(|| missing("node"))?;
    let version = host::first_version(&text).unwrap_or_default();
    if !host::at_least(version, OLDEST) {
        return Err(missing(&format!(
            "Node {OLDEST} or later (this is {version})"
        )));
    }
    host::output(npm(project, "").arg("--version")).ok_or_else(|| missing("npm"))?;
    Ok(())
}

fn attempt(project: &Project, dir: &str, log: &str, title: &str, args: &[&str]) -> Result<Outcome> {
    let mut command = npm(project, dir);
    command.args(args);
    let advice = "check the network (npm's registry) and try again";
    project
        .runner
        .attempt(Task::new(log, title, command, advice))
}

/// npm, in `dir` below the root.
pub(crate) fn npm(project: &Project, dir: &str) -> Command {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = project.command(program, dir);
    command
        .env("npm_config_update_notifier", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_audit", "false");
    command
}

/// A program of a package in `dir`.
pub(crate) fn program(project: &Project, dir: &str, name: &str) -> Command {
    let suffix = if cfg!(windows) { ".cmd" } else { "" };
    let path = project
        .root
        .join(dir)
        .join("node_modules/.bin")
        .join(format!("{name}{suffix}"));
    project.command(path, "")
}

/// Installs the packages of `dir`, unless they were installed from this very lock file.
pub(crate) fn install(project: &Project, dir: &str) -> Result<()> {
    project.node()?;
    let place = project.root.join(dir);
    let lock = std::fs::read(place.join("package-lock.json")).with_context(|| {
        format!("{dir}/package-lock.json is missing; run `npm install` in {dir} and commit it")
    })?;
    let stamp = place.join(STAMP);
    if std::fs::read(&stamp).is_ok_and(|done| done == lock) {
        return Ok(());
    }
    if !place.join("package.json").is_file() {
        bail!("{dir}/package.json is missing; restore it with `git checkout {dir}`");
    }
    let log = format!("npm-ci-{}", dir.replace('/', "-"));
    let title = format!("npm packages of {dir}: installing what package-lock.json names");
    let outcome = attempt(project, dir, &log, &title, &["ci"])?;
    if outcome.failure.is_some() && outcome.text.contains("in sync") {
        // A lock file made where the registry lacks another platform's optional packages does
        // not suit `npm ci`; the versions it does name are kept.
        println!("    the lock file does not cover this platform; installing without `ci`");
        attempt(project, dir, &log, &title, &["install", "--no-save"])?.check()?;
    } else {
        outcome.check()?;
    }
    std::fs::write(&stamp, lock)?;
    Ok(())
}
