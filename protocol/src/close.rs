//! Close codes and the payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

/// A status code of a Close frame (RFC 6455 7.4.1 and the registry of 11.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1008: a policy forbids it.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code, if it may stand in a Close frame: 1000-1003, 1007-1014 and 3000-4999. 1004 is reserved, 1005, 1006
    /// and 1015 never go on the wire (7.4.1), the rest has no meaning yet (7.4.2).
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number on the wire.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame's payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosePayload<'a> {
    /// `None` for a Close without a code.
    pub code: Option<CloseCode>,
    /// The reason, empty if none was given.
    pub reason: &'a str,
}

/// Why a Close frame's payload is invalid; answered with 1002 (RFC 6455 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidClose {
    /// One byte: neither empty nor a code (5.5.1).
    HalfACode,
    /// A code that must not go on the wire (7.4).
    Code(u16),
    /// The reason is not UTF-8 (5.5.1).
    Reason,
}

impl std::fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HalfACode => f.write_str("a Close payload of one byte"),
            Self::Code(code) => write!(f, "Close code {code}, which must not be sent"),
            Self::Reason => f.write_str("a Close reason that is not UTF-8"),
        }
    }
}

impl<'a> ClosePayload<'a> {
    /// Reads an unmasked payload.
    ///
    /// # Errors
    /// What RFC 6455 5.5.1 and 7.4 forbid.
    pub fn parse(payload: &'a [u8]) -> Result<Self, InvalidClose> {
        match payload {
            [] => Ok(Self { code: None, reason: "" }),
            [_] => Err(InvalidClose::HalfACode),
            [high, low, reason @ ..] => {
                let number = u16::from_be_bytes([*high, *low]);
                let code = CloseCode::new(number).ok_or(InvalidClose::Code(number))?;
                let reason = std::str::from_utf8(reason).map_err(|_| InvalidClose::Reason)?;
                Ok(Self { code: Some(code), reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_never_go_on_the_wire_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::new(code), None, "{code}");
            assert_eq!(ClosePayload::parse(&code.to_be_bytes()), Err(InvalidClose::Code(code)));
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }

    #[test]
    fn a_payload_is_empty_or_a_code_and_a_utf8_reason() {
        assert_eq!(ClosePayload::parse(b""), Ok(ClosePayload { code: None, reason: "" }));
        assert_eq!(ClosePayload::parse(b"\x03"), Err(InvalidClose::HalfACode));
        assert_eq!(ClosePayload::parse(b"\x03\xe8\xff"), Err(InvalidClose::Reason));
        let parsed = ClosePayload::parse(b"\x03\xe8bye").unwrap();
        assert_eq!((parsed.code, parsed.reason), (Some(CloseCode::NORMAL), "bye"));
    }
}
