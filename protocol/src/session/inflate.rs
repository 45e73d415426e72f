//! What compressed messages say (RFC 7692 7.2.2), for the few cases where something depends on it. Messages pass as
//! they came; nothing here is on their way.

use flate2::{Decompress, FlushDecompress, Status};

/// What the sender leaves out at the end of each message (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Content is looked at in pieces of so many bytes.
const PIECE: usize = 8 << 10;

/// Inflates a message that refers to none before it. `payload` gives it in pieces, `take` gets its content in others.
/// About 48 KiB of memory are needed meanwhile.
///
/// Returns whether that was all: not if the payload is no DEFLATE, if it says itself that it ends (BFINAL, which next
/// to nobody sends), or if its content is longer than `limit` bytes.
pub(super) fn inflate(limit: usize, payload: impl FnOnce(&mut dyn FnMut(&[u8])), mut take: impl FnMut(&[u8])) -> bool {
    let mut inflater = Inflater { state: Decompress::new(false), left: limit };
    let mut whole = true;
    let mut next = |bytes: &[u8]| whole = whole && inflater.inflate(bytes, &mut take);
    payload(&mut next);
    next(&TAIL);
    whole
}

struct Inflater {
    state: Decompress,
    /// Bytes of content that may still come.
    left: usize,
}

impl Inflater {
    fn inflate(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> bool {
        let mut content = [0; PIECE];
        loop {
            let before = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, &mut content, FlushDecompress::None);
            let used = (self.state.total_in() - before.0) as usize;
            let made = (self.state.total_out() - before.1) as usize;
            bytes = &bytes[used..];
            let Some(left) = self.left.checked_sub(made) else { return false };
            self.left = left;
            take(&content[..made]);
            match status {
                Ok(Status::StreamEnd) | Err(_) => return false,
                Ok(Status::Ok | Status::BufError) if used + made == 0 => return bytes.is_empty(),
                Ok(Status::Ok | Status::BufError) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(limit: usize, pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let payload = |take: &mut dyn FnMut(&[u8])| pieces.iter().for_each(|piece| take(piece));
        inflate(limit, payload, |piece| content.extend_from_slice(piece)).then_some(content)
    }

    /// "Hello" as RFC 7692 7.2.3.1 compresses it.
    const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

    #[test]
    fn the_examples_of_the_rfc_say_hello() {
        let stored: &[u8] = &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
        let two_blocks: &[u8] = &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
        for payload in [&HELLO[..], stored, two_blocks] {
            assert_eq!(inflated(5, &[payload]).unwrap(), b"Hello");
        }
        assert_eq!(inflated(5, &[&[0x00]]).unwrap(), b"", "an empty message (7.2.3.6)");
    }

    #[test]
    fn a_payload_may_come_in_any_pieces() {
        let pieces: Vec<&[u8]> = HELLO.chunks(1).collect();
        assert_eq!(inflated(5, &pieces).unwrap(), b"Hello");
        assert_eq!(inflated(5, &[&[], &HELLO[..3], &[], &HELLO[3..]]).unwrap(), b"Hello");
    }

    #[test]
    fn what_is_not_deflate_or_too_long_or_ends_itself_is_not_all() {
        assert_eq!(inflated(4, &[&HELLO]), None);
        assert_eq!(inflated(100, &[b"Hello"]), None);
        let ends_itself: &[u8] = &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
        assert_eq!(inflated(100, &[ends_itself]), None, "7.2.3.4");
    }

    #[test]
    fn more_than_a_piece_comes_whole() {
        let mut state = flate2::Compress::new(flate2::Compression::best(), false);
        let content: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        let mut payload = Vec::with_capacity(100_000);
        state.compress_vec(&content, &mut payload, flate2::FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - TAIL.len());
        assert!(payload.len() < 10_000 && inflated(100_000, &[&payload]).unwrap() == content);
        assert_eq!(inflated(99_999, &[&payload]), None);
    }
}
