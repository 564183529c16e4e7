//! Each lab's page in the book says what the lab asks, promises and lets one turn, to the letter:
//! neither can change without the other.

use std::fs;
use std::path::{Path, PathBuf};

use labs::lab::{Expected, Lab, Setting};
use labs::labs::LABS;
use labs::show::bounds;

fn chapter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src")
}

/// The page, with one space where there is any white space.
fn page(lab: &Lab) -> String {
    let path = chapter().join("labs").join(format!("{}.md", lab.name));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    flat(&text)
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a row of a page's table of ratios begins with.
fn expected_row(lab: &Lab, expected: &Expected) -> String {
    let of = lab.ratio(expected.ratio).unwrap().of;
    format!("| {of} | {} |", bounds(expected.low, expected.high))
}

/// Where a page's figure comes from.
fn figure(lab: &Lab, setting: &Setting, expected: &Expected, run: u32) -> String {
    let (name, knob, ratio) = (lab.name, setting.value, expected.ratio);
    format!(
        "{{{{figure labs.json runs[run={run}].labs[name={name},knob={knob}].ratios[name={ratio}].value}}}}"
    )
}

#[test]
fn pages_ask_what_the_labs_ask() {
    for lab in &LABS {
        let page = page(lab);
        assert!(page.starts_with(&format!("# {} ", lab.title)), "{}: its title", lab.name);
        let asked = [lab.question, lab.knob.ask, lab.knob.what].into_iter();
        for text in asked.chain(lab.choices.iter().copied()) {
            assert!(page.contains(&flat(text)), "{}: {text}", lab.name);
        }
        for (letter, choice) in lab.letters().zip(lab.choices) {
            let line = format!("{letter}) {}", flat(choice));
            assert!(page.contains(&line), "{}: {line}", lab.name);
        }
    }
}

/// What a page shows at once, and what it folds away.
fn folded(page: &str) -> (String, String) {
    let (mut open, mut hidden) = (String::new(), String::new());
    let mut parts = page.split("<details>");
    open.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (inside, behind) = part.split_once("</details>").expect("what is folded has an end");
        hidden.push_str(inside);
        open.push_str(behind);
    }
    (open, hidden)
}

#[test]
fn answers_are_right_and_out_of_sight() {
    for lab in &LABS {
        let (open, hidden) = folded(&page(lab));
        let right = format!("**{}.**", lab.right);
        assert!(hidden.contains(&right), "{}: {right}", lab.name);
        for letter in lab.letters() {
            assert!(!open.contains(&format!("**{letter}.**")), "{}: told at once", lab.name);
        }
        assert!(!open.contains("{{figure"), "{}: an outcome is told at once", lab.name);
    }
}

#[test]
fn pages_promise_what_the_labs_promise() {
    for lab in &LABS {
        let page = page(lab);
        let command = format!("$ cargo lab {} ```", lab.name);
        assert!(page.contains(&command), "{}: {command}", lab.name);
        for (at, setting) in lab.knob.settings.iter().enumerate() {
            let turned = format!("$ cargo lab {} --knob {}", lab.name, setting.value);
            let from = if at == 0 { Some(0) } else { page.find(&turned) };
            let rest = &page[from.unwrap_or_else(|| panic!("{turned}"))..];
            for expected in setting.shape {
                let row = expected_row(lab, expected);
                let figures = [1, 2].map(|run| figure(lab, setting, expected, run));
                let row = format!("{row} {} | {} |", figures[0], figures[1]);
                assert!(rest.contains(&row), "{} with {}: {row}", lab.name, setting.value);
            }
        }
    }
}

#[test]
fn the_chapter_lists_all_of_them() {
    let chapter = fs::read_to_string(chapter().join("labs.md")).unwrap();
    for lab in &LABS {
        let link = format!("[{}](labs/{}.md)", lab.title, lab.name);
        assert!(chapter.contains(&link), "{link}");
    }
    let pages = fs::read_dir(self::chapter().join("labs")).unwrap().count();
    assert_eq!(pages, LABS.len(), "a page of no lab");
}
