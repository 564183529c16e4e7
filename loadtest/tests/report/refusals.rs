//! What is no result, and what cannot be done with one: one line on standard error, and the exit
//! code says whose fault it is.

use std::fs;

use serde_json::json;

use crate::fixtures::{self, Files};
use crate::loadtest;

/// One line, with these words in it.
#[track_caller]
fn refused(args: &[&str], exit_code: i32, words: &[&str]) {
    let output = loadtest(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("loadtest: "), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said} lacks one of {words:?}");
}

#[test]
fn a_bad_file_is_said_in_one_line() {
    let files = Files::new();
    let output = files.path("r.html");
    let output = output.to_str().unwrap();
    let file = files.path("bad.json");
    let bad = file.to_str().unwrap();
    let whole = fs::read(fixtures::comparison()).unwrap();
    for (content, words) in [
        (&whole[..whole.len() / 2], ["is cut short", "make it again"]),
        (b"# Markdown", ["is no JSON", "name a file"]),
        (b"{}", ["names no schema", "name a file"]),
        (b"{\"schema\": \"quintet/verify/1\"}", ["quintet/verify/1", "quintet/memory/1"]),
        (b"{\"schema\": \"quintet/run/1\", \"target\": 1}", ["quintet/run/1", "make it again"]),
    ] {
        fs::write(&file, content).unwrap();
        let words = [&words[..], &[bad]].concat();
        refused(&["report", bad, "-o", output], 1, &words);
        refused(&["diff", bad, bad], 1, &words);
    }
    assert!(!files.path("r.html").exists(), "nothing is written");
    refused(&["report", "/nonexistent.json", "-o", output], 1, &["cannot read /nonexistent.json"]);
    let good = fixtures::comparison();
    let good = good.to_str().unwrap();
    refused(&["report", good, "-o", "/nonexistent/r.html"], 1, &["cannot write /nonexistent"]);
}

#[test]
fn what_has_no_answer_is_refused() {
    let files = Files::new();
    let comparison = fixtures::comparison();
    let comparison = comparison.to_str().unwrap();
    let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
    refused(&["report", comparison, "-o", &path("r.pdf")], 2, &["says no format", "--format"]);
    refused(
        &["report", comparison, "-o", &path("r.hgrm")],
        1,
        &["is a comparison", "loadtest run"],
    );
    let mut run = fixtures::rich_run(100.0);
    let (a, b) = (files.write("a.json", &run), files.write("b.json", &run));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    refused(&["report", a, b, "-o", &path("r.hgrm")], 1, &["one run", ".hlog"]);
    refused(&["diff", a, comparison], 1, &["is a run", "is a comparison", "one kind"]);
    run["histograms"]["latency"] = json!("AAAA");
    files.write("a.json", &run);
    for format in ["r.hlog", "r.html"] {
        refused(&["report", a, "-o", &path(format)], 1, &["histogram in a", "cannot be read"]);
    }
    run.as_object_mut().unwrap().remove("histograms");
    files.write("a.json", &run);
    refused(&["report", a, "-o", &path("r.hlog")], 1, &["keeps no histogram"]);
}
