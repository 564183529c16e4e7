//! The committed result files, each read once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io};

use serde_json::Value;

use crate::path::{Path, PathError};

/// The result files of a folder.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    read: RefCell<HashMap<String, Rc<Value>>>,
}

/// Why there is no such figure.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file cannot be read.
    #[error("results/{file}: {error}")]
    Unreadable {
        /// Its name.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// The file is no JSON.
    #[error("results/{file}: {error}")]
    NoJson {
        /// Its name.
        file: String,
        /// Where it is none.
        error: serde_json::Error,
    },
    /// The file has no such value.
    #[error("results/{file}: {error}")]
    NoValue {
        /// Its name.
        file: String,
        /// Where there is nothing.
        error: PathError,
    },
    /// The value is no number.
    #[error("results/{file}: {path} is no number")]
    NoNumber {
        /// Its name.
        file: String,
        /// Where it stands.
        path: String,
    },
}

impl Results {
    /// Those in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, read: RefCell::default() }
    }

    /// Where a file is.
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// A whole file.
    ///
    /// # Errors
    /// If it cannot be read, or is no JSON.
    pub fn file(&self, file: &str) -> Result<Rc<Value>, ResultsError> {
        if let Some(value) = self.read.borrow().get(file) {
            return Ok(Rc::clone(value));
        }
        let text = fs::read_to_string(self.path_of(file))
            .map_err(|error| ResultsError::Unreadable { file: file.to_owned(), error })?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| ResultsError::NoJson { file: file.to_owned(), error })?;
        let value = Rc::new(value);
        self.read.borrow_mut().insert(file.to_owned(), Rc::clone(&value));
        Ok(value)
    }

    /// The value at `path` of `file`.
    ///
    /// # Errors
    /// If there is none.
    pub fn value(&self, file: &str, path: &str) -> Result<Value, ResultsError> {
        let no_value = |error| ResultsError::NoValue { file: file.to_owned(), error };
        let root = self.file(file)?;
        let path: Path = path.parse().map_err(no_value)?;
        path.find(&root).cloned().map_err(no_value)
    }

    /// The number at `path` of `file`.
    ///
    /// # Errors
    /// If there is none.
    pub fn number(&self, file: &str, path: &str) -> Result<f64, ResultsError> {
        self.value(file, path)?
            .as_f64()
            .ok_or_else(|| ResultsError::NoNumber { file: file.to_owned(), path: path.to_owned() })
    }

    /// The text at `path` of `file`.
    ///
    /// # Errors
    /// If there is no value. One that is no text is written as JSON.
    pub fn text(&self, file: &str, path: &str) -> Result<String, ResultsError> {
        Ok(match self.value(file, path)? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// The list at `path` of `file`; nothing where it is no list.
    ///
    /// # Errors
    /// If there is no value.
    pub fn list(&self, file: &str, path: &str) -> Result<Vec<Value>, ResultsError> {
        Ok(match self.value(file, path)? {
            Value::Array(elements) => elements,
            _ => Vec::new(),
        })
    }
}
