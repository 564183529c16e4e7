//! How far an experiment has come, on standard error.
//!
//! On a terminal a bar; elsewhere a line per step, so that a log stays readable.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, else a line for each thing that begins.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        const TEMPLATE: &str = "{bar:30} {pos}/{len}  {eta} left  {wide_msg}";
        let style = ProgressStyle::with_template(TEMPLATE);
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(steps));
        Self(bar.map(|bar| bar.with_style(style.unwrap_or(ProgressStyle::default_bar()))))
    }

    pub(crate) fn say(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn step(&self) {
        self.0.iter().for_each(|bar| bar.inc(1));
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}
