//! From the bytes of a question to the bytes of its answer. Pure but for the counters.

use std::net::SocketAddr;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;

use super::zone::{self, Backends, Reply, Zone};

/// The largest answer by UDP in bytes, whatever the client would take: it passes every link in one piece.
const UDP_BYTES: u16 = 1232;
/// What a client takes by UDP that says nothing about it (RFC 1035 4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;

/// How a question came, and what may be said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// By UDP.
    Udp,
    /// By UDP, from a network that has had its share: it is told to ask by TCP, which nobody can do in its name.
    Shortened,
    /// By TCP.
    Tcp,
}

/// The answer to a message of `client`, with its code. `None`: what came is no question, and nothing is said.
pub(super) fn respond(
    zones: &[Zone],
    message: Vec<u8>,
    (client, channel): (SocketAddr, Channel),
    backends: &Backends<'_>,
) -> Option<(Vec<u8>, ResponseCode)> {
    let header = Header::read(&mut BinDecoder::new(&message)).ok()?;
    // An answer to an answer could go on for ever.
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let protocol = if channel == Channel::Tcp { Protocol::Tcp } else { Protocol::Udp };
    let Ok(request) = Request::from_bytes(message, client, protocol) else {
        return Some((malformed(&header.metadata), ResponseCode::FormErr));
    };
    let reply = match channel {
        Channel::Shortened => Reply::error(ResponseCode::NoError),
        Channel::Udp | Channel::Tcp => reply(zones, &request, backends),
    };
    encode(&request, &reply, channel).map(|bytes| (bytes, reply.code))
}

fn reply(zones: &[Zone], request: &Request, backends: &Backends<'_>) -> Reply {
    if request.metadata.op_code != OpCode::Query {
        return Reply::error(ResponseCode::NotImp);
    }
    // RFC 6891 6.1.3: a version that is not known is answered with the highest one that is.
    if request.version() > 0 {
        return Reply::error(ResponseCode::BADVERS);
    }
    match request.queries.queries() {
        [query] => zone::answer(zones, query, backends),
        // RFC 9619: there is exactly one.
        _ => Reply::error(ResponseCode::FormErr),
    }
}

fn encode(request: &Request, reply: &Reply, channel: Channel) -> Option<Vec<u8>> {
    // Says RD again, and that there is no recursion.
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = reply.code;
    metadata.authoritative = reply.authoritative;
    metadata.recursion_available = false;
    metadata.truncation = channel == Channel::Shortened;
    let edns = request.edns.as_ref().map(own_edns);
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = &edns {
        builder.edns(edns);
    }
    let none: &[Record] = &[];
    let response = builder.build(metadata, &reply.answers, &reply.authorities, none, &reply.additionals);
    let mut bytes = Vec::with_capacity(PLAIN_UDP_BYTES.into());
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(most_bytes(request, channel));
    response.destructive_emit(&mut encoder).ok()?;
    Some(bytes)
}

/// An OPT is answered with an OPT (RFC 6891 6.1.1), and its DO bit is said again (RFC 3225 3).
fn own_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn most_bytes(request: &Request, channel: Channel) -> u16 {
    match channel {
        Channel::Tcp => u16::MAX,
        Channel::Udp | Channel::Shortened => request.max_payload().clamp(PLAIN_UDP_BYTES, UDP_BYTES),
    }
}

