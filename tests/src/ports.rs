//! Fixed ports for backends that are killed and come back.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use crate::lock::{self, Lock};

/// A loopback port that stays ours, also while nothing listens on it.
#[derive(Debug)]
pub struct ReservedPort {
    /// The port's number.
    pub number: u16,
    _lock: Lock,
}

/// Below Linux's ephemeral range (32768 on): an outgoing connection never takes the port of a backend that is away.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Reserves a port that nothing listens on, against all other test processes of this user.
///
/// # Panics
/// When none of the range is free.
pub fn reserve() -> ReservedPort {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let directory = lock::shared_directory().join("ports");
    std::fs::create_dir_all(&directory).expect("the ports directory");
    let start = (std::process::id() as u16).wrapping_mul(61);
    for _ in 0..COUNT {
        let number = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let Some(lock) = lock::try_exclusive(&directory.join(number.to_string())) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
            return ReservedPort { number, _lock: lock };
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
