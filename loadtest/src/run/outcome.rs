//! What a run came to, out of what its threads told and what was seen at both edges of the measured
//! window.

use std::num::NonZeroU64;

use crate::audit::audit;
use crate::connect::ConnectError;
use crate::histogram::encode;
use crate::pace::{Pace, Rate};
use crate::plan::{Clock, Schedule, Stop, nanoseconds};
use crate::recorder::{ErrorKind, Recorder};
use crate::result::{ClientCost, Histograms, Quantiles, RUN_SCHEMA, RunResult, Settings};
use crate::share::Report;
use crate::windows::Length;

use super::{Edge, Finished, RunConfig};

pub(super) fn finish(
    config: &RunConfig,
    report: &Report,
    (threads, clock, is_interrupted): (usize, Clock, bool),
    (before, after): (&Edge, Option<&Edge>),
) -> Finished {
    let recorder = &report.recorder;
    let measure_from_ns = nanoseconds(config.warmup);
    let window_ns = recorder.settled_last_ns().saturating_sub(measure_from_ns);
    // What was asked for, where the run did not end before.
    let asked_ns = match config.stop {
        Stop::After(duration) if !is_interrupted => Some(nanoseconds(duration)),
        _ => None,
    };
    let asked_ns = asked_ns.filter(|asked_ns| clock.now_ns() >= measure_from_ns + asked_ns);
    let elapsed_s = window_ns.max(asked_ns.unwrap_or_default()) as f64 / 1e9;
    let settled = recorder.planned() - recorder.never_sent();
    let each = |total: f64| if settled == 0 { 0.0 } else { total / settled as f64 };
    let meter = &report.meter;
    let others_busy_cores = after.map_or(0.0, |after| {
        let wall_s = after.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let busy_s = after.machine_busy_s - before.machine_busy_s - meter.cpu_ns as f64 / 1e9;
        (busy_s / wall_s).max(0.0)
    });
    let server = match (&before.server, after.and_then(|after| after.server.as_ref())) {
        (Some(before), Some(after)) => {
            Some(after.cost_since(before, recorder.settled_since_warmup()))
        }
        _ => None,
    };
    let (answered, within_s) = match (&config.schedule, asked_ns) {
        // Whatever came while it was measured. Of the requests that were sent then, the last are
        // answered later, in a time in which fewer and fewer are outstanding.
        (Schedule::Closed { .. }, Some(asked_ns)) if measure_from_ns > 0 => {
            (recorder.right_within(), asked_ns as f64 / 1e9)
        }
        // Without a warm-up the first turn was empty where the last is left out: all, to the end.
        (Schedule::Closed { .. }, _) => (recorder.right_since_warmup(), elapsed_s),
        (Schedule::Open(_), _) => (recorder.right(), elapsed_s),
    };
    let throughput_rps = if within_s > 0.0 { answered as f64 / within_s } else { 0.0 };
    let mut result = RunResult {
        answered,
        elapsed_s,
        throughput_rps,
        connections_opened: report.opened,
        server,
        client: ClientCost {
            cpu_us_per_request: each(meter.cpu_ns as f64 / 1e3),
            busy: if meter.wall_ns == 0 { 0.0 } else { meter.cpu_ns as f64 / meter.wall_ns as f64 },
            threads,
            stall_max_us: meter.stall_ns_max as f64 / 1e3,
            others_busy_cores,
        },
        ..recorded(config, recorder)
    };
    audit(&mut result);
    let failure = failure(config, report);
    result.valid &= failure.is_none();
    result.warnings.splice(0..0, failure.iter().cloned());
    Finished { result, failure }
}

