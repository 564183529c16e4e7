//! What the requests of a run ask for: one kind of work, or a weighted mix of several.
//!
//! Which request of a mix gets which kind is a pure function of the seed and the request's
//! index, so a run can be repeated exactly.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use common::message::Work;
use common::service::{BLOCK_US_MAX, COMPUTE_ROUNDS_MAX, WAIT_US_MAX};
use common::users::USERS;

/// The largest echo. A server's own frame limit (4 MiB unless it was told otherwise) may be lower
/// and is then the server's to report; this only bounds the tester's memory.
pub const ECHO_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most kinds in one mix, each size of a distribution counted: a request remembers its kind in
/// a byte.
pub const KINDS_MAX: usize = 256;
/// In how many sizes a distribution of sizes is sent, each as often as the others: a quantile of
/// it every three percent. Requests are encoded before the run, and so their sizes must be known.
const SIZES: usize = 32;
/// The largest mean or end of a distribution, since all of its sizes are kept encoded.
const DISTRIBUTION_BYTES_MAX: u64 = 1024 * 1024;

/// What one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `echo:BYTES`.
    Echo {
        /// Length of the payload.
        bytes: usize,
    },
    /// `wait:DURATION`.
    Wait {
        /// Microseconds.
        us: u64,
    },
    /// `compute:ROUNDS`.
    Compute {
        /// Hashes.
        rounds: u32,
    },
    /// `block:DURATION`.
    Block {
        /// Microseconds.
        us: u64,
    },
    /// `user:KEYS`: users of the ids 1 to KEYS, each as likely as the others.
    User {
        /// The last of them.
        keys: u32,
    },
}

impl Kind {
    /// The works of the contract, each as likely as the others: one, but for users. `fill` makes
    /// the payload of an echo of that many bytes.
    pub fn works(self, fill: impl FnOnce(usize) -> Vec<u8>) -> Vec<Work> {
        match self {
            Self::Echo { bytes } => vec![Work::Echo(fill(bytes))],
            Self::Wait { us } => vec![Work::WaitUs(us)],
            Self::Compute { rounds } => vec![Work::ComputeRounds(rounds)],
            Self::Block { us } => vec![Work::BlockUs(us)],
            Self::User { keys } => (1..=keys).map(|id| Work::GetUser(id.to_string())).collect(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = |us| humantime::format_duration(Duration::from_micros(us));
        match *self {
            Self::Echo { bytes } => write!(f, "echo:{bytes}"),
            Self::Wait { us } => write!(f, "wait:{}", duration(us)),
            Self::Compute { rounds } => write!(f, "compute:{rounds}"),
            Self::Block { us } => write!(f, "block:{}", duration(us)),
            Self::User { keys } => write!(f, "user:{keys}"),
        }
    }
}

/// Why a text is no work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// No kind that is known.
    #[error(
        "`{0}` is not echo:BYTES, echo:LEAST..MOST, echo:~MEAN, wait:DURATION, compute:ROUNDS, block:DURATION or user:KEYS"
    )]
    Kind(String),
    /// The amount is no number, or no duration.
    #[error("`{text}`: {reason}")]
    Amount {
        /// The part it stands in.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The amount is beyond what the contract allows.
    #[error("`{text}` is outside of the limits {least} to {most}")]
    Limit {
        /// The part it stands in.
        text: String,
        /// The least, in the contract's unit.
        least: u64,
        /// The most, in the contract's unit.
        most: u64,
    },
    /// A weight that is none.
    #[error("the weight in `{0}` is not a whole number from 1 to 1000000")]
    Weight(String),
    /// More kinds than a mix may have.
    #[error("a mix has at most {KINDS_MAX} kinds, and a distribution of sizes is {SIZES}")]
    TooMany,
}

impl FromStr for Kind {
    type Err = WorkError;

