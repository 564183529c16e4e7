//! Whether a result may be believed: what is wrong with the measurement is said, not hidden.
//!
//! A reason makes the result invalid; a remark only goes beside it.

use crate::result::{Quantiles, RunResult};

/// A load thread that is on a CPU for more of its time than this has nothing to spare.
const SATURATED: f64 = 0.95;
/// Others that use at least this many cores are busy too: then nobody can say that the tester was
/// the bottleneck.
const OTHERS_BUSY_CORES: f64 = 0.9;
/// A lag above this part of the latency beside it is not small ...
const LAG_PART: f64 = 0.1;
/// ... but a lag below this is what waking a sleeping thread costs, and no fault.
const LAG_US_MIN: f64 = 1_000.0;
/// A load thread that stands still for as long as this was stopped, or starved.
const STALL_US: f64 = 100_000.0;
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
        remarks.push(
            "closed loop: latency is little more than connections x depth / throughput; \
             use --rate for tails"
                .to_owned(),
        );
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
    use crate::result::{ClientCost, RUN_SCHEMA, Settings};

    fn good() -> RunResult {
        let flat = |us| Quantiles { p50: us, p90: us, p99: us, max: us, ..Quantiles::default() };
        RunResult {
            schema: RUN_SCHEMA.to_owned(),
            target: String::new(),
            planned: 1_000_000,
            ok: 1_000_000,
            errors: [].into(),
            timed_out: 0,
            unsent: 0,
            elapsed_s: 1.0,
            throughput_rps: 1e6,
            latency_us: flat(10_000.0),
            service_us: flat(10_000.0),
            send_lag_us: flat(50.0),
            server: None,
            client: ClientCost { busy: 0.5, threads: 1, ..ClientCost::default() },
            settings: Settings {
                connections: 1,
                depth: None,
                rate_rps: Some(1e6),
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
