//! A byte queue that is addressed by rising offsets and gives its memory back as it is released.

use std::collections::VecDeque;

/// Capacity of the largest chunk, in bytes; also the most that a log may hold beyond its live bytes at either end.
pub const CHUNK_MAX: usize = 64 * 1024;
/// Capacity of the smallest chunk, in bytes.
const CHUNK_MIN: usize = 512;

#[derive(Debug)]
struct Chunk {
    /// Offset of the first byte.
    start: u64,
    /// Bytes it holds or, once released, held.
    len: usize,
    /// Empty once released.
    data: Vec<u8>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

/// Bytes between two offsets, appended at the end and released mostly at the front, never moved in between.
///
/// An empty log owns no memory. Otherwise it owns its live bytes and at most two partly used chunks.
#[derive(Debug, Default)]
pub struct ByteLog {
    chunks: VecDeque<Chunk>,
    /// Offset behind the last byte.
    end: u64,
    /// Capacity of all chunks.
    allocated: usize,
}

impl ByteLog {
    /// Offset behind the last byte, where the next one goes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory held by the chunks.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.allocated
    }

    /// Appends `bytes`. `expected` is how many more bytes the caller knows will follow, so that one chunk may serve.
    pub fn append(&mut self, mut bytes: &[u8], expected: usize) {
        while !bytes.is_empty() {
            let room = self.chunks.back().map_or(0, |last| last.data.capacity() - last.data.len());
            if room == 0 {
                self.grow(bytes.len() + expected);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if let Some(last) = self.chunks.back_mut() {
                last.data.extend_from_slice(now);
                last.len += now.len();
            }
            self.end += now.len() as u64;
            bytes = later;
        }
    }

    fn grow(&mut self, wanted: usize) {
        let live = self.chunks.front().map_or(0, |first| (self.end - first.start) as usize);
        let capacity = wanted.max(live).clamp(CHUNK_MIN, CHUNK_MAX).next_power_of_two();
        let data = Vec::with_capacity(capacity);
        self.allocated += data.capacity();
        self.chunks.push_back(Chunk { start: self.end, len: 0, data });
    }

    /// Releases everything before `offset`.
    pub fn release_before(&mut self, offset: u64) {
        if offset >= self.end {
            self.chunks = VecDeque::new();
            self.allocated = 0;
            return;
        }
        while self.chunks.front().is_some_and(|first| first.end() <= offset) {
            if let Some(first) = self.chunks.pop_front() {
                self.allocated -= first.data.capacity();
            }
        }
    }

    /// Releases the chunks that lie wholly within `from..to`; their offsets stay taken.
    pub fn release_within(&mut self, from: u64, to: u64) {
        let first = self.chunks.partition_point(|chunk| chunk.start < from);
        // The last chunk is still appended to, so it stays.
        let inner = self.chunks.len().saturating_sub(1);
        for chunk in self.chunks.range_mut(first.min(inner)..inner).take_while(|chunk| chunk.end() <= to) {
            self.allocated -= chunk.data.capacity();
            chunk.data = Vec::new();
        }
    }

    /// Takes back what was appended from `offset` on.
    pub fn truncate(&mut self, offset: u64) {
        while let Some(last) = self.chunks.back_mut() {
            if last.start >= offset {
                self.allocated -= last.data.capacity();
                self.chunks.pop_back();
                continue;
            }
            if last.end() > offset {
                last.len = (offset - last.start) as usize;
                last.data.truncate(last.len);
            }
            break;
        }
        self.end = self.end.min(offset);
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// The bytes of `from..to`, in order, as the pieces they are stored in. What was released is left out.
    pub fn slices(&self, from: u64, to: u64) -> impl Iterator<Item = &[u8]> {
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        self.chunks.range(first..).take_while(move |chunk| chunk.start < to).map(move |chunk| {
            let start = from.saturating_sub(chunk.start) as usize;
            let end = chunk.len.min((to - chunk.start) as usize);
            chunk.data.get(start..end).unwrap_or_default()
        })
    }

    /// Copies bytes from `from` on into `out`, up to the first that is released; returns how many there were.
    pub fn peek(&self, from: u64, out: &mut [u8]) -> usize {
        let mut filled = 0;
        let slices = self.slices(from, self.end.min(from + out.len() as u64));
        for slice in slices.take_while(|slice| !slice.is_empty()) {
            out[filled..filled + slice.len()].copy_from_slice(slice);
            filled += slice.len();
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(log: &ByteLog, from: u64, to: u64) -> Vec<u8> {
        log.slices(from, to).flatten().copied().collect()
    }

    #[test]
    fn an_empty_log_owns_no_memory() {
        let mut log = ByteLog::default();
        log.append(&[7; 100_000], 0);
        log.release_before(100_000);
        assert_eq!((log.allocated(), log.chunks.capacity()), (0, 0));
        log.append(b"abc", 0);
        assert_eq!(bytes(&log, 100_000, 100_003), b"abc");
        log.truncate(100_000);
        assert_eq!((log.end(), log.allocated(), log.chunks.capacity()), (100_000, 0, 0));
    }

    #[test]
    fn what_is_not_released_reads_back_unchanged() {
        let mut log = ByteLog::default();
        let text: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        for part in text.chunks(777) {
            log.append(part, 0);
        }
        log.release_before(150_001);
        log.truncate(299_000);
        assert_eq!(bytes(&log, 150_001, 299_000), text[150_001..299_000]);
        assert!(log.allocated() <= 299_000 - 150_001 + 2 * CHUNK_MAX);
        let mut head = [0; 14];
        assert_eq!(log.peek(298_990, &mut head), 10);
        assert_eq!(head[..10], text[298_990..299_000]);
    }

    #[test]
    fn memory_in_the_middle_is_given_back_too() {
        let mut log = ByteLog::default();
        log.append(&vec![1; 40 * CHUNK_MAX], 0);
        let before = log.allocated();
        log.release_within(10, 30 * CHUNK_MAX as u64);
        assert!(log.allocated() <= before - 28 * CHUNK_MAX);
        assert_eq!(bytes(&log, 0, 10), [1; 10]);
        let edge = log.chunks[0].end();
        assert_eq!(log.peek(edge - 4, &mut [0; 14]), 4, "a look ahead stops at what is released");
        assert_eq!(bytes(&log, 31 * CHUNK_MAX as u64, 40 * CHUNK_MAX as u64).len(), 9 * CHUNK_MAX);
    }
}
