//! A virtual environment with the checkers that come as Python packages, made once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::{here, succeeded};

/// The first run downloads packages.
const SET_UP_TIMEOUT: Duration = Duration::from_mins(5);

/// A program of the environment.
pub(crate) fn program(name: &str) -> PathBuf {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let requirements = here("servers/tests/operations/requirements.txt");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (folder, whole) = (target.join("operations"), target.join("operations/whole"));
        let lock = fs::File::create(target.join("operations.lock")).unwrap();
        lock.lock().unwrap(); // until it is whole, or this process has ended
        let wanted = fs::read_to_string(&requirements).unwrap();
        if fs::read_to_string(&whole).ok() != Some(wanted.clone()) {
            let _ = fs::remove_dir_all(&folder);
            let mut venv = Command::new("python3");
            let package = "python3 python3-venv";
            succeeded(venv.args(["-m", "venv"]).arg(&folder), "", package, SET_UP_TIMEOUT);
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
            succeeded(pip.arg(&requirements), "", "python3-venv", SET_UP_TIMEOUT);
            fs::write(&whole, wanted).unwrap();
        }
        folder.join("bin")
    })
    .join(name)
}
