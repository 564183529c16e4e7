//! Where directives stand in a text, and of which words they are made.

/// The directives that are ours; whatever else stands in two braces is none.
pub const NAMES: [&str; 8] =
    ["figure", "machine", "table", "plot", "crossover", "picture", "code", "columns"];

/// mdBook's directives that take text from a file.
const INCLUDES: [&str; 2] = ["#include", "#rustdoc_include"];

/// A part of a chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Left as it is.
    Text(&'a str),
    /// To be filled in: what stands between the braces, and where they begin.
    Directive {
        /// Without the braces.
        directive: &'a str,
        /// In bytes from the beginning of the text.
        at: usize,
    },
    /// To be looked at, and left to mdBook.
    Include {
        /// Without the braces.
        directive: &'a str,
        /// In bytes from the beginning of the text.
        at: usize,
    },
}

/// The pieces of `text`, in order. Of a directive behind a `\`, the `\` is left out if it is ours, for
/// mdBook does not know of it.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut text_begins = 0;
    let mut search_from = 0;
    while let Some(at) = text[search_from..].find("{{").map(|found| search_from + found) {
        search_from = at + 2;
        let Some(length) = text[at + 2..].find("}}") else { break };
        let directive = &text[at + 2..at + 2 + length];
        let name = directive.split_whitespace().next().unwrap_or_default();
        let is_ours = NAMES.contains(&name);
        if !is_ours && !INCLUDES.contains(&name) {
            continue;
        }
        let end = at + 2 + length + 2;
        let is_escaped = text[..at].ends_with('\\');
        if is_escaped {
            if is_ours {
                pieces.push(Piece::Text(&text[text_begins..at - 1]));
                text_begins = at;
            }
        } else {
            pieces.push(Piece::Text(&text[text_begins..at]));
            pieces.push(if is_ours {
                Piece::Directive { directive, at }
            } else {
                Piece::Include { directive, at }
            });
            text_begins = end;
        }
        search_from = end;
    }
    pieces.push(Piece::Text(&text[text_begins..]));
    pieces
}

/// The words of a directive: what white space parts, but for that in square brackets.
pub fn words(directive: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begins = None;
    let mut depth = 0_usize;
    for (at, character) in directive.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if character.is_whitespace() && depth == 0 {
            words.extend(begins.take().map(|begins: usize| &directive[begins..at]));
        } else {
            begins.get_or_insert(at);
        }
    }
    words.extend(begins.map(|begins| &directive[begins..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ours_are_found_and_others_left_alone() {
        let text = "a {{figure x y}} b {{ mustache }} {{#include f.rs}} \\{{plot p}} c";
        assert_eq!(
            pieces(text),
            [
                Piece::Text("a "),
                Piece::Directive { directive: "figure x y", at: 2 },
                Piece::Text(" b {{ mustache }} "),
                Piece::Include { directive: "#include f.rs", at: 34 },
                Piece::Text(" "),
                Piece::Text("{{plot p}} c"),
            ]
        );
    }

    #[test]
    fn white_space_in_brackets_parts_no_words() {
        let directive = "figure  f.json\n a[name=depth 1].b  .2";
        assert_eq!(words(directive), ["figure", "f.json", "a[name=depth 1].b", ".2"]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_has_no_braces_is_whole(text in "[a-z{}#\\\\ \n]{0,60}") {
            let pieces = pieces(&text);
            if !text.contains("{{") {
                prop_assert_eq!(pieces, vec![Piece::Text(&text)]);
            }
        }
    }
}
