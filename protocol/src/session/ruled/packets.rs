//! Messages cut anew, where a protocol's packets do not respect their borders.

use crate::rules::{BadPacket, Packets as Cutter};

/// What came of packets that are not whole, of either side.
#[derive(Debug)]
pub(super) struct Packets {
    client: Vec<u8>,
    backend: Vec<u8>,
    /// Longest packet.
    most: usize,
}

impl Packets {
    pub(super) fn new(most: usize) -> Self {
        Self { client: Vec::new(), backend: Vec::new(), most }
    }

    pub(super) fn allocated(&self) -> usize {
        self.client.capacity() + self.backend.capacity()
    }

    pub(super) fn is_backend_inside(&self) -> bool {
        !self.backend.is_empty()
    }

    pub(super) fn end_leg(&mut self) {
        self.backend = Vec::new();
    }

    /// The packets that are whole by these bytes.
    pub(super) fn cut(
        &mut self,
        from_client: bool,
        bytes: &[u8],
        cutter: &dyn Cutter,
    ) -> Result<Vec<Vec<u8>>, BadPacket> {
        let rest = if from_client { &mut self.client } else { &mut self.backend };
        rest.extend_from_slice(bytes);
        let (mut packets, mut at) = (Vec::new(), 0);
        while at < rest.len() {
            let Some(len) = cutter.len(&rest[at..])? else { break };
            if len == 0 || len > self.most {
                return Err(BadPacket);
            }
            let Some(packet) = rest.get(at..at + len) else { break };
            packets.push(packet.to_vec());
            at += len;
        }
        rest.drain(..at);
        if rest.is_empty() {
            *rest = Vec::new();
        }
        // No header is so long that this much of a packet does not tell its length.
        if rest.len() > self.most { Err(BadPacket) } else { Ok(packets) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet is as long as its first byte says, which counts itself.
    #[derive(Debug)]
    struct Counted;

    impl Cutter for Counted {
        fn len(&self, bytes: &[u8]) -> Result<Option<usize>, BadPacket> {
            if bytes[0] == 0 { Err(BadPacket) } else { Ok(Some(usize::from(bytes[0]))) }
        }
    }

    #[test]
    fn packets_are_the_same_however_they_come() {
        let bytes = [1, 3, 7, 7, 2, 9, 4, 1, 2, 3];
        for grain in 1..=bytes.len() {
            let mut packets = Packets::new(10);
            let cut = bytes.chunks(grain).flat_map(|piece| packets.cut(true, piece, &Counted).unwrap());
            let cut: Vec<_> = cut.collect();
            assert_eq!(cut, [&[1][..], &[3, 7, 7], &[2, 9], &[4, 1, 2, 3]], "in pieces of {grain}");
            assert_eq!(packets.allocated(), 0);
        }
    }

    #[test]
    fn what_is_no_packet_or_too_long_is_refused() {
        assert_eq!(Packets::new(10).cut(true, &[1, 0], &Counted), Err(BadPacket));
        assert_eq!(Packets::new(10).cut(true, &[11], &Counted), Err(BadPacket));
    }
}
