//! That the soak still works: a few seconds of it, over all five servers at once.
//! It pays with a build of the load tester, which is another package's program.

use std::path::Path;
use std::process::Command;

#[test]
fn a_short_soak_holds() {
    let bins = Path::new(env!("CARGO_BIN_EXE_threads")).parent().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let is_release = bins.ends_with("release");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package=loadtest", "--bin=loadtest"])
        .args(is_release.then_some("--release"))
        .current_dir(root)
        .status();
    assert!(built.unwrap().success(), "the load tester is built");
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.json");
    // Bounded, and ended with all that it started.
    let output = Command::new("timeout")
        .args(["--kill-after=5s", "120s", "python3"])
        .arg(root.join("servers/tests/soak/soak.py"))
        .args(["--duration=5s", "--rate=50", "--bins"])
        .arg(bins)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("timeout (coreutils) runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: serde_json::Value =
        serde_json::from_slice(&std::fs::read(json).unwrap()).expect("the result is JSON");
    for model in ["threads", "pool", "tasks", "epoll", "grpc"] {
        let server = &found["servers"][model];
        assert!(server["ok"].as_u64().unwrap() > 100, "{model}: {server}");
        assert_eq!(server["held"], true, "{model}");
    }
}
