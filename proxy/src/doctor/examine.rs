//! The examination: a few connections, one after the other.

use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap, HeaderValue};
use tungstenite::Message;

use super::findings::{Answers, Compression, Ending, Findings, Greeting, PongOrder, Spoken, millis};
use super::options::{Plan, Restart};
use super::profile;
use super::restart;
use super::wire::{Agreed, Came, QUIET, Wire};
use crate::deflate::Offers;
use crate::pool::KnockError;

/// Messages that are sent at least, each with a ping behind it.
const ROUNDS: usize = 6;
/// How long greetings are listened to at most.
const GREETING: Duration = Duration::from_secs(2);
/// What is offered: what browsers offer.
const OFFER: HeaderValue = HeaderValue::from_static("permessage-deflate; client_max_window_bits");

/// Subprotocols that nobody speaks. A server that takes whatever is offered first, as Node's `ws` does unless it is told
/// otherwise, or last, takes one of these.
const NOBODYS: [&str; 2] = ["tideover-doctor-first", "tideover-doctor-last"];

/// Examines a backend.
///
/// # Errors
/// It could not be reached, or does not take the handshake.
pub(super) async fn examine(plan: &Plan) -> Result<Findings, KnockError> {
    let (wire, agreed) = Wire::connect(plan, &plan.subprotocols, Offers::default()).await?;
    let mut first = Visit::begin(plan, wire).await;
    let ping_ms = first.ping(plan.wait).await;
    let messages = messages(plan);
    let rounds = first.rounds(&messages, plan.wait, ping_ms.is_some()).await;
    let (wire, _) = Wire::connect(plan, &plan.subprotocols, Offers::default()).await?;
    let mut second = Visit::begin(plan, wire).await;
    let greeting = greeting(&first, &second);
    let again = second.rounds(&messages[..distinct(plan).min(messages.len())], plan.wait, ping_ms.is_some()).await;
    let answers = (!messages.is_empty()).then(|| answers(&rounds, &again, greeting, first.ended.clone()));
    let compression = compression(plan).await;
    let spoken = spoken(plan, &agreed, &first, &rounds).await;
    first.leave().await;
    second.leave().await;
    let restart = match plan.restart {
        Restart::No => None,
        Restart::Command(_) | Restart::Ask => Some(restart::watch(plan).await?),
    };
    Ok(Findings {
        backend: plan.title(),
        handshake_ms: agreed.took,
        offered: plan.subprotocols.clone(),
        subprotocol: agreed.subprotocol,
        compression,
        explicit: agreed.explicit.is_some(),
        greeting,
        ping_ms,
        answers,
        restart,
        profile: spoken,
    })
}

/// What is sent, in order.
fn messages(plan: &Plan) -> Vec<Message> {
    let question = plan.profile.and_then(profile::Profile::question);
    let given: Vec<Message> = match plan.texts.is_empty() {
        true => question.into_iter().collect(),
        false => plan.texts.iter().map(|text| Message::text(text.as_str())).collect(),
    };
    let rounds = if given.is_empty() { 0 } else { ROUNDS.max(given.len()) };
    given.iter().cycle().take(rounds).cloned().collect()
}

/// How many different ones there are.
fn distinct(plan: &Plan) -> usize {
    plan.texts.len().max(1)
}

/// A connection that is open as its protocol wants it.
struct Visit {
    wire: Wire,
    /// What came before anything was sent.
    greeted: Vec<Message>,
    /// Whether more of it was coming.
    pushes: bool,
    /// What came for what opens the protocol.
    opened: Vec<Message>,
    ended: Option<Ending>,
}

/// What came for one message.
struct Round {
    answers: Vec<(Message, Duration)>,
    pong: Option<Duration>,
    /// The pong came before the first answer.
    pong_first: bool,
}

impl Visit {
    async fn begin(plan: &Plan, mut wire: Wire) -> Self {
        let until = Instant::now() + GREETING;
        let (greeted, mut ended) = wire.listen(2 * QUIET, until).await;
        let pushes = ended.is_none() && Instant::now() >= until;
        let mut opened = Vec::new();
        if let (Some(opening), None) = (&plan.opening, &ended) {
            ended = wire.send(opening.clone()).await.err();
            let until = Instant::now() + plan.wait;
            if ended.is_none() {
                // Its answer, and whatever comes right behind it.
                opened.extend(wire.first_message(until, &mut ended).await);
                let (more, ending) = wire.listen(QUIET, until).await;
                opened.extend(more);
                ended = ended.or(ending);
            }
        }
        Self { wire, greeted, pushes, opened, ended }
    }

    /// How long a ping that nothing stands before waits for its pong.
    async fn ping(&mut self, wait: Duration) -> Option<f64> {
        let begun = Instant::now();
        let number = self.sent(None).await?;
        while let Some(came) = self.next(begun + wait).await {
            if matches!(came, Came::Pong(pong) if pong == number) {
                return Some(millis(begun.elapsed()));
            }
        }
        None
    }

    async fn rounds(&mut self, messages: &[Message], wait: Duration, pongs: bool) -> Vec<Round> {
        let mut rounds: Vec<Round> = Vec::new();
        for message in messages {
            // Where the first had no answer, the next are not waited for so long.
            let silent = rounds.first().is_some_and(|round| round.answers.is_empty());
            let wait = if silent { wait.min(Duration::from_millis(500)) } else { wait };
            let Some(round) = self.round(message.clone(), wait, pongs).await else { break };
            rounds.push(round);
        }
        rounds
    }

