//! Two results of one kind beside each other: each figure, its change, and whether the change is
//! more than the noise within the two. What a single run found has no interval, and it says so.

use std::fmt::Write;

use console::style;
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
        Place::Alone => alone,
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

/// For a terminal: below 100 columns, in colours where there are any.
pub fn terminal(difference: &Difference) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, difference);
    out
}

const FIGURE_WIDTH: usize = 24;
const VALUE_WIDTH: usize = 25;
const CHANGE_WIDTH: usize = 9;

fn write_terminal(out: &mut String, difference: &Difference) -> std::fmt::Result {
    let [a, b] = &difference.labels;
    for warning in &difference.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    let (a, b) = (shortened(a), shortened(b));
    let head = format!(
        "  {:<FIGURE_WIDTH$} {a:>VALUE_WIDTH$} {b:>VALUE_WIDTH$} {:>CHANGE_WIDTH$}",
        "", "change"
    );
    writeln!(out, "{}", style(head).dim())?;
    for group in &difference.groups {
        writeln!(out, "{}", style(&group.title).bold())?;
        for line in &group.lines {
            let [a, b] = line.measures.map(|measure| compact(line.figure, measure));
            let change = relative(line);
            let text = format!(
                "  {:<FIGURE_WIDTH$} {a:>VALUE_WIDTH$} {b:>VALUE_WIDTH$} {change:>CHANGE_WIDTH$}",
                line.figure.head
            );
            match line.change() {
                Change::Differs => writeln!(out, "{text}  {}", style("differs").yellow().bold())?,
                change => writeln!(out, "{text}  {}", style(change.word()).dim())?,
            }
        }
    }
    writeln!(out, "{}", style(sum(difference, '\n')).dim())
}

impl Change {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::WithinNoise => "noise",
            Self::NoInterval => "?",
            Self::OnlyOne => "only one",
        }
    }
}

/// The end of a long name, which is what tells two paths apart.
fn shortened(label: &str) -> String {
    let length = label.chars().count();
    if length <= VALUE_WIDTH {
        return label.to_owned();
    }
    std::iter::once('…').chain(label.chars().skip(length - VALUE_WIDTH + 1)).collect()
}

/// A value with the ends of its interval in percent of it: `176,114 -3.1/+2.4 %`.
fn compact(figure: &Figure, measure: Option<Measure>) -> String {
    let Some(Measure { value, interval }) = measure else { return "-".to_owned() };
    let text = (figure.show)(value);
    match interval.filter(|interval| value != 0.0 && interval.low < interval.high) {
        Some(interval) => {
            let percent = |end: f64| (end - value) / value.abs() * 100.0;
            format!("{text} {:+.1}/{:+.1} %", percent(interval.low), percent(interval.high))
        }
        None => text,
    }
}

fn relative(line: &Line) -> String {
    line.relative().map_or_else(String::new, |part| format!("{:+.1} %", part * 100.0))
}

/// What the verdicts rest on.
fn sum(difference: &Difference, between: char) -> String {
    let lines: Vec<&Line> = difference.groups.iter().flat_map(|group| &group.lines).collect();
    let count = |change| lines.iter().filter(|line| line.change() == change).count();
    let (differ, noise) = (count(Change::Differs), count(Change::WithinNoise));
    let mut said = Vec::new();
    if differ + noise > 0 {
        said.push(format!(
            "{differ} of {} figures differ: their intervals do not overlap. An interval is the noise",
            differ + noise
        ));
        said.push(
            "between the blocks of one file; what changed on the machine between the two is not \
             in it."
                .to_owned(),
        );
    }
    if count(Change::NoInterval) > 0 {
        said.push(
            "?: one of them was not repeated, so nothing can be said of noise; use `loadtest \
             compare`."
                .to_owned(),
        );
    }
    said.join(&between.to_string())
}

/// The same as Markdown.
pub fn markdown(difference: &Difference) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, difference);
    out
}

fn write_markdown(out: &mut String, difference: &Difference) -> std::fmt::Result {
    use super::markdown::escape;
    let [a, b] = &difference.labels;
    for warning in &difference.warnings {
        writeln!(out, "- {}", escape(warning))?;
    }
    writeln!(out, "\n| | figure | {} | {} | change | |", escape(a), escape(b))?;
    writeln!(out, "|:--|:--|--:|--:|--:|:--|")?;
    for group in &difference.groups {
        for line in &group.lines {
            let [a, b] = line.measures.map(|measure| escape(&whole(line.figure, measure)));
            let (title, head) = (escape(&group.title), escape(line.figure.head));
            let (change, word) = (relative(line), line.change().word());
            writeln!(out, "| {title} | {head} | {a} | {b} | {change} | {word} |")?;
        }
    }
    writeln!(out, "\n{}", sum(difference, ' '))
}

/// A value with its interval.
fn whole(figure: &Figure, measure: Option<Measure>) -> String {
    let Some(Measure { value, interval }) = measure else { return "-".to_owned() };
    let show = figure.show;
    match interval {
        Some(ends) => format!("{} ({} to {})", show(value), show(ends.low), show(ends.high)),
        None => show(value),
    }
}
