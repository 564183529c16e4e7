//! What the contract promises, asked of every server by one client that knows nothing of how
//! they work. It pays with real sockets and real processes, so each step has a timeout.
//!
//! Read [`models`] first: the one list of models, and the macro that makes of each test one
//! named case a model. [`server`] and [`process`] start servers, [`client`] and [`grpc`] talk to
//! them; the other modules are the tests.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod binaries;
mod concurrency;
mod counters;
mod deadlines;
mod drain;
mod fairness;
mod faults;
mod framing;
mod grpc;
mod grpc_drain;
mod grpc_errors;
mod grpc_faults;
mod grpc_feed;
mod grpc_floods;
mod grpc_health;
mod grpc_layers;
mod grpc_services;
mod grpc_stalls;
mod grpc_tls;
mod grpc_transport;
mod http2;
mod idle;
mod in_flight;
mod overload;
mod panics;
mod pipelining;
mod python_client;
mod secure;
mod timeouts;
mod users;
mod work;

use harness::{client, models, process, server};
