//! Two results of one kind beside each other: each figure, its change, and whether the change is
//! more than the noise within the two. What a single run found has no interval, and it says so.

use serde_json::{Map, Value};

use super::figure::{FIGURES, Figure, Measure, Place};
use super::input::{Document, Source};
use super::rows::{Row, rows};

/// Two results.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What they are called.
    pub labels: [String; 2],
    /// What a reader should know before the figures.
    pub warnings: Vec<String>,
    /// Rows that both have, or one.
    pub groups: Vec<Group>,
}

/// One run, server in a scenario, or point.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which.
    pub title: String,
    /// Its figures.
    pub lines: Vec<Line>,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Which.
    pub figure: &'static Figure,
    /// In the first result and in the second.
    pub measures: [Option<Measure>; 2],
}

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The intervals have nothing in common.
    Differs,
    /// They overlap.
    WithinNoise,
    /// There is no change.
    Same,
    /// There are none: nothing was repeated.
    NoInterval,
    /// Only one result has the figure.
    OnlyOne,
}

/// Why two results cannot be set beside each other.
#[derive(Debug, thiserror::Error)]
#[error("{a} is a {kind_a} and {b} is a {kind_b}; name two results of one kind")]
pub struct KindsDiffer {
    a: String,
    kind_a: &'static str,
    b: String,
    kind_b: &'static str,
}

impl Line {
    /// The second as a part of the first, minus 1; none where the first is 0 or one is absent.
    pub fn relative(&self) -> Option<f64> {
        let [a, b] = self.both()?;
        (a.value != 0.0).then(|| (b.value - a.value) / a.value.abs())
    }

    /// Two intervals of 95 % that do not overlap are a stricter test than one of their difference:
    /// two equal servers look different less than once in a hundred times.
    pub fn change(&self) -> Change {
        let Some([a, b]) = self.both() else { return Change::OnlyOne };
        if a == b {
            return Change::Same;
        }
        match (a.interval, b.interval) {
            (Some(a), Some(b)) if a.high < b.low || b.high < a.low => Change::Differs,
            (Some(_), Some(_)) => Change::WithinNoise,
            _ => Change::NoInterval,
        }
    }

    fn both(&self) -> Option<[Measure; 2]> {
        let [a, b] = self.measures;
        Some([a?, b?])
    }
}

impl Change {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::WithinNoise => "noise",
            Self::Same => "same",
            Self::NoInterval => "?",
            Self::OnlyOne => "only one",
        }
    }
}

/// Sets two results beside each other.
///
/// # Errors
/// If they are of different kinds.
pub fn difference(a: &Source, b: &Source) -> Result<Difference, KindsDiffer> {
    let (kind_a, kind_b) = (a.document.kind(), b.document.kind());
    if kind_a != kind_b {
        let (a, b) = (a.label.clone(), b.label.clone());
        return Err(KindsDiffer { a, kind_a, b, kind_b });
    }
    let (rows_a, mut rows_b) = (rows(a), rows(b));
    let alone = matches!(a.document, Document::Run(_));
    let mut groups = Vec::new();
    for row in &rows_a {
        let place = rows_b.iter().position(|other| same(row, other));
        let other = place.map(|place| rows_b.remove(place));
        groups.push(group([Some(row), other.as_ref()], alone));
    }
    groups.extend(rows_b.iter().map(|row| group([None, Some(row)], alone)));
    groups.retain(|group| !group.lines.is_empty());
    let mut warnings = changes("environment", &a.environment, &b.environment);
    warnings.extend(changes("settings", &a.flags, &b.flags));
    warnings.extend(invalid(&a.label, &rows_a));
    warnings.extend(invalid(&b.label, &rows(b)));
    Ok(Difference { labels: [a.label.clone(), b.label.clone()], warnings, groups })
}

/// Whether two rows are of the same thing. Runs are compared whatever they ran on.
fn same(a: &Row, b: &Row) -> bool {
    let scenario = matches!(a.kind, "run" | "step") || a.scenario == b.scenario;
    a.kind == b.kind && scenario && a.server == b.server && a.parameter == b.parameter
}

fn group(pair: [Option<&Row>; 2], alone: bool) -> Group {
    let of = |figure: &Figure| pair.map(|row| row?.measures.get(figure.name).copied());
    let open = pair.into_iter().flatten().any(|row| row.load.rate_rps.is_some());
    let placed = |figure: &&Figure| match figure.place {
        Place::Always => true,
        Place::Times => alone || open,
        Place::Ratios => !open,
        Place::Ledger | Place::Alone => alone,
    };
    let lines = FIGURES
        .iter()
        .filter(placed)
        .map(|figure| Line { figure, measures: of(figure) })
        .filter(|line| line.measures.iter().any(Option::is_some));
    let title = pair.into_iter().flatten().next().map(title).unwrap_or_default();
    Group { title, lines: lines.collect() }
}

fn title(row: &Row) -> String {
    let parameter = row.parameter.as_ref().map(|(name, value)| format!("{name} {value}"));
    let scenario = match row.kind {
        "run" | "step" | "point" => row.kind.to_owned(), // the rest is in the parameter
        "slope" => format!("{} connection", row.scenario),
        _ => row.scenario.clone(),
    };
    let parts = [Some(scenario), parameter, Some(row.server.clone())];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// What two files say otherwise of what they ran on, or how. Every run has its own date.
fn changes(what: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).filter(|name| *name != "date").collect();
    names.sort();
    names.dedup();
    let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .map(|name| format!("{what}: {name} was {}, is {}", text(a.get(name)), text(b.get(name))))
        .collect()
}

fn invalid(label: &str, rows: &[Row]) -> Option<String> {
    let blocks: usize = rows.iter().map(|row| row.blocks_invalid).sum();
    let plain = rows.iter().filter(|row| row.blocks == 0 && row.valid == Some(false)).count();
    match (blocks, plain) {
        (0, 0) => None,
        (0, _) => Some(format!("{label} is not valid: its figures should not be believed")),
        (some, _) => Some(format!("{label} has {some} invalid blocks; see its report")),
    }
}
