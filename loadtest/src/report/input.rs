//! Reads result files of every kind that a report can show. A file that is none of them is refused
//! in one line: what, where, and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::schema::{Capacity, Comparison, Memory, Sweep};
use crate::compare::report::COMPARE_SCHEMA;
use crate::result::{RUN_SCHEMA, RunResult};

/// Of `loadtest sweep`.
pub const SWEEP_SCHEMA: &str = "quintet/sweep/1";
/// Of `loadtest capacity`.
pub const CAPACITY_SCHEMA: &str = "quintet/capacity/1";
/// Of `loadtest memory`.
pub const MEMORY_SCHEMA: &str = "quintet/memory/1";

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is called in the report.
    pub label: String,
    /// What it says.
    pub document: Document,
    /// What it ran on, as it stands in the file.
    pub environment: Map<String, Value>,
    /// What was asked for, as it stands in the file.
    pub flags: Map<String, Value>,
    /// The command line that makes such a file again; empty where the file does not say.
    pub command: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the names say it
pub enum Document {
    Run(Box<RunResult>),
    Compare(Comparison),
    Sweep(Sweep),
    Capacity(Capacity),
    Memory(Memory),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum InputError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{} is cut short: it ends in the middle of its JSON; make it again", path.display())]
    CutShort { path: PathBuf },
    #[error("{} is no JSON ({error}); name a file that `loadtest` wrote", path.display())]
    NoJson { path: PathBuf, error: serde_json::Error },
    #[error(
        "{} is no result of `loadtest`, for it names no schema; name a file that \
         `loadtest run --json` or another of its commands wrote",
        path.display()
    )]
    NoSchema { path: PathBuf },
    #[error(
        "{} has the schema {schema}, and this loadtest reads {}; use the version of loadtest \
         that wrote it, or make it again with this one",
        path.display(),
        known()
    )]
    Schema { path: PathBuf, schema: String },
    #[error("{} does not keep to {schema} ({error}); make it again", path.display())]
    Content { path: PathBuf, schema: String, error: serde_json::Error },
}

fn known() -> String {
    let others = [RUN_SCHEMA, COMPARE_SCHEMA, SWEEP_SCHEMA, CAPACITY_SCHEMA].join(", ");
    format!("{others} and {MEMORY_SCHEMA}")
}

/// Reads them all, and finds each a name of its own.
///
/// # Errors
/// At the first file that is no result.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Source>, InputError> {
    let stems: Vec<String> = paths.iter().map(|path| stem(path)).collect();
    let mut sources = Vec::with_capacity(paths.len());
    for (path, stem) in paths.iter().zip(&stems) {
        let mut source = read(path)?;
        if stems.iter().filter(|other| *other == stem).count() > 1 {
            source.label = path.display().to_string();
        }
        sources.push(source);
    }
    Ok(sources)
}

/// Reads one.
///
/// # Errors
/// If it cannot be read, or is no result.
pub fn read(path: &Path) -> Result<Source, InputError> {
    let at = || path.to_owned();
    let text = fs::read(path).map_err(|error| InputError::Read { path: at(), error })?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| {
        if error.is_eof() {
            InputError::CutShort { path: at() }
        } else {
            InputError::NoJson { path: at(), error }
        }
    })?;
    let Some(schema) = json.get("schema").and_then(Value::as_str).map(str::to_owned) else {
        return Err(InputError::NoSchema { path: at() });
    };
    let object = |name: &str| json.get(name).and_then(Value::as_object).cloned();
    let (environment, flags) = (object("environment"), object("flags").or(object("settings")));
    let words = json.get("command").and_then(Value::as_array).cloned().unwrap_or_default();
    let command = words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let document = match schema.as_str() {
        RUN_SCHEMA => parse(json).map(|run| Document::Run(Box::new(run))),
        COMPARE_SCHEMA => parse(json).map(Document::Compare),
        SWEEP_SCHEMA => parse(json).map(Document::Sweep),
        CAPACITY_SCHEMA => parse(json).map(Document::Capacity),
        MEMORY_SCHEMA => parse(json).map(Document::Memory),
        _ => return Err(InputError::Schema { path: at(), schema }),
    };
    Ok(Source {
        label: stem(path),
        document: document.map_err(|error| InputError::Content { path: at(), schema, error })?,
        environment: environment.unwrap_or_default(),
        flags: flags.unwrap_or_default(),
        command,
    })
}

fn parse<T: DeserializeOwned>(json: Value) -> serde_json::Result<T> {
    serde_json::from_value(json)
}

/// The file's name without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Source {
    /// The command line as a shell takes it; none where the file does not say.
    pub fn command_line(&self) -> Option<String> {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// A word that a shell takes as it stands.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl Document {
    /// What people call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Compare(_) => "comparison",
            Self::Sweep(_) => "sweep",
            Self::Capacity(_) => "capacity",
            Self::Memory(_) => "memory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file with that content.
    fn refused(content: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        fs::write(&path, content).unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains(&path.display().to_string()) && !said.contains('\n'), "{said}");
        said
    }

    #[test]
    fn what_is_no_result_is_refused_in_one_line() {
        assert!(refused("{\"schema\": \"quintet/run/1\", \"ta").contains("is cut short"));
        assert!(refused("").contains("is cut short"));
        assert!(refused("<html>").contains("is no JSON"));
        assert!(refused("[1, 2]").contains("names no schema"));
        assert!(refused("{\"schema\": 1}").contains("names no schema"));
        let newer = refused("{\"schema\": \"quintet/run/2\"}");
        assert!(newer.contains("quintet/run/2") && newer.contains(RUN_SCHEMA), "{newer}");
        assert!(refused("{\"schema\": \"quintet/run/1\"}").contains("missing field"));
        let absent = read(Path::new("/nonexistent/run.json")).unwrap_err().to_string();
        assert!(absent.starts_with("cannot read /nonexistent/run.json: No such file"), "{absent}");
    }

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_absent_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.json");
        let json = serde_json::json!({ "schema": SWEEP_SCHEMA, "novelty": [1], "points": [{}],
            "command": ["loadtest", "sweep", "--work=it's"], "flags": { "seed": 7 } });
        fs::write(&path, json.to_string()).unwrap();
        let source = read(&path).unwrap();
        assert_eq!((source.label.as_str(), source.document.kind()), ("sweep", "sweep"));
        assert_eq!(source.command_line().unwrap(), "loadtest sweep '--work=it'\\''s'");
        assert_eq!(source.flags["seed"], 7);
        let Document::Sweep(sweep) = source.document else { panic!("{source:?}") };
        assert!(sweep.points[0].entries.is_empty() && sweep.fits.is_empty());
    }

    #[test]
    fn files_of_one_name_are_called_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name).join("m.json"));
        for path in &paths {
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(path, "{\"schema\": \"quintet/memory/1\"}").unwrap();
        }
        let sources = read_all(&paths).unwrap();
        assert_eq!(sources[1].label, paths[1].display().to_string());
        assert_eq!(read_all(&paths[..1]).unwrap()[0].label, "m");
    }
}
