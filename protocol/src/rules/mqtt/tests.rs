use super::*;
use crate::rules::Kind;

fn message(payload: &[u8]) -> Message<'_> {
    Message { kind: Kind::Binary, payload, nth: 1 }
}

fn client(payload: &[u8]) -> ClientVerdict {
    Mqtt.client(&message(payload))
}

fn backend(payload: &[u8]) -> BackendVerdict {
    Mqtt.backend(&message(payload))
}

/// A packet with this first byte and body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8], body].concat()
}

const SUBSCRIBE_3: &[u8] = b"\x00\x07\x00\x03a/b\x01";
const SUBSCRIBE_5: &[u8] = b"\x00\x07\x00\x00\x03a/b\x01";
const SUBSCRIBE_5_NUMBERED: &[u8] = b"\x00\x07\x02\x0b\x05\x00\x03a/b\x01";

#[test]
fn a_packet_is_as_long_as_it_says() {
    assert_eq!(Mqtt.len(b""), Ok(None));
    assert_eq!(Mqtt.len(b"\x30"), Ok(None));
    assert_eq!(Mqtt.len(b"\x30\x80"), Ok(None));
    assert_eq!(Mqtt.len(b"\x30\x03abc\x30"), Ok(Some(5)));
    assert_eq!(Mqtt.len(b"\x30\x80\x01"), Ok(Some(131)));
    assert_eq!(Mqtt.len(b"\x30\xff\xff\xff\x7f"), Ok(Some(5 + 268_435_455)));
    assert_eq!(Mqtt.len(b"\x30\xff\xff\xff\xff"), Err(BadPacket));
    assert_eq!(Mqtt.len(b"\x00\x00"), Err(BadPacket));
}

#[test]
fn connect_is_pinned_and_holds_until_connack() {
    let pin = client(&packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")).pin.unwrap();
    assert!(pin.hold);
    let accepted = backend(&packet(0x20, b"\x00\x00"));
    assert_eq!((accepted.answers, accepted.acknowledge, accepted.refuses), (pin.expects, pin.expects, false));
    assert!(backend(&packet(0x20, b"\x00\x05")).refuses);
    assert!(backend(&packet(0x20, b"\x00\x87\x00")).refuses, "version 5");
}

#[test]
fn a_subscription_is_pinned_until_the_same_filters_are_unsubscribed_from_in_either_version() {
    let pins = [SUBSCRIBE_3, SUBSCRIBE_5, SUBSCRIBE_5_NUMBERED].map(|body| client(&packet(0x82, body)).pin.unwrap());
    assert!(pins.iter().all(|pin| pin.key == pins[0].key && !pin.hold));
    for body in [&b"\x00\x08\x00\x03a/b"[..], b"\x00\x08\x00\x00\x03a/b"] {
        assert_eq!(client(&packet(0xa2, body)).unpin.map(|unpin| unpin.key), Some(pins[0].key));
    }
    assert_ne!(client(&packet(0xa2, b"\x00\x08\x00\x03a/c")).unpin.map(|unpin| unpin.key), Some(pins[0].key));
    let answered = backend(&packet(0x90, b"\x00\x07\x01"));
    assert_eq!((answered.answers, answered.acknowledge), (pins[0].expects, pins[0].expects));
}

#[test]
fn a_publish_waits_for_what_ends_its_exchange() {
    let publish = |quality: u8| client(&packet(0x30 | quality << 1, b"\x00\x03a/b\x00\x09hi"));
    assert_eq!(publish(0), ClientVerdict::default());
    let ack = |first: u8, body: &[u8]| backend(&packet(first, body)).acknowledge;
    assert_eq!(publish(1).acknowledge, ack(0x40, b"\x00\x09"));
    assert_eq!(publish(2).acknowledge, ack(0x70, b"\x00\x09"));
    assert_ne!(publish(1).acknowledge, publish(2).acknowledge);
    assert_eq!(ack(0x50, b"\x00\x09"), None);
    assert_eq!(ack(0x50, b"\x00\x09\x80"), publish(2).acknowledge, "refused");
}

#[test]
fn what_answers_the_broker_belongs_to_the_leg() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_eq!(client(&packet(first, b"\x00\x01")).replay, Replay::LegLocal);
    }
}

#[test]
fn a_ping_waits_for_its_answer() {
    assert_eq!(client(b"\xc0\x00").acknowledge, backend(b"\xd0\x00").acknowledge);
    assert!(client(b"\xc0\x00").acknowledge.is_some());
}

#[test]
fn packets_that_are_cut_short_say_nothing() {
    for whole in [packet(0x82, SUBSCRIBE_3), packet(0x32, b"\x00\x03a/b\x00\x09")] {
        for len in 0..whole.len() {
            assert_eq!(client(&whole[..len]), ClientVerdict::default());
        }
    }
    assert_eq!(client(&packet(0x32, b"\x00\x09a/b")), ClientVerdict::default());
}
