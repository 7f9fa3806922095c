//! Ends what a test started when the test's own process is gone.
//!
//! A test that is killed drops nothing, and its children would live on. So a
//! small shell waits at a pipe of which only the test's process has the other
//! end: however that process ends, the pipe closes and the shell cleans up. An
//! orderly end uses the same way, so that it is known to work.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A shell script that runs when this value, or the whole process, is gone.
pub(crate) struct Leash(Option<Child>);

impl Leash {
    /// A leash with a script; its arguments are `$1`, `$2` and so on.
    pub(crate) fn new(script: &str, arguments: &[&OsStr]) -> Self {
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("cat > /dev/null; {script}"))
            .arg("leash")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // ^C in the terminal reaches the test, not its leashes.
            .process_group(0)
            .spawn()
            .expect("a shell can be started");
        Self(Some(child))
    }

    /// Takes the leash off: the script is not run.
    pub(crate) fn take_off(mut self) {
        if let Some(mut shell) = self.0.take() {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(mut shell) = self.0.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}
