//! The task of a session: gathers what is ready, feeds it to the engine in a written order, and writes what comes out.
//!
//! A turn is: commands, dial and probe, timeouts, the backend's bytes (its pongs make room), the client's bytes, writes
//! upstream, writes downstream, actions. Turns go on while something was read, up to a work budget. Half-done I/O is
//! kept in fields; no future with data in it is ever dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use tideover_protocol::session::{
    AckCarrier, Action, AttachFailure, AttachRequest, BackendTraits, EndReason, Epoch, Event, Gather, Poisoned,
    Session, Side, Verdict,
};
use tideover_protocol::time::Instant;
use tideover_replay_store::Reservation;
use tokio::time::Sleep;
use uuid::Uuid;

use super::buffer::with_buffer;
use super::farewell;
use super::poisons::Poison;
use super::registry::{Command, Handle, Snapshot};
use super::totals::Level;
use super::wire::{Read, Wire, Write};
use super::{Context, Start};
use crate::edge::SessionSlot;
use crate::pool::{self, Attached, BackendId, Denials, KeptHandshake, Lease, Reattach, ReattachError, SessionHeaders};

/// Turns before other sessions of the worker get theirs. A turn reads at most one buffer a leg.
const TURNS: usize = 8;
const SIDES: [Side; 2] = [Side::Backend, Side::Client];
/// How far ahead a timer without a deadline is set.
const IDLE: std::time::Duration = std::time::Duration::from_secs(86_400);

type Dial = Pin<Box<dyn Future<Output = Result<Attached, ReattachError>> + Send>>;
type Probe = Pin<Box<dyn Future<Output = pool::Verdict> + Send>>;

/// A session and its sockets.
pub(super) struct Driver {
    engine: Session,
    client: Wire,
    /// The leg of the engine's current epoch.
    backend: Option<(Wire, Lease)>,
    dial: Option<Dial>,
    /// The question about the leg of an epoch.
    probe: Option<(Epoch, Probe)>,
    /// The backend of the latest leg.
    last: BackendId,
    /// The backends that denied the session since its latest leg.
    denials: Denials,
    id: Uuid,
    handshake: Arc<KeptHandshake>,
    /// What the handshake, and what is held of the legs, take of the process's memory.
    kept_memory: Reservation,
    /// Bytes held of both legs.
    held: usize,
    handle: Arc<Handle>,
    context: Arc<Context>,
    slot: SessionSlot,
    registered: Registered,
    /// What the process's totals have of this session.
    published: Level,
    /// When the leg was lost in whose place one is looked for.
    lost: Option<Instant>,
    /// What the sleeping timer is set to.
    armed: Instant,
    ended: bool,
}

