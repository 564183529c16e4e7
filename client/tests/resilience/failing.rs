//! What a server does wrong, and what its client makes of it: the server counts what reaches it.

use std::time::Duration;

use client::{Limits, Resilient, State};
use servers::grpc::generated::helloworld::HelloRequest;
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::scripted::{Does, Scripted};
use crate::{PATIENCE, in_time, patient};

fn request() -> HelloRequest {
    HelloRequest { name: "you".to_owned() }
}

async fn hello(client: &mut GreeterClient<Resilient>) -> Result<String, Code> {
    let answered = in_time(client.say_hello(request())).await;
    answered.map(|reply| reply.into_inner().message).map_err(|status| status.code())
}

/// All messages of a stream, and how it ended.
async fn greetings(client: &mut GreeterClient<Resilient>) -> (usize, Result<(), Code>) {
    let mut messages = 0;
    let ended = async {
        let mut replies = client.say_hello_stream_reply(request()).await?.into_inner();
        while replies.message().await?.is_some() {
            messages += 1;
        }
        Ok::<_, Status>(())
    };
    let ended = in_time(ended).await.map_err(|status| status.code());
    (messages, ended)
}

#[tokio::test]
async fn a_server_that_fails_twice_and_recovers_is_asked_three_times() {
    let server = Scripted::start(Does::Answers);
    server.first(2, Does::Fails(Code::Unavailable));
    let (mut client, _) = server.client(patient());
    assert_eq!(hello(&mut client).await, Ok("Hello you".to_owned()));
    assert_eq!(server.reached(), 3);
    let attempts = server.headers().into_iter().map(|headers| headers.previous_attempts);
    let expected = [None, Some("1".to_owned()), Some("2".to_owned())];
    assert_eq!(attempts.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn other_codes_are_the_callers_at_once() {
    let codes = [Code::Internal, Code::NotFound, Code::ResourceExhausted, Code::Aborted];
    let server = Scripted::start(Does::Answers);
    let (mut client, _) = server.client(patient());
    for (calls, code) in (1..).zip(codes) {
        server.does(Does::Fails(code));
        assert_eq!((hello(&mut client).await, server.reached()), (Err(code), calls));
    }
}

#[tokio::test]
async fn a_stream_is_asked_again_until_its_first_message_has_come() {
    let server = Scripted::start(Does::Answers);
    server.first(2, Does::Fails(Code::Unavailable));
    let (mut client, _) = server.client(patient());
    assert_eq!(greetings(&mut client).await, (3, Ok(())));
    assert_eq!(server.reached(), 3);
    server.does(Does::FailsLater(Code::Unavailable));
    assert_eq!(greetings(&mut client).await, (1, Err(Code::Unavailable)));
    assert_eq!(server.reached(), 4);
    server.does(Does::Fails(Code::Unavailable));
    assert_eq!(greetings(&mut client).await, (0, Err(Code::Unavailable)));
    assert_eq!(server.reached(), 7);
}

/// Its request is sent as it is made, and its head is answered before the first message.
#[tokio::test]
async fn a_conversation_goes_through() {
    let server = Scripted::start(Does::Answers);
    let (mut client, _) = server.client(patient());
    let (ask, asked) = mpsc::channel(1);
    let conversation = client.say_hello_bidi_stream(ReceiverStream::new(asked));
    let mut replies = in_time(conversation).await.unwrap().into_inner();
    for turn in 0..5 {
        ask.send(HelloRequest { name: turn.to_string() }).await.unwrap();
        let reply = in_time(replies.message()).await.unwrap().unwrap();
        assert_eq!(reply.message, format!("Hello {turn}"));
    }
    drop(ask);
    assert_eq!(in_time(replies.message()).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_fails_all_calls_sees_the_budgets_share_more() {
    const CALLS: usize = 100;
    let server = Scripted::start(Does::Fails(Code::Unavailable));
    let (mut client, _) = server.client(patient().budget(5, 0));
    for _ in 0..CALLS {
        assert_eq!(hello(&mut client).await, Err(Code::Unavailable));
    }
    let reached = server.reached();
    assert!((CALLS + 1..=CALLS + CALLS / 5).contains(&reached), "{reached}");
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_is_seen_in_each_state() {
    let limits = Limits { failures: 3, open_for: Duration::from_secs(2), probes: 2 };
    let mut server = Scripted::start(Does::Answers);
    let (mut client, resilient) = server.client(patient().attempts_max(1).breaker(limits));
    let mut states = vec![State::Closed];
    for _ in 0..5 {
        assert_eq!(hello(&mut client).await, Ok("Hello you".to_owned()));
    }
    server.dies();
    let mut failures = 0;
    while resilient.breaker().state() == State::Closed {
        assert_eq!(hello(&mut client).await, Err(Code::Unavailable));
        failures += 1;
    }
    assert_eq!((failures, server.reached()), (3, 5));
    states.push(resilient.breaker().state());
    server.comes_back();
    // As long as it is open, the server that is back sees nothing.
    let (mut refused, patience) = (0, std::time::Instant::now());
    while hello(&mut client).await.is_err() {
        if resilient.breaker().state() == State::Open {
            assert_eq!(server.reached(), 5);
            refused += 1;
        }
        assert!(patience.elapsed() < PATIENCE, "it never closes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(refused > 0);
    states.push(resilient.breaker().state());
    assert_eq!(hello(&mut client).await, Ok("Hello you".to_owned()));
    states.push(resilient.breaker().state());
    assert_eq!(states, [State::Closed, State::Open, State::HalfOpen, State::Closed]);
    assert_eq!(server.reached(), 7);
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_by_all_callers() {
    const CALLS: usize = 40;
    // Open for longer than the test: it ends as it began.
    let limits = Limits { failures: 5, open_for: PATIENCE * 10, probes: 1 };
    let server = Scripted::start(Does::Fails(Code::Unavailable));
    let (client, resilient) = server.client(patient().attempts_max(1).breaker(limits));
    for _ in 0..5 {
        assert_eq!(hello(&mut client.clone()).await, Err(Code::Unavailable));
    }
    assert_eq!((resilient.breaker().state(), server.reached()), (State::Open, 5));
    let calls = (0..CALLS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { hello(&mut client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), Err(Code::Unavailable));
    }
    assert_eq!((resilient.breaker().state(), server.reached()), (State::Open, 5));
}

#[tokio::test]
async fn a_server_that_slows_down_is_given_up_at_the_deadline_and_left_alone() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let limits = Limits { failures: 3, open_for: PATIENCE * 10, probes: 1 };
    let server = Scripted::start(Does::Answers);
    let (mut client, resilient) = server.client(patient().timeout(TIMEOUT).breaker(limits));
    assert_eq!(hello(&mut client).await, Ok("Hello you".to_owned()));
    server.does(Does::Hangs);
    for _ in 0..3 {
        let began = std::time::Instant::now();
        assert_eq!(hello(&mut client).await, Err(Code::DeadlineExceeded));
        assert!(began.elapsed() >= TIMEOUT);
    }
    assert_eq!(hello(&mut client).await, Err(Code::Unavailable));
    assert_eq!((resilient.breaker().state(), server.reached()), (State::Open, 4));
    for headers in server.headers() {
        let timeout = headers.timeout.unwrap();
        let micros: u128 = timeout.strip_suffix('u').expect("microseconds").parse().unwrap();
        assert!(micros <= TIMEOUT.as_micros(), "{timeout}");
    }
    // The server hears of it, and need not go on.
    server.has_given_up(3).await;
}
