//! Finds or makes a Rust toolchain that can build for wasm32-unknown-unknown.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::host;
use crate::project::Project;
use crate::step::Task;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest rustc that will do; Cargo.toml's `rust-version`.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Debian's own toolchain: compiler, std's sources, linker and clippy. The packages named `-web`
/// are the ones that Debian keeps current, because its browsers need them.
const DEBIAN: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "rust-web-clippy",
    "lld-22",
];

/// Variables that tie a child to the toolchain or the flags of the cargo that runs xtask.
const TIES: [&str; 13] = [
    "RUSTUP_TOOLCHAIN",
    "CARGO",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "LD_LIBRARY_PATH",
];

/// A cargo and a rustc that build for wasm32.
pub(crate) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// Debian's toolchain beside the one that runs xtask.
    beside: bool,
    /// std's sources are there, so std can be built with the crate, smaller.
    pub(crate) sources: bool,
}

impl Toolchain {
    /// The first that works: the toolchain that runs xtask, Debian's, the former after `rustup
    /// target add`, the latter after installing it. `KEEPFRESH_TOOLCHAIN=debian` asks for Debian's.
    pub(crate) fn ensure(project: &Project) -> Result<Self> {
        let host = Self::host();
        let debian = Self::debian();
        let ready = debian.usable() && debian.works(project);
        let only_debian = std::env::var_os("KEEPFRESH_TOOLCHAIN").is_some_and(|it| it == "debian");
        if !only_debian && (host.works(project) || (!ready && add_target(project))) {
            let host = host.with_sources(project);
            if host.sources || add_sources(project) {
                return Ok(host.with_sources(project));
            }
            if !ready {
                println!("    going on with rustup's ready-made std; the package gets larger");
                return Ok(host);
            }
        }
        if !ready {
            debian.set_up(project)?;
        }
        Ok(debian.with_sources(project))
    }

    fn host() -> Self {
        let cargo = PathBuf::from(host::cargo());
        let beside_cargo = cargo.with_file_name(format!("rustc{}", std::env::consts::EXE_SUFFIX));
        let rustc = std::env::var_os("RUSTC").map_or_else(
            || {
                if beside_cargo.is_file() {
                    beside_cargo
                } else {
                    PathBuf::from("rustc")
                }
            },
            PathBuf::from,
        );
        Self {
            cargo,
            rustc,
            beside: false,
            sources: false,
        }
    }

    fn debian() -> Self {
        Self {
            cargo: PathBuf::from("/usr/bin/cargo"),
            rustc: PathBuf::from("/usr/bin/rustc"),
            beside: true,
            sources: false,
        }
    }

