//! The same concern in several servers: five columns of code. Where there is room they stand side by
//! side; where there is none, a row of tabs says which one is shown; on paper they follow each other.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Cause, MODELS, code};

/// Makes the columns; each of `places` is `MODEL=FILE#ITEM[,ITEM]`.
///
/// # Errors
/// If there is no such model, or no such code.
pub fn columns(repository: &Path, name: &str, places: &[&str]) -> Result<String, Cause> {
    let mut tabs = String::new();
    let mut columns = String::new();
    for (index, place) in places.iter().enumerate() {
        let (model, place) = place
            .split_once('=')
            .filter(|(model, _)| MODELS.contains(model))
            .ok_or_else(|| Cause::Name {
                kind: "column",
                name: (*place).to_owned(),
                known: MODELS.map(|model| format!("{model}=FILE#ITEM")).join(", "),
            })?;
        let checked = if index == 0 { " checked" } else { "" };
        let _ = write!(
            tabs,
            "<label><input type=\"radio\" name=\"side-{name}\" value=\"{model}\"{checked}>{model}</label>"
        );
        let code = code::blocks(repository, place)?;
        let _ = write!(
            columns,
            "<div class=\"column {model}\">\n<p class=\"model\">{model}</p>\n{code}\n</div>\n"
        );
    }
    Ok(format!(
        "<div class=\"columns\">\n<div class=\"tabs\" role=\"group\" aria-label=\"which server\">{tabs}</div>\n\
         <div class=\"strip\" tabindex=\"0\">\n{columns}</div>\n</div>\n"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_model_has_a_tab_and_a_column() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.rs"), "fn a() {}\nfn b() {}\n").unwrap();
        let made = columns(folder.path(), "n", &["threads=f.rs#a", "epoll=f.rs#b"]).unwrap();
        assert_eq!(made.matches("name=\"side-n\"").count(), 2);
        assert_eq!(made.matches(" checked>").count(), 1);
        assert!(made.contains("<div class=\"column epoll\">"));
        let error = columns(folder.path(), "n", &["thread=f.rs#a"]).unwrap_err().to_string();
        assert!(error.starts_with("no column \"thread=f.rs#a\": there are threads=FILE#ITEM"));
    }
}
