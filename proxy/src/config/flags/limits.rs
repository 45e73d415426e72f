//! The flags that bound what clients may ask of the process, and of a session.

use tideover_protocol::session::OnRate;

use super::{Fallback, Flag, Kind, LARGEST, LARGEST_COUNT, POSITIVE, POSITIVE_OR_AUTO, POSITIVE_OR_OFF, Scope, Theme};
use crate::config::choice::names;

pub(super) const LIMITS: Theme = Theme {
    heading: "Limits",
    flags: &[
        Flag {
            name: "max-message-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 125, max: LARGEST },
            default: Fallback::Value("16MiB"),
            summary: "The longest message, in either direction; a longer one ends the session with Close 1009",
            details: "The least is 125 bytes, what a control frame may carry (RFC 6455 5.5).",
            worst_case: "Worst case: this much memory a session for a message to the client that is not complete yet.",
        },
        Flag {
            name: "max-message-frames",
            scope: Scope::Route,
            kind: Kind::Count { min: 1, max: 10_000_000 },
            default: Fallback::Value("131072"),
            summary: "The most frames of one message, in either direction; more end the session with Close 1008",
            details: "Fragments may be empty (RFC 6455 5.4), so max-message-bytes alone does not bound a message.",
            worst_case: "Worst case: 14 bytes a frame of memory, beside the payload.",
        },
        Flag {
            name: "max-handshake-bytes",
            scope: Scope::Process,
            kind: Kind::Size { min: 8 << 10, max: 1 << 20 },
            default: Fallback::Value("16KiB"),
            summary: "The largest head of an HTTP request or response; a larger request is answered 431",
            details: "",
            worst_case: "Worst case: this much memory a session, kept for the re-attach.",
        },
        Flag {
            name: "max-sessions",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 10_000_000 },
            default: Fallback::Value("10000"),
            summary: "Sessions at a time; a client beyond them is answered 503",
            details: "Each takes two file descriptors.",
            worst_case: "Worst case: this many times max-handshake-bytes, beside what buffer-total-bytes bounds.",
        },
        Flag {
            name: "max-sessions-per-address",
            scope: Scope::Process,
            kind: Kind::Count { min: 0, max: LARGEST_COUNT },
            default: Fallback::Value("0"),
            summary: "Sessions of one client address at a time, or of one /64 of IPv6; one beyond them is answered 429",
            details: "The address is taken from X-Forwarded-For where trust-forwarded allows, or from the PROXY header. 0: \
                      any number, since many clients may share an address behind a balancer or a carrier's NAT.",
            worst_case: "Worst case: with 0, one client can have all of max-sessions.",
        },
        Flag {
            name: "session-rate-per-address",
            scope: Scope::Process,
            kind: Kind::Count { min: 0, max: 1_000_000 },
            default: Fallback::Value("0"),
            summary: "Handshakes a second of one client address, or one /64 of IPv6; one beyond them is answered 429",
            details: "As many at once. 0: any number. Of more than 65,536 busy networks, the further ones share one \
                      allowance.",
            worst_case: "",
        },
        Flag {
            name: "handshake-timeout",
            scope: Scope::Process,
            kind: POSITIVE,
            default: Fallback::Value("10s"),
            summary: "How long a client may take, from being accepted, to send a whole request head",
            details: "A PROXY header and a TLS handshake are part of it, and bytes that trickle do not make it longer. One \
                      that has begun a request is answered 408. A connection may be idle so long between two requests.",
            worst_case: "Worst case: a client holds a descriptor so long for nothing.",
        },
        Flag {
            name: "max-header-fields",
            scope: Scope::Process,
            kind: Kind::Count { min: 1, max: 120 },
            default: Fallback::Value("100"),
            summary: "Fields of a request's header; more are answered 431",
            details: "",
            worst_case: "",
        },
    ],
};

pub(super) const CLIENTS: Theme = Theme {
    heading: "Limits of a session",
    flags: &[
        Flag {
            name: "message-rate",
            scope: Scope::Route,
            kind: Kind::Count { min: 0, max: 1_000_000 },
            default: Fallback::Value("0"),
            summary: "Messages that a client may send in a second; on-rate says what happens beyond",
            details: "A second's worth may come at once. 0: any number, since it is the application's to say what is too \
                      many.",
            worst_case: "",
        },
        Flag {
            name: "byte-rate",
            scope: Scope::Route,
            kind: Kind::Size { min: 0, max: LARGEST },
            default: Fallback::Value("0"),
            summary: "Bytes that a client may send in a second; on-rate says what happens beyond",
            details: "As they come, headers of frames included; what TLS adds is not counted. A second's worth may come at \
                      once, and a message may be larger. 0: any number.",
            worst_case: "",
        },
        Flag {
            name: "control-rate",
            scope: Scope::Route,
            kind: Kind::Count { min: 0, max: 1_000_000 },
            default: Fallback::Value("1000"),
            summary: "Pings, pongs and tiny fragments that a client may send in a second; on-rate says what happens beyond",
            details: "A second's worth may come at once. Tiny is a fragment, not its message's last, that is shorter than its \
                      own header: under 6 bytes. 0: any number.",
            worst_case: "Worst case: so many pongs a second are written for a client that reads them; of pings that it \
                         does not let us answer, the latest 16 wait.",
        },
        Flag {
            name: "on-rate",
            scope: Scope::Route,
            kind: Kind::Choice(names::<OnRate>),
            default: Fallback::Value("throttle"),
            summary: "What happens to a client beyond message-rate, byte-rate or control-rate",
            details: "throttle: it is read no faster, so TCP slows it down, and nothing is lost. close: it gets Close 1008, \
                      behind the answers to what it said before.",
            worst_case: "Worst case: with throttle, what is in the socket's buffers waits; with close, what one reading \
                         brought beyond the rate is handled still.",
        },
        Flag {
            name: "idle-timeout",
            scope: Scope::Route,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("off"),
            summary: "How long a session may be without a message, of either side, before both get Close 1001",
            details: "Pings and pongs do not count, a message on its way does. Off: many applications are silent for hours, \
                      and ping-interval finds peers that are gone.",
            worst_case: "",
        },
        Flag {
            name: "max-session-age",
            scope: Scope::Route,
            kind: POSITIVE_OR_OFF,
            default: Fallback::Value("off"),
            summary: "How old a session may become before client and backend get Close 1001",
            details: "Up to a tenth less, by chance, so that those who came together do not go together. What the client \
                      has said is handled and answered first, for close-timeout at most.",
            worst_case: "",
        },
        Flag {
            name: "slow-client-bytes",
            scope: Scope::Route,
            kind: Kind::Size { min: 1, max: 1 << 30 },
            default: Fallback::Value("64KiB"),
            summary: "Bytes of whole messages that wait for a client, from which on its backend is not read",
            details: "So TCP slows the backend down, for this session only.",
            worst_case: "Worst case: this much memory a session, one reading of 64 KiB, and one message that has begun.",
        },
        Flag {
            name: "slow-client-timeout",
            scope: Scope::Route,
            kind: POSITIVE_OR_AUTO,
            default: Fallback::Value("auto"),
            summary: "How long a client may take nothing of what waits for it before it gets Close 1008",
            details: "It will hardly read that, so its connection is cut close-timeout later. auto: 30 s, and only when other \
                      sessions wait for the memory (buffer-total-bytes) that its messages hold: else it is in nobody's \
                      way, and may have been suspended.",
            worst_case: "Worst case: with auto, slow-client-bytes and a message of memory each for clients that never read, \
                         while there is memory for all.",
        },
    ],
};
