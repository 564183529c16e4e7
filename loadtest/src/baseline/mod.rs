//! Baselines: results that are kept under a name, for later ones to be compared with.
//!
//! A baseline of another machine or of other flags would make a change of what is none: it is
//! refused.

pub mod report;

use std::fs;
use std::path::{Path, PathBuf};

use crate::compare::report::{Block, Entry};
use crate::environment::Environment;

/// The longest name, as a file system has it with some room.
const NAME_MAX: usize = 100;

/// Why there is no baseline to compare with.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// There is no such file, or it cannot be read.
    #[error("no baseline `{name}`: {path}: {error}; save one with --save-baseline {name}")]
    Missing {
        /// Its name.
        name: String,
        /// Where it should be.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is none.
    #[error("baseline `{name}` is no result of this command: {error}")]
    Foreign {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It cannot be compared with what is measured now.
    #[error("baseline `{name}` has another {what}; --force compares all the same")]
    Unlike {
        /// Its name.
        name: String,
        /// What differs, and how.
        what: String,
    },
}

/// A name on the command line: letters, digits, `-`, `_` and `.`, and not a dot first.
///
/// # Errors
/// In words.
pub fn name(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty()
        || text.len() > NAME_MAX
        || text.starts_with('.')
        || !text.bytes().all(is_fine)
    {
        return Err(format!(
            "a name is made of at most {NAME_MAX} letters, digits, - _ and ., and no dot first"
        ));
    }
    Ok(text.to_owned())
}

/// A share on the command line: `5%`, or `5`.
///
/// # Errors
/// In words.
pub fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Ok(_) => Err("must be between 0% and 100%".to_owned()),
        Err(error) => Err(format!("{error} (write 5%)")),
    }
}

/// Where a baseline of this name is kept.
pub fn path(output_dir: &Path, name: &str) -> PathBuf {
    output_dir.join("baselines").join(format!("{name}.json"))
}

/// The text of a baseline.
///
/// # Errors
/// If there is none.
pub fn read(output_dir: &Path, name: &str) -> Result<Vec<u8>, BaselineError> {
    let path = path(output_dir, name);
    fs::read(&path).map_err(|error| BaselineError::Missing {
        name: name.to_owned(),
        path: path.display().to_string(),
        error,
    })
}

/// What differs between two machines, as far as figures depend on it.
pub fn machines_differ(now: &Environment, before: &Environment) -> Vec<String> {
    let mut unlike = differ(&[("CPU", &now.cpu_model, &before.cpu_model)]);
    unlike.extend(differ(&[("number of cores", now.cores, before.cores)]));
    unlike.extend(differ(&[("kernel", &now.kernel, &before.kernel)]));
    unlike
}

/// What differs where closed loops were measured by an earlier load tester, which counted all that was
/// sent within the window, by the time until the last of it was settled.
pub fn counts_differ<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let is_older = |block: &Block| {
        let run = &block.run;
        run.settings.depth.is_some() && run.answered == 0 && run.ok > 0
    };
    let is_older = entries.any(|entry| entry.blocks.iter().any(is_older));
    is_older.then(|| "what a closed loop's throughput counts".to_owned()).into_iter().collect()
}

/// In words, those of the named values that are not the same now and before.
pub fn differ<T: PartialEq + std::fmt::Display>(values: &[(&str, T, T)]) -> Vec<String> {
    let unlike = values.iter().filter(|(_, now, before)| now != before);
    unlike.map(|(what, now, before)| format!("{what} ({before}, now {now})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_names_are_checked() {
        let here = Environment::look();
        let mut there = here.clone();
        assert_eq!(machines_differ(&here, &there), Vec::<String>::new());
        there.cores += 1;
        "another".clone_into(&mut there.cpu_model);
        there.git_revision = None; // which is what one wants to compare
        let unlike = machines_differ(&here, &there);
        assert!(unlike.len() == 2 && unlike[0].starts_with("CPU (another, now "), "{unlike:?}");
        for fine in ["main", "v1.2-rc_3", "0"] {
            assert_eq!(name(fine).as_deref(), Ok(fine));
        }
        for wrong in ["", ".", "..", ".hidden", "a/b", "a b", "\u{fc}", &"x".repeat(101)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (percent("5%"), percent("0"), percent("12.5 %")),
            (Ok(0.05), Ok(0.0), Ok(0.125))
        );
        assert!(percent("-1%").is_err() && percent("101").is_err() && percent("x").is_err());
    }
}
