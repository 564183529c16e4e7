//! Whether a result may be believed: what is wrong with the measurement is said, not hidden.
//!
//! A reason makes the result invalid; a remark only goes beside it.

use crate::plan::OUTSTANDING_MAX;
use crate::result::{Quantiles, RunResult, Settings};

/// A load thread that is on a CPU for more of its time than this has nothing to spare.
pub(crate) const SATURATED: f64 = 0.95;
/// Others that use at least this many cores are busy too: then nobody can say that the tester was
/// the bottleneck.
const OTHERS_BUSY_CORES: f64 = 0.9;
/// A lag above this part of the latency beside it is not small ...
const LAG_PART: f64 = 0.1;
/// ... but a lag below this is what waking a sleeping thread costs, and no fault.
const LAG_US_MIN: f64 = 1_000.0;
/// A load thread that stands still for as long as this was stopped, or starved.
const STALL_US: f64 = 100_000.0;
/// How far throughput x latency may be from what was set: the edges of a run, and the time that the
/// tester itself needs between an answer and the next request.
const LITTLE_ERROR_MAX: f64 = 0.1;
/// How many times each slot must have been used: in fewer turns the edges weigh too much.
const LITTLE_TURNS_MIN: f64 = 50.0;
/// Below this part of a core a side had time to spare.
const IDLE: f64 = 0.7;
/// Samples that must lie beyond a quantile for it to mean something.
const SAMPLES_BEYOND_MIN: u64 = 10;

/// Sets `valid` and `warnings`.
pub fn audit(result: &mut RunResult) {
    let mut reasons = Vec::new();
    let mut remarks = Vec::new();
    saturation(result, &mut reasons, &mut remarks);
    lag(result, &mut reasons, &mut remarks);
    if result.client.stall_max_us >= STALL_US {
        reasons.push(format!(
            "the load tester stood still for {:.0} ms: it was stopped, or had no CPU",
            result.client.stall_max_us / 1e3
        ));
    }
    if result.ok == 0 {
        reasons.push("no request was answered: there is nothing to measure".to_owned());
    }
    samples(result, &mut remarks);
    if result.settings.rate_rps.is_none() && result.ok > 0 {
        closed_loop(result, &mut remarks);
    }
    if let Some(server) = &result.server
        && is_idle(result, server.cpu_s)
    {
        remarks.push(format!(
            "neither the server ({:.2} cores) nor the load tester ({:.0} % busy) was at its limit: \
             this is no figure of what the server can do",
            server.cpu_s / result.elapsed_s,
            result.client.busy * 100.0
        ));
    }
    result.valid = reasons.is_empty();
    result.warnings = reasons;
    result.warnings.append(&mut remarks);
}

fn saturation(result: &RunResult, reasons: &mut Vec<String>, remarks: &mut Vec<String>) {
    let client = &result.client;
    let busy_percent = client.busy * 100.0;
    if client.busy < SATURATED || client.others_busy_cores >= OTHERS_BUSY_CORES {
        return;
    }
    // The open loop has a rate to keep and nothing to win by idling: whether it kept it is what
    // its send lag says.
    if result.settings.rate_rps.is_some() {
        remarks.push(format!(
            "the load tester was busy {busy_percent:.0} % of the time: some of the latency is \
             its own; use more --threads or a lower --rate"
        ));
    } else {
        reasons.push(format!(
            "the load tester was the bottleneck: its threads were busy {busy_percent:.0} % of the \
             time, and everything else used {:.2} cores; use more --threads",
            client.others_busy_cores
        ));
    }
}

