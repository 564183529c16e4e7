//! Histograms as text: `HdrHistogram`'s own compressed form (V2, deflated), in base64, which its
//! implementations in other languages read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// Why a text is no histogram.
#[derive(Debug, thiserror::Error)]
#[error("no histogram: {0}")]
pub struct HistogramError(String);

/// The whole histogram as text: some kilobytes.
///
/// # Panics
/// Never: writing to memory does not fail.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing to memory does not fail");
    STANDARD.encode(bytes)
}

/// The histogram of a text; it grows where one with a wider range is added.
///
/// # Errors
/// If it is none.
pub fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    let bytes = STANDARD.decode(text).map_err(|error| HistogramError(error.to_string()))?;
    let mut histogram = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| HistogramError(error.to_string()))?;
    histogram.auto(true);
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_comes_back_bucket_for_bucket() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        for value in (0..100_000).map(|n| 1 + n * n * 37) {
            histogram.saturating_record(value);
        }
        assert_eq!(decode(&encode(&histogram)).unwrap(), histogram);
        assert!(encode(&histogram).starts_with("HISTFAAA"));
        let mut grown = decode(&encode(&Histogram::<u64>::new(2).unwrap())).unwrap();
        grown.add(&histogram).unwrap();
        assert_eq!(grown.len(), histogram.len());
        for wrong in ["", "?", "SElTVEZBQUE="] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
