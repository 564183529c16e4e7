//! What criterion measured, as one table: it prints each function by itself, and what they are to
//! each other has to be seen side by side.

use std::cmp::Ordering;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// More than a whole `cargo bench` takes: what is older than this, beside the newest, is of another
/// run, and perhaps of a bench that there is no more.
const RUN_MAX: Duration = Duration::from_mins(15);
/// criterion's own folders are three deep.
const DEPTH_MAX: usize = 6;

/// One function, as it was last measured.
#[derive(Clone, Debug)]
pub struct Row {
    group: String,
    name: String,
    /// What it is given (a size, a depth), where there are several: only like is compared with like.
    input: String,
    /// The median, and its 95 % interval.
    median_ns: f64,
    low_ns: f64,
    high_ns: f64,
    measured: SystemTime,
}

/// All that stands under criterion's `folder`, none if there is no such folder; what is incomplete or
/// of another form is left out.
pub fn rows(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    collect(folder, DEPTH_MAX, &mut rows);
    rows
}

fn collect(folder: &Path, depth: usize, rows: &mut Vec<Row>) {
    rows.extend(row(&folder.join("new")));
    let Some(deeper) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), deeper, rows);
        }
    }
}

fn row(folder: &Path) -> Option<Row> {
    let read =
        |name| -> Option<Value> { serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok() };
    let (id, estimates) = (read("benchmark.json")?, read("estimates.json")?);
    let text = |key: &str| Some(id.get(key)?.as_str()?.to_owned());
    let median = estimates.get("median")?;
    let number = |pointer| median.pointer(pointer)?.as_f64();
    Some(Row {
        group: text("group_id")?,
        name: text("function_id")?,
        input: text("value_str").unwrap_or_default(),
        median_ns: number("/point_estimate")?,
        low_ns: number("/confidence_interval/lower_bound")?,
        high_ns: number("/confidence_interval/upper_bound")?,
        measured: fs::metadata(folder.join("estimates.json")).ok()?.modified().ok()?,
    })
}

/// The rows of the last run as text, the fastest of a group first; nothing where there are none.
pub fn table(mut rows: Vec<Row>) -> String {
    let Some(newest) = rows.iter().map(|row| row.measured).max() else { return String::new() };
    let all = rows.len();
    rows.retain(|row| newest.duration_since(row.measured).unwrap_or_default() <= RUN_MAX);
    let older = all - rows.len();
    rows.sort_by(order);
    let mut lines = vec![
        ["group", "input", "name", "median", "95 % interval", "of fastest"].map(str::to_owned),
    ];
    for like in rows.chunk_by(|a, b| (&a.group, &a.input) == (&b.group, &b.input)) {
        lines.extend(like.iter().map(|row| cells(row, &like[0])));
    }
    let mut text = aligned(&lines);
    if older > 0 {
        let _ = writeln!(text, "({older} of earlier runs are left out.)");
    }
    text
}

/// By group; within it by input, numbers as numbers; the fastest first.
fn order(a: &Row, b: &Row) -> Ordering {
    let key = |row: &Row| (row.group.clone(), row.input.parse::<u64>().ok(), row.input.clone());
    key(a).cmp(&key(b)).then(a.median_ns.total_cmp(&b.median_ns))
}

fn cells(row: &Row, fastest: &Row) -> [String; 6] {
    let (unit, unit_ns) = unit(row.median_ns);
    let number = |ns: f64| digits(ns / unit_ns);
    [
        row.group.clone(),
        row.input.clone(),
        row.name.clone(),
        format!("{} {unit}", number(row.median_ns)),
        format!("{} - {} {unit}", number(row.low_ns), number(row.high_ns)),
        format!("{:.2}", row.median_ns / fastest.median_ns),
    ]
}

fn unit(ns: f64) -> (&'static str, f64) {
    match ns {
        ..1e3 => ("ns", 1.0),
        ..1e6 => ("us", 1e3),
        _ => ("ms", 1e6),
    }
}

/// Three of them, which is as many as an interval is ever narrow.
fn digits(number: f64) -> String {
    let decimals = match number {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// Names to the left, figures to the right.
fn aligned(lines: &[[String; 6]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let [group, input, name, median, interval, ratio] = std::array::from_fn(width);
    let mut text = String::new();
    for [a, b, c, d, e, f] in lines {
        let _ = writeln!(
            text,
            "{a:group$}  {b:>input$}  {c:name$}  {d:>median$}  {e:>interval$}  {f:>ratio$}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(folder: &Path, name: &str, input: Option<u32>, median_ns: f64) {
        let folder = folder.join(format!("g/{name}/{input:?}/new"));
        fs::create_dir_all(&folder).unwrap();
        let id = serde_json::json!({
            "group_id": "g", "function_id": name, "value_str": input.map(|input| input.to_string()),
        });
        let interval = serde_json::json!({ "lower_bound": median_ns, "upper_bound": median_ns });
        let estimates = serde_json::json!({
            "median": { "point_estimate": median_ns, "confidence_interval": interval },
        });
        fs::write(folder.join("benchmark.json"), id.to_string()).unwrap();
        fs::write(folder.join("estimates.json"), estimates.to_string()).unwrap();
    }

    #[test]
    fn like_is_compared_with_like_and_the_fastest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "slow", Some(9), 3000.0);
        keep(folder.path(), "fast", Some(9), 1500.0);
        keep(folder.path(), "slow", Some(64), 40_000.0);
        let table = table(rows(folder.path()));
        let lines: Vec<_> =
            table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[0], ["g", "9", "fast", "1.50", "us", "1.50", "-", "1.50", "us", "1.00"]);
        assert_eq!(lines[1], ["g", "9", "slow", "3.00", "us", "3.00", "-", "3.00", "us", "2.00"]);
        assert_eq!(lines[2], ["g", "64", "slow", "40.0", "us", "40.0", "-", "40.0", "us", "1.00"]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_is_missing_or_broken_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(table(rows(&folder.path().join("nowhere"))), "");
        keep(folder.path(), "whole", None, 1.0);
        keep(folder.path(), "broken", None, 1.0);
        fs::write(folder.path().join("g/broken/None/new/estimates.json"), "{").unwrap();
        assert_eq!(table(rows(folder.path())).lines().count(), 2, "the head and one row");
    }

    #[test]
    fn earlier_runs_are_left_out_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "now", None, 1.0);
        keep(folder.path(), "then", None, 1.0);
        let mut rows = rows(folder.path());
        rows.iter_mut().find(|row| row.name == "then").unwrap().measured -= RUN_MAX * 2;
        let table = table(rows);
        assert!(table.contains("now") && !table.contains("then "), "{table}");
        assert!(table.ends_with("(1 of earlier runs are left out.)\n"), "{table}");
    }
}
