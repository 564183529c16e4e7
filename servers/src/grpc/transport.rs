//! HTTP/2's own settings, as flags with the usual names, and what follows from them together. It
//! pays with defaults that depend on each other: whoever moves one moves the others.

use std::io;
use std::time::Duration;

use clap::Args;

use super::compression::Compression;
use super::tls::{self, Tls};
use super::watch::Age;
use crate::cli;

/// Calls in flight on one connection: what RFC 9113 (6.5.2) recommends as the least.
pub(super) const STREAMS_MAX_DEFAULT: u32 = 100;
/// The most that a flag allows: a peer may hold as many calls at a time.
const STREAMS_MAX: i64 = 10_000;
/// The least that a peer must be allowed (RFC 9113, 4.2): one frame holds others up for no longer.
const FRAME_BYTES_MAX_DEFAULT: u32 = 16 * 1024;
/// The heads of a call have a few hundred bytes; this is what gRPC's other servers allow.
const HEADERS_BYTES_MAX_DEFAULT: u32 = 8 * 1024;
/// What all streams of a connection may hold together before their handlers take it: one message of
/// the default limit. With the room for large messages (see `upload`), a peer holds twice that.
const HELD_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// What every connection begins with, and no setting takes back (6.9.2).
const CONNECTION_WINDOW_BYTES_MIN: u32 = 0xffff;
/// The largest window there is (6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// As for all that is silent in the middle of something.
const AGE_GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// HTTP/2 and what is under it.
#[derive(Args, Clone, Debug)]
pub struct Transport {
    /// Calls in flight on one connection; one more waits at the client
    #[arg(long, value_name = "N", default_value_t = STREAMS_MAX_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=STREAMS_MAX))]
    pub max_concurrent_streams: u32,

    /// What one call may send before its handler takes it [default: such that all of a connection
    /// together hold 4 MiB]
    #[arg(long, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(WINDOW_BYTES_MAX)))]
    pub initial_stream_window: Option<u32>,

    /// The same of all calls of a connection [default: the sum of theirs, which is the least]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32)
          .range(i64::from(CONNECTION_WINDOW_BYTES_MIN)..=i64::from(WINDOW_BYTES_MAX)))]
    pub initial_connection_window: Option<u32>,

    /// The largest frame of HTTP/2 taken from a peer; a message (--max-frame) may have many
    #[arg(long, value_name = "BYTES", default_value_t = FRAME_BYTES_MAX_DEFAULT,
          value_parser = clap::value_parser!(u32).range(0x4000..=0xff_ffff))]
    pub max_http2_frame: u32,

    /// The largest head of a call, as HTTP/2 counts: names, values, and 32 bytes for each
    #[arg(long, value_name = "BYTES", default_value_t = HEADERS_BYTES_MAX_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1024..=0x10_0000))]
    pub max_header_list: u32,

    /// Asks a silent client (PING) whether it is there, so often; 0s: never [default:
    /// --read-timeout]
    #[arg(long, value_name = "DURATION", value_parser = cli::timeout)]
    pub keepalive_interval: Option<humantime::Duration>,

    /// How long it may take to say so, until its connection is closed [default: --read-timeout]
    #[arg(long, value_name = "DURATION", value_parser = cli::some_time)]
    pub keepalive_timeout: Option<humantime::Duration>,

    /// Tells a client to come on a new connection (GOAWAY) when its own is so old, or up to a tenth
    /// older; 0s: never
    #[arg(long, value_name = "DURATION", value_parser = cli::timeout, default_value = "0s")]
    pub max_connection_age: humantime::Duration,

    /// How long its calls may go on after that, until they are cut
    #[arg(long, value_name = "DURATION", value_parser = cli::timeout,
          default_value_t = AGE_GRACE_DEFAULT.into())]
    pub max_connection_age_grace: humantime::Duration,

    /// How messages may be compressed, both ways: gzip, zstd, or both with a comma between
    #[arg(long, value_name = "NAMES", default_value_t)]
    pub compression: Compression,

    /// TLS.
    #[command(flatten)]
    pub tls: tls::Flags,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            max_concurrent_streams: STREAMS_MAX_DEFAULT,
            initial_stream_window: None,
            initial_connection_window: None,
            max_http2_frame: FRAME_BYTES_MAX_DEFAULT,
            max_header_list: HEADERS_BYTES_MAX_DEFAULT,
            keepalive_interval: None,
            keepalive_timeout: None,
            max_connection_age: Duration::ZERO.into(),
            max_connection_age_grace: AGE_GRACE_DEFAULT.into(),
            compression: Compression::default(),
            tls: tls::Flags::default(),
        }
    }
}

/// What is wrong with the flags, or with the files that they name.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// See [`Interceptors::check`](super::Interceptors::check).
    #[error(transparent)]
    Interceptors(#[from] io::Error),
    /// See [`tls::Wrong`].
    #[error(transparent)]
    Tls(#[from] tls::Wrong),
    /// A call that waits could keep what another needs to go on.
    #[error(
        "--initial-connection-window is {connection}, and {streams} calls of {stream} bytes need \
         {needed}: raise it, or lower --initial-stream-window or --max-concurrent-streams"
    )]
    Window {
        /// What was asked for.
        connection: u32,
        /// How many calls there may be.
        streams: u32,
        /// What each may send.
        stream: u32,
        /// The least that fits.
        needed: u64,
    },
}

