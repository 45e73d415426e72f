//! How each protocol's states are seen on the wire.

use super::state::{Sign, State};

pub(super) fn graphql(state: State) -> Option<Sign> {
    Some(match state {
        State::InitSent => Sign::sent(|text| has(text, "\"connection_init\"")),
        State::Unacknowledged => Sign::sent(|text| has(text, "\"subscribe\"") && has(text, "subscription {")),
        State::Streaming => Sign::came(|text| has(text, "\"next\"") && has(text, "\"ticks\"")),
        State::Connecting | State::ServerAsks | State::Idle => return None,
    })
}

/// OCPP has no subscriptions; its stream is that of answers to what a station reports.
pub(super) fn ocpp(state: State) -> Option<Sign> {
    Some(match state {
        State::InitSent => Sign::sent(|text| has(text, "\"BootNotification\"")),
        State::Streaming => Sign::came(|text| has(text, "[3,\"card-")),
        State::ServerAsks => Sign::on_its_way(|text| text.starts_with(b"[3,")),
        State::Connecting | State::Unacknowledged | State::Idle => return None,
    })
}

/// Of what the application says, `join` is the subscription.
pub(super) fn socket_io(state: State) -> Option<Sign> {
    Some(match state {
        State::InitSent => Sign::sent(|text| text.starts_with(b"40")),
        State::Unacknowledged => Sign::sent(|text| text.starts_with(b"42") && has(text, "[\"join\"")),
        State::Streaming => Sign::came(|text| text.starts_with(b"42[\"said\"")),
        State::ServerAsks => Sign::on_its_way(|text| text.starts_with(b"43")),
        State::Connecting | State::Idle => return None,
    })
}

/// By the type of the control packet (MQTT 5, 2.1.2). What a broker asks is that a PUBLISH be acknowledged: by PUBACK, or by
/// PUBREC.
pub(super) fn mqtt(state: State) -> Option<Sign> {
    fn is(packet: &[u8], kind: u8) -> bool {
        packet.first().is_some_and(|first| first >> 4 == kind)
    }
    Some(match state {
        State::InitSent => Sign::sent(|packet| is(packet, 1)),
        State::Unacknowledged => Sign::sent(|packet| is(packet, 8)),
        State::Streaming => Sign::came(|packet| is(packet, 3)),
        State::ServerAsks => Sign::on_its_way(|packet| is(packet, 4) || is(packet, 5)),
        State::Connecting | State::Idle => return None,
    })
}

pub(super) fn json_rpc(state: State) -> Option<Sign> {
    Some(match state {
        State::Unacknowledged => Sign::sent(|text| has(text, "\"eth_subscribe\"")),
        State::Streaming => Sign::came(|text| has(text, "\"eth_subscription\"")),
        State::Connecting | State::InitSent | State::ServerAsks | State::Idle => return None,
    })
}

fn has(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}
