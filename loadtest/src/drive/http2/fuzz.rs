//! The client for the fuzzer: any bytes are a server's words to one that awaits six replies.

use super::Http2;
use crate::drive::wire::{Awaited, Terms, Verdict, Wire};
use crate::plan::Planned;
use crate::recorder::ErrorKind;
use crate::target::Target;
use crate::template::Templates;

const REQUESTS: u64 = 6;
/// What the client may say to bytes that are this few: its requests, and acknowledgements.
const SAID_BYTES_MAX: usize = 1024 * 1024;

type Verdicts = Vec<(u64, Result<(), ErrorKind>)>;

/// Takes all but the first of `bytes` at once, and again in reads as long as the first says.
///
/// # Panics
/// If that makes a difference, if a request is not settled exactly once, or if the client says too
/// much.
pub fn hear(bytes: &[u8]) {
    let Some((read_bytes, bytes)) = bytes.split_first() else { return };
    let whole = verdicts_on(std::iter::once(bytes));
    let cut = verdicts_on(bytes.chunks(usize::from(*read_bytes).max(1)));
    assert_eq!(whole, cut, "a cut makes a difference");
}

fn verdicts_on<'a>(mut reads: impl Iterator<Item = &'a [u8]>) -> Verdicts {
    let target: Target = "grpc://127.0.0.1:7005".parse().expect("a target");
    let templates = Templates::new(&"echo:20".parse().expect("a mix"), 1, target.protocol);
    let (mut out, mut verdicts) = (Vec::new(), Vec::new());
    let mut client = Http2::open(target, &mut out);
    for index in 0..REQUESTS {
        let planned = Planned { index, planned_ns: index, kind: 0, measured: true };
        client.send(Awaited::new(planned, index), &templates, &mut out);
    }
    let mut settle = |verdict: Verdict| verdicts.push((verdict.awaited.index, verdict.answer));
    let terms = Terms { templates: &templates, target };
    let _ = reads.try_for_each(|read| {
        client.take(read, terms, &mut out, &mut settle)?;
        client.resume(&templates, &mut out);
        Ok::<_, super::Lost>(())
    });
    assert!(out.len() <= SAID_BYTES_MAX, "{} bytes were said", out.len());
    let mut settled: Vec<_> = verdicts.iter().map(|(index, _)| *index).collect();
    client.bury(|awaited| settled.push(awaited.index));
    settled.sort_unstable();
    assert!(settled.into_iter().eq(0..REQUESTS), "each request is settled once");
    verdicts
}
