//! Where things are, and what has already been found out in this run.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::browsers;
use crate::host;
use crate::step::Runner;
use crate::toolchain::Toolchain;
use crate::tools::Tool;

/// A result that is looked up once; a failure keeps its sentence.
type Once<T> = OnceCell<Result<T, String>>;

/// The checkout, its directories, and the tools found so far.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    /// Cargo's target directory for native builds.
    pub(crate) target: PathBuf,
    pub(crate) runner: Runner,
    node: Once<()>,
    toolchain: Once<Toolchain>,
    bindgen: Once<PathBuf>,
    pack: Once<PathBuf>,
    gecko: Once<PathBuf>,
    chromium: Once<PathBuf>,
    chromedriver: Once<Option<PathBuf>>,
    firefox: Once<PathBuf>,
}

impl Project {
    /// Finds the checkout that this xtask belongs to.
    pub(crate) fn open() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask has to stay in the directory xtask of the checkout")?
            .to_path_buf();
        let target = target_dir(&root);
        Ok(Self {
            runner: Runner::new(&root, target.join("xtask"))?,
            root,
            target,
            node: OnceCell::new(),
            toolchain: OnceCell::new(),
            bindgen: OnceCell::new(),
            pack: OnceCell::new(),
            gecko: OnceCell::new(),
            chromium: OnceCell::new(),
            chromedriver: OnceCell::new(),
            firefox: OnceCell::new(),
        })
    }

    /// Scratch space of xtask: logs, stamps, build directories of tools.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// Cargo's target directory for wasm32. A directory of its own, because another rustc may
    /// build there and the two would throw away each other's work.
    pub(crate) fn wasm_target(&self) -> PathBuf {
        self.target.join("wasm")
    }

    /// A call of the cargo that runs xtask, in the root of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(host::cargo());
        command.current_dir(&self.root);
        host::clean(&mut command);
        command
    }

    /// Any other program, in `dir` below the root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, dir: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root.join(dir));
        host::clean(&mut command);
        command
    }

    pub(crate) fn node(&self) -> Result<()> {
        once(&self.node, || crate::npm::check_node(self)).copied()
    }

    pub(crate) fn toolchain(&self) -> Result<&Toolchain> {
        once(&self.toolchain, || Toolchain::ensure(self))
    }

    /// The directory with wasm-bindgen and wasm-bindgen-test-runner.
    pub(crate) fn bindgen(&self) -> Result<&Path> {
        once(&self.bindgen, || Tool::bindgen(self)?.ensure(self)).map(PathBuf::as_path)
    }

    /// The directory with wasm-pack.
    pub(crate) fn pack(&self) -> Result<&Path> {
        once(&self.pack, || Tool::pack().ensure(self)).map(PathBuf::as_path)
    }

    /// The directory with geckodriver.
    pub(crate) fn gecko(&self) -> Result<&Path> {
        once(&self.gecko, || Tool::gecko().ensure(self)).map(PathBuf::as_path)
    }

    pub(crate) fn chromium(&self) -> Result<&Path> {
        once(&self.chromium, || browsers::ensure_chromium(self)).map(PathBuf::as_path)
    }

    pub(crate) fn chromedriver(&self) -> Result<Option<&Path>> {
        once(&self.chromedriver, || browsers::ensure_chromedriver(self)).map(Option::as_deref)
    }

    pub(crate) fn firefox(&self) -> Result<&Path> {
        once(&self.firefox, || browsers::ensure_firefox(self)).map(PathBuf::as_path)
    }
}

fn once<T>(cell: &Once<T>, find: impl FnOnce() -> Result<T>) -> Result<&T> {
    cell.get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|sentence| anyhow!("{sentence}"))
}

/// xtask itself lies in `<target>/debug/`, whatever cargo's configuration says about the place.
fn target_dir(root: &Path) -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|exe| exe.parent().is_some_and(|dir| dir.ends_with("debug")))
        .and_then(|exe| Some(exe.parent()?.parent()?.to_path_buf()))
        .unwrap_or_else(|| root.join("target"))
}
