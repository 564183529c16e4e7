//! A peer that speaks HTTP/2 over TLS, by rustls with versions and protocols of a test's choice, and
//! authorities that sign certificates for both sides. It pays with one thread a connection.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Response;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls::{ProtocolVersion, SupportedProtocolVersion};

use crate::client::echo;
use crate::http2::{self, ACK, DATA, Frame, GOAWAY, PING};
use crate::server::PATIENCE;

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        // Clients look for an authority by its name.
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server on this machine, or any client.
    pub(crate) fn signs(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = CertificateParams::new(names).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// Files in a folder that goes with it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }
}

/// How a peer speaks TLS.
#[derive(Clone)]
pub(crate) struct Manner {
    /// Whom it trusts, PEM.
    pub(crate) trusts: String,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    /// What it offers by ALPN.
    pub(crate) offers: Vec<&'static str>,
    pub(crate) identity: Option<Identity>,
}

pub(crate) const TLS_1_2: &[&SupportedProtocolVersion] = &[&TLS12];
pub(crate) const TLS_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

impl Manner {
    /// What every gRPC client does.
    pub(crate) fn of_grpc(trusts: String) -> Self {
        Self { trusts, versions: rustls::ALL_VERSIONS, offers: vec!["h2"], identity: None }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.trusts.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let chain = CertificateDer::pem_slice_iter(cert.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        config.alpn_protocols = self.offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// One connection.
pub(crate) struct Secure(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// A connection whose handshakes are over, as far as its side knows: TLS and HTTP/2.
    pub(crate) fn open(address: SocketAddr, manner: &Manner) -> io::Result<Self> {
        let mut peer = Self::shake_hands(address, manner)?;
        peer.0.write_all(&http2::hello())?;
        Ok(peer)
    }

    /// ... TLS alone.
    pub(crate) fn shake_hands(address: SocketAddr, manner: &Manner) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(manner.config()), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(session, stream)))
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.0.conn.protocol_version().expect("hands were shaken")
    }

    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        http2::read_frame(&mut self.0)
    }

    /// Calls, and hears the answer.
    pub(crate) fn echoes(&mut self, stream: u32) -> io::Result<()> {
        self.0.write_all(&http2::call(stream, &echo(stream.into(), b"secret")))?;
        loop {
            let frame = self.next()?;
            if frame.stream == stream && frame.kind == DATA && !frame.payload.is_empty() {
                let response = Response::decode(&frame.payload[5..]).unwrap();
                assert_eq!((response.code, &response.payload[..]), (0, &b"secret"[..]));
                return Ok(());
            }
        }
    }

    /// Reads to the end, and says meanwhile that it is there: whether there was a GOAWAY, and TLS was
    /// told of the end.
    pub(crate) fn farewell(&mut self) -> (bool, bool) {
        let mut has_gone = false;
        loop {
            match self.next() {
                Ok(frame) => {
                    has_gone |= frame.kind == GOAWAY;
                    if frame.kind == PING && frame.flags & ACK == 0 {
                        let _ = self.0.write_all(&http2::frame(PING, ACK, 0, &frame.payload));
                    }
                }
                // rustls has another word for it where TLS was not told.
                Err(error) => return (has_gone, error.to_string() == WHOLE_END),
            }
        }
    }
}

/// What `read_exact` says where `read` gave nothing, and no error.
const WHOLE_END: &str = "failed to fill whole buffer";
