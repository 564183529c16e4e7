//! What a sweep found (`quintet/sweep/1`), as lines: a measure over what it went over, by server.

use serde_json::Value;

use crate::language::Language;
use crate::lines::{Line, Point, lines};
use crate::plot::MEASURES;
use crate::results::{Results, ResultsError};
use crate::{Cause, machine};

/// How the axis of a measure is written: shorter than the figures themselves.
const AXES: [(&str, &str); 4] =
    [("throughput", "k"), ("p50", "ms"), ("p99", "ms"), ("memory", "MiB")];

/// Draws `measure` (a name of a plot of the comparison) of the sweep in `file`.
///
/// # Errors
/// If there is no such measure, or the file is no sweep.
pub fn sweep(
    results: &Results,
    language: Language,
    file: &str,
    measure: &str,
) -> Result<String, Cause> {
    let known = MEASURES.iter().find(|known| known.name == measure).ok_or_else(|| Cause::Name {
        kind: "measure",
        name: measure.to_owned(),
        known: MEASURES.map(|known| known.name).join(", "),
    })?;
    let drawn = by_server(&results.list(file, "points")?, known.key);
    let drawn = drawn.ok_or_else(|| ResultsError::NoNumber {
        file: file.to_owned(),
        path: format!("medians.{} of a point", known.key),
    })?;
    let (work, parameter) = (results.text(file, "flags.work")?, results.text(file, "parameter")?);
    let title = language.fill("{}: {}", &[&work, language.say(known.title)?])?;
    let note = "Medians over blocks, 95 % intervals. {}";
    let note = language.fill(note, &[&machine::line(results, language, file)?])?;
    let axis = AXES.iter().find(|(name, _)| *name == measure).map_or("", |(_, axis)| axis);
    Ok(lines(&title, &note, &language.data(&parameter)?, axis.parse()?, &drawn))
}

/// A line for each server; nothing where a point lacks its figure.
fn by_server(points: &[Value], key: &str) -> Option<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for point in points {
        for entry in point["entries"].as_array()? {
            let interval = &entry["intervals"][key];
            let made = Point {
                x: point["value"].as_f64()?,
                y: entry["medians"][key].as_f64()?,
                interval: interval["low"].as_f64().zip(interval["high"].as_f64()),
            };
            let name = entry["server"].as_str()?;
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(made),
                None => lines.push(Line {
                    name: name.to_owned(),
                    class: name.to_owned(),
                    points: vec![made],
                }),
            }
        }
    }
    // A sweep's points are in the order in which they were asked for.
    for line in &mut lines {
        line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(language: Language, measure: &str) -> Result<String, String> {
        let entry = |server: &str, rps: f64| {
            json!({
                "server": server,
                "medians": {"throughput_rps": rps},
                "intervals": {"throughput_rps": {"low": rps, "high": rps}},
            })
        };
        let point = |value: f64| json!({"value": value, "entries": [entry("epoll", 1e3 * value), entry("pool", 9e2)]});
        let sweep = json!({
            "environment": {"cpu_model": "A", "cores": 2, "kernel": "6", "date": "2026-01-02"},
            "flags": {"work": "echo:64"},
            "parameter": "connections",
            "points": [point(64.0), point(1.0), point(8.0)],
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.json"), sweep.to_string()).unwrap();
        let results = Results::new(folder.path().to_owned());
        super::sweep(&results, language, "s.json", measure).map_err(|error| error.to_string())
    }

    #[test]
    fn each_server_has_a_line_from_the_first_value_to_the_last() {
        let drawn = drawn(Language::English, "throughput").unwrap();
        for name in ["epoll", "pool"] {
            assert_eq!(drawn.matches(&format!("class=\"bar {name}\"")).count(), 3, "{drawn}");
            assert_eq!(drawn.matches(&format!("class=\"line {name}\"")).count(), 2, "{drawn}");
        }
        let first = drawn.find("class=\"line epoll\" x1=\"50\"");
        assert!(first.is_some(), "the least value stands on the left: {drawn}");
        assert!(drawn.contains("echo:64: requests answered per second"));
        let drawn = self::drawn(Language::Chinese, "throughput").unwrap();
        assert!(
            drawn.contains("echo:64：每秒回答的请求数") && drawn.contains(">连接数<"),
            "{drawn}"
        );
    }

    #[test]
    fn what_it_has_not_is_refused() {
        let drawn = |measure| drawn(Language::English, measure);
        assert!(drawn("beauty").unwrap_err().starts_with("no measure \"beauty\": there are"));
        assert!(drawn("cpu").unwrap_err().contains("cpu_us_per_request of a point"));
    }
}
