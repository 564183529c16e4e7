//! Clients far away: packets are lost, the line is slow, a request comes three bytes at a time, and
//! in the end the path goes dead. It pays with a network of its own for each test, in namespaces:
//! they want iproute2 and nftables, and root or unprivileged user namespaces.
//!
//! Read [`path`] first: the network, and what shows that it was as bad as it was meant to be.
//! [`conversation`] is what is said over it, and [`dead`] what happens when it is gone.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod conversation;
mod dead;
mod path;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use servers::Model;

use self::harness::{client, process, server};
use crate::conversation::{Conversation, echo_once_each};
use crate::path::{Impairment, Network};
use crate::process::ServerProcess;

/// Between two echoes of the bystander.
const BYSTANDER_PAUSE: Duration = Duration::from_millis(10);
/// What one of its echoes may take on a busy machine: far below what the far client needs for all
/// of its own, so that a server that serves the one and then the other is found out.
const BYSTANDER_PATIENCE: Duration = Duration::from_secs(2);

/// A test case for each server, `name::threads` and so on, in a network of its own.
macro_rules! for_every_server {
    ($name:ident, |$model:ident, $network:ident| $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn test($model: servers::Model, $network: &crate::path::Network) $body

            #[test]
            fn threads() {
                crate::path::alone(concat!(module_path!(), "::threads"), |n| test(servers::THREADS, n));
            }
            #[test]
            fn pool() {
                crate::path::alone(concat!(module_path!(), "::pool"), |n| test(servers::POOL, n));
            }
            #[test]
            fn tasks() {
                crate::path::alone(concat!(module_path!(), "::tasks"), |n| test(servers::TASKS, n));
            }
            #[test]
            fn epoll() {
                crate::path::alone(concat!(module_path!(), "::epoll"), |n| test(servers::EPOLL, n));
            }
            #[test]
            fn grpc() {
                crate::path::alone(concat!(module_path!(), "::grpc"), |n| test(servers::GRPC, n));
            }
        }
    };
}

for_every_server!(some_packets_are_lost, |model, network| {
    is_answered(model, network, Impairment { loss: true, ..Impairment::NONE });
});

for_every_server!(the_line_is_slow, |model, network| {
    is_answered(model, network, Impairment { slow: true, ..Impairment::NONE });
});

for_every_server!(three_bytes_at_a_time, |model, network| {
    is_answered(model, network, Impairment { sliced: true, ..Impairment::NONE });
});

for_every_server!(the_path_goes_dead, |model, network| {
    dead::is_let_go(model, network);
});

for_every_server!(all_of_it_at_once, |model, network| {
    is_answered(model, network, Impairment { loss: true, slow: true, sliced: true });
});

/// A conversation with a client far away, and a bystander nearby meanwhile.
fn is_answered(model: Model, network: &Network, impairment: Impairment) {
    let server = ServerProcess::start(model, &["--listen=0.0.0.0:0".to_owned()]);
    let port = server.address.port();
    let conversation = Conversation::over(impairment);
    network.impair(impairment);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let bystander = scope.spawn(|| stays_undisturbed(model, network.enter_near(port), &over));
        let far = scope.spawn(|| {
            let address = path::sliced_if(impairment.sliced, network.enter_far(port));
            let began = Instant::now();
            conversation.hold(model, address);
            began.elapsed()
        });
        let far = far.join();
        over.store(true, Ordering::Relaxed);
        let echoes = bystander.join().expect("the bystander was disturbed");
        let elapsed = far.expect("the far client was not answered as it should be");
        network.was_as_bad_as_meant(impairment, conversation.bytes(model), elapsed);
        assert!(echoes > 1, "the bystander hardly spoke");
    });
}

/// Echoes until it is `over`; how many they were.
pub(crate) fn stays_undisturbed(model: Model, address: SocketAddr, over: &AtomicBool) -> u64 {
    let mut echoes = 0;
    echo_once_each(model, address, |took| {
        assert!(took < BYSTANDER_PATIENCE, "echo {echoes} of the bystander took {took:?}");
        echoes += 1;
        thread::sleep(BYSTANDER_PAUSE);
        !over.load(Ordering::Relaxed)
    });
    echoes
}
