//! The scanner and the header parser against tungstenite's, and against themselves where the input comes in pieces.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use tideover_protocol::close::CloseCode;
use tideover_protocol::frame::{FrameError, FrameHeader, Opcode};
use tideover_protocol::scan::{MessageLimits, Scanner, Sender, Step};
use tungstenite::protocol::frame::FrameHeader as Theirs;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const LIMITS: MessageLimits = MessageLimits { bytes: 100_000, frames: 1_000 };

fn their_opcode(opcode: Opcode) -> OpCode {
    match opcode {
        Opcode::Continuation => OpCode::Data(Data::Continue),
        Opcode::Text => OpCode::Data(Data::Text),
        Opcode::Binary => OpCode::Data(Data::Binary),
        Opcode::Close => OpCode::Control(Control::Close),
        Opcode::Ping => OpCode::Control(Control::Ping),
        Opcode::Pong => OpCode::Control(Control::Pong),
    }
}

/// Bytes that begin like a frame: mostly legal first bytes, every form of length, and what may follow.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![3 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x42, 0xC0, 0xC9]), 1 => any::<u8>()];
    let length = prop_oneof![any::<u8>(), prop::sample::select(vec![125, 126, 127, 0xFE, 0xFF])];
    let zeros = prop_oneof![Just(0_usize), 1..8_usize];
    (first, length, zeros, vec(any::<u8>(), 0..13)).prop_map(|(first, second, zeros, mut rest)| {
        rest.iter_mut().take(zeros).for_each(|byte| *byte = 0);
        [&[first, second][..], &rest].concat()
    })
}

/// What a run of a scanner amounts to, however its input was cut.
#[derive(Debug, PartialEq)]
enum Seen {
    Header {
        bytes: Vec<u8>,
        begins: bool,
        ends: bool,
    },
    Payload {
        bytes: Vec<u8>,
        ends_message: bool,
    },
    Control(u8, Vec<u8>),
    /// Of two errors in one frame, pieces may show the other one first; the answer is the same.
    Error(CloseCode),
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    payload: Vec<u8>,
}

impl Log {
    /// Scans `input`; returns whether more may follow.
    fn scan(&mut self, scanner: &mut Scanner, mut input: &[u8]) -> bool {
        loop {
            let before = input;
            match scanner.step(&mut input) {
                Ok(Step::Starved) => return true,
                Ok(Step::Announced(header)) => {
                    let bytes = header.as_bytes().to_vec();
                    self.seen.push(Seen::Header { bytes, begins: header.begins, ends: header.ends });
                    scanner.admit();
                }
                Ok(Step::Payload { len, ends_message, to_come }) => {
                    self.payload.extend_from_slice(&before[..len]);
                    if to_come == 0 {
                        let bytes = std::mem::take(&mut self.payload);
                        self.seen.push(Seen::Payload { bytes, ends_message });
                    }
                }
                Ok(Step::Ping(payload)) => self.seen.push(Seen::Control(9, payload.as_bytes().to_vec())),
                Ok(Step::Pong(payload)) => self.seen.push(Seen::Control(10, payload.as_bytes().to_vec())),
                Ok(Step::Close(payload)) => self.seen.push(Seen::Control(8, payload.as_bytes().to_vec())),
                Err(error) => {
                    self.seen.push(Seen::Error(error.close_code()));
                    return false;
                }
            }
        }
    }
}

/// A frame of a client, nearly always a legal one.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        4 => prop::sample::select(vec![0x81_u8, 0x82, 0xC1, 0xC2]),
        4 => prop::sample::select(vec![0x01_u8, 0x80, 0x00, 0x41]),
        4 => prop::sample::select(vec![0x89_u8, 0x8A]),
        1 => Just(0x88),
    ];
    let length = prop_oneof![4 => 0..20_usize, 1 => 120..130_usize, 1 => 65_530..65_540_usize];
    (first, length, any::<[u8; 4]>(), prop::bool::weighted(0.97)).prop_map(|(first, length, key, masked)| {
        let length = if first & 8 == 0 { length } else { length.min(125) };
        let mut bytes = vec![first];
        let bit = if masked { 0x80 } else { 0 };
        match length {
            0..=125 => bytes.push(bit | length as u8),
            126..=0xFFFF => bytes.extend([&[bit | 126][..], &(length as u16).to_be_bytes()].concat()),
            _ => bytes.extend([&[bit | 127][..], &(length as u64).to_be_bytes()].concat()),
        }
        bytes.extend(key);
        // A Close is valid if its payload unmasks to a code and text.
        let text = [&[0x03, 0xE8][..], &[b'x'; 123]].concat();
        bytes.extend((0..length).map(|at| text.get(at).unwrap_or(&b'y') ^ key[at % 4]));
        bytes
    })
}

