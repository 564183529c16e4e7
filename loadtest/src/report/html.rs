//! A report as one page that needs no network: the verdict on top, then charts and tables, then how
//! each file was made. Whatever comes from a file is escaped.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::ReportError;
use super::audit::{Trust, verdict};
use super::chart::Chart;
use super::charts::{self, charts};
use super::input::{Document, Source};
use super::table::{self, Cell, Table};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// The page may run what is in it, and ask for nothing that is not.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      img-src data: blob:; base-uri 'none'; form-action 'none'";

/// A part of the page that the navigation leads to.
struct Section {
    id: String,
    title: String,
    /// Title and note of each part.
    parts: Vec<(String, String)>,
    charts: Vec<Chart>,
    tables: Vec<Table>,
    /// The file whose making it tells; none where several share it.
    made: Option<usize>,
}

/// The page.
///
/// # Errors
/// If a histogram cannot be read.
pub fn page(sources: &[Source]) -> Result<String, ReportError> {
    let sections = sections(sources)?;
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_page(&mut out, sources, &sections);
    Ok(out)
}

/// Runs stand beside each other; every other file by itself.
fn sections(sources: &[Source]) -> Result<Vec<Section>, ReportError> {
    let runs: Vec<&Source> =
        sources.iter().filter(|source| matches!(source.document, Document::Run(_))).collect();
    let mut sections = Vec::new();
    if runs.len() > 1 {
        sections.push(Section {
            id: "runs".to_owned(),
            title: "Runs beside each other".to_owned(),
            parts: vec![Default::default()],
            charts: vec![charts::run::beside(&runs)?],
            tables: table::runs(&runs).into_iter().collect(),
            made: None,
        });
    }
    for (n, source) in sources.iter().enumerate() {
        let mut tables = table::tables(source);
        if let ([run], Document::Run(_)) = (&runs[..], &source.document) {
            tables.splice(0..0, table::runs(&[*run]));
        }
        let kind = source.document.kind();
        sections.push(Section {
            id: format!("file-{n}"),
            title: format!("{}{}: {}", kind[..1].to_uppercase(), &kind[1..], source.label),
            parts: table::parts(&source.document),
            charts: charts(source, &format!("f{n}"))?,
            tables,
            made: Some(n),
        });
    }
    Ok(sections)
}

fn write_page(out: &mut String, sources: &[Source], sections: &[Section]) -> std::fmt::Result {
    let names: Vec<&str> = sources.iter().map(|source| source.label.as_str()).collect();
    let names = escape(&names.join(", "));
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{names}: load test report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<div>\n<p class=\"kicker\">Quintet</p>\n<h1>Load test report</h1>\n</div>\n\
         <button type=\"button\" id=\"theme\" hidden>Dark</button>\n</header>\n"
    )?;
    write_navigation(out, sections)?;
    writeln!(out, "<main>")?;
    write_audit(out, sources)?;
    for section in sections {
        write_section(out, section, sources)?;
    }
    let charts: Vec<Value> =
        sections.iter().flat_map(|section| &section.charts).map(Chart::json).collect();
    write!(
        out,
        "</main>\n<footer><p>Made by loadtest {}. An interval says where a figure would lie if it \
         were measured again under the same conditions, with the confidence that it states; it \
         knows nothing of another day or another machine.</p>\
         <p>In a chart: point to read a value, drag to zoom, click twice to see all again; a click \
         on a name in the legend hides it.</p></footer>\n\
         <script type=\"application/json\" id=\"charts\">{}</script>\n\
         {}\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        in_script(&json!(charts)),
        plotly(),
    )
}

fn write_navigation(out: &mut String, sections: &[Section]) -> std::fmt::Result {
    writeln!(out, "<nav aria-label=\"Contents\">\n<a href=\"#audit\">Audit</a>")?;
    for Section { id, title, .. } in sections {
        writeln!(out, "<a href=\"#{id}\">{}</a>", escape(title))?;
    }
    writeln!(out, "</nav>")
}

fn write_audit(out: &mut String, sources: &[Source]) -> std::fmt::Result {
    writeln!(out, "<section id=\"audit\">\n<h2>May these figures be believed?</h2>")?;
    for source in sources {
        let verdict = verdict(source);
        let class = match verdict.trust {
            Trust::Valid => "valid",
            Trust::PartlyValid => "partly",
            Trust::Invalid => "invalid",
        };
        writeln!(
            out,
            "<article class=\"verdict {class}\">\n<h3>{} <span class=\"badge\">{}</span></h3>\n\
             <p>{}</p>",
            escape(&verdict.label),
            verdict.trust.word(),
            escape(&verdict.says)
        )?;
        if !verdict.notes.is_empty() {
            writeln!(out, "<ul>")?;
            for note in &verdict.notes {
                writeln!(out, "<li>{}</li>", escape(note))?;
            }
            writeln!(out, "</ul>")?;
        }
        writeln!(out, "</article>")?;
    }
    writeln!(out, "</section>")
}

