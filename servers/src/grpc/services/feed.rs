//! Notifications: who subscribes to a topic gets what is published on it, as it happens. It pays
//! with a ring of events per topic, shared by all its subscribers: who is slower than the ring is
//! long is told so, and costs the publisher nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::message::{Event, Published, Subscription};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::grpc::Answers;
use crate::grpc::errors::Failure;
use crate::grpc::generated::feed_server;

/// The longest name of a topic.
const TOPIC_BYTES_MAX: usize = 256;
/// A notification says that something happened; what is larger is fetched.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// How far a subscriber may fall behind. With the largest payloads a topic then holds a MiB, and
/// only while somebody is as far behind.
const EVENTS_BEHIND_MAX: usize = 64;
/// Topics that are remembered. Above, the one that nobody subscribes to and that was used least
/// recently is forgotten.
const TOPICS_MAX: usize = 256;
/// Subscribers of all topics together.
const SUBSCRIBERS_MAX: usize = 10_000;

/// Why an event is not published, or not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::grpc) enum FeedError {
    #[error("the topic has {0} bytes; 1 to {TOPIC_BYTES_MAX} are allowed")]
    Topic(usize),
    #[error("the payload has {0} bytes, above the limit of {PAYLOAD_BYTES_MAX}")]
    Payload(usize),
    #[error("too many topics have subscribers; try later")]
    TooManyTopics,
    #[error("too many subscribers; try later")]
    TooManySubscribers,
    #[error("fell behind: {0} events were not waited for; subscribe again")]
    FellBehind(u64),
}

/// All topics.
pub(in crate::grpc) struct Feed {
    topics: Mutex<Topics>,
    places: Arc<Semaphore>,
    draining: CancellationToken,
}

impl Feed {
    pub(in crate::grpc) fn new(draining: CancellationToken) -> Self {
        Self::with_room(TOPICS_MAX, SUBSCRIBERS_MAX, draining)
    }

    fn with_room(room: usize, subscribers: usize, draining: CancellationToken) -> Self {
        let topics = Topics { room, by_name: HashMap::new(), uses: 0 };
        let places = Arc::new(Semaphore::new(subscribers));
        Self { topics: Mutex::new(topics), places, draining }
    }

    fn publish(&self, mut event: Event) -> Result<Published, FeedError> {
        if event.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(FeedError::Payload(event.payload.len()));
        }
        let mut topics = self.topics();
        let topic = topics.topic(&event.topic)?;
        topic.last_number += 1;
        event.number = topic.last_number;
        // Under the lock, so that events go out in the order of their numbers; it waits for nobody.
        let subscribers = topic.events.send(Arc::new(event)).unwrap_or(0);
        let subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
        Ok(Published { number: topic.last_number, subscribers })
    }

    fn subscribe(&self, name: &str) -> Result<Subscriber, FeedError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| FeedError::TooManySubscribers)?;
        let events = self.topics().topic(name)?.events.subscribe();
        Ok(Subscriber { events, draining: self.draining.clone(), _place: place })
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // The table is whole between any two of its operations, whoever panicked.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Topics {
    room: usize,
    by_name: HashMap<String, Topic>,
    uses: u64,
}

struct Topic {
    last_number: u64,
    last_use: u64,
    events: broadcast::Sender<Arc<Event>>,
}

impl Topics {
    /// The topic of this name, new or not.
    fn topic(&mut self, name: &str) -> Result<&mut Topic, FeedError> {
        if !(1..=TOPIC_BYTES_MAX).contains(&name.len()) {
            return Err(FeedError::Topic(name.len()));
        }
        if !self.by_name.contains_key(name) && self.by_name.len() >= self.room {
            self.forget_one()?;
        }
        let topic = self.by_name.entry(name.to_owned()).or_insert_with(|| Topic {
            last_number: 0,
            last_use: 0,
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
        });
        self.uses += 1;
        topic.last_use = self.uses;
        Ok(topic)
    }

    /// A look at all of them: there are few, and it is rare.
    fn forget_one(&mut self) -> Result<(), FeedError> {
        let unheard = self.by_name.iter().filter(|(_, topic)| topic.events.receiver_count() == 0);
        let oldest = unheard.min_by_key(|(_, topic)| topic.last_use).map(|(name, _)| name.clone());
        self.by_name.remove(&oldest.ok_or(FeedError::TooManyTopics)?);
        Ok(())
    }
}

/// One who listens, while it lives.
struct Subscriber {
    events: broadcast::Receiver<Arc<Event>>,
    draining: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    async fn next(&mut self) -> Result<Event, Failure> {
        let event = tokio::select! {
            // What was published before the drain is handed over before the end.
            biased;
            event = self.events.recv() => event,
            () = self.draining.cancelled() => return Err(Failure::Draining),
        };
        match event {
            Ok(event) => Ok(Arc::unwrap_or_clone(event)),
            Err(RecvError::Lagged(events)) => Err(FeedError::FellBehind(events).into()),
            // A topic that has subscribers is not forgotten: only the feed itself can have gone.
            Err(RecvError::Closed) => Err(Failure::Draining),
        }
    }
}

