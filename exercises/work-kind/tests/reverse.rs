//! Exercise 3: `bytes reverse = 15`. The requests are written byte by byte, as a client in another
//! language would, so that this compiles before the kind is there.

use std::time::Instant;

use common::message::{Code, Request, Response};
use common::{Connection, Limits, Plan, Service, frame};
use loadtest::target::Protocol;
use loadtest::template::Templates;
use loadtest::work::Mix;

/// A request whose field 15 is `bytes`: the id's key and the id; the field's key, its length, itself.
fn request(id: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128);
    let head = [1 << 3, id, 15 << 3 | 2, length.expect("a varint of one byte")];
    [&head, bytes].concat()
}

/// What the service makes of a message of which its client wants to be answered before `deadline`.
fn answer(service: &Service, message: &[u8], deadline: Option<Instant>) -> Response {
    let request: Request = frame::decode(message).expect("it is a request");
    match service.plan(request, deadline) {
        Plan::Reply(response) | Plan::Wait { response, .. } => response,
        Plan::Compute(job) => job.run(),
        Plan::Block(job) => job.run(),
    }
}

#[test]
fn the_bytes_come_back_in_reverse_order() {
    let answered = answer(&Service::new(), &request(7, b"stressed"), None);
    assert_eq!(answered, Response::ok(7, b"desserts".to_vec()));
}

#[test]
fn nothing_comes_back_as_nothing() {
    let answered = answer(&Service::new(), &request(7, b""), None);
    assert_eq!(answered, Response::ok(7, Vec::new()));
}

#[test]
fn over_a_connection_it_keeps_its_place_in_the_order() {
    let now = Instant::now();
    let mut connection = Connection::new(Limits::default(), now);
    let echo = [1 << 3, 2, 10 << 3 | 2, 1, b'e'];
    for message in [request(1, b"abc"), echo.to_vec(), request(3, b"xyz")] {
        let prefix = u32::try_from(message.len()).unwrap().to_be_bytes();
        connection.receive(&[prefix.to_vec(), message].concat(), now);
    }
    while let Some(request) = connection.next_request().unwrap() {
        let Plan::Reply(response) = Service::new().plan(request, None) else {
            panic!("it needs nothing to be reversed: neither time nor a thread")
        };
        connection.respond(response);
    }
    let mut replies = connection.to_send();
    for (id, payload) in [(1, "cba"), (2, "e"), (3, "zyx")] {
        let message = frame::split_first(replies, 100).unwrap().expect("a reply");
        replies = &replies[frame::PREFIX_BYTES + message.len()..];
        let expected = Response::ok(id, payload.as_bytes().to_vec());
        assert_eq!(frame::decode::<Response>(message).unwrap(), expected);
    }
}

#[test]
fn what_comes_too_late_is_not_begun() {
    let answered = answer(&Service::new(), &request(7, b"late"), Some(Instant::now()));
    assert_eq!(answered.code, Code::DeadlineExceeded as u32, "{answered:?}");
}

#[test]
fn a_panic_is_told_to_its_own_client() {
    let service = Service::with_fault(|id| assert_ne!(id, 7, "on purpose"));
    let code = |id| answer(&service, &request(id, b"x"), None).code;
    assert_eq!((code(7), code(8)), (Code::Internal as u32, Code::Ok as u32));
}

#[test]
fn who_sets_no_work_is_told_of_it() {
    let answered = answer(&Service::new(), &[1 << 3, 7], None);
    assert_eq!(answered.code, Code::InvalidArgument as u32);
    assert!(answered.message.contains("reverse"), "{}", answered.message);
}

#[test]
fn the_load_tester_asks_for_it() {
    let mix: Mix = "reverse:64".parse().expect("--work reverse:64");
    assert_eq!(mix.to_string(), "reverse:64");
    let wrong = "reverse:lots".parse::<Mix>().unwrap_err().to_string();
    assert!(wrong.contains("`reverse:lots`: invalid digit"), "{wrong}");
    let unknown = "sleep:1s".parse::<Mix>().unwrap_err().to_string();
    assert!(unknown.contains("reverse:BYTES"), "{unknown}");
}

#[test]
fn the_load_tester_checks_what_comes_back() {
    let mix: Mix = "reverse:64".parse().expect("--work reverse:64");
    let (templates, mut sent) = (Templates::new(&mix, 7, Protocol::Framed), Vec::new());
    let template = templates.of(0);
    let id = template.id(3);
    template.write(id, &mut sent);
    let message = &sent[frame::PREFIX_BYTES..];
    assert!(message.windows(2).any(|bytes| bytes == [15 << 3 | 2, 64]), "it is field 15: {sent:?}");
    let right = answer(&Service::new(), message, None);
    let check = |response: &Response| {
        let mut framed = Vec::new();
        frame::encode(response, &mut framed);
        template.check(id, &framed[frame::PREFIX_BYTES..])
    };
    check(&right).expect("the right answer is believed");
    let mut not_reversed = right.clone();
    not_reversed.payload.reverse();
    check(&not_reversed).expect_err("its bytes as they were sent are no answer");
}
