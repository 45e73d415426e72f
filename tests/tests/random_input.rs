//! Must be shown, 9: thousands of random and mutated inputs on the data port. The proxy stays up, loses no descriptor,
//! and an honest session beside them is unharmed.

use std::time::Duration;

use tideover_tests::{
    clock::now_ns,
    deadline::eventually,
    lock::machine_alone,
    raw::{Connection, Ended, Frame, SESSION_PATH, Stage, opcode, upgrade_request},
};

mod honest;
use honest::Honest;

const INPUTS: u64 = 20_000;
/// How many are on their way at once.
const AT_ONCE: u64 = 16;
/// The proxy waits ten seconds for a request's head and two for the end of a connection.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_input_harms_nobody() {
    let _machine = machine_alone();
    let seed = std::env::var("TIDEOVER_TEST_SEED").map_or_else(|_| now_ns(), |seed| seed.parse().expect("a number"));
    eprintln!("TIDEOVER_TEST_SEED={seed}");
    let mut stage =
        Stage::start(2, &["--max-message-bytes", "64KiB", "--close-timeout", "1s", "--http", "reject"]).await;
    let honest = Honest::begin(&stage).await;
    let before = stage.proxy.descriptors();
    let address = stage.proxy.address();
    let senders = (0..AT_ONCE).map(|sender| {
        tokio::spawn(async move {
            for number in (sender..INPUTS).step_by(AT_ONCE as usize) {
                let mut random = Random::new(seed.wrapping_add(number));
                let client = Connection::dial(address).await.expect("the port accepts");
                send(client, random.input(), random.below(4) == 0).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    stage
        .echoing_while(async {
            for sender in senders {
                sender.await.expect("every connection ends");
            }
        })
        .await;
    honest.end(&stage).await;
    let leaked = "the descriptors of all these connections are closed";
    eventually(ENDS_WITHIN, leaked, || stage.proxy.descriptors() <= before).await;
    assert!(stage.proxy.is_running());
}

/// Sends the input, and reads to the end of what comes back; or resets at once.
async fn send(mut client: Connection, input: Vec<u8>, reset: bool) {
    // The proxy may have had enough of it before its end.
    let _ = client.send_bytes(input).await;
    if reset {
        return client.reset();
    }
    let _ = client.try_shutdown().await;
    let (_, ended) = client.rest(ENDS_WITHIN).await;
    assert!(matches!(ended, Ended::Eof | Ended::Reset));
}

/// Knuth's MMIX generator, of which the high bits are the good ones.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.below(2);
        random
    }

    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn bytes(&mut self, at_most: u64) -> Vec<u8> {
        (0..self.below(at_most)).map(|_| self.below(256) as u8).collect()
    }

    fn input(&mut self) -> Vec<u8> {
        let handshake = upgrade_request(SESSION_PATH, "proxy", &[]).into_bytes();
        match self.below(5) {
            0 => self.bytes(2000),
            1 => self.mutated(handshake),
            2 => [handshake, self.bytes(500)].concat(),
            3 => [handshake, self.frames()].concat(),
            _ => {
                let frames = self.frames();
                [handshake, self.mutated(frames)].concat()
            }
        }
    }

    /// Frames that are good by themselves; their order need not be.
    fn frames(&mut self) -> Vec<u8> {
        const OPCODES: [u8; 8] = [
            opcode::TEXT,
            opcode::TEXT,
            opcode::BINARY,
            opcode::BINARY,
            opcode::CONTINUATION,
            opcode::PING,
            opcode::PONG,
            opcode::CLOSE,
        ];
        let count = 1 + self.below(8);
        let frames = (0..count).map(|_| {
            let opcode = OPCODES[self.below(8) as usize];
            let payload = match opcode {
                opcode::CLOSE => [&[0x03, 0xE8][..], b"bye"].concat(),
                opcode::PING | opcode::PONG => self.bytes(126),
                _ => self.bytes(300),
            };
            let fin = opcode > 2 || self.below(4) > 0;
            let key = [self.below(256) as u8; 4];
            Frame { fin, ..Frame::new(opcode, payload) }.encode(Some(key))
        });
        frames.collect::<Vec<_>>().concat()
    }

    /// A few bytes changed, put in or taken out, or the end cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() as u64 + 1) as usize;
            let byte = self.below(256) as u8;
            match self.below(4) {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    }
}
