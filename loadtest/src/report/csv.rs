//! A report as CSV (RFC 4180): one row for each run, step, server, point and probe, and a column
//! for each figure with its unit in the name; beside it the ends of its interval, where it has one.

use super::ReportError;
use super::figure::FIGURES;
use super::input::Source;
use super::rows::{Row, rows};

/// Columns that say what the row is of.
const NAMES: [&str; 12] = [
    "file",
    "kind",
    "scenario",
    "server",
    "parameter",
    "value",
    "connections",
    "depth",
    "planned_rate_rps",
    "blocks",
    "blocks_invalid",
    "valid",
];

/// The report.
///
/// # Errors
/// If it cannot be written to memory.
pub fn csv(sources: &[Source]) -> Result<Vec<u8>, ReportError> {
    let failed = |error: &dyn std::error::Error| ReportError::Write(error.to_string());
    // RFC 4180 ends its lines by CR LF.
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let figures = FIGURES
        .iter()
        .flat_map(|figure| ["", "_low", "_high"].map(|end| format!("{}{end}", figure.name)));
    let heads: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).chain(figures).collect();
    writer.write_record(&heads).map_err(|error| failed(&error))?;
    for row in sources.iter().flat_map(rows) {
        writer.write_record(record(&row)).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

fn record(row: &Row) -> Vec<String> {
    let (parameter, value) = row.parameter.clone().unzip();
    let names = [
        row.file.clone(),
        row.kind.to_owned(),
        row.scenario.clone(),
        row.server.clone(),
        parameter.unwrap_or_default(),
        text(value),
        text(row.load.connections),
        text(row.load.depth),
        text(row.load.rate_rps),
        text((row.blocks > 0).then_some(row.blocks)),
        text((row.blocks > 0).then_some(row.blocks_invalid)),
        text(row.valid),
    ];
    let figures = FIGURES.iter().flat_map(|figure| {
        let measure = row.measures.get(figure.name);
        let interval = measure.and_then(|measure| measure.interval);
        [
            text(measure.map(|measure| measure.value)),
            text(interval.map(|interval| interval.low)),
            text(interval.map(|interval| interval.high)),
        ]
    });
    names.into_iter().chain(figures).collect()
}

/// With all digits; empty where there is nothing.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