/// Only the header: what stands behind it cannot be said again.
fn malformed(asked: &Metadata) -> Vec<u8> {
    let mut metadata = Metadata::response_from_request(asked);
    metadata.response_code = ResponseCode::FormErr;
    metadata.recursion_available = false;
    let mut bytes = Vec::with_capacity(12);
    let header = Header { metadata, counts: HeaderCounts::default() };
    header.emit(&mut BinEncoder::new(&mut bytes)).expect("a header fits into twelve bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_server::proto::op::{Message, Query};
    use hickory_server::proto::rr::{Name, RecordType};

    use super::super::zone::Terms;

    fn zones() -> Vec<Zone> {
        let terms = Terms { nameservers: Vec::new(), glue: Vec::new(), serial: 1, ttl: 5 };
        vec![Zone::new(&Name::from_ascii("ws.example.com.").unwrap(), "default".into(), terms)]
    }

    fn question(name: &str) -> Message {
        let mut message = Message::query();
        message.metadata.id = 4711;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    fn send(message: Vec<u8>, channel: Channel, backends: u8) -> Option<Vec<u8>> {
        let addresses = |_: &Zone, _| Some((1..=backends).map(|n| [192, 0, 2, n].into()).collect());
        let client = ([192, 0, 2, 200], 5353).into();
        respond(&zones(), message, (client, channel), &addresses).map(|(bytes, _)| bytes)
    }

    fn ask(message: &Message, channel: Channel, backends: u8) -> Message {
        let bytes = send(message.to_vec().unwrap(), channel, backends).expect("an answer");
        Message::from_vec(&bytes).expect("a good answer")
    }

    #[test]
    fn an_answer_is_authoritative_and_offers_no_recursion() {
        let answer = ask(&question("wS.exAmple.com."), Channel::Udp, 2);
        let head = answer.metadata;
        assert_eq!((head.id, head.response_code), (4711, ResponseCode::NoError));
        assert!(head.authoritative && head.recursion_desired && !head.recursion_available && !head.truncation);
        assert_eq!(answer.queries[0].name.to_ascii(), "wS.exAmple.com.", "spelled as it was asked");
        assert_eq!((answer.answers.len(), answer.edns.is_none()), (2, true));
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_said_to_be() {
        let plain = question("ws.example.com.");
        let cut = ask(&plain, Channel::Udp, 200);
        assert!(cut.metadata.truncation && cut.answers.len() < 200);
        assert!(send(plain.to_vec().unwrap(), Channel::Udp, 200).unwrap().len() <= 512);
        let whole = ask(&plain, Channel::Tcp, 200);
        assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));
    }

    #[test]
    fn edns_makes_room_up_to_our_own_bound() {
        let mut large = question("ws.example.com.");
        let mut edns = Edns::new();
        edns.set_max_payload(65_000).set_dnssec_ok(true);
        large.set_edns(edns);
        let bytes = send(large.to_vec().unwrap(), Channel::Udp, 250).unwrap();
        assert!((513..=1232).contains(&bytes.len()), "{}", bytes.len());
        let answer = ask(&large, Channel::Udp, 1);
        let edns = answer.edns.expect("an OPT is answered with one");
        assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, true));
    }

    #[test]
    fn another_version_of_edns_is_answered_with_ours() {
        let mut message = question("ws.example.com.");
        let mut edns = Edns::new();
        edns.set_version(1);
        message.set_edns(edns);
        let answer = ask(&message, Channel::Udp, 1);
        // 16 is BADSIG as well.
        assert_eq!((u16::from(answer.metadata.response_code), answer.answers.len()), (16, 0));
        assert_eq!(answer.edns.map(|edns| edns.version()), Some(0));
    }

    #[test]
    fn who_has_had_its_share_gets_no_more_than_it_sent() {
        let message = question("ws.example.com.").to_vec().unwrap();
        let bytes = send(message.clone(), Channel::Shortened, 9).unwrap();
        assert!(bytes.len() <= message.len());
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(answer.metadata.truncation && answer.answers.is_empty());
    }

    #[test]
    fn what_is_no_single_question_is_refused() {
        let mut update = question("ws.example.com.");
        update.metadata.op_code = OpCode::Notify;
        assert_eq!(ask(&update, Channel::Udp, 1).metadata.response_code, ResponseCode::NotImp);
        let mut two = question("ws.example.com.");
        two.add_query(two.queries[0].clone());
        assert_eq!(ask(&two, Channel::Udp, 1).metadata.response_code, ResponseCode::FormErr);
        let mut none = question("ws.example.com.");
        none.queries.clear();
        assert_eq!(ask(&none, Channel::Udp, 1).metadata.response_code, ResponseCode::FormErr);
    }

    #[test]
    fn garbage_gets_a_header_or_nothing() {
        let mut cut = question("ws.example.com.").to_vec().unwrap();
        cut.truncate(15);
        let answer = Message::from_vec(&send(cut, Channel::Udp, 1).unwrap()).unwrap();
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (4711, ResponseCode::FormErr));
        assert_eq!(send(vec![0; 11], Channel::Udp, 1), None);
        let answer = ask(&question("ws.example.com."), Channel::Udp, 1);
        assert_eq!(send(answer.to_vec().unwrap(), Channel::Udp, 1), None, "no answer to an answer");
    }
}
