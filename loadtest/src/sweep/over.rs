//! What a sweep goes over: one parameter of the load, and its values.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::commands::value::{CONNECTIONS_MAX, rate};
use crate::compare::bench::Load;
use crate::pace::Pace;
use crate::plan::{OUTSTANDING_MAX, Schedule};
use crate::work::{ECHO_BYTES_MAX, Kind, Mix};

/// More points than a plot has room for: beyond, the step is a slip of the finger.
const POINTS_MAX: usize = 1_000;

/// One parameter of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// Connections.
    Connections,
    /// Requests, or streams, outstanding per connection.
    Depth,
    /// Bytes of an echo.
    Payload,
    /// Requests per second of an open loop.
    Rate,
    /// What the requests ask for.
    Work,
    /// Connections on which nothing happens.
    Idle,
}

const PARAMETERS: [Parameter; 6] = [
    Parameter::Connections,
    Parameter::Depth,
    Parameter::Payload,
    Parameter::Rate,
    Parameter::Work,
    Parameter::Idle,
];

impl Parameter {
    /// On the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Depth => "depth",
            Self::Payload => "payload",
            Self::Rate => "rate",
            Self::Work => "work",
            Self::Idle => "idle",
        }
    }

    /// The least and the most of its values.
    fn limits(self) -> (f64, f64) {
        match self {
            Self::Connections => (1.0, CONNECTIONS_MAX as f64),
            Self::Depth => (1.0, OUTSTANDING_MAX as f64),
            Self::Payload => (0.0, ECHO_BYTES_MAX as f64),
            Self::Rate => (f64::MIN_POSITIVE, f64::MAX), // its own parser knows the limits
            Self::Work => (f64::MIN, f64::MAX),
            Self::Idle => (0.0, CONNECTIONS_MAX as f64),
        }
    }
}

/// One value of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// As a number: of `work` the amount, or the place where the kinds differ.
    pub value: f64,
    /// As it was written.
    pub label: String,
}

/// A parameter and its values, in the order in which they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Over {
    /// Which.
    pub parameter: Parameter,
    /// At least one.
    pub values: Vec<Value>,
}

/// Why a text is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverError {
    /// No parameter that is known, or nothing after it.
    #[error(
        "`{0}` is not PARAMETER=VALUES with one of connections, depth, payload, rate, work, idle"
    )]
    Parameter(String),
    /// A value that is none.
    #[error("`{text}`: {reason}; write 1,8,64 or 1..64 (doubling) or FROM:TO:STEP")]
    Value {
        /// The value.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too many values.
    #[error("more than {POINTS_MAX} values: use a larger step")]
    TooMany,
}

impl FromStr for Over {
    type Err = OverError;

    fn from_str(text: &str) -> Result<Self, OverError> {
        let unknown = || OverError::Parameter(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(unknown)?;
        let parameter =
            PARAMETERS.into_iter().find(|one| one.name() == name).ok_or_else(unknown)?;
        let values = match parameter {
            Parameter::Work => works(values)?,
            _ => numbers(parameter, values)?,
        };
        if values.len() > POINTS_MAX {
            Err(OverError::TooMany)
        } else {
            Ok(Self { parameter, values })
        }
    }
}

fn works(text: &str) -> Result<Vec<Value>, OverError> {
    let kind = |text: &str| {
        let wrong = |error: crate::work::WorkError| wrong(text, &error.to_string());
        text.trim().parse::<Kind>().map_err(wrong)
    };
    let kinds = text.split(',').map(kind).collect::<Result<Vec<Kind>, _>>()?;
    let are_alike = kinds
        .windows(2)
        .all(|pair| std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]));
    let value = |(at, kind): (usize, &Kind)| Value {
        value: match *kind {
            _ if !are_alike => (at + 1) as f64,
            Kind::Echo { bytes } => bytes as f64,
            Kind::Wait { us } | Kind::Block { us } => us as f64,
            Kind::Compute { rounds } => f64::from(rounds),
            Kind::User { keys } => f64::from(keys),
        },
        label: kind.to_string(),
    };
    Ok(kinds.iter().enumerate().map(value).collect())
}

