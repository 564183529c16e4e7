//! Code of the repository, by the names of its items.
//!
//! A place is `FILE#ITEM`, several items of one file `FILE#ITEM,ITEM`, of several files
//! `FILE#ITEM+FILE#ITEM`. An item is one of
//!
//! - `name`, of what stands at the margin: `serve`, `Session`;
//! - `Type::name`, of what stands in an `impl` of the type;
//! - `ITEM~text`, the one statement, arm or block of it whose first line has the text, in square
//!   brackets where it has a blank or a comma in it: `carry_out~[Plan::Wait {]`;
//! - `@anchor`, the lines between mdBook's `ANCHOR: anchor` and `ANCHOR_END: anchor`.
//!
//! Names need no marks in the source, cannot drift, and fail where there is none such.
//!
//! Of the contract, the same holds for a `message` and a `service`. Nothing is parsed: rustfmt, which is checked, says by the indentation where an item ends.

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
const KEYWORDS: [&str; 10] = [
    "fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod ", // Rust
    "message ", "service ", // the contract
];

/// Blocks of Markdown with the code at `place`, each with its file's name above it.
///
/// # Errors
/// If there is none.
pub fn blocks(repository: &Path, place: &str) -> Result<String, CodeError> {
    parts(place, '+').into_iter().map(|place| block(repository, place)).collect()
}

fn block(repository: &Path, place: &str) -> Result<String, CodeError> {
    let (file, items) = place
        .split_once('#')
        .filter(|(file, items)| !file.is_empty() && !items.is_empty())
        .ok_or_else(|| CodeError::Usage(place.to_owned()))?;
    let text = fs::read_to_string(repository.join(file))
        .map_err(|error| CodeError::Unreadable { file: file.to_owned(), error })?;
    let items = parts(items, ',').into_iter().map(|item| {
        named(&text, item).map_err(|count| CodeError::NotOne {
            file: file.to_owned(),
            item: item.to_owned(),
            count,
        })
    });
    let code = items.collect::<Result<Vec<_>, _>>()?.join("\n\n");
    let is_contract = Path::new(file).extension().is_some_and(|extension| extension == "proto");
    let language = if is_contract { "protobuf" } else { "rust,ignore" };
    Ok(format!("<p class=\"source\">{file}</p>\n\n````{language}\n{code}\n````\n\n"))
}

/// What `mark` parts, but for that in square brackets.
fn parts(text: &str, mark: char) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|character| {
        depth += i32::from(character == '[') - i32::from(character == ']');
        character == mark && depth == 0
    })
    .collect()
}

/// The one item of that name; or how many there are.
fn named(text: &str, item: &str) -> Result<String, usize> {
    let lines: Vec<_> = text.lines().collect();
    if let Some(anchor) = item.strip_prefix('@') {
        return anchored(text, anchor).map(|lines| dedented(&lines)).ok_or(0);
    }
    let (item, part) = item.split_once('~').map_or((item, None), |(item, part)| (item, Some(part)));
    let found: Vec<_> = match item.split_once("::") {
        None => declarations(&lines, 0..lines.len(), item, 0).collect(),
        Some((owner, name)) => impls(&lines, owner)
            .flat_map(|within| declarations(&lines, within, name, 4).collect::<Vec<_>>())
            .collect(),
    };
    let [at] = found[..] else { return Err(found.len()) };
    let whole = &lines[with_docs(&lines, at)..end(&lines, at)];
    let Some(part) = part else { return Ok(dedented(whole)) };
    let part = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).unwrap_or(part);
    let begins: Vec<_> = (0..whole.len()).filter(|at| whole[*at].contains(part)).collect();
    match begins[..] {
        [at] => Ok(dedented(&whole[at..end(whole, at)])),
        _ => Err(begins.len()),
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
    if declaration.ends_with([';', '}', ',']) {
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

/// As at the margin, and without the marks of anchors.
fn dedented(lines: &[&str]) -> String {
    let is_mark = |line: &&str| line.contains("ANCHOR:") || line.contains("ANCHOR_END:");
    let lines: Vec<_> = lines.iter().copied().filter(|line| !is_mark(line)).collect();
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
            ("Server::run~[let room]", "let room = {\n    let more = 1;\n    self.room + more\n};"),
        ] {
            assert_eq!(named(FILE, item).as_deref(), Ok(code), "{item}");
        }
        let run = named(FILE, "Server::run").unwrap();
        assert!(run.starts_with("/// Runs.\npub(super) async fn run(\n    self,\n) -> usize {\n"));
        assert!(run.ends_with("\n    room\n}"), "{run}");
    }

    #[test]
    fn a_name_that_none_or_two_have_is_refused() {
        for (item, count) in [
            ("run", 0),
            ("Server::walk", 0),
            ("Drop::drop", 2),
            ("@none", 0),
            ("Server::run~let", 2),
        ] {
            assert_eq!(named(FILE, item), Err(count), "{item}");
        }
    }

    #[test]
    fn a_block_names_its_file_and_a_failure_its_item() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.rs"), FILE).unwrap();
        let blocks = |place| blocks(folder.path(), place).map_err(|error| error.to_string());
        assert_eq!(
            blocks("f.rs#ONE,@room").unwrap(),
            "<p class=\"source\">f.rs</p>\n\n````rust,ignore\n\
             /// One.\npub const ONE: u8 = 1;\n\nlet more = 1;\n````\n\n"
        );
        assert_eq!(blocks("f.rs#TWO").unwrap_err(), "f.rs: 0 items are TWO");
        assert!(blocks("g.rs#ONE").unwrap_err().starts_with("g.rs: No such file"));
        assert_eq!(blocks("f.rs#ONE+f.rs#run_all").unwrap().matches("f.rs</p>").count(), 2);
        for place in ["f.rs", "#ONE", "f.rs#"] {
            assert!(blocks(place).unwrap_err().contains("is no place"), "{place}");
        }
    }
}
