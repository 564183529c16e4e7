//! A run over time: what was planned in each of some hundred windows, and what came of it.
//!
//! A request belongs to the window of its planned time, so that a stall is seen where it hit and
//! not where its answers came.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::histogram::{HistogramError, decode, encode};
use crate::plan::nanoseconds;
use crate::result::{Quantiles, StepResult, WindowResult};

/// Two digits: an error below 1 %, in a histogram that stays in the cache.
const DIGITS: u8 = 2;
/// Into how many windows a run is divided whose length is known, or a little more.
const WINDOWS: usize = 100;
/// How many windows a run has at the most. Where it turns out longer than was known before, two
/// neighbours become one.
pub const WINDOWS_MAX: usize = 200;
/// The length of a window where nobody knows how long the run will be.
const LENGTH_DEFAULT: Length = Length { span_ns: 10_000_000, parts: 1 };

/// How long a window is: a fraction, so that the steps of a run begin with one to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    span_ns: u64,
    parts: u64,
}

impl Length {
    /// Of a run of this length, whose `steps` are equally long.
    pub fn of(run: Duration, steps: usize) -> Self {
        let parts = steps.max(1) * windows_per_step(steps);
        Self { span_ns: nanoseconds(run).max(1), parts: parts as u64 }
    }

    fn seconds(self) -> f64 {
        self.span_ns as f64 / self.parts as f64 / 1e9
    }

    fn double(&mut self) {
        self.span_ns *= 2;
    }

    fn index(self, since_ns: u64) -> usize {
        let index = u128::from(since_ns) * u128::from(self.parts) / u128::from(self.span_ns);
        usize::try_from(index).unwrap_or(usize::MAX)
    }
}

/// What was planned in one window, and what came of it.
#[derive(Clone, Debug)]
pub struct Window {
    /// Requests that were planned within it: the sum of the next four, once all are settled.
    pub planned: u64,
    /// Right answers.
    pub ok: u64,
    /// Failures.
    pub errors: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
    /// Response times in nanoseconds, timeouts included.
    pub latency: Histogram<u64>,
}

impl Default for Window {
    fn default() -> Self {
        let latency = Histogram::new(DIGITS).expect("two digits are a valid precision");
        Self { planned: 0, ok: 0, errors: 0, timed_out: 0, unsent: 0, latency }
    }
}

impl Window {
    /// Records a response time.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.latency.record(latency_ns).expect("histograms of this kind grow as they need");
    }

    /// Adds another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.ok += other.ok;
        self.errors += other.errors;
        self.timed_out += other.timed_out;
        self.unsent += other.unsent;
        self.latency.add(&other.latency).expect("histograms of this kind grow as they need");
    }
}

/// All windows of a run.
#[derive(Clone, Debug)]
pub struct Windows {
    from_ns: u64,
    length: Length,
    all: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(0, None)
    }
}

impl Windows {
    /// Of a run that is measured from `from_ns` on; with windows of this length, if one is given.
    pub fn new(from_ns: u64, length: Option<Length>) -> Self {
        Self { from_ns, length: length.unwrap_or(LENGTH_DEFAULT), all: Vec::new() }
    }

    /// All of them, from the first on.
    pub fn all(&self) -> &[Window] {
        &self.all
    }

    /// The one that this time falls into.
    pub fn at(&mut self, planned_ns: u64) -> &mut Window {
        let since_ns = planned_ns.saturating_sub(self.from_ns);
        let mut at = self.length.index(since_ns);
        if at >= self.all.len() {
            while at >= WINDOWS_MAX {
                self.halve();
                at = self.length.index(since_ns);
            }
            if at >= self.all.len() {
                self.all.resize_with(at + 1, Window::default);
            }
        }
        &mut self.all[at]
    }

    /// Makes one window of two neighbours.
    fn halve(&mut self) {
        self.length.double();
        let whole = std::mem::take(&mut self.all);
        self.all = whole
            .chunks(2)
            .map(|pair| {
                let mut window = pair[0].clone();
                pair[1..].iter().for_each(|second| window.merge(second));
                window
            })
            .collect();
    }

    /// Adds those of another thread of the same run.
    pub fn merge(&mut self, mut other: Self) {
        if other.all.is_empty() {
            return;
        }
        if self.all.is_empty() {
            *self = other;
            return;
        }
        // Those of one run differ by a power of two, if at all.
        let is_half = |one: Length, other: Length| one.seconds() < 0.75 * other.seconds();
        while is_half(self.length, other.length) {
            self.halve();
        }
        while is_half(other.length, self.length) {
            other.halve();
        }
        let count = self.all.len().max(other.all.len());
        self.all.resize_with(count, Window::default);
        for (window, other) in self.all.iter_mut().zip(&other.all) {
            window.merge(other);
        }
    }
}

/// As they stand in a result, and back.
impl Windows {
    /// `whole`: with their histograms, so that they can be added to those of other machines.
    pub fn results(&self, whole: bool) -> Vec<WindowResult> {
        let length_s = self.length.seconds();
        let result = |(at, window): (usize, &Window)| {
            let us = |quantile| window.latency.value_at_quantile(quantile) as f64 / 1e3;
            WindowResult {
                from_s: at as f64 * length_s,
                length_s,
                planned: window.planned,
                ok: window.ok,
                errors: window.errors,
                timed_out: window.timed_out,
                unsent: window.unsent,
                p50_us: us(0.5),
                p99_us: us(0.99),
                max_us: us(1.0),
                histogram: whole.then(|| encode(&window.latency)),
            }
        };
        self.all.iter().enumerate().map(result).collect()
    }

