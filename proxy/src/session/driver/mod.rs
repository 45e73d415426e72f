//! The task of a session: gathers what is ready, feeds it to the engine in a written order, and writes what comes out.
//!
//! A turn is: commands, dials and probe, timeouts, the backend's bytes (its pongs make room), the client's bytes, writes
//! upstream, writes downstream, actions. Turns go on while something was read, up to a slice of the worker's time, behind
//! which the session stands in line; where nothing but reading was done, the next turn only looks for more to read.
//! Half-done I/O is kept in fields; no future with data in it is ever dropped.

mod actions;
mod io;
mod migration;
mod turns;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Cx, Poll};

use tideover_protocol::rules::Kind;
use tideover_protocol::session::{AckCarrier, BackendTraits, Epoch, Session, Side};
use tideover_protocol::time::Instant;
use tideover_replay_store::Reservation;
use tokio::time::Sleep;

use super::buffer::READ_BYTES;
use super::farewell;
use super::registry::{Command, Handle, Snapshot};
use super::totals::Level;
use super::wire::Wire;
use super::{Context, Start};
use crate::edge::SessionSlot;
use crate::line::{Place, SLICE};
use crate::pool::{self, Attached, Backend, Denials, KeptHandshake, Lease, ReattachError, Route};

use migration::Moving;
use turns::Troubles;

/// Turns before other sessions of the worker get theirs, at most. A turn reads at most one buffer a leg.
const TURNS: usize = 8;
/// So many bytes in a poll, and it is looked whether its slice of the worker's time is over: fewer cannot take that long,
/// unless rules look into them.
const LOOK_FROM: usize = 4 * 1024;
/// The order of legs in an array of both.
const SIDES: [Side; 2] = [Side::Backend, Side::Client];
/// How far ahead a timer without a deadline is set.
const IDLE: std::time::Duration = std::time::Duration::from_secs(86_400);

/// What a turn did.
#[derive(Clone, Copy)]
struct Turn {
    /// How many bytes the legs brought, one for their end: more may lie there, and nothing would wake the task for it.
    came: [usize; 2],
    /// Something else happened that may lead to more.
    changed: bool,
}

impl Turn {
    /// What one must assume when the task wakes.
    const UNKNOWN: Self = Self { came: [1; 2], changed: true };
}

type Dial = Pin<Box<dyn Future<Output = Result<Attached, ReattachError>> + Send>>;
/// A question about the leg of an epoch, which comes with the answer.
type Question<T> = Pin<Box<dyn Future<Output = (Epoch, T)> + Send>>;

/// A session and its sockets.
pub(super) struct Driver {
    engine: Session,
    client: Wire,
    /// The leg of the engine's current epoch.
    backend: Option<(Wire, Lease)>,
    dial: Option<Dial>,
    /// The way to another backend, while the session is to be moved.
    moving: Option<Box<Moving>>,
    /// Whether a leg's backend is dying, and from when to when the leg lived if it has ended.
    probe: Option<Question<(pool::Verdict, Option<turns::Life>)>>,
    /// Kept since a backend died, if one did.
    troubles: Option<Box<Troubles>>,
    /// Whether a leg's backend answers pings.
    pinging: Option<Question<bool>>,
    /// The backend of the latest leg.
    last: Arc<Backend>,
    /// The backends that denied the session since its latest leg.
    denials: Denials,
    handshake: Arc<KeptHandshake>,
    /// What the handshake, and what is held of the legs, take of the process's memory.
    kept_memory: Reservation,
    /// Whether something is held of the legs.
    holds: bool,
    slot: SessionSlot,
    /// What it is known as, and to whom.
    registered: Registered,
    /// What the process's totals have of this session.
    published: Level,
    /// When the leg was lost in whose place one is looked for.
    lost: Option<Instant>,
    /// The engine's deadline when it was last asked: behind each poll. What is due at once behind a turn of the same poll
    /// is found out there.
    deadline: Option<Instant>,
    /// What the sleeping timer is set to.
    armed: Instant,
    /// Among those who have much to do.
    line: Place,
    /// How much of the worker's buffer a reading takes: what is read at once takes a slice of its time at most.
    gulp: Gulp,
    ended: bool,
}

