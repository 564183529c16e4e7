//! The way to a value in JSON: `scenarios[name=echo].entries[server=epoll].medians.threads`.
//!
//! A step is `.key`, `[index]`, or `[key=value]` for the first element of which that holds; of
//! several, parted by commas, all must hold: `rows[server=pool,depth=1]`. A key with a dot in it
//! stands in brackets: `latency_us[p99.9]`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    Where(Vec<(String, String)>),
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is none.
    #[error("{0:?} is no path: steps are .key, [index] or [key=value]")]
    Malformed(String),
    /// There is nothing at one of its steps.
    #[error("nothing at {step} of {path}{hint}")]
    Nothing {
        /// The step.
        step: String,
        /// All of it.
        path: String,
        /// What there is instead.
        hint: String,
    },
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let malformed = || PathError::Malformed(text.to_owned());
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(bracket) = rest.strip_prefix('[') {
                let (inside, behind) = bracket.split_once(']').ok_or_else(malformed)?;
                steps.push(in_brackets(inside).ok_or_else(malformed)?);
                rest = behind;
            } else {
                let dotted = rest.strip_prefix('.');
                if dotted.is_none() && !steps.is_empty() {
                    return Err(malformed());
                }
                let named = dotted.unwrap_or(rest);
                let end = named.find(['.', '[']).unwrap_or(named.len());
                let (key, behind) = named.split_at(end);
                if key.is_empty() || key.contains(']') {
                    return Err(malformed());
                }
                steps.push(Step::Key(key.to_owned()));
                rest = behind;
            }
        }
        if steps.is_empty() { Err(malformed()) } else { Ok(Self(steps)) }
    }
}

fn in_brackets(inside: &str) -> Option<Step> {
    if inside.contains('=') {
        let conditions = inside.split(',').map(|condition| {
            let (key, value) = condition.split_once('=')?;
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        });
        return conditions.collect::<Option<_>>().map(Step::Where);
    }
    if let Ok(index) = inside.parse() {
        return Some(Step::Index(index));
    }
    (!inside.is_empty() && !inside.contains('[')).then(|| Step::Key(inside.to_owned()))
}

impl Path {
    /// The value that it leads to.
    ///
    /// # Errors
    /// If there is none.
    pub fn find<'a>(&self, root: &'a Value) -> Result<&'a Value, PathError> {
        self.0.iter().try_fold(root, |value, step| {
            step.take(value).ok_or_else(|| PathError::Nothing {
                step: step.to_string(),
                path: self.to_string(),
                hint: there_is(value),
            })
        })
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Key(key) => value.get(key),
            Self::Index(index) => value.as_array()?.get(*index),
            Self::Where(conditions) => value.as_array()?.iter().find(|element| {
                let holds = |(key, value): &(String, String)| {
                    element.get(key).is_some_and(|found| is_written(found, value))
                };
                conditions.iter().all(holds)
            }),
        }
    }
}

/// Whether a value is what a path calls `text`.
fn is_written(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Number(number) => {
            number.to_string() == text
                || text.parse().is_ok_and(|text: f64| number.as_f64() == Some(text))
        }
        Value::Bool(value) => text.parse() == Ok(*value),
        Value::Null => text == "null",
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// What there is where a step leads nowhere: enough to find a slip by.
fn there_is(value: &Value) -> String {
    const SHOWN: usize = 12;
    match value {
        Value::Object(fields) => {
            let keys: Vec<_> = fields.keys().take(SHOWN).map(String::as_str).collect();
            let more = if fields.len() > SHOWN { ", ..." } else { "" };
            format!(": there are {}{more}", keys.join(", "))
        }
        Value::Array(elements) => format!(": {} elements are there", elements.len()),
        _ => ": it stands behind a single value".to_owned(),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(_) if index == 0 => {
                    write!(f, "{}", step.to_string().trim_start_matches('.'))?;
                }
                _ => write!(f, "{step}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) if key.contains('.') => write!(f, "[{key}]"),
            Self::Key(key) => write!(f, ".{key}"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Where(conditions) => {
                let conditions = conditions.iter().map(|(key, value)| format!("{key}={value}"));
                write!(f, "[{}]", conditions.collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn found(path: &str) -> Result<Value, String> {
        let root = json!({
            "a": [{"name": "x y", "n": 1, "v": 7}, {"name": "z", "n": 2.5, "v": 8}],
            "p": {"p99.9": 3, "deep": [[4]]},
        });
        let path: Path = path.parse().map_err(|error: PathError| error.to_string())?;
        path.find(&root).cloned().map_err(|error| error.to_string())
    }

    #[test]
    fn each_step_leads_on() {
        for (path, value) in [
            ("a[0].v", json!(7)),
            ("a[name=x y].v", json!(7)),
            ("a[name=z,n=2.5].v", json!(8)),
            ("a[n=1.0].v", json!(7)),
            ("p[p99.9]", json!(3)),
            ("p.deep[0][0]", json!(4)),
        ] {
            assert_eq!(found(path), Ok(value), "{path}");
        }
    }

    #[test]
    fn where_it_leads_nowhere_it_says_what_is_there() {
        assert_eq!(found("p.q.r").unwrap_err(), "nothing at .q of p.q.r: there are deep, p99.9");
        assert_eq!(
            found("a[name=q].v").unwrap_err(),
            "nothing at [name=q] of a[name=q].v: 2 elements are there"
        );
        assert_eq!(
            found("a[0].v.w").unwrap_err(),
            "nothing at .w of a[0].v.w: it stands behind a single value"
        );
        assert!(found("a[name=z,n=1].v").is_err(), "of two conditions both must hold");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", ".", "a..b", "a[", "a]b", "a[]", "a[0]b", "a[=1]", "a.", "[", "a[b=1,c]"] {
            assert!(path.parse::<Path>().is_err(), "{path:?}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c.]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c.]{0,3}", inner, 0..4)
                    .prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_path_panics_on_any_json(path in "[a-c0-2.,=\\[\\] é]{0,20}", root in any_json()) {
            if let Ok(path) = path.parse::<Path>() {
                let _ = path.find(&root).map_err(|error| error.to_string());
            }
        }

        #[test]
        fn a_path_is_read_as_it_is_written(path in "[a-c]{1,2}(\\.[a-c]{1,2}|\\[[0-9]\\]|\\[[a-c]=[a-c]\\]){0,5}") {
            let read: Path = path.parse().unwrap();
            prop_assert_eq!(read.to_string(), path);
        }
    }
}
