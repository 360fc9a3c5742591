//! The command line of xtask.

use std::ffi::OsString;

use anyhow::{Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::fuzz::Fuzz;
use crate::test::Step;

pub(crate) const HELP: &str = "\
cargo xtask <command>

  setup [--browsers]   install what is missing: wasm32 target, wasm-bindgen, npm packages;
                       with --browsers also wasm-pack, geckodriver and the browsers
  build [--dev]        build the npm package into pkg/dist and print its sizes;
                       --dev skips every optimisation
  demo [--port N] [--no-open]
                       build, start the auth server, serve the demo page and keep running
  demo --headless      drive the demo page in headless Chromium and check its counts
  test [STEP..]        run everything, or only: fmt map clippy native build pkg wasm e2e demo
  fuzz [--cases N] [--seed N] [NAME]
                       hostile input: a million cases of each property, or of those named NAME
  map                  rewrite the table in tests/README.md: which test shows which requirement
  help                 print this

Logs of every step are in target/xtask/. KEEPFRESH_TOOLCHAIN=debian builds wasm with Debian's
Rust packages even where rustup has the target; KEEPFRESH_CHROMIUM names another browser.";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Help,
    Setup { browsers: bool },
    Build { dev: bool },
    Demo(Demo),
    Fuzz(Fuzz),
    Map,
    Test { steps: Vec<Step> },
}

/// The options of `demo`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Demo {
    pub(crate) headless: bool,
    /// The port of the page; the API takes any free one.
    pub(crate) port: Option<u16>,
    pub(crate) no_open: bool,
}

/// Reads the arguments that follow `cargo xtask`.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Action> {
    let mut parser = lexopt::Parser::from_args(args);
    let command = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Action::Help),
        Some(Value(word)) => word.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => Ok(Action::Help),
        "setup" => Ok(Action::Setup {
            browsers: flag(&mut parser, "browsers")?,
        }),
        "build" => Ok(Action::Build {
            dev: flag(&mut parser, "dev")?,
        }),
        "map" => nothing_more(&mut parser).map(|()| Action::Map),
        "demo" => demo(&mut parser).map(Action::Demo),
        "fuzz" => fuzz(&mut parser).map(Action::Fuzz),
        "test" => steps(&mut parser).map(|steps| Action::Test { steps }),
        other => bail!("there is no command `{other}`"),
    }
}

fn nothing_more(parser: &mut lexopt::Parser) -> Result<()> {
    match parser.next()? {
        None => Ok(()),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn flag(parser: &mut lexopt::Parser, name: &str) -> Result<bool> {
    let mut given = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long(long) if long == name => given = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(given)
}

fn demo(parser: &mut lexopt::Parser) -> Result<Demo> {
    let mut demo = Demo::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("headless") => demo.headless = true,
            Long("no-open") => demo.no_open = true,
            Long("port") => demo.port = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(demo)
}

fn fuzz(parser: &mut lexopt::Parser) -> Result<Fuzz> {
    let mut fuzz = Fuzz::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("cases") => fuzz.cases = Some(parser.value()?.parse()?),
            Long("seed") => fuzz.seed = Some(parser.value()?.parse()?),
            Value(name) if fuzz.name.is_none() => fuzz.name = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(fuzz)
}

fn steps(parser: &mut lexopt::Parser) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(name) => steps.push(name.string()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Action> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_and_their_flags() {
        assert_eq!(parsed("").unwrap(), Action::Help);
        assert_eq!(parsed("--help").unwrap(), Action::Help);
        assert_eq!(
            parsed("setup --browsers").unwrap(),
            Action::Setup { browsers: true }
        );
        assert_eq!(parsed("map").unwrap(), Action::Map);
        assert_eq!(parsed("build").unwrap(), Action::Build { dev: false });
        assert_eq!(
            parsed("demo --port 8123 --no-open").unwrap(),
            Action::Demo(Demo {
                headless: false,
                port: Some(8123),
                no_open: true
            })
        );
        assert_eq!(
            parsed("fuzz --cases 5 --seed 7 jwt").unwrap(),
            Action::Fuzz(Fuzz {
                cases: Some(5),
                seed: Some(7),
                name: Some("jwt".to_owned())
            })
        );
    }

    #[test]
    fn test_steps_by_name() {
        assert_eq!(parsed("test").unwrap(), Action::Test { steps: vec![] });
        assert_eq!(
            parsed("test fmt wasm").unwrap(),
            Action::Test {
                steps: vec![Step::Fmt, Step::Wasm]
            }
        );
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "tset",
            "test fmtt",
            "demo --port 99999",
            "build --fast",
            "map x",
            "fuzz --cases many",
            "fuzz a b",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
