//! Where a choice turns round, from `crossovers.json`: in a sentence, and drawn.

use serde_json::Value;

use crate::format::Format;
use crate::lines::{Line, Point, lines};
use crate::machine;
use crate::results::{Results, ResultsError};

const CROSSOVERS: &str = "crossovers.json";
/// The line that the ratio crosses.
const LEVEL: &str = "level";

fn at(name: &str, key: &str) -> String {
    format!("crossovers[name={name}].{key}")
}

/// From where on it is so, with the interval of that, or that it was so nowhere or everywhere.
///
/// # Errors
/// If there is no such question, or no answer to it.
pub fn sentence(results: &Results, name: &str) -> Result<String, ResultsError> {
    let text = |key: &str| results.text(CROSSOVERS, &at(name, key));
    let number = |key: &str| results.number(CROSSOVERS, &at(name, key)).map(shown);
    let (asks, parameter, x) = (text("asks")?, text("parameter")?, number("at.estimate")?);
    Ok(match text("place")?.as_str() {
        "before" => format!("At each point measured, from **{x}** {parameter} on, {asks}."),
        "beyond" => {
            format!("Up to **{x}** {parameter}, the last point measured, it is not so that {asks}.")
        }
        _ => {
            let (low, high) = (number("at.low")?, number("at.high")?);
            format!("From **{x}** ({low}–{high}) {parameter} on, {asks}.")
        }
    })
}

/// The ratio at each point, and the level that it crosses.
///
/// # Errors
/// As [`sentence`].
pub fn plot(results: &Results, name: &str) -> Result<String, ResultsError> {
    let text = |key: &str| results.text(CROSSOVERS, &at(name, key));
    let number = |path: &str| results.number(CROSSOVERS, &at(name, path));
    let points = results.list(CROSSOVERS, &at(name, "points"))?;
    let point = |(index, value): (usize, &Value)| -> Result<Point, ResultsError> {
        let bound = |end: &str| value["ratio"]["interval"][end].as_f64();
        Ok(Point {
            x: number(&format!("points[{index}].x"))?,
            y: number(&format!("points[{index}].ratio.value"))?,
            interval: bound("low").zip(bound("high")),
        })
    };
    let ratios = points.iter().enumerate().map(point).collect::<Result<Vec<_>, _>>()?;
    let level = number("level")?;
    let flat = |point: &Point| Point { x: point.x, y: level, interval: None };
    let level = Line { name: LEVEL.to_owned(), points: ratios.iter().map(flat).collect() };
    let (first, second) = (text("contenders[0]")?, text("contenders[1]")?);
    // The colour is the model's, which is the first word of a contender's name.
    let model = second.split([',', ' ']).next().unwrap_or_default().to_owned();
    let title = format!("{second}: requests per second, as a part of those of {first}");
    let note = format!(
        "Medians of ratios of interleaved blocks, 95 % intervals. {}",
        machine::line(results, CROSSOVERS)?
    );
    let drawn = [level, Line { name: model, points: ratios }];
    Ok(lines(&title, &note, &text("parameter")?, Format::default(), &drawn))
}

/// Two digits say all that is known, and whole numbers have no point.
fn shown(x: f64) -> String {
    match x {
        x if x < 1.0 => format!("{x:.2}"),
        x if x < 10.0 && x.fract() != 0.0 => format!("{x:.1}"),
        _ => Format::default().write_number(x.round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(place: &str) -> (tempfile::TempDir, Results) {
        let folder = tempfile::tempdir().unwrap();
        let ratio = |value: f64| serde_json::json!({"value": value, "interval": {"low": value, "high": value}});
        let found = serde_json::json!({
            "environment": {"cpu_model": "A", "cores": 2, "kernel": "6", "date": "2026-01-02"},
            "crossovers": [{
                "name": "threads",
                "parameter": "connections",
                "asks": "it is so",
                "level": 0.8,
                "contenders": ["epoll", "threads, bare"],
                "place": place,
                "at": {"estimate": 4.2, "low": 2.0, "high": 16.0},
                "points": [{"x": 1.0, "ratio": ratio(1.0)}, {"x": 16.0, "ratio": ratio(0.5)}],
            }],
        });
        std::fs::write(folder.path().join(CROSSOVERS), found.to_string()).unwrap();
        let results = Results::new(folder.path().to_owned());
        (folder, results)
    }

    #[test]
    fn a_sentence_says_where_it_lies() {
        let said = |place| {
            let (_folder, results) = results(place);
            sentence(&results, "threads").unwrap()
        };
        assert_eq!(said("between"), "From **4.2** (2–16) connections on, it is so.");
        assert!(said("before").starts_with("At each point measured, from **4.2** connections on"));
        assert!(said("beyond").starts_with("Up to **4.2** connections, the last point measured"));
    }

    #[test]
    fn the_level_is_drawn_beside_the_ratio() {
        let (_folder, results) = results("between");
        let drawn = plot(&results, "threads").unwrap();
        assert_eq!(drawn.matches("class=\"line level\"").count(), 1, "{drawn}");
        assert_eq!(drawn.matches("class=\"line threads\"").count(), 1, "{drawn}");
        assert!(drawn.contains("as a part of those of epoll"), "{drawn}");
    }

    #[test]
    fn what_was_not_asked_is_an_error() {
        let (_folder, results) = results("between");
        assert!(sentence(&results, "x").unwrap_err().to_string().contains("name=x"));
        assert!(plot(&results, "x").unwrap_err().to_string().contains("name=x"));
    }
}
