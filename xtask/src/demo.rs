//! Serves the demo page, for people or for headless Chromium.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::args::Demo;
use crate::host;
use crate::npm;
use crate::project::Project;
use crate::step::Task;

/// Where the page is served unless `--port` says otherwise.
const PORT: u16 = 8420;
/// How long the server may take until it says READY.
const READY: Duration = Duration::from_secs(20);
/// Lifetime of the demo's tokens: short enough to watch several refreshes, in seconds.
const LIFETIME_S: &str = "240";

/// The server, running. It ends when its stdin closes, so also when xtask is killed.
struct Server<'a> {
    project: &'a Project,
    child: Child,
    _stdin: Option<ChildStdin>,
    api: String,
    page: String,
}

/// Builds everything and serves the page.
pub(crate) fn run(project: &Project, demo: &Demo) -> Result<()> {
    let port = demo.port.unwrap_or(if demo.headless { 0 } else { PORT });
    check_port(port)?;
    crate::build::package(project, false)?;
    server_program(project)?;
    if demo.headless {
        return headless(project, port).and_then(|outcome| outcome.check().map(drop));
    }
    let mut server = Server::start(project, port)?;
    greet(&server, port);
    if !demo.no_open {
        open(&server.page);
    }
    let status = server.child.wait()?;
    bail!("the server ended ({status}); its log is target/xtask/server.log")
}

/// Drives the page in headless Chromium; the build has to be done.
pub(crate) fn headless(project: &Project, port: u16) -> Result<crate::step::Outcome> {
    if !project.root.join("tests/e2e/demo.mjs").is_file() {
        bail!("tests/e2e/demo.mjs is missing; restore it with `git checkout tests/e2e`");
    }
    let chromium = project.chromium()?;
    npm::install(project, "tests/e2e")?;
    let server = Server::start(project, port)?;
    let mut node = project.command("node", "");
    node.args([
        "tests/e2e/demo.mjs",
        "--url",
        &server.page,
        "--api",
        &server.api,
    ])
    .arg("--screenshot")
    .arg(project.target.join("demo.png"))
    .env("KEEPFRESH_CHROMIUM", chromium);
    let mut task = Task::new(
        "demo",
        "demo: driving the page in headless Chromium and checking its counts",
        node,
        "the page as it was is in target/demo.png",
    );
    task.echo = true;
    task.limit = Duration::from_mins(5);
    project.runner.attempt(task)
}

/// Builds the test server and says where it is.
pub(crate) fn server_program(project: &Project) -> Result<PathBuf> {
    let mut cargo = project.cargo();
    cargo.args(["build", "--package", "keepfresh-server"]);
    project.runner.run(Task::new(
        "server-build",
        "auth server: compiling it",
        cargo,
        "fix what the compiler says about tests/server; it needs a C compiler (`cc`) for SQLite",
    ))?;
    let name = format!("keepfresh-server{}", std::env::consts::EXE_SUFFIX);
    let path = project.target.join("debug").join(name);
    if !path.is_file() {
        bail!(
            "cargo built the server somewhere else than {}; unset build.target in your cargo \
             configuration",
            path.display()
        );
    }
    Ok(path)
}

impl<'a> Server<'a> {
    fn start(project: &'a Project, port: u16) -> Result<Self> {
        check_port(port)?;
        let name = format!("keepfresh-server{}", std::env::consts::EXE_SUFFIX);
        let mut command = project.command(project.target.join("debug").join(name), "");
        let log = project.scratch().join("server.log");
        command
            .args(["--watch-stdin", "--faults", "--port", "0", "--www", "www"])
            .args(["--pkg", "pkg/dist", "--www-port", &port.to_string()])
            .args(["--short-lived", LIFETIME_S, "--long-lived", LIFETIME_S])
            .args(["--access-lifetime", LIFETIME_S])
            // People press buttons quickly; the limits are for the tests.
            .args(["--max-refreshes-per-hour", "0", "--login-per-minute", "0"])
            .args(["--refresh-per-minute", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut child = project
            .runner
            .guard
            .spawn(&mut command)
            .context("cannot start keepfresh-server")?;
        let stdin = child.stdin.take();
        let line = child.stdout.take().and_then(first_line);
        let Some((api, page)) = line.as_deref().and_then(addresses) else {
            project.runner.guard.end(&mut child);
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the server did not start: {}", log.trim());
        };
        Ok(Self {
            project,
            child,
            _stdin: stdin,
            api,
            page,
        })
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.project.runner.guard.end(&mut self.child);
        // It has ended or is about to.
        let _ = self.child.wait();
        self.project.runner.guard.forget(&self.child);
    }
}

/// The first line of the server; later ones are read and dropped so that it never blocks.
fn first_line(stdout: impl std::io::Read + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Only the first line has a listener.
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(READY).ok()
}

/// API and page from `READY {"api":"http://...","www":"http://..."}`.
fn addresses(line: &str) -> Option<(String, String)> {
    let json = line.strip_prefix("READY ")?;
    let field = |name: &str| {
        let rest = json.split_once(&format!("\"{name}\":\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some((field("api")?, field("www")?))
}

fn check_port(port: u16) -> Result<()> {
    if port == 0 {
        return Ok(());
    }
    TcpListener::bind(("127.0.0.1", port))
        .map(drop)
        .map_err(|error| {
            anyhow!(
                "port {port} of 127.0.0.1 is not free ({error}); choose another one with \
             `cargo xtask demo --port N`, where 0 takes any"
            )
        })
}

fn greet(server: &Server, port: u16) {
    let Server { page, api, .. } = server;
    println!(
        "
  The demo is running.

    page      {page}/
    API       {api}   (another origin, as in real life)
    sign in   ada@example.com / lovelace-1815
              grace@example.com / hopper-1906
    tokens    live {LIFETIME_S} s, so refreshes can be watched

  Try: sign in, send many requests at once, expire the token, make the server fail,
  open the page in a second tab, sign out in one of them.

  Requests are logged in target/xtask/server.log. Ctrl-C ends it all.
"
    );
    if port != PORT {
        println!("  (This is not the usual port {PORT}.)\n");
    }
}

/// Opens the page in the user's browser, where there is a desktop.
fn open(page: &str) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let opener = if cfg!(target_os = "macos") {
        host::find(&["open"])
    } else if desktop {
        host::find(&["xdg-open"])
    } else {
        None
    };
    if let Some(opener) = opener {
        // The address is printed anyway.
        let _ = Command::new(opener)
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_carries_both_addresses() {
        let line = r#"READY {"api":"http://127.0.0.1:5001","www":"http://127.0.0.1:5002"}"#;
        let (api, page) = addresses(line).unwrap();
        assert_eq!(api, "http://127.0.0.1:5001");
        assert_eq!(page, "http://127.0.0.1:5002");
        assert_eq!(addresses(r#"READY {"api":"x","www":null}"#), None);
        assert_eq!(addresses("listening"), None);
    }

    #[test]
    fn a_taken_port_gives_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let sentence = check_port(port).unwrap_err().to_string();
        assert!(sentence.contains(&port.to_string()) && sentence.contains("--port"));
        assert!(check_port(0).is_ok());
    }
}
