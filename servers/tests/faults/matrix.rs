//! The matrix: a row is a fault and what is promised under it, a column is a server, a cell is a
//! test of its own. It pays with a record beside each test: figures outlive a promise that broke.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use servers::{FRAMED, GRPC, Model};

use crate::bystander::{Bystander, Echoes, PACE};
use crate::peer::{Peer, Wire};
use crate::process::{ServerProcess, command};

/// A fault, and what every server promises under it.
pub(crate) struct Row {
    /// Names the tests: `name::server`.
    pub(crate) name: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) promise: &'static str,
    /// Flags that set it, with their defaults.
    pub(crate) flags: &'static str,
    pub(crate) peer_sees: &'static str,
    /// Where a model has a way of its own: its name, and the way.
    pub(crate) how: &'static [(&'static str, &'static str)],
    pub(crate) servers: &'static [Model],
    pub(crate) test: fn(&Ground, &mut Record),
}

pub(crate) const ALL: &[Model] = &[FRAMED[0], FRAMED[1], FRAMED[2], FRAMED[3], GRPC];
pub(crate) const OVER_HTTP2: &[Model] = &[GRPC];

/// Where a cell's test happens.
pub(crate) struct Ground {
    pub(crate) model: Model,
    pub(crate) wire: Wire,
    /// Whether figures are wanted, of a machine that does nothing else, and not only a verdict.
    pub(crate) is_measured: bool,
}

impl Ground {
    /// The server in a process of its own. Two workers, where the row says nothing else: the same
    /// server on any machine.
    #[track_caller]
    pub(crate) fn serve(&self, flags: &[&str]) -> ServerProcess {
        ServerProcess::start(self.model, &arguments(flags))
    }

    /// The same, where freed memory goes back to the kernel at once: what the process has is then
    /// what it holds. (glibc keeps large blocks, once some have been freed; mimalloc, which `grpc` has,
    /// keeps them for a while.)
    #[track_caller]
    pub(crate) fn serve_giving_back(&self, flags: &[&str]) -> ServerProcess {
        let mut command = command(self.model, &arguments(flags));
        command.env("MALLOC_MMAP_THRESHOLD_", "131072").env("MIMALLOC_PURGE_DELAY", "0");
        ServerProcess::start_command(command)
    }

    #[track_caller]
    pub(crate) fn serve_with_descriptors(&self, max: usize, flags: &[&str]) -> ServerProcess {
        ServerProcess::start_with_descriptors(self.model, &arguments(flags), max)
    }

    #[track_caller]
    pub(crate) fn bystander(&self, server: &ServerProcess) -> Bystander {
        Bystander::beside(self.wire, server.address, PACE)
    }

    #[track_caller]
    pub(crate) fn connect(&self, server: &ServerProcess) -> Peer {
        Peer::connect(self.wire, server.address)
    }

    #[track_caller]
    pub(crate) fn mute(&self, server: &ServerProcess) -> Peer {
        Peer::mute(self.wire, server.address)
    }

    pub(crate) fn is_framed(&self) -> bool {
        self.wire == Wire::Framed
    }
}

fn arguments(flags: &[&str]) -> Vec<String> {
    let workers = ["--workers=2"].iter();
    let workers = workers.filter(|_| !flags.iter().any(|flag| flag.starts_with("--workers")));
    workers.chain(flags).map(|&flag| flag.to_owned()).collect()
}

/// What one cell's test found.
#[derive(Debug, Default)]
pub(crate) struct Record {
    is_measured: bool,
    figures: Vec<Figure>,
    broken: Vec<String>,
    echoes: Echoes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What was promised, where that is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
}

impl Record {
    /// Notes what was measured.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str) {
        self.push(name, value, unit, None);
    }

    /// Notes what was measured, and that no more was promised. A test on a machine that does
    /// other things allows for `busy` as much.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, unit: &str, most: f64, busy: f64) {
        self.push(name, value, unit, Some(most));
        let most = if self.is_measured { most } else { busy };
        self.holds(value <= most, || format!("{name}: {value:.3} {unit}, more than {most}"));
    }

    /// The same of a time, in milliseconds.
    pub(crate) fn within(&mut self, name: &str, value: Duration, most: Duration, busy: Duration) {
        self.at_most(name, ms(value), "ms", ms(most), ms(busy));
    }

    /// Notes where a promise is broken, and goes on: the other figures are wanted too.
    pub(crate) fn holds(&mut self, held: bool, broken: impl FnOnce() -> String) {
        if !held {
            self.broken.push(broken());
        }
    }

    pub(crate) fn bystander(&mut self, echoes: Echoes) {
        self.echoes.add(echoes);
    }

    fn push(&mut self, name: &str, value: f64, unit: &str, at_most: Option<f64>) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.figures.push(Figure { name, value, unit, at_most });
    }
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What the page shows of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) fault: String,
    pub(crate) server: String,
    /// In what way the promise broke; nothing where it was held.
    pub(crate) broken: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    /// How many echoes the bystander had beside the fault, and the latency of 99 of 100.
    pub(crate) bystander_echoes: usize,
    pub(crate) bystander_p99_ms: f64,
}

impl Row {
    /// Does this row's fault to `model`.
    pub(crate) fn run(&self, model: Model, is_measured: bool) -> Cell {
        let wire = if model.name == GRPC.name { Wire::Grpc } else { Wire::Framed };
        let ground = Ground { model, wire, is_measured };
        let mut record = Record { is_measured, ..Record::default() };
        // What a test leaves behind half done is a record of what was found so far.
        let ended = catch_unwind(AssertUnwindSafe(|| (self.test)(&ground, &mut record)));
        let Record { figures, mut broken, echoes, .. } = record;
        if let Err(panic) = ended {
            broken.push(message_of(panic.as_ref()));
        } else if echoes.latencies.is_empty() {
            broken.push("no bystander was answered".to_owned());
        }
        let bystander_echoes = echoes.latencies.len();
        Cell {
            fault: self.name.to_owned(),
            server: model.name.to_owned(),
            broken,
            figures,
            bystander_echoes,
            bystander_p99_ms: if bystander_echoes > 0 { ms(echoes.p99()) } else { 0.0 },
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or("a panic".to_owned())
}
