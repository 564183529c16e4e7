//! The fault matrix: what can go wrong, done to each server as a process of its own, with a
//! bystander beside it who must not notice. It pays with a harness of its own, so that each cell
//! of a table is a named test: `cargo test -p servers --test faults drain::epoll`.
//!
//! Read [`rows`] first: the table of faults and promises. A row's test is written once, in terms
//! of a [`peer`] that misbehaves over either wire, a [`bystander`] that does not, and what the
//! [`gauge`]s of the kernel say. `cargo faults` runs all of it one by one and makes the [`page`].

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod bystander;
mod gauge;
mod http2;
mod matrix;
mod page;
mod peer;
mod results;
mod rows;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};

use self::harness::{client, patience, process};
use self::matrix::Cell;
use self::results::Results;
use self::rows::ROWS;

/// Measures cells, one at a time, and writes the results and the page where it was all of them;
/// where a filter says which, their figures are printed.
const MEASURE: &str = "--measure";
/// Writes the page of the last results: for when its words have changed.
const PAGE: &str = "--page";

/// Most of a cell's time is spent waiting for a timeout.
const CELLS_AT_ONCE: usize = 4;

type Cells = Arc<Mutex<Vec<Cell>>>;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == rows::panic::SERVE) {
        rows::panic::serve(&arguments[2..]).expect("it serves until it is killed");
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == PAGE) {
        write_page(&Results::read());
        return ExitCode::SUCCESS;
    }
    let is_measured = arguments.iter().any(|argument| argument == MEASURE);
    arguments.retain(|argument| argument != MEASURE);
    let mut arguments = Arguments::from_iter(arguments);
    arguments.test_threads.get_or_insert(CELLS_AT_ONCE);
    let cells = Cells::default();
    let is_part = arguments.filter.is_some() || !arguments.skip.is_empty();
    let shows_figures = arguments.show_output || is_measured && is_part;
    let mut trials: Vec<_> = trials(is_measured, shows_figures, &cells).collect();
    if !is_measured {
        trials.push(Trial::test("the_page_is_made_of_the_results", the_page_is_up_to_date));
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    arguments.test_threads = Some(1);
    let ended = libtest_mimic::run(&arguments, trials);
    if is_part {
        return ended.exit_code(); // the page is of one whole run
    }
    let results = Results::of(std::mem::take(&mut cells.lock().expect("all cells are over")));
    results.write().expect("results/ can be written");
    write_page(&results);
    ended.exit_code()
}

fn write_page(results: &Results) {
    std::fs::write(results::path(page::PATH), page::render(results)).expect("docs/ can be written");
    let readme = results::path(page::README);
    let text = std::fs::read_to_string(&readme).expect("there is a README");
    std::fs::write(readme, page::into_readme(&text)).expect("the README can be written");
}

/// Each cell by its name, `fault::server`.
fn trials(is_measured: bool, shows_figures: bool, cells: &Cells) -> impl Iterator<Item = Trial> {
    let each = ROWS.iter().flat_map(|row| row.servers.iter().map(move |model| (row, *model)));
    each.map(move |(row, model)| {
        let cells = Arc::clone(cells);
        Trial::test(format!("{}::{}", row.name, model.name), move || {
            let cell = row.run(model, is_measured);
            if shows_figures {
                println!("{}::{}: {}", row.name, model.name, page::cell(&cell));
            }
            let broken = cell.broken.join("\n");
            cells.lock().expect("no cell panics").push(cell);
            if broken.is_empty() { Ok(()) } else { Err(Failed::from(broken)) }
        })
    })
}

fn the_page_is_up_to_date() -> Result<(), Failed> {
    let page = std::fs::read_to_string(results::path(page::PATH))?;
    let readme = std::fs::read_to_string(results::path(page::README))?;
    if page == page::render(&Results::read()) && readme == page::into_readme(&readme) {
        Ok(())
    } else {
        Err("docs/faults.md or README.md is not what the results and the rows say: \
             `cargo test -p servers --test faults -- --page` writes them"
            .into())
    }
}
