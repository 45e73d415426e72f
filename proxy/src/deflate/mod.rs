//! permessage-deflate (RFC 7692) between a client and its backends, which the proxy relays without inflating.
//!
//! A session may change its backend at any message, and messages may be replayed, swallowed or dropped. So no message
//! may refer to one before it: both directions are negotiated without context takeover. That the proxy may ask of
//! either side: a client's offer can have `server_no_context_takeover` added, for which the server must answer with the
//! same (7.1.1.1), and a server's answer can have `client_no_context_takeover` added, unasked, which binds the client
//! (7.1.1.2). The sizes of the windows are for both sides to agree on; a later backend must keep to them.
//!
//! What this must not do: look at messages.

mod list;

use std::fmt::Write as _;

use hyper::header::{HeaderMap, HeaderValue};

use list::Extension;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// Most offers of a client that are passed on. Browsers make one, other clients two or three.
const MAX_OFFERS: usize = 4;

/// What an offer says of the client's window (RFC 7692 7.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientWindow {
    /// Nothing: a server must not limit it.
    Fixed,
    /// A server may limit it.
    Any,
    /// It is no larger than so many bits, and a server may limit it further.
    UpTo(u8),
}

/// One offer of permessage-deflate, as a backend gets it. That no context is taken over goes without saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    /// The largest window that the server may use, in bits.
    server_bits: Option<u8>,
    client: ClientWindow,
}

/// What a backend is offered, in the client's order of preference. At most four; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers(Box<[Offer]>);

/// What a session's client and backend agreed on: permessage-deflate without context takeover, and the sizes of the
/// windows in bits, from 8 to 15, where those were said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    server_bits: Option<u8>,
    client_bits: Option<u8>,
}

impl Offers {
    /// What of a client's handshake a backend is offered: its offers of permessage-deflate. An offer with parameters
    /// that RFC 7692 does not define, or twice, or with wrong values, is declined (7.1), and any other extension too.
    /// A header that is no list of extensions offers nothing.
    #[must_use]
    pub fn of_client(headers: &HeaderMap) -> Self {
        let extensions = list::extensions(headers).unwrap_or_default();
        let mut offers: Vec<Offer> = Vec::new();
        for offer in extensions.iter().filter_map(Offer::read) {
            if !offers.contains(&offer) && offers.len() < MAX_OFFERS {
                offers.push(offer);
            }
        }
        Self(offers.into_boxed_slice())
    }

    /// The value of Sec-WebSocket-Extensions for a backend; `None` if nothing is offered.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let offers: Vec<_> = self.0.iter().map(Offer::text).collect();
        (!offers.is_empty()).then(|| offers.join(", ").parse().expect("tokens are a header value"))
    }

    /// Bytes that it points to.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// What a backend agreed to with these headers of its 101; `None` if to no extension.
    ///
    /// # Errors
    /// What of it a client would have to fail the connection for (RFC 6455 4.1, RFC 7692 7.1), in words for the log.
    pub fn answered(&self, headers: &HeaderMap) -> Result<Option<Agreement>, &'static str> {
        let extensions = list::extensions(headers).map_err(|_| "malformed Sec-WebSocket-Extensions (RFC 6455 9.1)")?;
        let answer = match extensions.as_slice() {
            [] => return Ok(None),
            [one] if one.name == NAME && !self.0.is_empty() => one,
            _ => return Err("an extension that was not offered"),
        };
        let agreement = Agreement::read(answer)?;
        let offered = self.0.iter().any(|offer| offer.takes(agreement));
        offered
            .then_some(Some(agreement))
            .ok_or("permessage-deflate with a window that was not offered (RFC 7692 7.1.2)")
    }
}

impl Offer {
    fn read(extension: &Extension) -> Option<Self> {
        let parameters = Parameters::read(extension).ok()?;
        let client = match parameters.client_bits {
            None => ClientWindow::Fixed,
            Some(None) => ClientWindow::Any,
            Some(Some(bits)) => ClientWindow::UpTo(bits),
        };
        Some(Self { server_bits: parameters.server_bits, client })
    }

    fn text(&self) -> String {
        let client_bits = match self.client {
            ClientWindow::Fixed => None,
            ClientWindow::Any => Some(None),
            ClientWindow::UpTo(bits) => Some(Some(bits)),
        };
        text(self.server_bits, client_bits)
    }

