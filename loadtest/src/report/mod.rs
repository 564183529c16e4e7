//! What results look like: a page with plots, tables for people and for programs, histograms for
//! `HdrHistogram`'s own tools; and two results beside each other.
//!
//! ```text
//!   files ──▶ Source ──▶ rows of figures ──▶ tables (HTML, Markdown, CSV), diff
//!            (input)  ├─▶ audit ───────────▶ HTML, Markdown
//!                     ├─▶ charts ──────────▶ HTML
//!                     └─▶ histogram ───────▶ .hgrm, .hlog
//! ```
//!
//! A figure is never made twice: what a chart draws and a table says comes from the same rows.

pub mod audit;
pub mod chart;
pub mod charts;
pub mod csv;
pub mod diff;
pub mod diff_text;
pub mod figure;
pub mod histogram;
pub mod html;
pub mod input;
pub mod markdown;
pub mod measure;
pub mod rows;
pub mod schema;
pub mod table;
pub mod ticks;

use std::path::Path;

use clap::ValueEnum;

use input::Source;

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A page with plots that needs no network
    Html,
    /// One row per run, server and point; every figure
    Csv,
    /// The tables
    Markdown,
    /// The percentiles of one run, for the plotter of `HdrHistogram`
    Hgrm,
    /// The histograms of runs, for the parsers of `HdrHistogram`
    Hlog,
}

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum ReportError {
    #[error("the histogram in {label} cannot be read ({why}); make the result again")]
    Histogram { label: String, why: String },
    #[error("{label} keeps no histogram; make it again with `loadtest run --json` of this version")]
    NoHistogram { label: String },
    #[error("{label} is a {kind}, and histograms are of runs; name a file of `loadtest run`")]
    NoRun { label: String, kind: &'static str },
    #[error("an .hgrm holds one run, and these are {0}; name one file, or write an .hlog")]
    OneRun(usize),
    #[error("cannot write the report: {0}")]
    Write(String),
}

impl Format {
    /// What the ending of a file's name stands for.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Self::Html),
            "csv" => Some(Self::Csv),
            "md" | "markdown" => Some(Self::Markdown),
            "hgrm" => Some(Self::Hgrm),
            "hlog" => Some(Self::Hlog),
            _ => None,
        }
    }
}

/// The report on `sources`.
///
/// # Errors
/// If a histogram is asked for and there is none, or it cannot be read.
pub fn render(sources: &[Source], format: Format) -> Result<Vec<u8>, ReportError> {
    match format {
        Format::Html => html::page(sources).map(String::into_bytes),
        Format::Csv => csv::csv(sources),
        Format::Markdown => Ok(markdown::markdown(sources).into_bytes()),
        Format::Hgrm => histogram::hgrm(sources).map(String::into_bytes),
        Format::Hlog => histogram::hlog(sources),
    }
}
