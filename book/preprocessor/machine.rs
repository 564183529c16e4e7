//! On which machine a result was made, when, and of which revision: without these, a figure says
//! nothing.

use crate::Cause;
use crate::language::Language;
use crate::results::Results;

/// Where the files of the several tools have it, the first that is there.
const PLACES: [&str; 2] = ["environment.", "machine."];

/// One line: machine, kernel, date, revision.
///
/// # Errors
/// If the file does not name its machine.
pub fn line(results: &Results, language: Language, file: &str) -> Result<String, Cause> {
    let place = |key: &str| {
        let places = PLACES.iter().map(|place| format!("{place}{key}"));
        places.chain([key.to_owned()]).find_map(|path| results.text(file, &path).ok())
    };
    // Where it stands nowhere, the error is of the place where most files have it.
    let needed = |key: &str| match place(key) {
        Some(text) => Ok(text),
        None => results.text(file, &format!("environment.{key}")),
    };
    let (cpu, cores, kernel) = (needed("cpu_model")?, needed("cores")?, needed("kernel")?);
    let date = needed("date")?;
    let day = date.split('T').next().unwrap_or_default();
    let revision = place("git_revision").or_else(|| place("revision"));
    let revision = match revision {
        Some(revision) => language.fill(", revision {}", &[&revision])?,
        None => String::new(),
    };
    let gaps = [&cpu, &cores, &kernel, day, &revision, file];
    language.fill("{}, {} cores, Linux {}; {}{}; `results/{}`", &gaps)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_tool_says_it_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::new(folder.path().to_owned());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let machine = r#""cpu_model": "A", "cores": 2, "kernel": "6""#;
        write(
            "a.json",
            &format!(
                r#"{{"environment": {{{machine}, "date": "2026-01-02T03", "git_revision": "abc"}}}}"#
            ),
        );
        write("b.json", &format!(r#"{{"machine": {{{machine}}}, "date": "2026-01-02"}}"#));
        write("c.json", &format!(r#"{{{machine}, "date": "2026-01-02", "revision": "abc"}}"#));
        write("d.json", "{}");
        let line = |results, file| super::line(results, Language::English, file);
        let said = "A, 2 cores, Linux 6; 2026-01-02";
        assert_eq!(
            line(&results, "a.json").unwrap(),
            format!("{said}, revision abc; `results/a.json`")
        );
        assert_eq!(line(&results, "b.json").unwrap(), format!("{said}; `results/b.json`"));
        assert_eq!(
            line(&results, "c.json").unwrap(),
            format!("{said}, revision abc; `results/c.json`")
        );
        assert!(line(&results, "d.json").unwrap_err().to_string().contains("environment"));
        let chinese = super::line(&results, Language::Chinese, "a.json").unwrap();
        assert_eq!(chinese, "A，2 核，Linux 6；2026-01-02，修订 abc；`results/a.json`");
    }
}
