//! What an operator asks of a running server, over HTTP: `/metrics`, `/healthz` and `/readyz`.
//! It pays with one thread, which is none of the model's, and only where `--admin` asks for it.

mod http;
mod metrics;

use std::io;
use std::net::TcpListener;
use std::thread;

use ::http::{HeaderValue, Method, StatusCode, header};
use common::{Shutdown, Stats};

use self::http::Page;

/// What is said of the server; clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Admin {
    model: &'static str,
    stats: Stats,
    ready: Readiness,
}

/// Whether new clients should come: from when the server listens until its drain begins.
#[derive(Clone, Debug)]
pub struct Readiness(Shutdown);

impl Default for Readiness {
    fn default() -> Self {
        Self::ready()
    }
}

impl Readiness {
    /// Of a server that listens.
    pub fn ready() -> Self {
        Self(Shutdown::new())
    }

    /// From now on nobody new should come; whether this is the first to say so.
    pub fn withdraw(&self) -> bool {
        self.0.trigger()
    }

    /// Runs `wake_up` when it is withdrawn: at once where it was already.
    pub fn on_withdrawal(&self, wake_up: impl FnOnce() + Send + 'static) {
        self.0.on_trigger(wake_up);
    }

    fn is_ready(&self) -> bool {
        !self.0.is_triggered()
    }
}

impl Admin {
    /// Of a server of that model.
    pub fn new(model: &'static str, stats: &Stats, ready: &Readiness) -> Self {
        Self { model, stats: stats.clone(), ready: ready.clone() }
    }

    /// Answers on `listener` from now on until the process ends: also during a drain.
    ///
    /// # Errors
    /// If the thread cannot be made, or the listening socket cannot be used.
    pub fn start(self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let serve = move || http::serve(&listener, |method, path| self.page(method, path));
        thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
    }

    fn page(&self, method: &Method, path: &str) -> Page {
        let page = match path {
            "/metrics" => {
                let numbers = metrics::text(self.model, &self.stats, self.ready.is_ready());
                http::page(StatusCode::OK, metrics::CONTENT_TYPE, numbers)
            }
            "/healthz" => plain(StatusCode::OK, "alive\n"),
            "/readyz" if self.ready.is_ready() => plain(StatusCode::OK, "ready\n"),
            "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            _ => plain(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
        };
        if page.status() == StatusCode::NOT_FOUND || [Method::GET, Method::HEAD].contains(method) {
            return page;
        }
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        refusal
    }
}

fn plain(status: StatusCode, text: &'static str) -> Page {
    http::page(status, "text/plain; charset=utf-8", text)
}
