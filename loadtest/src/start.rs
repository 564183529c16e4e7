//! When a run starts: at once, or at a time that several machines were told.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::share::Interrupt;

/// How often the interrupt is looked at while the start is awaited.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// A start that was missed: the other machines have begun, and this one's part of the schedule
/// would be sent late.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the start was {late:?} ago when all connections were open; let --start-at be later, and \
     look whether the machines' clocks agree"
)]
pub struct Missed {
    late: Duration,
}

/// Sleeps until `start`, and gives it on the clock that runs evenly; now, where there is none, or
/// once interrupted.
///
/// # Errors
/// If it is past.
pub fn wait_until(start: Option<SystemTime>, interrupt: &Interrupt) -> Result<Instant, Missed> {
    let Some(start) = start else { return Ok(Instant::now()) };
    let at = match start.duration_since(SystemTime::now()) {
        Ok(rest) => Instant::now() + rest,
        Err(past) => return Err(Missed { late: past.duration() }),
    };
    while !interrupt.is_triggered() {
        let rest = at.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(at);
        }
        thread::sleep(rest.min(WATCH_INTERVAL));
    }
    Ok(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_that_of_the_wall_clock() {
        let interrupt = Interrupt::default();
        let ahead = Duration::from_millis(20);
        let before = Instant::now();
        let at = wait_until(Some(SystemTime::now() + ahead), &interrupt).unwrap();
        assert!(at + Duration::from_millis(1) >= before + ahead && at <= Instant::now());
        assert!(wait_until(None, &interrupt).unwrap() <= Instant::now());
        let past = SystemTime::now() - Duration::from_secs(2);
        assert!(wait_until(Some(past), &interrupt).unwrap_err().to_string().contains("2."));
        interrupt.trigger();
        let far = SystemTime::now() + Duration::from_hours(1);
        assert!(wait_until(Some(far), &interrupt).unwrap() < at + Duration::from_mins(1));
    }
}
