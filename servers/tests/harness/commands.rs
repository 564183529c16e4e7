//! Programs that tests run: with a bound on their time, and one line that says what to install
//! where one is missing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A file of this repository.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What the command says, which has to end well; `packages` are Debian's that it comes with.
#[track_caller]
pub(crate) fn run(command: &mut Command, packages: &str, most: Duration) -> String {
    try_run(command, packages, most).unwrap_or_else(|said| panic!("{command:?}:\n{said}"))
}

/// What the command says; as an error where it fails or takes too long.
#[track_caller]
pub(crate) fn try_run(
    command: &mut Command,
    packages: &str,
    most: Duration,
) -> Result<String, String> {
    let (mut said, pipe) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(pipe.try_clone().unwrap()).stderr(pipe);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "this test needs {} (Debian, Ubuntu: apt install {packages})",
            command.get_program().display()
        ),
        spawned => spawned.unwrap(),
    };
    command.stdout(Stdio::null()).stderr(Stdio::null()); // closes our ends of the pipe
    let reader = thread::spawn(move || std::io::read_to_string(&mut said).unwrap_or_default());
    let give_up_at = Instant::now() + most;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > give_up_at {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let said = reader.join().unwrap();
    match status {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(format!("{said}\n{status}")),
        None => Err(format!("{said}\nnot done after {most:?}")),
    }
}
