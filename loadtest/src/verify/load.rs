//! Checks by many requests: those of the gate. Every answer is checked as in a run.

use std::num::NonZeroUsize;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::scene::{Fault, Scene};
use crate::client::framed::Framed;
use crate::plan::{Schedule, Stop};
use crate::run::{RunConfig, run};
use crate::share::Interrupt;
use crate::target::Target;
use crate::template::Templates;
use crate::work::Mix;

/// Requests that are written before the late reader reads. Their answers, 10 MB, are far more than
/// the 4 MiB to which Linux lets a send buffer grow, so a server meets short writes.
const LATE_READER_REQUESTS: u64 = 10_000;
const LATE_READER_WORK: &str = "echo:1000";
/// How late it is, where the server stops reading before.
const LATE_READER_DELAY: Duration = Duration::from_millis(200);
/// Requests before the half-close.
const HALF_CLOSE_REQUESTS: u64 = 50;
const HALF_CLOSE_WORK: &str = "echo:64";
/// Requests that arrive byte by byte.
const TRICKLED_REQUESTS: u64 = 5;
const TRICKLED_WORK: &str = "echo:8";
/// Between two bytes: time for a server to read the one alone.
const TRICKLE_PAUSE: Duration = Duration::from_millis(1);
/// Calls over many streams.
const STREAMED_REQUESTS: u64 = 5_000;
const STREAMED_WORK: &str = "echo:1000";
/// Requests of the mixed run, over all kinds of work.
const MIXED_REQUESTS: u64 = 400;
/// All kinds; small amounts.
const MIXED_WORK: &str = "echo:0,echo:1000,wait:1ms,compute:100,block:1ms,user:10000";
/// How often a run looks whether it should end early.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// A client that writes thousands of requests before it reads a reply.
pub(super) fn late_reader(scene: &Scene<'_>) -> Result<(), Fault> {
    let requests = Requests::new(scene.target, LATE_READER_WORK);
    let mut client = scene.connect()?;
    client.set_patience(scene.patience);
    let mut writer = Framed::over(client.stream().try_clone()?, scene.patience);
    let bytes = requests.encoded(LATE_READER_REQUESTS);
    let writing = thread::spawn(move || writer.send_bytes(&bytes));
    thread::sleep(LATE_READER_DELAY);
    requests.read_all(&mut client, LATE_READER_REQUESTS)?;
    Ok(writing.join().unwrap_or_else(|_| Err(std::io::Error::other("the writer panicked")))?)
}

/// A client that sends, says that it will send no more, and still wants its answers.
pub(super) fn half_close(scene: &Scene<'_>) -> Result<(), Fault> {
    let requests = Requests::new(scene.target, HALF_CLOSE_WORK);
    let mut client = scene.connect()?;
    client.send_bytes(&requests.encoded(HALF_CLOSE_REQUESTS))?;
    client.half_close()?;
    requests.read_all(&mut client, HALF_CLOSE_REQUESTS)?;
    Ok(client.receive_end()?)
}

/// A client whose bytes come one at a time; a request at a time, so that a server that was slow for
/// one of them still meets the pieces of the next.
pub(super) fn byte_by_byte(scene: &Scene<'_>) -> Result<(), Fault> {
    let requests = Requests::new(scene.target, TRICKLED_WORK);
    let mut client = scene.connect()?;
    for index in 0..TRICKLED_REQUESTS {
        for byte in requests.one(index) {
            client.send_bytes(&[byte])?;
            thread::sleep(TRICKLE_PAUSE);
        }
        requests.read_one(&mut client, index, TRICKLED_REQUESTS)?;
    }
    Ok(())
}

/// Thousands of requests on the streams of one connection: what the late reader is to a framed
/// server.
pub(super) fn many_streams(scene: &Scene<'_>) -> Result<(), Fault> {
    all_right(scene, STREAMED_WORK, (1, 100), STREAMED_REQUESTS)
}

/// All kinds of work at once, on several connections; digests are verified.
pub(super) fn mixed(scene: &Scene<'_>) -> Result<(), Fault> {
    all_right(scene, MIXED_WORK, (4, 16), MIXED_REQUESTS)
}

fn all_right(
    scene: &Scene<'_>,
    work: &str,
    (connections, depth): (usize, usize),
    requests: u64,
) -> Result<(), Fault> {
    let config = RunConfig {
        connections: NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN),
        schedule: Schedule::Closed { depth },
        stop: Stop::Count(requests),
        timeout: scene.patience.left(),
        ..RunConfig::new(scene.target, mix(work))
    };
    let finished = bounded(scene, |interrupt| run(&config, interrupt));
    let finished = finished.map_err(|error| error.to_string())?;
    if let Some(failure) = finished.failure {
        return Err(failure.into());
    }
    let result = finished.result;
    if result.ok == requests {
        return Ok(());
    }
    let (errors, late) = (result.errors, result.timed_out);
    let text = format!("{work}: {} of {requests} right, {late} timed out, {errors:?}", result.ok);
    Err(text.into())
}

/// Interrupts a run once the check's time is over, or when somebody interrupts the checks: by
/// itself it would wait out a timeout for each round of its requests.
fn bounded<T>(scene: &Scene<'_>, work: impl FnOnce(&Interrupt) -> T) -> T {
    let interrupt = Interrupt::default();
    let (over, ended) = mpsc::channel::<()>();
    let watched = &interrupt;
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if scene.patience.is_over() || scene.interrupt.is_triggered() {
                    watched.trigger();
                }
            }
        });
        let result = work(watched);
        drop(over);
        result
    })
}

fn mix(work: &str) -> Mix {
    work.parse().expect("the works of the checks are constants that a test parses")
}

/// Requests of one kind, and their answers in order.
struct Requests(Templates);

impl Requests {
    fn new(target: Target, work: &str) -> Self {
        Self(Templates::new(&mix(work), 1, target.protocol))
    }

    fn encoded(&self, count: u64) -> Vec<u8> {
        (0..count).flat_map(|index| self.one(index)).collect()
    }

    fn one(&self, index: u64) -> Vec<u8> {
        let (template, mut bytes) = (self.0.of(0), Vec::new());
        template.write(template.id(index), &mut bytes);
        bytes
    }

    fn read_all(&self, client: &mut Framed, count: u64) -> Result<(), Fault> {
        (0..count).try_for_each(|index| self.read_one(client, index, count))
    }

    fn read_one(&self, client: &mut Framed, index: u64, count: u64) -> Result<(), Fault> {
        let template = self.0.of(0);
        let lost = |fault: Fault| fault.at(&format!("answer {index} of {count}"));
        let message = client.receive_message().map_err(|error| lost(error.into()))?;
        let right = template.check(template.id(index), message);
        right.map_err(|kind| lost(kind.name().into_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_well_formed() {
        let works = [LATE_READER_WORK, HALF_CLOSE_WORK, TRICKLED_WORK, STREAMED_WORK, MIXED_WORK];
        for work in works {
            assert!(mix(work).kinds().count() > 0);
        }
        assert_eq!(mix(MIXED_WORK).kinds().count(), 6);
    }
}
