//! The places and the conversations, whose threads block, in many orders of their steps
//! (`crate::schedules`). It pays with threads that do nothing else.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::config::Overload;
use common::{Config, Stats};
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::conversations::Conversations;
use super::places::Places;
use crate::schedules::check;
use crate::sync::thread;

fn places(in_flight_max: usize) -> Arc<Places> {
    let config = Config { in_flight_max, overload: Overload::Wait, ..Config::default() };
    Arc::new(Places::new(&config))
}

#[test]
fn everybody_gets_a_place_and_no_more_at_a_time_than_there_are() {
    const PLACES: usize = 2;
    check(|| {
        let (places, stats) = (places(PLACES), Stats::new());
        let taken = Arc::new(AtomicUsize::new(0));
        let threads = [0; PLACES + 2].map(|_| {
            let (places, stats, taken) = (Arc::clone(&places), stats.clone(), Arc::clone(&taken));
            thread::spawn(move || {
                for _ in 0..2 {
                    let place = places.take(&stats).expect("one to wait for");
                    assert!(taken.fetch_add(1, SeqCst) < PLACES, "one too many");
                    taken.fetch_sub(1, SeqCst);
                    drop(place);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let all: Vec<_> = (0..PLACES).map(|_| places.take(&stats)).collect();
        assert_eq!((all.len(), stats.snapshot().queued), (PLACES, 0), "each came back");
    });
}

#[test]
fn a_place_goes_to_whoever_came_first() {
    check(|| {
        let (places, stats) = (places(1), Stats::new());
        let order = Arc::new(Mutex::new(Vec::new())); // never held over a step of shuttle's
        let first = places.take(&stats).expect("nobody has it");
        let threads = ["second", "third"].map(|name| {
            let (places, order) = (Arc::clone(&places), Arc::clone(&order));
            let its_stats = Stats::new();
            let waits = its_stats.clone();
            let thread = thread::spawn(move || {
                let _place = places.take(&its_stats);
                order.lock().unwrap().push(name);
            });
            while waits.snapshot().queued == 0 {
                thread::yield_now();
            }
            thread
        });
        drop(first);
        // Without the line, this one would have it again before the others have woken up.
        let _place = places.take(&stats);
        order.lock().unwrap().push("first again");
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["second", "third", "first again"]);
    });
}

/// Reads as a thread's conversation does, but for how it waits.
fn read_to_the_end(mut stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 8]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        thread::yield_now();
    }
}

#[test]
fn a_drain_reaches_each_conversation_and_waits_for_the_last() {
    const FOREVER: Duration = Duration::from_hours(1);
    check(|| {
        let (conversations, stats) = (Arc::new(Conversations::default()), Stats::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut threads = Vec::new();
        let peers = [0, 1].map(|_| {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let open = stats.admit(2).expect("there is room");
            let conversation = conversations.add(listener.accept().unwrap().0, open);
            threads.push(thread::spawn(move || read_to_the_end(&conversation)));
            peer
        });
        conversations.drain(FOREVER);
        assert_eq!(stats.snapshot().open, 0);
        for thread in threads {
            thread.join().unwrap();
        }
        drop(peers);
    });
}
