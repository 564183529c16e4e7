//! The layers as flags, and from flags to layers: what is wrong with them is known before the
//! server listens. It pays with reading the key file twice, once to see that it can be.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use http::Uri;
use jsonwebtoken::DecodingKey;

use super::Layers;
use super::authentication::Authentication;
use super::deadline::Deadline;
use super::logging::Logging;
use super::metrics::Metrics;
use super::panics::CatchPanics;
use super::rate_limit::RateLimit;
use super::traces::Traces;

/// Many times the largest key in PEM.
const KEY_BYTES_MAX: u64 = 1 << 16;
/// A secret of HS256 is at least as long as its hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// More calls a second than one server answers.
const RATE_MAX: u64 = 10_000_000;

/// What stands before the services.
#[derive(Args, Clone, Debug)]
pub struct Interceptors {
    /// Asks every call but health and reflection for a JWT that this file's key has signed
    #[arg(long, value_name = "FILE")]
    jwt_key: Option<PathBuf>,

    /// What the file has: a secret (hs256) or a public key in PEM (rs256, eddsa)
    #[arg(long, value_name = "ALGORITHM", value_enum, default_value_t)]
    jwt_algorithm: Algorithm,

    /// The audience (`aud`) that a token must name [default: tokens must name none]
    #[arg(long, value_name = "NAME")]
    jwt_audience: Option<String>,

    /// The issuer (`iss`) that a token must name [default: any]
    #[arg(long, value_name = "NAME")]
    jwt_issuer: Option<String>,

    /// The word that a token's `scope` must have [default: none]
    #[arg(long, value_name = "WORD")]
    jwt_scope: Option<String>,

    /// Whether each call is a line of the log
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    log_calls: Switch,

    /// Calls a second that a client may make (by its token, else by its address) [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    rate_limit: Option<u64>,

    /// Calls that it may make at once [default: as many as --rate-limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    rate_burst: Option<u64>,

    /// Whether /metrics (see --admin) shows calls, codes and durations by method
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    call_metrics: Switch,

    /// Whether calls take part in traces (W3C traceparent)
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    trace_calls: Switch,

    /// Sends the spans of calls to this collector, by OTLP over gRPC in clear (`http://HOST:4317`)
    #[arg(long, value_name = "URL", value_parser = collector)]
    otlp_endpoint: Option<String>,

    /// Whether a call ends when its client's patience (grpc-timeout) does
    #[arg(long, value_enum, default_value_t = Switch::On)]
    deadlines: Switch,

    /// Whether a call that panics is answered INTERNAL, rather than cut
    #[arg(long, value_enum, default_value_t = Switch::On)]
    catch_panics: Switch,
}

/// There, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// There.
    On,
    /// Not there.
    Off,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever checks a token can make one.
    #[default]
    Hs256,
    /// RSA with SHA-256.
    Rs256,
    /// Ed25519.
    Eddsa,
}

impl Default for Interceptors {
    fn default() -> Self {
        Self {
            jwt_key: None,
            jwt_algorithm: Algorithm::default(),
            jwt_audience: None,
            jwt_issuer: None,
            jwt_scope: None,
            log_calls: Switch::Off,
            rate_limit: None,
            rate_burst: None,
            call_metrics: Switch::Off,
            trace_calls: Switch::Off,
            otlp_endpoint: None,
            deadlines: Switch::On,
            catch_panics: Switch::On,
        }
    }
}

/// A collector's address, as it was given.
fn collector(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err("an http:// URL is needed, as http://127.0.0.1:4317".to_owned());
    }
    Ok(text.to_owned())
}

impl Interceptors {
    /// Whether the layers can be made, before anybody listens.
    ///
    /// # Errors
    /// If the key file cannot be used, or flags do not fit together; in one line.
    pub fn check(&self) -> io::Result<()> {
        let (key, limit) = (self.jwt_key.is_some(), self.rate_limit.is_some());
        let algorithm_is_given = self.jwt_algorithm != Algorithm::default();
        for (is_given, flag, is_there, needed) in [
            (algorithm_is_given, "--jwt-algorithm", key, "--jwt-key"),
            (self.jwt_audience.is_some(), "--jwt-audience", key, "--jwt-key"),
            (self.jwt_issuer.is_some(), "--jwt-issuer", key, "--jwt-key"),
            (self.jwt_scope.is_some(), "--jwt-scope", key, "--jwt-key"),
            (self.rate_burst.is_some(), "--rate-burst", limit, "--rate-limit"),
        ] {
            if is_given && !is_there {
                return Err(io::Error::other(format!("{flag} says nothing without {needed}")));
            }
        }
        self.authentication().map(drop)
    }

    /// The layers. Within the runtime that will serve.
    pub(in crate::grpc) fn layers(&self) -> io::Result<Layers> {
        let collector = self.otlp_endpoint.as_deref();
        let is_traced = self.trace_calls.is_on() || collector.is_some();
        let traces = is_traced.then(|| Traces::new(collector)).transpose();
        Ok(Layers {
            traces: traces.map_err(io::Error::other)?,
            logging: self.log_calls.is_on().then_some(Logging),
            metrics: self.call_metrics.is_on().then(Metrics::new),
            deadline: self.deadlines.is_on().then_some(Deadline),
            authentication: self.authentication()?,
            rate_limit: self.rate(),
            panics: self.catch_panics.is_on().then_some(CatchPanics),
        })
    }