/// Frames of which nearly all have the opcode that is legal where they stand.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec((frame(), prop::bool::weighted(0.97)), 1..12).prop_map(|frames| {
        let mut open = false;
        let legal = frames.into_iter().map(|(mut frame, legal)| {
            if frame[0] & 8 == 0 {
                let opcode = if open { 0 } else { (frame[0] & 0x4F).max(1) };
                frame[0] = if legal { frame[0] & 0x80 | opcode } else { frame[0] };
                open = frame[0] & 0x80 == 0;
            }
            frame
        });
        legal.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_is_read_as_tungstenite_reads_it(bytes in header_bytes()) {
        let mut cursor = Cursor::new(&bytes[..]);
        let theirs = Theirs::parse(&mut cursor);
        match FrameHeader::parse(&bytes) {
            Ok(Some(ours)) => {
                let (header, payload) = theirs.expect("legal").expect("complete");
                prop_assert_eq!((ours.fin, ours.mask, ours.payload), (header.is_final, header.mask, payload));
                prop_assert_eq!(their_opcode(ours.opcode), header.opcode);
                prop_assert_eq!(ours.len as u64, cursor.position());
                prop_assert!(header.rsv1 == ours.compressed && !(header.rsv2 || header.rsv3));
                prop_assert!(!ours.compressed || matches!(ours.opcode, Opcode::Text | Opcode::Binary));
            }
            Ok(None) => prop_assert!(matches!(theirs, Ok(None))),
            Err(FrameError::Opcode(bits)) => {
                prop_assert!(matches!(bits, 3..=7 | 11..=15));
                prop_assert!(!matches!(theirs, Ok(Some(_))));
            }
            // tungstenite judges these later, or not at all: it takes lengths that are not minimal or reach 2^63.
            Err(
                FrameError::ReservedBits
                | FrameError::FragmentedControl
                | FrameError::LongControl
                | FrameError::NonMinimalLength
                | FrameError::HugeLength,
            ) => {}
            Err(other) => prop_assert!(false, "not to be seen in one header: {other}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn input_cut_anywhere_is_scanned_the_same(
        frames in frames(),
        cuts in vec(1..40_usize, 1..20),
        deflate in prop::bool::weighted(0.8),
    ) {
        let input = frames.concat();
        let mut whole = Log::default();
        let mut scanner = Scanner::new(Sender::Client, LIMITS).with_deflate(deflate);
        let mut pieces = Log::default();
        whole.scan(&mut scanner.afresh(), &input);
        let (mut rest, mut cuts) = (&input[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().expect("a cycle")).min(rest.len()));
            rest = later;
            if !pieces.scan(&mut scanner, now) {
                break;
            }
        }
        prop_assert_eq!(&pieces.seen, &whole.seen);
        prop_assert!(pieces.payload == whole.payload);
    }

    #[test]
    fn a_run_of_whole_messages_is_what_the_steps_say(frames in frames(), cut in 0..1000_usize) {
        let input = frames.concat();
        let input = &input[..input.len() - cut.min(input.len())];
        let mut scanner = Scanner::new(Sender::Client, LIMITS).with_deflate(true);
        let (len, count) = scanner.whole_messages(input, usize::MAX);
        let mut log = Log::default();
        prop_assert!(log.scan(&mut scanner, &input[..len]));
        prop_assert!(scanner.is_between_messages());
        let whole = |pair: &[Seen]| {
            matches!(pair, [Seen::Header { begins: true, ends: true, .. }, Seen::Payload { ends_message: true, .. }])
        };
        prop_assert!(log.seen.len() == 2 * count && log.seen.chunks(2).all(whole));
        let mut rest = Log::default();
        rest.scan(&mut scanner, &input[len..]);
        prop_assert!(!rest.seen.get(..2).is_some_and(whole), "the run stopped too early");
    }
}
