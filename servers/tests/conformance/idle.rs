//! Thousands of connections that say nothing, and a few that do.
//! They come from several addresses of the loopback network: one has too few ports.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::models::{self, Variant};
use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};

#[test]
fn threads() {
    stay_idle(models::THREADS, 5_000);
}

// Not the pool that hands over connections: idle ones keep its workers, which is its lesson.
#[test]
fn pool_requests() {
    stay_idle(models::POOL_REQUESTS, 10_000);
}

#[test]
fn pool_ready() {
    stay_idle(models::POOL_READY, 10_000);
}

#[test]
fn tasks_multi() {
    stay_idle(models::TASKS_MULTI, 10_000);
}

#[test]
fn tasks_per_core() {
    stay_idle(models::TASKS_PER_CORE, 10_000);
}

#[test]
fn epoll_one_loop() {
    stay_idle(models::EPOLL_ONE_LOOP, 10_000);
}

#[test]
fn epoll_two_loops() {
    stay_idle(models::EPOLL_TWO_LOOPS, 10_000);
}

fn stay_idle(model: Variant, connections: usize) {
    /// The clients' descriptors are this process's, and it may have one such crowd at a time.
    static CROWD: Mutex<()> = Mutex::new(());
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);

    let server = ServerProcess::start(model.model, &model.arguments());
    let mut crowd: Vec<_> =
        (0..connections).map(|index| connect_from(source(index), server.address)).collect();
    let mut active = Client::connect(server.address);
    (0..100).for_each(|id| active.echoes(id, b"awake"));
    eventually("open", connections as u64 + 1, || server.stats().open);
    for client in crowd.iter_mut().step_by(connections / 100) {
        client.echoes(1, b"awake after all");
    }
    crowd.into_iter().for_each(Client::reset);
    eventually("open", 1, || server.stats().open);
    active.echoes(100, b"still awake");
}

fn source(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(index % 4).unwrap())
}

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).unwrap();
    Client::over(TcpStream::from(socket))
}
