//! The editions of the book, and the way from a chapter of one to the same chapter of the other.
//!
//! The Chinese edition stands in `zh/` below the English one, as text and as pages. A chapter that
//! both have begins with a link to the other.

use std::path::Path;

use crate::language::Language;

const CHINESE: &str = "zh";

/// A line of HTML that leads from a chapter to the other edition; nothing where that has no such
/// chapter. `root` is the folder of the chapter's `book.toml`, `source` that of its text within it.
pub fn link(language: Language, root: &Path, source: &Path, chapter: &Path) -> Option<String> {
    let up = "../".repeat(chapter.components().count() - 1);
    let (other, href, tag, name) = match language {
        Language::English => (root.join(CHINESE), format!("{up}{CHINESE}/"), "zh", "中文"),
        Language::Chinese => (root.parent()?.to_owned(), format!("{up}../"), "en", "English"),
    };
    if !other.join(source).join(chapter).is_file() {
        return None;
    }
    let page = chapter.with_extension("html");
    Some(format!(
        "<p class=\"edition\"><a href=\"{href}{}\" hreflang=\"{tag}\" lang=\"{tag}\">{name}</a></p>\n\n",
        page.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_chapter_that_both_have_leads_to_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let (root, zh) = (folder.path(), folder.path().join("zh"));
        for (file, is_in) in
            [("a.md", [true, true]), ("b/c.md", [true, true]), ("d.md", [true, false])]
        {
            for (edition, is_there) in [root, &zh].into_iter().zip(is_in) {
                if is_there {
                    let path = edition.join("src").join(file);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, "").unwrap();
                }
            }
        }
        let leads = |language, root, chapter: &str| {
            let link = link(language, root, Path::new("src"), Path::new(chapter))?;
            Some(link.split('"').nth(3)?.to_owned())
        };
        let (english, chinese) = (Language::English, Language::Chinese);
        assert_eq!(leads(english, root, "a.md").as_deref(), Some("zh/a.html"));
        assert_eq!(leads(chinese, &zh, "a.md").as_deref(), Some("../a.html"));
        assert_eq!(leads(english, root, "b/c.md").as_deref(), Some("../zh/b/c.html"));
        assert_eq!(leads(chinese, &zh, "b/c.md").as_deref(), Some("../../b/c.html"));
        assert_eq!(leads(english, root, "d.md"), None);
    }
}
