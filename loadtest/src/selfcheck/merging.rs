//! Two machines' histograms, added, are those of one machine that sent everything: no percentile
//! is averaged on the way. This one needs no clock and no server.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use hdrhistogram::Histogram;

use super::report::{Check, Unit};
use super::{Bench, SelfcheckError, explained};
use crate::histogram::{HistogramError, decode};
use crate::merge::merge;
use crate::recorder::{Moments, Recorder};
use crate::result::{Agent, RunResult};
use crate::run::{RunConfig, recorded};
use crate::target::{Protocol, Target};
use crate::windows::Windows;
use crate::work::scramble;

/// Enough to fill thousands of buckets.
const REQUESTS: u64 = 100_000;
/// Distance of planned times, and the most that sending and answering takes.
const GAP_NS: u64 = 100_000;
const LAG_NS_MAX: u64 = 300_000;
const SERVICE_NS_MAX: u64 = 50_000_000;

pub(super) fn two_agents(_: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let alone = result(Agent { number: 0, of: 1 });
    let parts = (0..2).map(|number| {
        let name = format!("agent {number}");
        (name, result(Agent { number, of: 2 }))
    });
    let together = merge(&parts.collect::<Vec<_>>())?;
    let (alone_in, together_in) = (buckets(&alone)?, buckets(&together)?);
    let equal = alone_in.intersection(&together_in).count();
    let checks = vec![
        Check::exactly(
            "merge: requests",
            Unit::Count,
            (REQUESTS as f64, (together.ok + together.unsent) as f64),
        ),
        Check::exactly(
            "merge: buckets",
            Unit::Count,
            (alone_in.len() as f64, together_in.len() as f64),
        ),
        Check::exactly(
            "merge: buckets that are equal",
            Unit::Count,
            (alone_in.len() as f64, equal as f64),
        ),
    ];
    let what = "two agents' results, merged, are those of one that sent everything";
    Ok(explained(checks, what, &RunResult { valid: true, ..together }))
}

/// What an agent records of requests whose times follow from their numbers.
fn result(agent: Agent) -> RunResult {
    let mut recorder = Recorder::new(Windows::default());
    for index in (agent.number as u64..REQUESTS).step_by(agent.of) {
        let planned_ns = index * GAP_NS;
        recorder.plan(planned_ns);
        if index.is_multiple_of(100) {
            recorder.unsent(planned_ns);
            continue;
        }
        let random = scramble(index);
        let sent_ns = planned_ns + random % LAG_NS_MAX;
        let settled_ns = sent_ns + 1 + scramble(random) % SERVICE_NS_MAX;
        recorder.ok(Moments { planned_ns, sent_ns, settled_ns });
    }
    // Where to and what for is no matter: nothing is sent.
    let target = Target { protocol: Protocol::Framed, address: (Ipv4Addr::LOCALHOST, 0).into() };
    let work = "echo:64".parse().expect("this is how --work is written");
    let config = RunConfig { agent: Some(agent), ..RunConfig::new(target, work) };
    recorded(&config, &recorder)
}

/// Which histogram, which value, how many.
fn buckets(result: &RunResult) -> Result<BTreeSet<(usize, u64, u64)>, HistogramError> {
    let texts = result.histograms.iter();
    let texts = texts.flat_map(|all| [&all.latency, &all.service, &all.send_lag]);
    let mut buckets = BTreeSet::new();
    for (at, text) in texts.enumerate() {
        let histogram: Histogram<u64> = decode(text)?;
        let filled = histogram.iter_recorded();
        buckets.extend(filled.map(|step| (at, step.value_iterated_to(), step.count_at_value())));
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_buckets_and_a_lost_sample_is_seen() {
        let agent = |number, of| result(Agent { number, of });
        let whole = buckets(&agent(0, 1)).unwrap();
        assert!(whole.len() > 3_000, "{}", whole.len());
        assert!([0, 1, 2].iter().all(|which| whole.iter().any(|(at, ..)| at == which)));
        assert_ne!(whole, buckets(&agent(0, 2)).unwrap());
    }
}
