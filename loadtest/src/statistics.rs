//! How sure a figure is: the interval that stands beside it.

use serde::{Deserialize, Serialize};

/// An estimate and the interval that covers the true value in this share of all repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate itself.
    pub estimate: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// The share: 0.95 commonly.
    pub confidence: f64,
}
