//! The figures in the page, in CSV and in Markdown are those of the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use loadtest::terminal::grouped;
use serde_json::Value;

use crate::fixtures::{self, Files};
use crate::{loadtest, report};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn written(files: &[&Path], to: &Path) -> String {
    report(files, to);
    fs::read_to_string(to).unwrap()
}

/// But for the last digit.
pub(crate) fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= b.abs() * 1e-12
}

/// Of an element by its id, out of the page.
fn charts(page: &str) -> Vec<Value> {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"charts\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn chart<'a>(charts: &'a [Value], id: &str) -> &'a Value {
    charts.iter().find(|chart| chart["id"] == id).unwrap_or_else(|| panic!("no chart {id}"))
}

fn entries(scenario: &Value) -> &Vec<Value> {
    scenario["entries"].as_array().unwrap()
}

#[test]
fn the_charts_of_a_comparison_have_its_figures() {
    let files = Files::new();
    let page = written(&[&fixtures::comparison()], &files.path("c.html"));
    let charts = charts(&page);
    let file = json(&fixtures::comparison());
    let mut seen = 0;
    for (n, scenario) in file["scenarios"].as_array().unwrap().iter().enumerate() {
        for (what, figure) in [("throughput", "throughput_rps"), ("cpu", "cpu_us_per_request")] {
            if what == "throughput" && !scenario["rate_rps"].is_null() {
                continue;
            }
            let bars =
                chart(&charts, &format!("f0-s{n}-{what}"))["plot"]["data"].as_array().unwrap();
            assert_eq!(bars.len(), entries(scenario).len());
            for entry in entries(scenario) {
                let bar = bars.iter().find(|bar| bar["name"] == entry["server"]).unwrap();
                assert_eq!(
                    bar["x"][0], entry["medians"][figure],
                    "{figure} of {}",
                    entry["server"]
                );
                assert_eq!(bar["legendgroup"], entry["server"]);
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn a_ledger_is_bars_of_its_parts_and_a_table() {
    let files = Files::new();
    let made = files.write("ledger.json", &fixtures::comparison_with_ledger());
    let page = written(&[&made], &files.path("l.html"));
    let charts = charts(&page);
    let servers = &fixtures::SERVERS[..5];
    for n in 0..json(&made)["scenarios"].as_array().unwrap().len() {
        let plot = &chart(&charts, &format!("f0-s{n}-calls"))["plot"];
        assert_eq!(plot["layout"]["barmode"], "stack");
        let parts = plot["data"].as_array().unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["reads", "writes", "waits", "re-arms"], "nobody was woken");
        for (part, field) in parts.iter().zip(["reads", "writes", "waits", "registrations"]) {
            let bars = part["y"].as_array().unwrap();
            assert_eq!(bars.len(), servers.len(), "a bar for each, and none for the floor");
            for (bar, length) in bars.iter().zip(part["x"].as_array().unwrap()) {
                let place = servers.iter().position(|name| bar == name).unwrap();
                assert_eq!(*length, fixtures::ledger(place)[field], "{field} of {bar}");
            }
        }
    }
    let tables = page.matches("<caption><span>The ledger, per request").count();
    assert_eq!(tables, json(&made)["scenarios"].as_array().unwrap().len());
    let old = files.write("old.json", &fixtures::comparison_without_ledger());
    let old = written(&[&old], &files.path("old.html"));
    assert!(!old.contains("The ledger") && !old.contains("-calls\""), "it has none");
}

#[test]
fn the_tails_of_a_comparison_are_its_medians_with_intervals_around_them() {
    let files = Files::new();
    let page = written(&[&fixtures::comparison()], &files.path("c.html"));
    let charts = charts(&page);
    let file = json(&fixtures::comparison());
    let open =
        file["scenarios"].as_array().unwrap().iter().position(|s| s["name"] == "open").unwrap();
    let lines = chart(&charts, &format!("f0-s{open}-latency"))["plot"]["data"].as_array().unwrap();
    for entry in entries(&file["scenarios"][open]) {
        let line = lines.iter().find(|line| line["name"] == entry["server"]).unwrap();
        let at = |quantile: f64| {
            let xs = line["x"].as_array().unwrap();
            xs.iter().position(|x| near(x.as_f64().unwrap(), 1.0 / (1.0 - quantile))).unwrap()
        };
        for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
            let figure = &*format!("latency_{name}_us");
            let ms = line["y"][at(quantile)].as_f64().unwrap();
            let us = entry["medians"][figure].as_f64().unwrap();
            assert!(near(ms * 1e3, us), "{figure} of {}: {ms} ms, {us} us", entry["server"]);
            let [up, down] = ["array", "arrayminus"]
                .map(|end| line["error_y"][end][at(quantile)].as_f64().unwrap());
            let blocks: Vec<f64> = entry["blocks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|b| b["run"]["latency_us"][name].as_f64().unwrap())
                .collect();
            let most = blocks.iter().copied().fold(0.0, f64::max);
            let least = blocks.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(up + down > 0.0 && (ms + up) * 1e3 <= most * 1.001, "{up} {down}");
            assert!((ms - down) * 1e3 >= least * 0.999, "{up} {down}");
        }
    }
}

#[test]
fn the_tables_of_the_page_have_the_figures_of_the_file_to_the_last_digit() {
    let files = Files::new();
    let page = written(&[&fixtures::comparison()], &files.path("c.html"));
    let values: BTreeSet<String> = page
        .split("<data value=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0.to_owned())
        .collect();
    for scenario in json(&fixtures::comparison())["scenarios"].as_array().unwrap() {
        for entry in entries(scenario) {
            for figure in ["throughput_rps", "cpu_us_per_request", "rss_anon_bytes", "of_floor"] {
                // In an open loop the throughput is what was asked for.
                let shown = figure != "of_floor" || scenario["rate_rps"].is_null();
                if let Some(value) = entry["medians"][figure].as_f64().filter(|_| shown) {
                    assert!(values.contains(&value.to_string()), "{figure} {value}");
                }
            }
        }
    }
}

#[test]
fn the_percentile_plot_is_the_histogram() {
    let files = Files::new();
    let made = files.write("run.json", &fixtures::rich_run(180.0));
    let charts = charts(&written(&[&made], &files.path("r.html")));
    let histogram = fixtures::histogram(180.0, 80.0, 200_000);
    let line = &chart(&charts, "f0-latency")["plot"]["data"][0];
    let points: Vec<(f64, f64)> = line["x"]
        .as_array()
        .unwrap()
        .iter()
        .zip(line["y"].as_array().unwrap())
        .map(|(x, y)| (x.as_f64().unwrap(), y.as_f64().unwrap()))
        .collect();
    assert!(points.len() > 50 && points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    for (x, ms) in &points[..points.len() - 1] {
        let ns = histogram.value_at_quantile(1.0 - 1.0 / x) as f64;
        assert!((ms * 1e6 - ns).abs() / ns < 0.002, "at {x}: {ms} ms, {ns} ns");
    }
    let last = points.last().unwrap();
    assert_eq!(*last, (200_000.0, histogram.max() as f64 / 1e6));
}

#[test]
fn a_sweep_a_search_and_the_memory_are_drawn_as_they_were_measured() {
    let files = Files::new();
    let sweep = fixtures::sweep_connections();
    let (capacity, memory) = (fixtures::capacity(), fixtures::memory());
    let made = [
        files.write("s.json", &sweep),
        files.write("c.json", &capacity),
        files.write("m.json", &memory),
    ];
    let charts = charts(&written(&made.each_ref().map(PathBuf::as_path), &files.path("r.html")));
    let line = &chart(&charts, "f0-throughput")["plot"]["data"][3];
    for (n, point) in sweep["points"].as_array().unwrap().iter().enumerate() {
        let entry = &point["entries"][3];
        assert_eq!((&line["name"], &line["x"][n]), (&entry["server"], &point["value"]));
        let rps = &entry["medians"]["throughput_rps"];
        assert_eq!(&line["y"][n], rps);
        let high = line["error_y"]["array"][n].as_f64().unwrap() + rps.as_f64().unwrap();
        assert!(near(high, entry["intervals"]["throughput_rps"]["high"].as_f64().unwrap()));
    }
    let law = chart(&charts, "f0-throughput")["plot"]["data"].as_array().unwrap();
    let law = law.iter().rfind(|trace| trace["name"] == "epoll").unwrap();
    let peak = |values: &Value| values.as_array().unwrap().last().unwrap().as_f64().unwrap();
    let measured = sweep["points"][5]["entries"][3]["medians"]["throughput_rps"].as_f64().unwrap();
    assert!((peak(&law["y"]) - measured).abs() / measured < 1e-9, "the law made the points");
    let bars = chart(&charts, "f1-capacity")["plot"]["data"].as_array().unwrap();
    for server in capacity["servers"].as_array().unwrap() {
        let bar = bars.iter().find(|bar| bar["name"] == server["server"]).unwrap();
        assert_eq!(bar["x"][0], server["capacity_rps"]["estimate"]);
    }
    let promise = chart(&charts, "f1-probes")["plot"]["data"].as_array().unwrap().last().unwrap();
    assert_eq!(promise["y"][0], 2.0);
    let idle = &chart(&charts, "f2-user")["plot"]["data"][0];
    let point = &memory["servers"][0]["points"][8];
    assert_eq!((&idle["x"][4], &point["kind"]), (&serde_json::json!(4000.0), &"idle".into()));
    let mebibytes = idle["y"][4].as_f64().unwrap();
    assert!(near(mebibytes * 1024.0 * 1024.0, point["rss_anon_bytes"].as_f64().unwrap()));
}

#[test]
fn csv_has_a_row_for_each_and_all_digits() {
    let files = Files::new();
    let odd = files.write("a, \"b\".json", &fixtures::rich_run(180.0));
    let sweep = files.write("sweep.json", &fixtures::sweep_rate());
    let to = files.path("r.csv");
    let text = written(&[&odd, &fixtures::comparison(), &sweep], &to);
    assert!(text.lines().count() > 1 && text.matches("\r\n").count() == text.matches('\n').count());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let of_kind = |kind: &str| rows.iter().filter(|row| &row[column("kind")] == kind).count();
    let file = json(&fixtures::comparison());
    let scenarios = file["scenarios"].as_array().unwrap();
    let wanted: usize = scenarios.iter().map(|scenario| entries(scenario).len()).sum();
    assert_eq!([of_kind("run"), of_kind("step"), of_kind("entry")], [1, 9, wanted]);
    assert_eq!([of_kind("point"), of_kind("slope")], [42, 5]);
    assert_eq!(&rows[0][column("file")], "a, \"b\"");
    for scenario in scenarios {
        for entry in entries(scenario) {
            let row = rows.iter().find(|row| {
                row[column("scenario")] == scenario["name"]
                    && row[column("server")] == entry["server"]
            });
            let row = row.unwrap();
            let number = |name: &str| row[column(name)].parse::<f64>().unwrap();
            let rps = entry["medians"]["throughput_rps"].as_f64().unwrap();
            assert_eq!(row[column("throughput_rps")], rps.to_string());
            assert!(number("throughput_rps_low") <= rps && rps <= number("throughput_rps_high"));
            assert_eq!(
                row[column("blocks")],
                entry["blocks"].as_array().unwrap().len().to_string()
            );
        }
    }
}

#[test]
fn markdown_has_the_verdict_the_tables_and_the_command() {
    let files = Files::new();
    let made = files.write("rate.json", &fixtures::sweep_rate());
    let text = written(&[&made, &fixtures::comparison()], &files.path("r.md"));
    let file = json(&fixtures::comparison());
    let scenarios = file["scenarios"].as_array().unwrap();
    let epoll = entries(&scenarios[0]).iter().find(|entry| entry["server"] == "epoll").unwrap();
    let median = grouped(epoll["medians"]["throughput_rps"].as_f64().unwrap());
    let verdict = text.find("valid").unwrap();
    assert!(verdict < text.find(&median).unwrap(), "the verdict stands before the figures");
    assert!(text.contains("Made by: `loadtest sweep rate=5k:50k`"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| epoll ")).collect();
    let wanted = 2 * scenarios.len() + 1;
    assert_eq!(rows.len(), wanted, "a row a scenario, one of its ledger, and an idle connection");
    assert!(rows[0].contains(&format!("{median} (")), "{}", rows[0]);
    assert!(text.contains("**Medians over blocks, with intervals of at least "), "{text}");
    let printed = loadtest(["report", made.to_str().unwrap(), "-o", "-"]).stdout;
    assert!(String::from_utf8(printed).unwrap().starts_with("# Load test report"));
}
