//! Target `frames`: any bytes, cut anywhere, through the scanner, against the reference.

use arbitrary::{Arbitrary, Unstructured};
use tideover_protocol::scan::{MessageLimits, Scanner, Sender, Step};
use tungstenite::protocol::frame::coding::Control;

use crate::reference::Reference;

/// How the bytes behind it are sent and scanned.
#[derive(Debug, Arbitrary)]
struct Setting {
    client: bool,
    max_message: u16,
    /// Sizes of the pieces, over and over.
    cuts: [u8; 3],
}

/// What a scanner made of its input.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    messages: Vec<Vec<u8>>,
    /// Frames of the message that is not whole.
    open: Vec<u8>,
    controls: Vec<(Control, Vec<u8>)>,
    broken: Option<u16>,
    between_messages: bool,
}

/// Panics where the scanner and the reference see different things in `data`, or the scanner in its pieces.
pub(crate) fn check(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok(setting) = Setting::arbitrary(&mut unstructured) else { return };
    let bytes = unstructured.take_rest();
    let sender = if setting.client { Sender::Client } else { Sender::Server };
    // Bounds of frames from 1 to 16, as few inputs have more.
    let limits = MessageLimits { bytes: setting.max_message.into(), frames: 1 + u32::from(setting.max_message) % 16 };

    let deflate = setting.cuts[2] % 2 == 1;
    let scanner = || Scanner::new(sender, limits).with_deflate(deflate);

    let whole = scan(scanner(), [bytes]);
    let pieces = scan(scanner(), cut(bytes, setting.cuts));
    assert_eq!(whole, pieces, "input cut anywhere is scanned the same");

    let mut reference = Reference::new(setting.client, limits, deflate);
    reference.feed(bytes);
    assert_eq!(whole.broken, reference.broken, "what breaks the protocol, and the code that answers it");
    assert_eq!(whole.messages, reference.messages);
    assert_eq!(whole.controls, reference.controls);
    assert!(whole.broken.is_some() || whole.between_messages == reference.is_between_messages());
    check_run(&scanner(), bytes, &reference);
}

/// The quick way over whole messages goes just as far as the first frame that is anything else.
fn check_run(scanner: &Scanner, bytes: &[u8], reference: &Reference) {
    let (len, count) = scanner.whole_messages(bytes, usize::MAX);
    assert_eq!(bytes[..len], reference.messages[..count].concat(), "a run of whole messages");
    let rest = &bytes[len..];
    let next = reference.messages.get(count);
    let stops_early = next.is_some_and(|next| next[0] & 0x80 != 0 && rest.starts_with(next));
    assert!(!stops_early, "the run stopped before a whole message");
}

fn cut(mut bytes: &[u8], cuts: [u8; 3]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(*cut) + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn scan<'a>(mut scanner: Scanner, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut heard = Heard::default();
    for piece in pieces {
        let mut rest = piece;
        while heard.broken.is_none() {
            let before = rest;
            match scanner.step(&mut rest) {
                Ok(Step::Starved) => break,
                Ok(Step::Announced(header)) => {
                    assert_eq!(header.begins, heard.open.is_empty());
                    heard.open.extend_from_slice(header.as_bytes());
                    scanner.admit();
                }
                Ok(Step::Payload { len, ends_message, .. }) => {
                    heard.open.extend_from_slice(&before[..len]);
                    if ends_message {
                        heard.messages.push(std::mem::take(&mut heard.open));
                    }
                }
                Ok(Step::Ping(payload)) => heard.controls.push((Control::Ping, payload.as_bytes().to_vec())),
                Ok(Step::Pong(payload)) => heard.controls.push((Control::Pong, payload.as_bytes().to_vec())),
                Ok(Step::Close(payload)) => heard.controls.push((Control::Close, payload.as_bytes().to_vec())),
                Err(error) => heard.broken = Some(error.close_code().get()),
            }
        }
    }
    heard.between_messages = heard.broken.is_none() && scanner.is_between_messages();
    heard
}