    fn from_str(text: &str) -> Result<Self, WorkError> {
        let unknown = || WorkError::Kind(text.to_owned());
        let (kind, amount) = text.split_once(':').ok_or_else(unknown)?;
        let wrong = |reason: String| WorkError::Amount { text: text.to_owned(), reason };
        let number = || amount.parse::<u64>().map_err(|error| wrong(error.to_string()));
        let microseconds = || {
            let duration: humantime::Duration = amount
                .parse()
                .map_err(|error| wrong(format!("{error} (durations are written 10ms, 2s)")))?;
            Ok(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
        };
        let within = |value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            Err(WorkError::Limit { text: text.to_owned(), least, most })
        };
        match kind {
            "echo" => {
                let bytes = within(number()?, 0, ECHO_BYTES_MAX)?;
                Ok(Self::Echo { bytes: usize::try_from(bytes).map_err(|_| unknown())? })
            }
            "wait" => Ok(Self::Wait { us: within(microseconds()?, 0, WAIT_US_MAX)? }),
            "compute" => {
                let rounds = within(number()?, 1, COMPUTE_ROUNDS_MAX)?;
                Ok(Self::Compute { rounds: u32::try_from(rounds).map_err(|_| unknown())? })
            }
            "block" => Ok(Self::Block { us: within(microseconds()?, 0, BLOCK_US_MAX)? }),
            "user" => {
                let keys = within(number()?, 1, USERS.into())?;
                Ok(Self::User { keys: u32::try_from(keys).map_err(|_| unknown())? })
            }
            _ => Err(unknown()),
        }
    }
}

/// The sizes of `echo:LEAST..MOST` (each as likely) or `echo:~MEAN` (exponential: small ones are
/// common, large ones rare), at the middle of every quantile; nothing where it is neither.
fn sizes(text: &str) -> Option<Result<Vec<usize>, WorkError>> {
    let amount = text.strip_prefix("echo:")?;
    let wrong = |reason: String| WorkError::Amount { text: text.to_owned(), reason };
    let number = |part: &str| {
        let bytes = part.parse::<u64>().map_err(|error| wrong(error.to_string()))?;
        if bytes <= DISTRIBUTION_BYTES_MAX {
            return Ok(bytes as f64);
        }
        let (text, most) = (text.to_owned(), DISTRIBUTION_BYTES_MAX);
        Err(WorkError::Limit { text, least: 0, most })
    };
    let quantiles = |size: &dyn Fn(f64) -> f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the bounds
        let size = |at: usize| size((at as f64 + 0.5) / SIZES as f64).round() as usize;
        (0..SIZES).map(size).collect()
    };
    if let Some((least, most)) = amount.split_once("..") {
        let both = number(least).and_then(|least| Ok((least, number(most)?)));
        if matches!(both, Ok((least, most)) if least > most) {
            return Some(Err(wrong("the least is above the most".to_owned())));
        }
        return Some(both.map(|(least, most)| quantiles(&|p| least + p * (most - least))));
    }
    let mean = number(amount.strip_prefix('~')?);
    Some(mean.map(|mean| quantiles(&|p| -mean * (1.0 - p).ln())))
}

/// One kind or several, each with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// As it was written.
    text: String,
    kinds: Vec<Kind>,
    /// For each kind, the sum of the weights up to its own.
    weights_summed: Vec<u64>,
}

impl From<Kind> for Mix {
    fn from(kind: Kind) -> Self {
        Self { text: kind.to_string(), kinds: vec![kind], weights_summed: vec![1] }
    }
}

