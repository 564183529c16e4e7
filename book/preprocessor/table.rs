//! The tables of the book, by name: `scenario-SCENARIO` of `compare.json`, `ledger-MODEL` and `ledger`
//! of what a request costs, `idle-memory`.

use std::fmt::Write as _;

use crate::format::Format;
use crate::language::Language;
use crate::results::{Results, ResultsError};
use crate::{Cause, MODELS, machine};

const COMPARE: &str = "compare.json";
const TRACED: &str = "ledger.json";

/// What can be a table: said where a name is none.
pub const NAMES: &str = "scenario-SCENARIO, ledger, ledger-MODEL, idle-memory";

/// The table of that name.
///
/// # Errors
/// If there is none, or its figures are missing.
pub fn table(results: &Results, language: Language, name: &str) -> Result<String, Cause> {
    let unknown = || Cause::Name { kind: "table", name: name.to_owned(), known: NAMES.to_owned() };
    match name.split_once('-') {
        Some(("scenario", scenario)) => of_scenario(results, language, scenario),
        Some(("ledger", model)) if MODELS.contains(&model) => ledger_of(results, language, model),
        Some(("idle", "memory")) => idle_memory(results, language),
        None if name == "ledger" => ledger(results, language),
        _ => Err(unknown()),
    }
}

/// The columns of a scenario: head, where in an entry, format.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("requests/s", "throughput_rps", ",.0"),
    ("of best", "of_best", ".2"),
    ("of floor", "of_floor", ".2"),
    ("CPU, µs", "cpu_us_per_request", ".2"),
    ("switches", "context_switches_per_request", ".3"),
    ("threads", "threads", ".0"),
    ("MiB", "rss_anon_bytes", ".1MiB"),
];

fn of_scenario(results: &Results, language: Language, scenario: &str) -> Result<String, Cause> {
    let at = format!("scenarios[name={scenario}]");
    let mut table = head(language.say("server")?, language.all(COLUMNS.map(|(head, _, _)| head))?);
    for entry in results.list(COMPARE, &format!("{at}.entries"))? {
        let server = entry["server"].as_str().unwrap_or_default();
        let cells = COLUMNS.map(|(_, key, format)| {
            // The floor has no ratio to itself, and a plan that waits has no floor.
            let value = entry["medians"][key].as_f64();
            let format: Format = format.parse().unwrap_or_default();
            value.map_or("–".to_owned(), |value| {
                format.write_number(value).trim_end_matches("\u{a0}MiB").to_owned()
            })
        });
        row(&mut table, server, &cells);
    }
    let title = results.text(COMPARE, &format!("{at}.title"))?;
    let (scenario, load) = title.split_once(": ").unwrap_or(("", &title));
    let title = language.fill("{}: {}", &[scenario, &language.data(load)?])?;
    let machine = machine::line(results, language, COMPARE)?;
    note(&mut table, &language.fill("{}. Medians; {}", &[&title, &machine])?);
    Ok(table)
}

fn idle_memory(results: &Results, language: Language) -> Result<String, Cause> {
    let format: Format = ",.0".parse()?;
    let mut table = head(language.say("server")?, [language.say("bytes for an idle connection")?]);
    for model in MODELS {
        let path = format!("servers[name={model}].idle_connection_bytes");
        row(&mut table, model, &[format.write_number(results.number(COMPARE, &path)?)]);
    }
    note(&mut table, &machine::line(results, language, COMPARE)?);
    Ok(table)
}

