//! Sessions a second, and what opening one costs the proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client;
use crate::error::{Error, Result};
use crate::stage::Running;
use crate::wire::{Judge, Messages};

/// Clients that open sessions at the same time.
const CLIENTS: usize = 16;
const BYTES: usize = 64;

/// What one turn gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) contestant: String,
    pub(crate) round: usize,
    pub(crate) sessions: usize,
    pub(crate) seconds: f64,
    /// User and system time of the proxy meanwhile, in seconds.
    pub(crate) proxy_cpu: f64,
    /// From the first packet to the first answer, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Turn {
    pub(crate) fn rate(&self) -> f64 {
        self.sessions as f64 / self.seconds
    }

    /// CPU time for a session, in microseconds.
    pub(crate) fn cpu_per_session(&self) -> f64 {
        self.proxy_cpu * 1e6 / self.sessions as f64
    }
}

/// Opens sessions, each with a message and its answer, and keeps them until all are open.
pub(crate) fn turn(running: &Running<'_>, round: usize, sessions: usize) -> Result<Turn> {
    let address = running.proxy.address;
    let (cpu, begin) = (running.proxy.cpu(), Instant::now());
    let opened: Vec<_> = std::thread::scope(|scope| {
        let share = |client| (sessions + client) / CLIENTS;
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || open(address, share(client)))).collect();
        let joined = clients.into_iter().map(|client| client.join().expect("a client's thread"));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let (seconds, proxy_cpu) = (begin.elapsed().as_secs_f64(), (running.proxy.cpu() - cpu).as_secs_f64());
    let opened: Vec<_> = opened.into_iter().flatten().collect();
    let mut times: Vec<_> = opened.iter().map(|(_, time)| time.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let turn = Turn {
        contestant: running.contestant.name.clone(),
        round,
        sessions: opened.len(),
        seconds,
        proxy_cpu,
        p50: quantile(0.5),
        p99: quantile(0.99),
    };
    drop(opened);
    running.settle();
    Ok(turn)
}

fn open(address: SocketAddr, sessions: usize) -> Result<Vec<(TcpStream, Duration)>> {
    let messages = Messages::new(BYTES);
    (0..sessions)
        .map(|_| {
            let begin = Instant::now();
            let mut stream = client::open(address, 0)?.stream;
            echo(&mut stream, &messages)?;
            Ok((stream, begin.elapsed()))
        })
        .collect()
}

fn echo(stream: &mut TcpStream, messages: &Messages) -> Result<()> {
    let mut request = Vec::new();
    messages.push(&mut request, 0, 0);
    stream.write_all(&request)?;
    let (mut judge, mut input) = (Judge::default(), [0; 1024]);
    loop {
        let len = stream.read(&mut input)?;
        if len == 0 {
            return Err(Error::Ended { connection: 0 });
        }
        let mut pongs = Vec::new();
        let whole = judge.take(messages, 0, &input[..len], &mut pongs);
        stream.write_all(&pongs)?;
        if whole.map_err(|wrong| Error::Wrong { connection: 0, wrong })? > 0 {
            return Ok(());
        }
    }
}
