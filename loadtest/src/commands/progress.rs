//! How far a run has come, on standard error: a bar on a terminal, and elsewhere a line now and
//! then, so that a log stays readable.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::live::Standing;
use crate::plan::{Stop, nanoseconds};
use crate::run::RunConfig;

/// How often a log gets a line.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Over how much of the past the rate is taken: as long as a person needs to read it.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// What is shown of one run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    line_due: Instant,
    rate_from: (Instant, u64),
    rate_rps: f64,
    stop: Stop,
    warmup: Duration,
}

impl Progress {
    pub(super) fn new(config: &RunConfig) -> Self {
        const TEMPLATE: &str = "{bar:30} {wide_msg}";
        let total = match config.stop {
            Stop::After(duration) => nanoseconds(config.warmup + duration),
            Stop::Count(count) => count,
        };
        let style = ProgressStyle::with_template(TEMPLATE);
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(total));
        let now = Instant::now();
        Self {
            bar: bar.map(|bar| bar.with_style(style.unwrap_or(ProgressStyle::default_bar()))),
            began: now,
            line_due: now + LINE_INTERVAL,
            rate_from: (now, 0),
            rate_rps: 0.0,
            stop: config.stop,
            warmup: config.warmup,
        }
    }

    pub(super) fn show(&mut self, standing: Standing) {
        let (now, (from, ok)) = (Instant::now(), self.rate_from);
        if now - from >= RATE_INTERVAL {
            self.rate_rps = (standing.ok - ok) as f64 / (now - from).as_secs_f64();
            self.rate_from = (now, standing.ok);
        }
        let is_line_due = self.bar.is_none() && now >= self.line_due;
        if let Some(bar) = &self.bar {
            bar.set_position(match self.stop {
                Stop::After(_) => nanoseconds(now - self.began),
                Stop::Count(_) => standing.planned,
            });
            bar.set_message(self.text(standing, now));
        } else if is_line_due {
            self.line_due = now + LINE_INTERVAL;
            eprintln!("{}", self.text(standing, now));
        }
    }

    fn text(&self, standing: Standing, now: Instant) -> String {
        let Standing { ok, failed, planned } = standing;
        let left = match self.stop {
            Stop::After(duration) => {
                (self.warmup + duration).saturating_sub(now - self.began).as_secs_f64()
            }
            Stop::Count(count) => count.saturating_sub(planned) as f64 / self.rate_rps.max(1.0),
        };
        format!("{:.0} requests/s, {ok} ok, {failed} failed, {left:.0} s left", self.rate_rps)
    }

    pub(super) fn clear(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
