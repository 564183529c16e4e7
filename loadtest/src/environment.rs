//! What a comparison ran on: a figure without it means nothing.

use std::process::Command;
use std::time::SystemTime;

use procfs::{CpuInfo, Current};
use serde::{Deserialize, Serialize};

/// The machine and the build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When it began, in UTC.
    pub date: String,
    /// As the kernel names it.
    pub cpu_model: String,
    /// Logical cores.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Of the compiler on the path, where there is one.
    pub rust_version: Option<String>,
    /// Of the working directory, where it is a repository; `-dirty` where it has changes.
    pub git_revision: Option<String>,
    /// Open files that a process may have.
    pub open_files_max: Option<u64>,
}

impl Environment {
    /// Looks around.
    pub fn look() -> Self {
        let cpu = CpuInfo::current().ok();
        let model = cpu.as_ref().and_then(|cpu| cpu.model_name(0)).unwrap_or("unknown");
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cpu_model: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            rust_version: said("rustc", &["--version"]),
            git_revision: said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
            open_files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }
}

/// The one line that a program says, if it is there and content.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
