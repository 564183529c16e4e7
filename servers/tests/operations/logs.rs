//! Logs: one object a line where that is wanted, and a bound on errors that repeat.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use servers::Model;

use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};
use crate::support::all;

#[test]
fn json_is_one_object_a_line() {
    for model in all() {
        let mut server = ServerProcess::start(
            model,
            &["--log-format=json".to_owned(), "--admin=127.0.0.1:0".to_owned()],
        );
        let admin: Value = serde_json::from_str(&server.error_line(PATIENCE).unwrap()).unwrap();
        assert_eq!(
            (&admin["level"], &admin["fields"]["message"]),
            (&"INFO".into(), &"admin".into())
        );
        let address = admin["fields"]["address"].as_str().unwrap();
        address.parse::<std::net::SocketAddr>().expect("a field of its own");
        server.signal(Signal::TERM);
        let drain: Value = serde_json::from_str(&server.error_line(PATIENCE).unwrap()).unwrap();
        assert_eq!(drain["fields"]["message"], "draining");
        assert!(server.ended().success());
    }
}

const DESCRIPTORS_MAX: usize = 64;
const EXHAUSTED_FOR: Duration = Duration::from_secs(3);
const LINES_MAX: usize = 10;

/// Holds more connections than the process may have descriptors; what it logs meanwhile.
fn logged_while_exhausted(model: Model) -> Vec<Value> {
    let server = ServerProcess::start_with_descriptors(
        model,
        &["--log-format=json".to_owned(), "--workers=1".to_owned()],
        DESCRIPTORS_MAX,
    );
    let clients: Vec<_> =
        (0..2 * DESCRIPTORS_MAX).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    eventually("no descriptor left", true, || server.descriptors() >= DESCRIPTORS_MAX - 1);
    let (began, mut lines) = (Instant::now(), Vec::new());
    while let Some(left) = EXHAUSTED_FOR.checked_sub(began.elapsed()) {
        lines.extend(server.error_line(left));
    }
    drop(clients);
    lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn three_seconds_without_descriptors_are_a_few_lines() {
    for model in all() {
        let lines = logged_while_exhausted(model);
        assert!(lines.len() <= LINES_MAX, "{}: {lines:#?}", model.name);
        let accepts: Vec<_> = lines.iter().filter(|line| is_accept(line)).collect();
        assert!(accepts.len() >= 2, "{}: it goes on, so it is said again: {lines:#?}", model.name);
        for line in &accepts {
            let error = line["fields"]["error"].as_str().unwrap();
            assert!(error.contains("Too many open files"), "{error}");
        }
        let left_out = |line: &Value| line["fields"]["left_out"].as_u64().unwrap();
        assert_eq!(left_out(accepts[0]), 0);
        assert!(accepts[1..].iter().all(|line| left_out(line) > 0), "{accepts:#?}");
    }
}

fn is_accept(line: &Value) -> bool {
    let message = line["fields"]["message"].as_str();
    line["level"] == "WARN" && message.is_some_and(|message| message.starts_with("cannot accept"))
}
