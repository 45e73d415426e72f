//! Messages set aside because backends died of them.

use axum::Json;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tideover_protocol::frame::{FrameHeader, Opcode, apply_mask};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Site;
use super::error::Failure;
use super::extract::Path;
use crate::session::Poison;

/// The messages that are kept, the oldest first: at most `--poison-entries`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PoisonedList {
    pub(crate) poisoned: Vec<Poisoned>,
}

/// A message set aside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Poisoned {
    /// The session that it came from.
    pub(crate) session: Uuid,
    /// Its number in that session.
    pub(crate) seq: u64,
    /// When it was set aside (RFC 3339).
    #[schema(format = DateTime)]
    pub(crate) at: String,
    /// The backend that died of it last.
    pub(crate) backend: String,
    /// Number of the backend leg that died of it last.
    pub(crate) epoch: u32,
    /// How many backends died while they had it alone.
    pub(crate) deaths: u8,
    /// Its length on the wire in bytes, frame headers included.
    pub(crate) wire_bytes: usize,
    /// Whether its payload is kept (`--keep-poison-payload`).
    pub(crate) payload_kept: bool,
}

/// A message set aside, with its payload if that is kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PoisonedMessage {
    #[serde(flatten)]
    pub(crate) about: Poisoned,
    /// The payload; null if it is not kept.
    pub(crate) payload: Option<Payload>,
}

/// A message's payload, unmasked and put together from its frames.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "encoding", content = "data", rename_all = "lowercase")]
pub(crate) enum Payload {
    /// A text message that is UTF-8.
    Text(String),
    /// Any other, in base64 (RFC 4648 section 4).
    Base64(String),
    /// A compressed one, as the client compressed it (RFC 7692), in base64.
    Deflate(String),
}

impl From<&Poison> for Poisoned {
    fn from(poison: &Poison) -> Self {
        Self {
            session: poison.session,
            seq: poison.message.seq,
            at: humantime::format_rfc3339_millis(poison.at).to_string(),
            backend: poison.backend.clone(),
            epoch: poison.message.epoch,
            deaths: poison.message.deaths,
            wire_bytes: poison.message.len,
            payload_kept: poison.message.frames.is_some(),
        }
    }
}

impl Payload {
    /// The payload of a message from its frames as they came (RFC 6455 5.2, 5.3, 5.4).
    fn read(frames: &[u8]) -> Self {
        let (mut payload, mut is_text, mut is_compressed) = (Vec::new(), false, false);
        let mut rest = frames;
        // What stands in the ring was parsed once before; if it is broken, what was read so far is shown.
        while let Ok(Some(header)) = FrameHeader::parse(rest) {
            let behind = &rest[header.len..];
            let len = usize::try_from(header.payload).unwrap_or(usize::MAX).min(behind.len());
            let (masked, next) = behind.split_at(len);
            rest = next;
            if header.opcode.is_control() {
                continue;
            }
            is_text |= header.opcode == Opcode::Text;
            is_compressed |= header.compressed;
            let start = payload.len();
            payload.extend_from_slice(masked);
            if let Some(mask) = header.mask {
                apply_mask(&mut payload[start..], mask, 0);
            }
        }
        if is_compressed {
            return Self::Deflate(BASE64_STANDARD.encode(payload));
        }
        match String::from_utf8(payload) {
            Ok(text) if is_text => Self::Text(text),
            Ok(text) => Self::Base64(BASE64_STANDARD.encode(text)),
            Err(error) => Self::Base64(BASE64_STANDARD.encode(error.into_bytes())),
        }
    }
}

/// The poisoned messages, without their payloads.
#[utoipa::path(get, path = "/v1/poisoned", operation_id = "list_poisoned", tag = "poisoned",
    responses((status = 200, body = PoisonedList)))]
pub(super) async fn list(site: Site) -> Json<PoisonedList> {
    let poisoned = site.sessions.poisons().list();
    Json(PoisonedList { poisoned: poisoned.iter().map(|poison| Poisoned::from(&**poison)).collect() })
}

/// A poisoned message, with its payload if that is kept.
#[utoipa::path(get, path = "/v1/poisoned/{session}/{seq}", operation_id = "get_poisoned", tag = "poisoned",
    params(("session" = Uuid, Path), ("seq" = u64, Path)),
    responses((status = 200, body = PoisonedMessage),
        (status = 404, body = Failure, description = "No such message is kept")))]
pub(super) async fn get(site: Site, Path((session, seq)): Path<(Uuid, u64)>) -> Result<Json<PoisonedMessage>, Failure> {
    let poison = site.sessions.poisons().get(session, seq).ok_or_else(|| unknown(session, seq))?;
    let payload = poison.message.frames.as_deref().map(Payload::read);
    Ok(Json(PoisonedMessage { about: Poisoned::from(&*poison), payload }))
}

/// Forget a poisoned message.
#[utoipa::path(delete, path = "/v1/poisoned/{session}/{seq}", operation_id = "forget_poisoned", tag = "poisoned",
    params(("session" = Uuid, Path), ("seq" = u64, Path)),
    responses((status = 204, description = "It is forgotten"),
        (status = 404, body = Failure, description = "No such message is kept")))]
pub(super) async fn delete(site: Site, Path((session, seq)): Path<(Uuid, u64)>) -> Result<StatusCode, Failure> {
    if !site.sessions.poisons().remove(session, seq) {
        return Err(unknown(session, seq));
    }
    tracing::info!(%session, seq, "the operator forgets a poisoned message");
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(session: Uuid, seq: u64) -> Failure {
    Failure::not_found(format!("no message {seq} of session {session} is kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 77, 177, 250];
        let mut masked = payload.to_vec();
        apply_mask(&mut masked, mask, 0);
        [&[first, 0x80 | payload.len() as u8][..], &mask, &masked].concat()
    }

    #[test]
    fn a_payload_is_unmasked_and_put_together() {
        let text = [frame(0x01, b"kil"), frame(0x89, b"ping"), frame(0x00, b"l m"), frame(0x80, b"e")].concat();
        assert_eq!(Payload::read(&text), Payload::Text("kill me".into()));
        assert_eq!(Payload::read(&frame(0x82, b"kill")), Payload::Base64("a2lsbA==".into()));
        assert_eq!(Payload::read(&frame(0x81, b"\xff")), Payload::Base64("/w==".into()));
        assert_eq!(Payload::read(&frame(0x81, b"")), Payload::Text(String::new()));
        let compressed = [frame(0x41, b"ki"), frame(0x80, b"ll")].concat();
        assert_eq!(Payload::read(&compressed), Payload::Deflate("a2lsbA==".into()));
    }
}
