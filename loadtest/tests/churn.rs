//! Connections that are opened anew in the middle of a run: after so many requests, and where that
//! fails.
//!
//! The servers are of this file: an echo on a thread per connection that counts what each carried.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Config, Service, Shutdown, Stats};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use support::{Ran, finished, floor, ran, start};

const CLOSED: &[&str] = &["-c", "4", "-p", "3"];
const OPEN: &[&str] = &["-c", "4", "-r", "2000"];

/// How many requests each connection carried, once it was closed.
type Carried = Arc<Mutex<Vec<u64>>>;

fn echo(listener: TcpListener) -> Carried {
    let carried = Carried::default();
    let all = Arc::clone(&carried);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let all = Arc::clone(&all);
            std::thread::spawn(move || {
                let count = converse(&mut stream.unwrap(), u64::MAX);
                all.lock().unwrap().push(count);
            });
        }
    });
    carried
}

/// Echoes up to so many messages, and says how many.
fn converse(stream: &mut TcpStream, count_max: u64) -> u64 {
    for count in 0..count_max {
        let mut prefix = [0; 4];
        if stream.read_exact(&mut prefix).is_err() {
            return count;
        }
        let mut message = prefix.to_vec();
        message.resize(4 + u32::from_be_bytes(prefix) as usize, 0);
        stream.read_exact(&mut message[4..]).unwrap();
        stream.write_all(&message).unwrap();
    }
    count_max
}

fn local() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("raw://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[track_caller]
fn all_right(run: &Ran, count: u64) {
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (count, Some(0)), "{}", run.stderr);
}

#[test]
fn a_connection_carries_so_many_requests_and_no_more() {
    for (load, each) in [(CLOSED, 10), (CLOSED, 1), (CLOSED, 2), (OPEN, 10), (OPEN, 1)] {
        let (listener, url) = local();
        let carried = echo(listener);
        let each_text = each.to_string();
        let flags = ["-n", "600", "-t", "2", "--requests-per-connection", &each_text];
        let run = ran(&url, &[load, &flags].concat());
        all_right(&run, 600);
        let opened = run.count("connections_opened");
        let full = 600 / each;
        assert!((full..=full + 4).contains(&opened), "{load:?} {each}: {opened}");
        assert_eq!(run.json["settings"]["requests_per_connection"], each);
        while (carried.lock().unwrap().len() as u64) < opened {
            std::thread::sleep(Duration::from_millis(1)); // the last ones see their end soon
        }
        let carried = carried.lock().unwrap();
        assert_eq!(carried.iter().sum::<u64>(), 600);
        assert!(carried.iter().all(|count| *count <= each), "{carried:?}");
    }
}

#[test]
fn without_it_connections_stay() {
    let (listener, url) = local();
    echo(listener);
    let run = ran(&url, &["-c", "4", "-n", "100"]);
    all_right(&run, 100);
    assert_eq!(run.count("connections_opened"), 4);
    assert!(run.json["settings"].get("requests_per_connection").is_none());
}

#[test]
fn streams_of_grpc_are_settled_before_their_connection_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let (shutdown, stats) = (Shutdown::new(), Stats::new());
    let config = Config { drain_timeout: Duration::from_secs(1), ..Config::default() };
    let serving = std::thread::spawn({
        let (shutdown, stats) = (shutdown.clone(), stats.clone());
        move || servers::grpc::serve(listener, Service::new(), &config, &shutdown, &stats)
    });
    for load in [CLOSED, OPEN] {
        let flags = ["-n", "600", "--requests-per-connection", "20", "--work", "echo:0,wait:1ms"];
        let run = ran(&url, &[load, &flags].concat());
        all_right(&run, 600);
        assert!((30..=34).contains(&run.count("connections_opened")), "{:#}", run.json);
    }
    assert_eq!(stats.snapshot().requests, 1200);
    shutdown.trigger();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_server_that_stands_still_for_a_while() {
    for load in [CLOSED, OPEN] {
        let (server, address) = floor(&[]);
        let flags = ["-d", "900ms", "--requests-per-connection", "3", "--timeout", "100ms"];
        let run = start(&format!("raw://{address}"), &[load, &flags].concat());
        std::thread::sleep(Duration::from_millis(300));
        server.signal(Signal::STOP);
        std::thread::sleep(Duration::from_millis(300));
        server.signal(Signal::CONT);
        let run = finished(run);
        run.adds_up();
        assert!(run.count("ok") > 0 && run.count("timed_out") > 0, "{:#}", run.json);
    }
}

/// A server that listens no more once it has all connections of the beginning.
#[test]
fn a_connect_that_is_refused_is_an_error_of_the_requests_that_wait_for_it() {
    for load in [CLOSED, OPEN] {
        let (listener, url) = local();
        std::thread::spawn(move || {
            let streams: Vec<_> = listener.incoming().take(4).map(Result::unwrap).collect();
            drop(listener);
            for mut stream in streams {
                std::thread::spawn(move || converse(&mut stream, u64::MAX));
            }
        });
        let flags = ["-n", "400", "--requests-per-connection", "7"];
        let run = ran(&url, &[load, &flags].concat());
        run.adds_up();
        assert_eq!(run.count("ok"), 4 * 7, "{:#}", run.json);
        assert!(run.error("connect") >= 4, "{:#}", run.json);
        assert_eq!(run.count("planned"), 400, "the plan does not shrink");
        assert_eq!(run.count("connections_opened"), 4, "attempts do not count");
        assert_eq!(run.exit_code, Some(1));
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        for words in ["4 of 4 connections failed", "anew", "is a server listening there?", &url] {
            assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
        }
    }
}

/// A server whose backlog is full: the connect gets no answer at all.
#[test]
fn a_connect_without_an_answer_lasts_no_longer_than_the_timeout() {
    for load in [&["-c", "1"][..], &["-c", "1", "-r", "100"]] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The next ones fill the backlog, and are never accepted.
            let _waiting: Vec<_> = (0..4)
                .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100)))
                .collect();
            converse(&mut stream, u64::MAX);
            std::thread::sleep(support::RUN_TIMEOUT);
        });
        let flags = ["-n", "9", "--requests-per-connection", "5", "--timeout", "700ms"];
        let run = ran(&format!("raw://{address}"), &[load, &flags].concat());
        run.adds_up();
        assert_eq!(run.count("ok"), 5, "{:#}", run.json);
        assert!(run.count("timed_out") > 0, "{:#}", run.json);
        assert!(run.us("latency_us", "max") >= 699_000.0, "the connect is in the latency");
        if load.contains(&"-r") {
            continue; // all had timed out before the connect was given up
        }
        assert_eq!((run.count("unsent"), run.exit_code), (3, Some(1)), "{:#}", run.json);
        assert!(run.stderr.contains("cannot open a connection anew"), "{}", run.stderr);
    }
}
