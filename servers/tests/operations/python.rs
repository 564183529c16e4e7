//! The checkers that come as Python packages.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::harness::python::packages;

/// A program of the environment.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let requirements = "servers/tests/operations/requirements.txt";
    FOLDER.get_or_init(|| packages("operations", requirements)).join("bin").join(name)
}