fn failure(config: &RunConfig, report: &Report) -> Option<String> {
    let recorder = &report.recorder;
    match (&report.failure, report.broken) {
        (Some(text), 0) => Some(text.clone()),
        (Some(text), broken) => {
            Some(format!("{broken} of {} connections failed: {text}", config.connections))
        }
        (None, _)
            if recorder.right() == 0
                && !recorder.errors().contains_key(&ErrorKind::Interrupted) =>
        {
            Some(format!(
                "{} gave no right answer to {} requests, {} of them timed out; \
             is this its protocol, and is --timeout long enough?",
                config.target,
                recorder.planned(),
                recorder.late()
            ))
        }
        (None, _) => None,
    }
}

/// How long a window is; nothing where it is not known how long the run will be.
pub(super) fn window_length(schedule: &Schedule, stop: Stop) -> Option<Length> {
    match stop {
        Stop::After(duration) => Some(Length::of(duration, step_rates(schedule).len())),
        Stop::Count(_) => None,
    }
}

/// The rates that follow each other in one run; none where there is only one.
fn step_rates(schedule: &Schedule) -> &[f64] {
    match schedule {
        Schedule::Open(Pace { rate: Rate::Steps(rates), .. }) => rates,
        _ => &[],
    }
}

/// What the requests came to, without what anybody paid for them.
pub fn recorded(config: &RunConfig, recorder: &Recorder) -> RunResult {
    let [latency, service, send_lag] =
        [recorder.latency(), recorder.service(), recorder.send_lag()];
    RunResult {
        planned: recorder.planned(),
        ok: recorder.right(),
        errors: recorder.errors().iter().map(|(kind, n)| (kind.name().into_owned(), *n)).collect(),
        timed_out: recorder.late(),
        unsent: recorder.never_sent(),
        latency_us: Quantiles::of(&latency),
        service_us: Quantiles::of(&service),
        send_lag_us: Quantiles::of(&send_lag),
        windows: recorder.windows().results(config.agent.is_some()),
        steps: recorder.windows().steps(step_rates(&config.schedule)),
        histograms: Some(Histograms {
            latency: encode(&latency),
            service: encode(&service),
            send_lag: encode(&send_lag),
        }),
        ..empty(config)
    }
}

/// No connection, no figures: but the first request was planned, and it failed.
pub(super) fn unreachable(config: &RunConfig, error: &ConnectError) -> Finished {
    let errors = [(ErrorKind::Connect.name().into_owned(), 1)].into();
    let mut result = RunResult { planned: 1, errors, ..empty(config) };
    audit(&mut result);
    result.warnings.insert(0, error.to_string());
    Finished { result, failure: Some(error.to_string()) }
}

fn empty(config: &RunConfig) -> RunResult {
    let (depth, pace) = match &config.schedule {
        Schedule::Closed { depth } => (Some(*depth), None),
        Schedule::Open(pace) => (None, Some(pace)),
    };
    RunResult {
        schema: RUN_SCHEMA.to_owned(),
        target: config.target.to_string(),
        planned: 0,
        ok: 0,
        answered: 0,
        errors: [].into(),
        timed_out: 0,
        unsent: 0,
        elapsed_s: 0.0,
        throughput_rps: 0.0,
        connections_opened: 0,
        latency_us: Quantiles::default(),
        service_us: Quantiles::default(),
        send_lag_us: Quantiles::default(),
        server: None,
        client: ClientCost::default(),
        settings: Settings {
            connections: config.connections.get(),
            depth,
            rate_rps: pace.map(|pace| pace.rate.mean()),
            rate: pace.map(|pace| pace.rate.to_string()),
            arrivals: pace.map(|pace| pace.arrivals),
            requests_per_connection: config.requests_per_connection.map(NonZeroU64::get),
            work: config.mix.to_string(),
            warmup_s: config.warmup.as_secs_f64(),
            timeout_s: config.timeout.as_secs_f64(),
            seed: config.seed,
            agent: config.agent,
        },
        windows: Vec::new(),
        steps: Vec::new(),
        histograms: None,
        background: None,
        environment: None,
        command: Vec::new(),
        valid: false,
        warnings: Vec::new(),
    }
}