#[tonic::async_trait]
impl feed_server::Feed for Feed {
    async fn publish(&self, request: Request<Event>) -> Result<Response<Published>, Status> {
        let published = self.publish(request.into_inner()).map_err(Failure::from)?;
        Ok(Response::new(published))
    }

    type SubscribeStream = Answers<Event>;

    async fn subscribe(
        &self,
        request: Request<Subscription>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let subscriber = self.subscribe(&request.get_ref().topic).map_err(Failure::from)?;
        let events = stream::unfold(Some(subscriber), |subscriber| async {
            let mut subscriber = subscriber?;
            match subscriber.next().await {
                Ok(event) => Some((Ok(event), Some(subscriber))),
                // Its place is free before it hears why.
                Err(failure) => Some((Err(failure.into()), None)),
            }
        });
        Ok(Response::new(Box::pin(events)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event(topic: &str) -> Event {
        Event { topic: topic.to_owned(), number: 99, payload: vec![7] }
    }

    fn numbered(topic: &str, number: u64) -> Event {
        Event { number, ..event(topic) }
    }

    impl Subscriber {
        fn hears(&mut self) -> Option<Result<Event, String>> {
            self.next().now_or_never().map(|next| next.map_err(|failure| failure.to_string()))
        }
    }

    #[test]
    fn events_are_numbered_within_their_topic() {
        let feed = Feed::new(CancellationToken::new());
        assert_eq!(feed.publish(event("a")), Ok(Published { number: 1, subscribers: 0 }));
        let mut listeners = [(); 2].map(|()| feed.subscribe("a").unwrap());
        let mut other = feed.subscribe("b").unwrap();
        for number in [2, 3] {
            assert_eq!(feed.publish(event("a")), Ok(Published { number, subscribers: 2 }));
        }
        assert_eq!(feed.publish(event("b")), Ok(Published { number: 1, subscribers: 1 }));
        for listener in &mut listeners {
            for number in [2, 3] {
                assert_eq!(listener.hears(), Some(Ok(numbered("a", number))));
            }
            assert_eq!(listener.hears(), None);
        }
        assert_eq!(other.hears(), Some(Ok(numbered("b", 1))));
    }

    #[test]
    fn a_place_is_free_at_once() {
        let feed = Feed::with_room(9, 1, CancellationToken::new());
        let first = feed.subscribe("a").unwrap();
        assert_eq!(feed.subscribe("b").err(), Some(FeedError::TooManySubscribers));
        drop(first);
        feed.subscribe("").err().expect("no topic");
        assert!(feed.subscribe("b").is_ok(), "nor does one that is refused keep it");
        assert_eq!(feed.publish(event("a")).unwrap().subscribers, 0);
    }

    #[test]
    fn who_falls_behind_is_told_by_how_much() {
        let feed = Feed::new(CancellationToken::new());
        let mut slow = feed.subscribe("a").unwrap();
        let behind = EVENTS_BEHIND_MAX as u64 + 3;
        for number in 1..=behind {
            assert_eq!(feed.publish(event("a")), Ok(Published { number, subscribers: 1 }));
        }
        let told = slow.hears().unwrap().unwrap_err();
        assert_eq!(told, "fell behind: 3 events were not waited for; subscribe again");
    }

    #[test]
    fn only_what_nobody_hears_is_forgotten() {
        let feed = Feed::with_room(2, 9, CancellationToken::new());
        let number = |topic: &str| feed.publish(event(topic)).map(|published| published.number);
        assert_eq!((number("a"), number("b"), number("a")), (Ok(1), Ok(1), Ok(2)));
        let listener = feed.subscribe("b").unwrap();
        assert_eq!(number("c"), Ok(1));
        assert_eq!((number("b"), number("a")), (Ok(2), Ok(1)), "a had gone, and c goes");
        let other = feed.subscribe("a").unwrap();
        assert_eq!(number("c"), Err(FeedError::TooManyTopics));
        drop((listener, other));
        assert_eq!(number("c"), Ok(1));
    }

    #[test]
    fn names_and_payloads_have_limits() {
        let feed = Feed::new(CancellationToken::new());
        let published = |topic: usize, payload: usize| {
            let topic = "t".repeat(topic);
            feed.publish(Event { topic, number: 0, payload: vec![0; payload] }).err()
        };
        assert_eq!(published(TOPIC_BYTES_MAX, PAYLOAD_BYTES_MAX), None);
        assert_eq!(published(0, 0), Some(FeedError::Topic(0)));
        assert_eq!(published(257, 0), Some(FeedError::Topic(257)));
        assert_eq!(published(1, 16_385), Some(FeedError::Payload(16_385)));
    }

    #[test]
    fn a_drain_comes_after_what_was_published_before() {
        let draining = CancellationToken::new();
        let feed = Feed::new(draining.clone());
        let mut listener = feed.subscribe("a").unwrap();
        feed.publish(event("a")).unwrap();
        draining.cancel();
        assert_eq!(listener.hears(), Some(Ok(numbered("a", 1))));
        assert_eq!(listener.hears(), Some(Err("the server drains".to_owned())));
    }
}