/// Where a line of the ledger comes from.
#[derive(Clone, Copy)]
enum Source {
    /// The medians of the comparison.
    Median(&'static str),
    /// The server's counters: of the comparison, or where it has none, of the run that was traced.
    Counter(&'static str),
    /// The same, which only the comparison has.
    Counted(&'static str),
    /// What strace saw.
    Traced(&'static str),
}

/// The lines of a ledger: name, source, format.
const LINES: [(&str, Source, &str); 14] = [
    ("CPU time, µs", Source::Median("cpu_us_per_request"), ".2"),
    ("context switches", Source::Median("context_switches_per_request"), ""),
    ("reads", Source::Counter("reads"), ""),
    ("writes", Source::Counter("writes"), ""),
    ("waits for events", Source::Counter("waits"), ""),
    ("re-arms (`epoll_ctl`)", Source::Counter("registrations"), ""),
    ("wake-ups of a loop", Source::Counted("wakes"), ""),
    ("hand-offs to another thread", Source::Counter("handoffs"), ""),
    ("futex calls, as strace saw them", Source::Traced("futex"), ""),
    ("bytes read", Source::Counted("bytes_read"), ",.0"),
    ("bytes written", Source::Counted("bytes_written"), ",.0"),
    ("bytes copied by the server", Source::Counted("bytes_copied"), ",.0"),
    ("allocations", Source::Counted("allocations"), ".2"),
    ("bytes allocated", Source::Counted("allocated_bytes"), ",.0"),
];

/// The scenarios of a ledger, with the depth at which the traced run has the same.
const DEPTHS: [(&str, u32); 2] = [("echo", 1), ("pipelined", 16)];

impl Source {
    /// The figure; nothing where it was not counted.
    fn figure(
        self,
        results: &Results,
        model: &str,
        (scenario, depth): (&str, u32),
    ) -> Result<Option<f64>, ResultsError> {
        let entry = format!("scenarios[name={scenario}].entries[server={model}]");
        let traced = format!("rows[server={model},depth={depth}]");
        // An optional figure is null, and an older file lacks the ledger as a whole.
        let counted = |key: &str| results.number(COMPARE, &format!("{entry}.ledger.{key}")).ok();
        match self {
            Self::Median(key) => {
                results.number(COMPARE, &format!("{entry}.medians.{key}")).map(Some)
            }
            Self::Counted(key) => Ok(counted(key)),
            Self::Traced(key) => {
                results.number(TRACED, &format!("{traced}.strace.{key}")).map(Some)
            }
            Self::Counter(key) => match (counted(key), key) {
                (Some(figure), _) => Ok(Some(figure)),
                (None, "handoffs") => {
                    results.number(TRACED, &format!("{traced}.handoffs")).map(Some)
                }
                (None, key) => results.number(TRACED, &format!("{traced}.own.{key}")).map(Some),
            },
        }
    }
}

fn ledger_of(results: &Results, language: Language, model: &str) -> Result<String, Cause> {
    let at_depth = if model == "grpc" { "16 streams each" } else { "16 in the pipeline" };
    let heads = language.all(["one at a time", at_depth])?;
    lines(results, language, heads, &DEPTHS.map(|depth| (model, depth)))
}

fn ledger(results: &Results, language: Language) -> Result<String, Cause> {
    lines(results, language, MODELS, &MODELS.map(|model| (model, DEPTHS[0])))
}

fn lines<const N: usize>(
    results: &Results,
    language: Language,
    heads: [&str; N],
    columns: &[(&str, (&str, u32)); N],
) -> Result<String, Cause> {
    let mut table = head(language.say("per request")?, heads);
    for (name, source, format) in LINES {
        let format: Format = format.parse()?;
        let figures = columns.iter().map(|(model, depth)| source.figure(results, model, *depth));
        let figures = figures.collect::<Result<Vec<_>, _>>()?;
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let cells: Vec<_> = figures
            .into_iter()
            .map(|figure| figure.map_or("–".to_owned(), |figure| format.write_number(figure)))
            .collect();
        row(&mut table, language.say(name)?, &cells);
    }
    let said = "An echo of 64 bytes, 64 connections; futex calls: 4 connections, traced. {}. {}";
    let machine = |file| machine::line(results, language, file);
    note(&mut table, &language.fill(said, &[&machine(COMPARE)?, &machine(TRACED)?])?);
    Ok(table)
}

fn head<const N: usize>(first: &str, heads: [&str; N]) -> String {
    let mut table = format!("\n| {first} | {} |\n|:--", heads.join(" | "));
    for _ in heads {
        table.push_str("|--:");
    }
    table + "|\n"
}

fn row(table: &mut String, first: &str, cells: &[String]) {
    let _ = writeln!(table, "| {first} | {} |", cells.join(" | "));
}

fn note(table: &mut String, note: &str) {
    let _ =
        writeln!(table, "\n<p class=\"note\">{}</p>\n", crate::svg::escaped(note).replace('`', ""));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Results {
        Results::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results"))
    }

    #[test]
    fn every_table_can_be_made() {
        let scenarios = ["echo", "pipelined", "many", "wait", "compute", "block", "users", "open"];
        let scenarios = scenarios.map(|scenario| format!("scenario-{scenario}"));
        let ledgers = MODELS.map(|model| format!("ledger-{model}"));
        let others = ["ledger", "idle-memory"].map(str::to_owned);
        for name in scenarios.iter().chain(&ledgers).chain(&others) {
            for language in [Language::English, Language::Chinese] {
                let made = table(&committed(), language, name).unwrap();
                assert!(made.matches("\n| ").count() > 4, "{name}: {made}");
            }
        }
    }

    #[test]
    fn a_ledger_is_made_also_where_the_comparison_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(committed().path_of(name)).unwrap();
        let mut compare: serde_json::Value = serde_json::from_str(&read(COMPARE)).unwrap();
        let with = |compare: &serde_json::Value| {
            std::fs::write(folder.path().join(COMPARE), compare.to_string()).unwrap();
            std::fs::write(folder.path().join(TRACED), read(TRACED)).unwrap();
            table(&Results::new(folder.path().to_owned()), Language::English, "ledger-pool")
                .unwrap()
        };
        for scenario in compare["scenarios"].as_array_mut().unwrap() {
            for entry in scenario["entries"].as_array_mut().unwrap() {
                entry["ledger"] = serde_json::Value::Null;
            }
        }
        let without = with(&compare);
        assert!(without.contains("| hand-offs to another thread | 1 |"), "{without}");
        assert!(!without.contains("allocations"), "nobody counted them");
        let ledger = serde_json::json!({"handoffs": 0.5, "allocations": 0.25});
        for scenario in compare["scenarios"].as_array_mut().unwrap() {
            for entry in scenario["entries"].as_array_mut().unwrap() {
                entry["ledger"] = ledger.clone();
            }
        }
        let counted = with(&compare);
        assert!(counted.contains("| hand-offs to another thread | 0.5 |"), "{counted}");
        assert!(counted.contains("| allocations | 0.25 |"), "{counted}");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let error = |name| table(&committed(), Language::English, name).unwrap_err().to_string();
        for name in ["nothing", "ledger-nobody", "idle", ""] {
            let error = error(name);
            assert!(error.contains("there are scenario-SCENARIO"), "{error}");
        }
        assert!(error("scenario-x").contains("[name=x]"));
    }
}