    /// `None` when the connection has ended before anything was sent.
    async fn round(&mut self, message: Message, wait: Duration, pongs: bool) -> Option<Round> {
        let begun = Instant::now();
        let number = self.sent(Some(message)).await?;
        let mut round = Round { answers: Vec::new(), pong: None, pong_first: false };
        loop {
            let complete = !round.answers.is_empty() && (round.pong.is_some() || !pongs);
            let until = if complete { (Instant::now() + QUIET).min(begun + wait + QUIET) } else { begun + wait };
            match self.next(until).await {
                Some(Came::Message(answer)) => round.answers.push((answer, begun.elapsed())),
                Some(Came::Pong(pong)) if pong == number => {
                    round.pong = Some(begun.elapsed());
                    round.pong_first = round.answers.is_empty();
                }
                Some(Came::Pong(_)) => {}
                Some(Came::End(_)) | None => return Some(round),
            }
        }
    }

    async fn sent(&mut self, message: Option<Message>) -> Option<u32> {
        if self.ended.is_some() {
            return None;
        }
        self.wire.send_with_ping(message).await.map_err(|ending| self.ended = Some(ending)).ok()
    }

    async fn next(&mut self, until: Instant) -> Option<Came> {
        if self.ended.is_some() {
            return None;
        }
        let came = self.wire.next(until).await;
        if let Some(Came::End(ending)) = &came {
            self.ended = Some(ending.clone());
        }
        came
    }

    async fn leave(self) {
        if self.ended.is_none() {
            self.wire.close().await;
        }
    }
}

impl Wire {
    async fn first_message(&mut self, until: Instant, ended: &mut Option<Ending>) -> Option<Message> {
        loop {
            match self.next(until).await? {
                Came::Message(message) => return Some(message),
                Came::Pong(_) => {}
                Came::End(ending) => {
                    *ended = Some(ending);
                    return None;
                }
            }
        }
    }
}

fn greeting(first: &Visit, second: &Visit) -> Greeting {
    match (first.greeted.len(), second.greeted.len()) {
        (one, _) if first.pushes => Greeting::Pushes { count: one },
        (_, other) if second.pushes => Greeting::Pushes { count: other },
        (one, other) if one == other => Greeting::Messages { count: one },
        (first, second) => Greeting::Varies { first, second },
    }
}

fn answers(rounds: &[Round], again: &[Round], greeting: Greeting, ended: Option<Ending>) -> Answers {
    let answered = || rounds.iter().filter(|round| !round.answers.is_empty() && round.pong.is_some());
    let before = answered().filter(|round| round.pong_first).count();
    let after = answered().count() - before;
    let pushes = matches!(greeting, Greeting::Pushes { .. });
    let order = match (after, before) {
        _ if pushes => PongOrder::Unknown,
        (0, 0) => PongOrder::Unknown,
        (_, 0) => PongOrder::After,
        (0, _) => PongOrder::Before,
        (_, _) => PongOrder::Mixed,
    };
    let firsts: Vec<f64> =
        rounds.iter().filter_map(|round| round.answers.first()).map(|(_, took)| millis(*took)).collect();
    let lags = answered()
        .filter_map(|round| round.answers.last().zip(round.pong))
        .map(|((_, at), pong)| millis(at.saturating_sub(pong)));
    let said = |round: &Round| round.answers.iter().map(|(answer, _)| answer.clone()).collect::<Vec<_>>();
    let any = again.iter().any(|round| !round.answers.is_empty());
    Answers {
        counts: rounds.iter().map(|round| round.answers.len()).collect(),
        took_ms: firsts.iter().copied().reduce(f64::min).zip(firsts.iter().copied().reduce(f64::max)).map(Into::into),
        pongs_after: after,
        pongs_before: before,
        pongs_missing: rounds.iter().filter(|round| round.pong.is_none()).count(),
        order,
        lag_ms: lags.reduce(f64::max).filter(|_| before > 0),
        repeatable: (any && !pushes).then(|| rounds.iter().map(said).zip(again.iter().map(said)).all(|(a, b)| a == b)),
        ended,
    }
}

/// A handshake with an offer. Nothing is sent on it: what is said there would have to be compressed to show more.
async fn compression(plan: &Plan) -> Compression {
    let offers = Offers::of_client(&HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, OFFER)]));
    match Wire::connect(plan, &plan.subprotocols, offers).await {
        Ok((wire, Agreed { deflate, .. })) => {
            wire.close().await;
            match deflate {
                Some(agreement) => {
                    Compression::Accepted { answer: agreement.header().to_str().unwrap_or_default().to_owned() }
                }
                None => Compression::Declined,
            }
        }
        Err(error) => Compression::Failed { why: error.to_string() },
    }
}

/// What it speaks: as was said, or as what it said shows, or as it chooses when all known subprotocols are offered.
async fn spoken(plan: &Plan, agreed: &Agreed, first: &Visit, rounds: &[Round]) -> Option<Spoken> {
    if let Some(profile) = plan.profile {
        return Some(Spoken { name: profile.name, why: "--profile says so".into() });
    }
    let answers = rounds.iter().flat_map(|round| round.answers.iter().map(|(answer, _)| answer));
    let came: Vec<Message> = first.greeted.iter().chain(&first.opened).chain(answers).cloned().collect();
    if let Some(guess) = profile::guess(agreed.subprotocol.as_deref(), plan.target.query(), &came) {
        return Some(guess.into());
    }
    if !plan.subprotocols.is_empty() {
        return None;
    }
    let offered = [NOBODYS[0]].into_iter().chain(profile::subprotocols()).chain([NOBODYS[1]]);
    let offered: Vec<String> = offered.map(str::to_owned).collect();
    let (wire, agreed) = Wire::connect(plan, &offered, Offers::default()).await.ok()?;
    wire.close().await;
    profile::guess(agreed.subprotocol.as_deref(), None, &[]).map(Into::into)
}