impl Mix {
    /// The kinds, in the order in which they were given.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.kinds.iter().copied()
    }

    /// Which kind, as an index into [`kinds`](Self::kinds), the request `index` of a run with
    /// this `seed` asks for.
    pub fn choose(&self, seed: u64, index: u64) -> usize {
        match self.weights_summed[..] {
            [.., total] if self.kinds.len() > 1 => {
                let at = scramble(seed ^ scramble(index)) % total;
                self.weights_summed.partition_point(|sum| *sum <= at)
            }
            _ => 0,
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Mix {
    type Err = WorkError;

    fn from_str(text: &str) -> Result<Self, WorkError> {
        let mut mix = Self { text: text.to_owned(), kinds: Vec::new(), weights_summed: Vec::new() };
        let mut sum = 0;
        for part in text.split(',').map(str::trim) {
            let (kind, weight) = weighted(part)?;
            let kinds = match sizes(kind).transpose()? {
                Some(sizes) => sizes.into_iter().map(|bytes| Kind::Echo { bytes }).collect(),
                // As many times the weight as a distribution has sizes, so that both count alike.
                None => vec![kind.parse()?],
            };
            let each = weight * (SIZES / kinds.len()) as u64;
            for kind in kinds {
                sum += each;
                mix.kinds.push(kind);
                mix.weights_summed.push(sum);
            }
        }
        if mix.kinds.len() > KINDS_MAX { Err(WorkError::TooMany) } else { Ok(mix) }
    }
}

/// A part of a mix and its weight, 1 where none is given.
fn weighted(part: &str) -> Result<(&str, u64), WorkError> {
    /// Keeps the sum of the weights far from overflow.
    const WEIGHT_MAX: u64 = 1_000_000;
    let Some((kind, weight)) = part.split_once('=') else { return Ok((part, 1)) };
    let weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    Ok((kind, weight.ok_or_else(|| WorkError::Weight(part.to_owned()))?))
}

/// Spreads nearby numbers over all 64 bits: the finaliser of `SplitMix64` (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014).
pub fn scramble(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_read_and_written_alike() {
        let mix = "echo:64=90,block:5ms=10";
        for text in ["echo:64", "wait:10ms", "compute:100", "user:10000", mix, "echo:~512"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "`` is not echo:BYTES"),
            ("sleep:1s", "`sleep:1s` is not echo:BYTES"),
            ("echo:lots", "`echo:lots`: invalid digit"),
            ("wait:10", "`wait:10`: time unit needed"),
            ("wait:2m", "`wait:2m` is outside of the limits 0 to 60000000"),
            ("compute:0", "`compute:0` is outside of the limits 1 to 1000000"),
            ("user:0", "`user:0` is outside of the limits 1 to 10000"),
            ("user:10001", "`user:10001` is outside of the limits 1 to 10000"),
            ("user:me", "`user:me`: invalid digit"),
            ("echo:1=0", "the weight in `echo:1=0`"),
            ("echo:1=x,echo:2", "the weight in `echo:1=x`"),
            ("echo:1,,echo:2", "`` is not echo:BYTES"),
            ("echo:2..1", "`echo:2..1`: the least is above the most"),
            ("echo:1..x", "`echo:1..x`: invalid digit"),
            ("echo:~2000000", "`echo:~2000000` is outside of the limits 0 to 1048576"),
            (&["echo:1..2"; 9].join(","), "at most 256 kinds"),
        ] {
            let error = text.parse::<Mix>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_the_mean_and_the_ends_of_their_distribution() {
        let sizes = |text: &str| -> Vec<usize> {
            let bytes = |kind| match kind {
                Kind::Echo { bytes } => bytes,
                other => panic!("{other}"),
            };
            text.parse::<Mix>().unwrap().kinds().map(bytes).collect()
        };
        let mean = |sizes: &[usize]| sizes.iter().sum::<usize>() / sizes.len();
        let even = sizes("echo:100..1100");
        assert!(even.is_sorted() && even[0] >= 100 && even[31] <= 1100);
        assert_eq!(mean(&even), 600);
        let exponential = sizes("echo:~1000");
        // The last of the quantiles stands for all that are larger: a little of the mean is lost.
        assert!((970..=1000).contains(&mean(&exponential)), "{}", mean(&exponential));
        assert!(exponential[15] < 700 && exponential[31] > 4_000);
        let mix: Mix = "echo:~1000=30,wait:1ms=70".parse().unwrap();
        let waits = (0..10_000).filter(|index| mix.choose(1, *index) == SIZES).count();
        assert!((6_700..7_300).contains(&waits), "{waits}");
    }

    #[test]
    fn a_mix_has_its_weights_and_the_seed_decides() {
        let mix: Mix = "echo:64=90,block:5ms=10".parse().unwrap();
        let blocks = |seed| (0..10_000).filter(|index| mix.choose(seed, *index) == 1).count();
        assert!((900..1_100).contains(&blocks(1)), "{}", blocks(1));
        let chosen = |seed| (0..64).map(|index| mix.choose(seed, index)).collect::<Vec<_>>();
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }
}