fn lag(result: &RunResult, reasons: &mut Vec<String>, remarks: &mut Vec<String>) {
    let (lag, latency) = (&result.send_lag_us, &result.latency_us);
    let pairs = |of: &Quantiles| [of.p50, of.p90, of.p99];
    let not_small = |(lag, latency): (f64, f64)| lag > LAG_PART * latency;
    for ((lag, latency), name) in
        pairs(lag).into_iter().zip(pairs(latency)).zip(["p50", "p90", "p99"])
    {
        if lag > LAG_US_MIN && not_small((lag, latency)) {
            reasons.push(format!(
                "the load tester sent late: {name} of the send lag is {lag:.0} us, \
                 beside a latency of {latency:.0} us"
            ));
            return;
        }
    }
    if lag.max >= STALL_US && not_small((lag.max, latency.max)) {
        reasons.push(format!(
            "the load tester sent late: up to {:.0} ms, beside a latency of {:.0} ms",
            lag.max / 1e3,
            latency.max / 1e3
        ));
    } else if not_small((lag.p50, latency.p50)) {
        remarks.push(format!(
            "half of the requests were sent {:.0} us late or more: of the median latency of \
             {:.0} us, the server's part is the service time, {:.0} us",
            lag.p50, latency.p50, result.service_us.p50
        ));
    }
}

/// Little's law (J. D. C. Little, "A Proof for the Queuing Formula L = lambda W", 1961): as many
/// requests are on their way as come per second, times how long each is. In a closed loop that
/// number was set, so the three check each other.
fn closed_loop(result: &RunResult, remarks: &mut Vec<String>) {
    let Settings { connections, depth, .. } = &result.settings;
    let set = (connections * depth.unwrap_or(1)).min(OUTSTANDING_MAX) as f64;
    // Both of the same requests, to the end: those that a stall held up over the window's end as well.
    let settled_rps = (result.ok + result.timed_out) as f64 / result.elapsed_s.max(1e-9);
    let found = settled_rps * result.latency_us.mean / 1e6;
    let is_whole = result.ok == result.planned && result.planned as f64 > LITTLE_TURNS_MIN * set;
    if is_whole && (found / set - 1.0).abs() > LITTLE_ERROR_MAX {
        remarks.push(format!(
            "Little's law: throughput x mean latency are {found:.1} requests on their way, but \
             {set} were set: the load tester took long between an answer and the next request, \
             or the connections were not all served"
        ));
    }
    remarks.push(
        "closed loop: latency is little more than connections x depth / throughput; use --rate \
         for tails"
            .to_owned(),
    );
}

/// Whether more was to be had from both sides of a closed loop.
fn is_idle(result: &RunResult, server_cpu_s: f64) -> bool {
    result.settings.rate_rps.is_none()
        && result.client.busy < IDLE
        && server_cpu_s < IDLE * result.elapsed_s
}

