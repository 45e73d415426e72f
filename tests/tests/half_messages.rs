//! Must be shown, 6: a backend dies in the middle of what it says, and the client never sees half a message, nor two
//! interleaved. The complete ones before are delivered, and the session goes on with another backend.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    backend::{Kill, What},
    lock::{machine_alone, machine_shared},
    raw::{Connection, Death, Ended, Frame, Stage, opcode},
};

const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1 << 20;

/// A backend says `whole` and `part` in one go and dies, once by an end of stream and once by a reset. The client must
/// get exactly `whole`, and then what the next backend says.
async fn dies_behind(whole: &[Frame], part: &[u8]) {
    let _machine = machine_shared();
    for death in [Death::Eof, Death::Reset] {
        let mut stage = Stage::start(2, &[]).await;
        let (mut client, mut first) = stage.session().await;
        client.send(&Frame::text("question")).await.expect("sent");
        assert_eq!(first.frame().await.as_text(), "question");

        let said = whole.iter().flat_map(|frame| frame.encode(None)).chain(part.iter().copied());
        first.connection.send_bytes(said.collect::<Vec<_>>()).await.expect("sent");
        for frame in whole {
            assert_eq!(client.next_answering_pings(SOON).await.as_ref(), Ok(frame), "{death:?}");
        }
        // A backend's last bytes and its end may come in one go: nothing here waits for the part to be read.
        stage.dies(first, death).await;

        let mut second = stage.next_leg().await;
        assert_eq!(second.frame().await.as_text(), "question", "the question was not acknowledged");
        second.connection.send(&Frame::text("answer")).await.expect("sent");
        assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::text("answer")), "{death:?}");
        nothing_but_a_good_end(client, second.echo()).await;
    }
}

/// Closes and asserts that nothing but the echoed Close comes.
async fn nothing_but_a_good_end(mut client: Connection, backend: tokio::task::JoinHandle<Vec<Frame>>) {
    let close = Frame::close(1000, "enough");
    client.send(&close).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(close));
    client.shutdown().await;
    assert_eq!(client.rest(SOON).await, (Vec::new(), Ended::Eof));
    backend.await.expect("the backend sees the end");
}

fn binary(len: usize, byte: u8) -> Frame {
    Frame::new(opcode::BINARY, vec![byte; len])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_large_frame() {
    let frame = binary(MIB, 1).encode(None);
    dies_behind(&[Frame::text("whole")], &frame[..MIB / 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_last_byte_of_a_large_frame() {
    let frame = binary(MIB, 1).encode(None);
    dies_behind(&[], &frame[..frame.len() - 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_header() {
    let frame = binary(MIB, 1).encode(None);
    for header_bytes in [1, 2, 5, 10] {
        dies_behind(&[Frame::text("whole")], &frame[..header_bytes]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_fragments_of_a_message() {
    dies_behind(&[Frame::text("whole")], &Frame::text("half").unfinished().encode(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_a_fragment_that_follows_another_and_a_ping() {
    let first = binary(MIB / 2, 1).unfinished().encode(None);
    let ping = Frame::new(opcode::PING, "between").encode(None);
    let second = Frame::new(opcode::CONTINUATION, vec![1; MIB / 2]).encode(None);
    dies_behind(&[], &[&first, &ping, &second[..MIB / 4]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_several_messages_in_one_segment() {
    let whole = [Frame::text("one"), Frame::text(""), binary(70_000, 3), binary(10, 4)];
    dies_behind(&whole, &Frame::text("half a message").encode(None)[..7]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_its_close() {
    dies_behind(&[Frame::text("whole")], &Frame::close(4001, "cut off").encode(None)[..5]).await;
}

/// A real process, killed while large echoes are on their way to a client that reads slowly: each message that comes
/// is whole and of one piece, and all come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_half_echo() {
    const MESSAGES: u8 = 64;
    let _machine = machine_alone();
    let mut backends = [Kind::Rust; 2].map(Backend::start);
    let proxy = Proxy::start(&backends, &["--buffer-bytes", "8MiB"]);
    let mut client = Connection::client(proxy.address(), "/echo", &[]).await;
    let mut writer = client.writer();
    let writing = tokio::spawn(async move {
        for number in 1..=MESSAGES {
            writer.send(&binary(MIB, number)).await.expect("sent");
        }
    });
    let mut last = 0;
    let mut kills: Vec<(usize, Kill)> = Vec::new();
    while last < MESSAGES {
        let frame = client.next(SOON).await.expect("no end");
        if frame.opcode != opcode::BINARY {
            assert_eq!(frame.opcode, opcode::PING, "only pings come between the messages");
            continue;
        }
        let number = frame.payload[0];
        assert_eq!(frame, binary(MIB, number), "a message of one piece");
        assert!(number <= last + 1, "{number} overtakes what is behind {last}");
        last = last.max(number);
        match kills.last() {
            None => {
                let busy = usize::from(opened_after(&backends[1], 0));
                kills.push((busy, backends[busy].kill()));
            }
            // What was killed comes back only when its session has moved: a probe must not find it alive before.
            Some(&(away, kill)) if opened_after(&backends[1 - away], kill.at) => {
                backends[away].restart();
                kills.push((1 - away, backends[1 - away].kill()));
            }
            Some(_) => {}
        }
    }
    assert!(kills.len() > 1, "{kills:?}");
    writing.await.expect("all is sent");
}

fn opened_after(backend: &Backend, time: u64) -> bool {
    backend.events().iter().any(|event| event.at > time && matches!(event.what, What::Open(_)))
}
