//! The charts of each kind of file, made from the rows that the tables show too.

pub mod experiment;
pub mod run;
pub mod sweep;

use super::ReportError;
use super::chart::{Chart, Point};
use super::figure::{Measure, shown};
use super::input::{Document, Source};
use super::rows::rows;

/// Charts are in milliseconds, files in microseconds.
const US_PER_MS: f64 = 1e3;
/// Charts are in kibibytes or mebibytes, files in bytes.
const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

/// All charts of a file. `prefix` makes their names unique in the page.
///
/// # Errors
/// If a histogram cannot be read.
pub fn charts(source: &Source, prefix: &str) -> Result<Vec<Chart>, ReportError> {
    let rows = rows(source);
    Ok(match &source.document {
        Document::Run(run) => return run::charts(run, &source.label, prefix),
        Document::Compare(comparison) => experiment::comparison(comparison, &rows, prefix),
        Document::Sweep(sweep) => sweep::sweep(sweep, &rows, prefix),
        Document::Capacity(capacity) => experiment::capacity(capacity, &rows, prefix),
        Document::Memory(_) => experiment::memory(&rows, prefix),
    })
}

/// A measured figure as a point: `scale` of the file's unit are one of the axis.
fn point(x: f64, figure: &str, measure: &Measure, scale: f64, heads: &[String]) -> Point {
    let mut says = heads.to_vec();
    says.push(shown(figure, measure.value));
    if let Some(interval) = measure.interval {
        let [low, high] = [interval.low, interval.high].map(|end| shown(figure, end));
        says.push(format!("{:.0} % interval: {low} to {high}", interval.confidence * 100.0));
    }
    Point {
        x,
        y: Some(measure.value / scale),
        ends: measure.interval.map(|interval| (interval.low / scale, interval.high / scale)),
        says,
    }
}
