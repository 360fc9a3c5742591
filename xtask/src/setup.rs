//! Installs what is missing.

use anyhow::Result;

use crate::npm;
use crate::project::Project;
use crate::step::Task;

/// Everything `build` needs; with `browsers` also everything `test` needs.
pub(crate) fn everything(project: &Project, browsers: bool) -> Result<()> {
    for_build(project)?;
    if browsers {
        components(project)?;
        for_wasm_tests(project)?;
        npm::install(project, "tests/e2e")?;
    }
    println!("Everything needed is here.");
    Ok(())
}

/// wasm32, wasm-bindgen, and the npm packages of pkg.
pub(crate) fn for_build(project: &Project) -> Result<()> {
    project.node()?;
    project.toolchain()?;
    project.bindgen()?;
    npm::install(project, "pkg")
}

/// wasm32, wasm-bindgen's test runner, wasm-pack, browsers and drivers.
pub(crate) fn for_wasm_tests(project: &Project) -> Result<()> {
    project.toolchain()?;
    project.bindgen()?;
    project.pack()?;
    project.chromium()?;
    project.chromedriver()?;
    project.firefox()?;
    project.gecko().map(drop)
}

/// rustfmt and clippy for the cargo that runs xtask.
pub(crate) fn components(project: &Project) -> Result<()> {
    for (name, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let mut probe = project.cargo();
        probe.args([subcommand, "--version"]);
        if crate::host::output(&mut probe).is_some() {
            continue;
        }
        let mut rustup = project.command("rustup", "");
        rustup.args(["component", "add", name]);
        let advice = format!(
            "{name} is missing and could not be installed; run `rustup component add {name}`, or \
             on Debian `apt-get install {name}`"
        );
        project.runner.run(Task::new(
            &format!("rustup-{name}"),
            &format!("{name}: asking rustup for it"),
            rustup,
            &advice,
        ))?;
    }
    Ok(())
}

/// Installs Debian packages; only for root.
pub(crate) fn apt(project: &Project, log: &str, title: &str, packages: &[&str]) -> Result<()> {
    let advice = format!(
        "run `apt-get update && apt-get install -y {}` and see what it says",
        packages.join(" ")
    );
    let apt = |log: &str, title: &str, args: &[&str]| {
        let mut command = project.command("apt-get", "");
        command
            .args(args)
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        project.runner.run(Task::new(log, title, command, &advice))
    };
    let update = format!("{log}-update");
    apt(&update, "apt: reading the package lists", &["update"])?;
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages);
    apt(log, title, &args).map(drop)
}
