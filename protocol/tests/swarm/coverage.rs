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
    Transparent,
    Peaceful,
}

impl Met {
    pub(crate) const COUNT: usize = Self::Peaceful as usize + 1;
}

/// How often each situation was met.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    pub(crate) met: [u64; Met::COUNT],
    pub(crate) steps: u64,
    pub(crate) messages: u64,
    pub(crate) replayed: u64,
}

impl Coverage {
    pub(crate) fn new() -> Self {
        Self { met: [0; Met::COUNT], steps: 0, messages: 0, replayed: 0 }
    }

    pub(crate) fn meet(&mut self, met: Met) {
        self.met[met as usize] += 1;
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
