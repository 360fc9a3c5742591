//! Makes sure that no child outlives xtask.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// A tiny shell process that learns the process groups of all children through a pipe. However
/// xtask ends (normally, Ctrl-C, `kill -9`), the pipe closes and the shell ends what is left.
/// This needs neither signal handlers nor unsafe code. On Windows there is no such guard.
pub(crate) struct Guard {
    pipe: Option<Mutex<ChildStdin>>,
}

const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=
while read -r op group; do
  case $op in
    end) kill -s TERM -- "-$group" 2>/dev/null ;;
    kil) kill -s KILL -- "-$group" 2>/dev/null ;;
    add) groups="$groups $group" ;;
    del) rest=
         for g in $groups; do [ "$g" = "$group" ] || rest="$rest $g"; done
         groups=$rest ;;
  esac
done
[ -n "$groups" ] || exit 0
for g in $groups; do kill -s TERM -- "-$g" 2>/dev/null; done
sleep 3
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
"#;

impl Guard {
    /// Starts the guard; without a shell there is none.
    pub(crate) fn start() -> Self {
        let pipe = if cfg!(unix) { spawn_shell() } else { None };
        Self {
            pipe: pipe.map(Mutex::new),
        }
    }

    /// Starts `command` in a process group of its own, known to the guard.
    pub(crate) fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        own_group(command);
        let child = command.spawn()?;
        self.tell("add", &child);
        Ok(child)
    }

    /// Forgets a child that has ended.
    pub(crate) fn forget(&self, child: &Child) {
        self.tell("del", child);
    }

    /// Asks a child and all it started to end.
    pub(crate) fn end(&self, child: &mut Child) {
        if self.pipe.is_some() {
            self.tell("end", child);
        } else {
            // Best effort: it may have ended by itself.
            let _ = child.kill();
        }
    }

    /// Ends a child that did not end when it was asked to.
    pub(crate) fn kill(&self, child: &mut Child) {
        self.tell("kil", child);
        // Best effort: it may have ended by itself.
        let _ = child.kill();
    }

    fn tell(&self, what: &str, child: &Child) {
        if let Some(Ok(mut pipe)) = self.pipe.as_ref().map(Mutex::lock) {
            // A guard that is gone cannot be told; xtask still works without it.
            let _ = writeln!(pipe, "{what} {}", child.id());
        }
    }
}

fn spawn_shell() -> Option<ChildStdin> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    own_group(&mut shell);
    shell.spawn().ok()?.stdin.take()
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn children_end_with_the_guard() {
        let guard = Guard::start();
        let mut sleep = Command::new("sleep");
        let mut child = guard.spawn(sleep.arg("60")).unwrap();
        drop(guard);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(5), "still running");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
