//! What a load tester must find, by arithmetic: the response times of a queue whose rate, capacity
//! and troubles are known.
//!
//! Requests come at even gaps, R of them per second, and are planned for T seconds; a server takes
//! them in order, C per second at the most. This is the fluid limit of a D/D/1 queue (Kleinrock,
//! "Queueing Systems", volume 2, 1976, chapter 2): exact but for one request's own time.

/// What is asked of a server, and what it can do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// R: requests per second.
    pub rate_rps: f64,
    /// C: requests per second at the most.
    pub capacity_rps: f64,
    /// T: how long requests are planned.
    pub planned_s: f64,
}

/// A time in which the server does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stall {
    /// When it begins, from the first request on.
    pub from_s: f64,
    /// S: how long it is.
    pub length_s: f64,
}

/// Halvings of an interval of seconds: far below a nanosecond.
const HALVINGS: usize = 64;

/// The response time at quantile `p` (0 to 1), in seconds, where the server is faster than the
/// requests come and stands still now and then. Each stall must have drained before the next, and
/// a request's own time counts as nothing.
///
/// The request that is planned `u` seconds into a stall of `S` finds `R u` before it and is
/// answered at `S + R u / C`, so its response time is `S - u (C - R) / C`: that falls from `S` to 0
/// over `S C / (C - R)` seconds, of which only those before `T` hold planned requests. The share of
/// requests above `x` is therefore the sum over stalls of `min((S - x) C / (C - R), T - from) / T`,
/// and the quantile is where it comes down to `1 - p`. For one stall inside the run that is
/// `S (1 - (1 - p) / f)` with `f = S C / ((C - R) T)`.
pub fn stalled_quantile_s(load: Load, stalls: &[Stall], p: f64) -> f64 {
    let stretch = load.capacity_rps / (load.capacity_rps - load.rate_rps);
    let share_above = |x: f64| {
        let above = |stall: &Stall| {
            let planned_s = (load.planned_s - stall.from_s).max(0.0);
            ((stall.length_s - x).max(0.0) * stretch).min(planned_s)
        };
        stalls.iter().map(above).sum::<f64>() / load.planned_s
    };
    let (mut low, mut high) = (0.0, stalls.iter().map(|stall| stall.length_s).fold(0.0, f64::max));
    if share_above(low) <= 1.0 - p {
        return low;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if share_above(middle) > 1.0 - p { low = middle } else { high = middle }
    }
    high
}

/// The response time at quantile `p`, in seconds, where requests come faster than the server is,
/// and each takes `service_s` once it is its turn.
///
/// The request that is planned at `t` has `R t` before it, of which `C t` are done: it waits
/// `t (R / C - 1)`. Planned times are uniform over `T`, so the quantile is at `t = p T`.
pub fn overloaded_quantile_s(load: Load, service_s: f64, p: f64) -> f64 {
    p * load.planned_s * (load.rate_rps / load.capacity_rps - 1.0) + service_s
}

/// The share of requests without an answer within `timeout_s`, where requests come faster than the
/// server is: all that are planned after the waiting time has grown to it.
pub fn overloaded_share_late(load: Load, service_s: f64, timeout_s: f64) -> f64 {
    let growth = load.rate_rps / load.capacity_rps - 1.0;
    (1.0 - (timeout_s - service_s) / growth / load.planned_s).clamp(0.0, 1.0)
}