    /// A call of this toolchain's cargo, in the root of the checkout.
    pub(crate) fn cargo(&self, project: &Project) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&project.root);
        self.equip(&mut command, project, &[]);
        command
    }

    /// Makes `command` and the cargo it may call use this toolchain, and puts `tools` first in
    /// its PATH.
    pub(crate) fn equip(&self, command: &mut Command, project: &Project, tools: &[&Path]) {
        host::clean(command);
        let mut dirs: Vec<PathBuf> = tools.iter().map(|dir| dir.to_path_buf()).collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        if self.beside {
            for name in TIES {
                command.env_remove(name);
            }
            dirs.push(PathBuf::from("/usr/bin"));
            dirs.extend(std::env::split_paths(&path));
            // Cargo looks for its subcommands in `$CARGO_HOME/bin` first, unless that directory
            // has its own place in the PATH; rustup's clippy would not fit this rustc.
            dirs.push(host::cargo_home().join("bin"));
        } else {
            dirs.extend(std::env::split_paths(&path));
        }
        if let Ok(joined) = std::env::join_paths(dirs) {
            command.env("PATH", joined);
        }
        command.env("CARGO_TARGET_DIR", project.wasm_target());
    }

    /// Compiles and links a few lines for wasm32 with LTO: that shows at once whether std is
    /// there, fits this rustc, carries bitcode, and whether there is a linker.
    fn works(&self, project: &Project) -> bool {
        let mut rustc = Command::new(&self.rustc);
        self.equip(&mut rustc, project, &[]);
        rustc
            .args([
                "-",
                "--edition=2024",
                "--crate-name=probe",
                "--crate-type=cdylib",
            ])
            .args(["--target", TARGET, "-Clto=fat", "-Copt-level=1", "-o"])
            .arg(project.scratch().join("probe.wasm"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(mut child) = rustc.spawn() else {
            return false;
        };
        let code = b"pub fn text() -> String { std::env::args().collect() }";
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(code));
        child.wait().is_ok_and(|status| status.success()) && matches!(written, Some(Ok(())))
    }

    fn sysroot(&self, project: &Project) -> Option<PathBuf> {
        let mut rustc = Command::new(&self.rustc);
        self.equip(&mut rustc, project, &[]);
        let text = host::output(rustc.args(["--print", "sysroot"]))?;
        Some(PathBuf::from(text.trim()))
    }

    fn with_sources(mut self, project: &Project) -> Self {
        self.sources = self.sysroot(project).is_some_and(|root| {
            root.join("lib/rustlib/src/rust/library/Cargo.lock")
                .is_file()
        });
        self
    }

    /// Whether Debian's packages are all here and new enough.
    fn usable(&self) -> bool {
        let programs = ["/usr/bin/cargo-clippy", "/usr/bin/rust-lld"];
        cfg!(target_os = "linux")
            && programs.iter().all(|program| Path::new(program).exists())
            && Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock").is_file()
            && host::version_of(&self.rustc).is_some_and(|have| host::at_least(&have, OLDEST))
    }

    fn set_up(&self, project: &Project) -> Result<()> {
        if !self.usable() {
            if !host::can_apt() {
                return Err(no_target());
            }
            crate::setup::apt(project, "apt-rust", "Debian's Rust toolchain", &DEBIAN)?;
        }
        if !self.usable() {
            bail!(
                "Debian's packages do not bring rustc {OLDEST} with clippy and std's sources; \
                 install rustup (https://rustup.rs) and run `rustup target add {TARGET}`"
            );
        }
        if !self.works(project) {
            self.build_std(project)?;
        }
        if !self.works(project) {
            bail!(
                "std for {TARGET} was built but /usr/bin/rustc cannot use it; remove \
                 /usr/lib/rustlib/{TARGET} and run `cargo xtask setup` again"
            );
        }
        Ok(())
    }

    /// Builds std from its sources and puts it where rustc looks for it.
    fn build_std(&self, project: &Project) -> Result<()> {
        let dir = project.scratch().join("std");
        let target = dir.join("target");
        // What an older rustc left there must not be copied along.
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        std::fs::create_dir_all(dir.join("src"))?;
        std::fs::write(
            dir.join("Cargo.toml"),
            "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n",
        )?;
        std::fs::write(dir.join("src/lib.rs"), "")?;
        let mut cargo = self.cargo(project);
        cargo
            .current_dir(&dir)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .args(["build", "--release", "--target", TARGET])
            .arg("-Zbuild-std=std,panic_abort,panic_unwind,test,proc_macro");
        project.runner.run(Task::new(
            "std",
            "wasm32 standard library: built once from Debian's sources",
            cargo,
            "check the network (std's dependencies come from crates.io) and try again",
        ))?;
        let deps = target.join(TARGET).join("release/deps");
        let sysroot = self.sysroot(project).context("rustc names no sysroot")?;
        install_std(&deps, &sysroot.join("lib/rustlib").join(TARGET))?;
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}

/// Puts the libraries in place all at once, so that a half-copied std is never used.
fn install_std(deps: &Path, place: &Path) -> Result<()> {
    let fresh = place.with_extension("new");
    let copy = || -> std::io::Result<()> {
        let lib = fresh.join("lib");
        std::fs::create_dir_all(&lib)?;
        for entry in std::fs::read_dir(deps)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if text.ends_with(".rlib") && !text.starts_with("libempty-") {
                std::fs::copy(entry.path(), lib.join(&name))?;
            }
        }
        if place.exists() {
            std::fs::remove_dir_all(place)?;
        }
        std::fs::rename(&fresh, place)
    };
    copy().with_context(|| {
        format!(
            "cannot write {}; run `cargo xtask setup` once as root",
            place.display()
        )
    })
}

fn add_target(project: &Project) -> bool {
    let title = "wasm32 target: asking rustup for it";
    let added = rustup(project, "rustup-target", title, ["target", "add", TARGET]);
    if !added {
        println!("    rustup cannot add {TARGET}; looking for another way");
    }
    added
}

fn add_sources(project: &Project) -> bool {
    let title = "std's sources: asking rustup for them";
    rustup(
        project,
        "rustup-src",
        title,
        ["component", "add", "rust-src"],
    )
}

fn rustup(project: &Project, log: &str, title: &str, args: [&str; 3]) -> bool {
    if host::find(&["rustup"]).is_none() {
        return false;
    }
    let mut rustup = project.command("rustup", "");
    rustup.args(args);
    project
        .runner
        .run(Task::new(log, title, rustup, ""))
        .is_ok()
}

fn no_target() -> anyhow::Error {
    anyhow!(host::missing(
        &format!("the Rust target {TARGET}"),
        "sudo cargo xtask setup` once, or `rustup target add wasm32-unknown-unknown",
        "rustup target add wasm32-unknown-unknown",
        "install rustup (https://rustup.rs) and run `rustup target add wasm32-unknown-unknown`",
    ))
}
