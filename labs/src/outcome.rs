//! What a lab came to: the medians of its rounds, held against the ranges that it promises.

use serde::{Deserialize, Serialize};

use crate::lab::{Lab, Line, Round, Setting, Unit};

/// As results have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The lab.
    pub name: String,
    /// The setting of its knob.
    pub knob: String,
    /// When it began, in UTC.
    pub date: String,
    /// How long all of it took.
    pub took_s: f64,
    /// How many rounds were measured whole: fewer than planned, once interrupted.
    pub rounds: usize,
    /// Whether all ratios are inside their ranges.
    pub in_shape: bool,
    /// The ratios.
    pub ratios: Vec<Judged>,
    /// The table: medians over rounds.
    pub rows: Vec<Row>,
    /// What is no figure: of the last round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why some of it is to be doubted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A ratio, and whether it is what it must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// What is divided by what.
    pub of: String,
    /// The median over rounds; nothing where one of them has no such number.
    pub value: Option<f64>,
    /// The least and the most of all rounds.
    pub least: Option<f64>,
    /// The same.
    pub most: Option<f64>,
    /// The range in which the median is expected.
    pub low: f64,
    /// The same.
    pub high: f64,
    /// Whether it is.
    pub inside: bool,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub name: String,
    /// Its figures.
    pub cells: Vec<Cell>,
}

/// A figure of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The head that it stands under.
    pub name: String,
    /// `us`, `count`, `bytes` or `part`.
    pub unit: String,
    /// The median over rounds.
    pub value: f64,
}

/// The circumstances of an outcome.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// When it began.
    pub date: String,
    /// How long it took.
    pub took_s: f64,
    /// What is to be doubted.
    pub warnings: Vec<String>,
}

/// Judges what `lab` found with its knob at `setting`; nothing where there is no round.
pub fn judge(lab: &Lab, setting: &Setting, rounds: &[Round], about: About) -> Option<Outcome> {
    let last = rounds.last()?;
    let judged = setting.shape.iter().map(|expected| {
        let values: Vec<f64> = rounds
            .iter()
            .map(|round| round.ratios.get(expected.ratio).copied().unwrap_or(f64::NAN))
            .collect();
        let sorted = sorted(values);
        let value = sorted.as_ref().map(|sorted| middle(sorted));
        Judged {
            name: expected.ratio.to_owned(),
            of: lab.ratio(expected.ratio).map(|ratio| ratio.of.to_owned()).unwrap_or_default(),
            value,
            least: sorted.as_ref().and_then(|sorted| sorted.first().copied()),
            most: sorted.as_ref().and_then(|sorted| sorted.last().copied()),
            low: expected.low,
            high: expected.high,
            inside: value.is_some_and(|value| (expected.low..=expected.high).contains(&value)),
        }
    });
    let ratios: Vec<Judged> = judged.collect();
    Some(Outcome {
        name: lab.name.to_owned(),
        knob: setting.value.to_owned(),
        date: about.date,
        took_s: about.took_s,
        rounds: rounds.len(),
        in_shape: ratios.iter().all(|ratio| ratio.inside),
        ratios,
        rows: rows(rounds, &last.rows),
        notes: last.notes.clone(),
        warnings: about.warnings,
    })
}

/// The medians of each cell. All rounds have the same lines.
fn rows(rounds: &[Round], lines: &[Line]) -> Vec<Row> {
    let row = |(at, line): (usize, &Line)| {
        let cell = |(column, (head, unit, _)): (usize, &(&str, Unit, f64))| {
            let values =
                rounds.iter().filter_map(|round| Some(round.rows.get(at)?.cells.get(column)?.2));
            let value = sorted(values.collect()).map_or(0.0, |values| middle(&values));
            Cell { name: (*head).to_owned(), unit: unit_name(*unit).to_owned(), value }
        };
        let cells = line.cells.iter().enumerate().map(cell).collect();
        Row { name: line.name.clone(), cells }
    };
    lines.iter().enumerate().map(row).collect()
}

/// In order; nothing where one is no number, or there is none.
fn sorted(mut values: Vec<f64>) -> Option<Vec<f64>> {
    values.sort_by(f64::total_cmp);
    (!values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// The median of what is in order, and not empty.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Us => "us",
        Unit::Count => "count",
        Unit::Bytes => "bytes",
        Unit::Part => "part",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Knob, Ratio, expect};

    const SETTING: Setting =
        Setting { value: "on", shape: &[expect("one", 1.0..=2.0), expect("two", 0.0..=0.5)] };
    const LAB: Lab = Lab {
        name: "some",
        title: "Some",
        question: "?",
        choices: &["yes", "no"],
        right: 'a',
        ratios: &[Ratio { name: "one", of: "a / b" }, Ratio { name: "two", of: "c / d" }],
        knob: Knob { what: "", settings: &[SETTING], ask: "" },
        rounds: 3,
        experiment: |_, _| Ok(Round::default()),
        why: "",
        varies: "",
    };

    fn round(one: f64, two: f64) -> Round {
        let mut round = Round::default();
        round.line("x").us("p50", one * 10.0).part("share", two);
        round.ratio("one", one);
        round.ratio("two", two);
        round
    }

    fn judged(rounds: &[Round]) -> Outcome {
        judge(&LAB, &SETTING, rounds, About::default()).unwrap()
    }

    #[test]
    fn the_median_of_the_rounds_counts() {
        let outcome = judged(&[round(1.5, 0.1), round(9.0, 0.2), round(1.2, 0.3)]);
        let one = &outcome.ratios[0];
        assert_eq!((one.value, one.least, one.most), (Some(1.5), Some(1.2), Some(9.0)));
        assert_eq!((one.of.as_str(), one.low, one.high, one.inside), ("a / b", 1.0, 2.0, true));
        assert!(outcome.in_shape && outcome.rounds == 3);
        let cell = &outcome.rows[0].cells[0];
        assert_eq!((cell.name.as_str(), cell.unit.as_str(), cell.value), ("p50", "us", 15.0));
        let two = judged(&[round(1.0, 0.1), round(2.0, 0.3)]);
        assert_eq!((two.ratios[0].value, two.ratios[1].value), (Some(1.5), Some(0.2)));
    }

    #[test]
    fn one_ratio_outside_is_out_of_shape() {
        for (one, two) in [(0.99, 0.1), (2.01, 0.1), (1.5, 0.51)] {
            let outcome = judged(&[round(one, two)]);
            assert!(!outcome.in_shape, "{one} {two}");
            let outside: Vec<&Judged> =
                outcome.ratios.iter().filter(|ratio| !ratio.inside).collect();
            assert_eq!(outside.len(), 1);
        }
        assert!(judged(&[round(1.0, 0.5)]).in_shape, "the ends of a range are inside");
    }

    #[test]
    fn what_is_no_number_is_outside() {
        let outcome = judged(&[round(1.5, 0.1), round(f64::NAN, 0.1), round(1.5, 0.1)]);
        assert_eq!((outcome.ratios[0].value, outcome.ratios[0].inside), (None, false));
        let mut silent = round(1.5, 0.1);
        silent.ratios.remove("two");
        assert!(!judged(&[silent]).in_shape, "a ratio that was not measured");
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    }

    #[test]
    fn no_round_is_no_outcome() {
        assert!(judge(&LAB, &SETTING, &[], About::default()).is_none());
    }
}
