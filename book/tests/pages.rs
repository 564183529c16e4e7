//! The built book, in both editions: every link and every anchor leads somewhere, on each page and on
//! the ones for printing, and nothing that should have been filled in is left.
//!
//! mdBook is a program of its own. It is taken from `PATH` or from `target/tools`, where this test
//! installs it if it is nowhere: some minutes, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

use book::directive::NAMES;
use html5gum::{Token, Tokenizer};

const VERSION: &str = "0.5.4";

/// A page: what it can be entered at, and where its links lead.
#[derive(Debug, Default)]
struct Page {
    ids: BTreeSet<String>,
    twice: BTreeSet<String>,
    links: Vec<String>,
    text: String,
}

/// The editions: where each one's text is, and where its pages are among those of the book.
const EDITIONS: [(&str, &str); 2] = [("book", ""), ("book/zh", "zh")];

/// The pages of the built book, by their paths in it.
static BUILT: LazyLock<(PathBuf, BTreeMap<PathBuf, Page>)> = LazyLock::new(|| {
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("built");
    for (text, pages) in EDITIONS {
        build(&repository().join(text), &built.join(pages));
    }
    let mut pages = BTreeMap::new();
    read_pages(&built, &built, &mut pages);
    (built, pages)
});

fn build(book: &Path, into: &Path) {
    let build = Command::new(mdbook())
        .arg("build")
        .arg(book)
        .arg("--dest-dir")
        .arg(into)
        // The one that was just compiled: a build within a test would wait for nothing.
        .env("MDBOOK_PREPROCESSOR__QUINTET__COMMAND", env!("CARGO_BIN_EXE_mdbook-quintet"))
        .output()
        .expect("mdbook runs");
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "mdbook build: {said}");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "mdbook is not content: {said}");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("book/ is in the repository").to_owned()
}

fn mdbook() -> PathBuf {
    let tools = repository().join("target/tools");
    let is_it = |program: &Path| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(VERSION))
    };
    let places = [PathBuf::from("mdbook"), tools.join("bin/mdbook")];
    if let Some(found) = places.iter().find(|program| is_it(program)) {
        return found.clone();
    }
    let installed = Command::new(env!("CARGO"))
        .args(["install", "--quiet", "--locked", "--debug", "--no-default-features"])
        .args(["--features", "search", "--root"])
        .arg(&tools)
        .arg(format!("mdbook@{VERSION}"))
        .status();
    assert!(installed.is_ok_and(|status| status.success()), "mdbook cannot be installed");
    tools.join("bin/mdbook")
}

fn read_pages(root: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(folder).expect("the book is built").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_pages(root, &path, pages);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let html = fs::read_to_string(&path).expect("a page is text");
            pages.insert(path.strip_prefix(root).expect("it is below").to_owned(), page(&html));
        }
    }
}

