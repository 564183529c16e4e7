//! Makes one result of those of several machines that shared a schedule: histograms are added
//! bucket for bucket, and counts exactly, so that the whole is what one machine would have
//! recorded.
//!
//! Percentiles are never averaged. What cannot be added (the server's cost, which at the most one
//! of the machines saw) is taken from the one that has it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::audit::audit;
use crate::histogram::{HistogramError, decode, encode};
use crate::result::{ClientCost, Histograms, Quantiles, RUN_SCHEMA, RunResult};
use crate::windows::Windows;

/// Why results cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Not of one schedule.
    #[error("{name} has {what} `{this}`, and {first} has `{that}`: they are not of one schedule")]
    Different {
        /// The file.
        name: String,
        /// Which setting.
        what: &'static str,
        /// Its value there.
        this: String,
        /// The file that it is compared with.
        first: String,
        /// Its value there.
        that: String,
    },
    /// No agent's.
    #[error("{name} is the result of no agent; run each machine with --agent K/N")]
    NoAgent {
        /// The file.
        name: String,
    },
    /// A part is missing, or there twice.
    #[error("agent {number} of {of} is there {times} times; each must be there once")]
    Parts {
        /// The agent.
        number: usize,
        /// How many there should be.
        of: usize,
        /// How often it is.
        times: usize,
    },
    /// The file has no histograms.
    #[error("{name} has no histograms; it was cut, or made by another version")]
    NoHistograms {
        /// The file.
        name: String,
    },
    /// The file's histograms are none.
    #[error("{name}: {error}")]
    Histogram {
        /// The file.
        name: String,
        /// What is wrong with it.
        #[source]
        error: HistogramError,
    },
}

/// Merges the results of all agents of one schedule; each has the name of its file.
///
/// # Errors
/// If a part is missing or there twice, or they are not of one schedule.
pub fn merge(parts: &[(String, RunResult)]) -> Result<RunResult, MergeError> {
    let Some((first_name, first)) = parts.first() else {
        return Err(MergeError::Parts { number: 0, of: 0, times: 0 });
    };
    for (name, part) in parts {
        same_schedule((first_name, first), (name, part))?;
    }
    complete(parts)?;
    let mut whole = first.clone();
    RUN_SCHEMA.clone_into(&mut whole.schema);
    whole.settings.agent = None;
    whole.settings.connections = parts.iter().map(|(_, part)| part.settings.connections).sum();
    whole.planned = sum(parts, |part| part.planned);
    whole.ok = sum(parts, |part| part.ok);
    whole.answered = sum(parts, counted);
    whole.connections_opened = sum(parts, |part| part.connections_opened);
    whole.timed_out = sum(parts, |part| part.timed_out);
    whole.unsent = sum(parts, |part| part.unsent);
    whole.errors = errors(parts);
    whole.elapsed_s = parts.iter().map(|(_, part)| part.elapsed_s).fold(0.0, f64::max);
    // Each part's own window, by its count and its rate.
    let parts_with_any =
        parts.iter().map(|(_, part)| part).filter(|part| part.throughput_rps > 0.0);
    let within_s = parts_with_any.map(|part| counted(part) as f64 / part.throughput_rps);
    let within_s = within_s.fold(0.0, f64::max);
    whole.throughput_rps = if within_s > 0.0 { whole.answered as f64 / within_s } else { 0.0 };
    let histograms = histograms(parts)?;
    whole.latency_us = Quantiles::of(&histograms[0]);
    whole.service_us = Quantiles::of(&histograms[1]);
    whole.send_lag_us = Quantiles::of(&histograms[2]);
    let [latency, service, send_lag] = histograms.map(|histogram| encode(&histogram));
    whole.histograms = Some(Histograms { latency, service, send_lag });
    let windows = windows(parts)?;
    let rates: Vec<f64> = whole.steps.iter().map(|step| step.rate_rps).collect();
    whole.steps = windows.steps(&rates);
    whole.windows = windows.results(false);
    whole.server = parts.iter().find_map(|(_, part)| part.server);
    whole.client = client(parts);
    audit(&mut whole);
    for (name, part) in parts.iter().filter(|(_, part)| !part.valid) {
        whole.valid = false;
        let why = part.warnings.first().map_or("it does not say why", String::as_str);
        whole.warnings.insert(0, format!("{name} is invalid: {why}"));
    }
    Ok(whole)
}

