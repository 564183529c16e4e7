//! What the readers of `HdrHistogram`, its crate's and its Python port's, find is what went in.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::fixtures::{self, Files};
use crate::formats::{near, written};
use crate::{python, report};

/// What the crate reads out of an interval log.
fn intervals(log: &[u8]) -> Vec<(String, Histogram<u64>)> {
    let entries = IntervalLogIterator::new(log).map(Result::unwrap);
    let intervals = entries.filter_map(|entry| match entry {
        LogEntry::Interval(interval) => Some(interval),
        _ => None,
    });
    intervals
        .map(|interval| {
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram = Deserializer::new().deserialize(&mut Cursor::new(bytes)).unwrap();
            (interval.tag().unwrap().as_str().to_owned(), histogram)
        })
        .collect()
}

#[test]
fn histogram_readers_find_what_went_in() {
    let files = Files::new();
    let mut later = fixtures::rich_run(140.0);
    later["environment"]["date"] = "2026-11-22T10:01:00Z".into();
    let later = files.write("la,ter.json", &later);
    let first = files.write("first.json", &fixtures::rich_run(180.0));
    let log = files.path("r.hlog");
    report(&[&later, &first], &log);
    let text = fs::read_to_string(&log).unwrap();
    for head in ["#[StartTime: 1795341600.000", "#[BaseTime: 1795341600.000"] {
        assert!(text.contains(head), "{head}: {}", &text[..200]); // ten in the morning
    }
    let made = [(180.0, "first"), (140.0, "la_ter")]
        .map(|(least, tag)| (tag.to_owned(), fixtures::histogram(least, 80.0, 200_000)));
    assert_eq!(intervals(&fs::read(&log).unwrap()), made);

    let said = python::run("read_histograms.py", &[&log]);
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 2);
    for (found, (tag, histogram)) in found.as_array().unwrap().iter().zip(&made) {
        assert_eq!(found["tag"], **tag);
        assert_eq!(found["count"], 200_000);
        assert_eq!(found["p50_ns"], histogram.value_at_quantile(0.5));
        assert_eq!(found["p99_ns"], histogram.value_at_quantile(0.99));
    }
    let starts = [0, 1].map(|n| found[n]["start_ms"].as_f64().unwrap());
    assert!(near(starts[1] - starts[0], 60e3), "{starts:?}");

    let hgrm = written(&[&first], &files.path("r.hgrm"));
    is_distribution(&hgrm, &made[0].1);
    // Python's port takes other steps on the way; where both stop, they write the same line.
    let theirs: BTreeSet<&str> = found[0]["distribution"].as_str().unwrap().lines().collect();
    let both: Vec<&str> = hgrm.lines().filter(|line| theirs.contains(line)).collect();
    let [head, empty, least, tenth, all, buckets] = both[..] else { panic!("{both:#?}") };
    assert!(head.contains("1/(1-Percentile)") && empty.is_empty() && buckets.starts_with('#'));
    let quantiles = [least, tenth, all].map(|row| row.split_whitespace().nth(1).unwrap());
    assert_eq!(quantiles, ["0.000000000000", "0.100000000000", "1.000000000000"]);
}

/// As the plotter reads it: a head, an empty line, rows of four numbers, a last of three, a footer.
fn is_distribution(text: &str, histogram: &Histogram<u64>) {
    let lines: Vec<&str> = text.lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    assert_eq!(lines[1], "");
    let (rows, footer) = lines[2..].split_at(lines.len() - 5);
    for row in &rows[..rows.len() - 1] {
        let numbers: Vec<f64> = row.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [ms, quantile, count, place] = numbers[..] else { panic!("{row}") };
        let ns = histogram.value_at_quantile(quantile) as f64;
        assert!((ms * 1e6 - ns).abs() <= 501.0 + ns * 0.001, "{row}: {ns}");
        assert!(count >= (quantile * 200_000.0).floor(), "{row}");
        assert!((place * (1.0 - quantile) - 1.0).abs() < 0.01, "{row}");
    }
    let last: Vec<&str> = rows.last().unwrap().split_whitespace().collect();
    assert_eq!((last.len(), last[1], last[2]), (3, "1.000000000000", "200000"));
    assert!(footer[0].starts_with("#[Mean    = ") && footer[1].contains("200000]"), "{footer:?}");
    assert!(footer[2].ends_with("SubBuckets     =         2048]"), "{footer:?}");
}
