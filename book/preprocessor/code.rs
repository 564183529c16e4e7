//! Code of the repository, by the names of its items.
//!
//! A place is `FILE#ITEM`, several items of one file `FILE#ITEM,ITEM`. An item is `name` (of what
//! stands at the margin: `serve`, `Session`), `Type::name` (of what stands in an `impl` of the type),
//! or `@anchor`, the lines between mdBook's `ANCHOR: anchor` and `ANCHOR_END: anchor`, for a part of
//! a function. Names need no marks in the source, cannot drift, and fail where there is none such.
//!
//! Rust is not parsed: rustfmt, which is checked, says by the indentation where an item ends.

use std::path::Path;
use std::{fs, io};

use crate::include::anchored;

/// Why there is no such code.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// It is no place.
    #[error("{0:?} is no place: FILE#ITEM[,ITEM]")]
    Usage(String),
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// The file does not have it, or has it more than once.
    #[error("{file}: {count} items are {item}")]
    NotOne {
        /// Which file.
        file: String,
        /// Which item.
        item: String,
        /// How many there are.
        count: usize,
    },
}

/// What can have a name.
const KEYWORDS: [&str; 8] =
    ["fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod "];

/// A block of Markdown with the code at `place`, and the file's name above it.
///
/// # Errors
/// If there is none.
pub fn block(repository: &Path, place: &str) -> Result<String, CodeError> {
    let (file, items) = place
        .split_once('#')
        .filter(|(file, items)| !file.is_empty() && !items.is_empty())
        .ok_or_else(|| CodeError::Usage(place.to_owned()))?;
    let text = fs::read_to_string(repository.join(file))
        .map_err(|error| CodeError::Unreadable { file: file.to_owned(), error })?;
    let items = items.split(',').map(|item| {
        named(&text, item).map_err(|count| CodeError::NotOne {
            file: file.to_owned(),
            item: item.to_owned(),
            count,
        })
    });
    let code = items.collect::<Result<Vec<_>, _>>()?.join("\n\n");
    Ok(format!("<p class=\"source\">{file}</p>\n\n````rust,ignore\n{code}\n````\n"))
}

/// The one item of that name; or how many there are.
fn named(text: &str, item: &str) -> Result<String, usize> {
    let lines: Vec<_> = text.lines().collect();
    if let Some(anchor) = item.strip_prefix('@') {
        return anchored(text, anchor).map(|lines| dedented(&lines)).ok_or(0);
    }
    let found: Vec<_> = match item.split_once("::") {
        None => declarations(&lines, 0..lines.len(), item, 0).collect(),
        Some((owner, name)) => impls(&lines, owner)
            .flat_map(|within| declarations(&lines, within, name, 4).collect::<Vec<_>>())
            .collect(),
    };
    match found[..] {
        [at] => Ok(dedented(&lines[with_docs(&lines, at)..end(&lines, at)])),
        _ => Err(found.len()),
    }
}

/// The lines that declare `name`, of those that are indented so.
fn declarations<'a>(
    lines: &'a [&'a str],
    within: std::ops::Range<usize>,
    name: &'a str,
    indentation: usize,
) -> impl Iterator<Item = usize> + 'a {
    within.filter(move |at| {
        let line = lines[*at];
        indent(line) == indentation && declares(line.trim_start(), name)
    })
}

fn declares(line: &str, name: &str) -> bool {
    let mut rest = line;
    if let Some(public) = rest.strip_prefix("pub") {
        let scope = public.strip_prefix('(').and_then(|scope| scope.split_once(')'));
        rest = scope.map_or(public, |(_, behind)| behind).trim_start();
    }
    for qualifier in ["async ", "const fn", "unsafe "] {
        if let Some(behind) = rest.strip_prefix(qualifier) {
            rest = if qualifier == "const fn" { &rest["const ".len()..] } else { behind };
        }
    }
    KEYWORDS
        .iter()
        .filter_map(|keyword| rest.strip_prefix(keyword))
        .any(|rest| rest.strip_prefix(name).is_some_and(|behind| !behind.starts_with(is_in_a_name)))
}

