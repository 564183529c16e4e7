//! Two results beside each other as people read them: on a terminal, and as Markdown.

use std::fmt::Write;

use console::style;

use super::diff::{Change, Difference, Line};
use super::figure::{Figure, Measure};
use super::markdown::escape;

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
    let differ = count(Change::Differs);
    let noise = count(Change::WithinNoise) + count(Change::Same);
    let mut said = Vec::new();
    if differ + noise > 0 {
        said.push(format!(
            "{differ} of {} figures differ: their intervals do not overlap. An interval is the",
            differ + noise
        ));
        said.push(
            "noise between the blocks of one file, and knows nothing of what changed from one to the \
             other."
                .to_owned(),
        );
    }
    if count(Change::NoInterval) > 0 {
        said.push(
            "?: nothing can be said of noise, for no interval is known. A single run has none: \
             use compare."
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