/// How many requests are under way in the mean: Little's law, `L = lambda W` (Little, "A Proof for
/// the Queuing Formula", Operations Research 9, 1961).
pub fn concurrency(throughput_rps: f64, latency_mean_s: f64) -> f64 {
    throughput_rps * latency_mean_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One queue, request by request, with nothing of the formulas: a response time for each.
    fn queue(load: Load, stalls: &[Stall]) -> Vec<f64> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
        let count = (load.rate_rps * load.planned_s) as u64;
        let mut free_s = 0.0_f64;
        let mut latencies: Vec<f64> = (0..count)
            .map(|number| {
                let planned_s = number as f64 / load.rate_rps;
                let mut begun_s = free_s.max(planned_s);
                for stall in stalls {
                    let end_s = stall.from_s + stall.length_s;
                    if (stall.from_s..end_s).contains(&begun_s) {
                        begun_s = end_s;
                    }
                }
                free_s = begun_s + 1.0 / load.capacity_rps;
                free_s - planned_s
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    }

    /// Of sorted values: the smallest that at least a share of `p` is not above.
    fn quantile(sorted: &[f64], p: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an index
        let rank = (p * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    #[track_caller]
    fn near(predicted: f64, found: f64, most: f64) {
        assert!((predicted - found).abs() <= most, "predicted {predicted}, found {found}");
    }

    const LOAD: Load = Load { rate_rps: 2_000.0, capacity_rps: 20_000.0, planned_s: 30.0 };
    const QUANTILES: [f64; 6] = [0.5, 0.9, 0.97, 0.99, 0.999, 1.0];

    #[track_caller]
    fn agrees(load: Load, stalls: &[Stall]) {
        let latencies = queue(load, stalls);
        let longest_s = stalls.iter().map(|stall| stall.length_s).fold(0.0, f64::max);
        for p in QUANTILES {
            let found = quantile(&latencies, p);
            // Below a hundredth, but for the times of one gap and one request.
            let most = longest_s / 100.0 + 1.0 / load.rate_rps + 1.0 / load.capacity_rps;
            near(stalled_quantile_s(load, stalls, p), found, most);
        }
    }

    #[test]
    fn one_stall_is_the_formula_of_the_textbook() {
        let stalls = [Stall { from_s: 10.0, length_s: 1.0 }];
        let f = LOAD.capacity_rps / ((LOAD.capacity_rps - LOAD.rate_rps) * LOAD.planned_s);
        for p in [0.97, 0.99, 0.999] {
            near(stalled_quantile_s(LOAD, &stalls, p), 1.0 - (1.0 - p) / f, 1e-9);
        }
        near(stalled_quantile_s(LOAD, &stalls, 0.99), 0.730, 1e-9);
        near(stalled_quantile_s(LOAD, &stalls, 1.0), 1.0, 1e-9);
        near(stalled_quantile_s(LOAD, &stalls, 0.5), 0.0, 1e-9);
    }

    #[test]
    fn a_queue_that_stands_still() {
        agrees(LOAD, &[Stall { from_s: 2.0, length_s: 1.0 }]);
        agrees(LOAD, &[Stall { from_s: 15.0, length_s: 1.0 }]);
        agrees(LOAD, &[]);
    }

    #[test]
    fn a_stall_across_the_end_has_fewer_requests_and_the_same_worst() {
        let across = [Stall { from_s: 29.5, length_s: 1.0 }];
        agrees(LOAD, &across);
        let inside = [Stall { from_s: 15.0, length_s: 1.0 }];
        let at = |stalls: &[Stall], p| stalled_quantile_s(LOAD, stalls, p);
        near(at(&across, 0.99), at(&inside, 0.99), 1e-9);
        assert!(at(&across, 0.97).abs() < 1e-9 && at(&inside, 0.97) > 0.1);
    }

    #[test]
    fn two_stalls_of_different_lengths() {
        let first = Stall { from_s: 5.0, length_s: 1.0 };
        let second = Stall { from_s: 15.0, length_s: 0.5 };
        agrees(LOAD, &[first, second]);
        let both = stalled_quantile_s(LOAD, &[first, second], 0.97);
        assert!(both > stalled_quantile_s(LOAD, &[first], 0.97) + 0.1, "{both}");
    }

    proptest! {
        #[test]
        fn any_stalls(
            rate_rps in 500.0..4_000.0,
            headroom in 1.5..50.0,
            first_s in 0.05..1.5,
            second_s in 0.05..1.5,
            // Not within a few gaps of the end: the fluid has a request there where there is none.
            from_s in prop_oneof![10.0..19.9, 20.0..20.5],
        ) {
            let load = Load { rate_rps, capacity_rps: rate_rps * headroom, planned_s: 20.0 };
            let first = Stall { from_s: 1.0, length_s: first_s };
            agrees(load, &[first, Stall { from_s, length_s: second_s }]);
        }

        /// Connections in turn, each a queue of its own with one request at a time.
        #[test]
        fn any_overload(
            connections in 1_u32..64, service_s in 0.001..0.02, excess in 1.05..3.0, p in 0.1..1.0,
        ) {
            let capacity_rps = f64::from(connections) / service_s;
            let rate_rps = capacity_rps * excess;
            let load = Load { rate_rps, capacity_rps, planned_s: 20.0 };
            let each = Load {
                rate_rps: rate_rps / f64::from(connections),
                capacity_rps: 1.0 / service_s,
                ..load
            };
            let latencies = queue(each, &[]);
            let predicted = overloaded_quantile_s(load, service_s, p);
            near(predicted, quantile(&latencies, p), predicted / 100.0 + service_s);

            let timeout_s = overloaded_quantile_s(load, service_s, p);
            let late = latencies.iter().filter(|latency| **latency > timeout_s).count();
            let share = late as f64 / latencies.len() as f64;
            near(overloaded_share_late(load, service_s, timeout_s), share, 0.01);
            near(overloaded_share_late(load, service_s, timeout_s), 1.0 - p, 1e-9);
        }
    }

    #[test]
    fn a_timeout_that_nobody_reaches() {
        let load = Load { rate_rps: 2_000.0, capacity_rps: 1_600.0, planned_s: 20.0 };
        near(overloaded_quantile_s(load, 0.0, 0.99), 4.95, 1e-9);
        near(overloaded_share_late(load, 0.01, 60.0), 0.0, 0.0);
        near(overloaded_share_late(load, 0.01, 0.01), 1.0, 0.0);
        near(concurrency(1_600.0, 0.01), 16.0, 1e-9);
    }
}