impl Driver {
    pub(super) fn new(start: Start, context: Arc<Context>) -> Self {
        let Start { client, client_leftover, peer, route, attached, handshake, id, slot } = start;
        let traits = traits(&attached);
        let Attached { stream, leftover, lease, .. } = attached;
        let now = context.now();
        let handle = Arc::new(Handle::new(id, peer, route.clone(), lease.backend().id));
        tracing::debug!(session = %id, %peer, backend = %lease.backend().url, "session opened");
        let mut engine = Session::new(route.session.clone(), &context.budgets, seed(), now, traits);
        say_ahead(&mut engine, &route, &handshake);
        let mut kept_memory = Reservation::new(context.budgets.upstream.clone());
        kept_memory.cover(handshake.memory());
        Self {
            engine,
            client: Wire::new(client, client_leftover),
            last: lease.backend().clone(),
            backend: Some((Wire::new(stream, leftover), lease)),
            dial: None,
            moving: None,
            denials: Denials::default(),
            probe: None,
            troubles: None,
            pinging: None,
            handshake: Arc::new(handshake),
            kept_memory,
            holds: false,
            registered: Registered::new(context, handle),
            slot,
            published: Level::default(),
            lost: None,
            deadline: Some(now),
            armed: now + IDLE,
            line: Place::default(),
            gulp: Gulp::default(),
            ended: false,
        }
    }

    /// No `async fn`: that would have room for the driver twice.
    #[expect(clippy::manual_async_fn, reason = "see above")]
    pub(super) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let mut timer = pin!(tokio::time::sleep_until(self.registered.context.to_tokio(self.armed)));
            poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
            let Self { client, slot, registered, .. } = self;
            if !client.is_over() {
                farewell::close(client.into_stream(), None, (slot, registered));
            }
        }
    }

    /// Never changes: a session stays in its pool.
    fn route(&self) -> &Arc<Route> {
        &self.registered.handle.route
    }

    fn poll(&mut self, cx: &mut Cx<'_>, timer: Pin<&mut Sleep>) -> Poll<()> {
        let polled = self.poll_turns(cx, timer);
        self.publish();
        polled
    }

    fn poll_turns(&mut self, cx: &mut Cx<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        for command in self.registered.handle.poll_commands(cx) {
            self.obey(command);
            self.deadline = self.engine.poll_timeout();
        }
        if self.line.stands() {
            return Poll::Pending;
        }
        let mut now = self.registered.context.now();
        let look_from = if self.route().session.rules.is_some() { 1 } else { LOOK_FROM };
        let (mut slice, mut last) = (Slice::new(now, look_from), Turn::UNKNOWN);
        for _ in 0..TURNS {
            last =
                if last.changed { self.turn(cx, now) } else { self.read_more(cx, now, last.came.map(|came| came > 0)) };
            if self.ended {
                return Poll::Ready(());
            }
            if !last.changed && last.came == [0; 2] {
                if !self.timer_fired(cx, now, timer.as_mut()) {
                    return Poll::Pending;
                }
                (last, now) = (Turn::UNKNOWN, self.registered.context.now());
            }
            if slice.is_over(last.came, &mut self.gulp, || self.registered.context.now()) {
                break;
            }
        }
        self.deadline = self.engine.poll_timeout();
        self.line.join(cx.waker());
        Poll::Pending
    }

    fn obey(&mut self, command: Command) {
        let now = self.registered.context.now();
        match command {
            Command::Shutdown => self.engine.shutdown(now),
            Command::Close(code, reason) => self.engine.close(now, code, &reason),
            Command::FailOver { from } => {
                let on = self.backend.as_ref().map(|(_, lease)| lease.backend().id);
                if from.is_none() || from == on {
                    self.engine.fail_over(now);
                }
            }
            Command::Migrate { to, on_timeout, answer } => self.migrate(now, to, on_timeout, answer),
            // Who asked may have left.
            Command::Inspect(answer) => drop(answer.send(self.snapshot(now))),
        }
    }

    /// Adds to the process's totals what has changed since the last call.
    fn publish(&mut self) {
        let retained = self.engine.retained();
        let detached = self.backend.is_none() && !self.ended;
        if (retained, detached) != (self.published.retained, self.published.detached)
            || *self.engine.counters() != self.published.counters
        {
            let level = Level { counters: *self.engine.counters(), retained, detached };
            self.registered.context.totals.change(&self.published, &level);
            self.published = level;
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            epoch: self.engine.epoch(),
            backend: self.backend.as_ref().map(|(_, lease)| lease.backend().id),
            retained: self.engine.retained(),
            unacknowledged: self.engine.unacknowledged(),
            buffered: self.engine.buffered(),
            leg_age: self.engine.leg_age(now),
            ring: self.engine.survey_ring(now),
            counters: *self.engine.counters(),
        }
    }

    fn turn(&mut self, cx: &mut Cx<'_>, now: Instant) -> Turn {
        let mut changed =
            self.poll_dial(cx, now) | self.poll_probe(cx, now) | self.poll_pinging(cx) | self.poll_moving(cx, now);
        if changed {
            self.deadline = self.engine.poll_timeout();
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // What came in time is not late because the task is.
            changed |= self.read(cx, now, Side::Backend, READ_BYTES) > 0;
            self.engine.handle_timeout(now);
            self.deadline = None;
            changed |= self.act();
        }
        changed |= self.wait_for_memory(cx, now);
        let wanted = self.legs_wanted();
        let came = self.read_legs(cx, now, [true; 2]);
        changed |= self.write_and_act(cx, now, wanted);
        Turn { came, changed }
    }

    /// The turn behind one in which nothing happened but that bytes came: the other leg waits for its own, and unless
    /// more bytes come, everything is written and done.
    fn read_more(&mut self, cx: &mut Cx<'_>, now: Instant, legs: [bool; 2]) -> Turn {
        let memory = self.wait_for_memory(cx, now);
        let wanted = self.legs_wanted();
        let came = self.read_legs(cx, now, legs);
        let acted = (memory || came != [0; 2]) && self.write_and_act(cx, now, wanted);
        Turn { came, changed: memory || acted }
    }

    fn legs_wanted(&self) -> [bool; 2] {
        SIDES.map(|side| self.engine.wants_read(side))
    }

    fn read_legs(&mut self, cx: &mut Cx<'_>, now: Instant, legs: [bool; 2]) -> [usize; 2] {
        let mut came = [0; 2];
        for (place, side) in SIDES.into_iter().enumerate().filter(|(place, _)| legs[*place]) {
            came[place] = self.read(cx, now, side, self.gulp.bytes());
        }
        came
    }

    fn write_and_act(&mut self, cx: &mut Cx<'_>, now: Instant, wanted: [bool; 2]) -> bool {
        let turned = self.poll_turn(cx);
        self.flush(cx, now, Side::Backend);
        self.flush(cx, now, Side::Client);
        self.act() | turned | self.wants_more_than(wanted)
    }

    /// Whether a leg is to be read that was not at the reading: nothing that comes on it would wake the task. A write
    /// that made room is the usual reason.
    fn wants_more_than(&self, wanted: [bool; 2]) -> bool {
        SIDES.iter().zip(wanted).any(|(side, before)| !before && self.engine.wants_read(*side))
    }

    /// Sets the timer to the engine's deadline. It is only ever moved closer: one that fires early costs less than
    /// moving it with every message. It wakes the task from when it was last set on, so before its time there is no
    /// need to look at it.
    fn timer_fired(&mut self, cx: &mut Cx<'_>, now: Instant, mut timer: Pin<&mut Sleep>) -> bool {
        self.deadline = self.engine.poll_timeout();
        let Some(deadline) = self.deadline else { return false };
        if deadline <= now {
            return true;
        }
        if deadline < self.armed {
            self.armed = deadline;
            timer.as_mut().reset(self.registered.context.to_tokio(deadline));
        } else if now < self.armed {
            return false;
        }
        let fired = timer.as_mut().poll(cx).is_ready();
        if fired {
            self.armed = self.registered.context.now() + IDLE;
            timer.reset(self.registered.context.to_tokio(self.armed));
        }
        fired
    }

    fn wait_for_memory(&mut self, cx: &Cx<'_>, now: Instant) -> bool {
        if !self.engine.wants_memory() {
            return false;
        }
        self.engine.park(cx.waker());
        self.engine.handle_memory(now)
    }
}

