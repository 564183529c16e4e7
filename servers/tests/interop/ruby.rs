//! The client that comes with Ruby's gRPC, as Debian packs it: the official cases, unchanged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::commands::run;
use crate::{CASE_TIMEOUT, server, start};

const PACKAGES: &str = "ruby-grpc";

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[test]
        fn $case() {
            passes(stringify!($case), server());
        })*
    };
}

cases! {
    empty_unary
    large_unary
    client_streaming
    server_streaming
    ping_pong
    empty_stream
    custom_metadata
    status_code_and_message
    unimplemented_method
    cancel_after_begin
    cancel_after_first_response
    timeout_on_sleeping_server
    client_compressed_unary
}

/// Here it is the server itself that has to say so, and not what it was given to serve beside.
#[test]
fn unimplemented_service() {
    passes("unimplemented_service", start(|setup| setup));
}

fn passes(case: &str, server: SocketAddr) {
    let mut ruby = Command::new("ruby");
    ruby.arg(client()).args(["--server_host=127.0.0.1", "--use_tls=false"]);
    ruby.arg(format!("--server_port={}", server.port())).arg(format!("--test_case={case}"));
    ruby.env("no_proxy", "*");
    let said = run(&mut ruby, PACKAGES, CASE_TIMEOUT);
    assert!(said.contains(&format!("OK: {case}")), "{said}");
}

/// Where the package has put it.
fn client() -> &'static PathBuf {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let mut ruby = Command::new("ruby");
        ruby.args(["-e", "print Gem::Specification.find_by_name('grpc').full_gem_path"]);
        let gem = PathBuf::from(run(&mut ruby, PACKAGES, CASE_TIMEOUT));
        gem.join("src/ruby/pb/test/client.rb")
    })
}
