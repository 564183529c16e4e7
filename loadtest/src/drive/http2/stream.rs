//! The open streams of one connection: a call each, and how far it is.
//!
//! A stream stands at the place that its id says, modulo the size of the table, so finding one is
//! an index and a comparison. An id whose place is taken by a call that lasts is skipped, which
//! HTTP/2 allows: ids must grow, not be consecutive.

use super::frame::NUMBER_MAX;
use super::head::Said;
use crate::drive::wire::{Awaited, REPLY_BYTES_MAX};
use crate::recorder::ErrorKind;
use crate::template::Template;

/// One byte for compression and four for the length stand before every gRPC message.
const PREFIX_BYTES: usize = 5;
/// The first table; it grows to twice what is open.
const PLACES_MIN: usize = 4;
/// Ids that are left where no stream is opened any more: more than a table has places, since so
/// many may be skipped.
const IDS_SPARE: u32 = 1 << 20;

/// One call.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) awaited: Awaited,
    /// How many bytes the peer lets it send.
    pub(super) window: i64,
    /// How many bytes of its message were sent.
    pub(super) sent_bytes: usize,
    /// What its header blocks said.
    said: Said,
    reply: Reply,
}

/// The reply's message, as far as it came.
#[derive(Debug)]
enum Reply {
    Nothing,
    /// Bytes whose end has not come.
    Partly(Vec<u8>),
    /// It came in one frame, and was checked where it lay.
    Checked(Result<(), ErrorKind>),
}

impl Stream {
    /// Takes a header block; nothing if it has no place in a reply.
    pub(super) fn hear(&mut self, said: Said, is_last: bool) -> Option<()> {
        if self.said.status.is_none() {
            // An interim head (RFC 9110, 15.2) says nothing of the reply.
            if is_last || !said.status.is_some_and(|status| (100..200).contains(&status)) {
                self.said = Said { status: Some(said.status.unwrap_or(0)), code: said.code };
            }
            return Some(());
        }
        self.said.code = said.code.or(self.said.code);
        is_last.then_some(())
    }

    /// Takes a part of the message; nothing if none may come here, or no more. A vector from
    /// `spare` holds what must be put together.
    pub(super) fn receive(
        &mut self,
        part: &[u8],
        template: &Template,
        spare: &mut Vec<Vec<u8>>,
    ) -> Option<()> {
        self.said.status?;
        if part.is_empty() {
            return Some(());
        }
        match &mut self.reply {
            Reply::Nothing => {
                let id = template.id(self.awaited.index);
                self.reply = if let Some(message) = message_of(part) {
                    Reply::Checked(template.check(id, message))
                } else {
                    let mut bytes = spare.pop().unwrap_or_default();
                    bytes.extend_from_slice(part);
                    Reply::Partly(bytes)
                };
            }
            Reply::Partly(bytes) => {
                if bytes.len() + part.len() > PREFIX_BYTES + REPLY_BYTES_MAX {
                    return None;
                }
                bytes.extend_from_slice(part);
            }
            // More than one message.
            Reply::Checked(answer) => *answer = Err(ErrorKind::Protocol),
        }
        Some(())
    }

    /// What the whole reply comes to.
    pub(super) fn answer(
        self,
        template: &Template,
        spare: &mut Vec<Vec<u8>>,
    ) -> Result<(), ErrorKind> {
        let id = template.id(self.awaited.index);
        let checked = match self.reply {
            Reply::Nothing => Err(ErrorKind::Protocol),
            Reply::Checked(answer) => answer,
            Reply::Partly(mut bytes) => {
                let message = message_of(&bytes).ok_or(ErrorKind::Protocol);
                let answer = message.and_then(|message| template.check(id, message));
                bytes.clear();
                spare.push(bytes);
                answer
            }
        };
        match self.said {
            Said { status: Some(200), code: Some(0) } => checked,
            Said { status: Some(200), code: Some(code) } => Err(ErrorKind::Code(code)),
            _ => Err(ErrorKind::Protocol),
        }
    }
}

/// The one message that the bytes are, if it is whole and not compressed: nobody offered that.
fn message_of(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
    let [compressed, length @ ..] = *prefix;
    let is_whole = u32::from_be_bytes(length) as usize == message.len();
    (compressed == 0 && is_whole).then_some(message)
}

