//! The mdBook preprocessor `quintet`: a book as JSON on standard input, the same with its directives
//! filled in on standard output. What cannot be filled in is said line by line, and fails the build.

use std::io::{self, Write};
use std::process::ExitCode;

use book::language::Language;
use book::{Filler, edition};
use mdbook_preprocessor::{PreprocessorContext, book::Book, parse_input};

fn main() -> ExitCode {
    // `mdbook-quintet supports RENDERER`: what is filled in is Markdown and HTML.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("supports") {
        return ExitCode::from(u8::from(arguments.next().as_deref() != Some("html")));
    }
    match parse_input(io::stdin()) {
        Ok((context, book)) => run(&context, book),
        Err(error) => fail(&format!("no book on standard input: {error:#}")),
    }
}

fn run(context: &PreprocessorContext, mut book: Book) -> ExitCode {
    let Some(repository) = context.root.ancestors().find(|path| path.join("results").is_dir())
    else {
        return fail(&format!("no results/ above {}", context.root.display()));
    };
    let tag = context.config.book.language.as_deref().unwrap_or("en");
    let Some(language) = Language::named(tag) else {
        return fail(&format!("book.toml: language {tag:?}: there are en, zh"));
    };
    let filler = Filler::new(repository, language);
    let source = &context.config.book.src;
    let mut problems = Vec::new();
    book.for_each_chapter_mut(|chapter| {
        let Some(path) = &chapter.source_path else { return };
        let made = filler.fill(&context.root.join(source).join(path), &chapter.content);
        let link = edition::link(language, &context.root, source, path);
        chapter.content = link.unwrap_or_default() + &made.text;
        problems.extend(made.problems);
    });
    if !problems.is_empty() {
        for problem in &problems {
            eprintln!("book: {problem}");
        }
        return ExitCode::FAILURE;
    }
    match serde_json::to_writer(io::stdout().lock(), &book).map_err(io::Error::from) {
        Ok(()) => match io::stdout().flush() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("standard output: {error}")),
        },
        Err(error) => fail(&format!("standard output: {error}")),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("book: {why}");
    ExitCode::FAILURE
}
