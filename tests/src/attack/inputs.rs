//! Random and mutated bytes for the data port.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Done;
use crate::{
    clock::now_ns,
    random::Random,
    raw::{Connection, Ended, Frame, SESSION_PATH, opcode, upgrade_request},
};

/// The proxy waits ten seconds for a request's head and two for the end of a connection.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// One input after the other.
pub(super) async fn endless(proxy: SocketAddr, number: u64, done: Arc<Done>) {
    let mut seed = now_ns().wrapping_add(number << 32);
    loop {
        seed = seed.wrapping_add(1);
        let mut inputs = Inputs::of(seed);
        if let Ok(connection) = Connection::dial(proxy).await {
            let open = done.opened();
            send(connection, inputs.next(), inputs.is_impatient()).await;
            done.answered.fetch_add(1, Ordering::Relaxed);
            drop(open);
        }
    }
}

/// Sends the input, and reads to the end of what comes back; or resets at once.
///
/// # Panics
/// When the proxy does not end the connection.
pub async fn send(mut client: Connection, input: Vec<u8>, reset: bool) {
    // The proxy may have had enough of it before its end.
    let _ = client.send_bytes(input).await;
    if reset {
        return client.reset();
    }
    let _ = client.try_shutdown().await;
    let (_, ended) = client.rest(ENDS_WITHIN).await;
    assert!(matches!(ended, Ended::Eof | Ended::Reset));
}

/// The inputs of a seed.
#[derive(Debug)]
pub struct Inputs(Random);

impl Inputs {
    /// The sequence of `seed`; seeds beside each other have nothing in common.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.below(2);
        Self(random)
    }

    /// Whether the sender of the last one resets the connection at once.
    pub fn is_impatient(&mut self) -> bool {
        self.0.below(4) == 0
    }

    /// The next one.
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> Vec<u8> {
        let handshake = upgrade_request(SESSION_PATH, "proxy", &[]).into_bytes();
        match self.0.below(7) {
            0 => self.bytes(2000),
            1 => self.mutated(handshake),
            2 => [handshake, self.bytes(500)].concat(),
            3 => [handshake, self.frames()].concat(),
            4 => {
                let request = self.plain();
                self.mutated(request)
            }
            5 => [self.plain(), self.plain(), self.bytes(100)].concat(),
            _ => {
                let frames = self.frames();
                [handshake, self.mutated(frames)].concat()
            }
        }
    }

    fn bytes(&mut self, at_most: u64) -> Vec<u8> {
        (0..self.0.below(at_most)).map(|_| self.0.below(256) as u8).collect()
    }

    /// A plain request with any framing, good or bad.
    fn plain(&mut self) -> Vec<u8> {
        const FRAMINGS: [&str; 6] = [
            "\r\n",
            "Content-Length: 5\r\n\r\nhello",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5;x=\"y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
            "X: 1\r\n folded\r\n\r\n",
        ];
        const METHODS: [&str; 4] = ["GET", "POST", "CONNECT", "PRI"];
        let (method, framing) = (METHODS[self.0.below(4) as usize], FRAMINGS[self.0.below(6) as usize]);
        format!("{method} /plain HTTP/1.1\r\nHost: proxy\r\n{framing}").into_bytes()
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
        let count = 1 + self.0.below(8);
        let frames = (0..count).map(|_| {
            let opcode = OPCODES[self.0.below(8) as usize];
            let payload = match opcode {
                opcode::CLOSE => [&[0x03, 0xE8][..], b"bye"].concat(),
                opcode::PING | opcode::PONG => self.bytes(126),
                _ => self.bytes(300),
            };
            let fin = opcode > 2 || self.0.below(4) > 0;
            let key = [self.0.below(256) as u8; 4];
            Frame { fin, ..Frame::new(opcode, payload) }.encode(Some(key))
        });
        frames.collect::<Vec<_>>().concat()
    }

    /// A few bytes changed, put in or taken out, or the end cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.0.below(4) {
            let at = self.0.below(bytes.len() as u64 + 1) as usize;
            let byte = self.0.below(256) as u8;
            match self.0.below(4) {
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
