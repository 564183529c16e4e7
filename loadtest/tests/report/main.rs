//! Reports, from the outside: result files in, and what a browser, Python or a CSV parser makes of
//! what comes out.

mod browser;
mod diff;
mod fixtures;
mod formats;
mod histograms;
mod page;
mod python;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

/// `loadtest ARGS`, to its end.
fn loadtest<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    support::loadtest().args(args).output().unwrap()
}

/// `loadtest report FILES -o OUTPUT`, which must do it.
#[track_caller]
fn report(files: &[&Path], output: &Path) {
    let mut args: Vec<&OsStr> = vec!["report".as_ref()];
    args.extend(files.iter().map(|file| file.as_os_str()));
    args.extend(["-o".as_ref(), output.as_os_str()]);
    let made = loadtest(args);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
