//! A lab for people: its question, and what came of it.

use std::fmt::Write;

use console::style;
use loadtest::compare::grid::{Grid, Row, Tone};
use loadtest::terminal::{grouped, time, wrapped};

use crate::lab::{Lab, Setting};
use crate::outcome::{Cell, Judged, Outcome};

/// What fits beside an editor, and on a slide.
const COLUMNS: usize = 96;

/// The list of labs.
pub fn list(labs: &[Lab]) -> String {
    let mut text = String::new();
    for lab in labs {
        let _ = writeln!(text, "  {:<16} {}", style(lab.name).cyan(), lab.title);
    }
    let _ = writeln!(text, "\ncargo lab NAME asks, runs and explains one of them.");
    text
}

/// The question, and the answers to choose from.
pub fn question(lab: &Lab) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}\n", style(lab.name).cyan().bold(), lab.title);
    paragraph(&mut text, "  ", "  ", lab.question);
    text.push('\n');
    for (letter, choice) in lab.letters().zip(lab.choices) {
        paragraph(&mut text, &format!("  {letter}) "), "     ", choice);
    }
    text
}

/// What was measured, whether it is in shape, which answer was right, why, and what to change next.
pub fn outcome(lab: &Lab, setting: &Setting, outcome: &Outcome, answer: Option<char>) -> String {
    let mut text = String::new();
    measured(&mut text, outcome);
    verdict(&mut text, lab, outcome);
    // Writing to a String does not fail.
    let _ = writeln!(text);
    if is_default(lab, setting) {
        let _ = writeln!(text, "  {}", right(lab, answer));
        paragraph(&mut text, "  ", "  ", lab.why);
        let _ = writeln!(text);
        next(&mut text, lab);
    }
    text
}

/// The table and the ratios alone, as `all` shows them.
pub fn short(lab: &Lab, outcome: &Outcome) -> String {
    let mut text = String::new();
    measured(&mut text, outcome);
    verdict(&mut text, lab, outcome);
    text
}

/// One line for each lab, and one for all.
pub fn summary(outcomes: &[Outcome], planned: usize) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let in_shape =
            if outcome.in_shape { style("in shape").green() } else { style("outside").red() };
        let name = format!("{} --knob {}", outcome.name, outcome.knob);
        let _ = writeln!(text, "  {name:<32} {in_shape}  in {:.0} s", outcome.took_s);
    }
    let in_shape = outcomes.iter().filter(|outcome| outcome.in_shape).count();
    let _ = writeln!(text, "{in_shape} of {planned} in shape");
    text
}

fn is_default(lab: &Lab, setting: &Setting) -> bool {
    lab.setting(None).is_some_and(|default| default.value == setting.value)
}

fn measured(text: &mut String, outcome: &Outcome) {
    if !outcome.notes.is_empty() {
        let _ = writeln!(text, "\n  {}", outcome.notes.join("\n  "));
    }
    let Some(first) = outcome.rows.first() else { return };
    let heads: Vec<&str> = first.cells.iter().map(|cell| cell.name.as_str()).collect();
    let mut grid = Grid::new("", &heads);
    grid.rows.extend(outcome.rows.iter().map(|row| Row {
        name: row.name.clone(),
        cells: row.cells.iter().map(figure).collect(),
        tone: Tone::Plain,
    }));
    let _ = writeln!(text).and_then(|()| grid.terminal(text));
}

/// The ratios beside what was expected, and what varies where one is not inside.
fn verdict(text: &mut String, lab: &Lab, outcome: &Outcome) {
    let _ = writeln!(text);
    for ratio in &outcome.ratios {
        let inside = if ratio.inside { style("in shape").green() } else { style("outside").red() };
        paragraph(text, "  ", "  ", &format!("{}:", ratio.of));
        let measured = ratio.value.map_or_else(|| "no number".to_owned(), shown);
        let expected = range(ratio);
        let _ = writeln!(
            text,
            "    {}, expected {expected}: {inside}{}",
            style(measured).bold(),
            spread(ratio)
        );
    }
    if !outcome.in_shape {
        let varies = format!("What varies: {}", lab.varies);
        paragraph(text, "  ", "  ", &varies);
    }
    for warning in &outcome.warnings {
        paragraph(text, "  note: ", "        ", warning);
    }
}

/// `1.5 to 10`, as pages have it too.
pub fn range(ratio: &Judged) -> String {
    bounds(ratio.low, ratio.high)
}

/// `1.5 to 10`.
pub fn bounds(low: f64, high: f64) -> String {
    let short = |value: f64| {
        if value >= 1000.0 { grouped(value) } else { format!("{value}") }
    };
    format!("{} to {}", short(low), short(high))
}

fn spread(ratio: &Judged) -> String {
    match (ratio.least, ratio.most) {
        (Some(least), Some(most)) if least < most => {
            format!(" (rounds: {} to {})", shown(least), shown(most))
        }
        _ => String::new(),
    }
}

fn right(lab: &Lab, answer: Option<char>) -> String {
    let right = lab.right;
    match answer {
        Some(answer) if answer == right => {
            format!("{} is right, and you said so.", style(right).green().bold())
        }
        Some(answer) => format!("{} is right; you said {answer}.", style(right).green().bold()),
        None => format!("{} is right.", style(right).green().bold()),
    }
}

fn next(text: &mut String, lab: &Lab) {
    let Some(other) = lab.knob.settings.get(1) else { return };
    let values: Vec<&str> = lab.knob.settings.iter().map(|setting| setting.value).collect();
    let command = format!("cargo lab {} --knob {}", lab.name, other.value);
    let _ = writeln!(text, "  Change one knob: {}", style(command).cyan());
    paragraph(text, "  ", "  ", &format!("({}: {})", lab.knob.what, values.join(", ")));
    paragraph(text, "  ", "  ", lab.knob.ask);
}

fn figure(cell: &Cell) -> String {
    match cell.unit.as_str() {
        "us" => time(cell.value),
        "bytes" if cell.value >= 1024.0 * 1024.0 => format!("{:.1} MiB", cell.value / 1_048_576.0),
        "bytes" if cell.value >= 10.0 * 1024.0 => format!("{:.1} KiB", cell.value / 1024.0),
        "bytes" => format!("{} B", grouped(cell.value)),
        "part" => format!("{:.0} %", cell.value * 100.0),
        _ => grouped(cell.value),
    }
}

/// A ratio in as many digits as it has a meaning.
fn shown(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 100.0 => grouped(ratio),
        ratio if ratio >= 10.0 => format!("{ratio:.1}"),
        ratio if ratio >= 0.1 || ratio == 0.0 => format!("{ratio:.2}"),
        ratio => format!("{ratio:.4}"),
    }
}

fn paragraph(text: &mut String, first: &str, others: &str, words: &str) {
    let lines = wrapped(words, COLUMNS - others.len());
    let _ = writeln!(text, "{first}{}", lines.join(&format!("\n{others}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_short_as_they_are_exact() {
        assert_eq!(bounds(0.0, 0.05), "0 to 0.05");
        assert_eq!(bounds(8.0, 5000.0), "8 to 5,000");
        assert_eq!(bounds(0.85, 1.05), "0.85 to 1.05");
    }

    #[test]
    fn ratios_have_the_digits_that_mean_something() {
        let all = [152.34, 12.34, 1.234, 0.0, 0.1234, 0.00456].map(shown);
        assert_eq!(all, ["152", "12.3", "1.23", "0.00", "0.12", "0.0046"]);
    }
}