impl Driver {
    pub(super) fn new(start: Start, context: Arc<Context>) -> Self {
        let Start { client, client_leftover, peer, attached, handshake, id, slot } = start;
        let traits = traits(&attached);
        let Attached { stream, leftover, lease, .. } = attached;
        let now = context.now();
        let handle = Arc::new(Handle::new(peer, lease.backend().id));
        tracing::debug!(session = %id, %peer, backend = %lease.backend().url, "session opened");
        let mut kept_memory = Reservation::new(context.budgets.upstream.clone());
        kept_memory.cover(handshake.memory());
        Self {
            engine: Session::new(context.engine.clone(), &context.budgets, seed(), now, traits),
            client: Wire::new(client, client_leftover),
            last: lease.backend().id,
            backend: Some((Wire::new(stream, leftover), lease)),
            dial: None,
            denials: Denials::default(),
            probe: None,
            id,
            handshake: Arc::new(handshake),
            kept_memory,
            held: 0,
            registered: Registered::new(&context, id, &handle),
            handle,
            slot,
            published: Level::default(),
            lost: None,
            armed: now + IDLE,
            context,
            ended: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut timer = pin!(tokio::time::sleep_until(self.context.to_tokio(self.armed)));
        poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
        let Self { client, slot, registered, .. } = self;
        if !client.has_ended() {
            farewell::close(client.into_stream(), None, (slot, registered));
        }
    }

    fn poll(&mut self, cx: &mut Cx<'_>, timer: Pin<&mut Sleep>) -> Poll<()> {
        let polled = self.poll_turns(cx, timer);
        self.publish();
        polled
    }

    fn poll_turns(&mut self, cx: &mut Cx<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        for command in self.handle.poll_commands(cx) {
            self.obey(command);
        }
        for _ in 0..TURNS {
            let now = self.context.now();
            let busy = self.turn(cx, now);
            if self.ended {
                return Poll::Ready(());
            }
            if !busy && !self.timer_fired(cx, timer.as_mut()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn obey(&mut self, command: Command) {
        let now = self.context.now();
        match command {
            Command::Shutdown => self.engine.shutdown(now),
            Command::Close(code, reason) => self.engine.close(now, code, &reason),
            Command::FailOver => self.engine.fail_over(now),
            // Who asked may have left.
            Command::Inspect(answer) => drop(answer.send(self.snapshot())),
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
            self.context.totals.change(&self.published, &level);
            self.published = level;
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.engine.epoch(),
            backend: self.backend.as_ref().map(|(_, lease)| lease.backend().id),
            retained: self.engine.retained(),
            unacknowledged: self.engine.unacknowledged(),
            buffered: self.engine.buffered(),
            counters: *self.engine.counters(),
        }
    }

    /// One turn. Returns whether another one may find something to do.
    fn turn(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let mut busy = self.poll_dial(cx, now) | self.poll_probe(cx, now);
        if self.engine.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.engine.handle_timeout(now);
        }
        busy |= self.wait_for_memory(cx, now);
        let wanted = SIDES.map(|side| self.engine.wants_read(side));
        busy |= self.read(cx, now, Side::Backend);
        busy |= self.read(cx, now, Side::Client);
        self.flush(cx, now, Side::Backend);
        self.flush(cx, now, Side::Client);
        busy |= self.act();
        busy | self.wants_more_than(wanted)
    }

    /// Whether a leg is to be read that was not at the reading: nothing that comes on it would wake the task. A write
    /// that made room is the usual reason.
    fn wants_more_than(&self, wanted: [bool; 2]) -> bool {
        SIDES.iter().zip(wanted).any(|(side, before)| !before && self.engine.wants_read(*side))
    }

    /// Sets the timer to the engine's deadline. It is only ever moved closer: one that fires early costs less than
    /// moving it with every message.
    fn timer_fired(&mut self, cx: &mut Cx<'_>, mut timer: Pin<&mut Sleep>) -> bool {
        let Some(deadline) = self.engine.poll_timeout() else { return false };
        if deadline < self.armed {
            self.armed = deadline;
            timer.as_mut().reset(self.context.to_tokio(deadline));
        }
        let fired = timer.as_mut().poll(cx).is_ready();
        if fired {
            self.armed = self.context.now() + IDLE;
            timer.reset(self.context.to_tokio(self.armed));
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

    // Reading.

    fn wire(&mut self, side: Side) -> Option<&mut Wire> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Backend => self.backend.as_mut().map(|(wire, _)| wire),
        }
    }

    /// Reads a leg once, if the engine wants it. Returns whether anything came.
    fn read(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side) -> bool {
        if !self.engine.wants_read(side) {
            return false;
        }
        let Some(wire) = self.wire(side) else { return false };
        let held = wire.take_held();
        if !held.is_empty() {
            let used = self.feed(cx, now, side, &held);
            // A rest that is much smaller than what it is cut from must not pin it.
            let rest = held.slice(used..);
            let pins = rest.len() < held.len() / 2;
            self.hold(side, if pins { Bytes::copy_from_slice(&rest) } else { rest });
            return used > 0;
        }
        with_buffer(|buffer| {
            let Some(wire) = self.wire(side) else { return false };
            match wire.read(cx, buffer) {
                Read::Bytes(len) => {
                    let used = self.feed(cx, now, side, &buffer[..len]);
                    self.hold(side, Bytes::copy_from_slice(&buffer[used..len]));
                    true
                }
                Read::End => {
                    self.engine.handle_end_of_stream(now, side, self.engine.epoch());
                    true
                }
                Read::Nothing => false,
            }
        })
    }

    /// Keeps what a leg brought and the session cannot take yet.
    fn hold(&mut self, side: Side, rest: Bytes) {
        if rest.is_empty() && self.held == 0 {
            return;
        }
        if !rest.is_empty()
            && let Some(wire) = self.wire(side)
        {
            wire.hold(rest);
        }
        let backend = self.backend.as_ref().map_or(0, |(wire, _)| wire.held_bytes());
        self.held = self.client.held_bytes() + backend;
        let need = self.handshake.memory() + self.held;
        self.kept_memory.cover(need);
        self.kept_memory.shrink(need);
    }

    /// Gives bytes of a leg to the engine; returns how many it used.
    fn feed(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side, data: &[u8]) -> usize {
        let mut used = 0;
        while used < data.len() && self.engine.wants_read(side) {
            let rest = &data[used..];
            let consumed = match side {
                Side::Client => self.engine.handle_client_data(now, rest),
                Side::Backend => {
                    let passed = self.engine.handle_backend_data(now, self.engine.epoch(), rest);
                    if !passed.direct.is_empty() {
                        self.write_direct(cx, now, &rest[passed.direct]);
                    }
                    passed.consumed
                }
            };
            if consumed == 0 {
                break;
            }
            used += consumed;
        }
        used
    }

    // Writing.

    /// Writes whole messages of the backend from the read buffer, behind what already waits for the client.
    fn write_direct(&mut self, cx: &mut Cx<'_>, now: Instant, direct: &[u8]) {
        let mut gather = Gather::new();
        self.engine.poll_transmit(now, Side::Client, &mut gather);
        gather.push(direct);
        let all = gather.len();
        let written = match self.client.write(cx, gather.as_slices()) {
            Write::Bytes(len) => len,
            Write::Blocked => 0,
            Write::Failed => return self.engine.handle_write_error(now, Side::Client),
        };
        self.engine.handle_written(now, Side::Client, written, direct);
        if written < all {
            self.engine.handle_blocked(now, Side::Client);
        }
    }

    /// Writes what the engine has for a leg until there is nothing or the leg takes no more.
    fn flush(&mut self, cx: &mut Cx<'_>, now: Instant, side: Side) {
        loop {
            let mut gather = Gather::new();
            self.engine.poll_transmit(now, side, &mut gather);
            if gather.is_empty() {
                return;
            }
            let all = gather.len();
            let wire = match side {
                Side::Client => &mut self.client,
                Side::Backend => match &mut self.backend {
                    Some((wire, _)) => wire,
                    None => return,
                },
            };
            match wire.write(cx, gather.as_slices()) {
                Write::Bytes(len) => {
                    self.engine.handle_written(now, side, len, &[]);
                    if len < all {
                        self.engine.handle_blocked(now, side);
                    }
                }
                Write::Blocked => return self.engine.handle_blocked(now, side),
                Write::Failed => return self.engine.handle_write_error(now, side),
            }
        }
    }

    // Dialling and asking.

    fn poll_dial(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let Some(Poll::Ready(result)) = self.dial.as_mut().map(|dial| dial.as_mut().poll(cx)) else { return false };
        self.dial = None;
        match result {
            Ok(attached) => self.handle_attached(now, attached),
            Err(error) => {
                tracing::info!(session = %self.id, %error, "no backend this time");
                let failure = match error {
                    ReattachError::Denied(_) => AttachFailure::Denied,
                    ReattachError::Failed { denials, .. } => {
                        self.denials = denials;
                        AttachFailure::Failed
                    }
                };
                self.engine.handle_attach_failed(now, failure);
            }
        }
        true
    }

    fn handle_attached(&mut self, now: Instant, attached: Attached) {
        let traits = traits(&attached);
        let Attached { stream, leftover, lease, .. } = attached;
        match self.engine.handle_attached(now, traits) {
            Some(_) => {
                self.denials = Denials::default();
                self.last = lease.backend().id;
                self.handle.attach(self.engine.epoch(), self.last);
                if let Some(lost) = self.lost.take() {
                    self.context.totals.failed_over(now.since(lost));
                }
                self.backend = Some((Wire::new(stream, leftover), lease));
            }
            None => farewell::close(stream, None, lease),
        }
    }

    fn poll_probe(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let Some((epoch, probe)) = &mut self.probe else { return false };
        let Poll::Ready(verdict) = probe.as_mut().poll(cx) else { return false };
        let epoch = *epoch;
        self.probe = None;
        let verdict = match verdict {
            pool::Verdict::Dying => Verdict::Dying,
            pool::Verdict::Healthy => Verdict::Healthy,
        };
        self.engine.handle_verdict(now, epoch, verdict);
        true
    }

    // Actions.

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.engine.poll_action() {
            acted = true;
            match action {
                Action::Attach(request) => self.attach(request),
                Action::Ask { epoch, ended } => self.ask(epoch, ended),
                Action::Mute(epoch) => self.find_out_if_mute(epoch),
                Action::Order(_, order) => {
                    if let Some((_, lease)) = &self.backend {
                        lease.backend().set_order(order);
                    }
                }
                Action::Poisoned(poisoned) => self.set_aside(poisoned),
                Action::AnswersPings(_) => {
                    if let Some((_, lease)) = &self.backend {
                        lease.backend().set_answers_pings();
                    }
                }
                Action::Retire { farewell } => {
                    if let Some((wire, lease)) = self.backend.take() {
                        self.handle.detach();
                        retire(wire, farewell, lease);
                    }
                }
                Action::Event(event) => {
                    if matches!(event, Event::LegLost { .. }) {
                        self.lost.get_or_insert(self.context.now());
                    }
                    self.log(event);
                }
                Action::End { farewell } => {
                    self.end(farewell);
                    return false;
                }
            }
        }
        acted
    }

    fn attach(&mut self, request: AttachRequest) {
        let (context, handshake) = (self.context.clone(), self.handshake.clone());
        let AttachRequest { epoch, next_seq, delivered, explicit, spare_last } = request;
        let headers = SessionHeaders { session: self.id, epoch, next_seq, pinned: 0, delivered };
        let wanted = Reattach { last: Some(self.last), explicit, spare_last, denials: self.denials };
        self.dial = Some(Box::pin(async move { context.pool.reattach(&handshake, &headers, wanted).await }));
    }

    fn set_aside(&self, message: Poisoned) {
        let backend = self.last_url();
        let (session, Poisoned { seq, deaths, len, .. }) = (self.id, &message);
        tracing::warn!(%session, seq, deaths, len, %backend, "message set aside: backends die of it");
        self.context.poisons.add(Poison { session, at: std::time::SystemTime::now(), backend, message });
    }

    fn last_url(&self) -> String {
        let mut backends = self.context.pool.backends().iter();
        backends.find(|backend| backend.id == self.last).map(|backend| backend.url.to_string()).unwrap_or_default()
    }

    fn ask(&mut self, epoch: Epoch, ended: bool) {
        let Some((_, lease)) = &self.backend else { return };
        if ended {
            lease.ended_badly();
            self.lost = Some(self.context.now());
        }
        let (context, handshake, backend) = (self.context.clone(), self.handshake.clone(), lease.backend().clone());
        let since = std::time::Instant::now();
        self.probe = Some((epoch, Box::pin(async move { context.pool.probe(&backend, since, &handshake).await })));
    }

    fn find_out_if_mute(&mut self, epoch: Epoch) {
        let Some((_, lease)) = &self.backend else { return };
        let backend = lease.backend();
        if backend.answers_pings() {
            return;
        }
        if backend.set_mute() {
            tracing::warn!(
                backend = %backend.url,
                "the backend answers no pings: the newest messages are kept as far as they fit, nothing waits for it"
            );
        }
        self.engine.handle_mute(epoch);
    }

    fn end(&mut self, farewell: Option<tideover_protocol::frame::ControlFrame>) {
        self.ended = true;
        self.handle.end();
        if let Some((wire, lease)) = self.backend.take() {
            retire(wire, farewell, lease);
        }
        let counters = self.engine.counters();
        tracing::debug!(session = %self.id, ?counters, "session ended");
    }

    fn log(&self, event: Event) {
        let session = self.id;
        let backend = self.backend.as_ref().map(|(_, lease)| tracing::field::display(&lease.backend().url));
        match event {
            Event::LegLost { epoch, loss, retained } => {
                tracing::info!(%session, epoch, %loss, retained, "backend leg lost");
            }
            Event::Attached { epoch, replayed } => {
                tracing::info!(%session, epoch, backend, replayed, "attached again");
            }
            Event::Suspect(epoch) => tracing::info!(%session, epoch, backend, "backend leg is suspect"),
            Event::Cleared(epoch) => tracing::info!(%session, epoch, backend, "backend leg moves again"),
            Event::FellBack => {
                tracing::warn!(%session, epoch = self.engine.epoch(), backend, "replies are not one a message: pongs acknowledge");
            }
            Event::ClientVanished => tracing::debug!(%session, peer = %self.handle.peer, "client vanished"),
            Event::Ending(reason) => {
                let epoch = self.engine.epoch();
                let peer = self.handle.peer;
                match reason {
                    EndReason::ClientClosed | EndReason::ClientVanished | EndReason::BackendClosed(_) => {
                        tracing::debug!(%session, epoch, %peer, backend, %reason, "session ends");
                    }
                    _ => tracing::info!(%session, epoch, %peer, backend, %reason, "session ends"),
                }
            }
        }
    }
}

/// The session's entry in the registry, until its client leg is closed or its task is dropped.
struct Registered {
    context: Arc<Context>,
    id: Uuid,
}

impl Registered {
    fn new(context: &Arc<Context>, id: Uuid, handle: &Arc<Handle>) -> Self {
        context.registry.insert(id, handle.clone());
        context.totals.open();
        Self { context: context.clone(), id }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.context.registry.remove(&self.id);
        self.context.totals.end();
    }
}

/// What is known of the backend of a new leg.
fn traits(attached: &Attached) -> BackendTraits {
    let backend = attached.lease.backend();
    let carrier = attached.explicit.map(|carrier| match carrier {
        pool::AckCarrier::Pong => AckCarrier::Pong,
        pool::AckCarrier::Message => AckCarrier::Message,
    });
    BackendTraits { mute: backend.mute(), order: backend.order(), carrier }
}

/// Leaves a backend leg to be closed. One that is over and has nothing to be said is dropped at once.
fn retire(wire: Wire, farewell: Option<tideover_protocol::frame::ControlFrame>, lease: Lease) {
    if wire.has_ended() && farewell.is_none() {
        return;
    }
    farewell::close(wire.into_stream(), farewell, lease);
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
    #[test]
    fn an_idle_sessions_task_stays_small() {
        let bytes = size_of::<super::Driver>();
        println!("Driver: {bytes} bytes, of which the engine {}", size_of::<super::Session>());
        assert!(bytes <= 2048, "{bytes} bytes");
    }
}