/// The lines of each `impl` at the margin that has `owner` in its head.
fn impls<'a>(
    lines: &'a [&'a str],
    owner: &'a str,
) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    let heads = lines.iter().enumerate().filter(move |(_, line)| {
        let is_impl = line.starts_with("impl ") || line.starts_with("impl<");
        is_impl && line.split(|c| !is_in_a_name(c)).any(|word| word == owner)
    });
    heads.map(|(at, _)| at..end(lines, at))
}

fn is_in_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Where what stands above an item begins: its attributes and its documentation.
fn with_docs(lines: &[&str], at: usize) -> usize {
    let stands_above =
        |line: &&&str| line.trim_start().starts_with("///") || line.trim_start().starts_with("#[");
    at - lines[..at].iter().rev().take_while(stands_above).count()
}

/// Behind the last line of the item that is declared `at`.
fn end(lines: &[&str], at: usize) -> usize {
    let declaration = lines[at];
    if declaration.ends_with(';') || declaration.ends_with('}') {
        return at + 1;
    }
    let closes = |line: &&str| {
        let rest = line.trim_start();
        indent(line) == indent(declaration)
            && (rest.starts_with('}') || rest.starts_with(");") || rest.starts_with(']'))
    };
    let length = lines[at + 1..].iter().position(closes);
    length.map_or(lines.len(), |length| at + 1 + length + 1)
}

fn dedented(lines: &[&str]) -> String {
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min();
    let common = common.unwrap_or(0);
    let dedented = lines.iter().map(|line| line.get(common..).unwrap_or_default());
    dedented.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
/// One.
pub const ONE: u8 = 1;

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    room: usize,
}

impl Server {
    /// Runs.
    pub(super) async fn run(
        self,
    ) -> usize {
        let room = {
            // ANCHOR: room
            let more = 1;
            // ANCHOR_END: room
            self.room + more
        };
        room
    }

    const fn room(&self) -> usize { self.room }
}

impl Drop for Server {
    fn drop(&mut self) {}
}

impl Drop for Other {
    fn drop(&mut self) {}
}

fn run_all() {
    run();
}
";

    #[test]
    fn items_are_found_by_name_with_their_docs() {
        for (item, code) in [
            ("ONE", "/// One.\npub const ONE: u8 = 1;"),
            (
                "Server",
                "/// A server.\n#[derive(Debug)]\npub(crate) struct Server {\n    room: usize,\n}",
            ),
            ("Server::room", "const fn room(&self) -> usize { self.room }"),
            ("Server::drop", "fn drop(&mut self) {}"),
            ("run_all", "fn run_all() {\n    run();\n}"),
            ("@room", "let more = 1;"),
        ] {
            assert_eq!(named(FILE, item).as_deref(), Ok(code), "{item}");
        }
        let run = named(FILE, "Server::run").unwrap();
        assert!(run.starts_with("/// Runs.\npub(super) async fn run(\n    self,\n) -> usize {\n"));
        assert!(run.ends_with("\n    room\n}"), "{run}");
    }

    #[test]
    fn a_name_that_none_or_two_have_is_refused() {
        for (item, count) in [("run", 0), ("Server::walk", 0), ("Drop::drop", 2), ("@none", 0)] {
            assert_eq!(named(FILE, item), Err(count), "{item}");
        }
    }

    #[test]
    fn a_block_names_its_file_and_a_failure_its_item() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.rs"), FILE).unwrap();
        let block = |place| block(folder.path(), place).map_err(|error| error.to_string());
        assert_eq!(
            block("f.rs#ONE,@room").unwrap(),
            "<p class=\"source\">f.rs</p>\n\n````rust,ignore\n\
             /// One.\npub const ONE: u8 = 1;\n\nlet more = 1;\n````\n"
        );
        assert_eq!(block("f.rs#TWO").unwrap_err(), "f.rs: 0 items are TWO");
        assert!(block("g.rs#ONE").unwrap_err().starts_with("g.rs: No such file"));
        for place in ["f.rs", "#ONE", "f.rs#"] {
            assert!(block(place).unwrap_err().contains("is no place"), "{place}");
        }
    }
}
