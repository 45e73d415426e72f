//! Questions to a DNS server: by the real `dig`, or, where that cannot be had, by hickory.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RecordType},
};

use crate::environment;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answered, as `dig` writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `NOERROR`, `NXDOMAIN`, …
    pub status: String,
    /// `qr`, `aa`, …
    pub flags: Vec<String>,
    /// The question, as the server says it again.
    pub question: Vec<String>,
    /// Records: name, TTL, class, type, data.
    pub answers: Vec<String>,
    /// Records of the authority section.
    pub authorities: Vec<String>,
    /// Records of the additional section, without OPT.
    pub additionals: Vec<String>,
    /// Whether there is an OPT.
    pub edns: bool,
}

impl Answer {
    /// The data of the answers: addresses.
    pub fn data(&self) -> Vec<&str> {
        self.answers.iter().filter_map(|record| record.rsplit(' ').next()).collect()
    }
}

/// Asks `server` for the records of type `kind` of `name`, by UDP with EDNS, or by TCP.
///
/// # Panics
/// When there is no answer within five seconds.
pub fn ask(server: SocketAddr, name: &str, kind: &str, tcp: bool) -> Answer {
    match environment::dig() {
        Ok(dig) => by_dig(dig, server, name, kind, tcp),
        Err(needed) => {
            eprintln!("asked by hickory, not by dig: {needed}");
            by_hickory(server, name, kind, tcp)
        }
    }
}

fn by_dig(dig: &str, server: SocketAddr, name: &str, kind: &str, tcp: bool) -> Answer {
    let mut command = Command::new(dig);
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), name, kind]);
    command.args(["+tries=1", "+time=5", "+noidnin", "+noidnout", if tcp { "+tcp" } else { "+notcp" }]);
    let output = command.output().expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} failed:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text)
}

/// What dig prints: comments behind semicolons, and records in sections.
fn parse(text: &str) -> Answer {
    let mut answer = Answer::default();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(";; ").and_then(|line| line.strip_suffix(" SECTION:")) {
            section = title;
        } else if let Some(header) = line.strip_prefix(";; ->>HEADER<<- ") {
            let status = header.split(", ").find_map(|field| field.strip_prefix("status: "));
            answer.status = status.unwrap_or_default().to_owned();
        } else if let Some(flags) = line.strip_prefix(";; flags: ") {
            let flags = flags.split(';').next().unwrap_or_default();
            answer.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if line.starts_with("; EDNS: ") {
            answer.edns = true;
        } else if !line.is_empty() && (section == "QUESTION" || !line.starts_with(';')) {
            let words: Vec<_> = line.trim_start_matches(';').split_whitespace().collect();
            let record = words.join(" ");
            match section {
                "QUESTION" => answer.question.push(record),
                "ANSWER" => answer.answers.push(record),
                "AUTHORITY" => answer.authorities.push(record),
                "ADDITIONAL" => answer.additionals.push(record),
                _ => {}
            }
        } else if line.is_empty() {
            section = "";
        }
    }
    answer
}

fn by_hickory(server: SocketAddr, name: &str, kind: &str, tcp: bool) -> Answer {
    let mut message = Message::query();
    let kind: RecordType = kind.parse().expect("a type of records");
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).expect("a name"), kind));
    message.set_edns(Edns::new());
    let question = message.to_vec().expect("a question");
    let bytes = if tcp { over_tcp(server, &question) } else { over_udp(server, &question) };
    let message = Message::from_vec(&bytes).expect("an answer");
    let head = message.metadata;
    let flags = [("qr", true), ("aa", head.authoritative), ("tc", head.truncation), ("rd", head.recursion_desired)];
    let texts = |records: &[hickory_proto::rr::Record]| records.iter().map(ToString::to_string).collect();
    Answer {
        status: format!("{:?}", head.response_code).to_uppercase(),
        flags: flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| (*flag).to_owned()).collect(),
        question: message.queries.iter().map(ToString::to_string).collect(),
        answers: texts(&message.answers),
        authorities: texts(&message.authorities),
        additionals: texts(&message.additionals),
        edns: message.edns.is_some(),
    }
}

fn over_udp(server: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a UDP socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.send_to(question, server).expect("sent");
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).expect("an answer in time");
    answer.truncate(length);
    answer
}

fn over_tcp(server: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let length = u16::try_from(question.len()).expect("a short question").to_be_bytes();
    stream.write_all(&[&length, question].concat()).expect("sent");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer in time");
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).expect("the whole answer");
    answer
}
