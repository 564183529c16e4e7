//! The cases that the client in Ruby lacks, and some that it has, once more in another language:
//! ours, after the official description, over Google's gRPC for Python.

use crate::harness::commands::{here, run};
use crate::harness::python;
use crate::{CASE_TIMEOUT, server};

#[test]
fn special_status_message() {
    passes("special_status_message");
}

/// Sizes and contents; [`raw`](crate::raw) looks at the flag.
#[test]
fn server_compressed_unary() {
    passes("server_compressed_unary");
}

#[test]
fn client_compressed_unary() {
    passes("client_compressed_unary");
}

fn passes(case: &str) {
    let mut client = python::environment().python();
    client.arg(here("servers/tests/interop/client.py")).arg(here("servers/tests/proto"));
    client.args([&server().to_string(), case]);
    let said = run(&mut client, "python3-venv", CASE_TIMEOUT);
    assert!(said.contains(&format!("OK: {case}")), "{said}");
}
