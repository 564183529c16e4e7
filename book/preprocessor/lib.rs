//! Fills in what the book takes from its repository: figures and plots from `results/`, code from the
//! crates, pictures drawn here. A directive that cannot be filled in is an error of the build, so
//! that no number and no line of code in the text can go stale unseen.
//!
//! | directive | becomes |
//! |---|---|
//! | `{{figure FILE PATH [FORMAT]}}` | one number: see [`path`] and [`format`](mod@format) |
//! | `{{figure FILE PATH / PATH [FORMAT]}}` | the first of two, divided by the second |
//! | `{{machine FILE}}` | on which machine, when, and of which revision a result was made |
//! | `{{table NAME}}` | one of [`table::NAMES`] |
//! | `{{plot NAME}}` | one of [`plot::NAMES`] |
//! | `{{plot FILE MEASURE}}` | a measure (`throughput`, `cpu`, `p99`, ...) over what a sweep went over |
//! | `{{crossover NAME}}` | a sentence: where a choice turns round, from `crossovers.json` |
//! | `{{picture NAME}}` | one of [`pictures::PICTURES`] |
//! | `{{code FILE#ITEM[,ITEM]}}` | items of a Rust file, by their names: see [`code`] |
//! | `{{columns NAME threads=FILE#ITEM pool=...}}` | the same code in several servers, beside each other |
//!
//! With a `\` before it, a directive stands as it is. mdBook's own `{{#include}}` is left to mdBook,
//! which only warns where there is nothing to include: here it is an error.

pub mod bars;
mod chinese;
pub mod code;
pub mod columns;
pub mod crossover;
pub mod directive;
pub mod edition;
pub mod format;
pub mod include;
pub mod language;
pub mod lines;
pub mod machine;
pub mod path;
pub mod picture;
pub mod pictures;
pub mod plot;
pub mod results;
pub mod svg;
pub mod sweep;
pub mod table;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::directive::Piece;
use crate::format::Format;
use crate::language::Language;
use crate::results::Results;

/// The five models, in the order in which they are read.
pub const MODELS: [&str; 5] = ["threads", "pool", "tasks", "epoll", "grpc"];

