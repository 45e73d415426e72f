//! What holds after every step, whatever happened. It knows only what the peers said and heard, and does not know what
//! the engine should have decided.

use std::sync::Arc;

use tideover_protocol::session::{AttachRequest, Config, Counters};

use super::operation::{BUFFER, MAX_MESSAGE};
use super::world::World;

/// A message over the ring's bound that had begun, the message on its way to the client, what waits there, what is held
/// for a barrier, and partly used chunks both ways.
const MOST_BUFFERED: usize = BUFFER + 2 * MAX_MESSAGE + 64 * 1024 + BUFFER + MAX_MESSAGE + 6 * 64 * 1024;

#[derive(Debug)]
pub(crate) struct Judge {
    config: Arc<Config>,
    /// What the client heard: how many messages are compared, and where the last was found: leg, and message behind it.
    heard: (usize, usize, usize),
    legs: Vec<Leg>,
}

/// The client's messages on one leg.
#[derive(Debug, Default)]
struct Leg {
    /// How many are compared.
    read: usize,
    /// Index, among what the client said, behind the last.
    next: usize,
    /// While so many messages have gone missing and no more, there may be no gap. `None` if gaps are there already.
    gaps: Option<u64>,
}

/// Messages that no leg may be given any more.
fn gaps(counters: &Counters) -> u64 {
    counters.dropped + counters.expired + counters.poisoned + counters.evicted + counters.slid
}

impl Judge {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, heard: (0, 0, 0), legs: vec![Leg { gaps: Some(0), ..Leg::default() }] }
    }

    /// A new leg, as its handshake described it.
    pub(crate) fn begin_leg(world: &mut World, request: &AttachRequest) {
        let counters = world.session.counters();
        // What is dropped may have been behind what is retained.
        let holes = counters.dropped + counters.poisoned > 0;
        let first = counters.received - world.session.retained() as u64;
        if request.explicit && !holes {
            assert_eq!(request.next_seq, Some(first + 1), "the session protocol names the first message of a leg");
        }
        let next = if holes { counters.forgotten } else { first } as usize;
        world.judge.legs.push(Leg { read: 0, next, gaps: (!holes).then(|| gaps(counters)) });
    }

    /// Seq of the last message that the backend read.
    pub(crate) fn read_seq(&self) -> u64 {
        self.legs.last().map_or(0, |leg| leg.next as u64)
    }

    pub(crate) fn look(world: &mut World) {
        Self::look_at_books(world);
        Self::look_at_client(world);
        Self::look_at_backend(world);
    }

    /// Laws 5 and 8.
    fn look_at_books(world: &World) {
        let World { session, client, over, .. } = world;
        let c = session.counters();
        let out = c.slid + c.dropped + c.abandoned + c.expired + c.poisoned;
        let accounted = c.forgotten + session.retained() as u64 + out;
        assert_eq!(c.received, accounted, "law 8: the accounts balance: {c:?}");
        assert!(c.received <= client.said.messages.len() as u64, "law 8: more is received than was said");
        assert!(session.unacknowledged() <= session.retained());
        let buffered = session.buffered();
        assert!(buffered <= MOST_BUFFERED, "law 5: {buffered} bytes");
        if *over {
            assert_eq!((session.retained(), buffered), (0, 0), "law 5: an ended session holds nothing: {session:?}");
            assert_eq!(session.poll_timeout(), None, "law 6: an ended session waits for nothing");
        }
    }

    /// Laws 3 and 7: the client hears whole messages of the backends, each once at most, in the order of the legs.
    fn look_at_client(world: &mut World) {
        let World { client, legs, judge, session, .. } = world;
        let (mut heard, mut leg, mut next) = judge.heard;
        for message in &client.heard.messages[heard..] {
            let found = loop {
                let Some(said) = legs.get(leg).map(|leg| &leg.said.messages) else { break false };
                match said[next..].iter().position(|said| said == message) {
                    Some(skipped) => {
                        next += skipped + 1;
                        break true;
                    }
                    None => (leg, next) = (leg + 1, 0),
                }
            };
            assert!(found, "laws 3 and 7: the client heard what no backend said to it now: {message:?}");
            heard += 1;
        }
        judge.heard = (heard, leg, next);
        assert!(heard as u64 <= session.counters().passed, "law 8: more is heard than was passed");
        let plain = !judge.config.dedupe_replies && judge.config.greeting == 0;
        assert!(!plain || session.counters().swallowed == 0, "nothing is swallowed that is not to be");
    }

    /// Laws 1 and 2: a leg is given the client's messages from the first that is retained, in order, each once, as they
    /// came; and what is forgotten was read by somebody.
    fn look_at_backend(world: &mut World) {
        let (gaps, forgotten) = (gaps(world.counters()), world.counters().forgotten);
        let World { client, legs, judge, .. } = world;
        let (Some(leg), Some(peer)) = (judge.legs.last_mut(), legs.last()) else { return };
        for message in &peer.heard.messages[leg.read..] {
            let rest = client.said.messages.get(leg.next..).unwrap_or_default();
            let skipped = rest.iter().position(|said| said == message);
            let Some(skipped) = skipped else {
                panic!("law 2: a backend is given what the client did not say, or not then: {message:?}, {leg:?}");
            };
            assert!(skipped == 0 || leg.gaps != Some(gaps), "law 2: a gap of {skipped} messages on a leg");
            leg.next += skipped + 1;
            leg.read += 1;
        }
        let furthest = judge.legs.iter().map(|leg| leg.next as u64).max().unwrap_or(0);
        let ended = world.over;
        assert!(ended || forgotten <= furthest, "law 1: {forgotten} are forgotten, {furthest} were read");
    }
}
