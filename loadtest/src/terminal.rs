//! A result for people: short, aligned, and with its warnings.

use std::fmt::Write;
use std::time::Duration;

use console::style;

use crate::cost::ServerCost;
use crate::result::{Quantiles, RunResult, StepResult};

/// What fits beside an editor, and on a slide.
const COLUMNS: usize = 100;

/// The summary of one run, in colours where standard output is a terminal. What `failed` is said
/// elsewhere, and not here again.
pub fn summary(result: &RunResult, failed: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write_head(&mut text, result)
        .and_then(|()| write_times(&mut text, result))
        .and_then(|()| write_steps(&mut text, result))
        .and_then(|()| write_costs(&mut text, result))
        .and_then(|()| write_warnings(&mut text, result, failed));
    text
}

fn write_head(out: &mut String, result: &RunResult) -> std::fmt::Result {
    let settings = &result.settings;
    let load = match (settings.rate_rps, settings.depth) {
        (Some(rate), _) => match settings.rate.as_deref() {
            Some(text) if !result.steps.is_empty() || text.contains("..") => {
                format!("{} requests/s planned on average", grouped(rate))
            }
            _ => format!("{} requests/s planned", grouped(rate)),
        },
        (None, depth) => format!("depth {}", depth.unwrap_or(1)),
    };
    writeln!(
        out,
        "{}  {} over {} connections, {load}",
        style(&result.target).bold(),
        settings.work,
        settings.connections
    )?;
    writeln!(
        out,
        "  {:<12} {}, all settled in {:.2} s",
        "throughput",
        style(format!("{} requests/s", grouped(result.throughput_rps))).green().bold(),
        result.elapsed_s
    )?;
    writeln!(
        out,
        "  {:<12} {} planned = {} ok + {} errors + {} timed out + {} unsent",
        "requests",
        result.planned,
        result.ok,
        result.errors.values().sum::<u64>(),
        result.timed_out,
        result.unsent
    )?;
    for (kind, count) in &result.errors {
        writeln!(out, "  {:<12} {} {count}", "", style(kind).red())?;
    }
    Ok(())
}

fn write_times(out: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.ok + result.timed_out == 0 {
        return Ok(());
    }
    let names = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];
    writeln!(out, "  {:<12}{}", "", names.map(|name| format!("{name:>10}")).concat())?;
    let rows = [
        ("latency", &result.latency_us),
        ("service", &result.service_us),
        ("send lag", &result.send_lag_us),
    ];
    // In the closed loop the other two say nothing that the first does not.
    let shown = if result.settings.rate_rps.is_some() { rows.len() } else { 1 };
    for (name, quantiles) in &rows[..shown] {
        writeln!(out, "  {name:<12}{}", row(quantiles))?;
    }
    Ok(())
}

fn write_steps(out: &mut String, result: &RunResult) -> std::fmt::Result {
    if result.steps.is_empty() {
        return Ok(());
    }
    let names = ["planned/s", "ok/s", "not ok", "p50", "p99", "max"];
    writeln!(out, "  {:<12}{}", "", names.map(|name| format!("{name:>10}")).concat())?;
    // In the order of their rates: that in which they were run is in the JSON.
    let mut steps: Vec<&StepResult> = result.steps.iter().collect();
    steps.sort_by(|one, two| one.rate_rps.total_cmp(&two.rate_rps));
    for step in steps {
        let ok_rps = step.ok as f64 / step.length_s.max(1e-9);
        let times = &step.latency_us;
        writeln!(
            out,
            "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "step",
            grouped(step.rate_rps),
            grouped(ok_rps),
            step.planned - step.ok,
            time(times.p50),
            time(times.p99),
            time(times.max)
        )?;
    }
    Ok(())
}

fn write_costs(out: &mut String, result: &RunResult) -> std::fmt::Result {
    if let Some(server) = &result.server {
        write_server(out, server)?;
    }
    writeln!(
        out,
        "  {:<12} {:.2} us CPU a request, {} threads, {:.0} % busy",
        "load tester",
        result.client.cpu_us_per_request,
        result.client.threads,
        result.client.busy * 100.0
    )?;
    if let Some(background) = &result.background {
        writeln!(
            out,
            "  {:<12} {} idle connections; {} slow readers, which read {} MiB",
            "background",
            background.idle,
            background.slow_readers,
            mebibytes(background.slow_reader_bytes_read)
        )?;
    }
    Ok(())
}

