//! What an operator relies on, asked of every binary: probes and metrics, logs, settings, the
//! supervisor, and the files in `deploy/`. It pays with real processes and the tools of the trade
//! (promtool, systemd-analyze, hadolint, the schemas of Kubernetes).
//!
//! Servers and clients are those of the conformance tests.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod deploy;
mod hostile;
mod logs;
mod metrics;
mod python;
mod settings;
mod supervisor;
mod support;

use harness::{client, process, server};
