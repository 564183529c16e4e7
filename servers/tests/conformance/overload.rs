//! More connections than the server was told to serve: exactly so many are, and one more hears
//! why not. Room that is left is given to the next.

use common::Code;

use crate::client::Client;
use crate::server::{Server, eventually};

const CONNECTIONS_MAX: usize = 4;

for_every_model!(one_more_connection_than_allowed_is_told_so, |model| {
    let server =
        model.start_for(CONNECTIONS_MAX, |config| config.connections_max = CONNECTIONS_MAX);
    let mut inside = served(&server);
    for refused in 1..=3 {
        let mut client = server.connect();
        client.receive_error(0, Code::ResourceExhausted);
        client.receive_eof();
        eventually("refused", refused, || server.stats.snapshot().refused);
    }
    for client in &mut inside {
        client.echoes(2, b"still served");
    }
    drop(inside.pop());
    eventually("open connections", 3, || server.stats.snapshot().open);
    server.connect().echoes(3, b"room again");
    assert_eq!(server.stats.snapshot().accepted, CONNECTIONS_MAX as u64 + 1);
});

for_every_model!(whoever_speaks_first_is_told_so_too, |model| {
    let server =
        model.start_for(CONNECTIONS_MAX, |config| config.connections_max = CONNECTIONS_MAX);
    let _served = served(&server);
    for id in 1..=50 {
        let mut client = server.connect();
        let _ = client.try_send(&[crate::client::echo(id, b"may I?")]);
        client.receive_error(0, Code::ResourceExhausted);
    }
    assert_eq!(server.stats.snapshot().refused, 50);
});

fn served(server: &Server) -> Vec<Client> {
    (0..CONNECTIONS_MAX as u64)
        .map(|id| {
            let mut client = server.connect();
            client.echoes(id, b"served");
            client
        })
        .collect()
}