    /// Whether a backend may answer it so (RFC 7692 7.1.2.1, 7.1.2.2).
    fn takes(&self, answer: Agreement) -> bool {
        let server = self.server_bits.is_none_or(|most| answer.server_bits.is_some_and(|bits| bits <= most));
        let client = match (self.client, answer.client_bits) {
            (_, None) | (ClientWindow::Any, Some(_)) => true,
            (ClientWindow::Fixed, Some(_)) => false,
            (ClientWindow::UpTo(most), Some(bits)) => bits <= most,
        };
        server && client
    }
}

impl Agreement {
    fn read(answer: &Extension) -> Result<Self, &'static str> {
        let parameters = Parameters::read(answer)?;
        if !parameters.server_no_context {
            return Err(
                "permessage-deflate without server_no_context_takeover, which was asked for (RFC 7692 7.1.1.1); \
                        --compression off goes without",
            );
        }
        let client_bits = match parameters.client_bits {
            Some(None) => return Err("client_max_window_bits without a value (RFC 7692 7.1.2.2)"),
            Some(Some(bits)) => Some(bits),
            None => None,
        };
        Ok(Self { server_bits: parameters.server_bits, client_bits })
    }

    /// The value of Sec-WebSocket-Extensions for the client. What it did not ask for, a server may say all the same
    /// (RFC 7692 7.1.1.1, 7.1.1.2, 7.1.2.1).
    #[must_use]
    pub fn header(self) -> HeaderValue {
        text(self.server_bits, self.client_bits.map(Some)).parse().expect("tokens are a header value")
    }

    /// What a later backend of the session is offered: just this.
    #[must_use]
    pub fn offers(self) -> Offers {
        let client = self.client_bits.map_or(ClientWindow::Fixed, ClientWindow::UpTo);
        Offers(Box::new([Offer { server_bits: self.server_bits, client }]))
    }

    /// Whether a backend that agreed to `later`, when offered this, can read what the client sends, and the other way
    /// round. Its own window is then no larger; it must not want a smaller one of the client, which knows of none.
    #[must_use]
    pub fn is_kept_by(self, later: Self) -> bool {
        later.client_bits.is_none_or(|bits| self.client_bits.is_some_and(|told| bits >= told))
    }
}

fn text(server_bits: Option<u8>, client_bits: Option<Option<u8>>) -> String {
    let mut text = format!("{NAME}; {SERVER_NO_CONTEXT}; {CLIENT_NO_CONTEXT}");
    let mut add = |name: &str, bits: Option<u8>| match bits {
        None => write!(text, "; {name}"),
        Some(bits) => write!(text, "; {name}={bits}"),
    };
    let written = server_bits.map_or(Ok(()), |bits| add(SERVER_BITS, Some(bits)));
    written.and_then(|()| client_bits.map_or(Ok(()), |bits| add(CLIENT_BITS, bits))).expect("a string takes all");
    text
}

/// The parameters of RFC 7692 7.1, each at most once, with values as they may be. What may be missing differs between
/// an offer and an answer.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context: bool,
    client_no_context: bool,
    server_bits: Option<u8>,
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    fn read(extension: &Extension) -> Result<Self, &'static str> {
        let mut read = Self::default();
        if extension.name != NAME {
            return Err("an extension that was not offered");
        }
        for (name, value) in &extension.parameters {
            read.add(name, value.as_deref())?;
        }
        Ok(read)
    }

    fn add(&mut self, name: &str, value: Option<&str>) -> Result<(), &'static str> {
        let again = match (name, value) {
            (SERVER_NO_CONTEXT, None) => std::mem::replace(&mut self.server_no_context, true),
            (CLIENT_NO_CONTEXT, None) => std::mem::replace(&mut self.client_no_context, true),
            (SERVER_BITS, Some(value)) => self.server_bits.replace(bits(value)?).is_some(),
            (CLIENT_BITS, None) => self.client_bits.replace(None).is_some(),
            (CLIENT_BITS, Some(value)) => self.client_bits.replace(Some(bits(value)?)).is_some(),
            _ => return Err("permessage-deflate with a parameter that RFC 7692 7.1 does not define so"),
        };
        if again { Err("permessage-deflate with a parameter twice (RFC 7692 7.1)") } else { Ok(()) }
    }
}

/// A decimal integer from 8 to 15 without leading zeros (RFC 7692 7.1.2).
fn bits(value: &str) -> Result<u8, &'static str> {
    let bits = value.parse().ok().filter(|bits: &u8| (8..=15).contains(bits) && bits.to_string() == value);
    bits.ok_or("permessage-deflate with a window of other than 8 to 15 bits (RFC 7692 7.1.2)")
}

#[cfg(test)]
mod tests;
