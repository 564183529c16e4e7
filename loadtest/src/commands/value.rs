//! Values as people write them on the command line, and their bounds.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::pace::Rate;

/// More is beyond what a process may have as open files on common machines.
pub const CONNECTIONS_MAX: u64 = 100_000;
/// More load threads than any machine has cores: beyond, it is a slip of the finger.
pub const THREADS_MAX: u64 = 256;
/// A planned time must be distinct from the next in nanoseconds, with room to spare.
const RATE_MAX: f64 = 1e8;
/// The longest of any duration.
const DURATION_MAX: Duration = Duration::from_hours(24);

/// Half of the cores, since the server needs the others.
pub fn threads_default() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}

/// What a server gets as `--workers` where nothing else was said: the cores that the load threads
/// leave. A server with more threads than cores are left for it would fight the load tester for
/// them, and the comparison would be one of the scheduler's moods.
pub fn workers_default() -> NonZeroUsize {
    workers_beside(threads_default())
}

/// The same beside so many load threads.
pub fn workers_beside(threads: NonZeroUsize) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let left = cores.saturating_sub(threads.get());
    NonZeroUsize::new(left).unwrap_or(NonZeroUsize::MIN)
}

/// What a range has checked already.
pub fn at_least_one(value: u64) -> NonZeroUsize {
    usize::try_from(value).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

/// `500ms`, `2s`, `5m`.
///
/// # Errors
/// In words, if it is none, or beyond a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err("longer than 24 hours".to_owned()),
        Err(error) => Err(format!("{error} (write 500ms, 2s, 5m)")),
    }
}

/// The same, and above zero.
///
/// # Errors
/// In words.
pub fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Requests per second: `2000`, `2k`, `1.5M`.
///
/// # Errors
/// In words.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'M']) {
        Some(number) if text.ends_with('k') => (number, 1e3),
        Some(number) => (number, 1e6),
        None => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| number * factor) {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        Ok(_) => Err(format!("must be above 0 and at most {RATE_MAX}")),
        Err(error) => Err(format!("{error} (write 2000, 2k, 1.5M)")),
    }
}

/// The most steps of a rate: beyond, a step would be shorter than a window of the result.
const STEPS_MAX: usize = 100;

/// What `--rate` says.
#[derive(Clone, Debug, PartialEq)]
pub enum RateFlag {
    /// `2k`.
    Fixed(f64),
    /// `1k..50k`.
    Ramp(f64, f64),
    /// `1k:50k:5k`: from, to and by.
    Steps(f64, f64, f64),
    /// `1k,20k,5k`.
    List(Vec<f64>),
}

impl RateFlag {
    /// Whether it stays the same.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The rate over time; steps that were not listed one by one are shuffled by the seed.
    pub fn rate(&self, seed: Option<u64>) -> Rate {
        match self {
            Self::Fixed(rate) => Rate::Fixed(*rate),
            Self::Ramp(from, to) => Rate::Ramp { from: *from, to: *to },
            Self::Steps(from, to, by) => Rate::steps(*from, *to, *by, seed),
            Self::List(rates) => Rate::Steps(rates.clone()),
        }
    }
}

impl FromStr for RateFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((from, to)) = text.split_once("..") {
            return Ok(Self::Ramp(rate(from)?, rate(to)?));
        }
        if text.contains(',') {
            let rates = text.split(',').map(rate).collect::<Result<Vec<f64>, _>>()?;
            return few(rates.len()).map(|()| Self::List(rates));
        }
        let parts = text.split(':').map(rate).collect::<Result<Vec<f64>, _>>()?;
        match parts[..] {
            [rate] => Ok(Self::Fixed(rate)),
            [from, to, by] if from <= to => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative
                let steps = ((to - from) / by) as usize + 1;
                few(steps).map(|()| Self::Steps(from, to, by))
            }
            _ => Err("write 2k, a ramp 1k..50k, steps 1k:50k:5k (from, to, by) or a list 1k,5k"
                .to_owned()),
        }
    }
}

fn few(steps: usize) -> Result<(), String> {
    if steps <= STEPS_MAX { Ok(()) } else { Err(format!("at most {STEPS_MAX} steps")) }
}

/// `2026-01-31T12:00:00Z`, or seconds since 1970.
///
/// # Errors
/// In words.
pub fn wall_clock(text: &str) -> Result<SystemTime, String> {
    let seconds = || {
        let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    humantime::parse_rfc3339(text)
        .ok()
        .or_else(seconds)
        .ok_or_else(|| "write 2026-01-31T12:00:00Z, or seconds since 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_thousands_and_millions() {
        assert_eq!(rate("2000"), Ok(2_000.0));
        assert_eq!(rate("1.5k"), Ok(1_500.0));
        assert_eq!(rate("2M"), Ok(2_000_000.0));
        for wrong in ["", "k", "0", "-1k", "nan", "2kk", "1e9"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_may_change() {
        let parsed = |text: &str| text.parse::<RateFlag>();
        assert_eq!(parsed("2k"), Ok(RateFlag::Fixed(2e3)));
        assert_eq!(parsed("1k..50k"), Ok(RateFlag::Ramp(1e3, 50e3)));
        assert_eq!(parsed("1k:50k:5k"), Ok(RateFlag::Steps(1e3, 50e3, 5e3)));
        assert_eq!(parsed("5k,1k").unwrap().rate(Some(1)), Rate::Steps(vec![5e3, 1e3]));
        for wrong in ["1k:2k", "2k:1k:1k", "1:1000:1", "..", "1k..", "1k,,2k", "1k:2k:0"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_a_date_or_a_number() {
        let at = |text| wall_clock(text).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(at("1970-01-02T00:00:00Z"), Duration::from_hours(24));
        assert_eq!(at("1.5"), Duration::from_millis(1_500));
        for wrong in ["", "noon", "-1", "1e300", "nan"] {
            assert!(wall_clock(wrong).is_err(), "{wrong}");
        }
    }
}
