//! Servers with one flaw each: the check that is about it finds it. Without a flaw the server keeps
//! the contract.

#[path = "support/flawed_framed.rs"]
mod flawed_framed;

use std::collections::HashSet;

use flawed_framed::{Flaw, serve};
use loadtest::share::Interrupt;
use loadtest::target::Protocol;
use loadtest::verify::{choose, verify};

/// What is wrong, and which check says so.
const FLAWS: [(Flaw, &str); 21] = [
    (Flaw::ShortWrites, "late-reader"),
    (Flaw::HangsUp, "half-close"),
    (Flaw::WholeReads, "byte-by-byte"),
    (Flaw::WrongDigests, "mixed"),
    (Flaw::SwapsAnswers, "order"),
    (Flaw::CutsLong, "large-echo"),
    (Flaw::ClosesOnNoWork, "no-work"),
    (Flaw::IgnoresEmptyFrames, "zero-length"),
    (Flaw::KnowsNoLimits, "above-limits"),
    (Flaw::RefusesUnknownFields, "unknown-fields"),
    (Flaw::KeepsOpenAfterErrors, "frame-too-long"),
    (Flaw::WrongErrorCode, "frame-too-long"),
    (Flaw::WrongErrorCode, "malformed"),
    (Flaw::GoesOnAfterErrors, "malformed"),
    (Flaw::WaitsForTooLong, "foreign-bytes"),
    (Flaw::DiesOfErrors, "reset-in-frame"),
    (Flaw::DiesOfErrors, "reset-in-reply"),
    (Flaw::OneLock, "never-reads"),
    (Flaw::StoresAll, "never-reads"),
    (Flaw::OneAtATime, "silence"),
    (Flaw::StopsAccepting, "open-and-close"),
];

#[test]
fn without_a_flaw_all_is_kept() {
    let checks = choose(Protocol::Framed, &[]).unwrap();
    let result = verify(serve(Flaw::None), &checks, &Interrupt::default(), |_| ());
    let failed: Vec<_> = result.checks.iter().filter(|check| !check.passed).collect();
    assert!(result.passed, "{failed:#?}");
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for (flaw, name) in FLAWS {
        let check = choose(Protocol::Framed, &[name.to_owned()]).unwrap();
        let result = verify(serve(flaw), &check, &Interrupt::default(), |_| ());
        assert!(!result.passed, "{flaw:?} passed as {name}");
        assert_eq!(result.checks[0].name, name);
        assert!(!result.checks[0].detail.is_empty(), "{flaw:?}");
        println!("{flaw:?} {name}: {}", result.checks[0].detail);
    }
}

#[test]
fn every_check_has_a_flaw_that_it_finds() {
    let found: HashSet<_> = FLAWS.iter().map(|(_, name)| *name).collect();
    for check in choose(Protocol::Framed, &[]).unwrap() {
        assert!(found.contains(check.name), "{} was never seen to fail", check.name);
    }
}
