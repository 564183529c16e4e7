//! A result file as rows of figures: one row per run, step, server in a scenario, point of a sweep,
//! probe or count of connections. What has blocks gets an interval for each figure.

use std::collections::BTreeMap;

use super::figure::{FIGURES, Figure, Measure, Measures};
use super::input::{Document, Source};
use super::measure::{figures, measured, of_ledger, of_point, of_slopes, of_step, plain};
use super::schema::{Capacity, Comparison, Entry, Memory, Sweep};
use crate::compare::evaluate::usable;
use crate::compare::report::Block;
use crate::process::FLOOR;
use crate::result::RunResult;
use crate::statistics::bootstrap::of_median;
use crate::statistics::{CONFIDENCE, median};

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Of which file.
    pub file: String,
    /// `run`, `step`, `entry`, `point`, `capacity`, `probe`, `connections` or `slope`.
    pub kind: &'static str,
    /// The scenario, the target, the promise, or `idle` and `active`.
    pub scenario: String,
    /// The server, where one is known by its name.
    pub server: String,
    /// What was varied, and its value there.
    pub parameter: Option<(String, f64)>,
    /// Connections, depth and rate, where they were chosen.
    pub load: Load,
    /// How many blocks stand behind the figures, quiet or not; 0 where nothing was repeated.
    pub blocks: usize,
    /// How many of them should not be believed.
    pub blocks_invalid: usize,
    /// Whether the figures may be believed, where the file says it.
    pub valid: Option<bool>,
    /// What was measured.
    pub measures: Measures,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)] // result.rs says it
pub struct Load {
    pub connections: Option<usize>,
    pub depth: Option<usize>,
    pub rate_rps: Option<f64>,
}

/// All rows of a file.
pub fn rows(source: &Source) -> Vec<Row> {
    let mut rows = match &source.document {
        Document::Run(run) => of_run(run),
        Document::Compare(comparison) => of_comparison(comparison),
        Document::Sweep(sweep) => of_sweep(sweep),
        Document::Capacity(capacity) => of_capacity(capacity),
        Document::Memory(memory) => of_memory(memory),
    };
    for row in &mut rows {
        row.file.clone_from(&source.label);
    }
    rows
}

/// A run as a whole, and its steps.
pub fn of_run(run: &RunResult) -> Vec<Row> {
    let whole = Row {
        kind: "run",
        scenario: run.target.clone(),
        load: load(run),
        valid: Some(run.valid),
        measures: plain(figures(run)),
        ..Row::default()
    };
    let steps = run.steps.iter().map(|step| Row {
        kind: "step",
        scenario: run.target.clone(),
        parameter: Some(("rate_rps".to_owned(), step.rate_rps)),
        load: Load { rate_rps: Some(step.rate_rps), ..load(run) },
        valid: Some(run.valid),
        measures: plain(of_step(step)),
        ..Row::default()
    });
    std::iter::once(whole).chain(steps).collect()
}

fn of_comparison(comparison: &Comparison) -> Vec<Row> {
    let idle = comparison.servers.iter().filter_map(|server| {
        let figures = vec![("user_bytes_per_connection", server.idle_connection_bytes?)];
        let (server, scenario) = (server.name.clone(), "idle".to_owned());
        Some(Row { kind: "slope", scenario, server, measures: plain(figures), ..Row::default() })
    });
    let mut rows = Vec::new();
    for scenario in &comparison.scenarios {
        for mut row in of_entries(&scenario.entries) {
            (row.kind, row.scenario) = ("entry", scenario.name.clone());
            rows.push(row);
        }
    }
    rows.extend(idle);
    rows
}

fn of_sweep(sweep: &Sweep) -> Vec<Row> {
    let mut rows = Vec::new();
    for point in &sweep.points {
        for mut row in of_entries(&point.entries) {
            (row.kind, row.scenario) = ("point", point.label.clone());
            row.parameter = Some((sweep.parameter.clone(), point.value));
            rows.push(row);
        }
    }
    rows
}

