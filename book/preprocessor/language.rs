//! In which language the preprocessor speaks: that of the book.
//!
//! English stands in the code, where it is said. `chinese.rs` has the same in Chinese, by the English
//! words. What is missing there is an error of the build, as is a figure that is missing. Names of
//! servers are the same in every language.

use crate::Cause;
use crate::chinese::{DATA, WORDS};

/// What is left open in a sentence.
const GAP: &str = "{}";

/// The language of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The original.
    English,
    /// Simplified, as it is written in the mainland.
    Chinese,
}

impl Language {
    /// The one that a `book.toml` names (`en`, `zh`, `zh-CN`); nothing where it is none of ours.
    pub fn named(tag: &str) -> Option<Self> {
        match tag.split('-').next() {
            Some("en") => Some(Self::English),
            Some("zh") => Some(Self::Chinese),
            _ => None,
        }
    }

    /// What is said in English, in this language.
    ///
    /// # Errors
    /// If it has not been translated.
    pub fn say(self, english: &str) -> Result<&str, Cause> {
        match self {
            Self::English => Ok(english),
            Self::Chinese => WORDS
                .iter()
                .find_map(|(known, chinese)| (*known == english).then_some(*chinese))
                .ok_or_else(|| Cause::Untranslated(english.to_owned())),
        }
    }

    /// Each of several.
    ///
    /// # Errors
    /// If one has not been translated.
    pub fn all<const N: usize>(self, mut english: [&str; N]) -> Result<[&str; N], Cause> {
        for words in &mut english {
            *words = self.say(words)?;
        }
        Ok(english)
    }

    /// A sentence with gaps (`{}`), which are filled in their order. The other language may have them in
    /// another one, and numbers them then (`{1}`, from 0).
    ///
    /// # Errors
    /// If the sentence has not been translated.
    pub fn fill(self, english: &str, gaps: &[&str]) -> Result<String, Cause> {
        Ok(filled(self.say(english)?, gaps))
    }

    /// What the load tester writes into its results: a load, a parameter, a contender.
    ///
    /// # Errors
    /// If it has not been translated.
    pub fn data(self, english: &str) -> Result<String, Cause> {
        match self {
            Self::English => Ok(english.to_owned()),
            Self::Chinese => DATA
                .iter()
                .find_map(|(known, chinese)| Some(filled(chinese, &gaps(known, english)?)))
                .ok_or_else(|| Cause::Untranslated(english.to_owned())),
        }
    }
}

fn filled(sentence: &str, gaps: &[&str]) -> String {
    let mut filled = String::new();
    let mut parts = sentence.split('{');
    filled.push_str(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        let (number, behind) = part.split_once('}').unwrap_or((part, ""));
        let gap = gaps.get(number.parse().unwrap_or(index));
        filled.push_str(gap.unwrap_or(&GAP));
        filled.push_str(behind);
    }
    filled
}

/// What stands in the gaps of `sentence` in `text`; nothing where it is not that sentence.
fn gaps<'a>(sentence: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = sentence.split(GAP);
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut gaps = Vec::new();
    for part in parts {
        let end = if part.is_empty() { rest.len() } else { rest.find(part)? };
        gaps.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    rest.is_empty().then_some(gaps)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_language_is_named_as_in_a_book_toml() {
        assert_eq!(Language::named("en"), Some(Language::English));
        assert_eq!(Language::named("zh-CN"), Some(Language::Chinese));
        assert_eq!(Language::named("zhuang"), None);
    }

    #[test]
    fn what_is_not_translated_is_an_error_and_not_english() {
        assert_eq!(Language::English.say("furlongs").unwrap(), "furlongs");
        let error = Language::Chinese.say("furlongs").unwrap_err().to_string();
        assert!(error.contains("\"furlongs\"") && error.contains("chinese.rs"), "{error}");
        assert!(Language::Chinese.data("echo:64 by night").is_err());
    }

    #[test]
    fn gaps_are_found_and_filled() {
        assert_eq!(gaps("{} over {} fields", "a b over 3 fields"), Some(vec!["a b", "3"]));
        assert_eq!(gaps("at {}", "at 5"), Some(vec!["5"]));
        for none in ["a over 3", "over 3 fields, or more", "a over 3 fields."] {
            assert_eq!(gaps("{} over {} fields", none), None, "{none}");
        }
        assert_eq!(filled("{}:{}", &["a", "b"]), "a:b");
        assert_eq!(filled("{1}, {0}.", &["a", "b"]), "b, a.");
        let load = Language::Chinese.data("echo:64 over 64 connections, depth 16").unwrap();
        assert_eq!(load, "echo:64，64 个连接，深度 16");
    }

    #[test]
    fn a_translation_has_the_gaps_and_the_marks_of_the_original() {
        for (english, chinese) in WORDS.iter().chain(DATA) {
            for mark in ["{", "}", "**", "`", "<code>", "</code>"] {
                let count = |text: &str| text.matches(mark).count();
                assert_eq!(count(english), count(chinese), "{mark} of {english:?}");
            }
            assert!(!chinese.is_empty(), "{english:?}");
        }
    }

    #[test]
    fn what_is_translated_is_said_somewhere_and_once_in_the_list() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("preprocessor");
        let mut sources = String::new();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_name() != "chinese.rs" {
                // A string over several lines is one.
                for line in fs::read_to_string(entry.path()).unwrap().lines() {
                    sources.push_str(line.trim().trim_end_matches('\\'));
                }
            }
        }
        let mut known = BTreeSet::new();
        for (english, _) in WORDS {
            assert!(known.insert(*english), "{english:?} stands twice");
            let written = format!("\"{}\"", english.replace('\n', "\\n"));
            assert!(sources.contains(&written), "nobody says {english:?}");
        }
    }
}