fn page(html: &str) -> Page {
    let mut page = Page::default();
    for token in Tokenizer::new(html).flatten() {
        match token {
            Token::StartTag(tag) => {
                for (name, value) in &tag.attributes {
                    let value = String::from_utf8_lossy(value).into_owned();
                    match &name[..] {
                        b"id" if !page.ids.insert(value.clone()) => drop(page.twice.insert(value)),
                        b"href" | b"src" => page.links.push(value),
                        _ => {}
                    }
                }
            }
            Token::String(text) => page.text.push_str(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    page
}

/// Where a link of a page leads within the book: a file, and a place in it. Nothing, where it leads out.
fn target(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    let leads_out = ["http:", "https:", "mailto:", "data:", "javascript:"];
    if leads_out.iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
    let mut path = if file.is_empty() {
        page.to_owned()
    } else {
        page.parent().expect("a page is in a folder").join(file)
    };
    if file.ends_with('/') {
        path.push("index.html");
    }
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    Some((resolved, anchor.filter(|anchor| !anchor.is_empty()).map(decoded)))
}

/// An anchor as it stands in an id: `%E4` and the like are bytes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn every_link_leads_somewhere() {
    let (built, pages) = &*BUILT;
    let mut broken = Vec::new();
    let mut followed = 0;
    for (path, page) in pages {
        // Its links are those of the server's root, whichever that is.
        if path.ends_with("404.html") {
            continue;
        }
        for link in &page.links {
            let Some((file, anchor)) = target(path, link) else { continue };
            followed += 1;
            let is_there = match (pages.get(&file), &anchor) {
                (Some(page), Some(anchor)) => page.ids.contains(anchor),
                (Some(_), None) => true,
                (None, _) => built.join(&file).is_file(),
            };
            if !is_there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{} of {followed} links:\n{}", broken.len(), broken.join("\n"));
    assert!(followed > 200, "only {followed} links were looked at");
}

#[test]
fn no_page_has_an_id_twice() {
    for (path, page) in &BUILT.1 {
        assert!(page.twice.is_empty(), "{}: {:?}", path.display(), page.twice);
    }
}

#[test]
fn nothing_is_left_to_be_filled_in() {
    // Braces alone may be those of a macro of Rust.
    let directives = NAMES.map(|name| format!("{{{{{name} "));
    let others = ["{{#", "ANCHOR"].map(str::to_owned);
    for (path, page) in &BUILT.1 {
        for left in directives.iter().chain(&others) {
            assert!(!page.text.contains(left), "{}: {left}", path.display());
        }
    }
}

#[test]
fn the_page_for_printing_has_all_chapters() {
    for (text, pages) in EDITIONS {
        let print = &BUILT.1[&Path::new(pages).join("print.html")].text;
        let summary = repository().join(text).join("src/SUMMARY.md");
        let summary = fs::read_to_string(summary).unwrap();
        let written = summary.lines().filter(|line| !line.ends_with("]()"));
        let titles = written.filter_map(|line| line.split_once("](")?.0.split_once('['));
        for (_, title) in titles {
            assert!(print.contains(title), "{text}: {title}");
        }
    }
}

/// Commands of a chapter that nobody runs are wrong sooner or later.
#[test]
fn somebody_runs_the_commands_of_each_page() {
    // By `exercises/check` and `cargo test`, which `.ci/run` has.
    const BY_CI: [&str; 2] = ["exercises.md", "museum.md"];
    let nightly = fs::read_to_string(repository().join(".ci/nightly")).unwrap();
    let is_run = |page: &str| {
        BY_CI.contains(&page)
            || nightly.contains(&format!("run_page book/src/{page}"))
            || page.starts_with("labs/") && nightly.contains("commands book/src/labs/*.md")
    };
    let text = repository().join("book/src");
    let mut pages = vec![text.clone()];
    let mut with_commands = 0;
    while let Some(path) = pages.pop() {
        if path.is_dir() {
            pages.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read_to_string(&path).unwrap().contains("\n```console\n") {
            let page = path.strip_prefix(&text).unwrap().to_str().unwrap();
            assert!(is_run(page), "{page} has commands that neither .ci/run nor .ci/nightly runs");
            with_commands += 1;
        }
    }
    assert!(with_commands > 15, "the labs, and some chapters: {with_commands}");
}

#[test]
fn what_cannot_be_filled_in_fails_the_build_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
    for made in ["results", "book/src"] {
        fs::create_dir_all(folder.path().join(made)).unwrap();
    }
    write("results/a.json", r#"{"rows": [{"name": "x", "n": 1}]}"#);
    write(
        "book/book.toml",
        "[book]\ntitle = \"t\"\n[preprocessor.quintet]\nbefore = [\"links\"]\n",
    );
    write("book/src/SUMMARY.md", "- [One](one.md)\n");
    let build = |text: &str| {
        write("book/src/one.md", text);
        let built = Command::new(mdbook())
            .arg("build")
            .arg(folder.path().join("book"))
            .env("MDBOOK_PREPROCESSOR__QUINTET__COMMAND", env!("CARGO_BIN_EXE_mdbook-quintet"))
            .output()
            .unwrap();
        (built.status.success(), String::from_utf8_lossy(&built.stderr).into_owned())
    };
    let (succeeded, said) = build("# One\n\n{{figure a.json rows[name=x].n}}\n");
    assert!(succeeded, "{said}");
    let (succeeded, said) =
        build("# One\n\n{{figure a.json rows[name=y].n}}\n{{code b.rs#f}}\n{{#include c.rs}}\n");
    assert!(!succeeded, "{said}");
    for line in [
        "book: book/src/one.md:3: {{figure a.json rows[name=y].n}}: results/a.json: nothing at \
         [name=y] of rows[name=y].n: 1 elements are there",
        "book: book/src/one.md:4: {{code b.rs#f}}: b.rs: No such file",
        "book: book/src/one.md:5: {{#include c.rs}}: ",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} is not in:\n{said}");
    }
}