/// Servers that were measured side by side.
fn of_entries(entries: &[Entry]) -> Vec<Row> {
    let floor = entries.iter().find(|entry| entry.server == FLOOR.name);
    let throughput = |entry: &Entry| entry.medians.get("throughput_rps").copied().flatten();
    let best = entries
        .iter()
        .filter(|entry| entry.server != FLOOR.name)
        .filter_map(throughput)
        .fold(0.0, f64::max);
    entries
        .iter()
        .filter(|entry| !entry.blocks.is_empty())
        .map(|entry| {
            let mut measures = of_blocks(&entry.blocks, floor.map(|floor| &floor.blocks[..]));
            if let (Some(throughput), true) = (throughput(entry), best > 0.0) {
                let of_best = Measure { value: throughput / best, interval: None };
                measures.insert("of_best", of_best);
            }
            overwrite(&mut measures, entry);
            measures.extend(plain(entry.ledger.iter().flat_map(of_ledger).collect()));
            Row {
                server: entry.server.clone(),
                load: entry.blocks.first().map(|block| load(&block.run)).unwrap_or_default(),
                blocks: entry.blocks.len(),
                blocks_invalid: entry.blocks.iter().filter(|block| !block.is_trusted()).count(),
                valid: Some(entry.blocks.iter().all(Block::is_trusted)),
                measures,
                ..Row::default()
            }
        })
        .collect()
}

/// What the file says of medians and intervals counts for more than what can be made of its blocks.
fn overwrite(measures: &mut Measures, entry: &Entry) {
    for Figure { name, .. } in FIGURES {
        let median = entry.medians.get(*name).copied().flatten();
        let interval = entry.intervals.get(*name).copied().flatten();
        let Some(value) = median.or(interval.map(|interval| interval.estimate)) else { continue };
        let known = measures.contains_key(name);
        if known || value != 0.0 {
            // A median of times that no block has is 0, and says nothing.
            let measure = measures.entry(name).or_insert(Measure { value, interval });
            measure.value = value;
            measure.interval = interval.or(measure.interval);
        }
    }
}

/// The median of each figure over the quiet blocks, and its interval.
fn of_blocks(blocks: &[Block], floor: Option<&[Block]>) -> Measures {
    let floor = floor.map(usable);
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for block in usable(blocks) {
        for (name, value) in figures(&block.run) {
            values.entry(name).or_default().push(value);
        }
        if let Some(calls) = block.system_calls_per_request {
            values.entry("system_calls_per_request").or_default().push(calls);
        }
        let beside = floor
            .iter()
            .flatten()
            .find(|floor| floor.number == block.number && floor.is_trusted() == block.is_trusted());
        if let Some(beside) = beside {
            let ratio = block.run.throughput_rps / beside.run.throughput_rps;
            values.entry("of_floor").or_default().push(ratio);
        }
    }
    let measure = |values: &Vec<f64>| {
        let value = median(values.iter().copied())?;
        Some(Measure { value, interval: of_median(values, CONFIDENCE) })
    };
    values.iter().filter_map(|(name, values)| Some((*name, measure(values)?))).collect()
}

fn of_capacity(capacity: &Capacity) -> Vec<Row> {
    let mut rows = Vec::new();
    for server in &capacity.servers {
        let base =
            Row { scenario: capacity.slo.clone(), server: server.server.clone(), ..Row::default() };
        if let Some(interval) = server.capacity_rps {
            let measures = [("capacity_rps", measured(interval))].into();
            rows.push(Row { kind: "capacity", measures, ..base.clone() });
        }
        rows.extend(server.probes.iter().map(|probe| {
            let mut of_run = probe.run.as_ref().map(figures).unwrap_or_default();
            of_run.push(("slo_quantile_us", probe.quantile_us));
            Row {
                kind: "probe",
                parameter: Some(("rate_rps".to_owned(), probe.rate_rps)),
                load: probe.run.as_ref().map(load).unwrap_or_default(),
                valid: probe.run.as_ref().map(|run| run.valid),
                measures: plain(of_run),
                ..base.clone()
            }
        }));
    }
    rows
}

fn of_memory(memory: &Memory) -> Vec<Row> {
    let mut rows = Vec::new();
    for server in &memory.servers {
        let base = Row { server: server.server.clone(), ..Row::default() };
        for (kind, slopes) in [("idle", server.idle), ("active", server.active)] {
            let measures = of_slopes(slopes);
            if !measures.is_empty() {
                let scenario = kind.to_owned();
                rows.push(Row { kind: "slope", scenario, measures, ..base.clone() });
            }
        }
        rows.extend(server.points.iter().map(|point| Row {
            kind: "connections",
            scenario: point.kind.clone(),
            parameter: Some(("connections".to_owned(), point.connections as f64)),
            measures: plain(of_point(point)),
            ..base.clone()
        }));
    }
    rows
}

