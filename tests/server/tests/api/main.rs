//! The server as a client meets it: started in this process on a free port, and
//! asked over real connections.

// These tests measure real pauses; only the client must not read the clock.
#![allow(clippy::disallowed_methods)]

mod cors;
mod django;
mod faults;
mod harness;
mod oauth2;
mod program;
mod resources;
mod sanctum;
mod wire;
