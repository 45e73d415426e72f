//! One session with its client and its backends, and a driver that does in one thread and on a virtual clock what the
//! proxy's driver does on sockets.

mod peer;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use tideover_protocol::frame::ControlFrame;
use tideover_protocol::session::{
    AckCarrier, Action, AttachFailure, AttachRequest, BackendTraits, Budgets, Config, EndReason, Epoch, Event, Gather,
    Isolation, Linger, OnMigrateTimeout, Poisoned, PongOrder, Session, Side, Verdict, Weight,
};
use tideover_protocol::time::Instant;

pub(crate) use peer::Peer;

/// Turns after which a world that does not come to rest is taken to be spinning.
const MAX_TURNS: usize = 1_000_000;
const SEED: [u8; 16] = [7; 16];

pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) client: Peer,
    /// One a leg: that of epoch 1 is the first.
    pub(crate) backends: Vec<Peer>,
    /// What is told to the operator.
    pub(crate) events: Vec<Event>,
    /// Questions about backends that are not answered yet.
    pub(crate) asked: Vec<(Epoch, bool)>,
    /// What every question is answered with; `None` leaves it open.
    pub(crate) verdict: Option<Verdict>,
    /// How much each death says against a message that has its turn.
    pub(crate) weight: Weight,
    /// Whether a message in isolation that waits for its turn gets it at once.
    pub(crate) gives_turns: bool,
    /// Whether the session waits for the outcome of a dial.
    pub(crate) dialling: bool,
    /// How many times it has dialled.
    pub(crate) dials: usize,
    /// Whether a dial succeeds at once; `None` leaves it open.
    pub(crate) dial_succeeds: Option<bool>,
    /// Epochs about which it was asked whether their backend answers no pings.
    pub(crate) mutes: Vec<Epoch>,
    /// Whether a session that is to be moved waits for the outcome of a dial.
    pub(crate) preparing: bool,
    /// Whether such a dial succeeds at once; `None` leaves it open.
    pub(crate) prepare_succeeds: Option<bool>,
    /// The backend of the leg that a session is to be moved to.
    pub(crate) prepared: Option<Peer>,
    /// Legs that were prepared and not wanted any more.
    pub(crate) discarded: usize,
    /// What each leg that was asked for must be.
    pub(crate) requests: Vec<AttachRequest>,
    /// What was learned of the order of pongs and answers.
    pub(crate) orders: Vec<PongOrder>,
    /// The messages set aside.
    pub(crate) poisoned: Vec<Poisoned>,
    /// What is known of each backend that is attached.
    pub(crate) traits: BackendTraits,
    /// The session has ended.
    pub(crate) over: bool,
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    /// A world with the default configuration.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::sharing(&Budgets::new(1 << 30), configure)
    }

    pub(crate) fn sharing(budgets: &Budgets, configure: impl FnOnce(&mut Config)) -> Self {
        Self::build(SEED, budgets, BackendTraits::default(), configure)
    }

    /// A world whose backends speak the session protocol.
    pub(crate) fn speaking(carrier: AckCarrier, configure: impl FnOnce(&mut Config)) -> Self {
        let traits = BackendTraits { carrier: Some(carrier), ..BackendTraits::default() };
        Self::build(SEED, &Budgets::new(1 << 30), traits, configure)
    }

    /// A world whose backends agreed to permessage-deflate with the client.
    pub(crate) fn deflating(traits: BackendTraits, configure: impl FnOnce(&mut Config)) -> Self {
        let traits = BackendTraits { deflate: true, ..traits };
        let mut world = Self::build(SEED, &Budgets::new(1 << 30), traits, configure);
        world.client.ear.deflate = true;
        world.backend().ear.deflate = true;
        world
    }

    /// The same, with other random numbers.
    pub(crate) fn seeded(seed: u8, configure: impl FnOnce(&mut Config)) -> Self {
        Self::build([seed; 16], &Budgets::new(1 << 30), BackendTraits::default(), configure)
    }

    fn build(seed: [u8; 16], budgets: &Budgets, traits: BackendTraits, configure: impl FnOnce(&mut Config)) -> Self {
        // The plain relay. Stories of lingering and de-duplication switch them on.
        let linger = Linger::For(Duration::ZERO);
        let mut config = Config { ack_linger: linger, dedupe_replies: false, ..Config::default() };
        configure(&mut config);
        let now = Instant::from_origin(seconds(1));
        Self {
            session: Session::new(Arc::new(config), budgets, seed, now, traits),
            now,
            client: Peer::client(),
            backends: vec![Peer::backend()],
            events: Vec::new(),
            asked: Vec::new(),
            verdict: None,
            weight: Weight::WHOLE,
            gives_turns: true,
            dialling: false,
            dials: 0,
            dial_succeeds: Some(true),
            mutes: Vec::new(),
            preparing: false,
            prepare_succeeds: Some(true),
            prepared: None,
            discarded: 0,
            requests: Vec::new(),
            orders: Vec::new(),
            poisoned: Vec::new(),
            traits,
            over: false,
        }
    }

    // The story's vocabulary.

    /// The backend of the latest leg.
    pub(crate) fn backend(&mut self) -> &mut Peer {
        self.backends.last_mut().expect("a first leg")
    }

    /// The client says it, and everything comes to rest.
    pub(crate) fn say(&mut self, message: &str) {
        self.client.say(message);
        self.run();
    }

    /// The backend's process is killed: nothing it has not sent is sent.
    pub(crate) fn kill_backend(&mut self) {
        self.backend().vanish();
        self.run();
    }

    pub(crate) fn answer(&mut self, verdict: Verdict) {
        let (epoch, _) = self.asked.remove(0);
        self.session.handle_verdict(self.now, epoch, verdict, self.weight);
        self.run();
    }

    pub(crate) fn attach(&mut self) {
        self.attach_to(Peer::backend());
    }

    pub(crate) fn attach_to(&mut self, backend: Peer) {
        self.connect(backend);
        self.run();
    }

    fn connect(&mut self, backend: Peer) {
        assert!(std::mem::take(&mut self.dialling), "nobody asked for a leg");
        if let Some(epoch) = self.session.handle_attached(self.now, self.traits) {
            self.backends.push(backend);
            assert_eq!(epoch as usize, self.backends.len());
        }
    }

    /// The session is to be moved to another backend.
    pub(crate) fn migrate(&mut self) {
        self.session.migrate(self.now, OnMigrateTimeout::FailOver).expect("it can be moved");
        self.run();
    }

    /// The other backend is there.
    pub(crate) fn prepare(&mut self) {
        assert!(std::mem::take(&mut self.preparing), "nobody asked for another backend");
        if self.session.handle_prepared(self.now, self.traits) {
            self.prepared = Some(Peer::backend());
        }
        self.act();
        self.run();
    }

    /// The other backend is not to be had.
    pub(crate) fn fail_to_prepare(&mut self) {
        assert!(std::mem::take(&mut self.preparing), "nobody asked for another backend");
        self.session.handle_prepare_failed();
        self.run();
    }

    pub(crate) fn fail_to_attach(&mut self, failure: AttachFailure) {
        assert!(std::mem::take(&mut self.dialling), "nobody asked for a leg");
        self.session.handle_attach_failed(self.now, failure);
        self.run();
    }

    /// Lets `time` pass, stopping at every deadline on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.run();
        while let Some(next) = self.session.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.run();
        }
        self.now = until;
        self.run();
    }

    pub(crate) fn reason(&self) -> Option<EndReason> {
        self.events.iter().find_map(|event| if let Event::Ending(reason) = event { Some(*reason) } else { None })
    }

    // The driver.

    /// Turns until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..MAX_TURNS {
            if !self.turn() {
                return;
            }
        }
        panic!("the world spins: {:?}", self.session);
    }

    /// One turn of the driver and of the peers; returns whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let mut moved = false;
        if self.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.session.handle_timeout(self.now);
            moved = true;
        }
        moved |= self.session.wants_memory() && self.session.handle_memory(self.now);
        moved |= self.read_backend();
        moved |= self.read_client();
        if self.gives_turns && self.session.isolation() == Isolation::Waiting {
            self.session.handle_turn(self.session.epoch());
        }
        moved |= self.write_backend();
        moved |= self.write_client(&[]);
        moved |= self.act();
        self.check();
        moved |= self.client.react();
        for backend in &mut self.backends {
            moved |= backend.react();
        }
        moved
    }

    fn read_backend(&mut self) -> bool {
        let epoch = self.session.epoch();
        if self.over || !self.session.wants_read(Side::Backend) {
            return false;
        }
        let data = self.backend().readable().to_vec();
        if data.is_empty() {
            let backend = self.backend();
            if !backend.gone || backend.gone_told {
                return false;
            }
            backend.gone_told = true;
            self.session.handle_end_of_stream(self.now, Side::Backend, epoch);
            return true;
        }
        let passed = self.session.handle_backend_data(self.now, epoch, &data);
        assert!(passed.consumed <= data.len() && passed.direct.end <= passed.consumed);
        self.backend().take(passed.consumed);
        if !passed.direct.is_empty() {
            self.write_client(&data[passed.direct]);
        }
        passed.consumed > 0
    }

    fn read_client(&mut self) -> bool {
        if self.over || !self.session.wants_read(Side::Client) {
            return false;
        }
        let data = self.client.readable().to_vec();
        if data.is_empty() {
            let told = std::mem::replace(&mut self.client.gone_told, self.client.gone);
            if self.client.gone && !told {
                self.session.handle_end_of_stream(self.now, Side::Client, 0);
            }
            return self.client.gone && !told;
        }
        let consumed = self.session.handle_client_data(self.now, &data);
        self.client.take(consumed);
        consumed > 0
    }

    /// Writes what there is, and behind it what came `direct` from the backend.
    fn write_client(&mut self, direct: &[u8]) -> bool {
        if self.over {
            return false;
        }
        if self.client.broken && !std::mem::replace(&mut self.client.broken_told, true) {
            self.session.handle_write_error(self.now, Side::Client);
        }
        let mut out = Gather::new();
        self.session.poll_transmit(self.now, Side::Client, &mut out);
        out.push(direct);
        let (gathered, written) = (out.len(), self.client.hear(&out));
        self.session.handle_written(self.now, Side::Client, written, direct);
        if written < gathered {
            self.session.handle_blocked(self.now, Side::Client);
        }
        written > 0
    }

    fn write_backend(&mut self) -> bool {
        if self.over {
            return false;
        }
        let now = self.now;
        if self.backend().broken && !std::mem::replace(&mut self.backend().broken_told, true) {
            self.session.handle_write_error(now, Side::Backend);
        }
        let mut out = Gather::new();
        self.session.poll_transmit(now, Side::Backend, &mut out);
        let backend = self.backends.last_mut().expect("a first leg");
        let (gathered, written) = (out.len(), backend.hear(&out));
        self.session.handle_written(now, Side::Backend, written, &[]);
        if written < gathered {
            self.session.handle_blocked(now, Side::Backend);
        }
        written > 0
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.session.poll_action() {
            acted = true;
            assert!(!self.over, "{action:?} behind the end");
            match action {
                Action::Attach(request) => {
                    (self.dialling, self.dials) = (true, self.dials + 1);
                    self.requests.push(request);
                }
                Action::Order(_, order) => self.orders.push(order),
                Action::Poisoned(poisoned) => self.poisoned.push(poisoned),
                Action::Ask { epoch, ended } => self.asked.push((epoch, ended)),
                Action::Mute(epoch) => self.mutes.push(epoch),
                Action::AnswersPings(_) => {}
                Action::Retire { farewell } => self.hang_up(farewell),
                Action::Prepare(request) => {
                    self.preparing = true;
                    self.requests.push(request);
                }
                Action::Adopt => {
                    let prepared = self.prepared.take().expect("a leg was prepared");
                    if self.session.handle_attached(self.now, self.traits).is_some() {
                        self.backends.push(prepared);
                    }
                }
                Action::Discard => {
                    self.preparing = false;
                    self.prepared = None;
                    self.discarded += 1;
                }
                Action::Event(event) => self.events.push(event),
                Action::End { farewell } => {
                    self.hang_up(farewell);
                    self.client.end_of_stream = true;
                    self.over = true;
                }
            }
        }
        acted | self.respond()
    }

    fn hang_up(&mut self, farewell: Option<ControlFrame>) {
        let backend = self.backend();
        if backend.end_of_stream {
            assert!(farewell.is_none(), "a farewell for a leg that is closed");
            return;
        }
        if let Some(frame) = farewell {
            backend.room = usize::MAX;
            backend.listen(frame.as_bytes());
        }
        backend.end_of_stream = true;
    }

    /// Does at once what the story has set in advance.
    fn respond(&mut self) -> bool {
        let verdict = self.verdict.filter(|_| !self.asked.is_empty());
        if let Some(verdict) = verdict {
            let (epoch, _) = self.asked.remove(0);
            self.session.handle_verdict(self.now, epoch, verdict, self.weight);
        }
        if let Some(succeeds) = self.prepare_succeeds.filter(|_| self.preparing) {
            self.preparing = false;
            if !succeeds {
                self.session.handle_prepare_failed();
            } else if self.session.handle_prepared(self.now, self.traits) {
                self.prepared = Some(Peer::backend());
            }
            return true;
        }
        match self.dial_succeeds.filter(|_| self.dialling) {
            Some(true) => self.connect(Peer::backend()),
            Some(false) => {
                self.dialling = false;
                self.session.handle_attach_failed(self.now, AttachFailure::Failed);
            }
            None => return verdict.is_some(),
        }
        true
    }

    // What holds after every turn.

    fn check(&self) {
        let c = self.session.counters();
        let out = c.slid + c.dropped + c.skipped + c.abandoned + c.expired + c.poisoned;
        let accounted = c.forgotten + self.session.retained() as u64 + out;
        assert_eq!(c.received, accounted, "the accounts balance: {c:?}");
        assert!(self.session.unacknowledged() <= self.session.retained());
        if self.over {
            assert_eq!((self.session.retained(), self.session.buffered()), (0, 0), "an ended session holds nothing");
            assert_eq!(self.session.poll_timeout(), None);
            let reads = !self.client.gone && !self.client.broken && self.client.room > 0;
            let whole = !reads || self.client.ear.is_between_messages();
            assert!(whole, "the client was left with half a message");
        }
    }
}
