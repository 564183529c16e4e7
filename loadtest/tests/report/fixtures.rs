//! Result files to report on: real ones of short runs, and some whose figures are made by formula,
//! so that a test knows what must come out.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use loadtest::result::Quantiles;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{floor, ran};

pub(crate) const SERVERS: [&str; 6] = ["threads", "pool", "tasks", "epoll", "grpc", "floor"];
/// Blocks of every entry that is made by formula.
const BLOCKS: u32 = 5;

/// A folder of result files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, json: &Value) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, serde_json::to_vec_pretty(json).unwrap()).unwrap();
        path
    }
}

/// The comparison that the repository keeps.
pub(crate) fn comparison() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/compare.json")
}

/// The same with a ledger of every server that is known to the last digit; the floor has none.
pub(crate) fn comparison_with_ledger() -> Value {
    comparison_with(|place| (place < SERVERS.len() - 1).then(|| ledger(place)))
}

/// The same from before there were ledgers.
pub(crate) fn comparison_without_ledger() -> Value {
    comparison_with(|_| None)
}

fn comparison_with(ledger: impl Fn(usize) -> Option<Value>) -> Value {
    let mut file: Value = serde_json::from_slice(&fs::read(comparison()).unwrap()).unwrap();
    for scenario in file["scenarios"].as_array_mut().unwrap() {
        for entry in scenario["entries"].as_array_mut().unwrap() {
            let place = SERVERS.iter().position(|name| entry["server"] == *name).unwrap();
            entry["ledger"] = ledger(place).into();
        }
    }
    file
}

/// Of a server of that place in [`SERVERS`]: none wakes another, and gRPC's copies nobody counts.
pub(crate) fn ledger(place: usize) -> Value {
    let part = place as f64 / 10.0;
    json!({
        "requests": 50_000, "reads": 1.0 + part, "writes": 1.0, "waits": part, "wakes": 0.0,
        "registrations": part / 2.0, "handoffs": part, "bytes_read": 74.0, "bytes_written": 76.0,
        "bytes_copied": (place != 4).then_some(214.0), "allocations": part * 40.0,
        "allocated_bytes": part * 4_000.0,
    })
}

/// A short run against the floor: open at `rate`, or closed.
pub(crate) fn run(rate: Option<u32>) -> Value {
    let (_floor, address) = floor(&[]);
    let url = format!("raw://{address}");
    let rate = rate.map(|rate| rate.to_string());
    let mut flags = vec!["-c", "4", "-d", "300ms"];
    flags.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
    let ran = ran(&url, &flags);
    assert_eq!(ran.exit_code, Some(0), "{}", ran.stderr);
    ran.json
}

/// Values by formula: a least time, and an exponential tail above it.
pub(crate) fn histogram(least_us: f64, mean_tail_us: f64, count: u32) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    for n in 0..count {
        let part = (f64::from(n) + 0.5) / f64::from(count);
        let us = least_us - mean_tail_us * (1.0 - part).ln();
        histogram.record(whole(us * 1e3)).unwrap();
    }
    histogram
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small, and above zero
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).unwrap();
    STANDARD.encode(bytes)
}

/// A real open run, with the histograms, the windows and the steps of a stall that never was.
pub(crate) fn rich_run(least_us: f64) -> Value {
    let mut run = run(Some(500));
    let latency = histogram(least_us, 80.0, 200_000);
    run["latency_us"] = json!(Quantiles::of(&latency));
    run["ok"] = json!(200_000);
    run["planned"] = json!(200_000);
    run["histograms"] = json!({
        "latency": encoded(&latency),
        "service": encoded(&histogram(least_us * 0.8, 60.0, 200_000)),
        "send_lag": encoded(&histogram(9.0, 4.0, 200_000)),
    });
    run["windows"] = (0..60).map(window).collect();
    run["steps"] = (1..=9).map(step).collect();
    run["command"] = json!(["loadtest", "run", "tcp://127.0.0.1:7004", "--rate", "1k:9k:1k"]);
    run["environment"] = environment("2026-11-22T10:00:00Z");
    run["valid"] = json!(true);
    run["warnings"] = json!(["p99.99 rests on 20 samples"]);
    run
}

fn window(n: u32) -> Value {
    let stalled = (25..28).contains(&n);
    let wave = 1.0 + 0.15 * f64::from(n).sin();
    let usual = [210.0, 610.0, 2e3].map(|us| us * wave);
    let times = if stalled { [400e3, 900e3, 990e3] } else { usual };
    let timed_out = if stalled { 100 } else { 0 };
    json!({
        "from_s": f64::from(n) * 0.5, "length_s": 0.5, "planned": 1000, "ok": 1000 - timed_out,
        "errors": 0, "timed_out": timed_out, "unsent": 0,
        "p50_us": times[0], "p99_us": times[1], "max_us": times[2],
    })
}

