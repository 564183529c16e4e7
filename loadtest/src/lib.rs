//! Measures what each concurrency model costs, and checks every answer while it does.
//!
//! ```text
//!            when               over what               for how long
//!   Schedule ─────▶ Planner ──▶ drive (epoll) ────▶ Stop
//!   closed, open      │         framed, http2         duration, count
//!                     ▼             │
//!                 Templates ◀───────┴──▶ Recorder ──▶ RunResult ──▶ audit
//!                 what is sent,          what came
//!                 what must come         of it
//! ```
//!
//! Schedule, transport and stop rule know nothing of each other: there is one loop, which carries
//! out every schedule over every wire. [`run`] puts one run together; [`compare`] puts many
//! runs, servers and scenarios together; [`floor`] is what they are all measured against.

pub mod audit;
pub mod background;
pub mod baseline;
pub mod capacity;
pub mod client;
pub mod commands;
pub mod compare;
pub mod connect;
mod cores;
pub mod cost;
pub mod descriptors;
pub mod drive;
pub mod environment;
pub mod floor;
pub mod histogram;
pub mod live;
pub mod memory;
pub mod merge;
pub mod pace;
pub mod plan;
pub mod process;
pub mod recorder;
pub mod report;
pub mod result;
pub mod run;
pub mod selfcheck;
pub mod share;
pub mod start;
pub mod statistics;
pub mod sweep;
pub mod target;
pub mod template;
pub mod terminal;
pub mod trials;
pub mod verify;
pub mod windows;
pub mod work;
