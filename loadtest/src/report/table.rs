//! The tables of a report, before anybody decides what they are written in: heads, and cells that
//! keep the number beside its text.

use super::figure::{FIGURES, Figure, Measure, Place, shown};
use super::input::{Document, Source};
use super::rows::{Row, rows};
use super::schema::{Fit, Sweep};
use crate::process::FLOOR;

/// A part of a file: its title and what it shows. The first is the file as a whole, without either;
/// a comparison has one for each scenario, and the last for idle connections.
pub fn parts(document: &Document) -> Vec<(String, String)> {
    let mut parts = vec![(String::new(), String::new())];
    if let Document::Compare(comparison) = document {
        let scenarios = comparison.scenarios.iter();
        parts.extend(scenarios.map(|scenario| (scenario.title.clone(), scenario.shows.clone())));
        parts.push(("An idle connection".to_owned(), "what it costs the server".to_owned()));
    }
    parts
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Of [`parts`].
    pub part: usize,
    /// What it shows, in a line.
    pub caption: String,
    /// Of its columns.
    pub heads: Vec<String>,
    /// How many columns, from the left, name the row.
    pub names: usize,
    /// As wide as the heads.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// As people write it; empty where there is nothing.
    pub text: String,
    /// As the file has it.
    pub value: Option<f64>,
    /// From where to where, where it was measured several times.
    pub interval: Option<String>,
    /// Why it should be read with care.
    pub caution: Option<String>,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn of(figure: &Figure, measure: Option<&Measure>) -> Self {
        let Some(Measure { value, interval }) = measure else { return Self::default() };
        let ends = interval.map(|interval| [interval.low, interval.high].map(figure.show));
        // An interval that does not show at these digits is no news.
        let interval = ends.filter(|[low, high]| low != high);
        let interval = interval.map(|[low, high]| format!("{low} to {high}"));
        Self { text: (figure.show)(*value), value: Some(*value), interval, caution: None }
    }
}

