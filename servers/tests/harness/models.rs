//! The one list of models and their variants, and the macro that runs a test over all of them.
//! It pays with a macro: each test becomes a module of eight cases, one per variant.

use common::Config;
use common::config::{Handoff, Runtime};
use servers::Model;

/// A model with its knobs set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) model: Model,
    pub(crate) workers: usize,
    pub(crate) handoff: Handoff,
    pub(crate) runtime: Runtime,
}

impl Variant {
    const fn of(model: Model) -> Self {
        Self { model, workers: 2, handoff: Handoff::Requests, runtime: Runtime::Multi }
    }

    /// Whether a request that takes time keeps one of few workers.
    pub(crate) fn is_pool(self) -> bool {
        self.model.name == servers::POOL.name
    }

    /// Whether a connection keeps one of few workers, from its first byte to its last.
    pub(crate) fn keeps_worker(self) -> bool {
        self.is_pool() && self.handoff == Handoff::Connection
    }

    /// The knobs as the binary takes them.
    pub(crate) fn arguments(self) -> Vec<String> {
        use clap::ValueEnum;
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.expect("no value is skipped").get_name().to_owned()
        };
        let mut arguments = vec![format!("--workers={}", self.workers)];
        match self.model.name {
            "pool" => {
                arguments.push(format!("--handoff={}", name(self.handoff.to_possible_value())));
            }
            "tasks" => {
                arguments.push(format!("--runtime={}", name(self.runtime.to_possible_value())));
            }
            _ => {}
        }
        arguments
    }

    /// The knobs as `serve` takes them, for a test with that many connections open at once.
    pub(crate) fn config(self, connections: usize) -> Config {
        // Where a connection keeps a worker, fewer workers would starve the test by design.
        let workers =
            if self.keeps_worker() { self.workers.max(connections) } else { self.workers };
        Config {
            workers: workers.try_into().expect("a variant has workers"),
            handoff: self.handoff,
            runtime: self.runtime,
            ..Config::default()
        }
    }
}

pub(crate) const THREADS: Variant = Variant::of(servers::THREADS);
pub(crate) const POOL_REQUESTS: Variant = Variant::of(servers::POOL);
pub(crate) const POOL_READY: Variant =
    Variant { handoff: Handoff::Ready, ..Variant::of(servers::POOL) };
pub(crate) const POOL_CONNECTION: Variant =
    Variant { handoff: Handoff::Connection, ..Variant::of(servers::POOL) };
pub(crate) const TASKS_MULTI: Variant = Variant::of(servers::TASKS);
pub(crate) const TASKS_PER_CORE: Variant =
    Variant { runtime: Runtime::PerCore, ..Variant::of(servers::TASKS) };
pub(crate) const EPOLL_ONE_LOOP: Variant = Variant { workers: 1, ..Variant::of(servers::EPOLL) };
pub(crate) const EPOLL_TWO_LOOPS: Variant = Variant::of(servers::EPOLL);
pub(crate) const GRPC: Variant = Variant::of(servers::GRPC);

/// `for_every_model!(name, |model| { .. })`: a test case `name::threads`, `name::pool_ready` and
/// so on for each framed variant; `model` is its [`Variant`].
macro_rules! for_every_model {
    ($(#[$meta:meta])* $name:ident, |$model:ident| $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)] // each test needs some of its file's
            use super::*;
            use crate::models;

            fn test($model: models::Variant) $body

            #[test]
            fn threads() {
                test(models::THREADS);
            }
            #[test]
            fn pool_requests() {
                test(models::POOL_REQUESTS);
            }
            #[test]
            fn pool_ready() {
                test(models::POOL_READY);
            }
            #[test]
            fn pool_connection() {
                test(models::POOL_CONNECTION);
            }
            #[test]
            fn tasks_multi() {
                test(models::TASKS_MULTI);
            }
            #[test]
            fn tasks_per_core() {
                test(models::TASKS_PER_CORE);
            }
            #[test]
            fn epoll_one_loop() {
                test(models::EPOLL_ONE_LOOP);
            }
            #[test]
            fn epoll_two_loops() {
                test(models::EPOLL_TWO_LOOPS);
            }
        }
    };
}