    /// The windows of a result that has them whole.
    ///
    /// # Errors
    /// If a histogram is missing, or is none.
    pub fn of_results(results: &[WindowResult]) -> Result<Self, HistogramError> {
        /// Of a length that was written as a fraction of a second, enough digits.
        const SPAN_PARTS: u64 = 1_000;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it was such a number
        let span = |first: &WindowResult| (first.length_s * SPAN_PARTS as f64 * 1e9).round() as u64;
        let length = |first| Length { span_ns: span(first).max(1), parts: SPAN_PARTS };
        let mut windows = Self::new(0, results.first().map(length));
        for result in results {
            windows.all.push(Window {
                planned: result.planned,
                ok: result.ok,
                errors: result.errors,
                timed_out: result.timed_out,
                unsent: result.unsent,
                latency: decode(result.histogram.as_deref().unwrap_or_default())?,
            });
        }
        Ok(windows)
    }

    /// What each of several rates came to, which followed each other.
    pub fn steps(&self, rates: &[f64]) -> Vec<StepResult> {
        let per_step = windows_per_step(rates.len());
        let length_s = per_step as f64 * self.length.seconds();
        let parts = self.all.chunks(per_step).chain(std::iter::repeat(&[][..]));
        let result = |(rate_rps, part): (&f64, &[Window])| {
            let mut sum = Window::default();
            for window in part {
                sum.merge(window);
            }
            StepResult {
                rate_rps: *rate_rps,
                length_s,
                planned: sum.planned,
                ok: sum.ok,
                errors: sum.errors,
                timed_out: sum.timed_out,
                unsent: sum.unsent,
                latency_us: Quantiles::of(&sum.latency),
            }
        };
        rates.iter().zip(parts).map(result).collect()
    }
}

fn windows_per_step(steps: usize) -> usize {
    WINDOWS.div_ceil(steps.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(span_ns: u64) -> Length {
        Length { span_ns, parts: 1 }
    }

    fn planned(windows: &Windows) -> Vec<u64> {
        windows.all().iter().map(|window| window.planned).collect()
    }

    #[test]
    fn a_request_belongs_to_the_window_of_its_planned_time() {
        let mut windows = Windows::new(1_000, Some(ns(100)));
        for ns in [1_000, 1_099, 1_100, 1_350] {
            windows.at(ns).planned += 1;
        }
        assert_eq!(planned(&windows), [2, 1, 0, 1]);
    }

    #[test]
    fn a_run_that_goes_on_has_longer_windows() {
        let mut windows = Windows::new(0, Some(ns(1)));
        let count = 10 * WINDOWS_MAX as u64;
        for ns in 0..count {
            windows.at(ns).planned += 1;
        }
        assert!(windows.all().len() <= WINDOWS_MAX);
        assert_eq!(planned(&windows).iter().sum::<u64>(), count);
        let length_ns = windows.length.span_ns;
        assert!(planned(&windows).iter().all(|planned| *planned == length_ns));
    }

    #[test]
    fn steps_begin_with_a_window() {
        let rates = [1.0, 2.0, 3.0];
        let length = Length::of(Duration::from_secs(3), rates.len());
        let mut windows = Windows::new(0, Some(length));
        for ms in 0..3_000 {
            let window = windows.at(ms * 1_000_000);
            window.planned += 1;
            window.record(1_000 * (ms / 1_000 + 1));
        }
        let steps = windows.steps(&rates);
        assert_eq!(steps.iter().map(|step| step.planned).collect::<Vec<_>>(), [1_000; 3]);
        for (step, us) in steps.iter().zip(1..) {
            let p50_us = step.latency_us.p50;
            assert!((p50_us - f64::from(us)).abs() < 0.01 * f64::from(us), "{p50_us}");
        }
        let back = Windows::of_results(&windows.results(true)).unwrap();
        for (back, window) in back.results(true).iter().zip(windows.results(true)) {
            assert_eq!((back.planned, &back.histogram), (window.planned, &window.histogram));
            assert!((back.from_s - window.from_s).abs() < 1e-9);
        }
        assert!(Windows::of_results(&windows.results(false)).is_err());
    }

    #[test]
    fn threads_are_added_whatever_the_lengths() {
        let (mut one, mut two) = (Windows::new(0, Some(ns(1))), Windows::new(0, Some(ns(1))));
        for ns in 0..1_000 {
            one.at(ns).planned += 1;
        }
        for ns in 0..100 {
            two.at(ns).planned += 1;
        }
        let (mut both, mut swapped) = (one.clone(), two.clone());
        both.merge(two);
        swapped.merge(one);
        assert_eq!(planned(&both), planned(&swapped));
        assert_eq!(both.all()[0].planned, 2 * both.length.span_ns);
        assert_eq!(planned(&both).iter().sum::<u64>(), 1_100);
        let mut nothing = Windows::default();
        nothing.merge(both.clone());
        assert_eq!(planned(&nothing), planned(&both));
    }
}
