//! A backend that the test plays itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::net::{TcpListener, TcpSocket};

use super::Connection;
use crate::{
    deadline::{wait_for, within},
    ports::{self, ReservedPort},
};

/// A listening port. The kernel accepts up to 1,024 connections that the test has not yet taken.
#[derive(Debug)]
pub struct RawBackend {
    port: ReservedPort,
    listener: Option<TcpListener>,
}

impl RawBackend {
    /// Listens on a port that it keeps.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn bind() -> Self {
        let mut backend = Self { port: ports::reserve(), listener: None };
        backend.listen();
        backend
    }

    /// Its address, also while it does not listen.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// The next TCP connection; no byte of it is read.
    ///
    /// # Panics
    /// When none comes within `deadline`, or it does not listen.
    pub async fn connection(&self, deadline: Duration) -> Connection {
        let listener = self.listener.as_ref().expect("the backend listens");
        let accepted = within(deadline, "the backend gets a connection", listener.accept()).await;
        Connection::accepted(accepted.expect("accept").0)
    }

    /// The next connection after its handshake.
    ///
    /// # Panics
    /// As [`RawBackend::connection`] and [`Connection::accept`].
    pub async fn session(&self, deadline: Duration) -> Connection {
        let mut connection = self.connection(deadline).await;
        connection.accept(&[]).await;
        connection
    }

    /// Whether connections are accepted.
    pub fn listens(&self) -> bool {
        self.listener.is_some()
    }

    /// From now on connections are refused; those that were taken stay.
    pub fn refuse(&mut self) {
        self.listener = None;
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen(&mut self) {
        // A child process that another thread starts has the sockets of this one, until its exec(2) closes them.
        let bound = wait_for(Duration::from_secs(5), "the reserved port is free", || {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("SO_REUSEADDR");
            socket.bind(self.address()).is_ok().then_some(socket)
        });
        self.listener = Some(bound.listen(1024).expect("listen"));
    }
}
