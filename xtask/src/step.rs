//! Runs one command as a visible step: says what it does, shows progress, keeps the log.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::guard::Guard;

/// How often a line of progress is printed where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often the status line of a terminal is redrawn.
const TICK: Duration = Duration::from_millis(200);
/// How long output is still read after the command has ended (a grandchild may hold the pipe).
const DRAIN: Duration = Duration::from_secs(2);
/// How many lines of a failed command's output are printed.
const TAIL: usize = 40;

/// A command with the words that go with it.
pub(crate) struct Task<'a> {
    /// Names the log file: `target/xtask/<log>.log`.
    pub(crate) log: &'a str,
    /// What the step does, for people.
    pub(crate) title: &'a str,
    pub(crate) command: Command,
    /// After this time the command is ended and has failed.
    pub(crate) limit: Duration,
    /// What to do when it fails; one sentence, or empty.
    pub(crate) advice: &'a str,
    /// Print the whole output as it comes.
    pub(crate) echo: bool,
}

impl<'a> Task<'a> {
    /// A task with a limit of 20 minutes and no echo.
    pub(crate) fn new(log: &'a str, title: &'a str, command: Command, advice: &'a str) -> Self {
        Self {
            log,
            title,
            command,
            limit: Duration::from_mins(20),
            advice,
            echo: false,
        }
    }
}

/// How a task went.
pub(crate) struct Outcome {
    /// Everything it printed, without colours.
    pub(crate) text: String,
    /// The sentence that says what failed and what to do.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    /// The output of a task that has to succeed.
    pub(crate) fn check(self) -> Result<String> {
        match self.failure {
            None => Ok(self.text),
            Some(sentence) => Err(anyhow!(sentence)),
        }
    }
}

/// Runs tasks one after the other.
pub(crate) struct Runner {
    pub(crate) guard: Guard,
    root: PathBuf,
    logs: PathBuf,
    terminal: bool,
}

impl Runner {
    /// `logs` is made if it is missing.
    pub(crate) fn new(root: &Path, logs: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self {
            guard: Guard::start(),
            root: root.to_path_buf(),
            logs,
            terminal: std::io::stdout().is_terminal(),
        })
    }

    /// Runs a task that has to succeed and returns its output.
    pub(crate) fn run(&self, task: Task) -> Result<String> {
        self.attempt(task).and_then(Outcome::check)
    }

    /// Runs a task. A failing command is an `Outcome`, one that cannot be started an error.
    pub(crate) fn attempt(&self, task: Task) -> Result<Outcome> {
        let Task {
            log,
            title,
            mut command,
            limit,
            advice,
            echo,
        } = task;
        let shown = show(&command, &self.root);
        println!("==> {title}\n    $ {shown}");
        let path = self.logs.join(format!("{log}.log"));
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "$ {shown}")?;
        let started = Instant::now();
        let (mut child, lines) = self.start(&mut command, &shown, advice)?;
        let mut output = Reader {
            text: String::new(),
            file,
            progress: Progress::new(self.terminal && !echo, echo, title, started),
        };
        let status = self.follow(&mut child, &lines, &mut output, started + limit)?;
        output.progress.clear();
        let seconds = started.elapsed().as_secs_f64();
        let path = path.strip_prefix(&self.root).unwrap_or(&path);
        let failure = match status {
            Some(status) if status.success() => {
                println!("    done in {seconds:.1} s");
                None
            }
            status => {
                if !echo {
                    print_tail(&output.text);
                }
                let how = status.map_or_else(
                    || format!("took longer than {} s and was ended", limit.as_secs()),
                    |status| format!("failed ({status}) after {seconds:.1} s"),
                );
                let gap = if advice.is_empty() { "" } else { "; " };
                println!("    FAILED after {seconds:.1} s");
                Some(format!(
                    "`{shown}` {how}; its output is in {}{gap}{advice}",
                    path.display()
                ))
            }
        };
        Ok(Outcome {
            text: output.text,
            failure,
        })
    }

    fn start(
        &self,
        command: &mut Command,
        shown: &str,
        advice: &str,
    ) -> Result<(Child, Receiver<String>)> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match self.guard.spawn(command) {
            Ok(child) => child,
            Err(error) if advice.is_empty() => bail!("cannot start `{shown}`: {error}"),
            Err(error) => bail!("cannot start `{shown}`: {error}; {advice}"),
        };
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            send_lines(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            send_lines(stderr, sender);
        }
        Ok((child, receiver))
    }

    /// Reads the output until the command has ended; `None` if it ran out of time.
    fn follow(
        &self,
        child: &mut Child,
        lines: &Receiver<String>,
        output: &mut Reader,
        deadline: Instant,
    ) -> Result<Option<ExitStatus>> {
        let mut late = false;
        let mut open = true;
        let status = loop {
            if open {
                open = output.take(lines, TICK)?;
            } else {
                std::thread::sleep(TICK / 10);
            }
            output.progress.tick();
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if !late && Instant::now() > deadline {
                late = true;
                self.guard.end(child);
            }
            if late && Instant::now() > deadline + Duration::from_secs(10) {
                self.guard.kill(child);
            }
        };
        let drained = Instant::now() + DRAIN;
        while open && Instant::now() < drained {
            open = output.take(lines, TICK)?;
        }
        self.guard.forget(child);
        Ok((!late).then_some(status))
    }
}