/// Why a directive cannot be filled in.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There is no such directive.
    #[error(
        "no such directive: there are figure, machine, table, plot, crossover, picture, code, columns"
    )]
    Unknown,
    /// It has too few words, or too many.
    #[error("wants {0}")]
    Usage(&'static str),
    /// There is none of that name.
    #[error("no {kind} {name:?}: there are {known}")]
    Name {
        /// What was asked for.
        kind: &'static str,
        /// By which name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A result file has no such figure.
    #[error(transparent)]
    Results(#[from] results::ResultsError),
    /// A figure cannot be written in that way.
    #[error(transparent)]
    Format(#[from] format::FormatError),
    /// A file has no such code.
    #[error(transparent)]
    Code(#[from] code::CodeError),
    /// It is not said in this language.
    #[error("no Chinese for {0:?}: give it one in book/preprocessor/chinese.rs")]
    Untranslated(String),
    /// A file has no such anchor.
    #[error(transparent)]
    Include(#[from] include::IncludeError),
}

/// A directive that cannot be filled in: what a build that fails says of it, on one line.
#[derive(Debug)]
pub struct Problem {
    /// The chapter's file.
    pub chapter: PathBuf,
    /// The line on which the directive begins, from 1.
    pub line: usize,
    /// What stands there.
    pub directive: String,
    /// What is wrong with it.
    pub cause: Cause,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chapter, line, directive, cause } = self;
        let directive: Vec<_> = directive.split_whitespace().collect();
        write!(f, "{}:{line}: {{{{{}}}}}: {cause}", chapter.display(), directive.join(" "))
    }
}

/// A chapter with its directives filled in, and those that could not be.
#[derive(Debug)]
pub struct Filled {
    /// What mdBook goes on with.
    pub text: String,
    /// In the order of the text.
    pub problems: Vec<Problem>,
}

/// Fills in the chapters of a book.
#[derive(Debug)]
pub struct Filler {
    repository: PathBuf,
    results: Results,
    language: Language,
}

impl Filler {
    /// One that takes what it fills in from `repository`, and says it in that language.
    pub fn new(repository: &Path, language: Language) -> Self {
        Self {
            repository: repository.to_owned(),
            results: Results::new(repository.join("results")),
            language,
        }
    }

    /// Fills in `text`, which is that of the file `chapter`.
    pub fn fill(&self, chapter: &Path, text: &str) -> Filled {
        let mut filled = Filled { text: String::with_capacity(text.len()), problems: Vec::new() };
        for piece in directive::pieces(text) {
            let (directive, at, becomes) = match piece {
                Piece::Text(text) => {
                    filled.text.push_str(text);
                    continue;
                }
                Piece::Include { directive, at } => {
                    let found = include::check(chapter, directive).map_err(Cause::from);
                    (directive, at, found.map(|()| format!("{{{{{directive}}}}}")))
                }
                Piece::Directive { directive, at } => (directive, at, self.becomes(directive)),
            };
            match becomes {
                Ok(becomes) => filled.text.push_str(&becomes),
                Err(cause) => filled.problems.push(Problem {
                    chapter: chapter.strip_prefix(&self.repository).unwrap_or(chapter).to_owned(),
                    line: text[..at].matches('\n').count() + 1,
                    directive: directive.to_owned(),
                    cause,
                }),
            }
        }
        filled
    }

    fn becomes(&self, directive: &str) -> Result<String, Cause> {
        let words = directive::words(directive);
        let (results, language) = (&self.results, self.language);
        match &words[..] {
            ["figure", file, rest @ ..] => self.figure(file, rest),
            ["machine", file] => machine::line(results, language, file),
            ["table", name] => table::table(results, language, name),
            ["plot", name] => plot::plot(results, language, name),
            ["plot", file, measure] => sweep::sweep(results, language, file, measure),
            ["crossover", name] => crossover::sentence(results, language, name),
            ["picture", name] => picture::named(language, name),
            ["code", place] => Ok(code::blocks(&self.repository, place)?),
            ["columns", name, places @ ..] if !places.is_empty() => {
                columns::columns(&self.repository, name, places)
            }
            ["figure", ..] => Err(Cause::Usage("FILE PATH [FORMAT], or FILE PATH / PATH [FORMAT]")),
            ["machine", ..] => Err(Cause::Usage("FILE")),
            ["plot", ..] => Err(Cause::Usage("NAME, or FILE MEASURE")),
            ["table" | "picture" | "crossover", ..] => Err(Cause::Usage("NAME")),
            ["code", ..] => Err(Cause::Usage("FILE#ITEM[,ITEM]")),
            ["columns", ..] => Err(Cause::Usage("NAME MODEL=FILE#ITEM[,ITEM] ...")),
            _ => Err(Cause::Unknown),
        }
    }

    fn figure(&self, file: &str, rest: &[&str]) -> Result<String, Cause> {
        let (value, format) = match rest {
            [path, "/", divisor, format @ ..] if format.len() < 2 => {
                let quotient =
                    self.results.number(file, path)? / self.results.number(file, divisor)?;
                (serde_json::Value::from(quotient), format.first())
            }
            [path, format @ ..] if format.len() < 2 => {
                (self.results.value(file, path)?, format.first())
            }
            _ => {
                return Err(Cause::Usage("FILE PATH [FORMAT], or FILE PATH / PATH [FORMAT]"));
            }
        };
        let format = format.map(|format| format.parse()).transpose()?.unwrap_or(Format::default());
        Ok(format.write(&value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no directive is left as it is: one that is missing there would never be filled in.
    #[test]
    fn every_directive_is_looked_for() {
        let known = format!("no such directive: there are {}", directive::NAMES.join(", "));
        assert_eq!(Cause::Unknown.to_string(), known);
        let filler = Filler::new(Path::new(env!("CARGO_MANIFEST_DIR")), Language::English);
        for name in directive::NAMES {
            let made = filler.fill(Path::new("a.md"), &format!("{{{{{name}}}}}"));
            let cause = made.problems.first().map(|problem| &problem.cause);
            assert!(matches!(cause, Some(Cause::Usage(_))), "{name}: {cause:?}");
        }
    }
}
