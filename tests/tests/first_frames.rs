//! Bytes that come right behind a handshake, before anyone had the time to say that it may begin.

use std::time::Duration;

use tideover_tests::{
    Proxy,
    lock::machine_shared,
    raw::{Connection, Frame, RawBackend, accept_response, upgrade_request},
};

const SOON: Duration = Duration::from_secs(10);

/// Must be shown, 8: a framework that greets writes its greeting with its 101, so it comes in the same segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_backends_first_frame_in_the_segment_of_its_101_is_not_lost() {
    let _machine = machine_shared();
    let backend = RawBackend::bind().await;
    let proxy = Proxy::before([backend.address()], &[]);
    let address = proxy.address();
    let client = tokio::spawn(async move { Connection::client(address, "/", &[]).await });
    let mut served = backend.connection(SOON).await;
    let request = served.head(SOON).await.expect("a request");
    let mut segment = accept_response(request.header("Sec-WebSocket-Key").expect("a key"), &[]).into_bytes();
    segment.extend(Frame::text("greeting").encode(None));
    served.send_bytes(&segment).await.expect("sent");
    served.send(&Frame::text("second")).await.expect("sent");

    let mut client = client.await.expect("the handshake");
    for expected in ["greeting", "second"] {
        assert_eq!(client.next_answering_pings(SOON).await.expect("a frame").as_text(), expected);
    }
}

/// Must be shown, 8: no well-behaved client sends before it has read the 101, but a proxy in front of it may have
/// gathered its bytes, and what was read past the request's head must not be thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_first_frame_right_behind_its_handshake_is_not_lost() {
    let _machine = machine_shared();
    let backend = RawBackend::bind().await;
    let proxy = Proxy::before([backend.address()], &[]);
    let mut client = Connection::dial(proxy.address()).await.expect("connected");
    let mut segment = upgrade_request("/", &proxy.address().to_string(), &[]).into_bytes();
    segment.extend(Frame::text("early").encode(client.key()));
    client.send_bytes(&segment).await.expect("sent");

    let mut served = backend.session(SOON).await;
    assert_eq!(served.next_answering_pings(SOON).await.expect("a frame").as_text(), "early");
    assert_eq!(client.head(SOON).await.expect("a response").status(), 101);
    client.send(&Frame::text("second")).await.expect("sent");
    assert_eq!(served.next_answering_pings(SOON).await.expect("a frame").as_text(), "second");
}
