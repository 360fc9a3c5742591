//! What can be set from the command line.

use std::path::PathBuf;

use crate::switches::Switches;

/// The text that `--help` prints.
pub const USAGE: &str = "\
keepfresh-server: a small auth server for keepfresh's demo and tests (loopback only)

  --port N                    API port, 0 = any free one (default 0)
  --www DIR                   serve DIR on a second port, which is another origin
  --www-port N                its port, 0 = any free one (default 0)
  --pkg DIR                   serve DIR there under /keepfresh/
  --db PATH                   SQLite file (default: in memory)
  --short-lived SECS          Sanctum token without remember_me (default 3600)
  --long-lived SECS           Sanctum token with remember_me (default 2592000)
  --access-lifetime SECS      access tokens beside a refresh token (default 900)
  --refresh-lifetime SECS     refresh tokens (default 1209600)
  --single-device true|false  a Sanctum login revokes other devices' tokens (default true)
  --max-refreshes-per-hour N  per Sanctum login, 0 = off (default 10)
  --login-per-minute N        0 = off (default 5)
  --refresh-per-minute N      per person, 0 = off (default 10)
  --requests-per-minute N     per person, 0 = off (default 0)
  --retention-days N          dead tokens are kept this long (default 7)
  --switch NAME=VALUE         a variant of an imitated server, see the README
  --faults                    turn on /__test/* (never outside tests)
  --watch-stdin               stop when stdin closes
";

/// How the server runs. [`Options::default`] is what an empty command line gives.
#[derive(Clone, Debug)]
pub struct Options {
    /// API port; 0 picks a free one.
    pub port: u16,
    /// Folder of the static listener; none, no such listener.
    pub www: Option<PathBuf>,
    /// Port of the static listener; 0 picks a free one.
    pub www_port: u16,
    /// Folder that the static listener shows under `/keepfresh/`.
    pub pkg: Option<PathBuf>,
    /// Database file; none, in memory.
    pub db: Option<PathBuf>,
    /// Token lifetimes at the start.
    pub lifetimes: Lifetimes,
    /// Whether a Sanctum login revokes the tokens of the person's other devices.
    pub single_device: bool,
    /// Refreshes per hour and Sanctum login; 0 = no limit.
    pub max_refreshes_per_hour: u32,
    /// Logins per minute; 0 = no limit.
    pub login_per_minute: u32,
    /// Refreshes per minute and person; 0 = no limit.
    pub refresh_per_minute: u32,
    /// Requests of protected resources per minute and person; 0 = no limit.
    pub requests_per_minute: u32,
    /// Days that an expired or revoked token is kept.
    pub retention_days: u32,
    /// Variants of the imitated servers.
    pub switches: Switches,
    /// Whether `/__test/*` exists.
    pub faults: bool,
    /// Whether the program stops when stdin closes.
    pub watch_stdin: bool,
}

/// Token lifetimes in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Sanctum token without `remember_me`.
    pub short_lived: u32,
    /// Sanctum token with `remember_me`.
    pub long_lived: u32,
    /// Access token that has a refresh token beside it.
    pub access: u32,
    /// Refresh token.
    pub refresh: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            www: None,
            www_port: 0,
            pkg: None,
            db: None,
            lifetimes: Lifetimes::default(),
            single_device: true,
            max_refreshes_per_hour: 10,
            login_per_minute: 5,
            refresh_per_minute: 10,
            requests_per_minute: 0,
            retention_days: 7,
            switches: Switches::default(),
            faults: false,
            watch_stdin: false,
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            short_lived: 3600,
            long_lived: 2_592_000,
            access: 900,
            refresh: 1_209_600,
        }
    }
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// A message that names the flag which is unknown or has a bad value.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            match flag.as_str() {
                "--faults" => options.faults = true,
                "--watch-stdin" => options.watch_stdin = true,
                _ => {
                    let value = args
                        .next()
                        .ok_or_else(|| format!("{flag}: unknown flag or no value"))?;
                    options.set(&flag, &value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        fn read<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, String> {
            value
                .parse()
                .map_err(|_| format!("{flag}: {value:?} is not a fitting value"))
        }
        match flag {
            "--port" => self.port = read(flag, value)?,
            "--www" => self.www = Some(value.into()),
            "--www-port" => self.www_port = read(flag, value)?,
            "--pkg" => self.pkg = Some(value.into()),
            "--db" => self.db = Some(value.into()),
            "--short-lived" => self.lifetimes.short_lived = read(flag, value)?,
            "--long-lived" => self.lifetimes.long_lived = read(flag, value)?,
            "--access-lifetime" => self.lifetimes.access = read(flag, value)?,
            "--refresh-lifetime" => self.lifetimes.refresh = read(flag, value)?,
            "--single-device" => self.single_device = read(flag, value)?,
            "--max-refreshes-per-hour" => self.max_refreshes_per_hour = read(flag, value)?,
            "--login-per-minute" => self.login_per_minute = read(flag, value)?,
            "--refresh-per-minute" => self.refresh_per_minute = read(flag, value)?,
            "--requests-per-minute" => self.requests_per_minute = read(flag, value)?,
            "--retention-days" => self.retention_days = read(flag, value)?,
            "--switch" => {
                self.switches = self
                    .switches
                    .with_line(value)
                    .map_err(|problem| format!("{flag} {value}: {problem}"))?;
            }
            _ => return Err(format!("{flag}: unknown flag (--help lists them)")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read() {
        let options = parse("--port 8080 --faults --single-device false --short-lived 4").unwrap();
        assert_eq!(
            (options.port, options.faults, options.single_device),
            (8080, true, false)
        );
        assert_eq!(options.lifetimes.short_lived, 4);
        let options = parse("--switch league=8 --switch simplejwt_rotate=true").unwrap();
        assert_eq!(options.switches.league, 8);
        assert!(options.switches.simplejwt_rotate);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("--prot 1").unwrap_err().contains("--prot"));
        assert!(parse("--port").unwrap_err().contains("--port"));
        assert!(parse("--port x").unwrap_err().contains("--port"));
        assert!(parse("--switch x=1").unwrap_err().contains("x=1"));
    }
}
