//! Whether what the files say may be believed: what stands at the top of a report, before any
//! figure.

use super::input::{Document, Source};
use super::rows::{Row, rows};
use super::schema::Comparison;

/// The verdict on one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of which file.
    pub label: String,
    /// In one word.
    pub trust: Trust,
    /// In one sentence.
    pub says: String,
    /// What else a reader should know, as the file says it.
    pub notes: Vec<String>,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// All of it.
    Valid,
    /// Some of it; the tables mark the rest.
    PartlyValid,
    /// None of it.
    Invalid,
}

impl Trust {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::PartlyValid => "partly valid",
            Self::Invalid => "not valid",
        }
    }
}

/// The verdict on a file.
pub fn verdict(source: &Source) -> Verdict {
    let (trust, says, notes) = match &source.document {
        Document::Run(run) => {
            let (trust, says) = if run.valid {
                (Trust::Valid, "One run, and no fault was found with it")
            } else {
                (Trust::Invalid, "One run, and its figures should not be believed")
            };
            let says = format!("{says}; it was not repeated, so no figure has an interval.");
            (trust, says, run.warnings.clone())
        }
        Document::Compare(comparison) => {
            let (trust, says) = of_blocks(&rows(source));
            let trust = if comparison.interrupted { trust.at_best_partly() } else { trust };
            (trust, says, notes(comparison))
        }
        Document::Sweep(sweep) => {
            let (trust, says) = of_blocks(&rows(source));
            (trust, says, sweep.warnings.clone())
        }
        Document::Capacity(capacity) => {
            let (trust, says) = of_probes(&rows(source));
            (trust, says, capacity.warnings.clone())
        }
        Document::Memory(memory) => {
            let says = "Slopes over several counts of connections, with their intervals.";
            (Trust::Valid, says.to_owned(), memory.warnings.clone())
        }
    };
    Verdict { label: source.label.clone(), trust, says, notes }
}

impl Trust {
    fn of(invalid: usize, all: usize) -> Self {
        match invalid {
            0 => Self::Valid,
            some if some < all => Self::PartlyValid,
            _ => Self::Invalid,
        }
    }

    fn at_best_partly(self) -> Self {
        if self == Self::Valid { Self::PartlyValid } else { self }
    }
}

fn of_blocks(rows: &[Row]) -> (Trust, String) {
    let all = rows.iter().map(|row| row.blocks).sum();
    let invalid = rows.iter().map(|row| row.blocks_invalid).sum();
    let says = match invalid {
        0 => format!("All of its {all} blocks may be believed."),
        some => format!("{some} of its {all} blocks may not be believed; the tables mark whose."),
    };
    (Trust::of(invalid, all), says)
}

fn of_probes(rows: &[Row]) -> (Trust, String) {
    let judged: Vec<bool> = rows.iter().filter_map(|row| row.valid).collect();
    let invalid = judged.iter().filter(|valid| !**valid).count();
    let says = match invalid {
        0 => format!("All of its {} probes are valid.", judged.len()),
        some => format!("{some} of its {} probes are invalid; the table marks them.", judged.len()),
    };
    (Trust::of(invalid, judged.len()), says)
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let interrupted =
        comparison.interrupted.then(|| "It was interrupted before all was measured.".to_owned());
    let refused = comparison.servers.iter().filter_map(|server| {
        Some(format!("{} was not measured: {}", server.name, server.refused.as_ref()?))
    });
    interrupted.into_iter().chain(refused).chain(comparison.warnings.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::report::schema::ServerReport;

    fn source(document: Document) -> Source {
        let (environment, flags) = (Map::new(), Map::new());
        Source { label: "it".into(), document, environment, flags, command: Vec::new() }
    }

    fn comparison(interrupted: bool, refused: Option<&str>) -> Verdict {
        let servers = vec![ServerReport {
            name: "pool".into(),
            refused: refused.map(str::to_owned),
            idle_connection_bytes: None,
        }];
        let warnings = vec!["the machine was busy".into()];
        let document = Comparison { interrupted, servers, scenarios: Vec::new(), warnings };
        verdict(&source(Document::Compare(document)))
    }

    #[test]
    fn trust_is_as_great_as_the_share_of_what_is_valid() {
        let shares = [(0, 5), (1, 5), (5, 5), (0, 0)].map(|(bad, all)| Trust::of(bad, all).word());
        assert_eq!(shares, ["valid", "partly valid", "not valid", "valid"]);
    }

    #[test]
    fn a_comparison_that_was_cut_off_or_refused_a_server_says_so() {
        let whole = comparison(false, None);
        assert_eq!(
            (whole.trust, &whole.notes[..]),
            (Trust::Valid, &["the machine was busy".into()][..])
        );
        let cut = comparison(true, Some("it reorders replies"));
        assert_eq!(cut.trust, Trust::PartlyValid);
        assert!(cut.notes[0].contains("interrupted"), "{cut:?}");
        assert_eq!(cut.notes[1], "pool was not measured: it reorders replies");
    }

    #[test]
    fn rates_that_were_tried_in_vain_are_counted() {
        let probe = |valid| Row { valid, ..Row::default() };
        let (trust, says) = of_probes(&[probe(Some(true)), probe(Some(false)), probe(None)]);
        assert_eq!(trust, Trust::PartlyValid);
        assert!(says.starts_with("1 of its 2 probes are invalid"), "{says}");
        let memory = json!({ "warnings": ["few counts"] });
        let memory = Document::Memory(serde_json::from_value(memory).unwrap());
        assert_eq!(verdict(&source(memory)).notes, ["few counts"]);
    }
}
