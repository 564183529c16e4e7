//! The layers together, over a server that does what a script says, on a clock that stands still
//! until nobody has anything to do: every time is exact. They pay with a server that is none.

mod scripted;

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tonic::Code;

use self::scripted::{Act, METHOD, OTHER, Server};
use crate::backoff::tests::Half;
use crate::{Builder, Limits, Resilient, State};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Limits = Limits { failures: u32::MAX, open_for: SECOND, probes: 1 };

/// Half of every bound, one idempotent method, no breaker, and a budget that is no bound.
fn client() -> Builder {
    Resilient::builder().idempotent(METHOD).random(Half).budget(1, 1000).breaker(NEVER)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[tokio::test(start_paused = true)]
async fn attempts_come_after_half_of_bounds_that_double() {
    let server = Server::new([Act::Says(Code::Unavailable); 4]);
    let mut client = client().attempts_max(4).over(server.clone());
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!(server.times_ms(), [0, 50, 150, 350]);
    assert_eq!(server.previous_attempts(), ["", "1", "2", "3"]);
    assert!(server.requests().iter().all(|request| request == "question"));
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_idempotent_is_sent_once_unless_it_was_not_begun() {
    let server = Server::new([Act::Says(Code::Unavailable)]);
    let mut client = client().over(server.clone());
    assert_eq!(server.call(&mut client, OTHER).await, Err(Code::Unavailable));
    assert_eq!(server.times_ms(), [0]);
    server.then([Act::Unreachable, Act::Unreachable]);
    assert_eq!(server.call(&mut client, OTHER).await, Ok(1));
    assert_eq!(server.times_ms(), [0, 0, 50, 150]);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_again() {
    let server = Server::new([Act::Pushback(Code::ResourceExhausted, "700")]);
    let mut client = client().over(server.clone());
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    server.then([Act::Pushback(Code::Unavailable, "-1")]);
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    server.then([Act::Says(Code::ResourceExhausted)]);
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::ResourceExhausted));
    assert_eq!(server.times_ms(), [0, 700, 700, 700]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_tried_again_until_its_first_message() {
    let server = Server::new([Act::Trailers(Code::Unavailable), Act::Says(Code::Unavailable)]);
    let mut client = client().over(server.clone());
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!(server.times_ms(), [0, 50, 150]);
    // The last attempt's own status is the call's, wherever it stands.
    server.then([
        Act::Trailers(Code::Unavailable),
        Act::Trailers(Code::Unavailable),
        Act::Says(Code::NotFound),
    ]);
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::NotFound));
    assert_eq!(server.times_ms().len(), 6);
    server.then([Act::MessageThen(Code::Unavailable)]);
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!(server.times_ms().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn all_attempts_share_one_deadline_and_say_what_is_left() {
    let server = Server::new([Act::Says(Code::Unavailable), Act::Says(Code::Unavailable)]);
    server.then([Act::Hangs]);
    let mut client = client().timeout(SECOND).over(server.clone());
    let began = Instant::now();
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::DeadlineExceeded));
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(server.timeouts(), ["1000000u", "950000u", "850000u"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_ends_at_the_deadline_too() {
    let server = Server::new([Act::HangsAfterHead, Act::HangsAfterMessage]);
    let mut client = client().timeout(SECOND).over(server.clone());
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(server.call(&mut client, METHOD).await, Err(Code::DeadlineExceeded));
        assert_eq!(began.elapsed(), SECOND);
    }
    assert_eq!((server.times_ms().len(), server.given_up()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_own_time_and_none_is_sent_without() {
    let server = Server::new([Act::Hangs, Act::Says(Code::Unavailable)]);
    let mut client = client().over(server.clone());
    let began = Instant::now();
    let ended = server.call_within(&mut client, METHOD, Some("200m")).await;
    assert_eq!((ended, began.elapsed()), (Err(Code::DeadlineExceeded), ms(200)));
    // A wait that ends at the deadline is not begun: what is known is said at once.
    let ended = server.call_within(&mut client, METHOD, Some("50m")).await;
    assert_eq!((ended, began.elapsed()), (Err(Code::Unavailable), ms(200)));
    let ended = server.call_within(&mut client, METHOD, Some("0S")).await;
    assert_eq!(ended, Err(Code::DeadlineExceeded));
    assert_eq!(server.timeouts(), ["200000u", "50000u"]);
}

#[tokio::test(start_paused = true)]
async fn retries_are_the_budgets_share_of_calls_and_no_more() {
    for (per_second, attempts) in [(0, 120), (1, 130)] {
        let server = Server::new([]);
        server.otherwise(Act::Says(Code::Unavailable));
        let mut client = client().budget(5, per_second).over(server.clone());
        for _ in 0..100 {
            assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
        }
        assert_eq!(server.times_ms().len(), attempts, "{per_second} a second");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_count_for_ten_seconds_or_so() {
    let server = Server::new([]);
    let mut client = client().budget(5, 0).over(server.clone());
    for _ in 0..50 {
        server.call(&mut client, METHOD).await.unwrap();
    }
    advance(12 * SECOND).await;
    server.otherwise(Act::Says(Code::Unavailable));
    // They are forgotten slot by slot, as the clock is looked at.
    for _ in 0..4 {
        server.call(&mut client, METHOD).await.unwrap_err();
    }
    assert_eq!(server.times_ms().len(), 54);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_calls_is_what_it_says() {
    for one_in in [1, 2, 3, 7, 10, 49, 100] {
        let server = Server::new([]);
        server.otherwise(Act::Says(Code::Unavailable));
        let backoff = (Duration::ZERO, Duration::ZERO);
        let client = client().budget(one_in, 0).backoff(backoff.0, backoff.1).attempts_max(2);
        let mut client = client.over(server.clone());
        for _ in 0..200 {
            server.call(&mut client, METHOD).await.unwrap_err();
        }
        assert_eq!(server.times_ms().len(), 200 + 200 / one_in as usize, "one in {one_in}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_probes_and_closes() {
    let server = Server::new([]);
    server.otherwise(Act::Says(Code::Unavailable));
    let limits = Limits { failures: 4, open_for: 5 * SECOND, probes: 2 };
    let mut client = client().attempts_max(1).breaker(limits).over(server.clone());
    let states = client.breaker().watch();
    for _ in 0..10 {
        assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    }
    assert_eq!((server.times_ms().len(), *states.borrow()), (4, State::Open));
    advance(ms(4999)).await;
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!(server.times_ms().len(), 4);
    advance(ms(1)).await;
    // A probe that fails opens it again.
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!((server.times_ms().len(), *states.borrow()), (5, State::Open));
    advance(5 * SECOND).await;
    server.otherwise(Act::Message);
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!(*states.borrow(), State::HalfOpen);
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!(*states.borrow(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_asked_again() {
    let server = Server::new([]);
    server.otherwise(Act::Says(Code::Unavailable));
    let limits = Limits { failures: 2, open_for: 5 * SECOND, probes: 1 };
    let mut client = client().attempts_max(5).breaker(limits).over(server.clone());
    let began = Instant::now();
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    // Two reached the server, the third was refused, and that was the last.
    assert_eq!((server.times_ms().len(), began.elapsed()), (2, ms(150)));
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!((server.times_ms().len(), began.elapsed()), (2, ms(150)));
}

#[tokio::test(start_paused = true)]
async fn probes_are_bounded_and_one_that_is_given_up_makes_room() {
    let server = Server::new([Act::Says(Code::Unavailable)]);
    server.otherwise(Act::HangsAfterHead);
    let limits = Limits { failures: 1, open_for: SECOND, probes: 1 };
    let mut client = client().attempts_max(1).breaker(limits).over(server.clone());
    server.call(&mut client, METHOD).await.unwrap_err();
    advance(SECOND).await;
    let (probing, mut probe) = (server.clone(), client.clone());
    let probe = tokio::spawn(async move { probing.call(&mut probe, METHOD).await });
    sleep(ms(1)).await;
    assert_eq!(server.call(&mut client, METHOD).await, Err(Code::Unavailable));
    assert_eq!(server.times_ms().len(), 2);
    probe.abort();
    probe.await.unwrap_err();
    server.otherwise(Act::Message);
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!(client.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_is_a_failure_to_the_breaker_and_what_is_refused_is_none() {
    let server = Server::new([]);
    server.otherwise(Act::Says(Code::ResourceExhausted));
    let limits = Limits { failures: 2, open_for: SECOND, probes: 1 };
    let mut client = client().timeout(ms(100)).breaker(limits).over(server.clone());
    for _ in 0..5 {
        server.call(&mut client, METHOD).await.unwrap_err();
    }
    assert_eq!(client.breaker().state(), State::Closed);
    server.otherwise(Act::HangsAfterHead);
    for _ in 0..2 {
        assert_eq!(server.call(&mut client, METHOD).await, Err(Code::DeadlineExceeded));
    }
    assert_eq!(client.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_sent_after_its_delay_and_the_loser_is_cancelled() {
    let server = Server::new([Act::Hangs]);
    let mut client = client().hedge_after(ms(30)).over(server.clone());
    let began = Instant::now();
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!((server.times_ms(), began.elapsed(), server.given_up()), (vec![0, 30], ms(30), 1));
    assert_eq!(server.requests(), ["question", "question"]);
    // One that fails is no winner.
    server.then([Act::MessageAfter(100), Act::Says(Code::Unavailable)]);
    assert_eq!(server.call(&mut client, METHOD).await, Ok(1));
    assert_eq!((server.times_ms().len(), server.given_up()), (4, 1));
    server.then([Act::MessageAfter(100)]);
    assert_eq!(server.call(&mut client, OTHER).await, Ok(1));
    assert_eq!(server.times_ms().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn hedges_are_off_by_default_and_paid_for_by_the_budget() {
    let server = Server::new([]);
    server.otherwise(Act::MessageAfter(100));
    let mut plain = client().over(server.clone());
    let mut hedged = client().budget(4, 0).hedge_after(ms(30)).over(server.clone());
    for _ in 0..20 {
        server.call(&mut plain, METHOD).await.unwrap();
    }
    assert_eq!(server.times_ms().len(), 20);
    for _ in 0..20 {
        server.call(&mut hedged, METHOD).await.unwrap();
    }
    assert_eq!(server.times_ms().len(), 20 + 25);
}

#[tokio::test(start_paused = true)]
async fn a_request_above_the_bound_is_sent_once() {
    for (bytes_max, attempts) in [(8, 2), (7, 1)] {
        let server = Server::new([Act::Says(Code::Unavailable)]);
        let mut client = client().request_bytes_max(bytes_max).over(server.clone());
        let _ = server.call(&mut client, METHOD).await;
        assert_eq!(server.times_ms().len(), attempts, "{bytes_max}");
    }
}
