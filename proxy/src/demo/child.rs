//! Child processes that never outlive the demo, and ports for them to listen on.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt, parent_id};
use std::process::Stdio;

use tokio::net::TcpSocket;
use tokio::process::Command;

/// Runs this program again so that the system kills it when the demo ends, however the demo ends.
///
/// `kill_on_drop` covers every way out that runs destructors. A demo that is itself killed runs none; the parent-death
/// signal that a process asks for survives `exec`, so this asks for it and then becomes the program proper.
#[derive(clap::Args, Clone, Debug)]
pub struct Leash {
    /// Process id of the demo
    parent: u32,
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

impl Leash {
    /// Becomes the program. Returns only if that is not possible, with the reason.
    pub(super) fn exec(self) -> io::Error {
        if let Err(error) = die_with_parent() {
            return error;
        }
        if parent_id() != self.parent {
            return io::Error::other("the demo ended before its child had started");
        }
        match std::env::current_exe() {
            Ok(program) => std::process::Command::new(program).args(self.arguments).exec(),
            Err(error) => error,
        }
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// Elsewhere `kill_on_drop` has to do.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// A command that runs this program with `arguments`, on a leash, with stdout and stderr piped.
///
/// In a process group of its own: Ctrl-C at the terminal is for the demo, which then ends its children in order.
pub(super) fn command<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("leash")
        .arg(std::process::id().to_string())
        .args(arguments.into_iter().map(Into::into))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// A free loopback port for a child to listen on, again and again.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    /// Bound, but not listening. On Linux that leaves the port to a child that binds with SO_REUSEADDR, and keeps the
    /// system from lending it to an outgoing connection while the child is down.
    _reserved: Option<TcpSocket>,
}

impl Port {
    /// Takes a port that nobody uses.
    pub(super) fn free() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: socket.local_addr()?, _reserved: cfg!(target_os = "linux").then_some(socket) })
    }
}
