//! Two attempts beside each other, over real sockets.

use std::time::Duration;

use servers::grpc::generated::helloworld::HelloRequest;
use tonic::Code;

use crate::scripted::{Does, Scripted};
use crate::{in_time, patient};

fn request() -> HelloRequest {
    HelloRequest { name: "you".to_owned() }
}

#[tokio::test]
async fn the_first_answer_wins_and_the_other_attempt_is_cancelled() {
    let server = Scripted::start(Does::Answers);
    server.first(1, Does::Hangs);
    let (mut client, _) = server.client(patient().hedge_after(Duration::from_millis(20)));
    let reply = in_time(client.say_hello(request())).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello you");
    assert_eq!(server.reached(), 2);
    server.has_given_up(1).await;
}

#[tokio::test]
async fn there_is_none_unless_it_is_asked_for_and_paid_for() {
    let timeout = Duration::from_millis(300);
    let server = Scripted::start(Does::Hangs);
    let (mut plain, _) = server.client(patient().timeout(timeout));
    let hedged = patient().timeout(timeout).hedge_after(Duration::from_millis(20));
    let (mut unpaid, _) = server.client(hedged.budget(5, 0));
    for (calls, client) in [(1, &mut plain), (2, &mut unpaid)] {
        let status = in_time(client.say_hello(request())).await.unwrap_err();
        assert_eq!((status.code(), server.reached()), (Code::DeadlineExceeded, calls));
    }
}
