//! Our own servers keep the contract, hostile clients or not; and what the command says of it.

#[path = "support/ours.rs"]
mod ours;
mod support;
#[path = "support/told.rs"]
mod told;

use std::process::Stdio;

use loadtest::share::Interrupt;
use loadtest::verify::{choose, verify};
use serde_json::Value;
use servers::{EPOLL, FRAMED, GRPC, Model};
use support::{Killed, floor, loadtest};
use told::{LIMITED, TOLD};

fn keeps_the_contract(model: Model) {
    let limit = ["max-connections".to_owned()];
    for (told, only) in [(&TOLD, &[][..]), (&LIMITED, &limit)] {
        let server = ours::start_told(model, told);
        let checks = choose(server.target.protocol, told, only).unwrap();
        let result = verify(server.target, told, &checks, &Interrupt::default(), |_| ());
        let failed: Vec<_> = result.checks.iter().filter(|check| !check.passed).collect();
        assert!(result.passed, "{}: {failed:#?}", model.name);
        assert_eq!(result.checks.len(), checks.len());
    }
}

/// One after the other: the checks bound the time of an answer, and machines are small.
#[test]
fn our_servers_keep_the_contract() {
    FRAMED.into_iter().for_each(keeps_the_contract);
    keeps_the_contract(GRPC);
}

fn verified(flags: &[&str]) -> (String, String, Option<i32>) {
    let child =
        loadtest().arg("verify").args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = Killed(child.unwrap()).output();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn the_command_says_what_was_kept() {
    let server = ours::start(EPOLL);
    let url = server.target.to_string();
    let (stdout, stderr, code) = verified(&[&url, "--only", "order,no-work"]);
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    assert!(stdout.contains("ok  order") && stdout.contains("ok  no-work"), "{stdout}");
    assert!(stdout.contains("2 of 2 kept"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
}

#[test]
fn the_command_says_what_was_not_kept() {
    let (_floor, address) = floor(&[]); // an echo is no server of the contract
    let url = format!("tcp://{address}");
    let (stdout, stderr, code) = verified(&[&url, "--only", "order,no-work", "--json", "-"]);
    assert_eq!(code, Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("does not keep the contract: order, no-work"), "{stderr}");
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (json["schema"].as_str(), json["passed"].as_bool()),
        (Some("quintet/verify/1"), Some(false))
    );
    assert_eq!(json["target"], url);
    for check in json["checks"].as_array().unwrap() {
        assert_eq!(check["passed"], false);
        assert!(!check["detail"].as_str().unwrap().is_empty(), "{check}");
    }
    // As the floor it is a good one.
    let (stdout, _, code) = verified(&[&format!("raw://{address}")]);
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn names_and_usage() {
    let (stdout, _, code) = verified(&["--list"]);
    assert_eq!(code, Some(0));
    for name in ["late-reader", "never-reads", "reset-streams", "bad-path"] {
        assert!(stdout.contains(name), "{stdout}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    let (_, stderr, code) = verified(&["grpc://127.0.0.1:9", "--only", "sing"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("there is no check `sing`"), "{stderr}");
    let (_, stderr, code) = verified(&["tcp://127.0.0.1:9", "--only", "read-timeout"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--read-timeout"), "{stderr}");
    let few = ["tcp://127.0.0.1:9", "--max-connections", "5"];
    let (_, stderr, code) = verified(&few);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--only max-connections"), "{stderr}");
    assert_eq!(verified(&[&few[..], &["--only", "max-connections"]].concat()).2, Some(1));
    assert_eq!(verified(&["tcp://127.0.0.1:9", "--idle-timeout", "0s"]).2, Some(2));
    assert_eq!(verified(&[]).2, Some(2));
    let (stdout, stderr, code) = verified(&["tcp://127.0.0.1:9", "--only", "order"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.contains("refused"), "{stdout}");
}
