//! The API's own port or socket.

use std::fs::{self, Metadata};
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Access, Operator, router};
use crate::config::{AdminAddress, AdminToken};

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 64;
/// How long a caller may take for a request head, and may keep an idle connection open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request head in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// How long a connection may live before its request is its last.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long that one may take.
const LAST_REQUEST: Duration = Duration::from_secs(30);
/// How long accepting pauses when there is no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Callers that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A port or socket that the API will be served on. A socket's file goes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(StdTcpListener),
    Unix(StdUnixListener, SocketFile),
}

/// A [`Bound`] on a runtime.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "kept for its drop")] SocketFile),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Acceptor {
    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
        }
    }
}

impl Listener {
    /// Opens the port or socket. The file of a socket gets mode 0600; one that a process left behind is replaced.
    ///
    /// # Errors
    /// As the system has it; the text names the flag. A file that is no socket, or on which a process listens, stays.
    pub fn bind(address: &AdminAddress) -> io::Result<Self> {
        let socket = match address {
            AdminAddress::Tcp(address) => bind_tcp(*address),
            AdminAddress::Unix(path) => bind_unix(path),
        };
        match socket {
            Ok(socket) => Ok(Self { socket }),
            Err(error) => Err(io::Error::new(error.kind(), format!("--admin {address}: {error}"))),
        }
    }

    /// Where it is: a TCP port with its number.
    ///
    /// # Errors
    /// As the system has it.
    pub fn address(&self) -> io::Result<AdminAddress> {
        match &self.socket {
            Bound::Tcp(listener) => listener.local_addr().map(AdminAddress::Tcp),
            Bound::Unix(_, file) => Ok(AdminAddress::Unix(file.path.clone())),
        }
    }

    /// Serves the API until it is dropped. On a unix socket the token does not matter.
    ///
    /// # Errors
    /// The socket cannot be used on this runtime.
    pub async fn serve(self, operator: Arc<Operator>, token: Option<AdminToken>) -> io::Result<()> {
        let (acceptor, access) = match self.socket {
            Bound::Tcp(listener) => {
                let access = Access::Tcp { local: listener.local_addr()?, token };
                (Acceptor::Tcp(TcpListener::from_std(listener)?), access)
            }
            Bound::Unix(listener, file) => (Acceptor::Unix(UnixListener::from_std(listener)?, file), Access::Unix),
        };
        accept(&acceptor, &router(operator, access)).await;
        Ok(())
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound::Tcp(socket.into()))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before bind, so that the file never has another mode (Linux takes it from the socket).
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(Bound::Unix(socket.into(), file))
}

/// Removes a socket's file on which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match StdUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
            Err(error) => Err(error),
        },
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file of a socket, removed when dropped unless another one took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| inode(&metadata) == self.inode) {
            // Nothing more can be done about it here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Accepts for ever.
async fn accept(acceptor: &Acceptor, router: &Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match acceptor.accept().await {
            Ok(stream) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the operator's API cannot accept; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: Box<dyn Io>, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // How a caller goes away is its own matter.
    if timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_REQUEST, connection).await;
    }
}
