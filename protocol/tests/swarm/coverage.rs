//! What the runs have come across: a swarm that never met a situation has not tested it.

/// A situation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    Failover,
    DeathInsideReplay,
    PushBetweenReplies,
    CloseWhileWaiting,
    Eviction,
    Overshoot,
    Isolation,
    TurnAwaited,
    TurnWaived,
    DeathInDoubt,
    Swallowed,
    WindowClosed,
    HeldDropped,
    HeldReleased,
    HoldFull,
    Fallback,
    Unanswered,
    Poison,
    Expired,
    Dropped,
    Slid,
    Denied,
    LostDial,
    Stillborn,
    Hung,
    HangTimeout,
    HealthyEnd,
    ProtocolError,
    AckAhead,
    EarlyPong,
    LatePongs,
    Lingered,
    GreetingSwallowed,
    HalfMessageCut,
    HalfFrameReplayed,
    BarrierInsideMessage,
    Orphaned,
    FullRing,
    ShortMemory,
    NoBackend,
    NotWhole,
    GhostBytes,
    ForgedPong,
    ExplicitReplay,
    Abandoned,
    EchoedClose,
    Close1012,
    EntriesOverflow,
    WriteError,
    Migrated,
    MigratedAtRest,
    MigratedMute,
    LeftWhenDone,
    PreparedWhileBusy,
    FellToPrepared,
    OldLegDiedPreparing,
    NewLegEnded,
    NoOtherBackend,
    MigrationUnsettled,
    MigrationStayed,
    MigrationCrowded,
    ClosedMigrating,
    VanishedMigrating,
    Unmovable,
    AlwaysMoved,
    Transparent,
    Peaceful,
}

impl Met {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; Self::Peaceful as usize + 1] = [
        Self::Failover,
        Self::DeathInsideReplay,
        Self::PushBetweenReplies,
        Self::CloseWhileWaiting,
        Self::Eviction,
        Self::Overshoot,
        Self::Isolation,
        Self::TurnAwaited,
        Self::TurnWaived,
        Self::DeathInDoubt,
        Self::Swallowed,
        Self::WindowClosed,
        Self::HeldDropped,
        Self::HeldReleased,
        Self::HoldFull,
        Self::Fallback,
        Self::Unanswered,
        Self::Poison,
        Self::Expired,
        Self::Dropped,
        Self::Slid,
        Self::Denied,
        Self::LostDial,
        Self::Stillborn,
        Self::Hung,
        Self::HangTimeout,
        Self::HealthyEnd,
        Self::ProtocolError,
        Self::AckAhead,
        Self::EarlyPong,
        Self::LatePongs,
        Self::Lingered,
        Self::GreetingSwallowed,
        Self::HalfMessageCut,
        Self::HalfFrameReplayed,
        Self::BarrierInsideMessage,
        Self::Orphaned,
        Self::FullRing,
        Self::ShortMemory,
        Self::NoBackend,
        Self::NotWhole,
        Self::GhostBytes,
        Self::ForgedPong,
        Self::ExplicitReplay,
        Self::Abandoned,
        Self::EchoedClose,
        Self::Close1012,
        Self::EntriesOverflow,
        Self::WriteError,
        Self::Migrated,
        Self::MigratedAtRest,
        Self::MigratedMute,
        Self::LeftWhenDone,
        Self::PreparedWhileBusy,
        Self::FellToPrepared,
        Self::OldLegDiedPreparing,
        Self::NewLegEnded,
        Self::NoOtherBackend,
        Self::MigrationUnsettled,
        Self::MigrationStayed,
        Self::MigrationCrowded,
        Self::ClosedMigrating,
        Self::VanishedMigrating,
        Self::Unmovable,
        Self::AlwaysMoved,
        Self::Transparent,
        Self::Peaceful,
    ];
}

/// How often each situation was met.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    pub(crate) met: [u64; Met::ALL.len()],
    pub(crate) steps: u64,
    pub(crate) messages: u64,
    pub(crate) replayed: u64,
}

impl Coverage {
    pub(crate) fn new() -> Self {
        Self { met: [0; Met::ALL.len()], steps: 0, messages: 0, replayed: 0 }
    }

    pub(crate) fn meet(&mut self, met: Met) {
        self.met[met as usize] += 1;
    }

    /// The situations that were never met.
    pub(crate) fn missing(&self) -> Vec<Met> {
        Met::ALL.into_iter().filter(|met| self.met[*met as usize] == 0).collect()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.met.iter_mut().zip(other.met) {
            *sum += more;
        }
        self.steps += other.steps;
        self.messages += other.messages;
        self.replayed += other.replayed;
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} steps, {} messages, {} replayed", self.steps, self.messages, self.replayed)?;
        Met::ALL.into_iter().try_for_each(|met| writeln!(f, "{:>9} {met:?}", self.met[met as usize]))
    }
}
