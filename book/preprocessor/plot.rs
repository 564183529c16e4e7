//! The plots of the book, by name: `MEASURE-SCENARIO` of `compare.json` (`throughput-echo`), and some
//! of their own.

use serde_json::Value;

use crate::bars::{Bar, Stack, bars, stacks};
use crate::format::Format;
use crate::language::Language;
use crate::path::Path;
use crate::results::{Results, ResultsError};
use crate::{Cause, MODELS, crossover, machine};

const COMPARE: &str = "compare.json";
const PROFILES: &str = "profiles.json";

/// A figure that `compare` has of each server in each scenario.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Under `medians` and, where it has an interval, under `intervals`.
    pub(crate) key: &'static str,
    format: &'static str,
    unit: &'static str,
}

pub(crate) const MEASURES: [Measure; 6] = [
    measure("throughput", "requests answered per second", "throughput_rps", ",.0", ""),
    measure("cpu", "CPU time of the server per request", "cpu_us_per_request", ".2", " µs"),
    measure("p50", "median latency", "latency_p50_us", ",.0", " µs"),
    measure("p99", "99th percentile of latency", "latency_p99_us", ",.0", " µs"),
    measure("memory", "memory of the server (RssAnon)", "rss_anon_bytes", ".1MiB", ""),
    measure("switches", "context switches per request", "context_switches_per_request", ".3", ""),
];

const fn measure(
    name: &'static str,
    title: &'static str,
    key: &'static str,
    format: &'static str,
    unit: &'static str,
) -> Measure {
    Measure { name, title, key, format, unit }
}

/// What can be plotted: said where a name is none.
pub const NAMES: &str = "throughput-SCENARIO, cpu-, p50-, p99-, memory-, switches-SCENARIO, \
    idle-memory, where-time-goes, where-time-goes-at-depth, crossover-QUESTION";

/// The plot of that name.
///
/// # Errors
/// If there is none, or its figures are missing.
pub fn plot(results: &Results, language: Language, name: &str) -> Result<String, Cause> {
    match name {
        "idle-memory" => idle_memory(results, language),
        "where-time-goes" => where_time_goes(results, language, false),
        "where-time-goes-at-depth" => where_time_goes(results, language, true),
        _ if name.starts_with("crossover-") => {
            crossover::plot(results, language, name.trim_start_matches("crossover-"))
        }
        _ => {
            let found = name.split_once('-').and_then(|(measure, scenario)| {
                Some((MEASURES.iter().find(|known| known.name == measure)?, scenario))
            });
            let (measure, scenario) = found.ok_or_else(|| Cause::Name {
                kind: "plot",
                name: name.to_owned(),
                known: NAMES.to_owned(),
            })?;
            of_scenario(results, language, measure, scenario)
        }
    }
}

fn of_scenario(
    results: &Results,
    language: Language,
    measure: &Measure,
    scenario: &str,
) -> Result<String, Cause> {
    let entries = results.list(COMPARE, &format!("scenarios[name={scenario}].entries"))?;
    let format: Format = measure.format.parse()?;
    let bar = |entry: &Value| -> Result<Bar, ResultsError> {
        let value = number(entry, &format!("medians.{}", measure.key))?;
        let end = |end: &str| number(entry, &format!("intervals.{}.{end}", measure.key));
        let interval = end("low").and_then(|low| Ok((low, end("high")?))).ok();
        let bound = match text(entry, &format!("bounds.{}", measure.key)).as_deref() {
            Some("at_least") => "≥ ",
            Some("at_most") => "≤ ",
            _ => "",
        };
        let text = format!("{bound}{}{}", format.write_number(value), measure.unit);
        let name = self::text(entry, "server").unwrap_or_default();
        Ok(Bar { name, value, interval, text })
    };
    let drawn = entries.iter().map(bar).collect::<Result<Vec<_>, _>>()?;
    let title = results.text(COMPARE, &format!("scenarios[name={scenario}].title"))?;
    // Its title begins with its name.
    let load = title.split_once(": ").map_or(title.as_str(), |(_, load)| load);
    let title = language.fill("{}: {}", &[&language.data(load)?, language.say(measure.title)?])?;
    let note = if drawn.iter().any(|bar| bar.interval.is_some()) {
        "Medians over blocks. Lines: 95 % intervals. {}"
    } else {
        "Medians over blocks. {}"
    };
    let note = language.fill(note, &[&machine::line(results, language, COMPARE)?])?;
    Ok(bars(&title, &note, &drawn))
}

