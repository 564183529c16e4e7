//! Two agents in two network namespaces, each with an address of its own, against one server in a
//! third: what they found together is what the server counted.
//!
//! Namespaces of mounts and processes stand around them, so that the kernel cleans up. Root makes
//! them as it is; others within a user namespace, where the system allows that.

use std::process::Command;

use super::{TIMEOUT, both, finished, here, is_whole};

#[test]
fn two_addresses_load_one_server() {
    let results = tempfile::tempdir().unwrap();
    let mut machines = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        machines.args(["--user", "--map-root-user"]);
    }
    machines
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(here("loadtest/tests/agents/namespaces.sh"))
        .arg(env!("CARGO_BIN_EXE_loadtest"))
        .arg(results.path());
    let output = finished(&mut machines, "util-linux", TIMEOUT);
    let said = both(&output);
    assert!(
        output.status.success(),
        "this test needs iproute2 (Debian, Ubuntu: apt install iproute2) and the right to make \
         namespaces: run it as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1):\n{said}"
    );
    is_whole(results.path(), 2, 1_000);
    assert!(said.contains("closed 8 connections after 1000 requests"), "the server's own: {said}");
    for (number, address) in [(0, "10.0.1.1"), (1, "10.0.2.1")] {
        let agent = super::json(results.path().join(format!("agent-{number}.json")));
        assert_eq!(agent["target"], format!("tcp://{address}:7004"));
        assert_eq!(agent["planned"], 500);
    }
}
