//! What goes wrong in a run.

use crate::codec;
use crate::coverage::Met;
use crate::run::Run;
use crate::world::World;

impl Run {
    pub(crate) fn faults(&mut self) {
        let faults = self.world.plan.faults;
        let mut strikes = |one_in: usize| one_in > 0 && self.world.dice.one_in(one_in);
        let (crash, closes, hang) = (strikes(faults.crash), strikes(faults.closes), strikes(faults.hang));
        let (slow, breach, ghost) = (strikes(faults.slow), strikes(faults.breach), strikes(faults.ghost));
        let (forged, leaves) = (strikes(faults.forged_pong), strikes(faults.client_leaves));
        let (write_error, pressure) = (strikes(faults.write_error), strikes(faults.pressure));
        let (migrate, false_start) = (strikes(faults.migrate), strikes(faults.false_start));
        if self.world.leg().dying || crash {
            self.crash();
        }
        if closes {
            self.backend_closes();
        }
        if hang {
            self.world.leg().hung = true;
            self.world.hung_once = true;
        }
        if slow {
            self.slow();
        }
        if breach {
            self.breach();
        }
        if ghost {
            self.ghost();
        }
        if forged {
            self.forge_pong();
        }
        if leaves {
            self.client_leaves();
        }
        if write_error {
            self.write_error();
        }
        if pressure {
            self.pressure();
        }
        if migrate {
            self.world.migrate();
        }
        if false_start {
            let closes = self.dice().one_in(2);
            self.world.end_prepared(closes);
        }
    }

    /// The backend's process dies: what is on the way is cut at any byte, both ways.
    pub(crate) fn crash(&mut self) {
        let World { legs, dice, now, shared, breach, .. } = &mut self.world;
        let leg = legs.last_mut().expect("a first leg");
        if leg.gone {
            return;
        }
        let read = dice.below(leg.inbox.len() + 1);
        leg.listen(read);
        if dice.one_in(2) && !leg.hung {
            leg.work(*now, shared);
        }
        if leg.gone {
            return;
        }
        let cut = dice.below(leg.outbox.len() + 1);
        let cut = if breach.is_some() { leg.outbox.len() } else { cut };
        leg.outbox.truncate(cut);
        (leg.gone, leg.died) = (true, true);
    }

    fn backend_closes(&mut self) {
        let code: u16 = self.dice().of(&[1001, 1012, 1013, 1011, 0, 1, 4001, 1000]);
        if code == 4001 && !self.dice().one_in(3) {
            return;
        }
        let died = self.dice().one_in(2);
        let leg = self.world.leg();
        if leg.gone {
            return;
        }
        match code {
            0 => leg.put(codec::FIN | codec::CLOSE, b""),
            1 => {}
            code => leg.put(codec::FIN | codec::CLOSE, &code.to_be_bytes()),
        }
        (leg.gone, leg.died) = (true, died);
    }

    fn slow(&mut self) {
        let rooms = [0, 1, 50, 5000, usize::MAX, usize::MAX];
        let grains = [1, 7, 100, 3000, usize::MAX];
        let World { client, legs, dice, .. } = &mut self.world;
        let leg = legs.last_mut().expect("a first leg");
        (client.room, client.grain) = (dice.of(&rooms), dice.of(&grains));
        (leg.room, leg.grain) = (dice.of(&rooms), dice.of(&grains));
    }

    fn breach(&mut self) {
        let frames: [&[u8]; 4] = [&[0xC1, 0], &[0x83, 0], &[0x09, 0], &[0x89, 126, 0, 126]];
        let ahead = self.dice().one_in(2) && self.world.plan.carrier.is_some();
        let frame = self.dice().of(&frames);
        let attached = self.world.is_attached();
        let leg = self.world.leg();
        if leg.gone || !attached {
            return;
        }
        if ahead {
            return leg.put(codec::FIN | codec::PONG, b"tideover:ack:1000000");
        }
        leg.gone = true;
        let valid = leg.outbox.len();
        leg.outbox.extend(frame);
        self.world.breach = Some(valid);
    }

    fn ghost(&mut self) {
        let mut bytes = Vec::new();
        codec::frame(&mut bytes, codec::FIN | codec::TEXT, b"ghost", None);
        self.world.haunt(&bytes);
    }

    /// A pong that answers no ping of ours, one that is answered already, or the next.
    fn forge_pong(&mut self) {
        let number = self.world.dice.of(&[0, 1, 2, 1_000_000]);
        let next = self.world.shadow.forged(number);
        let leg = self.world.leg();
        if !leg.gone {
            leg.put(codec::FIN | codec::PONG, &next);
            self.world.shadow.coverage.meet(Met::ForgedPong);
        }
    }

    fn client_leaves(&mut self) {
        let closes = self.dice().one_in(2);
        let key = self.dice().key();
        if !self.world.client.talks() {
            return;
        }
        if closes {
            self.world.client.send_close(&[0x03, 0xE8], key);
        } else {
            let cut = self.world.dice.below(self.world.client.outbox.len() + 1);
            self.world.client.outbox.truncate(cut);
            self.world.client.gone = true;
        }
    }

    fn write_error(&mut self) {
        self.world.shadow.coverage.meet(Met::WriteError);
        if self.dice().one_in(8) {
            self.world.client.broken = true;
        } else {
            self.world.leg().broken = true;
        }
    }

    fn pressure(&mut self) {
        let short = self.dice().one_in(2);
        self.world.press(short);
        if short {
            self.world.shadow.coverage.meet(Met::ShortMemory);
        }
    }
}