/// The time of the worker that a poll of the session's task takes.
struct Slice {
    /// When it began, and when the latest look at the time was.
    began: Instant,
    looked: Instant,
    /// Bytes that came since then, and from how many on it is looked again.
    came: usize,
    look_from: usize,
}

impl Slice {
    fn new(now: Instant, look_from: usize) -> Self {
        Self { began: now, looked: now, came: 0, look_from }
    }

    /// Looks at the time if so much came that it may be over, and sees how long that took.
    fn is_over(&mut self, came: [usize; 2], gulp: &mut Gulp, clock: impl FnOnce() -> Instant) -> bool {
        self.came += came[0] + came[1];
        if self.came < self.look_from.min(gulp.bytes()) {
            return false;
        }
        let now = clock();
        gulp.learn(now.since(self.looked));
        (self.looked, self.came) = (now, 0);
        now.since(self.began) >= SLICE
    }
}

/// How much is read at once: up to the worker's whole buffer, unless what comes is so laborious that this takes too long.
#[derive(Clone, Copy, Debug)]
struct Gulp {
    halvings: u8,
}

impl Default for Gulp {
    fn default() -> Self {
        Self { halvings: Self::FIRST_HALVINGS }
    }
}

impl Gulp {
    const LEAST: usize = LOOK_FROM;
    const MOST_HALVINGS: u8 = (READ_BYTES / Self::LEAST).ilog2() as u8;
    /// Of someone who may send nothing but frames without content, little is taken until that is known.
    const FIRST_HALVINGS: u8 = (READ_BYTES / (2 * LOOK_FROM)).ilog2() as u8;

    fn bytes(self) -> usize {
        READ_BYTES >> self.halvings
    }

