//! Target `session`: any sequence of operations on the real engine and ring, with peers that may say anything at any
//! time, and a judge that sees what came out.

mod judge;
mod operation;
mod peer;
mod world;

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use tideover_protocol::close::CloseCode;

use operation::{Operation, Scenario};
use world::World;

/// Panics where a session breaks a law.
pub(crate) fn check(data: &[u8]) {
    let Ok(scenario) = Scenario::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut world = World::new(&scenario);
    for operation in &scenario.operations {
        world.trace(operation);
        world.go(operation);
        world.act();
        world.turn();
    }
    world.settle();
}

impl World {
    /// `TIDEOVER_FUZZ_TRACE=1`: for who looks into an input that fails.
    #[expect(clippy::disallowed_methods, reason = "the engine's configuration is an argument, a test's is not")]
    fn trace(&self, operation: &Operation) {
        if std::env::var_os("TIDEOVER_FUZZ_TRACE").is_some() {
            eprintln!("{:>12?} epoch {}: {operation:?}", self.now.since_origin(), self.session.epoch());
        }
    }

    fn go(&mut self, operation: &Operation) {
        match operation {
            Operation::Say { from, lengths, fill, ping_between } => {
                self.peer(*from).say(&lengths[..lengths.len().min(8)], *fill, *ping_between);
            }
            Operation::Answer => self.leg().answer(),
            Operation::Frame { from, first, length, fill } => {
                self.peer(*from).frame(*first, &vec![*fill; usize::from(length % 300)]);
            }
            Operation::Raw { from, bytes } => self.peer(*from).send(bytes),
            Operation::Pong { latest } => self.leg().pong(*latest),
            Operation::Acknowledge { ahead, by_message } => {
                let seq = self.judge.read_seq() + u64::from(*ahead);
                self.leg().acknowledge(seq, *by_message);
            }
            Operation::Close { from, code } => {
                let payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                self.peer(*from).frame(0x88, &payload);
            }
            Operation::EndOfStream(end) => self.peer(*end).gone = true,
            Operation::WriteError(end) => self.peer(*end).broken = true,
            Operation::Pipe { to, room, grain } => {
                let room = if *room > 0x8000 { usize::MAX } else { usize::from(*room) };
                (self.peer(*to).room, self.peer(*to).grain) = (room, *grain);
            }
            Operation::Verdict { dying } => self.verdict(*dying),
            Operation::Attach(traits) => self.attach(*traits),
            Operation::AttachFailed { denied } => self.attach_failed(*denied),
            Operation::Mute => self.mute(),
            Operation::Late(bytes) => self.haunt(bytes),
            Operation::Pass { millis } => self.pass(Duration::from_millis((*millis).into())),
            Operation::Memory { downstream, kib } => {
                let hog = &mut self.hogs[usize::from(*downstream)];
                hog.shrink(0);
                hog.cover(usize::from(*kib) * 1024);
            }
            Operation::FailOver => self.session.fail_over(self.now),
            Operation::OperatorCloses(code) => {
                let code = CloseCode::new(*code).unwrap_or(CloseCode::POLICY);
                self.session.close(self.now, code, "the operator says so");
            }
            Operation::Shutdown => self.session.shutdown(self.now),
            Operation::Rest => {
                self.widen();
                self.rest();
            }
        }
    }
}
