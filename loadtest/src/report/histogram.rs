//! The whole histogram of a run: read from its result, and written as `HdrHistogram`'s own tools
//! read it. Its plotter takes the percentile distribution (`.hgrm`), its parsers the interval log.

use std::fmt::Write;
use std::io::Cursor;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::ReportError;
use super::input::{Document, Source};
use crate::result::RunResult;

/// Points per halving of what is left to 100 %: what `HdrHistogram`'s other implementations write.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Histograms are in nanoseconds, and both formats in milliseconds by custom.
const NS_PER_MS: f64 = 1e6;

/// Response times of a run in nanoseconds; none where the result keeps no histogram.
///
/// # Errors
/// If what it keeps is none.
pub fn latency(run: &RunResult, label: &str) -> Result<Option<Histogram<u64>>, ReportError> {
    run.histograms.as_ref().map(|all| decode(&all.latency, label)).transpose()
}

/// A histogram as results keep it: V2, deflated, base64.
///
/// # Errors
/// If it is none.
pub fn decode(text: &str, label: &str) -> Result<Histogram<u64>, ReportError> {
    let bad = |why: String| ReportError::Histogram { label: label.to_owned(), why };
    let bytes = STANDARD.decode(text).map_err(|error| bad(error.to_string()))?;
    let decoded = Deserializer::new().deserialize(&mut Cursor::new(bytes));
    decoded.map_err(|error| bad(error.to_string()))
}

/// One step of the distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// From 0 to 1.
    pub quantile: f64,
    /// What that part of all values does not exceed, in milliseconds.
    pub value_ms: f64,
    /// How many values that is.
    pub count: u64,
}

/// The distribution, finer the nearer to 100 %; its last step is the maximum.
pub fn distribution(histogram: &Histogram<u64>) -> Vec<Step> {
    let mut count = 0;
    histogram
        .iter_quantiles(TICKS_PER_HALF_DISTANCE)
        .map(|step| {
            count += step.count_since_last_iteration();
            let nanoseconds = step.value_iterated_to().min(histogram.max());
            let value_ms = nanoseconds as f64 / NS_PER_MS;
            Step { quantile: step.quantile_iterated_to(), value_ms, count }
        })
        .collect()
}

/// The percentile distribution of the one run among the files.
///
/// # Errors
/// If there is not just one run, or it keeps no histogram.
pub fn hgrm(sources: &[Source]) -> Result<String, ReportError> {
    let runs = runs(sources)?;
    let [(_, _, histogram)] = &runs[..] else { return Err(ReportError::OneRun(runs.len())) };
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_hgrm(&mut out, histogram);
    Ok(out)
}

/// As `outputPercentileDistribution` of the Java implementation writes it, to the letter.
fn write_hgrm(out: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    let head = ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"];
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", head[0], head[1], head[2], head[3])?;
    for Step { quantile, value_ms, count } in distribution(histogram) {
        write!(out, "{value_ms:12.3} {quantile:2.12} {count:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let [mean, deviation, max] =
        [histogram.mean(), histogram.stdev(), histogram.max() as f64].map(|ns| ns / NS_PER_MS);
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len())?;
    // Enough of them to tell values apart to so many digits (`HdrHistogram`'s own rule).
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]", histogram.buckets())
}

/// All runs among the files as one interval log, version 2: an interval for each, with the name of
/// its file as the tag.
///
/// # Errors
/// If there is no run, or one keeps no histogram.
pub fn hlog(sources: &[Source]) -> Result<Vec<u8>, ReportError> {
    let mut runs = runs(sources)?;
    runs.sort_by_key(|(source, _, _)| began(source)); // readers want the intervals in order
    let first = runs.first().map_or(SystemTime::UNIX_EPOCH, |(source, _, _)| began(source));
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Values are nanoseconds, Interval_Max is in milliseconds]")
        .with_start_time(first)
        .with_base_time(first)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut out, &mut serializer)
        .map_err(|error| ReportError::Write(error.to_string()))?;
    for (source, run, histogram) in &runs {
        let from = began(source).duration_since(first).unwrap_or_default();
        let length = Duration::try_from_secs_f64(run.elapsed_s).unwrap_or_default();
        let tag: String = source.label.chars().map(|c| if taggable(c) { c } else { '_' }).collect();
        writer
            .write_histogram(histogram, from, length, Tag::new(&tag))
            .map_err(|error| ReportError::Write(format!("{error:?}")))?;
    }
    Ok(out)
}

/// Whether a tag may hold it: the log parts its fields by commas, and its lines.
fn taggable(c: char) -> bool {
    c != ',' && !c.is_whitespace() && !c.is_control()
}

/// When the run began; the epoch where the file does not say.
fn began(source: &Source) -> SystemTime {
    let date = source.environment.get("date").and_then(serde_json::Value::as_str);
    date.and_then(|date| humantime::parse_rfc3339_weak(date).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

type Run<'a> = (&'a Source, &'a RunResult, Histogram<u64>);

fn runs(sources: &[Source]) -> Result<Vec<Run<'_>>, ReportError> {
    let mut runs = Vec::new();
    for source in sources {
        let label = || source.label.clone();
        let Document::Run(run) = &source.document else {
            return Err(ReportError::NoRun { label: label(), kind: source.document.kind() });
        };
        let histogram = latency(run, &source.label)?;
        let histogram = histogram.ok_or_else(|| ReportError::NoHistogram { label: label() })?;
        runs.push((source, &**run, histogram));
    }
    Ok(runs)
}
