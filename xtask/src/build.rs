//! Builds the npm package: Rust to wasm, wasm-bindgen, wasm-opt, then pkg's own build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::npm;
use crate::project::Project;
use crate::setup;
use crate::sizes;
use crate::step::Task;
use crate::toolchain::TARGET;

/// Panics become traps without a message, positions in the source and the texts of `{:?}` go:
/// nobody reads them in a browser, and together with a std built for size they are a quarter of
/// the file.
const SMALLEST: &str =
    "-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none";

/// What rustc emits for wasm32 and every supported browser has.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Builds pkg/dist and prints its sizes. `dev` skips every optimisation.
pub(crate) fn package(project: &Project, dev: bool) -> Result<()> {
    setup::for_build(project)?;
    let wasm = compile(project, dev)?;
    bind(project, &wasm, dev)?;
    if !dev {
        optimise(project)?;
    }
    let mut build = npm::npm(project, "pkg");
    build.args(["run", "build"]);
    project.runner.run(Task::new(
        "npm-build",
        "package: bundling pkg/dist and its type declarations",
        build,
        "fix what it says about pkg/src",
    ))?;
    sizes::print(project)
}

fn compile(project: &Project, dev: bool) -> Result<PathBuf> {
    let toolchain = project.toolchain()?;
    let mut cargo = toolchain.cargo(project);
    cargo
        .args(["rustc", "--package", "keepfresh", "--lib"])
        .args(["--crate-type", "cdylib", "--target", TARGET]);
    // A user's own flags (say, `-D warnings` or a CPU) must not change what is shipped.
    cargo
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "");
    if !dev {
        cargo.arg("--release");
        if toolchain.sources {
            cargo
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", SMALLEST)
                .arg("-Zbuild-std=std,panic_abort")
                .arg("-Zbuild-std-features=optimize_for_size");
        }
    }
    project.runner.run(Task::new(
        "wasm-build",
        "wasm: compiling the core for the browser",
        cargo,
        "fix what the compiler says about src",
    ))?;
    let profile = if dev { "debug" } else { "release" };
    Ok(project
        .wasm_target()
        .join(TARGET)
        .join(profile)
        .join("keepfresh.wasm"))
}

fn bind(project: &Project, wasm: &Path, dev: bool) -> Result<()> {
    let mut bindgen = project.command(project.bindgen()?.join("wasm-bindgen"), "");
    bindgen
        .args(["--target", "web", "--out-name", "keepfresh", "--out-dir"])
        .arg(project.root.join("pkg/wasm"));
    if dev {
        bindgen.args(["--debug", "--keep-debug"]);
    } else {
        bindgen.args(["--remove-name-section", "--remove-producers-section"]);
    }
    bindgen.arg(wasm);
    project.runner.run(Task::new(
        "wasm-bindgen",
        "bindings: writing the JavaScript side",
        bindgen,
        "remove target/wasm and try again",
    ))?;
    Ok(())
}

fn optimise(project: &Project) -> Result<()> {
    let wasm = project.root.join("pkg/wasm/keepfresh_bg.wasm");
    let small = wasm.with_extension("opt");
    let mut opt = npm::program(project, "pkg", "wasm-opt");
    opt.args(["-Oz", "--strip-debug", "--strip-producers"])
        .args(FEATURES)
        .arg(&wasm)
        .arg("-o")
        .arg(&small);
    project.runner.run(Task::new(
        "wasm-opt",
        "wasm-opt: making the file smaller",
        opt,
        "run `npm ci` in pkg; if it names a wasm feature, add that to FEATURES in xtask/src/build.rs",
    ))?;
    std::fs::rename(&small, &wasm).context("cannot put the smaller wasm in place")
}