fn idle_memory(results: &Results, language: Language) -> Result<String, Cause> {
    let format: Format = ",.0".parse()?;
    let bar = |name: &str| -> Result<Bar, Cause> {
        let path = format!("servers[name={name}].idle_connection_bytes");
        let value = results.number(COMPARE, &path)?;
        let text = language.fill("{} bytes", &[&format.write_number(value)])?;
        Ok(Bar { name: name.to_owned(), value, interval: None, text })
    };
    let drawn = MODELS.into_iter().map(bar).collect::<Result<Vec<_>, _>>()?;
    let note = "What the server's own memory (RssAnon) grows by for each; the kernel's part of a socket \
                is not in it. {}";
    let note = language.fill(note, &[&machine::line(results, language, COMPARE)?])?;
    Ok(bars(language.say("an idle connection: memory")?, &note, &drawn))
}

/// The parts of a request's time that a profile tells apart, some of them taken together.
const PARTS: [(&str, &[&str]); 6] = [
    ("kernel, and the way into it", &["kernel", "system calls (libc)"]),
    ("copying, allocator", &["copying", "allocator"]),
    ("runtime", &["runtime"]),
    ("HTTP/2", &["HTTP/2"]),
    ("codec, connection", &["codec", "connection"]),
    ("server, clock", &["server", "clock"]),
];

fn where_time_goes(results: &Results, language: Language, at_depth: bool) -> Result<String, Cause> {
    let format: Format = ".2".parse()?;
    let stack = |name: &str| -> Result<Stack, Cause> {
        let depth = if at_depth { 16 } else { 1 };
        let row = results.value(PROFILES, &format!("rows[server={name},depth={depth}]"))?;
        let share =
            |keys: &[&str]| keys.iter().map(|key| number(&row, &format!("shares.{key}"))).sum();
        let parts =
            PARTS.iter().map(|(_, keys)| share(keys)).collect::<Result<_, ResultsError>>()?;
        let cpu = format.write_number(number(&row, "cpu_us_per_request")?);
        let connections = number(&row, "connections")?;
        let (connections, depth) = (connections.to_string(), depth.to_string());
        let text = language.fill("{} µs a request, {} × {}", &[&cpu, &connections, &depth])?;
        Ok(Stack { name: name.to_owned(), parts, text })
    };
    let drawn = MODELS.into_iter().map(stack).collect::<Result<Vec<_>, _>>()?;
    let title = if at_depth {
        "where a request's CPU time goes, sixteen outstanding on each connection"
    } else {
        "where a request's CPU time goes, one outstanding on each connection"
    };
    let note =
        language.fill("Samples of perf. {}", &[&machine::line(results, language, PROFILES)?])?;
    let parts = language.all(PARTS.map(|(name, _)| name))?;
    Ok(stacks(language.say(title)?, &note, &parts, &drawn))
}

/// A number below one entry.
fn number(entry: &Value, path: &str) -> Result<f64, ResultsError> {
    let in_entry = |error| ResultsError::NoValue { file: COMPARE.to_owned(), error };
    let parsed: Path = path.parse().map_err(in_entry)?;
    parsed
        .find(entry)
        .map_err(in_entry)?
        .as_f64()
        .ok_or_else(|| ResultsError::NoNumber { file: COMPARE.to_owned(), path: path.to_owned() })
}

fn text(entry: &Value, path: &str) -> Option<String> {
    Some(path.parse::<Path>().ok()?.find(entry).ok()?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Results {
        Results::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results"))
    }

    #[test]
    fn every_measure_of_every_scenario_can_be_drawn() {
        let results = committed();
        for scenario in results.list(COMPARE, "scenarios").unwrap() {
            let scenario = text(&scenario, "name").unwrap();
            for measure in &MEASURES {
                let name = format!("{}-{scenario}", measure.name);
                for language in [Language::English, Language::Chinese] {
                    let drawn = plot(&results, language, &name).unwrap();
                    for model in MODELS {
                        assert!(drawn.contains(&format!("class=\"bar {model}\"")), "{model}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_others_can_be_drawn() {
        for name in ["idle-memory", "where-time-goes", "where-time-goes-at-depth"] {
            for language in [Language::English, Language::Chinese] {
                let drawn = plot(&committed(), language, name).unwrap();
                assert!(drawn.contains("<svg"), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_plot_is_refused() {
        let error = |name| plot(&committed(), Language::English, name).unwrap_err().to_string();
        assert!(error("beauty-echo").starts_with("no plot \"beauty-echo\": there are throughput-"));
        assert!(error("cpu-nowhere").contains("[name=nowhere]"));
    }
}
