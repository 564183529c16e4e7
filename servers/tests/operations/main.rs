//! What an operator relies on, asked of every binary: probes and metrics, logs, settings, the
//! supervisor, and the files in `deploy/`. It pays with real processes and the tools of the trade
//! (promtool, systemd-analyze, hadolint, the schemas of Kubernetes).
//!
//! Servers and clients are those of the conformance tests.

#[allow(dead_code)] // what only the conformance tests need
#[path = "../conformance/client.rs"]
mod client;
#[allow(dead_code, unused_macros)]
#[path = "../conformance/models.rs"]
mod models;
#[allow(dead_code)]
#[path = "../conformance/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../conformance/server.rs"]
mod server;

mod admin;
mod deploy;
mod hostile;
mod logs;
mod metrics;
mod python;
mod settings;
mod supervisor;
mod support;
