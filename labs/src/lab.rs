//! What a lab is: a question that is answered before the experiment, and what must come of it.
//!
//! A lab is one constant in one file. It promises ratios, each with a range that follows from a
//! cause, and no absolute figure: those are the machine's.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::bench::{Bench, LabError};

/// One experiment.
#[derive(Clone, Copy, Debug)]
pub struct Lab {
    /// As the command line and the file of its page have it.
    pub name: &'static str,
    /// As a heading.
    pub title: &'static str,
    /// What a reader is asked before it runs.
    pub question: &'static str,
    /// The answers to choose from: a, b, c and so on.
    pub choices: &'static [&'static str],
    /// The letter of the right one.
    pub right: char,
    /// What is promised, whatever the knob's setting.
    pub ratios: &'static [Ratio],
    /// The one thing to change.
    pub knob: Knob,
    /// How often the experiment is repeated; the median counts.
    pub rounds: u32,
    /// The experiment, once, with the knob at this setting.
    pub experiment: fn(&Bench<'_>, &str) -> Result<Round, LabError>,
    /// Why the right answer is right.
    pub why: &'static str,
    /// What moves the figures from machine to machine, for whoever finds one outside.
    pub varies: &'static str,
}

/// A figure that carries over from machine to machine.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// As results have it.
    pub name: &'static str,
    /// What is divided by what.
    pub of: &'static str,
}

/// What a reader changes, and what must become of the ratios then.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// What it is.
    pub what: &'static str,
    /// The settings that there are; the first is the default.
    pub settings: &'static [Setting],
    /// What to predict before it is turned.
    pub ask: &'static str,
}

/// One setting of a knob.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// As `--knob` takes it.
    pub value: &'static str,
    /// The shape with it.
    pub shape: &'static [Expected],
}

/// Within which range a ratio is expected.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The name of the ratio.
    pub ratio: &'static str,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// A ratio is expected within a range.
pub const fn expect(ratio: &'static str, range: RangeInclusive<f64>) -> Expected {
    Expected { ratio, low: *range.start(), high: *range.end() }
}

impl Lab {
    /// The setting of this value; the default where none is given.
    pub fn setting(&self, value: Option<&str>) -> Option<&'static Setting> {
        match value {
            None => self.knob.settings.first(),
            Some(value) => self.knob.settings.iter().find(|setting| setting.value == value),
        }
    }

    /// The letters of its choices.
    pub fn letters(&self) -> impl Iterator<Item = char> {
        ('a'..).take(self.choices.len())
    }

    /// What is divided by what, in the ratio of this name.
    pub fn ratio(&self, name: &str) -> Option<&'static Ratio> {
        self.ratios.iter().find(|ratio| ratio.name == name)
    }
}

/// What one round of an experiment found.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// The table.
    pub rows: Vec<Line>,
    /// The ratios, by name.
    pub ratios: BTreeMap<&'static str, f64>,
    /// What is no figure, and worth to be seen.
    pub notes: Vec<String>,
}

/// A line of the table.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What it is about.
    pub name: String,
    /// The same heads in all lines of a table.
    pub cells: Vec<(&'static str, Unit, f64)>,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Us,
    /// A whole number of things.
    Count,
    /// Bytes.
    Bytes,
    /// A part of a whole, shown in percent.
    Part,
}

impl Round {
    /// Begins a line of the table.
    pub fn line(&mut self, name: impl Into<String>) -> &mut Line {
        let line = Line { name: name.into(), cells: Vec::new() };
        self.rows.push_mut(line)
    }

    /// Notes a ratio.
    pub fn ratio(&mut self, name: &'static str, value: f64) {
        self.ratios.insert(name, value);
    }
}

impl Line {
    /// A time in microseconds.
    pub fn us(&mut self, head: &'static str, value: f64) -> &mut Self {
        self.cell(head, Unit::Us, value)
    }

    /// A number of things, or a rate.
    pub fn count(&mut self, head: &'static str, value: f64) -> &mut Self {
        self.cell(head, Unit::Count, value)
    }

    /// Bytes.
    pub fn bytes(&mut self, head: &'static str, value: f64) -> &mut Self {
        self.cell(head, Unit::Bytes, value)
    }

    /// A part of a whole.
    pub fn part(&mut self, head: &'static str, value: f64) -> &mut Self {
        self.cell(head, Unit::Part, value)
    }

    fn cell(&mut self, head: &'static str, unit: Unit, value: f64) -> &mut Self {
        self.cells.push((head, unit, value));
        self
    }
}
