//! Two results beside each other: what changed, what is noise, and what nobody can say.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixtures::{self, Files};
use crate::loadtest;

const COLUMNS_MAX: usize = 100;

#[track_caller]
fn diff(a: &Path, b: &Path, flags: &[&str]) -> String {
    let args = ["diff", a.to_str().unwrap(), b.to_str().unwrap()];
    let output = loadtest(args.iter().chain(flags));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The line of a figure under a title.
#[track_caller]
fn line<'a>(text: &'a str, title: &str, figure: &str) -> &'a str {
    let (_, group) = text.split_once(&format!("\n{title}\n")).unwrap_or_else(|| panic!("{text}"));
    let own = group.lines().take_while(|line| line.starts_with("  "));
    let mut own = own.filter(|line| line.trim_start().starts_with(figure));
    own.next().unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_result_differs_in_nothing_from_itself() {
    let comparison = fixtures::comparison();
    let text = diff(&comparison, &comparison, &[]);
    assert!(
        !text.contains("  differs") && !text.contains("  noise") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(text.contains("0 of ") && text.contains("epoll"), "{text}");
    let wide = text.lines().find(|line| line.chars().count() > COLUMNS_MAX);
    assert!(wide.is_none_or(|line| line.starts_with("warning:")), "{wide:?}");
}

#[test]
fn a_change_beyond_the_noise_is_told_from_one_within() {
    let files = Files::new();
    let before = fixtures::sweep_connections();
    let mut after = before.clone();
    for (point, factor) in [(2, 1.5), (3, 1.01)] {
        let entry = &mut after["points"][point]["entries"][3];
        let rps = entry["medians"]["throughput_rps"].as_f64().unwrap() * factor;
        entry["medians"]["throughput_rps"] = json!(rps);
        entry["intervals"]["throughput_rps"] =
            json!({ "estimate": rps, "low": rps * 0.97, "high": rps * 1.05, "confidence": 0.95 });
    }
    after["environment"]["kernel"] = json!("7.0.0");
    after["environment"]["date"] = json!("2026-12-24T20:00:00Z");
    after["flags"]["seed"] = json!(2);
    after["points"][0]["entries"].as_array_mut().unwrap().remove(0);
    let (a, b) = (files.write("a.json", &before), files.write("b.json", &after));
    let text = diff(&a, &b, &[]);
    let changed = line(&text, "point · connections 16 · epoll", "requests/s");
    assert!(changed.contains("+50.0 %") && changed.ends_with("  differs"), "{changed}");
    assert!(changed.contains("-3.0/+5.0 %"), "{changed}");
    let noise = line(&text, "point · connections 64 · epoll", "requests/s");
    assert!(noise.contains("+1.0 %") && noise.ends_with("  noise"), "{noise}");
    let gone = line(&text, "point · connections 1 · threads", "requests/s");
    assert!(gone.ends_with("  only one"), "{gone}");
    assert!(text.contains("warning: environment: kernel was \"6.18.0\", is \"7.0.0\""), "{text}");
    assert!(
        text.contains("warning: settings: seed was 1, is 2") && !text.contains("date"),
        "{text}"
    );
}

#[test]
fn of_single_runs_it_says_that_nothing_can_be_said() {
    let files = Files::new();
    let a = files.write("a.json", &fixtures::rich_run(200.0));
    let mut run: Value = fixtures::rich_run(200.0);
    run["latency_us"]["p99"] = json!(run["latency_us"]["p99"].as_f64().unwrap() * 2.0);
    run["valid"] = json!(false);
    let b = files.write("b.json", &run);
    let text = diff(&a, &b, &[]);
    let p99 = line(&text, "run", "p99 ");
    assert!(p99.contains("+100.0 %") && p99.ends_with("  ?"), "{p99}");
    assert!(text.contains("?: nothing can be said of noise"), "{text}");
    assert!(text.contains("warning: b is not valid"), "{text}");
    let markdown = diff(&a, &b, &["--markdown"]);
    assert!(markdown.contains("| run | p99 | "), "{markdown}");
    assert!(markdown.contains("| +100.0 % | ? |"), "{markdown}");
}