/// Collects the lines of a command.
struct Reader {
    text: String,
    file: File,
    progress: Progress,
}

impl Reader {
    /// Waits for a line; false when there will be no more.
    fn take(&mut self, lines: &Receiver<String>, wait: Duration) -> Result<bool> {
        match lines.recv_timeout(wait) {
            Ok(line) => {
                writeln!(self.file, "{line}")?;
                self.text.push_str(&line);
                self.text.push('\n');
                self.progress.line(line);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(true),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
        }
    }
}

/// What is seen of a running command: one live line on a terminal, else a line now and then.
struct Progress {
    live: bool,
    echo: bool,
    title: String,
    started: Instant,
    drawn: Instant,
    last: String,
}

impl Progress {
    fn new(live: bool, echo: bool, title: &str, started: Instant) -> Self {
        let title = title.split(':').next().unwrap_or(title).to_owned();
        Self {
            live,
            echo,
            title,
            started,
            drawn: started,
            last: String::new(),
        }
    }

    fn line(&mut self, line: String) {
        if self.echo {
            println!("    {line}");
        } else if !line.trim().is_empty() {
            self.last = line;
        }
    }

    fn tick(&mut self) {
        let pause = if self.live { TICK } else { HEARTBEAT };
        if self.echo || self.drawn.elapsed() < pause {
            return;
        }
        self.drawn = Instant::now();
        let seconds = self.started.elapsed().as_secs();
        let status = format!("    ... {}, {seconds} s: {}", self.title, self.last.trim());
        let status: String = status.chars().take(columns()).collect();
        if self.live {
            print!("\r\x1b[2K{status}");
            // A terminal that is gone shows no progress; the command goes on.
            let _ = std::io::stdout().flush();
        } else {
            println!("{status}");
        }
    }

    fn clear(&self) {
        if self.live {
            print!("\r\x1b[2K");
        }
    }
}

fn columns() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
        .map_or(79, |columns| columns.saturating_sub(1).max(20))
}

fn send_lines(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
            let line = plain(&String::from_utf8_lossy(&bytes));
            bytes.clear();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}

/// A line as a terminal would leave it: no escape sequences, nothing that was overwritten.
fn plain(line: &str) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            text.push(c);
        } else if chars.next() == Some('[') {
            chars.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    text
}

fn print_tail(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL);
    if skipped > 0 {
        println!("    [{skipped} lines before these are in the log]");
    }
    for line in &lines[skipped..] {
        println!("    | {line}");
    }
}

/// The command as one would type it, with paths relative to the checkout.
fn show(command: &Command, root: &Path) -> String {
    let prefix = format!("{}{}", root.display(), std::path::MAIN_SEPARATOR);
    let program = Path::new(command.get_program());
    let program = program
        .file_stem()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let mut words = vec![program.into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().replace(&prefix, "")),
    );
    let line = words.join(" ");
    match command.get_current_dir().map(|dir| dir.strip_prefix(root)) {
        Some(Ok(dir)) if !dir.as_os_str().is_empty() => format!("(in {}) {line}", dir.display()),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_colours_and_what_was_overwritten() {
        assert_eq!(plain("\x1b[32mok\x1b[0m done\r\n"), "ok done");
        assert_eq!(plain("10%\r50%\r100%\n"), "100%");
    }

    #[test]
    fn commands_are_shown_short() {
        let mut command = Command::new("/usr/bin/cargo");
        command.current_dir("/repo/pkg").args(["build", "/repo/x"]);
        assert_eq!(show(&command, Path::new("/repo")), "(in pkg) cargo build x");
    }

    #[cfg(unix)]
    #[test]
    fn failures_carry_output_and_advice_and_time_out() {
        let dir = std::env::temp_dir().join(format!("xtask-step-{}", std::process::id()));
        let runner = Runner::new(&dir, dir.join("logs")).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two >&2; exit 3"]);
        let outcome = runner
            .attempt(Task::new("t", "a test", shell, "try again"))
            .unwrap();
        assert!(outcome.text.contains("one\n") && outcome.text.contains("two\n"));
        assert!(outcome.failure.unwrap().ends_with("; try again"));

        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & sleep 60"]);
        let mut task = Task::new("t", "a test", shell, "");
        task.limit = Duration::from_millis(300);
        let started = Instant::now();
        assert!(runner.run(task).is_err());
        assert!(started.elapsed() < Duration::from_secs(8));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