fn step(n: u32) -> Value {
    let part = f64::from(n) / 10.0;
    let p50 = 100.0 / (1.0 - part);
    let quantiles = json!({
        "p50": p50, "p75": p50 * 1.3, "p90": p50 * 2.0, "p95": p50 * 2.6, "p97": p50 * 3.0,
        "p99": p50 * 4.2, "p99.5": p50 * 5.0, "p99.9": p50 * 8.0, "p99.99": p50 * 14.0,
        "max": p50 * 20.0, "mean": p50 * 1.1,
    });
    json!({
        "rate_rps": f64::from(n) * 1e3, "length_s": 1.0, "planned": n * 1000, "ok": n * 1000,
        "errors": 0, "timed_out": 0, "unsent": 0, "latency_us": quantiles,
    })
}

fn environment(date: &str) -> Value {
    json!({ "date": date, "cpu_model": "A processor", "cores": 2, "kernel": "6.18.0",
            "rust_version": "rustc 1.95.0", "git_revision": "039c160", "open_files_max": 20000 })
}

/// What a server of that place in [`SERVERS`] is made to do with `n` at once.
fn law(place: usize, n: f64) -> f64 {
    let (lambda, sigma, kappa) = laws(place);
    lambda * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

fn laws(place: usize) -> (f64, f64, f64) {
    let place = place as f64;
    (14_000.0 + 2_000.0 * place, 0.06 + 0.01 * place, 4e-6 * (6.0 - place))
}

fn cpu_us(place: usize, connections: f64) -> f64 {
    5.0 + place as f64 + connections / 200.0
}

/// A block of `run`, whose figures vary from block to block by some percent.
fn block(run: &Value, number: u32, place: usize, rps: f64, p50_us: f64, connections: f64) -> Value {
    let mut run = run.clone();
    let vary = 1.0 + (f64::from(number) - 2.0) * 0.02;
    run["throughput_rps"] = json!(rps * vary);
    run["latency_us"]["p50"] = json!(p50_us * vary);
    run["latency_us"]["p99"] = json!(p50_us * vary * 5.0);
    run["latency_us"]["p99.9"] = json!(p50_us * vary * 9.0);
    run["valid"] = json!(true);
    let place_from_1 = (place + 1) as f64;
    run["server"] = json!({
        "cpu_us_per_request": cpu_us(place, connections) * vary,
        "rss_anon_bytes": 300_000 + whole(connections * 400.0 * place_from_1),
        "pss_bytes": 900_000, "threads": 5, "cpu_s": 0.5,
        "context_switches_per_request": 0.01 * vary * place_from_1,
    });
    let system_calls = 2.0 + place_from_1 / 10.0 + vary / 50.0;
    json!({ "number": number, "run": run, "system_calls_per_request": system_calls,
            "noise_cores": 0.01, "noisy": false })
}

fn interval(estimate: f64, low: f64, high: f64) -> Value {
    json!({ "estimate": estimate, "low": estimate * low, "high": estimate * high,
            "confidence": 0.95 })
}

fn entry(run: &Value, place: usize, rps: f64, p50_us: f64, connections: f64) -> Value {
    let blocks: Vec<Value> =
        (0..BLOCKS).map(|number| block(run, number, place, rps, p50_us, connections)).collect();
    let medians = json!({
        "throughput_rps": rps, "latency_p50_us": p50_us, "latency_p99_us": p50_us * 5.0,
        "of_floor": 0.9, "cpu_us_per_request": cpu_us(place, connections),
    });
    json!({
        "server": SERVERS[place], "blocks": blocks, "medians": medians,
        "intervals": { "throughput_rps": interval(rps, 0.97, 1.05), "of_floor": null,
                       "of_best": null, "cpu_us_per_request": null },
    })
}

/// Over connections, with a law for each server.
pub(crate) fn sweep_connections() -> Value {
    let run = run(None);
    let point = |n: f64| {
        let entries: Vec<Value> =
            (0..SERVERS.len()).map(|place| entry(&run, place, law(place, n), 200.0, n)).collect();
        json!({ "value": n, "label": format!("{n}"), "entries": entries })
    };
    let fit = |place: usize| {
        let (lambda, sigma, kappa) = laws(place);
        json!({ "server": SERVERS[place], "law": "usl", "lambda": lambda, "sigma": sigma,
                "kappa": kappa, "peak_at": ((1.0 - sigma) / kappa.max(1e-9)).sqrt(),
                "peak_rps": law(place, 300.0), "r_squared": 0.991 })
    };
    json!({
        "schema": "quintet/sweep/1", "parameter": "connections",
        "flags": { "seed": 1, "blocks": BLOCKS },
        "environment": environment("2026-11-22T11:00:00Z"),
        "command": ["loadtest", "sweep", "connections=1,4,16,64,256,1000"],
        "points": ([1.0, 4.0, 16.0, 64.0, 256.0, 1000.0].map(point)),
        "fits": (0..SERVERS.len()).map(fit).collect::<Vec<_>>(), "warnings": [],
    })
}

/// Over rates, up to where the times climb.
pub(crate) fn sweep_rate() -> Value {
    let run = run(Some(500));
    let point = |rate: f64| {
        let entries: Vec<Value> = (0..SERVERS.len())
            .map(|place| {
                let load = (rate / (52e3 + 8e3 * place as f64)).min(0.995);
                let mut entry = entry(&run, place, rate, 60.0 / (1.0 - load), 64.0);
                for block in entry["blocks"].as_array_mut().unwrap() {
                    block["run"]["settings"]["rate_rps"] = json!(rate);
                }
                entry
            })
            .collect();
        json!({ "value": rate, "label": "", "entries": entries })
    };
    json!({
        "schema": "quintet/sweep/1", "parameter": "rate", "flags": {},
        "warnings": ["the first point is short"],
        "environment": environment("2026-11-22T12:00:00Z"),
        "command": ["loadtest", "sweep", "rate=5k:50k"],
        "points": ([5e3, 10e3, 20e3, 30e3, 40e3, 45e3, 50e3].map(point)), "fits": [],
    })
}

pub(crate) fn memory() -> Value {
    let slope = |bytes: f64| interval(bytes, 0.9, 1.1);
    let user = [14_102.5, 209.0, 1_663.0, 454.7, 16_089.0];
    let server = |place: usize| {
        let of = |connections: u32, kind: &str, times: f64| {
            json!({ "connections": connections, "kind": kind, "threads": 5,
                    "rss_anon_bytes": 300_000.0 + user[place] * times * f64::from(connections),
                    "pss_bytes": 900_000,
                    "kernel_bytes": 4_096.0 * times * f64::from(connections) })
        };
        let counts = [250, 500, 1000, 2000, 4000];
        let points: Vec<Value> =
            counts.iter().flat_map(|n| [of(*n, "idle", 1.0), of(*n, "active", 1.6)]).collect();
        json!({
            "server": SERVERS[place], "points": points,
            "idle": { "user": slope(user[place]), "kernel": slope(4096.0) },
            "active": { "user": slope(user[place] * 1.6), "kernel": slope(6553.6) },
        })
    };
    json!({
        "schema": "quintet/memory/1", "environment": environment("2026-11-22T13:00:00Z"),
        "command": ["loadtest", "memory"], "counts": [250, 500, 1000, 2000, 4000],
        "servers": (0..5).map(server).collect::<Vec<_>>(), "warnings": [],
    })
}

pub(crate) fn capacity() -> Value {
    let run = run(Some(500));
    let server = |place: usize| {
        let most = 52e3 + 8e3 * place as f64;
        let mut run = run.clone();
        run["valid"] = json!(true);
        let probe = |part: f64| {
            json!({ "rate_rps": most * part, "held": part < 0.9,
                    "quantile_us": 180.0 / (1.02 - part), "run": run })
        };
        json!({
            "server": SERVERS[place], "probes": ([0.5, 1.0, 0.75, 0.875, 0.94].map(probe)),
            "capacity_rps": interval(most * 0.875, 0.98, 1.03),
        })
    };
    json!({
        "schema": "quintet/capacity/1", "environment": environment("2026-11-22T14:00:00Z"),
        "command": ["loadtest", "capacity", "--slo", "p99=2ms"], "slo": "p99=2ms",
        "servers": (0..5).map(server).collect::<Vec<_>>(), "warnings": [],
    })
}

/// Markup in every place where a file has text.
pub(crate) fn hostile() -> Value {
    let attack = "</script><img src=x onerror=\"window.pwned=1\"><b>'&|`$x^2$";
    let mut sweep = sweep_connections();
    sweep["parameter"] = json!(attack);
    sweep["warnings"] = json!([attack]);
    sweep["command"] = json!(["loadtest", attack]);
    sweep["flags"] = json!({ attack: attack });
    sweep["environment"] = json!({ attack: attack });
    for point in sweep["points"].as_array_mut().unwrap() {
        point["label"] = json!(format!("{attack}{}", point["value"]));
        point["entries"][0]["server"] = json!(attack);
        point["entries"][0]["blocks"][0]["run"]["valid"] = json!(false);
    }
    sweep["fits"][0]["server"] = json!(attack);
    sweep
}
