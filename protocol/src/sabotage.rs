//! Ways to break the engine on purpose, to see that its tests would notice. Only with the feature `sabotage`, which
//! nothing but this crate's own tests turns on; without it, every hook is the constant `false`.

#![cfg_attr(not(feature = "sabotage"), allow(dead_code, unreachable_pub))]

#[cfg(feature = "sabotage")]
use std::cell::Cell;

/// A way to break the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A new leg goes on where the last one stopped.
    NoRewind,
    /// A barrier acknowledges one message more than it proves.
    AckOffByOne,
    /// Bytes of a leg that has ended are taken for those of the current one.
    DeadEpochAccepted,
    /// A message that the client was not told does not end the swallowing.
    WindowNeverClosed,
    /// A second death does not start the comparison anew.
    CursorNotReset,
    /// Held output of a leg that died reaches the client.
    HeldNotDropped,
    /// What a leg that died had said in part reaches the client.
    HalfMessageForwarded,
    /// A barrier stands where the last write ended.
    BarrierInsideFrame,
    /// Lingering messages hold the client back.
    LingeringCounted,
    /// An overdue leg is given up without proof.
    SlowTakenForDead,
    /// Any pong answers the barrier in flight.
    AnyPongAccepted,
    /// Acknowledged messages are not forgotten.
    NeverForgets,
    /// The client's Close goes ahead of its messages.
    CloseBeforeMessages,
    /// The client is greeted by every leg.
    GreetedAgain,
    /// Of two deaths in a row no lesson is learned.
    NoIsolation,
    /// Output is not held until a barrier.
    NothingHeld,
    /// A backend may acknowledge what it was not sent.
    AckAheadAccepted,
    /// An ambiguous end is taken for a death.
    NoProof,
    /// What is remembered for a new leg outlives the messages that led to it.
    MemoryOutlivesInputs,
    /// The message behind the poisoned one is set aside.
    NeighbourPoisoned,
    /// A migrated session goes on before the leg that it leaves was silent.
    MigratedBeforeQuiet,
    /// A migrated session goes on before the leg that it leaves has answered its barrier.
    MigratedBeforePong,
    /// What the leg was written that a migrated session left is written again.
    ReplayedAfterMigration,
    /// What clients were told before a migration is swallowed after it.
    MemoryOutlivesMigration,
    /// In isolation, messages do not wait until those of other sessions are gone.
    TurnNotAwaited,
    /// A death is laid to a message's charge whoever else may be to blame.
    DoubtIgnored,
    /// A pinned message that is retained is written again in its turn.
    PinSentTwice,
    /// Pinned messages are written to a new leg in the wrong order.
    PinsOutOfOrder,
    /// Nothing waits for the answer to a pinned message.
    HoldIgnored,
    /// The client gets the answers to pinned messages again.
    SwallowedPassed,
    /// What concerned one leg only is written to the next.
    LegLocalReplayed,
    /// A key acknowledges the oldest message, whichever it is.
    KeyForgetsAnother,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::NoRewind,
        Self::AckOffByOne,
        Self::DeadEpochAccepted,
        Self::WindowNeverClosed,
        Self::CursorNotReset,
        Self::HeldNotDropped,
        Self::HalfMessageForwarded,
        Self::BarrierInsideFrame,
        Self::LingeringCounted,
        Self::SlowTakenForDead,
        Self::AnyPongAccepted,
        Self::NeverForgets,
        Self::CloseBeforeMessages,
        Self::GreetedAgain,
        Self::NoIsolation,
        Self::NothingHeld,
        Self::AckAheadAccepted,
        Self::NoProof,
        Self::MemoryOutlivesInputs,
        Self::NeighbourPoisoned,
        Self::MigratedBeforeQuiet,
        Self::MigratedBeforePong,
        Self::ReplayedAfterMigration,
        Self::MemoryOutlivesMigration,
        Self::TurnNotAwaited,
        Self::DoubtIgnored,
        Self::PinSentTwice,
        Self::PinsOutOfOrder,
        Self::HoldIgnored,
        Self::SwallowedPassed,
        Self::LegLocalReplayed,
        Self::KeyForgetsAnother,
    ];
}

#[cfg(feature = "sabotage")]
thread_local! {
    static CHOSEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Breaks all engines of this thread, or mends them.
#[cfg(feature = "sabotage")]
pub fn choose(sabotage: Option<Sabotage>) {
    CHOSEN.set(sabotage);
}

/// Whether the engine is to be broken in this way.
#[cfg(feature = "sabotage")]
pub(crate) fn is(sabotage: Sabotage) -> bool {
    CHOSEN.get() == Some(sabotage)
}

/// Whether the engine is to be broken in this way: never.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub(crate) const fn is(_: Sabotage) -> bool {
    false
}