fn write_section(out: &mut String, section: &Section, sources: &[Source]) -> std::fmt::Result {
    let Section { id, title, parts, charts, tables, made } = section;
    writeln!(out, "<section id=\"{id}\">\n<h2>{}</h2>", escape(title))?;
    for (n, (title, shows)) in parts.iter().enumerate() {
        if !title.is_empty() {
            writeln!(out, "<h3 class=\"part\">{}</h3>\n<p>{}</p>", escape(title), escape(shows))?;
        }
        writeln!(out, "<div class=\"charts\">")?;
        charts.iter().filter(|chart| chart.part == n).try_for_each(|c| write_chart(out, c))?;
        writeln!(out, "</div>")?;
        tables.iter().filter(|table| table.part == n).try_for_each(|t| write_table(out, t))?;
    }
    if let Some(source) = made.map(|n| &sources[n]) {
        write_making(out, source)?;
    }
    writeln!(out, "</section>")
}

fn write_chart(out: &mut String, chart: &Chart) -> std::fmt::Result {
    let (id, title, note) = (&chart.id, escape(&chart.title), escape(&chart.note));
    let width = if chart.wide { "wide" } else { "half" };
    write!(out, "<figure class=\"{width}\">\n<figcaption><h4>{title}</h4>")?;
    if !note.is_empty() {
        write!(out, "<p>{note}</p>")?;
    }
    if chart.switch {
        write!(out, "<button type=\"button\" data-switch=\"{id}\" hidden>Linear y</button>")?;
    }
    writeln!(
        out,
        "</figcaption>\n<div class=\"plot\" id=\"{id}\" role=\"img\" aria-label=\"{title}\">\
         <noscript><p>The chart needs JavaScript; its figures are in the tables.</p></noscript>\
         </div>\n</figure>"
    )
}

fn write_table(out: &mut String, table: &Table) -> std::fmt::Result {
    let caption = escape(&table.caption);
    writeln!(
        out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\n\
         <table>\n<caption><span>{caption}</span></caption>\n<thead><tr>"
    )?;
    for (n, head) in table.heads.iter().enumerate() {
        let class = if n < table.names { " class=\"name\"" } else { "" };
        write!(out, "<th scope=\"col\"{class}>{}</th>", escape(head))?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in &table.rows {
        write!(out, "<tr>")?;
        for (n, cell) in row.iter().enumerate() {
            let tag = if n < table.names { ("th scope=\"row\"", "th") } else { ("td", "td") };
            write!(out, "<{}>{}</{}>", tag.0, cell_text(cell), tag.1)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>")
}

/// The number as the file has it is the `value` of the element.
fn cell_text(cell: &Cell) -> String {
    if cell.text.is_empty() {
        return "<span class=\"nothing\">–</span>".to_owned();
    }
    let mut html = match cell.value {
        Some(value) => format!("<data value=\"{value}\">{}</data>", escape(&cell.text)),
        None => escape(&cell.text),
    };
    let small = |class: &str, text: &Option<String>| {
        let text = text.as_deref().map(escape);
        text.map_or_else(String::new, |text| format!("<small{class}>{text}</small>"))
    };
    html.push_str(&small("", &cell.interval));
    html.push_str(&small(" class=\"caution\"", &cell.caution));
    html
}

/// The command, what was asked for, and what it ran on.
fn write_making(out: &mut String, source: &Source) -> std::fmt::Result {
    writeln!(out, "<h3>How {} was made</h3>", escape(&source.label))?;
    if let Some(command) = source.command_line() {
        writeln!(out, "<pre tabindex=\"0\"><code>{}</code></pre>", escape(&command))?;
    } else {
        writeln!(out, "<p>The file does not say by which command.</p>")?;
    }
    for (title, facts) in [("Settings", &source.flags), ("Environment", &source.environment)] {
        write_facts(out, title, facts)?;
    }
    Ok(())
}

fn write_facts(out: &mut String, title: &str, facts: &Map<String, Value>) -> std::fmt::Result {
    if facts.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h4>{title}</h4>\n<dl>")?;
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = escape(&name.replace('_', " "));
        writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value))?;
    }
    writeln!(out, "</dl>")
}

/// The script of plotly out of its crate, without the one for formulas that stands behind it: no
/// name in a file shall be taken for a formula.
fn plotly() -> String {
    let both = plotly::Plot::offline_js_sources();
    let end = "</script>";
    let first = both.split_inclusive(end).next();
    first.unwrap_or_default().to_owned()
}

/// JSON that cannot end the element it stands in.
fn in_script(json: &Value) -> String {
    json.to_string().replace('<', "\\u003c")
}

/// Text that is text in an element and in an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_plotly_alone_and_whole() {
        let script = plotly();
        assert!(script.starts_with("<script") && script.ends_with("</script>"));
        assert!(script.contains("plotly.js v") && !script.contains("MathJax={"));
        assert!(script.len() > 3_000_000, "{}", script.len());
    }

    #[test]
    fn nothing_from_a_file_is_markup() {
        assert_eq!(escape("<a href='\"'>&"), "&lt;a href=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(in_script(&json!(["</script>"])), "[\"\\u003c/script>\"]");
    }
}
