//! Acts in the browser and decides nothing: fetch, storage, locks, timers. The decisions are
//! [`crate::policy`]'s.

mod account;
mod answer;
mod client;
mod clock;
mod copies;
mod csrf;
mod error;
mod handover;
mod inner;
mod js;
mod json;
mod lease;
mod login_page;
mod options;
mod peek;
mod refresh;
mod send;
mod storage;
mod tabs;
mod view;
mod wake;

pub use client::Core;
pub use inner::Host;
