//! The tables of the READMEs are those of the committed result files, to the letter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands in a README between these marks must be what the command prints.
#[track_caller]
fn shows(readme: &str, marks: &str, command: &mut Command) {
    let made = command.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let readme = fs::read_to_string(root().join(readme)).unwrap();
    let (_, rest) = readme.split_once(&format!("<!-- {marks}: begin -->\n")).unwrap();
    let (shown, _) = rest.split_once(&format!("<!-- {marks}: end -->")).unwrap();
    assert_eq!(shown.trim(), made.trim(), "put the output of {command:?} there");
}

#[test]
fn the_comparison() {
    let mut table = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    shows("README.md", "results", table.arg("table").arg(root().join("results/compare.json")));
}

#[test]
fn what_a_request_costs_the_load_tester_beside_others() {
    let mut table = Command::new("python3");
    table.arg(root().join("loadtest/peers/measure.py")).arg("--table");
    shows("loadtest/README.md", "generators", table.arg(root().join("results/generators.json")));
}

#[test]
fn what_the_grpc_servers_options_cost() {
    let mut table = Command::new("python3");
    table.arg(root().join("loadtest/peers/grpc_server.py")).arg("--table");
    shows("docs/grpc.md", "costs", table.arg(root().join("results/grpc.json")));
}

#[test]
fn what_the_codec_costs_beside_others() {
    let mut table = Command::new("python3");
    table.arg(root().join("benches/peers/codec.py")).arg("--table");
    shows("benches/README.md", "codec", table.arg(root().join("results/codec.json")));
}

#[test]
fn what_the_build_and_the_allocator_change() {
    let mut table = Command::new("python3");
    table.arg(root().join("loadtest/peers/builds.py")).arg("--table");
    shows("docs/knobs.md", "builds", table.arg(root().join("results/builds.json")));
}

#[test]
fn where_the_time_goes() {
    let mut table = Command::new("python3");
    table.arg(root().join("loadtest/peers/profile.py")).arg("--table");
    shows("docs/floor.md", "profiles", table.arg(root().join("results/profiles.json")));
}

#[test]
fn how_near_the_servers_are_to_the_floor() {
    let mut table = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    shows("docs/floor.md", "results", table.arg("table").arg(root().join("results/bars.json")));
}

#[test]
fn what_each_knob_changes() {
    let mut table = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    shows("docs/knobs.md", "results", table.arg("table").arg(root().join("results/knobs.json")));
}
