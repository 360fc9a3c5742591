//! Decides; knows no browser.
