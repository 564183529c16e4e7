//! Python with the packages that the scripts beside this file need, in an environment under
//! `target/`, made once for each state of the requirements.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a script says; it must end well.
#[track_caller]
pub(crate) fn run(script: &str, args: &[&Path]) -> String {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/python");
    let python = environment(&scripts.join("requirements.txt")).join("bin/python");
    said(Command::new(python).arg(scripts.join(script)).args(args))
}

fn environment(requirements: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut made_from = DefaultHasher::new();
    made_from.write(&fs::read(requirements).unwrap());
    let folder = target.join(format!("python-{:016x}", made_from.finish()));
    let lock = fs::File::create(target.join("python.lock")).unwrap();
    lock.lock().unwrap(); // until it is whole, or this process has ended
    let whole = folder.join("whole");
    if !whole.exists() {
        let _ = fs::remove_dir_all(&folder);
        said(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        said(pip.arg(requirements));
        fs::write(&whole, "").unwrap();
    }
    folder
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error} (Debian, Ubuntu: apt install python3 python3-venv)")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{complaint}");
    String::from_utf8(output.stdout).unwrap()
}
