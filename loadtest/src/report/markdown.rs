//! A report as Markdown: the verdict first, then the tables, then how each file was made.

use std::fmt::Write;

use super::audit::verdict;
use super::input::{Document, Source};
use super::table::{self, Cell, Table};

/// The report.
pub fn markdown(sources: &[Source]) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, sources);
    out
}

fn write_markdown(out: &mut String, sources: &[Source]) -> std::fmt::Result {
    writeln!(out, "# Load test report\n\n## May these figures be believed?\n")?;
    for source in sources {
        let verdict = verdict(source);
        let (label, word) = (escape(&verdict.label), verdict.trust.word());
        writeln!(out, "- **{label}: {word}.** {}", escape(&verdict.says))?;
        for note in &verdict.notes {
            writeln!(out, "  - {}", escape(note))?;
        }
    }
    let runs: Vec<&Source> =
        sources.iter().filter(|source| matches!(source.document, Document::Run(_))).collect();
    if let Some(table) = table::runs(&runs) {
        writeln!(out, "\n## Runs\n")?;
        write_table(out, &table)?;
    }
    for source in sources {
        writeln!(
            out,
            "\n## {}\n",
            escape(&format!("{}: {}", source.document.kind(), source.label))
        )?;
        let tables = table::tables(source);
        for (n, (title, shows)) in table::parts(&source.document).iter().enumerate() {
            if !title.is_empty() {
                writeln!(out, "### {}\n\n{}\n", escape(title), escape(shows))?;
            }
            tables.iter().filter(|table| table.part == n).try_for_each(|t| write_table(out, t))?;
        }
        match source.command_line() {
            Some(command) => writeln!(out, "Made by: `{}`", command.replace('`', "'"))?,
            None => writeln!(out, "The file does not say by which command it was made.")?,
        }
    }
    Ok(())
}

fn write_table(out: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(out, "**{}**\n", escape(&table.caption))?;
    let heads: Vec<String> = table.heads.iter().map(|head| escape(head)).collect();
    writeln!(out, "| {} |", heads.join(" | "))?;
    let figures = table.heads.len() - table.names;
    writeln!(out, "|{}{}", ":--|".repeat(table.names), "--:|".repeat(figures))?;
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    writeln!(out)
}

fn cell(cell: &Cell) -> String {
    let mut text = if cell.text.is_empty() { "-".to_owned() } else { escape(&cell.text) };
    for more in [&cell.interval, &cell.caution].into_iter().flatten() {
        // Writing to a String does not fail.
        let _ = write!(text, " ({})", escape(more));
    }
    text
}

/// What would end a cell, or be taken for markup, in names and messages from files.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_table_is_escaped() {
        assert_eq!(escape("a|b\n<i>`*"), "a\\|b \\<i\\>\\`\\*");
    }
}
