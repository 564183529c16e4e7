//! The contract holds outside Rust: a Python client, with Google's protobuf and gRPC, talks to
//! each of the five binaries. The test makes itself a virtual environment under `target/`.

use std::time::Duration;

use servers::{EPOLL, GRPC, Model, POOL, TASKS, THREADS};

use crate::harness::commands::{here, run};
use crate::harness::python;
use crate::process::ServerProcess;

const CHECKS_TIMEOUT: Duration = Duration::from_mins(1);

#[test]
fn threads() {
    checks_pass("framed", THREADS);
}

#[test]
fn pool() {
    checks_pass("framed", POOL);
}

#[test]
fn tasks() {
    checks_pass("framed", TASKS);
}

#[test]
fn epoll() {
    checks_pass("framed", EPOLL);
}

#[test]
fn grpc() {
    checks_pass("grpc", GRPC);
}

fn checks_pass(transport: &str, model: Model) {
    let environment = python::environment();
    let server = ServerProcess::start(model, &[]);
    let mut client = environment.python();
    client.arg(here("servers/tests/python/contract_client.py")).arg(&environment.messages);
    client.args([transport, &server.address.to_string()]);
    let said = run(&mut client, "python3-venv", CHECKS_TIMEOUT);
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 3, "{said}");
}