fn numbers(parameter: Parameter, text: &str) -> Result<Vec<Value>, OverError> {
    let number = |part: &str| number(parameter, part.trim());
    let mut values = Vec::new();
    for part in text.split(',') {
        if let Some((from, to)) = part.split_once("..") {
            let (mut at, to) = (number(from)?, number(to)?);
            if at <= 0.0 || at > to {
                return Err(wrong(part, "doubling goes upwards, and not from zero"));
            }
            while at < to {
                values.push(at);
                at *= 2.0;
            }
            values.push(to);
        } else if let [from, to, step] = part.split(':').collect::<Vec<_>>()[..] {
            let (from, to, step) = (number(from)?, number(to)?, number(step)?);
            if step <= 0.0 || from > to || (to - from) / step > POINTS_MAX as f64 {
                return Err(wrong(part, "it goes upwards, in at most 1000 steps"));
            }
            // The rounding of the steps must not lose the last one.
            let steps = (0..).map(|at| from + f64::from(at) * step);
            values.extend(steps.take_while(|at| *at <= to + step * 1e-9));
        } else {
            values.push(number(part)?);
        }
    }
    Ok(values.into_iter().map(|value| Value { value, label: value.to_string() }).collect())
}

fn number(parameter: Parameter, text: &str) -> Result<f64, OverError> {
    let value = match text.parse::<f64>() {
        Ok(0.0) => 0.0, // which is no rate, but may be a payload
        _ => rate(text).map_err(|error| wrong(text, &error))?,
    };
    let (least, most) = parameter.limits();
    if !(least..=most).contains(&value) {
        return Err(wrong(
            text,
            &format!("{} is at least {least} and at most {most}", parameter.name()),
        ));
    }
    if parameter != Parameter::Rate && value.fract() != 0.0 {
        return Err(wrong(text, "it is not a whole number"));
    }
    Ok(value)
}

fn wrong(text: &str, reason: &str) -> OverError {
    OverError::Value { text: text.to_owned(), reason: reason.to_owned() }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.values.iter().map(|value| value.label.as_str()).collect();
        write!(f, "{}={}", self.parameter.name(), labels.join(","))
    }
}

/// The load at this value of the parameter.
///
/// # Errors
/// Never for values of an [`Over`]: they were checked when it was read.
pub(super) fn load_at(base: &Load, parameter: Parameter, at: &Value) -> Result<Load, OverError> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole, and within limits
    let whole = at.value as usize;
    let mut load = base.clone();
    match parameter {
        Parameter::Connections => {
            load.connections = NonZeroUsize::new(whole).unwrap_or(NonZeroUsize::MIN);
        }
        Parameter::Depth => load.schedule = Schedule::Closed { depth: whole },
        Parameter::Rate => load.schedule = Schedule::Open(Pace::fixed(at.value)),
        Parameter::Idle => load.idle = whole,
        Parameter::Payload => load.mix = mix(&format!("echo:{whole}"))?,
        Parameter::Work => load.mix = mix(&at.label)?,
    }
    Ok(load)
}

fn mix(text: &str) -> Result<Mix, OverError> {
    text.parse().map_err(|error: crate::work::WorkError| wrong(text, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        let over: Over = text.parse().unwrap();
        over.values.iter().map(|value| value.value).collect()
    }

    #[test]
    fn values_as_people_write_them() {
        assert_eq!(values("connections=1,8,64"), [1.0, 8.0, 64.0]);
        assert_eq!(values("rate=1k:4k:1.5k"), [1e3, 2.5e3, 4e3]);
        assert_eq!(values("rate=0.1:0.3:0.1").len(), 3, "rounding must not lose the last");
        assert_eq!(values("depth=1..16"), [1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(values("depth=1..5,8"), [1.0, 2.0, 4.0, 5.0, 8.0]);
        assert_eq!(values("payload=0,1k"), [0.0, 1e3]);
        assert_eq!(values("idle=0"), [0.0]);
        assert_eq!(values("work=compute:1,compute:100"), [1.0, 100.0]);
        assert_eq!(values("work=compute:7,wait:1ms"), [1.0, 2.0]);
        let over: Over = "work=wait:1ms,block:1ms".parse().unwrap();
        assert_eq!(over.to_string(), "work=wait:1ms,block:1ms");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("connections", "`connections` is not PARAMETER=VALUES"),
            ("threads=1", "`threads=1` is not PARAMETER=VALUES"),
            ("connections=0", "connections is at least 1"),
            ("connections=1.5", "`1.5`: it is not a whole number"),
            ("connections=", "``: "),
            ("rate=0", "rate is at least"),
            ("rate=5k:1k:1k", "it goes upwards"),
            ("rate=1:2:0", "rate is at least"),
            ("rate=1:1M:1", "at most 1000 steps"),
            ("idle=0..8", "doubling goes upwards"),
            ("work=nap:1s", "`nap:1s`"),
        ] {
            let error = text.parse::<Over>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