/// The flags, found to fit together, and the files that they name, read.
#[derive(Clone, Debug)]
pub struct Settled {
    pub(super) flags: Transport,
    pub(super) windows: Windows,
    /// None: in clear.
    pub(super) tls: Option<Tls>,
}

/// How much a peer may send that nobody has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) stream_bytes: u32,
    /// Never used up before the streams' own are: a stream that waits for room takes none of it from
    /// the one that has it.
    pub(super) connection_bytes: u32,
}

impl Transport {
    /// Looks whether the flags fit together, and reads the files that they name.
    ///
    /// # Errors
    /// Where that fails.
    pub fn settle(&self) -> Result<Settled, Wrong> {
        let windows = self.windows()?;
        Ok(Settled { flags: self.clone(), windows, tls: Tls::new(&self.tls)? })
    }

    fn windows(&self) -> Result<Windows, Wrong> {
        let streams = self.max_concurrent_streams;
        let most = self.initial_connection_window.unwrap_or(WINDOW_BYTES_MAX) / streams;
        let stream_bytes =
            self.initial_stream_window.unwrap_or_else(|| self.stream_window_bytes().min(most));
        let needed = u64::from(stream_bytes) * u64::from(streams);
        let sum = u32::try_from(needed).unwrap_or(WINDOW_BYTES_MAX).min(WINDOW_BYTES_MAX);
        let connection = self.initial_connection_window.unwrap_or(sum);
        if u64::from(connection) < needed {
            return Err(Wrong::Window { connection, streams, stream: stream_bytes, needed });
        }
        let connection_bytes = connection.max(CONNECTION_WINDOW_BYTES_MIN);
        Ok(Windows { stream_bytes, connection_bytes })
    }

    // ANCHOR: stream_window
    /// A stream holds its window and the one frame that was taken from it and waits for room; a
    /// frame is no larger than the window. Both together are its share of what all may hold. gRPC's
    /// usual 65,535 would let a hundred streams hold twice that.
    fn stream_window_bytes(&self) -> u32 {
        let share = HELD_BYTES_MAX / self.max_concurrent_streams;
        share.saturating_sub(self.max_http2_frame).max(share / 2).max(1)
    }
    // ANCHOR_END: stream_window

    /// How often a silent peer is asked, and how long it has to answer.
    pub(super) fn keepalive(&self, read: Option<Duration>) -> Option<(Duration, Duration)> {
        let interval = self.keepalive_interval.map_or(read, cli::or_never)?;
        let timeout = self.keepalive_timeout.map(Into::into).or(read);
        Some((interval, timeout.unwrap_or(interval)))
    }

    pub(super) fn age(&self) -> Option<Age> {
        let most = cli::or_never(self.max_connection_age)?;
        Some(Age { most, grace: self.max_connection_age_grace.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(adjust: impl FnOnce(&mut Transport)) -> Result<Windows, Wrong> {
        let mut transport = Transport::default();
        adjust(&mut transport);
        transport.windows()
    }

    /// However many streams of whatever frames there may be.
    #[test]
    fn all_streams_together_hold_one_message() {
        for streams in [1, 2, 10, 100, 128, 129, 250, 1000, 10_000] {
            for frame in [0x4000, 0x10_0000, 0xff_ffff] {
                let flags = |transport: &mut Transport| {
                    transport.max_concurrent_streams = streams;
                    transport.max_http2_frame = frame;
                };
                let Windows { stream_bytes, connection_bytes } = windows(flags).unwrap();
                let held = stream_bytes + frame.min(stream_bytes);
                assert!(held * streams <= HELD_BYTES_MAX, "{streams} of {frame}: {stream_bytes}");
                assert!(held * streams > HELD_BYTES_MAX / 100 * 95, "{streams} of {frame}");
                assert!(connection_bytes >= stream_bytes * streams);
            }
        }
    }

    #[test]
    fn a_connections_window_is_no_less_than_its_streams() {
        let small = |transport: &mut Transport| transport.initial_connection_window = Some(100_000);
        assert_eq!(windows(small).unwrap().stream_bytes, 1000);
        let starved = |transport: &mut Transport| {
            small(transport);
            transport.initial_stream_window = Some(1001);
        };
        assert!(matches!(windows(starved), Err(Wrong::Window { needed: 100_100, .. })));
        let overflow = |transport: &mut Transport| {
            transport.initial_stream_window = Some(WINDOW_BYTES_MAX);
        };
        assert!(matches!(windows(overflow), Err(Wrong::Window { .. })));
        let one = |transport: &mut Transport| {
            transport.max_concurrent_streams = 1;
            transport.initial_stream_window = Some(1);
        };
        assert_eq!(windows(one).unwrap().connection_bytes, CONNECTION_WINDOW_BYTES_MIN);
    }

    #[test]
    fn a_silent_peer_is_asked_after_the_read_timeout_unless_told_otherwise() {
        let second = Duration::from_secs(1);
        let (mut flags, read) = (Transport::default(), Some(30 * second));
        assert_eq!(flags.keepalive(read), Some((30 * second, 30 * second)));
        assert_eq!(flags.keepalive(None), None);
        flags.keepalive_interval = Some((2 * second).into());
        assert_eq!(flags.keepalive(read), Some((2 * second, 30 * second)));
        assert_eq!(flags.keepalive(None), Some((2 * second, 2 * second)));
        flags.keepalive_timeout = Some(second.into());
        assert_eq!(flags.keepalive(read), Some((2 * second, second)));
        flags.keepalive_interval = Some(Duration::ZERO.into());
        assert_eq!(flags.keepalive(read), None);
    }
}
