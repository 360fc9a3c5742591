//! Tools written in Rust that cargo can install: wasm-bindgen, wasm-pack, geckodriver.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::host;
use crate::project::Project;
use crate::step::Task;

/// A tool with the version that the project wants.
pub(crate) struct Tool {
    name: &'static str,
    krate: &'static str,
    version: String,
    /// Programs that have to be there; the first one is asked for its version.
    programs: &'static [&'static str],
    /// Only this very version will do; else any later one on the PATH will, too.
    exact: bool,
    locked: bool,
}

impl Tool {
    /// wasm-bindgen's command line has to be of the very version that Cargo.lock names.
    pub(crate) fn bindgen(project: &Project) -> Result<Self> {
        let path = project.root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let version = locked_version(&lock, "wasm-bindgen")
            .context("Cargo.lock names no wasm-bindgen; run `cargo update -w` and try again")?;
        Ok(Self {
            name: "wasm-bindgen",
            krate: "wasm-bindgen-cli",
            version: version.to_owned(),
            programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
            exact: true,
            // Its lock file can name versions that have been taken back since.
            locked: false,
        })
    }

    pub(crate) fn pack() -> Self {
        Self {
            name: "wasm-pack",
            krate: "wasm-pack",
            version: "0.15.1".to_owned(),
            programs: &["wasm-pack"],
            exact: false,
            locked: true,
        }
    }

    pub(crate) fn gecko() -> Self {
        Self {
            name: "geckodriver",
            krate: "geckodriver",
            version: "0.37.1".to_owned(),
            programs: &["geckodriver"],
            exact: false,
            locked: false,
        }
    }

    /// The directory with the tool's programs; installs them if they are nowhere.
    pub(crate) fn ensure(&self, project: &Project) -> Result<PathBuf> {
        if let Some(dir) = self.on_path() {
            return Ok(dir);
        }
        let home = host::cargo_home()
            .join("keepfresh-tools")
            .join(format!("{}-{}", self.name, self.version));
        let bin = home.join("bin");
        if self.fits(&bin) {
            return Ok(bin);
        }
        self.install(project, &home)?;
        if self.fits(&bin) {
            Ok(bin)
        } else {
            Err(anyhow!(
                "{} {} was installed in {} but does not start; remove that directory and try again",
                self.name,
                self.version,
                bin.display()
            ))
        }
    }

    fn on_path(&self) -> Option<PathBuf> {
        let program = host::find(&[self.programs[0]])?;
        let dir = program.parent()?.to_path_buf();
        self.fits(&dir).then_some(dir)
    }

    fn fits(&self, dir: &Path) -> bool {
        let file = |name: &str| dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        self.programs.iter().all(|name| file(name).is_file())
            && host::version_of(&file(self.programs[0])).is_some_and(|have| {
                if self.exact {
                    have == self.version
                } else {
                    host::at_least(&have, &self.version)
                }
            })
    }

    /// Installs into a directory of its own, so that the versions a user has in `~/.cargo/bin`
    /// stay as they are. Built fast rather than fast-running: these tools work for seconds.
    fn install(&self, project: &Project, home: &Path) -> Result<()> {
        let mut cargo = project.cargo();
        cargo
            .current_dir(project.scratch())
            .args(["install", self.krate, "--version", &self.version, "--force"])
            .arg("--root")
            .arg(home)
            .env("CARGO_TARGET_DIR", project.scratch().join("tools"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env_remove("CARGO_BUILD_TARGET");
        if self.locked {
            cargo.arg("--locked");
        }
        let title = format!("{} {}: installing it with cargo", self.name, self.version);
        let advice = format!(
            "{} is missing and could not be installed; check the network (crates.io), or run \
             `cargo install {} --version {}` yourself",
            self.name, self.krate, self.version
        );
        project
            .runner
            .run(Task::new(
                &format!("install-{}", self.name),
                &title,
                cargo,
                &advice,
            ))
            .map(drop)
    }
}

/// The version of `package` in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.next()?;
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_the_one_of_that_very_package() {
        let lock = "[[package]]\nname = \"serde-wasm-bindgen\"\nversion = \"0.6.5\"\n\n\
            [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n\n\
            [[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.80\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "js-sys"), None);
    }
}