/// All tables of a file but those of a run as a whole, which stands beside others.
pub fn tables(source: &Source) -> Vec<Table> {
    let rows = rows(source);
    let mut tables = match &source.document {
        Document::Run(_) => {
            vec![points("Steps, in the order in which they were run", &rows, "step")]
        }
        Document::Compare(comparison) => {
            let scenarios = comparison.scenarios.iter().enumerate();
            let idle = Table {
                part: comparison.scenarios.len() + 1,
                ..servers("Growth of RssAnon", &rows, "slope")
            };
            scenarios
                .flat_map(|(n, scenario)| {
                    let tables = [of_scenario, ledger].map(|of| of(&scenario.name, &rows));
                    tables.map(|table| Table { part: n + 1, ..table })
                })
                .chain([idle])
                .collect()
        }
        Document::Sweep(sweep) => {
            vec![points(&format!("Over {}", sweep.parameter), &rows, "point"), fits(sweep)]
        }
        Document::Capacity(capacity) => vec![
            servers(&format!("The highest rate that holds {}", capacity.slo), &rows, "capacity"),
            points("The rates that were tried", &rows, "probe"),
        ],
        Document::Memory(_) => vec![
            servers("What one more connection costs", &rows, "slope"),
            points("What was seen", &rows, "connections"),
        ],
    };
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// Runs beside each other: a column for each, a row for each figure.
pub fn runs(sources: &[&Source]) -> Option<Table> {
    let rows: Vec<Row> =
        sources.iter().flat_map(|source| rows(source)).filter(|row| row.kind == "run").collect();
    let known = |figure: &&Figure| rows.iter().any(|row| row.measures.contains_key(figure.name));
    let heads = std::iter::once("figure".to_owned()).chain(rows.iter().map(|row| row.file.clone()));
    let body = FIGURES.iter().filter(known).map(|figure| {
        let cells = rows.iter().map(|row| Cell::of(figure, row.measures.get(figure.name)));
        std::iter::once(Cell::text(figure.head)).chain(cells).collect()
    });
    let settings = [
        ("target", (|row| row.scenario.clone()) as fn(&Row) -> String),
        ("connections", |row| row.load.connections.map_or_else(String::new, |n| n.to_string())),
        ("load", load_text),
        ("valid", |row| if row.valid == Some(false) { "no".into() } else { "yes".into() }),
    ];
    let settings = settings.into_iter().map(|(name, text)| {
        std::iter::once(Cell::text(name))
            .chain(rows.iter().map(|row| Cell::text(text(row))))
            .collect()
    });
    let caption = match rows.len() {
        0 => return None,
        1 => "The run in figures",
        _ => "The runs in figures",
    };
    Some(Table {
        part: 0,
        caption: caption.to_owned(),
        heads: heads.collect(),
        names: 1,
        rows: settings.chain(body).collect(),
    })
}

fn load_text(row: &Row) -> String {
    match (row.load.rate_rps, row.load.depth) {
        (Some(rate), _) => format!("{} requests/s planned", shown("throughput_rps", rate)),
        (None, depth) => format!("closed loop, depth {}", depth.unwrap_or(1)),
    }
}

/// The servers of a scenario, the best first and the floor last.
fn of_scenario(name: &str, rows: &[Row]) -> Table {
    table("Medians over blocks", &[("server", server)], &entries(name, rows))
}

/// What a request costs each of them, by kind; empty where the file does not say it.
fn ledger(name: &str, rows: &[Row]) -> Table {
    let is_known = |row: &&Row| row.measures.contains_key("reads_per_request");
    let chosen: Vec<&Row> = entries(name, rows).into_iter().filter(is_known).collect();
    let is_of_it = |figure: &&Figure| figure.place == Place::Ledger;
    let caption = "The ledger, per request: the server's counters, of a block that is in no median";
    table_of(caption, &[("server", |row| Cell::text(&row.server))], &chosen, is_of_it)
}

/// The rows of a scenario, ranked.
pub fn entries<'a>(scenario: &str, rows: &'a [Row]) -> Vec<&'a Row> {
    let mut chosen: Vec<&Row> =
        rows.iter().filter(|row| row.kind == "entry" && row.scenario == scenario).collect();
    rank(&mut chosen);
    chosen
}

/// By throughput; where the rate was given, by the tail.
fn rank(rows: &mut [&Row]) {
    let value = |row: &Row, name: &str| row.measures.get(name).map_or(0.0, |m| m.value);
    rows.sort_by(|a, b| {
        let is_floor = |row: &Row| row.server == FLOOR.name;
        let better = match a.load.rate_rps {
            Some(_) => value(a, "latency_p99_us").total_cmp(&value(b, "latency_p99_us")),
            None => value(b, "throughput_rps").total_cmp(&value(a, "throughput_rps")),
        };
        is_floor(a).cmp(&is_floor(b)).then(better)
    });
}

fn servers(caption: &str, rows: &[Row], kind: &str) -> Table {
    let chosen: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
    let both_kinds = chosen.iter().any(|row| row.scenario != chosen[0].scenario);
    let names: &[Name] = if both_kinds {
        &[("server", server), ("connections", |row| Cell::text(&row.scenario))]
    } else {
        &[("server", server)]
    };
    table(caption, names, &chosen)
}

fn points(caption: &str, rows: &[Row], kind: &str) -> Table {
    let chosen: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
    let name = chosen.first().and_then(|row| row.parameter.clone()).map(|(name, _)| name);
    let by_server = chosen.iter().any(|row| !row.server.is_empty());
    let by_kind = kind == "connections";
    let mut names: Vec<Name> = vec![("", value)];
    if by_server {
        names.push(("server", server));
    }
    if by_kind {
        names.push(("kind", |row| Cell::text(&row.scenario)));
    }
    let mut table = table(caption, &names, &chosen);
    table.heads[0] = match name.as_deref() {
        Some("rate_rps" | "rate") => "requests/s planned".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    };
    table
}

