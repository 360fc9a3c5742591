//! Chromium and Firefox with what drives them.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::host;
use crate::project::Project;

const CHROMIUM: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];
const MAC_CHROMIUM: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
const FIREFOX: [&str; 2] = ["firefox", "firefox-esr"];
const MAC_FIREFOX: [&str; 1] = ["/Applications/Firefox.app/Contents/MacOS/firefox"];

/// Finds Chromium; on Debian installs it where it is missing.
pub(crate) fn ensure_chromium(project: &Project) -> Result<PathBuf> {
    if chromium().is_none() {
        install(project, &["chromium", "chromium-driver"])?;
    }
    chromium().ok_or_else(|| {
        anyhow!(host::missing(
            "Chromium",
            "sudo apt-get install -y chromium chromium-driver",
            "brew install --cask google-chrome",
            "install Chromium or Chrome and set KEEPFRESH_CHROMIUM to its program",
        ))
    })
}

/// What drives Chromium; none where wasm-pack has to fetch one that fits.
pub(crate) fn ensure_chromedriver(project: &Project) -> Result<Option<PathBuf>> {
    if chromedriver().is_none() {
        install(project, &["chromium-driver"])?;
    }
    Ok(chromedriver())
}

/// Finds Firefox; on Debian installs it where it is missing.
pub(crate) fn ensure_firefox(project: &Project) -> Result<PathBuf> {
    if firefox().is_none() {
        install(project, &["firefox-esr"])?;
    }
    firefox().ok_or_else(|| {
        anyhow!(host::missing(
            "Firefox",
            "sudo apt-get install -y firefox-esr` or `sudo snap install firefox",
            "brew install --cask firefox",
            "install it from https://www.mozilla.org/firefox/",
        ))
    })
}

/// Does nothing where it cannot: on other systems, and for others than root.
fn install(project: &Project, packages: &[&str]) -> Result<()> {
    // Ubuntu has the browsers as snaps, which drivers cannot start.
    let ubuntu = std::fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|line| line == "ID=ubuntu"));
    if ubuntu || !Path::new("/etc/debian_version").exists() || !host::can_apt() {
        return Ok(());
    }
    let names = packages.join(", ");
    let title = format!("browsers: installing {names}");
    crate::setup::apt(project, &format!("apt-{}", packages[0]), &title, packages)
}

fn chromium() -> Option<PathBuf> {
    std::env::var_os("KEEPFRESH_CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| host::find(&CHROMIUM))
        .or_else(|| first_file(&MAC_CHROMIUM))
}

fn chromedriver() -> Option<PathBuf> {
    host::find(&["chromedriver", "chromium.chromedriver"])
}

fn firefox() -> Option<PathBuf> {
    std::env::var_os("KEEPFRESH_FIREFOX")
        .map(PathBuf::from)
        .or_else(|| host::find(&FIREFOX))
        .or_else(|| first_file(&MAC_FIREFOX))
}

fn first_file(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.is_file())
}
