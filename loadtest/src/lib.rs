//! Measures what each concurrency model costs, and checks every answer while it does.
//!
//! ```text
//!            when               over what               for how long
//!   Schedule ─────▶ Planner ──▶ framed (epoll)  ──▶ Stop
//!   closed, open      │         grpc (h2)             duration, count
//!                     ▼             │
//!                 Templates ◀───────┴──▶ Recorder ──▶ RunResult ──▶ audit
//!                 what is sent,          what came
//!                 what must come         of it
//! ```
//!
//! Schedule, transport and stop rule know nothing of each other: there is one loop per transport,
//! and each carries out every schedule. [`run`] puts one run together; [`compare`] puts many
//! runs, servers and scenarios together; [`floor`] is what they are all measured against.

pub mod audit;
pub mod commands;
pub mod compare;
pub mod connect;
pub mod cost;
pub mod environment;
pub mod floor;
pub mod framed;
pub mod grpc;
pub mod pace;
pub mod plan;
pub mod process;
pub mod recorder;
pub mod report;
pub mod result;
pub mod run;
pub mod share;
pub mod statistics;
pub mod target;
pub mod template;
pub mod terminal;
pub mod timer;
pub mod windows;
pub mod work;
