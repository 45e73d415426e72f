//! The protocols that a backend may be recognised by, and how a connection that speaks one is opened.

use serde_json::Value;
use tungstenite::Message;

/// What is known of a protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, that of the rules for it.
    pub(super) name: &'static str,
    /// What it is negotiated by; empty if it is not.
    pub(super) subprotocols: &'static [&'static str],
    /// What is usually asked for.
    pub(super) path: &'static str,
    /// What opens each connection.
    opening: Option<Said>,
    /// A question that changes nothing, and has an answer.
    question: Option<Said>,
}

/// A message that is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Text(&'static str),
    Binary(&'static [u8]),
}

/// MQTT 3.1.1, 3.1: CONNECT with a clean session, no keep-alive and the client id `tideover-doctor`.
const MQTT_CONNECT: &[u8] = b"\x10\x1b\x00\x04MQTT\x04\x02\x00\x00\x00\x0ftideover-doctor";

/// All that are known.
static PROFILES: [Profile; 6] = [
    Profile {
        name: "eth-subscribe",
        subprotocols: &[],
        path: "/",
        opening: None,
        question: Some(Said::Text(r#"{"jsonrpc":"2.0","id":1,"method":"web3_clientVersion"}"#)),
    },
    Profile {
        name: "graphql-transport-ws",
        subprotocols: &["graphql-transport-ws"],
        path: "/graphql",
        opening: Some(Said::Text(r#"{"type":"connection_init"}"#)),
        question: Some(Said::Text(r#"{"type":"ping"}"#)),
    },
    Profile {
        name: "json-rpc",
        subprotocols: &[],
        path: "/",
        opening: None,
        question: Some(Said::Text(r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#)),
    },
    Profile {
        name: "ocpp",
        subprotocols: &["ocpp2.0.1", "ocpp2.0", "ocpp1.6"],
        path: "/",
        opening: None,
        question: Some(Said::Text(r#"[2,"tideover-doctor","Heartbeat",{}]"#)),
    },
    Profile {
        name: "socket.io",
        subprotocols: &[],
        path: "/socket.io/?EIO=4&transport=websocket",
        opening: Some(Said::Text("40")),
        question: None,
    },
    Profile {
        name: "mqtt",
        subprotocols: &["mqtt"],
        path: "/mqtt",
        opening: Some(Said::Binary(MQTT_CONNECT)),
        question: Some(Said::Binary(&[0xc0, 0])),
    },
];

/// The profile of that name.
pub(super) fn by_name(name: &str) -> Result<&'static Profile, String> {
    let names: Vec<_> = all().collect();
    PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| format!("is none of {}", names.join(", ")))
}

/// The names of all.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}

/// All subprotocols that tell a profile.
pub(super) fn subprotocols() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().flat_map(|profile| profile.subprotocols.iter().copied())
}

impl Profile {
    /// What opens each connection.
    pub(super) fn opening(&self) -> Option<Message> {
        self.opening.map(Said::message)
    }

    /// A question that changes nothing, and has an answer.
    pub(super) fn question(&self) -> Option<Message> {
        self.question.map(Said::message)
    }
}

impl Said {
    fn message(self) -> Message {
        match self {
            Self::Text(text) => Message::text(text),
            Self::Binary(bytes) => Message::binary(bytes),
        }
    }
}

/// What a backend speaks, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) name: &'static str,
    pub(super) why: String,
}

/// Guesses by the subprotocol, the query of what was asked for, and what came first.
pub(super) fn guess(subprotocol: Option<&str>, query: Option<&str>, came: &[Message]) -> Option<Guess> {
    let by_subprotocol = subprotocol.and_then(|chosen| {
        let profile = PROFILES.iter().find(|profile| profile.subprotocols.contains(&chosen))?;
        Some(Guess { name: profile.name, why: format!("it chose the subprotocol {chosen}") })
    });
    let engine = || {
        let has = query?.split('&').any(|pair| pair.starts_with("EIO="));
        has.then(|| Guess { name: "socket.io", why: "EIO is in the query".into() })
    };
    by_subprotocol.or_else(engine).or_else(|| came.iter().find_map(by_message))
}

fn by_message(message: &Message) -> Option<Guess> {
    let text = message.to_text().ok()?;
    let open = text.strip_prefix('0').and_then(|json| serde_json::from_str::<Value>(json).ok());
    if open.is_some_and(|open| open["sid"].is_string() && open["pingInterval"].is_number()) {
        return Some(Guess { name: "socket.io", why: "it begins with an open packet of Engine.IO".into() });
    }
    match serde_json::from_str(text).ok()? {
        Value::Object(object) if object.get("params").is_some_and(|params| params.get("subscription").is_some()) => {
            Some(Guess { name: "eth-subscribe", why: "it sent a notification with the id of a subscription".into() })
        }
        Value::Object(object) if object.get("jsonrpc").is_some_and(|version| version == "2.0") => {
            Some(Guess { name: "json-rpc", why: "it sent an object of JSON-RPC 2.0".into() })
        }
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "connection_ack") => {
            Some(Guess { name: "graphql-transport-ws", why: "it sent a connection_ack".into() })
        }
        Value::Array(items) if is_ocpp(&items) => {
            Some(Guess { name: "ocpp", why: "it sent an array as OCPP-J frames it".into() })
        }
        _ => None,
    }
}

/// OCPP-J 4.2: a call, its result, or its error.
fn is_ocpp(items: &[Value]) -> bool {
    let has_id = items.get(1).is_some_and(Value::is_string);
    let rest_fits = match items.first().and_then(Value::as_u64) {
        Some(2) => items.len() == 4 && items[2].is_string() && items[3].is_object(),
        Some(3) => items.len() == 3 && items[2].is_object(),
        Some(4) => items.len() == 5 && items[2].is_string() && items[4].is_object(),
        _ => false,
    };
    has_id && rest_fits
}
