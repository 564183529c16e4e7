//! A request's body that can be sent again: what has gone is kept, to a bound. It pays with that
//! many bytes a call, until its answer begins.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

/// Records a body while it is sent. A whole body first, and then the request, would never begin a
/// conversation: its messages wait for answers.
#[derive(Clone)]
pub(crate) struct Tape(Arc<Mutex<Recorder>>);

struct Recorder {
    source: Body,
    frames: Vec<Bytes>,
    bytes: usize,
    bytes_max: usize,
    has_ended: bool,
    /// No more is kept: an answer has begun, and this request is sent to its end or not at all.
    is_sealed: bool,
    /// The only player that has it all: what it was given last was not kept.
    spent_by: Option<usize>,
    players: usize,
    /// Players below this number have been given up.
    first_player: usize,
    /// The source knows one waker; the players may be two.
    waiting: Vec<Waker>,
}

impl Tape {
    pub(crate) fn new(source: Body, bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Recorder {
            has_ended: source.is_end_stream(),
            source,
            frames: Vec::new(),
            bytes: 0,
            bytes_max,
            is_sealed: false,
            spent_by: None,
            players: 0,
            first_player: 0,
            waiting: Vec::new(),
        })))
    }

    /// All of it, from the first byte; those that play already go on.
    pub(crate) fn play(&self) -> Body {
        let mut recorder = self.lock();
        let number = recorder.players;
        recorder.players += 1;
        drop(recorder);
        Body::new(Player { tape: self.clone(), number, position: 0 })
    }

    /// The same, instead of those that play already: their attempts are over, though HTTP/2 may
    /// still be sending what belongs to them.
    pub(crate) fn play_again(&self) -> Body {
        let mut recorder = self.lock();
        recorder.first_player = recorder.players;
        recorder.wake();
        drop(recorder);
        self.play()
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        let recorder = self.lock();
        !recorder.is_sealed && recorder.spent_by.is_none()
    }

    pub(crate) fn seal(&self) {
        self.lock().is_sealed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("bytes", &self.lock().bytes).finish_non_exhaustive()
    }
}

impl Recorder {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn waits(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|known| known.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// Keeps it, if there is room.
    fn keeps(&mut self, data: &Bytes) -> bool {
        let fits = self.bytes.saturating_add(data.len()) <= self.bytes_max;
        if self.is_sealed || !fits {
            return false;
        }
        self.bytes += data.len();
        self.frames.push(data.clone());
        true
    }
}

/// One sending of the body.
struct Player {
    tape: Tape,
    number: usize,
    position: usize,
}

impl http_body::Body for Player {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let tape = self.tape.clone();
        let mut recorder = tape.lock();
        if self.number < recorder.first_player {
            return Poll::Ready(Some(Err(Status::cancelled("another attempt has begun"))));
        }
        if let Some(data) = recorder.frames.get(self.position) {
            self.position += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if recorder.spent_by.is_some_and(|player| player != self.number) {
            return Poll::Ready(Some(Err(Status::aborted("too large to be sent twice"))));
        }
        if recorder.has_ended {
            return Poll::Ready(None);
        }
        recorder.waits(cx.waker());
        let frame = ready!(Pin::new(&mut recorder.source).poll_frame(cx));
        recorder.wake();
        let is_kept = match &frame {
            None => {
                recorder.has_ended = true;
                true
            }
            Some(Ok(frame)) => frame.data_ref().is_some_and(|data| recorder.keeps(data)),
            Some(Err(_)) => false,
        };
        if is_kept {
            self.position += 1;
        } else {
            recorder.spent_by = Some(self.number);
            // This player has had them, and there will be no other.
            recorder.frames = Vec::new();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let recorder = self.tape.lock();
        recorder.has_ended && self.position >= recorder.frames.len()
    }
}

impl Drop for Player {
    /// It may be the one that the source would wake.
    fn drop(&mut self) {
        self.tape.lock().wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::stream::{self, StreamExt};

    use super::*;

    /// A stream of messages as a body: `tonic` makes its own in the same way.
    struct Messages<T>(T);

    impl<T: futures_util::Stream<Item = Bytes> + Unpin> http_body::Body for Messages<T> {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_next_unpin(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn tape(bytes_max: usize) -> Tape {
        let messages = ["one", "two", "three"].map(Bytes::from);
        Tape::new(Body::new(Messages(stream::iter(messages))), bytes_max)
    }

    async fn next(body: &mut Body) -> Option<Result<String, tonic::Code>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(match frame {
            Ok(frame) => Ok(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()),
            Err(status) => Err(status.code()),
        })
    }

    async fn all(mut body: Body) -> String {
        let mut all = String::new();
        while let Some(data) = next(&mut body).await {
            all += &data.unwrap();
        }
        all
    }

    #[tokio::test]
    async fn what_was_sent_is_sent_again_whole() {
        let tape = tape(11);
        let mut half = tape.play();
        assert_eq!(next(&mut half).await, Some(Ok("one".to_owned())));
        assert_eq!(all(tape.play()).await, "onetwothree");
        assert_eq!(next(&mut half).await, Some(Ok("two".to_owned())));
        assert_eq!(all(tape.play_again()).await, "onetwothree");
        assert_eq!(next(&mut half).await, Some(Err(tonic::Code::Cancelled)));
        assert!(tape.is_repeatable());
    }

    #[tokio::test]
    async fn one_byte_above_the_bound_is_sent_once() {
        let tape = tape(10);
        let (first, mut second) = (tape.play(), tape.play());
        assert_eq!(next(&mut second).await, Some(Ok("one".to_owned())));
        assert_eq!(all(first).await, "onetwothree");
        assert!(!tape.is_repeatable());
        assert_eq!(next(&mut second).await, Some(Err(tonic::Code::Aborted)));
    }

    #[tokio::test]
    async fn a_sealed_tape_keeps_nothing_more() {
        let tape = tape(100);
        let mut body = tape.play();
        next(&mut body).await;
        tape.seal();
        assert!(!tape.is_repeatable());
        assert_eq!(all(body).await, "twothree");
        assert_eq!(tape.lock().frames.len(), 0);
    }

    /// The one that the source would have woken is gone: the other must not wait for ever.
    #[tokio::test]
    async fn a_player_that_goes_wakes_the_other() {
        let (send, receive) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
        let receive = Box::pin(stream::unfold(receive, |mut receive| async {
            Some((receive.recv().await?, receive))
        }));
        let tape = Tape::new(Body::new(Messages(receive)), 100);
        let mut first = tape.play();
        let waits = tokio::spawn(async move { next(&mut first).await });
        tokio::task::yield_now().await;
        let mut second = tape.play();
        assert_eq!(next(&mut second).now_or_never(), None);
        drop(second);
        send.send(Bytes::from("late")).unwrap();
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), waits).await;
        assert_eq!(waited.unwrap().unwrap(), Some(Ok("late".to_owned())));
    }
}
