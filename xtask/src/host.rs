//! Facts about the machine: programs on the PATH, root, apt, and a clean environment for children.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Variables that `cargo run` and rustup set for xtask and that would mislead another cargo.
const LEAKED: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
    "__CARGO_FIX_PLZ",
];

/// The cargo that runs xtask.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `$CARGO_HOME`, by default `~/.cargo`.
pub(crate) fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_else(|| PathBuf::from(".cargo"))
}

/// Takes what `cargo run` set out of a child's environment, and colours out of its output (it
/// goes into log files and is parsed).
pub(crate) fn clean(command: &mut Command) {
    for name in LEAKED {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        let kept: Vec<PathBuf> = std::env::split_paths(&paths)
            .filter(|path| !added_by_cargo(path))
            .collect();
        match std::env::join_paths(&kept) {
            Ok(joined) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", joined),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command
        .env_remove("FORCE_COLOR")
        .env("NO_COLOR", "1")
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never");
}

fn added_by_cargo(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("rustlib") || text.contains("toolchains") || text.contains("target")
}

/// The first of `names` on the PATH.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    names.iter().find_map(|name| {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        dirs.iter()
            .map(|dir| dir.join(&file))
            .find(|path| path.is_file())
    })
}

/// What a quick command prints; `None` if it cannot run or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first `x.y[.z]` in the output of `program --version`.
pub(crate) fn version_of(program: &Path) -> Option<String> {
    // Some tools panic on a closed pipe, so all output is read.
    let text = output(Command::new(program).arg("--version"))?;
    first_version(&text).map(str::to_owned)
}

/// The first word of `text` that looks like a version.
pub(crate) fn first_version(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether version `have` is `want` or later; parts that are no numbers count as 0.
pub(crate) fn at_least(have: &str, want: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> {
        text.split(['.', '-', '+'])
            .take(3)
            .map(|part| part.parse().unwrap_or(0))
            .chain(std::iter::repeat(0))
            .take(3)
            .collect()
    };
    parts(have) >= parts(want)
}

/// Whether packages can be installed with apt: it is there and this is root.
pub(crate) fn can_apt() -> bool {
    find(&["apt-get"]).is_some()
        && output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

/// The sentence for a tool that is missing and cannot be installed.
pub(crate) fn missing(what: &str, debian: &str, mac: &str, other: &str) -> String {
    format!(
        "{what} is missing and cannot be installed from here; on Debian or Ubuntu run \
         `{debian}`, on macOS `{mac}`, elsewhere {other}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_and_compared() {
        assert_eq!(first_version("wasm-bindgen 0.2.130\n"), Some("0.2.130"));
        assert_eq!(first_version("v20.20.2\n"), Some("20.20.2"));
        assert_eq!(first_version("rustc 1.96.0 (ac68faa20)"), Some("1.96.0"));
        assert_eq!(first_version("no version"), None);
        assert!(at_least("1.96.0", "1.95"));
        assert!(at_least("1.95.0-nightly", "1.95"));
        assert!(!at_least("1.9.0", "1.95"));
        assert!(at_least("0.37.1", "0.35.0"));
    }

    #[test]
    fn a_sentence_names_tool_and_fixes() {
        let text = missing(
            "node",
            "apt-get install nodejs",
            "brew install node",
            "see nodejs.org",
        );
        assert!(text.starts_with("node is missing") && text.contains("brew install node"));
        assert!(!text.contains('\n'));
    }
}
