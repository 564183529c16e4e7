//! What mdBook's own `{{#include FILE:ANCHOR}}` names has to be there: mdBook itself would go on with
//! nothing in its place.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why there is nothing to include.
#[derive(Debug, thiserror::Error)]
pub enum IncludeError {
    /// The directive names no file.
    #[error("wants FILE, FILE:ANCHOR or FILE:FIRST:LAST")]
    Usage,
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file has no such anchor, or it holds nothing.
    #[error("{}: nothing between ANCHOR: {anchor} and ANCHOR_END: {anchor}", path.display())]
    NoAnchor {
        /// Which file.
        path: PathBuf,
        /// Which anchor.
        anchor: String,
    },
}

/// Looks whether the file is there that a directive in `chapter` names, and the anchor in it.
///
/// # Errors
/// If it is not.
pub fn check(chapter: &Path, directive: &str) -> Result<(), IncludeError> {
    let place = directive.split_whitespace().nth(1).ok_or(IncludeError::Usage)?;
    let (file, anchor) = place.split_once(':').map_or((place, None), |(f, a)| (f, Some(a)));
    let path = chapter.parent().unwrap_or(Path::new("")).join(file);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(IncludeError::Unreadable { path, error }),
    };
    match anchor {
        Some(anchor) if !is_lines(anchor) && anchored(&text, anchor).is_none() => {
            Err(IncludeError::NoAnchor { path, anchor: anchor.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Whether what stands behind a file's name are its lines.
fn is_lines(anchor: &str) -> bool {
    anchor.chars().all(|c| c.is_ascii_digit() || c == ':')
}

/// The lines of an anchor; nothing where it is not there, is not closed, or holds none.
pub fn anchored<'a>(text: &'a str, anchor: &str) -> Option<Vec<&'a str>> {
    let is = |line: &str, mark: &str| {
        let behind = line.split_once(mark).map(|(_, behind)| behind.split_whitespace().next());
        behind == Some(Some(anchor))
    };
    let begins = text.lines().position(|line| is(line, "ANCHOR:"))?;
    let length = text.lines().skip(begins + 1).position(|line| is(line, "ANCHOR_END:"))?;
    let lines: Vec<_> = text
        .lines()
        .skip(begins + 1)
        .take(length)
        .filter(|line| !line.contains("ANCHOR:") && !line.contains("ANCHOR_END:"))
        .collect();
    lines.iter().any(|line| !line.trim().is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "a\n// ANCHOR: one\nb\n  // ANCHOR: two\nc\n// ANCHOR_END: two\n\
        // ANCHOR_END: one\n// ANCHOR: none\n\n// ANCHOR_END: none\n// ANCHOR: open\nd\n";

    #[test]
    fn an_anchor_holds_its_lines_but_no_marks() {
        assert_eq!(anchored(FILE, "one"), Some(vec!["b", "c"]));
        assert_eq!(anchored(FILE, "two"), Some(vec!["c"]));
        for absent in ["none", "open", "on", "three"] {
            assert_eq!(anchored(FILE, absent), None, "{absent}");
        }
    }

    #[test]
    fn a_file_or_an_anchor_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.rs"), FILE).unwrap();
        let chapter = folder.path().join("c.md");
        let error = |directive: &str| check(&chapter, directive).unwrap_err().to_string();
        for good in ["f.rs", "f.rs:one", "f.rs:1:2", "f.rs:3"] {
            check(&chapter, &format!("#include {good}")).unwrap();
        }
        assert!(error("#include g.rs").contains("g.rs: No such file"));
        assert!(error("#include f.rs:three").contains("ANCHOR: three"));
        assert!(error("#include").starts_with("wants FILE"));
    }
}
