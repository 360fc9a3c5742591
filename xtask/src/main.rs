//! The one place that knows how to set up, build, serve and test keepfresh: `cargo xtask help`.

#![allow(
    clippy::disallowed_methods,
    reason = "the rule keeps the clock out of the policy; xtask measures real time"
)]

mod annotation;
mod args;
mod browsers;
mod build;
mod demo;
mod fuzz;
mod guard;
mod host;
mod map;
mod not_built;
mod npm;
mod project;
mod requirement;
mod setup;
mod sizes;
mod step;
mod summary;
mod test;
mod toolchain;
mod tools;

use std::process::ExitCode;

use args::Action;
use project::Project;

fn main() -> ExitCode {
    let action = match args::parse(std::env::args_os().skip(1)) {
        Ok(action) => action,
        Err(error) => {
            eprintln!("xtask: {error:#}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    match perform(action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(action: Action) -> anyhow::Result<ExitCode> {
    if matches!(action, Action::Help) {
        println!("{}", args::HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let project = Project::open()?;
    match action {
        Action::Help => {}
        Action::Setup { browsers } => setup::everything(&project, browsers)?,
        Action::Build { dev } => build::package(&project, dev)?,
        Action::Map => map::write(&project)?,
        Action::Demo(demo) => demo::run(&project, &demo)?,
        Action::Fuzz(fuzz) => return fuzz::run(&project, &fuzz),
        Action::Test { steps } => return Ok(test::run(&project, &steps)),
    }
    Ok(ExitCode::SUCCESS)
}
