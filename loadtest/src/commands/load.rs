//! What the load is, for commands that vary one thing of it.

use std::time::Duration;

use clap::Args;

use super::bench::BenchArgs;
use super::value::{CONNECTIONS_MAX, at_least_one, duration, positive};
use crate::compare::bench::{BenchError, Load, Subject, choose_servers};
use crate::compare::warmup_of;
use crate::plan::Schedule;
use crate::target::Target;
use crate::work::Mix;

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// A server that runs already: tcp://HOST:PORT, grpc://HOST:PORT or raw://HOST:PORT [default:
    /// the servers of --servers, started here]
    #[arg(conflicts_with = "servers")]
    pub url: Option<Target>,
    /// Measure what this process pays, of the server that runs already
    #[arg(long, value_name = "PID", requires = "url",
          value_parser = clap::value_parser!(i32).range(1..))]
    pub server_pid: Option<i32>,
    /// Connections
    #[arg(short, long, default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// echo:BYTES, wait:DURATION, compute:ROUNDS, block:DURATION, user:KEYS; or a mix with weights, as
    /// echo:64=90,block:5ms=10
    #[arg(long, default_value = "echo:64")]
    pub work: Mix,
    /// How long each measurement takes
    #[arg(short, long, value_parser = positive, default_value = "1s")]
    pub duration: Duration,
    /// How long the first requests of each do not count [default: a quarter of --duration, and at
    /// most 300ms]
    #[arg(short, long, value_parser = duration)]
    pub warmup: Option<Duration>,
    /// How long an answer may take, from the planned time on
    #[arg(long, value_parser = positive, default_value = "5s")]
    pub timeout: Duration,
}

impl LoadArgs {
    /// The load, with this schedule.
    pub fn load(&self, schedule: Schedule, seed: u64) -> Load {
        Load {
            connections: at_least_one(self.connections),
            schedule,
            mix: self.work.clone(),
            idle: 0,
            requests_per_connection: None,
            measured: self.duration,
            warmup: self.warmup.unwrap_or_else(|| warmup_of(self.duration)),
            timeout: self.timeout,
            seed,
            server_core: None,
        }
    }

    /// The server that runs already, or those that are to be started.
    ///
    /// # Errors
    /// A name that is none.
    pub fn subjects(&self, bench: &BenchArgs) -> Result<Vec<Subject>, BenchError> {
        if let Some(target) = self.url {
            return Ok(vec![Subject::Running(target, self.server_pid)]);
        }
        let chosen = choose_servers(&bench.servers, true)?;
        Ok(chosen.into_iter().map(Subject::Started).collect())
    }
}