/// What the throughput counts; older files do not say, and had all right answers in it.
fn counted(part: &RunResult) -> u64 {
    if part.answered == 0 { part.ok } else { part.answered }
}

fn same_schedule(
    (first_name, first): (&str, &RunResult),
    (name, part): (&str, &RunResult),
) -> Result<(), MergeError> {
    let settings = |result: &RunResult| {
        let settings = &result.settings;
        [
            ("target port", port(&result.target)),
            ("work", settings.work.clone()),
            ("rate", settings.rate.clone().unwrap_or_default()),
            ("arrivals", format!("{:?}", settings.arrivals)),
            ("depth", format!("{:?}", settings.depth)),
            ("warm-up", settings.warmup_s.to_string()),
            ("timeout", settings.timeout_s.to_string()),
            ("seed", settings.seed.to_string()),
            ("number of agents", settings.agent.map_or(0, |agent| agent.of).to_string()),
        ]
    };
    if part.settings.agent.is_none() {
        return Err(MergeError::NoAgent { name: name.to_owned() });
    }
    for ((what, this), (_, that)) in settings(part).into_iter().zip(settings(first)) {
        if this != that {
            let (name, first) = (name.to_owned(), first_name.to_owned());
            return Err(MergeError::Different { name, what, this, first, that });
        }
    }
    Ok(())
}

/// Machines may know one server by several addresses.
fn port(target: &str) -> String {
    target.rsplit(':').next().unwrap_or_default().to_owned()
}

fn complete(parts: &[(String, RunResult)]) -> Result<(), MergeError> {
    let agents = || parts.iter().filter_map(|(_, part)| part.settings.agent);
    let of = agents().next().map_or(0, |agent| agent.of);
    for number in 0..of {
        let times = agents().filter(|agent| agent.number == number).count();
        if times != 1 {
            return Err(MergeError::Parts { number, of, times });
        }
    }
    Ok(())
}

fn sum(parts: &[(String, RunResult)], of: fn(&RunResult) -> u64) -> u64 {
    parts.iter().map(|(_, part)| of(part)).sum()
}

fn errors(parts: &[(String, RunResult)]) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, count) in parts.iter().flat_map(|(_, part)| &part.errors) {
        *errors.entry(kind.clone()).or_default() += count;
    }
    errors
}

/// Latency, service time and send lag.
fn histograms(parts: &[(String, RunResult)]) -> Result<[Histogram<u64>; 3], MergeError> {
    let mut sums: Option<[Histogram<u64>; 3]> = None;
    for (name, part) in parts {
        let wrong = |error| MergeError::Histogram { name: name.clone(), error };
        let Some(own) = &part.histograms else {
            return Err(MergeError::NoHistograms { name: name.clone() });
        };
        let own = [
            decode(&own.latency).map_err(wrong)?,
            decode(&own.service).map_err(wrong)?,
            decode(&own.send_lag).map_err(wrong)?,
        ];
        match &mut sums {
            None => sums = Some(own),
            Some(sums) => sums.iter_mut().zip(own).for_each(|(sum, own)| add(sum, &own)),
        }
    }
    Ok(sums.expect("there is a first part, since its name was asked for"))
}

fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("a histogram that was read grows as it needs");
}

fn windows(parts: &[(String, RunResult)]) -> Result<Windows, MergeError> {
    let mut whole = Windows::default();
    for (name, part) in parts {
        let own = Windows::of_results(&part.windows)
            .map_err(|error| MergeError::Histogram { name: name.clone(), error })?;
        whole.merge(own);
    }
    Ok(whole)
}

