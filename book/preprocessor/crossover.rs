//! Where a choice turns round, from `crossovers.json`: in a sentence, and drawn.

use serde_json::Value;

use crate::format::Format;
use crate::language::Language;
use crate::lines::{Line, Point, lines};
use crate::results::{Results, ResultsError};
use crate::{Cause, machine};

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
pub fn sentence(results: &Results, language: Language, name: &str) -> Result<String, Cause> {
    let text = |key: &str| results.text(CROSSOVERS, &at(name, key));
    let number = |key: &str| results.number(CROSSOVERS, &at(name, key)).map(shown);
    let (asks, parameter) = (language.data(&text("asks")?)?, language.data(&text("parameter")?)?);
    let x = number("at.estimate")?;
    match text("place")?.as_str() {
        "before" => {
            let said = "At each point measured, from **{}** {} on, {}.";
            language.fill(said, &[&x, &parameter, &asks])
        }
        "beyond" => {
            let said = "Up to **{}** {}, the last point measured, it is not so that {}.";
            language.fill(said, &[&x, &parameter, &asks])
        }
        _ => {
            let (low, high) = (number("at.low")?, number("at.high")?);
            let said = "From **{}** ({}–{}) {} on, {}.";
            language.fill(said, &[&x, &low, &high, &parameter, &asks])
        }
    }
}

/// The ratio at each point, and the level that it crosses.
///
/// # Errors
/// As [`sentence`].
pub fn plot(results: &Results, language: Language, name: &str) -> Result<String, Cause> {
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
    let level = Line {
        name: language.say(LEVEL)?.to_owned(),
        class: LEVEL.to_owned(),
        points: ratios.iter().map(flat).collect(),
    };
    let (first, second) = (text("contenders[0]")?, text("contenders[1]")?);
    // The colour is the model's, which is the first word of a contender's name.
    let model = second.split([',', ' ']).next().unwrap_or_default().to_owned();
    let title = "{}: requests per second, as a part of those of {}";
    let title = language.fill(title, &[&language.data(&second)?, &language.data(&first)?])?;
    let note = "Medians of ratios of interleaved blocks, 95 % intervals. {}";
    let note = language.fill(note, &[&machine::line(results, language, CROSSOVERS)?])?;
    let drawn = [level, Line { name: model.clone(), class: model, points: ratios }];
    let parameter = language.data(&text("parameter")?)?;
    Ok(lines(&title, &note, &parameter, Format::default(), &drawn))
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

    const ASKS: &str = "threads and an event loop are within a tenth of each other";

    fn results(place: &str) -> (tempfile::TempDir, Results) {
        let folder = tempfile::tempdir().unwrap();
        let ratio = |value: f64| serde_json::json!({"value": value, "interval": {"low": value, "high": value}});
        let found = serde_json::json!({
            "environment": {"cpu_model": "A", "cores": 2, "kernel": "6", "date": "2026-01-02"},
            "crossovers": [{
                "name": "threads",
                "parameter": "connections",
                "asks": ASKS,
                "level": 0.8,
                "contenders": ["epoll", "threads"],
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
            sentence(&results, Language::English, "threads").unwrap()
        };
        assert_eq!(said("between"), format!("From **4.2** (2–16) connections on, {ASKS}."));
        assert!(said("before").starts_with("At each point measured, from **4.2** connections on"));
        assert!(said("beyond").starts_with("Up to **4.2** connections, the last point measured"));
        let (_folder, results) = results("between");
        let chinese = sentence(&results, Language::Chinese, "threads").unwrap();
        assert_eq!(chinese, "连接数达到 **4.2**（2–16）之后，线程与事件循环相差不到十分之一。");
    }

    #[test]
    fn the_level_is_drawn_beside_the_ratio() {
        let (_folder, results) = results("between");
        let drawn = plot(&results, Language::English, "threads").unwrap();
        assert_eq!(drawn.matches("class=\"line level\"").count(), 1, "{drawn}");
        assert_eq!(drawn.matches("class=\"line threads\"").count(), 1, "{drawn}");
        assert!(drawn.contains("as a part of those of epoll"), "{drawn}");
    }

    #[test]
    fn what_was_not_asked_is_an_error() {
        let (_folder, results) = results("between");
        assert!(
            sentence(&results, Language::English, "x").unwrap_err().to_string().contains("name=x")
        );
        assert!(plot(&results, Language::English, "x").unwrap_err().to_string().contains("name=x"));
    }
}