/// The head of a column that names its row, and its cell.
type Name = (&'static str, fn(&Row) -> Cell);

fn server(row: &Row) -> Cell {
    let caution = match (row.blocks_invalid, row.valid) {
        (0, Some(false)) => Some("invalid".to_owned()),
        (0, _) => None,
        (some, _) => Some(format!("{some} of {} blocks doubtful", row.blocks)),
    };
    Cell { caution, ..Cell::text(&row.server) }
}

fn value(row: &Row) -> Cell {
    let value = row.parameter.as_ref().map(|(_, value)| *value);
    let text = match row.kind {
        "point" if !row.scenario.is_empty() => row.scenario.clone(),
        _ => value.map_or_else(String::new, |value| shown("throughput_rps", value)),
    };
    Cell { value, ..Cell::text(text) }
}

/// A row for each of `rows`, and a column for each figure that one of them has.
fn table(caption: &str, names: &[Name], rows: &[&Row]) -> Table {
    let open = rows.iter().any(|row| row.load.rate_rps.is_some());
    let placed = |figure: &&Figure| match figure.place {
        Place::Always => true,
        Place::Times => open,
        Place::Ratios => !open,
        Place::Ledger | Place::Alone => false,
    };
    table_of(caption, names, rows, placed)
}

/// The same of the figures that have a place there.
fn table_of(
    caption: &str,
    names: &[Name],
    rows: &[&Row],
    placed: impl Fn(&&Figure) -> bool,
) -> Table {
    let known = |figure: &&Figure| rows.iter().any(|row| row.measures.contains_key(figure.name));
    let figures: Vec<&Figure> = FIGURES.iter().filter(placed).filter(known).collect();
    let heads = names.iter().map(|(head, _)| *head).chain(figures.iter().map(|f| f.head));
    let body = rows.iter().map(|row| {
        let cells = figures.iter().map(|figure| Cell::of(figure, row.measures.get(figure.name)));
        names.iter().map(|(_, cell)| cell(row)).chain(cells).collect()
    });
    let intervals = rows.iter().flat_map(|row| row.measures.values()).filter_map(|m| m.interval);
    // Few blocks, and fewer where some are left out, promise less than was asked for.
    let least = intervals.map(|interval| interval.confidence).min_by(f64::total_cmp);
    let caption = match least {
        Some(least) => {
            format!("{caption}, with intervals of at least {:.0} % confidence", least * 100.0)
        }
        None => caption.to_owned(),
    };
    Table {
        part: 0,
        caption,
        heads: heads.map(str::to_owned).collect(),
        names: names.len(),
        rows: body.collect(),
    }
}

/// What the laws say.
fn fits(sweep: &Sweep) -> Table {
    let heads = ["server", "λ, requests/s", "σ", "κ", "peak at", "peak, requests/s", "R²"];
    let number = |value: f64, text: String| Cell { value: Some(value), ..Cell::text(text) };
    let whole = |value: Option<f64>| {
        value.map_or_else(Cell::default, |value| number(value, shown("throughput_rps", value)))
    };
    let row = |fit: &Fit| {
        vec![
            Cell::text(&fit.server),
            whole(Some(fit.lambda)),
            number(fit.sigma, format!("{:.4}", fit.sigma)),
            number(fit.kappa, format!("{:.2e}", fit.kappa)),
            whole(fit.peak_at),
            whole(fit.peak_rps),
            fit.r_squared.map_or_else(Cell::default, |r| number(r, format!("{r:.3}"))),
        ]
    };
    Table {
        part: 0,
        caption: "The Universal Scalability Law, X(N) = λN / (1 + σ(N-1) + κN(N-1)): σ is \
                  contention, κ is crosstalk"
            .to_owned(),
        heads: heads.map(str::to_owned).to_vec(),
        names: 1,
        rows: sweep.fits.iter().map(row).collect(),
    }
}
