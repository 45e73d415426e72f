//! A DNS server on loopback whose answers a test decides.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, SRV},
    },
};

/// How long its answers last, in seconds.
const TTL: u32 = 1;

/// A server over UDP. What it says can be changed at any time; it never ends.
#[derive(Clone, Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug, Default)]
struct Zone {
    records: Vec<Record>,
    silent: bool,
    asked: usize,
}

impl Dns {
    /// A server that knows no name.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("its address");
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let served = zone.clone();
        std::thread::spawn(move || serve(&socket, &served));
        Self { address, zone }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it knows these names, and no others.
    pub fn say(&self, records: Vec<Record>) {
        self.zone().records = records;
    }

    /// From now on it does not answer, or answers again.
    pub fn set_silent(&self, silent: bool) {
        self.zone().silent = silent;
    }

    /// How many questions it got.
    pub fn asked(&self) -> usize {
        self.zone().asked
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An A record.
///
/// # Panics
/// When `name` is none.
pub fn a(name: &str, address: Ipv4Addr) -> Record {
    Record::from_rdata(self::name(name), TTL, RData::A(A(address)))
}

/// An SRV record.
///
/// # Panics
/// When a name is none.
pub fn srv(name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Record {
    Record::from_rdata(self::name(name), TTL, RData::SRV(SRV::new(priority, weight, port, self::name(target))))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a DNS name")
}

fn serve(socket: &UdpSocket, zone: &Mutex<Zone>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let answer = {
            let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
            zone.asked += 1;
            if zone.silent {
                continue;
            }
            zone.answer(&question)
        };
        // The one who asked may have gone.
        let _ = socket.send_to(&answer.to_vec().expect("an answer fits"), peer);
    }
}

impl Zone {
    fn answer(&self, question: &Message) -> Message {
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        for query in &question.queries {
            let of_name = || self.records.iter().filter(|record| record.name == *query.name());
            answer.add_query(query.clone());
            answer.add_answers(of_name().filter(|record| record.record_type() == query.query_type()).cloned());
            if of_name().next().is_none() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
        }
        answer
    }
}