fn samples(result: &RunResult, remarks: &mut Vec<String>) {
    let recorded = result.ok + result.timed_out;
    let beyond = |one_in: u64| recorded / one_in >= SAMPLES_BEYOND_MIN;
    let shaky = [(100, "p99"), (1_000, "p99.9"), (10_000, "p99.99")];
    if let Some((one_in, name)) = shaky.into_iter().find(|(one_in, _)| !beyond(*one_in))
        && recorded > 0
    {
        remarks.push(format!(
            "{recorded} samples are too few for {name} and beyond: it takes {}",
            one_in * SAMPLES_BEYOND_MIN
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::ServerCost;
    use crate::result::{ClientCost, RUN_SCHEMA};

    fn good() -> RunResult {
        let flat = |us| Quantiles { p50: us, p90: us, p99: us, max: us, ..Quantiles::default() };
        RunResult {
            schema: RUN_SCHEMA.to_owned(),
            target: String::new(),
            planned: 1_000_000,
            ok: 1_000_000,
            answered: 1_000_000,
            errors: [].into(),
            timed_out: 0,
            unsent: 0,
            elapsed_s: 1.0,
            throughput_rps: 1e6,
            connections_opened: 1,
            latency_us: flat(10_000.0),
            service_us: flat(10_000.0),
            send_lag_us: flat(50.0),
            server: None,
            client: ClientCost { busy: 0.5, threads: 1, ..ClientCost::default() },
            settings: Settings {
                connections: 1,
                depth: None,
                rate_rps: Some(1e6),
                rate: None,
                arrivals: None,
                requests_per_connection: None,
                work: String::new(),
                warmup_s: 0.0,
                timeout_s: 1.0,
                seed: 0,
                agent: None,
            },
            windows: Vec::new(),
            steps: Vec::new(),
            histograms: None,
            background: None,
            environment: None,
            command: Vec::new(),
            valid: true,
            warnings: Vec::new(),
        }
    }

    #[track_caller]
    fn invalid(change: impl FnOnce(&mut RunResult), named: &str) {
        let mut result = good();
        change(&mut result);
        audit(&mut result);
        assert!(!result.valid);
        assert!(result.warnings[0].contains(named), "{:?}", result.warnings);
    }

    #[test]
    fn a_good_result_has_no_warning() {
        let mut result = good();
        audit(&mut result);
        assert_eq!((result.valid, result.warnings), (true, vec![]));
    }

    #[test]
    fn a_bad_one_says_why() {
        let closed = |r: &mut RunResult| {
            r.settings.rate_rps = None;
            r.client.busy = 0.99;
        };
        invalid(closed, "was the bottleneck");
        invalid(|r| r.send_lag_us.p99 = 2_000.0, "p99 of the send lag is 2000 us");
        invalid(|r| r.send_lag_us.max = 100_000.0, "up to 100 ms");
        invalid(|r| r.client.stall_max_us = 1e6, "stood still for 1000 ms");
        invalid(|r| r.ok = 0, "no request was answered");
    }

    #[test]
    fn a_busy_tester_that_keeps_its_rate_is_only_a_remark() {
        let mut result = good();
        result.client.busy = 0.99;
        audit(&mut result);
        assert!(result.valid && result.warnings[0].contains("was busy 99 %"));
    }

    #[test]
    fn littles_law_is_held_against_what_was_set() {
        let closed = |connections, mean| {
            let mut result = good();
            result.settings.rate_rps = None;
            (result.settings.connections, result.settings.depth) = (connections, Some(5));
            result.latency_us.mean = mean;
            audit(&mut result);
            result.warnings.concat()
        };
        // A million requests in a second, of 10 us each: ten on their way.
        assert!(!closed(2, 10.0).contains("Little"));
        assert!(closed(2, 7.0).contains("are 7.0 requests on their way, but 10 were set"));
        assert!(closed(4, 10.0).contains("Little"));
    }

    #[test]
    fn a_server_with_time_to_spare_is_not_what_was_measured() {
        let remarks = |rate_rps, server_cpu_s, busy| {
            let mut result = good();
            result.settings.rate_rps = rate_rps;
            result.client.busy = busy;
            result.server = Some(ServerCost { cpu_s: server_cpu_s, ..ServerCost::default() });
            audit(&mut result);
            result.warnings.concat()
        };
        assert!(remarks(None, 0.3, 0.3).contains("neither the server (0.30 cores)"));
        assert!(!remarks(None, 0.9, 0.3).contains("neither"));
        assert!(!remarks(None, 0.3, 0.9).contains("neither"));
        assert!(!remarks(Some(1e6), 0.3, 0.3).contains("neither"));
    }

    #[test]
    fn both_at_their_limit_is_nobodys_fault() {
        let mut result = good();
        result.settings.rate_rps = None;
        result.client = ClientCost { busy: 1.0, others_busy_cores: 1.0, ..result.client };
        audit(&mut result);
        assert!(result.valid);
    }

    #[test]
    fn few_samples_are_said_for_the_first_quantile_they_do_not_carry() {
        let mut result = good();
        result.ok = 9_999;
        audit(&mut result);
        assert!(result.valid && result.warnings[0].contains("too few for p99.9 and beyond"));
    }
}