    fn learn(&mut self, took: std::time::Duration) {
        // One step at a time: the system may have had the processor for others meanwhile.
        if took > 2 * SLICE {
            self.halvings = (self.halvings + 1).min(Self::MOST_HALVINGS);
        } else if took <= SLICE {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }
}

/// The session's entry in the registry, until its client leg is closed or its task is dropped.
struct Registered {
    context: Arc<Context>,
    handle: Arc<Handle>,
}

impl Registered {
    fn new(context: Arc<Context>, handle: Arc<Handle>) -> Self {
        context.registry.insert(handle.clone());
        context.totals.open();
        Self { context, handle }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.context.panicked.fetch_add(1, Ordering::Relaxed);
            tracing::error!(session = %self.handle.id, "a panic ended the session");
        }
        self.context.registry.remove(&self.handle.id);
        self.context.totals.end();
    }
}

/// Tells the engine what the client said, and heard, before there was a session, as far as the handshake shows that.
fn say_ahead(engine: &mut Session, route: &Route, handshake: &KeptHandshake) {
    for ahead in route.ahead.iter().filter(|ahead| handshake.has_query_key(&ahead.when_query)) {
        let _without_room_it_is_incomplete = engine.pin_ahead(Kind::Text, ahead.text.as_bytes(), &ahead.pin);
        ahead.had.iter().for_each(|rule| engine.swallow_ahead(*rule));
    }
}

/// What is known of the backend of a new leg.
fn traits(attached: &Attached) -> BackendTraits {
    let backend = attached.lease.backend();
    let carrier = attached.explicit.map(|carrier| match carrier {
        pool::AckCarrier::Pong => AckCarrier::Pong,
        pool::AckCarrier::Message => AckCarrier::Message,
    });
    BackendTraits { mute: backend.mute(), order: backend.order(), carrier, deflate: attached.deflate.is_some() }
}

/// What the engine's masking keys come from (RFC 6455 5.3: unpredictable).
fn seed() -> [u8; 16] {
    let mut seed = [0; 16];
    // The system's source has served since boot: a failure here is a broken machine.
    getrandom::fill(&mut seed).expect("the system's random source works");
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_sessions_task_stays_small() {
        let bytes = size_of::<Driver>();
        println!("Driver: {bytes} bytes, of which the engine {}", size_of::<Session>());
        // Rules and limits count what they did, twice a session: 192 bytes of it.
        assert!(bytes <= 2256, "{bytes} bytes");
        let future = size_of_future(Driver::run);
        assert!(future <= bytes + 256, "{future} bytes");
    }

    fn size_of_future<F: Future>(_: impl Fn(Driver) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_takes_long_is_read_in_smaller_parts_and_what_does_not_in_larger_ones() {
        let mut gulp = Gulp::default();
        for _ in 0..8 {
            gulp.learn(SLICE);
        }
        assert_eq!(gulp.bytes(), READ_BYTES);
        gulp.learn(SLICE * 2);
        assert_eq!(gulp.bytes(), READ_BYTES);
        gulp.learn(SLICE * 1000);
        assert_eq!(gulp.bytes(), READ_BYTES / 2);
        for _ in 0..8 {
            gulp.learn(SLICE * 3);
        }
        assert_eq!(gulp.bytes(), Gulp::LEAST);
    }

    #[test]
    fn a_slice_ends_by_time_looked_at_only_when_much_came() {
        let at = |micros| Instant::from_origin(std::time::Duration::from_micros(micros));
        let (mut slice, mut gulp) = (Slice::new(at(0), LOOK_FROM), Gulp::default());
        assert!(!slice.is_over([1, LOOK_FROM - 2], &mut gulp, || unreachable!()));
        assert!(!slice.is_over([0, 1], &mut gulp, || at(1)));
        assert!(slice.is_over([LOOK_FROM, 0], &mut gulp, || at(1) + SLICE));
    }

    #[tokio::test]
    async fn a_panic_ends_its_session_and_is_counted() {
        let config = crate::config::Config::with_backends(&["ws://a".parse().unwrap()]).unwrap();
        let context = Arc::new(Context::new(&config));
        let fleet = crate::pool::Fleet::new(&config);
        let registered = || {
            let peer = "192.0.2.1:1".parse().unwrap();
            let route = fleet.routes().remove(0);
            let handle = Handle::new(uuid::Uuid::now_v7(), peer, route, crate::pool::BackendId::new(0));
            Registered::new(context.clone(), Arc::new(handle))
        };
        let (other, unlucky) = (registered(), registered());
        let task = tokio::spawn(async move {
            let _ended_with_the_task = unlucky;
            panic!("a mistake in a session");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!((context.panicked(), context.registry().len(), context.totals().get().ended), (1, 1, 1));
        drop(other);
        assert_eq!(context.panicked(), 1);
    }
}
