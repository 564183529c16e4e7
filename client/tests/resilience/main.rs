//! The client over real sockets: against a server that fails, slows down, dies and comes back as it
//! is told to, and against our own. They pay with real time; no step depends on how much of it.

mod failing;
mod hedging;
mod ours;
mod scripted;

use std::future::Future;
use std::time::Duration;

use client::{Builder, Limits, Resilient};
use tokio::time::timeout;

/// Far above what any step takes, also on a busy machine; a step that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const HELLO: &str = "/helloworld.Greeter/SayHello";
const STREAM: &str = "/helloworld.Greeter/SayHelloStreamReply";
/// A breaker that stays out of a test about something else.
const NEVER: Limits = Limits { failures: u32::MAX, open_for: Duration::from_secs(1), probes: 1 };

/// Short waits, a budget that is no bound, no breaker.
fn patient() -> Builder {
    let (first, max) = (Duration::from_millis(1), Duration::from_millis(5));
    Resilient::builder()
        .timeout(PATIENCE)
        .idempotent(HELLO)
        .idempotent(STREAM)
        .backoff(first, max)
        .budget(1, 1000)
        .breaker(NEVER)
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it hangs")
}
