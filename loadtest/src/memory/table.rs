//! Memory per connection for a terminal: below 100 columns, each slope with its interval.

use std::fmt::Write;

use console::style;

use super::result::{MemoryResult, ServerMemory, Slopes};
use crate::statistics::Interval;

/// A head, and where its figures are.
type Column = (&'static str, fn(&Slopes) -> Interval);
/// A title, and which slopes stand under it.
type Kind = (&'static str, fn(&ServerMemory) -> Option<Slopes>);

const COLUMNS: [Column; 6] = [
    ("RssAnon", |slopes| slopes.user),
    ("PSS", |slopes| slopes.pss),
    ("page tables", |slopes| slopes.page_tables),
    ("stacks*", |slopes| slopes.kernel_stacks),
    ("slab*", |slopes| slopes.slab),
    ("TCP buffers*", |slopes| slopes.kernel),
];

const LEGEND: &str = "KiB per connection: the slope over the number of connections, ± half of its \
    95 % interval.\n\
    RssAnon and PSS are the process's own, page tables are the kernel's for it. * is of the whole\n\
    machine, so of both ends of a connection, and of whoever else runs: kernel stacks of threads;\n\
    slab (sockets, files, epoll entries); the data in TCP sockets, told in pages and lazily.";

/// The table, with its warnings below.
pub fn terminal(result: &MemoryResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_all(&mut out, result);
    out
}

fn write_all(out: &mut String, result: &MemoryResult) -> std::fmt::Result {
    let kinds: [Kind; 2] =
        [("an idle connection", |server| server.idle), ("an active one", |server| server.active)];
    for (kind, slopes) in kinds {
        let rows: Vec<(&str, [String; 6])> = result
            .servers
            .iter()
            .filter_map(|server| Some((server.server.as_str(), cells(&slopes(server)?))))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let heads = COLUMNS.map(|(head, _)| head.to_owned());
        let width = |text: &str| text.chars().count();
        let names = rows.iter().map(|(name, _)| width(name)).fold(8, usize::max);
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|at| {
                rows.iter().map(|(_, cells)| width(&cells[at])).fold(width(&heads[at]), usize::max)
            })
            .collect();
        let line = |cells: &[String; 6]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            padded.collect::<Vec<_>>().join("  ")
        };
        writeln!(out, "{}", style(kind).bold())?;
        writeln!(out, "  {:<names$}  {}", "", style(line(&heads)).dim())?;
        for (name, cells) in &rows {
            writeln!(out, "  {}  {}", style(format!("{name:<names$}")).cyan(), line(cells))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", style(LEGEND).dim())?;
    for warning in &result.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    Ok(())
}

fn cells(slopes: &Slopes) -> [String; 6] {
    COLUMNS.map(|(_, value)| kibibytes(&value(slopes)))
}

/// One digit: a page over a hundred connections is 0.04.
fn kibibytes(interval: &Interval) -> String {
    let kibi = |bytes: f64| {
        let text = format!("{:.1}", bytes / 1024.0);
        if text == "-0.0" { "0.0".to_owned() } else { text }
    };
    format!("{} ±{}", kibi(interval.estimate), kibi((interval.high - interval.low) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn result(estimate: f64) -> MemoryResult {
        let interval =
            Interval { estimate, low: estimate - 512.0, high: estimate + 512.0, confidence: 0.95 };
        let slopes = Slopes {
            user: interval,
            pss: interval,
            kernel: interval,
            page_tables: interval,
            kernel_stacks: interval,
            slab: interval,
        };
        let server = ServerMemory {
            server: "threads".to_owned(),
            points: Vec::new(),
            idle: Some(slopes),
            active: None,
        };
        MemoryResult {
            schema: super::super::result::MEMORY_SCHEMA.to_owned(),
            environment: Environment::look(),
            command: Vec::new(),
            counts: vec![0, 1, 2],
            servers: vec![server],
            warnings: vec!["it rained".to_owned()],
        }
    }

    #[test]
    fn the_table_is_narrow_and_leaves_out_what_was_not_measured() {
        let text = terminal(&result(1024.0 * 1234.5));
        assert!(text.contains("threads   1234.5 ±0.5"), "{text}");
        assert!(text.contains("it rained") && !text.contains("an active one"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(terminal(&result(-1.0)).contains(" 0.0 ±0.5"), "no minus before nothing");
    }
}
