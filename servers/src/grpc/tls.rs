//! TLS below HTTP/2, by rustls: the files that the flags name, read again when the operator says so,
//! and the handshake. It pays with a lock a connection, which nobody holds for longer than a clone.

mod files;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rustls::ServerConfig;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use self::files::Wrong;
use super::wire::Wire;

/// What TLS needs.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The server's certificate and those that signed it, PEM: TLS 1.2 and 1.3 instead of clear text;
    /// read again on SIGHUP, as the next two
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// ... and its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Clients must have a certificate that one of these has signed, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// TLS with a certificate made at the start, for localhost: for trying out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value_t,
          default_missing_value = "on")]
    pub tls_self_signed: SelfSigned,

    /// Writes that certificate here, for clients to trust
    #[arg(long, value_name = "FILE")]
    pub tls_self_signed_cert: Option<PathBuf>,
}

/// Whether the server makes a certificate of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SelfSigned {
    /// For trying out.
    On,
    /// Nobody knows such a certificate.
    #[default]
    Off,
}

/// How connections are secured from now on; clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    flags: Flags,
    config: RwLock<Arc<ServerConfig>>,
}

/// Why a handshake has come to nothing.
#[derive(Debug)]
pub(super) enum Unsecured {
    /// The peer took too long.
    TimedOut,
    /// The server is about to end.
    Draining,
    /// What the peer said was no TLS, or not what is asked for here.
    Refused(io::Error),
}

impl Tls {
    /// TLS as the flags ask for it, if they do.
    ///
    /// # Errors
    /// If a file, or what is in it, is not what its flag needs; if a flag needs another.
    pub(super) fn new(flags: &Flags) -> Result<Option<Self>, Wrong> {
        flags.fit_together()?;
        let config = if flags.tls_self_signed == SelfSigned::On {
            files::self_signed(flags)?
        } else if flags.tls_cert.is_some() {
            files::read(flags)?
        } else {
            return Ok(None);
        };
        let config = RwLock::new(config.into());
        Ok(Some(Self(Arc::new(Shared { flags: flags.clone(), config }))))
    }

    /// Reads the files again. Connections that are there go on as they are; where a file is wrong,
    /// so do those that come.
    pub fn reload(&self) {
        if self.0.flags.tls_self_signed == SelfSigned::On {
            tracing::info!("SIGHUP: a certificate made at the start is not read again");
            return;
        }
        match files::read(&self.0.flags) {
            Ok(config) => {
                let mut current = self.0.config.write().unwrap_or_else(PoisonError::into_inner);
                *current = config.into();
                tracing::info!("SIGHUP: certificates read again, for new connections");
            }
            Err(wrong) => tracing::error!("SIGHUP: the old certificates stay: {wrong}"),
        }
    }

    /// The handshake, for as long as it may take.
    pub(super) async fn shake_hands(
        &self,
        wire: Wire,
        due: Option<Instant>,
        draining: &CancellationToken,
    ) -> Result<TlsStream<Wire>, Unsecured> {
        let config = self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let due = due.unwrap_or_else(|| Instant::now() + FAR_AWAY);
        tokio::select! {
            secured = TlsAcceptor::from(config).accept(wire) => secured.map_err(Unsecured::Refused),
            () = time::sleep_until(due.into()) => Err(Unsecured::TimedOut),
            () = draining.cancelled() => Err(Unsecured::Draining),
        }
    }
}

/// Where a handshake has no bound.
const FAR_AWAY: Duration = Duration::from_hours(24);
