//! keepfresh keeps an auth session fresh.
//!
//! It wraps `fetch`: attaches the access token, refreshes it ahead of time through one shared
//! refresh, repairs a 401 by refreshing and replaying once, survives bad networks without signing
//! people out, agrees with the other tabs, and never lets the token go where it does not belong.
//!
//! [`policy`] decides and knows no browser: pure `std`, with time passed in. `browser` acts and
//! decides nothing; it exists on wasm32 only. The npm package `keepfresh` loads and types the result.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod policy;

#[cfg(target_arch = "wasm32")]
pub mod browser;
