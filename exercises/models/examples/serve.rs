//! Runs a server of yours, to be asked by the load tester: `serve sequential` or `serve sixth`, on port
//! 7006 until Ctrl-C. What the five servers' binaries have besides (flags, signals, a drain) is left out.

use std::io;
use std::net::TcpListener;

use common::{Config, Service, Shutdown, Stats};
use models::{sequential, sixth};

const LISTEN: &str = "127.0.0.1:7006";

fn main() -> io::Result<()> {
    let model = std::env::args().nth(1);
    let serve = match model.as_deref() {
        Some("sequential") => sequential::serve,
        Some("sixth") => sixth::serve,
        _ => return Err(io::Error::other("say which: sequential or sixth")),
    };
    let listener = TcpListener::bind(LISTEN)?;
    println!("listening on {LISTEN}");
    serve(listener, Service::new(), &Config::default(), &Shutdown::new(), &Stats::new())
}
