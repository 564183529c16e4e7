//! The page of the matrix, made of the table of promises and of one measured run.
//! It pays with Markdown by hand: what the page says stands here or in the results, nowhere else.

use std::fmt::Write;

use crate::matrix::{ALL, Cell, Figure, Row};
use crate::results::Results;
use crate::rows::ROWS;

/// Where it stands.
pub(crate) const PATH: &str = "docs/faults.md";
/// The table of promises stands here too, between these lines.
pub(crate) const README: &str = "README.md";
const BEGIN: &str = "<!-- promises: begin -->\n";
const END: &str = "<!-- promises: end -->\n";

/// The README with the promises as they are.
pub(crate) fn into_readme(readme: &str) -> String {
    let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for them");
    let (_, after) = rest.split_once(END).expect("which has an end");
    let mut promised = String::new();
    promises(&mut promised);
    format!("{before}{BEGIN}\n{promised}\n{END}{after}")
}

pub(crate) fn render(results: &Results) -> String {
    let mut page = INTRODUCTION.to_owned();
    promises(&mut page);
    let Results { date, revision, cpu_model, cores, kernel, rust_version, .. } = results;
    let _ = writeln!(
        page,
        "\n## The matrix\n\nMade by `cargo faults` on {date}, of revision {revision}: {cpu_model}, \
         {cores} cores, Linux {kernel}, {rust_version}. {}\n\n{LEGEND}",
        tally(results)
    );
    matrix(&mut page, results);
    broken(&mut page, results);
    own_ways(&mut page);
    page
}

const INTRODUCTION: &str = "\
# Faults

What every server promises when something goes wrong, and how each of them was seen to keep it.
This page is made: `cargo faults` does every fault to every server, as a process of its own, and
writes what it measured into `results/faults.json` and from there into here. The same cells are
tests: `cargo test -p servers --test faults drain::epoll` runs one of them, with bounds for a busy
machine.

Beside each fault a bystander echoes every 10 ms (over gRPC with tonic's own client). A cell holds
only if it saw no error, no wrong reply and none missing.

## What is promised

";

const LEGEND: &str = "\
Each cell: whether the promise held, and what was measured, with the promised bound where that is a
number. Every server had two workers (`--workers=2`), and timeouts short enough to wait for: 500 ms.
Beside the greedy peer it had one, which the two must share. That bystander is compared with one
beside the same greed on *another* process of the same server, in turns, so that the machine is equally
busy; the servers' queues are what differs. What a peer that never reads holds was measured with
`MALLOC_MMAP_THRESHOLD_=131072` (and, of `grpc`, `MIMALLOC_PURGE_DELAY=0`), or else the allocator keeps
some of the large blocks that were freed: up to 12 MiB.

";

fn promises(page: &mut String) {
    page.push_str("| fault | promise | flag (default) | what the peer sees |\n|---|---|---|---|\n");
    for Row { fault, promise, flags, peer_sees, .. } in ROWS {
        let _ = writeln!(page, "| {fault} | {promise} | {flags} | {peer_sees} |");
    }
}

fn tally(results: &Results) -> String {
    let held = results.cells.iter().filter(|cell| cell.broken.is_empty()).count();
    let echoes: usize = results.cells.iter().map(|cell| cell.bystander_echoes).sum();
    format!("{held} of {} cells held; the bystanders had {echoes} echoes.", results.cells.len())
}

fn matrix(page: &mut String, results: &Results) {
    let names: Vec<_> = ALL.iter().map(|model| model.name).collect();
    let _ =
        writeln!(page, "| fault | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for row in ROWS {
        let cells = names.iter().map(|name| results.cell(row.name, name).map_or("–".into(), cell));
        let _ = writeln!(page, "| {} | {} |", row.fault, cells.collect::<Vec<_>>().join(" | "));
    }
}

pub(crate) fn cell(cell: &Cell) -> String {
    let verdict = if cell.broken.is_empty() { "held" } else { "**broken**" };
    let figures = cell.figures.iter().map(|figure| format!("<br>{}", shown(figure)));
    verdict.to_owned() + &figures.collect::<String>()
}

/// `CPU in 3 s: 0.01 s (<= 0.1)`.
fn shown(Figure { name, value, unit, at_most }: &Figure) -> String {
    let bound = at_most.map(|most| format!(" (≤ {})", rounded(most))).unwrap_or_default();
    format!("{name} {} {unit}", rounded(*value)).trim_end().to_owned() + &bound
}

/// Three digits, or a whole number.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn broken(page: &mut String, results: &Results) {
    if results.cells.iter().all(|cell| cell.broken.is_empty()) {
        return;
    }
    page.push_str("\n## What broke\n\n");
    for Cell { fault, server, broken, .. } in &results.cells {
        for reason in broken {
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(page, "- `{fault}::{server}`: {reason}");
        }
    }
}

fn own_ways(page: &mut String) {
    page.push_str("\n## Where a model has its own way\n\n");
    for row in ROWS.iter().filter(|row| !row.how.is_empty()) {
        let _ = writeln!(page, "- {}:", row.fault);
        for (name, way) in row.how {
            let _ = writeln!(page, "  - `{name}`: {way}");
        }
    }
}
