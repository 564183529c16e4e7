//! The gRPC interoperability tests: official clients, and cases after their description where a
//! client has none, against `grpc.testing.TestService` served by the `grpc` server beside its own
//! services. It pays with a process a case, most of whose time goes into starting Ruby.
//!
//! [`service`] is what is served, with [`echo`] around it. [`ruby`] runs the client that comes with
//! Ruby's gRPC, unchanged; [`python`] the cases that it lacks; [`raw`] looks at the one thing that
//! no client library shows.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod echo;
mod python;
mod raw;
mod ruby;
mod service;

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use common::{Config, Service, Shutdown, Stats};
use servers::admin::Readiness;
use servers::grpc::{self, Options, Setup};

/// One case in one process.
const CASE_TIMEOUT: Duration = Duration::from_mins(1);

/// Where the one server of all cases listens.
fn server() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| start(|setup| setup.with_services(service::routes())))
}

/// Serves for as long as this process lives.
fn start(adjust: impl FnOnce(Setup) -> Setup) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let setup = adjust(Options::default().settle(&Readiness::ready()).unwrap());
    thread::spawn(move || {
        let (config, shutdown, stats) = (Config::default(), Shutdown::new(), Stats::new());
        grpc::serve_with(setup, listener, Service::new(), &config, &shutdown, &stats)
    });
    address
}
