//! A slow line: what goes toward the server, or toward the client, passes at a fixed rate.

use std::{io, net::SocketAddr, time::Duration};

use tideover_tests::ports::{self, ReservedPort};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// Time between two pieces.
const TICK: Duration = Duration::from_millis(50);

/// Kernel buffer a connection, so that little of the line's slowness is hidden.
const KERNEL_BUFFER: u32 = 32 << 10;

/// In which direction a line is slow; in the other it is fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    TowardServer,
    TowardClient,
}

/// A line to one server, for any number of connections. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct SlowLink {
    port: ReservedPort,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// A line to `server` that takes so many bytes a second in the `slow` direction, on each connection.
    pub(crate) fn start(server: SocketAddr, slow: Slow, bytes_per_second: usize) -> Self {
        let port = ports::reserve();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("SO_REUSEADDR");
        socket.set_recv_buffer_size(KERNEL_BUFFER).expect("SO_RCVBUF");
        socket.bind(([127, 0, 0, 1], port.number).into()).expect("the reserved port is free");
        let listener = socket.listen(64).expect("listen");
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, slow, bytes_per_second));
            }
        });
        Self { port, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number).into()
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries both ways until both have ended; the end of a stream, orderly or not, is passed on as one.
async fn carry(near: TcpStream, server: SocketAddr, slow: Slow, bytes_per_second: usize) {
    let Ok(far) = connect(server).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let _ = match slow {
        Slow::TowardServer => {
            tokio::join!(carry_slowly(from_near, to_far, bytes_per_second), carry_fast(from_far, to_near))
        }
        Slow::TowardClient => {
            tokio::join!(carry_slowly(from_far, to_near, bytes_per_second), carry_fast(from_near, to_far))
        }
    };
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.connect(server).await
}

async fn carry_fast(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    // After an error too, the other side sees an end.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    to.shutdown().await
}

async fn carry_slowly(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes_per_second: usize) -> io::Result<()> {
    let mut piece = vec![0; bytes_per_second / 20];
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let len = from.read(&mut piece).await?;
        if len == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..len]).await?;
    }
}
