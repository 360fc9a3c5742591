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

/// Both browsers, found.
pub(crate) struct Browsers {
    pub(crate) chromium: PathBuf,
    /// None where wasm-pack has to fetch one that fits.
    pub(crate) chromedriver: Option<PathBuf>,
}

impl Browsers {
    /// Finds the browsers; on Debian installs the missing ones.
    pub(crate) fn ensure(project: &Project) -> Result<Self> {
        let debian = Path::new("/etc/debian_version").exists();
        let mut packages = Vec::new();
        if chromium().is_none() {
            packages.push("chromium");
        }
        if chromedriver().is_none() && debian {
            packages.push("chromium-driver");
        }
        if firefox().is_none() {
            packages.push("firefox-esr");
        }
        if !packages.is_empty() && debian && host::can_apt() {
            let title = format!("browsers: installing {}", packages.join(", "));
            crate::setup::apt(project, "apt-browsers", &title, &packages)?;
        }
        firefox().ok_or_else(|| {
            anyhow!(host::missing(
                "Firefox",
                "sudo apt-get install -y firefox-esr",
                "brew install --cask firefox",
                "install it from https://www.mozilla.org/firefox/",
            ))
        })?;
        Ok(Self {
            chromium: chromium().ok_or_else(|| {
                anyhow!(host::missing(
                    "Chromium",
                    "sudo apt-get install -y chromium chromium-driver",
                    "brew install --cask google-chrome",
                    "install Chromium or Chrome and set KEEPFRESH_CHROMIUM to its program",
                ))
            })?,
            chromedriver: chromedriver(),
        })
    }
}

fn chromium() -> Option<PathBuf> {
    std::env::var_os("KEEPFRESH_CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| host::find(&CHROMIUM))
        .or_else(|| first_file(&MAC_CHROMIUM))
}

fn chromedriver() -> Option<PathBuf> {
    host::find(&["chromedriver"])
}

fn firefox() -> Option<PathBuf> {
    host::find(&FIREFOX).or_else(|| first_file(&MAC_FIREFOX))
}

fn first_file(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.is_file())
}
