//! Notifications: what is published is heard, in order, by all who listen; who does not listen, or
//! too slowly, costs the others nothing.

use std::time::Duration;

use common::message::{Event, Subscription};
use servers::grpc::generated::feed_client::FeedClient;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

use crate::grpc::{channel, with_server};
use crate::server::{PATIENCE, Server};

const TOPIC: &str = "weather";

fn event(payload: &[u8]) -> Event {
    Event { topic: TOPIC.to_owned(), number: 0, payload: payload.to_vec() }
}

async fn subscribe(client: &mut FeedClient<Channel>) -> Streaming<Event> {
    client.subscribe(Subscription { topic: TOPIC.to_owned() }).await.unwrap().into_inner()
}

/// How many hear it.
async fn publish(client: &mut FeedClient<Channel>, payload: &[u8]) -> u32 {
    client.publish(event(payload)).await.unwrap().into_inner().subscribers
}

async fn feed(server: &Server) -> FeedClient<Channel> {
    FeedClient::new(channel(server.address).await)
}

/// Publishes until so many hear it: who has left is known to have, soon.
async fn is_heard_by(client: &mut FeedClient<Channel>, subscribers: u32) {
    let until = async { while publish(client, b"hello?").await != subscribers {} };
    tokio::time::timeout(PATIENCE, until).await.expect("another number of subscribers");
}

#[test]
fn all_who_listen_hear_everything_in_the_order_of_its_numbers() {
    const PUBLISHERS: u64 = 4;
    const EVENTS_EACH: u64 = 100;
    with_server(
        |_| (),
        async |server| {
            let mut client = feed(server).await;
            let mut listeners = JoinSet::new();
            for _ in 0..8 {
                let mut events = subscribe(&mut feed(server).await).await;
                listeners.spawn(async move {
                    let mut payloads = Vec::new();
                    for number in 1..=PUBLISHERS * EVENTS_EACH {
                        let event = events.next().await.unwrap().unwrap();
                        assert_eq!((event.topic.as_str(), event.number), (TOPIC, number));
                        payloads.push(event.payload);
                    }
                    payloads
                });
            }
            let mut publishers = JoinSet::new();
            for publisher in 0..PUBLISHERS {
                let mut client = client.clone();
                publishers.spawn(async move {
                    for number in 0..EVENTS_EACH {
                        let payload = [publisher.to_be_bytes(), number.to_be_bytes()].concat();
                        assert_eq!(publish(&mut client, &payload).await, 8);
                    }
                });
            }
            publishers.join_all().await;
            let heard = listeners.join_all().await;
            assert!(heard.iter().all(|payloads| *payloads == heard[0]), "all the same");
            for publisher in 0..PUBLISHERS {
                let its_own = heard[0].iter().filter(|it| it[..8] == publisher.to_be_bytes());
                assert!(its_own.is_sorted(), "a publisher's events keep its order");
            }
            let other = Event { topic: "sports".to_owned(), ..event(b"") };
            let published = client.publish(other).await.unwrap().into_inner();
            assert_eq!((published.number, published.subscribers), (1, 0));
        },
    );
}

#[test]
fn who_does_not_listen_is_told_and_costs_the_others_nothing() {
    with_server(
        |_| (),
        async |server| {
            let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
            // No more than this is on its way to one that reads nothing.
            let narrow = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
            let mut deaf = subscribe(&mut FeedClient::new(narrow)).await;
            let mut client = feed(server).await;
            let mut listener = subscribe(&mut feed(server).await).await;
            for number in 1..=300 {
                publish(&mut client, &[7; 16 * 1024]).await;
                assert_eq!(listener.next().await.unwrap().unwrap().number, number);
            }
            let told = loop {
                match deaf.next().await.expect("a status") {
                    Ok(event) => assert!(event.number < 300, "what is not taken is not kept"),
                    Err(status) => break status,
                }
            };
            assert_eq!(told.code(), Code::ResourceExhausted, "{told}");
            assert_eq!(told.get_details_error_info().unwrap().reason, "FELL_BEHIND");
            is_heard_by(&mut client, 1).await;
        },
    );
}

#[test]
fn who_leaves_is_gone_at_once() {
    with_server(
        |_| (),
        async |server| {
            let mut client = feed(server).await;
            let (mut by_stream, mut by_connection) = (feed(server).await, feed(server).await);
            let streams = [subscribe(&mut by_stream).await, subscribe(&mut by_stream).await];
            let others = subscribe(&mut by_connection).await;
            assert_eq!(publish(&mut client, b"all").await, 3);
            drop(streams);
            is_heard_by(&mut client, 1).await;
            drop((others, by_connection));
            is_heard_by(&mut client, 0).await;
        },
    );
}

#[test]
fn a_subscription_may_be_silent_for_longer_than_a_connection() {
    with_server(
        |config| config.timeouts.idle = Some(Duration::from_millis(100)),
        async |server| {
            let mut events = subscribe(&mut feed(server).await).await;
            // Longer than that: another connection comes and is told to go.
            let mut witness = server.connect();
            witness.stream().set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = witness.try_receive();
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(publish(&mut feed(server).await, b"at last").await, 1);
            assert_eq!(events.next().await.unwrap().unwrap().payload, b"at last");
        },
    );
}

#[test]
fn a_drain_ends_every_subscription() {
    with_server(
        |config| config.drain_timeout = Duration::from_mins(10),
        async |server| {
            let mut client = feed(server).await;
            let mut events = subscribe(&mut client).await;
            publish(&mut client, b"the last").await;
            server.begin_drain();
            assert_eq!(events.next().await.unwrap().unwrap().payload, b"the last");
            let status = events.next().await.unwrap().unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server drains"));
            assert_eq!(status.get_details_error_info().unwrap().reason, "DRAINING");
            server.drained();
        },
    );
}

#[test]
fn what_is_wrong_with_an_event_is_named() {
    with_server(
        |_| (),
        async |server| {
            let mut client = feed(server).await;
            let large = client.publish(event(&vec![0; 16 * 1024 + 1])).await.unwrap_err();
            let nameless = Subscription { topic: String::new() };
            let nameless = client.subscribe(nameless).await.unwrap_err();
            for (status, field) in [(large, "payload"), (nameless, "topic")] {
                assert_eq!(status.code(), Code::InvalidArgument);
                let violations = status.get_details_bad_request().unwrap().field_violations;
                assert_eq!((violations.len(), violations[0].field.as_str()), (1, field));
            }
        },
    );
}
