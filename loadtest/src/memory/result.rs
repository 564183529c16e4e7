//! What a measurement of memory found: the schema `quintet/memory/1`. All figures are bytes.

use serde::{Deserialize, Serialize};

use super::crowd::Activity;
use super::slope::slope;
use crate::environment::Environment;
use crate::statistics::Interval;

/// Name and version of the schema.
pub const MEMORY_SCHEMA: &str = "quintet/memory/1";

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemoryResult {
    /// [`MEMORY_SCHEMA`].
    pub schema: String,
    /// The machine and the build.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// The numbers of connections.
    pub counts: Vec<usize>,
    /// One for each server.
    pub servers: Vec<ServerMemory>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerMemory {
    /// Its name, or its URL.
    pub server: String,
    /// All that was measured.
    pub points: Vec<Point>,
    /// Per idle connection; none where fewer than three points could be measured.
    pub idle: Option<Slopes>,
    /// Per active connection; none in the same case, and over `raw://`, where nothing waits.
    pub active: Option<Slopes>,
}

/// One look at a server with its connections open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// From 0.
    pub repetition: u32,
    /// How many connections.
    pub connections: usize,
    /// What they did.
    pub kind: Activity,
    /// The process's anonymous memory.
    pub rss_anon_bytes: u64,
    /// Its proportional set size.
    pub pss_bytes: u64,
    /// The kernel's TCP buffers, of the whole machine: see [`crate::cost::kernel_tcp_bytes`].
    pub kernel_bytes: u64,
    /// The process's page tables.
    pub page_table_bytes: u64,
    /// Kernel stacks of all threads of the whole machine.
    pub kernel_stack_bytes: u64,
    /// Slab caches of the whole machine: see [`crate::cost::kernel_slab_bytes`].
    pub slab_bytes: u64,
    /// The process's threads.
    pub threads: u64,
}

/// Bytes per connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slopes {
    /// The process's anonymous memory.
    pub user: Interval,
    /// Its proportional set size.
    pub pss: Interval,
    /// The kernel's TCP buffers, both ends of a connection over the loopback.
    pub kernel: Interval,
    /// The process's page tables.
    pub page_tables: Interval,
    /// Kernel stacks.
    pub kernel_stacks: Interval,
    /// Slab caches: sockets, files, epoll entries; both ends, and whatever else the machine did.
    pub slab: Interval,
}

impl Slopes {
    /// Over the points of one kind.
    pub(super) fn of(points: &[Point], kind: Activity) -> Option<Self> {
        let of = |value: fn(&Point) -> u64| {
            let points = points.iter().filter(|point| point.kind == kind);
            let points = points.map(|point| (point.connections as f64, value(point) as f64));
            slope(&points.collect::<Vec<_>>())
        };
        Some(Self {
            user: of(|point| point.rss_anon_bytes)?,
            pss: of(|point| point.pss_bytes)?,
            kernel: of(|point| point.kernel_bytes)?,
            page_tables: of(|point| point.page_table_bytes)?,
            kernel_stacks: of(|point| point.kernel_stack_bytes)?,
            slab: of(|point| point.slab_bytes)?,
        })
    }
}
