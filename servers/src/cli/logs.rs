//! Logs on standard error: for people, or one JSON object a line for whoever collects them.

use std::io::{self, IsTerminal};
use std::panic;
use std::thread;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;

use crate::seldom::Seldom;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, its fields apart.
    Json,
}

pub(super) fn init(level: LevelFilter, format: LogFormat) {
    let logs = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
    panic::set_hook(Box::new(log_panic));
}

/// A peer that finds a request that panics can send many.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    static PANICS: Seldom = Seldom::new();
    if let Some(left_out) = PANICS.say() {
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let thread = thread::current().name().map(ToOwned::to_owned);
        tracing::error!(location, thread, left_out, "panicked: {message}");
    }
}
