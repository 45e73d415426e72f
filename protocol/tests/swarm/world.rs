//! One session with its client, its backends and its shadow, and a driver that does on a virtual clock what the
//! proxy's driver does on sockets. Whatever passes between the engine and the world, the shadow is told.

use std::sync::Arc;
use std::time::Duration;

use tideover_protocol::session::{
    Action, AttachFailure, AttachRequest, BackendTraits, Budgets, EndReason, Epoch, Event, Gather, Isolation, Loss,
    OnMigrateTimeout, PongOrder, Session, Side, Verdict, Weight,
};
use tideover_protocol::time::Instant;
use tideover_replay_store::Reservation;

use crate::backend::{Backend, Shared};
use crate::client::Client;
use crate::codec;
use crate::coverage::Met;
use crate::dice::Dice;
use crate::plan::{Answers, Plan, Pongs};
use crate::shadow::{Link, Shadow};

/// Most bytes that one call is offered.
pub(crate) const BUFFER: usize = 8 * 1024;

/// Most turns at one point in time.
const MOST_TURNS: usize = 40;

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) session: Session,
    pub(crate) shadow: Shadow,
    pub(crate) now: Instant,
    pub(crate) client: Client,
    /// One a leg.
    pub(crate) legs: Vec<Backend>,
    pub(crate) shared: Shared,
    pub(crate) asked: Option<(Epoch, bool)>,
    pub(crate) mute_asked: Option<Epoch>,
    pub(crate) dialling: Option<AttachRequest>,
    /// The session is to be moved and another backend is looked for.
    pub(crate) preparing: Option<AttachRequest>,
    /// That backend, what is known of it, and how much of what it said was offered.
    prepared: Option<(Backend, BackendTraits, usize)>,
    /// Some backend has hung: what was learned of the time that answers take is worth nothing.
    pub(crate) hung_once: bool,
    /// What is known of the order of pongs.
    order: PongOrder,
    /// It is known that backends answer no pings.
    known_mute: bool,
    /// The bytes of the current leg from here on break the protocol: so many more may be taken.
    pub(crate) breach: Option<usize>,
    pub(crate) over: bool,
    /// Tell what happens on standard error.
    pub(crate) trace: bool,
    hogs: [Reservation; 2],
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice).slowed(&mut Dice::new(!seed));
        if trace() {
            eprintln!("{plan:#?}");
        }
        let now = Instant::from_origin(Duration::from_secs(1));
        let traits = BackendTraits { carrier: plan.carrier, ..BackendTraits::default() };
        let config = Arc::new(plan.config.clone());
        let budgets = Budgets::new(2 * plan.budget);
        let mut engine_seed = [0; 16];
        engine_seed[..8].copy_from_slice(&dice.next().to_be_bytes());
        Self {
            session: Session::new(config.clone(), &budgets, engine_seed, now, traits),
            shadow: Shadow::new(config, now, traits),
            legs: vec![Backend::new(&plan, now)],
            dice,
            plan,
            now,
            client: Client::new(),
            shared: Shared::default(),
            asked: None,
            mute_asked: None,
            dialling: None,
            preparing: None,
            prepared: None,
            hung_once: false,
            order: PongOrder::Unknown,
            known_mute: false,
            breach: None,
            over: false,
            trace: trace(),
            hogs: [Reservation::new(budgets.upstream.clone()), Reservation::new(budgets.downstream.clone())],
        }
    }

    pub(crate) fn leg(&mut self) -> &mut Backend {
        self.legs.last_mut().expect("a first leg")
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.shadow.link == Link::Attached
    }

    // The driver.

    /// One turn of the driver and of the peers; returns whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let mut moved = self.look_at_clock();
        moved |= self.read_backend();
        moved |= self.read_client();
        self.give_turn();
        moved |= self.write_backend();
        moved |= self.write_client(&[]);
        self.work();
        moved
    }

    /// No other session's message in isolation is on the backend, or there may be one.
    fn give_turn(&mut self) {
        if self.over || self.session.isolation() != Isolation::Waiting {
            return;
        }
        self.shadow.coverage.meet(Met::TurnAwaited);
        if self.plan.turns > 0 && self.dice.one_in(self.plan.turns) {
            self.session.handle_turn(self.session.epoch());
            self.shadow.turn_given();
        }
    }

    /// Turns until nothing moves, or long enough.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            if !self.turn() {
                break;
            }
        }
    }

    pub(crate) fn work(&mut self) {
        let Self { legs, shared, now, .. } = self;
        let leg = legs.last_mut().expect("a first leg");
        leg.work(*now, shared);
    }

    fn look_at_clock(&mut self) -> bool {
        if self.over || self.session.poll_timeout().is_none_or(|at| at > self.now) {
            return false;
        }
        self.session.handle_timeout(self.now);
        self.shadow.time_passed(self.now);
        self.act();
        assert!(self.session.poll_timeout().is_none_or(|at| at > self.now), "law 6: a deadline that does not move");
        true
    }

    fn read_backend(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Backend) {
            return false;
        }
        let epoch = self.session.epoch();
        let leg = self.leg();
        if leg.outbox.is_empty() {
            if !leg.gone || std::mem::replace(&mut leg.gone_told, true) {
                return false;
            }
            self.session.handle_end_of_stream(self.now, Side::Backend, epoch);
            self.shadow.end_of_stream(self.now);
            self.act();
            return true;
        }
        let grain = leg.grain.min(BUFFER);
        let data = &leg.outbox.make_contiguous()[..];
        let data = data[..data.len().min(grain)].to_vec();
        let passed = self.session.handle_backend_data(self.now, epoch, &data);
        assert!(passed.consumed <= data.len() && passed.direct.end <= passed.consumed);
        self.trace(|| format!("client   < backend {}", data[..passed.consumed].escape_ascii()));
        self.leg().outbox.drain(..passed.consumed);
        self.tell_leg_took(&data[..passed.consumed]);
        if !passed.direct.is_empty() {
            self.write_client(&data[passed.direct]);
        }
        self.act();
        passed.consumed > 0
    }

    /// The shadow reads only what is well-formed.
    fn tell_leg_took(&mut self, data: &[u8]) {
        let valid = self.breach.unwrap_or(usize::MAX).min(data.len());
        self.shadow.leg_took(self.now, &data[..valid]);
        if let Some(left) = &mut self.breach {
            *left -= valid;
        }
    }

    /// The engine has come to where the backend broke the protocol, and says so.
    fn tell_breach(&mut self, event: &Event) {
        let says = matches!(event, Event::LegLost { loss: Loss::Protocol(_), .. } | Event::Ending(_));
        if says && self.breach == Some(0) {
            self.breach = None;
            self.shadow.breached(self.now);
        }
    }

    fn read_client(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Client) {
            return false;
        }
        if self.client.outbox.is_empty() {
            if !self.client.gone || std::mem::replace(&mut self.client.gone_told, true) {
                return false;
            }
            self.session.handle_end_of_stream(self.now, Side::Client, 0);
            self.shadow.client_ended(self.now);
            self.act();
            return true;
        }
        let grain = self.client.grain.min(BUFFER);
        let data = &self.client.outbox.make_contiguous()[..];
        let data = data[..data.len().min(grain)].to_vec();
        let consumed = self.session.handle_client_data(self.now, &data);
        self.trace(|| format!("client   > {}", data[..consumed].escape_ascii()));
        self.client.outbox.drain(..consumed);
        let counters = *self.session.counters();
        let actions: Vec<Action> = std::iter::from_fn(|| self.session.poll_action()).collect();
        let is_full = |action: &Action| matches!(action, Action::Event(Event::Ending(EndReason::RingFull)));
        let full = actions.iter().any(is_full);
        self.shadow.client_took(self.now, &data[..consumed], &counters, full);
        actions.into_iter().for_each(|action| self.do_action(action));
        self.act();
        consumed > 0
    }

    /// Writes what there is, and behind it what came `direct` from the backend.
    fn write_client(&mut self, direct: &[u8]) -> bool {
        if self.over {
            return false;
        }
        if self.client.broken && !std::mem::replace(&mut self.client.broken_told, true) {
            self.session.handle_write_error(self.now, Side::Client);
            self.shadow.deaf = true;
        }
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, Side::Client, &mut out);
        out.push(direct);
        let most = if self.client.broken { 0 } else { out.len().min(self.client.room).min(self.client.grain) };
        let bytes = first_bytes(&out, most);
        let gathered = out.len();
        self.session.handle_written(self.now, Side::Client, most, direct);
        if most < gathered {
            self.session.handle_blocked(self.now, Side::Client);
        }
        if most < gathered {
            self.client.blocked = Some(self.now);
        }
        self.client.room -= most.min(self.client.room);
        if most > 0 {
            self.trace(|| format!("client   < {}", bytes.escape_ascii()));
            let Self { client, shadow, dice, .. } = self;
            client.listen(&bytes, |raw| shadow.tape.read_off(raw), dice);
        }
        if direct.is_empty() {
            self.act();
        }
        most > 0
    }

    fn write_backend(&mut self) -> bool {
        if self.over || !self.is_attached() {
            return false;
        }
        let now = self.now;
        if self.leg().broken && !std::mem::replace(&mut self.leg().broken_told, true) {
            self.session.handle_write_error(now, Side::Backend);
        }
        let mut out = Gather::new();
        self.session.poll_transmit(now, Side::Backend, &mut out);
        let leg = self.legs.last_mut().expect("a first leg");
        let room = if leg.broken { 0 } else { leg.room.saturating_sub(leg.inbox.len()) };
        let most = out.len().min(room).min(leg.grain);
        let bytes = first_bytes(&out, most);
        let gathered = out.len();
        self.session.handle_written(now, Side::Backend, most, &[]);
        if most < gathered {
            self.session.handle_blocked(now, Side::Backend);
        }
        if most > 0 {
            self.trace(|| format!("         > backend {}", bytes.escape_ascii()));
            let whole = self.shadow.leg_written(now, &bytes);
            let leg = self.leg();
            leg.coming.extend(whole);
            leg.inbox.extend(&bytes);
        }
        self.act();
        most > 0
    }

    /// Does what the engine wants done, and compares the books.
    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.do_action(action);
        }
        self.trace(|| format!("retained {} unacknowledged {}", self.session.retained(), self.session.unacknowledged()));
        self.shadow.compare(&self.session);
    }

    fn do_action(&mut self, action: Action) {
        {
            assert!(!self.over, "law 3: {action:?} behind the end");
            self.trace(|| format!("{action:?}"));
            match action {
                Action::Attach(request) => {
                    self.shadow.dials(&request);
                    self.dialling = Some(request);
                }
                Action::Ask { epoch, ended } => {
                    self.shadow.asked(ended);
                    self.asked = Some((epoch, ended));
                }
                Action::Mute(epoch) => self.mute_asked = Some(epoch),
                Action::AnswersPings(_) => {}
                Action::Order(_, order) => {
                    self.order = order;
                    self.shadow.learned(order);
                }
                Action::Poisoned(poisoned) => self.shadow.poisoned(&poisoned),
                Action::Retire { farewell } => {
                    self.shadow.retired();
                    // A farewell stands at a frame border, or it would not be one.
                    if let Some(frame) = farewell {
                        assert!(frame.as_bytes()[0] == 0x88, "law 3: a farewell is a Close");
                    }
                }
                Action::Prepare(request) => {
                    self.shadow.prepares(&request);
                    if self.shadow.is_left() {
                        self.judge_left();
                    }
                    self.preparing = Some(request);
                }
                Action::Adopt => self.adopt(),
                Action::Discard => {
                    assert!(
                        self.preparing.is_some() || self.prepared.is_some(),
                        "migration: there is nothing to discard"
                    );
                    (self.preparing, self.prepared) = (None, None);
                }
                Action::Event(event) => {
                    self.tell_breach(&event);
                    self.shadow.told(event);
                }
                Action::End { .. } => {
                    self.shadow.over();
                    self.client.end_of_stream = true;
                    self.over = true;
                }
            }
        }
    }

    // What the world answers.

    pub(crate) fn answer(&mut self, verdict: Verdict) {
        let Some((epoch, _)) = self.asked.take() else { return };
        let weight = self.dice.of(self.plan.weights);
        self.session.handle_verdict(self.now, epoch, verdict, weight);
        if epoch == self.shadow.epoch {
            self.shadow.answered(self.now, verdict, weight);
        }
        self.act();
    }

    pub(crate) fn answer_mute(&mut self) {
        let Some(epoch) = self.mute_asked.take() else { return };
        if self.plan.pongs == Pongs::Never {
            self.known_mute = true;
            self.session.handle_mute(epoch);
            self.shadow.mute(epoch);
            self.act();
        }
    }

    pub(crate) fn fail_to_attach(&mut self, failure: AttachFailure) {
        if self.dialling.take().is_none() {
            return;
        }
        self.session.handle_attach_failed(self.now, failure);
        // The session may have ended while its backend was dialled.
        if self.shadow.link == Link::Dialling && !self.shadow.is_over() {
            match failure {
                AttachFailure::Denied => self.shadow.denied(),
                AttachFailure::Failed => self.shadow.dial_failed(self.now),
            }
        }
        self.act();
    }

    pub(crate) fn attach(&mut self) {
        let Some(request) = self.dialling.take() else { return };
        let traits = self.traits();
        let attached = self.session.handle_attached(self.now, traits);
        if attached.is_none() {
            assert!(self.shadow.is_over() || self.shadow.link != Link::Dialling, "law 6: a leg is refused");
            return;
        }
        self.shadow.attached(self.now, traits);
        self.breach = None;
        let mut backend = Backend::new(&self.plan, self.now);
        if let (Some(_), Some(next_seq), Some(delivered)) = (self.plan.carrier, request.next_seq, request.delivered) {
            backend.begin_session(&self.shared, next_seq, delivered, self.plan.greeting);
        }
        self.legs.push(backend);
        self.act();
    }

    // Migration.

    /// Somebody wants the session elsewhere.
    pub(crate) fn migrate(&mut self) {
        if self.over {
            return;
        }
        let on_timeout = self.dice.of(&[OnMigrateTimeout::FailOver, OnMigrateTimeout::Stay]);
        let answer = self.session.migrate(self.now, on_timeout);
        self.trace(|| format!("migrate: {answer:?}"));
        self.shadow.migrates(self.now, on_timeout, answer);
        self.act();
    }

    fn traits(&mut self) -> BackendTraits {
        let order = if self.dice.one_in(2) { self.order } else { PongOrder::Unknown };
        BackendTraits { mute: self.known_mute, order, carrier: self.plan.carrier, deflate: false }
    }

    pub(crate) fn prepare(&mut self) {
        let Some(request) = self.preparing.take() else { return };
        let traits = self.traits();
        let wanted = self.session.handle_prepared(self.now, traits);
        assert!(wanted, "migration: it asked for a leg and refuses it");
        self.shadow.prepared(self.now);
        if !self.legs.last().is_some_and(Backend::is_done) {
            self.shadow.coverage.meet(Met::PreparedWhileBusy);
        }
        let mut backend = Backend::new(&self.plan, self.now);
        if let (Some(_), Some(next_seq), Some(delivered)) = (self.plan.carrier, request.next_seq, request.delivered) {
            backend.begin_session(&self.shared, next_seq, delivered, self.plan.greeting);
        }
        self.prepared = Some((backend, traits, 0));
        self.offer_prepared();
        self.act();
    }

    pub(crate) fn fail_to_prepare(&mut self) {
        if self.preparing.take().is_none() {
            return;
        }
        self.shadow.not_prepared();
        self.session.handle_prepare_failed();
        self.act();
    }

    /// The backend that the session is to be moved to ends, with a Close or without.
    pub(crate) fn end_prepared(&mut self, closes: bool) {
        let Some((backend, ..)) = &mut self.prepared else { return };
        self.shadow.prepared_ended();
        if closes {
            backend.put(codec::FIN | codec::CLOSE, &[0x03, 0xF3]);
            self.offer_prepared();
        } else {
            self.session.handle_prepared_end();
        }
        self.act();
    }

    fn offer_prepared(&mut self) {
        let Some((backend, _, offered)) = &mut self.prepared else { return };
        let said: Vec<u8> = backend.outbox.iter().skip(*offered).copied().collect();
        *offered += said.len();
        self.session.handle_prepared_data(&said);
    }

    fn adopt(&mut self) {
        let (backend, traits, _) = self.prepared.take().expect("migration: there is nothing to adopt");
        let left = self.shadow.adopts();
        if left {
            self.judge_left();
            let Self { legs, shared, now, .. } = self;
            legs.last_mut().expect("a first leg").finish(*now, shared);
        }
        if self.session.handle_attached(self.now, traits).is_none() {
            return assert!(self.shadow.is_over(), "law 6: a leg is refused");
        }
        self.shadow.attached(self.now, traits);
        self.breach = None;
        self.legs.push(backend);
    }

    /// Law 10: a backend that is left on purpose has said all that it had to say, where that can be known.
    fn judge_left(&mut self) {
        let Self { legs, plan, shadow, hung_once, .. } = self;
        let leg = legs.last().expect("a first leg");
        let counted = matches!(plan.answers, Answers::Echo | Answers::Counter) && plan.pongs == Pongs::Early;
        let known = counted || plan.pongs == Pongs::Late;
        if known && plan.carrier.is_none() && plan.answers != Answers::Push && !*hung_once && !leg.dying && !shadow.lied
        {
            assert!(leg.is_done(), "law 10: the session leaves a backend that has more to say");
            shadow.coverage.meet(Met::LeftWhenDone);
        }
    }

    /// Lets `time` pass, stopping at every deadline of the engine and of the backend on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        for _ in 0..10_000 {
            let due = [self.session.poll_timeout(), self.leg().due()];
            let next = due.into_iter().flatten().filter(|at| *at <= until && *at > self.now).min();
            let Some(next) = next else { break };
            self.now = next;
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    /// Somebody else takes the process's memory, or gives it back.
    pub(crate) fn press(&mut self, short: bool) {
        self.shadow.short = short;
        for hog in &mut self.hogs {
            if short { hog.cover(self.plan.budget) } else { hog.shrink(0) }
        }
        if !self.over && self.session.wants_memory() {
            let _ = self.session.handle_memory(self.now);
        }
    }

    /// The engine gets bytes of a leg that has ended: nothing may come of it.
    pub(crate) fn haunt(&mut self, bytes: &[u8]) {
        let epoch = self.session.epoch();
        if epoch < 2 || self.over {
            return;
        }
        self.shadow.coverage.meet(Met::GhostBytes);
        let passed = self.session.handle_backend_data(self.now, epoch - 1, bytes);
        assert_eq!((passed.consumed, passed.direct), (bytes.len(), 0..0), "law 7: a dead leg's bytes are passed on");
        self.session.handle_end_of_stream(self.now, Side::Backend, epoch - 1);
        self.session.handle_verdict(self.now, epoch - 1, Verdict::Dying, Weight::NONE);
        self.act();
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>10?} epoch {}: {}", self.now.since_origin(), self.session.epoch(), what());
        }
    }
}

/// `TIDEOVER_SWARM_TRACE=1`: for who looks into a run that fails.
#[expect(clippy::disallowed_methods, reason = "the engine's configuration is an argument, a test's is not")]
pub(crate) fn trace() -> bool {
    std::env::var_os("TIDEOVER_SWARM_TRACE").is_some()
}

fn first_bytes(out: &Gather<'_>, most: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(most);
    for piece in out.as_slices() {
        bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
    }
    bytes
}
