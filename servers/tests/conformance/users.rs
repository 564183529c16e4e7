//! A lookup in state that all requests share: each asks for its own user, and gets no other.
//! The expected answers are made of the ids, by nothing that the servers look into.

use std::thread;

use common::message::UserResponse;
use common::users::{CACHED_MAX, USERS};
use common::{Code, Request};
use prost::Message;

use crate::client::{Client, get_user};
use crate::server::eventually;

const CLIENTS: u32 = 32;
const REQUESTS_EACH: u32 = 200;

/// As `users.proto` says.
fn expected(id: u32) -> UserResponse {
    UserResponse { name: format!("User {id}"), age: i32::try_from(18 + id % 80).unwrap() }
}

/// The user `user` comes in the answer to the request of the same id.
#[track_caller]
fn receive_user(client: &mut Client, user: u32) {
    let payload = client.receive_ok(user.into());
    assert_eq!(UserResponse::decode(payload.as_slice()), Ok(expected(user)));
}

for_every_model!(users_are_found_or_not_or_the_id_is_wrong, |model| {
    let server = model.start();
    let mut client = server.connect();
    for user in [1, 9, 10, 42, USERS, 42] {
        client.send(&[get_user(user.into(), &user.to_string())]);
        receive_user(&mut client, user);
    }
    for (id, nobody) in [(1, "0"), (2, "10001"), (3, "9999999999")] {
        client.send(&[get_user(id, nobody)]);
        let message = client.receive_error(id, Code::NotFound);
        assert!(message.contains(nobody), "{message}");
    }
    let long = "7".repeat(100_000);
    for (id, wrong, why) in [
        (4, "", "empty"),
        (5, "007", "leading zeros"),
        (6, "-1", "decimal"),
        (7, "12345678901", "11 bytes"),
        (8, &long, "100000 bytes"),
    ] {
        client.send(&[get_user(id, wrong)]);
        let message = client.receive_error(id, Code::InvalidArgument);
        assert!(message.contains(why) && message.len() < 200, "{message}");
    }
    client.echoes(9, b"and the connection goes on");
    eventually("(failed, not found, invalid)", (8, 3, 5), || {
        let now = server.stats.snapshot();
        (now.failed, now.not_found, now.invalid_argument)
    });
});

for_every_model!(many_clients_at_once_each_get_their_own_user, |model| {
    let server = model.start_for(CLIENTS as usize, |_| ());
    // Far more users than are cached: they drive each other out.
    assert!(CLIENTS * REQUESTS_EACH > 2 * u32::try_from(CACHED_MAX.get()).unwrap());
    let ask = |client_number: u32| {
        let mut client = server.connect();
        let step = USERS / CLIENTS;
        // Some are asked for by all, at the same time; the others by one client alone.
        let users: Vec<_> = (1..=REQUESTS_EACH)
            .map(|n| if n % 2 == 0 { n } else { client_number * step + n })
            .collect();
        for users in users.chunks(16) {
            let requests: Vec<Request> =
                users.iter().map(|user| get_user((*user).into(), &user.to_string())).collect();
            client.send(&requests);
            for user in users {
                receive_user(&mut client, *user);
            }
        }
    };
    thread::scope(|scope| {
        for client_number in 0..CLIENTS {
            scope.spawn(move || ask(client_number));
        }
    });
    eventually("(requests, failed)", (u64::from(CLIENTS * REQUESTS_EACH), 0), || {
        let now = server.stats.snapshot();
        (now.requests, now.failed)
    });
});
