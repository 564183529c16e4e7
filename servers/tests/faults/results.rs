//! What a measured run found, on what machine, as the file that the page is made from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use procfs::{CpuInfo, Current};
use serde::{Deserialize, Serialize};

use crate::matrix::Cell;

/// A whole run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// When it ended, in UTC.
    pub(crate) date: String,
    pub(crate) revision: String,
    pub(crate) cpu_model: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rust_version: String,
    pub(crate) cells: Vec<Cell>,
}

impl Results {
    /// These cells, measured here and now.
    pub(crate) fn of(cells: Vec<Cell>) -> Self {
        let cpu = CpuInfo::current().ok();
        let cpu_model = cpu.as_ref().and_then(|cpu| cpu.model_name(0)).unwrap_or("unknown");
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            revision: said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
            cpu_model: cpu_model.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            rust_version: said("rustc", &["--version"]),
            cells,
        }
    }

    pub(crate) fn read() -> Self {
        let json =
            std::fs::read_to_string(path("results/faults.json")).expect("a run was recorded");
        serde_json::from_str(&json).expect("results are JSON")
    }

    pub(crate) fn write(&self) -> std::io::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path("results/faults.json"), json + "\n")
    }

    pub(crate) fn cell(&self, fault: &str, server: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.fault == fault && cell.server == server)
    }
}

/// Of a file of the repository.
pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

/// The one line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let line = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    line.filter(|line| !line.is_empty()).unwrap_or("unknown".to_owned())
}
