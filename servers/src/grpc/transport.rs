//! HTTP/2's own settings, as flags with the usual names.

use clap::Args;

/// Calls in flight on one connection: what RFC 9113 (6.5.2) recommends as the least.
pub(super) const STREAMS_MAX_DEFAULT: u32 = 100;

/// HTTP/2 and what is under it.
#[derive(Args, Clone, Debug)]
pub struct Transport {
    /// Calls in flight on one connection; one more waits at the client
    #[arg(long, value_name = "N", default_value_t = STREAMS_MAX_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_concurrent_streams: u32,
}

impl Default for Transport {
    fn default() -> Self {
        Self { max_concurrent_streams: STREAMS_MAX_DEFAULT }
    }
}
