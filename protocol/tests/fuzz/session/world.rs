//! The engine between its peers, and a driver that keeps its contract.

use std::sync::Arc;
use std::time::Duration;

use tideover_protocol::session::{
    Action, AttachFailure, AttachRequest, Budgets, Counters, Epoch, Event, Gather, Isolation, Session, Side, Verdict,
    Weight,
};
use tideover_protocol::time::Instant;
use tideover_replay_store::Reservation;

use super::judge::Judge;
use super::operation::{End, Grain, Scenario, Traits};
use super::peer::Peer;

/// Of the process, each way.
const MEMORY: usize = 256 * 1024;
/// A driver that turns more often at one point in time spins.
const MOST_TURNS: usize = 500_000;

pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) client: Peer,
    /// One a leg.
    pub(crate) legs: Vec<Peer>,
    pub(crate) asked: Option<Epoch>,
    pub(crate) mute_asked: Option<Epoch>,
    pub(crate) dialling: Option<AttachRequest>,
    /// The session is ending.
    pub(crate) ending: bool,
    pub(crate) over: bool,
    pub(crate) budgets: Budgets,
    pub(crate) hogs: [Reservation; 2],
    pub(crate) judge: Judge,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let config = Arc::new(scenario.settings.config());
        let budgets = Budgets::new(2 * MEMORY);
        let now = Instant::from_origin(Duration::from_secs(1));
        let traits = scenario.first.get(false);
        Self {
            session: Session::new(config.clone(), &budgets, [7; 16], now, traits),
            now,
            client: Peer::client(),
            legs: vec![Peer::backend(traits)],
            asked: None,
            mute_asked: None,
            dialling: None,
            ending: false,
            over: false,
            hogs: [Reservation::new(budgets.upstream.clone()), Reservation::new(budgets.downstream.clone())],
            budgets,
            judge: Judge::new(config),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.session.counters()
    }

    pub(crate) fn leg(&mut self) -> &mut Peer {
        self.legs.last_mut().expect("a first leg")
    }

    pub(crate) fn peer(&mut self, end: End) -> &mut Peer {
        match end {
            End::Client => &mut self.client,
            End::Backend => self.leg(),
        }
    }

    // The driver.

    /// One turn; returns whether anything moved.
    pub(crate) fn turn(&mut self) -> bool {
        let mut moved = self.look_at_clock();
        moved |= !self.over && self.session.wants_memory() && self.session.handle_memory(self.now);
        moved |= self.read_backend();
        moved |= self.read_client();
        if self.session.isolation() == Isolation::Waiting {
            self.session.handle_turn(self.session.epoch());
        }
        moved |= self.write(End::Backend, &[]);
        moved |= self.write(End::Client, &[]);
        self.act();
        moved
    }

    pub(crate) fn rest(&mut self) {
        for _ in 0..MOST_TURNS {
            if !self.turn() {
                return;
            }
        }
        panic!("law 6: the session spins: {:?}", self.session);
    }

    /// Lets `time` pass, stopping at every deadline on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.rest();
        while let Some(next) = self.session.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.rest();
        }
        self.now = until;
        self.rest();
    }

    fn look_at_clock(&mut self) -> bool {
        if self.session.poll_timeout().is_none_or(|at| at > self.now) {
            return false;
        }
        self.session.handle_timeout(self.now);
        self.act();
        assert!(self.session.poll_timeout().is_none_or(|at| at > self.now), "law 6: a deadline that does not move");
        true
    }

    fn read_backend(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Backend) {
            return false;
        }
        let (now, epoch) = (self.now, self.session.epoch());
        let leg = self.leg();
        let data = leg.readable();
        if data.is_empty() {
            let news = leg.gone && !std::mem::replace(&mut leg.gone_told, true);
            if news {
                self.session.handle_end_of_stream(now, Side::Backend, epoch);
                self.act();
            }
            return news;
        }
        let passed = self.session.handle_backend_data(now, epoch, &data);
        assert!(passed.consumed <= data.len() && passed.direct.end <= passed.consumed);
        self.leg().take(passed.consumed);
        if !passed.direct.is_empty() {
            self.write(End::Client, &data[passed.direct]);
        }
        self.act();
        passed.consumed > 0
    }

    fn read_client(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Client) {
            return false;
        }
        let data = self.client.readable();
        if data.is_empty() {
            let news = self.client.gone && !std::mem::replace(&mut self.client.gone_told, true);
            if news {
                self.session.handle_end_of_stream(self.now, Side::Client, 0);
                self.act();
            }
            return news;
        }
        let consumed = self.session.handle_client_data(self.now, &data);
        self.client.take(consumed);
        self.act();
        consumed > 0
    }

    /// Writes what there is for a peer and, behind it, what came `direct` from the other.
    fn write(&mut self, to: End, direct: &[u8]) -> bool {
        if self.over {
            return false;
        }
        let side = side(to);
        let peer = self.peer(to);
        if peer.broken && !std::mem::replace(&mut peer.broken_told, true) {
            self.session.handle_write_error(self.now, side);
            if !direct.is_empty() {
                return true;
            }
        }
        let peer = match to {
            End::Client => &mut self.client,
            End::Backend => self.legs.last_mut().expect("a first leg"),
        };
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, side, &mut out);
        out.push(direct);
        let (gathered, written) = (out.len(), peer.write(&out));
        self.session.handle_written(self.now, side, written, direct);
        if written < gathered {
            self.session.handle_blocked(self.now, side);
        }
        if direct.is_empty() {
            self.act();
        }
        written > 0
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert!(!self.over, "law 3: {action:?} behind the end");
            match action {
                Action::Attach(request) => self.dialling = Some(request),
                Action::Ask { epoch, .. } => self.asked = Some(epoch),
                Action::Mute(epoch) => self.mute_asked = Some(epoch),
                Action::Retire { farewell } => self.hang_up(farewell.as_ref().map(|frame| frame.as_bytes())),
                Action::Event(Event::Ending(_)) => self.ending = true,
                Action::Prepare(_) | Action::Adopt | Action::Discard => {
                    panic!("law 10: {action:?}, and nobody said so")
                }
                Action::Event(_) | Action::AnswersPings(_) | Action::Order(..) | Action::Poisoned(_) => {}
                Action::End { farewell } => {
                    self.hang_up(farewell.as_ref().map(|frame| frame.as_bytes()));
                    self.over = true;
                }
            }
        }
        Judge::look(self);
    }

    fn hang_up(&mut self, farewell: Option<&[u8]>) {
        if let Some(frame) = farewell {
            self.leg().hear(frame);
            assert!(self.leg().heard.is_closed(), "law 3: a farewell is a Close");
        }
    }

    // What the world answers.

    pub(crate) fn verdict(&mut self, dying: bool) {
        let verdict = if dying { Verdict::Dying } else { Verdict::Healthy };
        if let Some(epoch) = self.asked.take() {
            self.session.handle_verdict(self.now, epoch, verdict, Weight::WHOLE);
        }
    }

    pub(crate) fn mute(&mut self) {
        if let Some(epoch) = self.mute_asked.take() {
            self.session.handle_mute(epoch);
        }
    }

    pub(crate) fn attach(&mut self, traits: Traits) {
        let Some(request) = self.dialling.take() else { return };
        let traits = traits.get(request.explicit);
        // A session that has ended while it was dialled for does not want the leg.
        let Some(epoch) = self.session.handle_attached(self.now, traits) else { return };
        assert_eq!(epoch, request.epoch, "the handshake named another epoch");
        self.legs.push(Peer::backend(traits));
        assert_eq!(epoch as usize, self.legs.len());
        Judge::begin_leg(self, &request);
    }

    pub(crate) fn attach_failed(&mut self, denied: bool) {
        if self.dialling.take().is_some() {
            let failure = if denied { AttachFailure::Denied } else { AttachFailure::Failed };
            self.session.handle_attach_failed(self.now, failure);
        }
    }

    /// Bytes of the leg before: nothing may come of them.
    pub(crate) fn haunt(&mut self, bytes: &[u8]) {
        let epoch = self.session.epoch() - 1;
        if epoch == 0 || self.over {
            return;
        }
        let passed = self.session.handle_backend_data(self.now, epoch, bytes);
        assert_eq!((passed.consumed, passed.direct), (bytes.len(), 0..0), "law 7: a dead leg's bytes are passed on");
        self.session.handle_end_of_stream(self.now, Side::Backend, epoch);
        self.session.handle_verdict(self.now, epoch, Verdict::Dying, Weight::NONE);
        self.session.handle_mute(epoch);
    }

    /// All is well, and the client leaves: the session comes to its end.
    pub(crate) fn settle(&mut self) {
        self.hogs.iter_mut().for_each(|hog| hog.shrink(0));
        self.client.gone = true;
        for _ in 0..300 {
            if self.over {
                break;
            }
            self.client.heal();
            self.leg().heal();
            self.pass(Duration::from_secs(1));
            self.verdict(true);
            self.mute();
            self.attach(Traits::plain());
            let seq = self.judge.read_seq();
            self.leg().pong(true);
            self.leg().acknowledge_properly(seq);
        }
        assert!(self.over, "law 8: a session opened is a session ended: {:?}", self.session);
        let (up, down) = (&self.budgets.upstream, &self.budgets.downstream);
        let held = (up.used(), down.used(), up.waiting(), down.waiting());
        assert_eq!(held, (0, 0, 0, 0), "law 5: all memory is given back");
    }

    /// As fast as it goes.
    pub(crate) fn widen(&mut self) {
        for end in [End::Client, End::Backend] {
            let peer = self.peer(end);
            if peer.grain.bytes() < 100 {
                peer.grain = Grain::Hundred;
            }
        }
    }
}

pub(crate) fn side(end: End) -> Side {
    match end {
        End::Client => Side::Client,
        End::Backend => Side::Backend,
    }
}
