//! The server as a client meets it: started in this process on a free port, and
//! asked over real connections.

// These tests measure real pauses; only the client must not read the clock.
#![allow(clippy::disallowed_methods)]

mod cookie;
mod cors;
mod django;
mod faults;
mod gotrue;
mod harness;
mod oauth2;
mod passport;
mod program;
mod resources;
mod sanctum;
mod simplejwt;
mod switches;
mod wire;
