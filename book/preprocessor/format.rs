//! How a figure is written: `[,][.PLACES][UNIT]`.
//!
//! A comma groups by thousands. Units scale: `%` (of 1), `ms` (from microseconds), `k`, `M`, `KiB`,
//! `MiB`. Without a format, large figures are whole and grouped, others have three digits.

use std::str::FromStr;

use serde_json::Value;

/// More places say nothing of a measurement.
const PLACES_MAX: usize = 9;

/// How a figure is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    grouped: bool,
    places: Option<usize>,
    unit: Option<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Percent,
    Milliseconds,
    Thousands,
    Millions,
    Kibibytes,
    Mebibytes,
}

/// Why a figure cannot be written so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is no format.
    #[error("{0:?} is no format: [,][.PLACES][%|ms|k|M|KiB|MiB]")]
    Malformed(String),
    /// It is no figure.
    #[error("{0} is no figure")]
    NoFigure(&'static str),
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let malformed = || FormatError::Malformed(text.to_owned());
        let (grouped, rest) = match text.strip_prefix(',') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (places, unit) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let places = rest[..end].parse().ok().filter(|places| *places <= PLACES_MAX);
                (Some(places.ok_or_else(malformed)?), &rest[end..])
            }
            None => (None, rest),
        };
        let unit = match unit {
            "" => None,
            "%" => Some(Unit::Percent),
            "ms" => Some(Unit::Milliseconds),
            "k" => Some(Unit::Thousands),
            "M" => Some(Unit::Millions),
            "KiB" => Some(Unit::Kibibytes),
            "MiB" => Some(Unit::Mebibytes),
            _ => return Err(malformed()),
        };
        Ok(Self { grouped, places, unit })
    }
}

impl Unit {
    fn scale_and_sign(self) -> (f64, &'static str) {
        match self {
            Self::Percent => (100.0, "\u{a0}%"),
            Self::Milliseconds => (1e-3, "\u{a0}ms"),
            Self::Thousands => (1e-3, "k"),
            Self::Millions => (1e-6, "M"),
            Self::Kibibytes => (1.0 / 1024.0, "\u{a0}KiB"),
            Self::Mebibytes => (1.0 / (1024.0 * 1024.0), "\u{a0}MiB"),
        }
    }
}

impl Format {
    /// Writes a value of JSON: a number as the format says, a text as it is.
    ///
    /// # Errors
    /// If it is neither.
    pub fn write(self, value: &Value) -> Result<String, FormatError> {
        match value {
            Value::Number(number) => {
                let number = number.as_f64().ok_or(FormatError::NoFigure("a number beyond all"))?;
                Ok(self.write_number(number))
            }
            Value::String(text) => Ok(text.replace('&', "&amp;").replace('<', "&lt;")),
            Value::Null => Err(FormatError::NoFigure("null")),
            Value::Bool(_) => Err(FormatError::NoFigure("yes or no")),
            Value::Array(_) => Err(FormatError::NoFigure("a list")),
            Value::Object(_) => Err(FormatError::NoFigure("an object")),
        }
    }

    /// Writes a number.
    pub fn write_number(self, number: f64) -> String {
        let (scale, sign) = self.unit.map_or((1.0, ""), Unit::scale_and_sign);
        let scaled = number * scale;
        let is_default = !self.grouped && self.places.is_none();
        let places = self.places.unwrap_or_else(|| places_of(scaled));
        let written = format!("{scaled:.places$}");
        let written = if self.places.is_none() { trimmed(&written) } else { written };
        let written = if self.grouped || is_default { grouped(&written) } else { written };
        format!("{written}{sign}")
    }
}

/// As many as show three digits.
fn places_of(number: f64) -> usize {
    match number.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    }
}

fn trimmed(written: &str) -> String {
    if !written.contains('.') {
        return written.to_owned();
    }
    written.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(written: &str) -> String {
    let (sign, unsigned) = written.strip_prefix('-').map_or(("", written), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_at(unsigned.find('.').unwrap_or(unsigned.len()));
    let mut out = sign.to_owned();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(number: f64, format: &str) -> String {
        format.parse::<Format>().unwrap().write_number(number)
    }

    #[test]
    fn figures_are_written_as_asked() {
        for (number, format, expected) in [
            (249_875.4, ",", "249,875"),
            (249_875.4, ".0", "249875"),
            (3.956, ".2", "3.96"),
            (0.6276, ".0%", "63\u{a0}%"),
            (389.631, ".2ms", "0.39\u{a0}ms"),
            (153_110.0, ".0k", "153k"),
            (3_062_136.0, ".2M", "3.06M"),
            (14_151.68, ".1KiB", "13.8\u{a0}KiB"),
            (1_048_576.0, ".1MiB", "1.0\u{a0}MiB"),
            (1_234_567.891, ",.1", "1,234,567.9"),
            (-1234.0, ",", "-1,234"),
        ] {
            assert_eq!(written(number, format), expected, "{number} as {format}");
        }
    }

    #[test]
    fn without_a_format_three_digits_are_shown() {
        for (number, expected) in [
            (249_875.4, "249,875"),
            (64.0, "64"),
            (13.52, "13.5"),
            (3.956, "3.96"),
            (0.447, "0.447"),
            (0.0625, "0.0625"),
            (0.0, "0"),
        ] {
            assert_eq!(Format::default().write_number(number), expected);
        }
    }

    #[test]
    fn what_is_no_format_or_no_figure_is_refused() {
        for format in ["2", ".", ".x", ".10", "..2", ",,", "furlongs", ".2 %"] {
            assert!(format.parse::<Format>().is_err(), "{format:?}");
        }
        for value in [json!(null), json!(true), json!([1]), json!({})] {
            assert!(Format::default().write(&value).is_err(), "{value}");
        }
        assert_eq!(Format::default().write(&json!("a<b")), Ok("a&lt;b".to_owned()));
    }

    proptest! {
        #[test]
        fn no_number_panics(number in any::<f64>(), format in "[,]?(\\.[0-9])?(%|ms|k|M|KiB|MiB)?") {
            let _ = written(number, &format);
        }

        #[test]
        fn no_format_panics(format in ".{0,6}") {
            let _ = format.parse::<Format>();
        }
    }
}