    fn authentication(&self) -> io::Result<Option<Authentication>> {
        let Some(path) = &self.jwt_key else { return Ok(None) };
        let key = self
            .jwt_algorithm
            .read(path)
            .map_err(|why| io::Error::other(format!("--jwt-key: {}: {why}", path.display())))?;
        Ok(Some(Authentication::new(
            key,
            self.jwt_algorithm.into(),
            self.jwt_audience.as_deref(),
            self.jwt_issuer.as_deref(),
            self.jwt_scope.as_deref(),
        )))
    }

    fn rate(&self) -> Option<RateLimit> {
        let number = |number: u64| u32::try_from(number).ok().and_then(NonZeroU32::new);
        let a_second = self.rate_limit.and_then(number)?;
        Some(RateLimit::new(a_second, self.rate_burst.and_then(number).unwrap_or(a_second)))
    }
}

impl Switch {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

impl Algorithm {
    /// The key in the file, or what is wrong with it: never what is in it.
    fn read(self, path: &Path) -> Result<DecodingKey, String> {
        let mut bytes = Vec::new();
        let opened = File::open(path).map(|file| file.take(KEY_BYTES_MAX + 1));
        opened
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| format!("it cannot be read: {error}"))?;
        if bytes.len() as u64 > KEY_BYTES_MAX {
            return Err(format!("it has more than {KEY_BYTES_MAX} bytes: it is no key"));
        }
        let has = |words: &str| bytes.windows(words.len()).any(|window| window == words.as_bytes());
        let is_public = has("-----BEGIN PUBLIC KEY-----") || has("-----BEGIN RSA PUBLIC KEY-----");
        let no_key = || format!("it has no public key in PEM that {self:?} can use");
        match self {
            // Else whoever has the public key could sign.
            Self::Hs256 if has("-----BEGIN ") => {
                Err("it is PEM, no secret: say which --jwt-algorithm it is for".to_owned())
            }
            Self::Hs256 => secret(&bytes),
            _ if has("PRIVATE KEY-----") => {
                Err("it has a private key, which belongs to whoever signs: give the public one"
                    .to_owned())
            }
            _ if !is_public => Err(no_key()),
            Self::Rs256 => DecodingKey::from_rsa_pem(&bytes).map_err(|_| no_key()),
            Self::Eddsa => DecodingKey::from_ed_pem(&bytes).map_err(|_| no_key()),
        }
    }
}

/// All of a file but the end of its line.
fn secret(bytes: &[u8]) -> Result<DecodingKey, String> {
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < SECRET_BYTES_MIN {
        let have = secret.len();
        return Err(format!(
            "the secret has {have} bytes; hs256 needs {SECRET_BYTES_MIN} (openssl rand -hex 32)"
        ));
    }
    Ok(DecodingKey::from_secret(secret))
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Eddsa => Self::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, bytes).unwrap();
        algorithm.read(&path).map(drop)
    }

    #[test]
    fn a_secret_is_long_enough_and_no_pem() {
        assert_eq!(read(Algorithm::Hs256, &[b'k'; SECRET_BYTES_MIN]), Ok(()));
        for short in [&b""[..], b"password\n", &[b"k".repeat(31), b"\r\n".to_vec()].concat()] {
            let why = read(Algorithm::Hs256, short).unwrap_err();
            assert!(why.contains("bytes; hs256 needs 32") && !why.contains("password"), "{why}");
        }
        let why = read(Algorithm::Hs256, b"-----BEGIN PUBLIC KEY-----\nMCow").unwrap_err();
        assert!(why.contains("--jwt-algorithm"), "{why}");
    }

    #[test]
    fn a_public_key_is_one() {
        for algorithm in [Algorithm::Rs256, Algorithm::Eddsa] {
            for (bytes, word) in [
                (&b"k"[..], "no public key"),
                (b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n", "no public key"),
                (b"-----BEGIN PRIVATE KEY-----\nMCow", "a private key"),
                (&vec![0; 1 + (1 << 16)], "more than"),
            ] {
                let why = read(algorithm, bytes).unwrap_err();
                assert!(why.contains(word), "{why}");
            }
        }
    }

    #[test]
    fn a_collector_is_spoken_to_in_clear() {
        assert!(collector("http://127.0.0.1:4317").is_ok());
        for wrong in ["", "127.0.0.1:4317", "https://example.org", "/traces", "http://", "grpc://a"]
        {
            assert!(collector(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flag_that_would_do_nothing_is_told() {
        let word = || Some("word".to_owned());
        for (wrong, flag) in [
            (Interceptors { jwt_audience: word(), ..Interceptors::default() }, "--jwt-audience"),
            (Interceptors { jwt_issuer: word(), ..Interceptors::default() }, "--jwt-issuer"),
            (Interceptors { jwt_scope: word(), ..Interceptors::default() }, "--jwt-scope"),
            (Interceptors { rate_burst: Some(1), ..Interceptors::default() }, "--rate-burst"),
        ] {
            let why = wrong.check().unwrap_err().to_string();
            assert!(why.starts_with(flag), "{why}");
        }
        assert!(Interceptors::default().check().is_ok());
    }
}