/// All that are open.
#[derive(Debug)]
pub(super) struct Streams {
    /// A power of two, at least twice as many as are open.
    places: Vec<Option<Stream>>,
    open: usize,
    next_id: u32,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), open: 0, next_id: 1 }
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open
    }

    /// Whether no further stream can be opened on this connection.
    pub(super) fn are_used_up(&self) -> bool {
        self.next_id > NUMBER_MAX - IDS_SPARE
    }

    /// Opens one for a request, and gives its id.
    pub(super) fn open(&mut self, awaited: Awaited, window: i64) -> u32 {
        if self.open * 2 >= self.places.len() {
            self.grow();
        }
        let mut id = self.next_id;
        while self.places[self.place(id)].is_some() {
            id += 2;
        }
        let place = self.place(id);
        let (said, reply) = (Said::default(), Reply::Nothing);
        self.places[place] = Some(Stream { id, awaited, window, sent_bytes: 0, said, reply });
        self.open += 1;
        self.next_id = id + 2;
        id
    }

    /// Ids that differ modulo the old size do so modulo the new one.
    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(PLACES_MIN);
        let old = std::mem::take(&mut self.places);
        self.places.resize_with(count, || None);
        for stream in old.into_iter().flatten() {
            let place = self.place(stream.id);
            self.places[place] = Some(stream);
        }
    }

    /// As if all ids had been given away.
    #[cfg(test)]
    pub(super) fn use_up(&mut self) {
        self.next_id = NUMBER_MAX;
    }

    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & self.places.len().wrapping_sub(1)
    }

    /// Whether the id is of no stream that was ever opened: a peer may not speak of it.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id >= self.next_id
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id);
        self.places.get_mut(place)?.as_mut().filter(|stream| stream.id == id)
    }

    /// Closes a stream.
    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id);
        let stream = self.places.get_mut(place)?.take_if(|stream| stream.id == id)?;
        self.open -= 1;
        Some(stream)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().flatten()
    }

    /// Closes all that `is_over` says.
    pub(super) fn remove_if(
        &mut self,
        mut is_over: impl FnMut(&Stream) -> bool,
        mut removed: impl FnMut(Stream),
    ) {
        for place in &mut self.places {
            if let Some(stream) = place.take_if(|stream| is_over(stream)) {
                self.open -= 1;
                removed(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Planned;

    fn awaited(index: u64) -> Awaited {
        Awaited::new(Planned { index, planned_ns: index, kind: 0, measured: true }, index)
    }

    #[test]
    fn a_stream_that_lasts_is_gone_round() {
        let mut streams = Streams::new();
        let lasting = streams.open(awaited(0), 0);
        let mut id_before = lasting;
        for index in 1..100 {
            let id = streams.open(awaited(index), 0);
            assert!(id > id_before && id % 2 == 1);
            assert_eq!(streams.remove(id).map(|stream| stream.awaited), Some(awaited(index)));
            assert!(streams.remove(id).is_none());
            id_before = id;
        }
        assert!(streams.places.len() <= PLACES_MIN, "one open stream needs no more");
        assert_eq!(streams.get_mut(lasting).map(|stream| stream.awaited), Some(awaited(0)));
        assert!(streams.is_idle(id_before + 2) && streams.is_idle(2) && !streams.is_idle(lasting));
    }

    #[test]
    fn all_are_found_however_many() {
        let mut streams = Streams::new();
        assert!(streams.get_mut(1).is_none());
        let ids: Vec<u32> = (0..1000).map(|index| streams.open(awaited(index), 0)).collect();
        for (index, id) in (0..).zip(&ids) {
            assert_eq!(streams.get_mut(*id).map(|stream| stream.awaited.index), Some(index));
        }
        let mut removed = 0;
        streams.remove_if(|stream| stream.awaited.index % 2 == 0, |_| removed += 1);
        assert_eq!((removed, streams.count(), streams.iter_mut().count()), (500, 500, 500));
    }

    #[test]
    fn a_message_is_whole_and_not_compressed() {
        assert_eq!(message_of(&[0, 0, 0, 0, 2, 8, 1]), Some(&[8, 1][..]));
        for bytes in [&[0, 0, 0, 0, 3, 8, 1][..], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0]] {
            assert_eq!(message_of(bytes), None, "{bytes:?}");
        }
    }
}