fn write_server(out: &mut String, server: &ServerCost) -> std::fmt::Result {
    writeln!(
        out,
        "  {:<12} {:.2} us CPU a request ({:.2} user, {:.2} system), {} threads",
        "server",
        server.cpu_us_per_request,
        server.cpu_user_us_per_request,
        server.cpu_system_us_per_request,
        server.threads
    )?;
    writeln!(
        out,
        "  {:<12} a request: switches {:.3} voluntary, {:.3} not; page faults {:.3} minor, {:.3} major",
        "",
        server.voluntary_switches_per_request,
        server.involuntary_switches_per_request,
        server.minor_faults_per_request,
        server.major_faults_per_request
    )?;
    writeln!(
        out,
        "  {:<12} RssAnon {} MiB, PSS {} MiB; TCP buffers of the whole machine {} MiB",
        "",
        mebibytes(server.rss_anon_bytes),
        mebibytes(server.pss_bytes),
        mebibytes(server.kernel_tcp_bytes)
    )
}

fn write_warnings(out: &mut String, result: &RunResult, failed: Option<&str>) -> std::fmt::Result {
    let new = result.warnings.iter().filter(|warning| Some(warning.as_str()) != failed);
    for (at, warning) in new.enumerate() {
        let mark = if result.valid || at > 0 { "note" } else { "INVALID" };
        let indent = " ".repeat(mark.len() + 4);
        let lines = wrapped(warning, COLUMNS - indent.len());
        writeln!(
            out,
            "  {} {}",
            style(format!("{mark}:")).yellow(),
            lines.join(&format!("\n{indent}"))
        )?;
    }
    Ok(())
}

/// The words of a text in lines of this length.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn row(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p90, p99, p99_9, p99_99, max, .. } = *quantiles;
    [p50, p90, p99, p99_9, p99_99, max].map(|us| format!("{:>10}", time(us))).concat()
}

/// Microseconds with the unit that suits them, three digits.
pub fn time(us: f64) -> String {
    match Duration::from_secs_f64(us.max(0.0) / 1e6) {
        time if time < Duration::from_micros(1) => format!("{:.0} ns", us * 1e3),
        time if time < Duration::from_millis(1) => format!("{us:.0} us"),
        time if time < Duration::from_millis(100) => format!("{:.2} ms", us / 1e3),
        time if time < Duration::from_secs(1) => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A whole number with commas.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// Bytes as mebibytes, one digit.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a longer_than_that b", 5), ["a", "longer_than_that", "b"]);
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(12_345_678.0), "12,345,678");
        assert_eq!(time(0.5), "500 ns");
        assert_eq!(time(999.4), "999 us");
        assert_eq!(time(10_061.0), "10.06 ms");
        assert_eq!(time(250_000.0), "250 ms");
        assert_eq!(time(1_500_000.0), "1.50 s");
        assert_eq!(mebibytes(3 << 19), "1.5");
    }

    #[test]
    fn what_the_server_paid_is_said_in_narrow_lines() {
        let server = ServerCost {
            cpu_us_per_request: 1_234.56,
            cpu_user_us_per_request: 1_000.5,
            cpu_system_us_per_request: 234.06,
            threads: 16_000,
            voluntary_switches_per_request: 12.5,
            involuntary_switches_per_request: 3.25,
            minor_faults_per_request: 7.125,
            major_faults_per_request: 0.5,
            rss_anon_bytes: 16 << 30,
            pss_bytes: 17 << 30,
            kernel_tcp_bytes: 3 << 20,
            ..ServerCost::default()
        };
        let mut text = String::new();
        write_server(&mut text, &server).unwrap();
        for figure in ["1000.50 user", "234.06 system", "12.500 voluntary", "3.250 not"] {
            assert!(text.contains(figure), "{text}");
        }
        for figure in ["7.125 minor", "0.500 major", "machine 3.0 MiB"] {
            assert!(text.contains(figure), "{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
