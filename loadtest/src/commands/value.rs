//! Values as people write them on the command line, and their bounds.

use std::num::NonZeroUsize;
use std::time::Duration;

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
}