/// The machines' own cost: their mean per request, and the worst of what makes a result invalid.
fn client(parts: &[(String, RunResult)]) -> ClientCost {
    let settled: u64 = parts.iter().map(|(_, part)| part.planned - part.unsent).sum();
    let cpu_us: f64 = parts
        .iter()
        .map(|(_, part)| part.client.cpu_us_per_request * (part.planned - part.unsent) as f64)
        .sum();
    let worst = |of: fn(&ClientCost) -> f64| {
        parts.iter().map(|(_, part)| of(&part.client)).fold(0.0, f64::max)
    };
    ClientCost {
        cpu_us_per_request: if settled == 0 { 0.0 } else { cpu_us / settled as f64 },
        busy: worst(|client| client.busy),
        threads: parts.iter().map(|(_, part)| part.client.threads).sum(),
        stall_max_us: worst(|client| client.stall_max_us),
        others_busy_cores: worst(|client| client.others_busy_cores),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{ErrorKind, Moments, Recorder};
    use crate::result::Agent;
    use crate::run::{RunConfig, recorded};
    use crate::work::scramble;

    /// What request `index` comes to, on whichever machine.
    fn settle(recorder: &mut Recorder, index: u64) {
        let planned_ns = index * 100_000;
        let settled_ns = planned_ns + 1_000 + scramble(index) % 50_000_000;
        let sent_ns = planned_ns + scramble(index) % 700;
        let moments = Moments { planned_ns, sent_ns, settled_ns };
        recorder.plan(planned_ns);
        match index % 50 {
            0 => recorder.error(ErrorKind::Code(8), planned_ns, settled_ns),
            1 => recorder.timed_out(moments, 60_000_000),
            2 => recorder.unsent(planned_ns),
            _ => recorder.ok(moments),
        }
    }

    fn result(of: usize, number: usize) -> RunResult {
        let mut recorder = Recorder::new(Windows::default());
        for index in (number as u64..10_000).step_by(of) {
            settle(&mut recorder, index);
        }
        let target = "tcp://127.0.0.1:7001".parse().unwrap();
        let config = RunConfig::new(target, "echo:64".parse().unwrap());
        let config = RunConfig { agent: Some(Agent { number, of }), ..config };
        RunResult { valid: true, ..recorded(&config, &recorder) }
    }

    fn agents(of: usize) -> Vec<(String, RunResult)> {
        (0..of).map(|number| (format!("{number}.json"), result(of, number))).collect()
    }

    #[test]
    fn agents_together_are_one_recorder_bucket_for_bucket() {
        let alone = merge(&agents(1)).unwrap();
        for of in [2, 3, 7] {
            let together = merge(&agents(of)).unwrap();
            let figures = |whole: &RunResult| {
                let counts = [whole.planned, whole.ok, whole.timed_out, whole.unsent];
                let times = [whole.latency_us, whole.service_us, whole.send_lag_us];
                (counts, times, whole.errors.clone(), whole.windows.clone())
            };
            assert_eq!(figures(&together), figures(&alone), "{of}");
            let bucket = |whole: &RunResult| {
                let text = whole.histograms.clone().unwrap();
                [text.latency, text.service, text.send_lag].map(|text| decode(&text).unwrap())
            };
            assert_eq!(bucket(&together), bucket(&alone), "{of}");
        }
        assert_eq!((alone.planned, alone.errors["code_8"]), (10_000, 200));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let error = |change: fn(&mut Vec<(String, RunResult)>)| {
            let mut parts = agents(3);
            change(&mut parts);
            merge(&parts).unwrap_err().to_string()
        };
        for (said, named) in [
            (error(|parts| drop(parts.pop())), "agent 2 of 3 is there 0 times"),
            (error(|parts| parts[2] = parts[1].clone()), "agent 1 of 3 is there 2 times"),
            (error(|parts| parts[1].1.settings.seed = 7), "1.json has seed `7`, and 0.json has"),
            (error(|parts| parts[1].1.settings.agent = None), "1.json is the result of no agent"),
            (error(|parts| parts[2].1.histograms = None), "2.json has no histograms"),
            (error(Vec::clear), "agent 0 of 0"),
        ] {
            assert!(said.contains(named), "{said}");
        }
    }

    #[test]
    fn one_invalid_part_makes_the_whole_invalid() {
        let mut parts = agents(2);
        parts[1].1.valid = false;
        parts[1].1.warnings = vec!["it stood still".to_owned()];
        let whole = merge(&parts).unwrap();
        assert!(!whole.valid);
        assert_eq!(whole.warnings[0], "1.json is invalid: it stood still");
    }
}