fn load(run: &RunResult) -> Load {
    let settings = &run.settings;
    Load {
        connections: Some(settings.connections),
        depth: settings.depth,
        rate_rps: settings.rate_rps,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::result::ClientCost;

    fn block(number: u64, throughput_rps: f64, noisy: bool, valid: bool) -> Value {
        let times = json!(crate::result::Quantiles { p50: 7.0, ..Default::default() });
        let run = json!({
            "schema": "", "target": "", "planned": 1, "ok": 1, "errors": {}, "timed_out": 0,
            "unsent": 0, "elapsed_s": 1.0, "throughput_rps": throughput_rps, "latency_us": times,
            "service_us": times, "send_lag_us": times, "server": null,
            "client": ClientCost::default(), "valid": valid, "warnings": [],
            "settings": { "connections": 3, "depth": 1, "rate_rps": null, "work": "",
                          "warmup_s": 0.0, "timeout_s": 1.0, "seed": 1 },
        });
        json!({ "number": number, "run": run, "noisy": noisy, "noise_cores": 0.0,
                "system_calls_per_request": 2.0 })
    }

    fn entries(json: Value) -> Vec<Row> {
        of_entries(&serde_json::from_value::<Vec<Entry>>(json).unwrap())
    }

    fn value(row: &Row, name: &str) -> f64 {
        row.measures[name].value
    }

    #[test]
    fn noise_stays_out_and_pairs_are_of_blocks_side_by_side() {
        let of = |rates: [f64; 4], valid: bool| -> Vec<Value> {
            let numbered = (0..4).zip(rates);
            // The last but one may not be believed, the last one is noisy.
            numbered.map(|(n, rps)| block(n, rps, n == 3, n != 2 || valid)).collect()
        };
        let rows = entries(json!([
            { "server": "epoll", "blocks": of([10.0, 20.0, 1e6, 1e6], false) },
            { "server": "floor", "blocks": of([20.0, 80.0, 40.0, 1e6], true) },
        ]));
        let epoll = &rows[0];
        let interval = epoll.measures["throughput_rps"].interval.unwrap();
        assert!((10.0..=20.0).contains(&interval.low) && interval.high <= 20.0, "{interval:?}");
        let found = ["throughput_rps", "of_floor", "latency_p50_us", "system_calls_per_request"]
            .map(|name| value(epoll, name));
        assert_eq!(found.to_vec(), [15.0, 0.375, 7.0, 2.0]);
        assert_eq!((epoll.blocks, epoll.blocks_invalid, epoll.valid), (4, 2, Some(false)));
        assert_eq!((rows[1].blocks_invalid, epoll.load.connections), (1, Some(3)));
    }

    #[test]
    fn what_the_file_says_counts_for_more_than_its_blocks() {
        let interval = json!({ "estimate": 0.4, "low": 0.3, "high": 0.5, "confidence": 0.9 });
        let rows = entries(json!([
            { "server": "epoll", "blocks": [block(0, 10.0, false, true)],
              "medians": { "throughput_rps": 11.0, "latency_p99_us": 0.0, "of_floor": null },
              "intervals": { "of_floor": interval } },
            { "server": "pool", "blocks": [block(0, 1.0, false, true)],
              "medians": { "throughput_rps": 22.0 } },
            { "server": "floor", "blocks": [block(0, 99.0, false, true)],
              "medians": { "throughput_rps": 99.0 } },
            { "server": "grpc", "blocks": [], "medians": { "throughput_rps": 0.0 } },
        ]));
        assert_eq!(rows.len(), 3, "what was not measured has no row");
        let of_floor = rows[0].measures["of_floor"];
        assert_eq!((value(&rows[0], "throughput_rps"), of_floor.value), (11.0, 0.4));
        assert_eq!(of_floor.interval.unwrap().high.to_string(), "0.5");
        assert_eq!([0, 1].map(|n| value(&rows[n], "of_best")).to_vec(), [0.5, 1.0]);
        assert!(rows[0].measures["throughput_rps"].interval.is_none(), "of one block");
    }
}
