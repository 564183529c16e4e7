//! The Chinese edition follows the English one: where a heading, a directive or a link of a chapter
//! changes, its translation is out of date, and a test says where.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use book::directive::{Piece, pieces, words};

/// A chapter in both editions.
struct Chapter {
    name: String,
    english: String,
    chinese: String,
}

fn text_of(edition: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(edition)
}

/// All that have been translated.
fn chapters() -> Vec<Chapter> {
    let names = fs::read_dir(text_of("zh/src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| name != "SUMMARY.md");
    let chapters: Vec<_> = names
        .map(|name| {
            let read = |edition| fs::read_to_string(text_of(edition).join(&name)).unwrap();
            Chapter { english: read("src"), chinese: read("zh/src"), name }
        })
        .collect();
    assert!(
        chapters.len() >= 8,
        "introduction, score, a chapter for each model, the decision guide"
    );
    chapters
}

/// The levels of a text's headings, in order.
fn headings(text: &str) -> Vec<usize> {
    let mut is_code = false;
    let mut levels = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if !is_code && level > 0 && line[level..].starts_with(' ') {
            levels.push(level);
        }
    }
    levels
}

/// A text's directives, in order: their words, for a line may end elsewhere.
fn directives(text: &str) -> Vec<Vec<&str>> {
    let directive = |piece| match piece {
        Piece::Directive { directive, .. } | Piece::Include { directive, .. } => {
            Some(words(directive))
        }
        Piece::Text(_) => None,
    };
    pieces(text).into_iter().filter_map(directive).collect()
}

/// What a text links to.
fn links(text: &str) -> BTreeSet<&str> {
    text.split("](").skip(1).filter_map(|behind| Some(behind.split_once(')')?.0)).collect()
}

#[test]
fn a_translation_has_the_headings_of_the_original() {
    for Chapter { name, english, chinese } in chapters() {
        assert_eq!(headings(&chinese), headings(&english), "{name}: levels of headings");
    }
}

#[test]
fn a_translation_has_the_directives_of_the_original() {
    for Chapter { name, english, chinese } in chapters() {
        let (chinese, english) = (directives(&chinese), directives(&english));
        for (index, (chinese, english)) in chinese.iter().zip(&english).enumerate() {
            assert_eq!(chinese, english, "{name}: directive {index}");
        }
        assert_eq!(chinese.len(), english.len(), "{name}: number of directives");
    }
}

/// To its own page, where that has been translated, and to the English one otherwise.
#[test]
fn a_translation_has_the_links_of_the_original() {
    let is_translated = |page: &str| text_of("zh/src").join(page).is_file();
    for Chapter { name, english, chinese } in chapters() {
        let english = links(&english).into_iter().filter(|link| !link.starts_with("zh/"));
        let expected: BTreeSet<_> = english
            .map(|link| {
                let page = link.split('#').next().unwrap_or_default();
                if link.contains("://") || page.is_empty() || is_translated(page) {
                    return link.to_owned();
                }
                format!("../{}", link.replacen(".md", ".html", 1))
            })
            .collect();
        let mut found: BTreeSet<_> = links(&chinese).into_iter().map(str::to_owned).collect();
        // The introduction says where the rest is.
        found.remove("../introduction.html");
        assert_eq!(found, expected, "{name}: links");
    }
}

#[test]
fn the_summary_has_every_page_and_no_chapter_more_than_the_english_one() {
    let read = |edition| fs::read_to_string(text_of(edition).join("SUMMARY.md")).unwrap();
    let (english, chinese) = (read("src"), read("zh/src"));
    let pages = links(&chinese);
    for entry in fs::read_dir(text_of("zh/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "SUMMARY.md" || pages.contains(&name[..]), "{name} is in no summary");
    }
    // Numbers are those of the English edition: what is not translated has its line, but no page.
    let numbered = |summary: &str| summary.lines().filter(|line| line.starts_with("- ")).count();
    assert_eq!(numbered(&chinese), numbered(&english), "parts");
}
