//! A table of cells, drawn for a terminal and as Markdown.
//!
//! Both are made from the same cells, so neither can say what the other does not.

use std::fmt::Write;

use console::style;

use crate::environment::Environment;
use crate::statistics::Interval;

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// How a row stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Above the others.
    Best,
    /// Like most.
    Plain,
    /// Below them.
    Faint,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub name: String,
    /// One for each head of its grid.
    pub cells: Vec<String>,
    /// How it stands out.
    pub tone: Tone,
}

/// Heads and rows; every row has a cell for each head. Without rows nothing is drawn: heads alone,
/// where a measurement was interrupted early, say nothing.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Above the names.
    pub corner: &'static str,
    /// Above the cells.
    pub heads: Vec<String>,
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
}

impl Grid {
    /// One without rows.
    pub fn new(corner: &'static str, heads: &[&str]) -> Self {
        Self { corner, heads: heads.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Aligned, in colours where there are any.
    ///
    /// # Errors
    /// None where `out` is a string.
    pub fn terminal(&self, out: &mut String) -> std::fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let width = |text: &str| text.chars().count();
        let widest = |texts: &mut dyn Iterator<Item = &String>, head: &str| {
            texts.map(|text| width(text)).fold(width(head), usize::max)
        };
        let names = widest(&mut self.rows.iter().map(|row| &row.name), self.corner);
        let columns = self.heads.iter().enumerate();
        let widths: Vec<usize> = columns
            .map(|(at, head)| widest(&mut self.rows.iter().map(|row| &row.cells[at]), head))
            .collect();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths);
            cells.fold(String::new(), |line, (cell, width)| format!("{line}  {cell:>width$}"))
        };
        let head = format!("{:<names$}{}", self.corner, line(&self.heads));
        writeln!(out, "  {}", style(head).dim())?;
        for row in &self.rows {
            let name = format!("{:<names$}", row.name);
            let cells = line(&row.cells);
            match row.tone {
                Tone::Best => writeln!(out, "  {}{cells}", style(name).green().bold())?,
                Tone::Plain => writeln!(out, "  {}{cells}", style(name).cyan())?,
                Tone::Faint => writeln!(out, "  {}", style(format!("{name}{cells}")).dim())?,
            }
        }
        Ok(())
    }

    pub(crate) fn markdown(&self, out: &mut String) -> std::fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "| {} | {} |", self.corner, self.heads.join(" | "))?;
        writeln!(out, "|:--|{}", "--:|".repeat(self.heads.len()))?;
        for row in &self.rows {
            writeln!(out, "| {} | {} |", row.name, row.cells.join(" | "))?;
        }
        writeln!(out)
    }
}

/// What it was measured on, in one line.
pub(crate) fn measured_on(environment: &Environment) -> String {
    let Environment { cpu_model, cores, kernel, rust_version, date, git_revision, .. } =
        environment;
    let rust = rust_version.as_deref().unwrap_or("unknown compiler");
    let revision = git_revision.as_deref().unwrap_or("unknown");
    format!("{cpu_model}, {cores} cores, Linux {kernel}, {rust}; {date}, revision {revision}")
}

/// A figure of so many digits, where there is one.
pub(crate) fn digits(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
}

/// Half of the interval's width beside its estimate.
pub(crate) fn plus_minus(interval: Option<Interval>) -> String {
    let percent = |interval: Interval| format!("{:.0} %", interval.half_width() * 100.0);
    interval.map_or_else(|| NOTHING.to_owned(), percent)
}

/// A ratio's bounds, as short as they can be: `.91–1.03`.
pub(crate) fn range(interval: Interval) -> String {
    let short = |value: f64| {
        let text = format!("{value:.2}");
        text.strip_prefix('0').map_or_else(|| text.clone(), str::to_owned)
    };
    format!("{}–{}", short(interval.low), short(interval.high))
}

/// A ratio with its interval: `0.97 (.91–1.03)`.
pub(crate) fn ratio(value: Option<f64>, interval: Option<Interval>) -> String {
    match interval {
        Some(interval) => format!("{} ({})", digits(value, 2), range(interval)),
        None => digits(value, 2),
    }
}

/// The bounds of a time in the unit of the higher one: `0.17–1.61 ms`.
pub(crate) fn times(interval: Interval) -> String {
    let (divisor, unit) = match interval.high {
        high if high < 1e3 => (1.0, "us"),
        high if high < 1e6 => (1e3, "ms"),
        _ => (1e6, "s"),
    };
    let (low, high) = (interval.low / divisor, interval.high / divisor);
    let digits = if high < 10.0 { 2 } else { 0 };
    format!("{low:.digits$}–{high:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_cells() {
        let mut grid = Grid::new("server", &["a", "bb"]);
        for (name, tone) in [("epoll", Tone::Best), ("floor", Tone::Faint)] {
            let cells = vec!["1,000".to_owned(), NOTHING.to_owned()];
            grid.rows.push(Row { name: name.to_owned(), cells, tone });
        }
        let (mut terminal, mut markdown) = (String::new(), String::new());
        grid.terminal(&mut terminal).unwrap();
        grid.markdown(&mut markdown).unwrap();
        let plain = console::strip_ansi_codes(&terminal).into_owned();
        assert_eq!(plain, "  server      a  bb\n  epoll   1,000   -\n  floor   1,000   -\n");
        let head = "| server | a | bb |\n|:--|--:|--:|\n";
        assert_eq!(markdown, format!("{head}| epoll | 1,000 | - |\n| floor | 1,000 | - |\n\n"));
    }

    #[test]
    fn without_rows_there_is_nothing_to_see() {
        let grid = Grid::new("server", &["a"]);
        let (mut terminal, mut markdown) = (String::new(), String::new());
        grid.terminal(&mut terminal).unwrap();
        grid.markdown(&mut markdown).unwrap();
        assert_eq!((terminal, markdown), Default::default());
    }

    #[test]
    fn ratios_are_short() {
        let interval = Interval { estimate: 0.97, low: 0.914, high: 1.03, confidence: 0.95 };
        assert_eq!(ratio(Some(0.97), Some(interval)), "0.97 (.91–1.03)");
        assert_eq!(ratio(Some(0.97), None), "0.97");
        assert_eq!(ratio(None, None), "-");
        assert_eq!(plus_minus(Some(interval)), "6 %");
        let us = |low, high| times(Interval { low, high, ..interval });
        assert_eq!(us(171.2, 613.9), "171–614 us");
        assert_eq!(us(171.2, 1_613.9), "0.17–1.61 ms");
        assert_eq!(us(12_000.0, 61_390.0), "12–61 ms");
        assert_eq!(us(12_000.0, 1_200_000.0), "0.01–1.20 s");
    }
}
