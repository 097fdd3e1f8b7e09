//! Faults from outside: `strace` takes hold of the running binary and kills it, or lets its calls fail.
//!
//! A signal comes in front of the call, which is then not made. Calls are counted by thread and by name: what one thread
//! does after the hold was taken is counted exactly.

use super::eventually;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long strace may take to let go. One that is told to while its process is being killed may wait for ever; when it is
/// killed the kernel lets go for it.
const LETTING_GO: Duration = Duration::from_secs(3);

/// A hold on a process; let go when it is dropped.
pub struct Strace {
    child: Child,
}

impl Strace {
    /// Kills the process in front of the n-th call of `call`.
    pub fn kill_at(pid: u32, call: &str, n: usize) -> Strace {
        Strace::attach(pid, call, &format!("signal=KILL:when={n}"), None)
    }

    /// Lets the n-th call of `call` fail with `error`.
    pub fn fail_at(pid: u32, call: &str, error: &str, n: usize) -> Strace {
        Strace::attach(pid, call, &format!("error={error}:when={n}"), None)
    }

    /// `kill_at`, of the calls that touch the file `on`.
    pub fn kill_at_file(pid: u32, call: &str, on: &Path, n: usize) -> Strace {
        Strace::attach_to(pid, call, &format!("signal=KILL:when={n}"), Some(on), None)
    }

    /// `fail_at`, of the calls that touch the file `on`.
    pub fn fail_at_file(pid: u32, call: &str, error: &str, on: &Path, n: usize) -> Strace {
        Strace::attach_to(pid, call, &format!("error={error}:when={n}"), Some(on), None)
    }

    /// Lets every call of `call` that touches the file `on` fail with `error`.
    pub fn fail_file(pid: u32, call: &str, error: &str, on: &Path) -> Strace {
        Strace::attach_to(pid, call, &format!("error={error}"), Some(on), None)
    }

    /// Writes the calls `calls` (a comma between them) of the process down in `file`, with the names of its files.
    pub fn record(pid: u32, calls: &str, file: &Path) -> Strace {
        Strace::attach(pid, calls, "", Some(file))
    }

    fn attach(pid: u32, calls: &str, inject: &str, file: Option<&Path>) -> Strace {
        Strace::attach_to(pid, calls, inject, None, file)
    }

    fn attach_to(pid: u32, calls: &str, inject: &str, on: Option<&Path>, file: Option<&Path>) -> Strace {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-y",
            "-qq",
            "-s",
            "64",
            "-p",
            &pid.to_string(),
            "-e",
            &format!("trace={calls}"),
        ]);
        command.arg("-o").arg(file.unwrap_or("/dev/null".as_ref()));
        if let Some(on) = on {
            command.arg("-P").arg(on);
        }
        if !inject.is_empty() {
            command.arg("-e").arg(format!("inject={calls}:{inject}"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace must be installed (tests/install)");
        let tracer = format!("TracerPid:\t{}\n", child.id());
        eventually("strace to take hold", || {
            if let Some(status) = child.try_wait().unwrap() {
                let mut said = String::new();
                let _ = std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said);
                panic!("strace ended ({status}): {said}");
            }
            let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let held = |thread: fs::DirEntry| {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                status.contains(&tracer)
            };
            threads.flatten().all(held).then_some(())
        });
        Strace { child }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // It lets go of the process first. One that traced what is dead has ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + LETTING_GO;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
