//! Which software is put before and behind the proxy, and how its states are seen.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    installed::{mosquitto, node, python, redis},
    service::{JOURNAL, Service},
    signs,
    state::{Sign, State},
};
use crate::{
    ports::{self, ReservedPort},
    program,
};

/// A server and its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// npm's `graphql-ws`, both sides.
    Graphql,
    /// PyPI's `ocpp`, 1.6.
    Ocpp16,
    /// The same, 2.0.1.
    Ocpp201,
    /// npm's `socket.io` and `socket.io-client`, WebSocket only.
    SocketIo,
    /// The same, beginning with polling.
    SocketIoPolling,
    /// The same with one room over all servers, by Redis.
    SocketIoRooms,
    /// Debian's `mosquitto` and PyPI's `paho-mqtt`, MQTT 3.1.1, one broker that keeps its state.
    Mqtt,
    /// The same with MQTT 5 and two bridged brokers.
    MqttBridged,
    /// crates.io's `jsonrpsee`, both sides; subscription ids are the server's.
    Jsonrpsee,
    /// The same server with npm's `ethers` as client.
    Ethers,
}

impl Software {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Graphql,
        Self::Ocpp16,
        Self::Ocpp201,
        Self::SocketIo,
        Self::SocketIoPolling,
        Self::SocketIoRooms,
        Self::Mqtt,
        Self::MqttBridged,
        Self::Jsonrpsee,
        Self::Ethers,
    ];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graphql => "graphql-ws",
            Self::Ocpp16 => "ocpp-1.6",
            Self::Ocpp201 => "ocpp-2.0.1",
            Self::SocketIo => "socket.io",
            Self::SocketIoPolling => "socket.io-polling",
            Self::SocketIoRooms => "socket.io-rooms",
            Self::Mqtt => "mqtt",
            Self::MqttBridged => "mqtt-bridged",
            Self::Jsonrpsee => "jsonrpsee",
            Self::Ethers => "ethers",
        }
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Graphql => "graphql-ws, server on `ws` and client",
            Self::Ocpp16 => "`ocpp` 1.6, central system and charge point",
            Self::Ocpp201 => "`ocpp` 2.0.1, central system and charge point",
            Self::SocketIo => "socket.io, WebSocket only",
            Self::SocketIoPolling => "socket.io, polling first",
            Self::SocketIoRooms => "socket.io, rooms over two servers by Redis",
            Self::Mqtt => "mosquitto, one broker restarted; paho-mqtt 3.1.1",
            Self::MqttBridged => "mosquitto, two bridged; paho-mqtt 5",
            Self::Jsonrpsee => "jsonrpsee, server and client",
            Self::Ethers => "jsonrpsee's server, ethers' WebSocketProvider",
        }
    }

    /// What the proxy is given beside its backends: the flags without the profile, then those with it.
    pub(super) fn flags(self) -> (Vec<String>, Vec<String>) {
        let words = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        let common = match self {
            // Polling and WebSocket of a client must meet the same server.
            Self::SocketIoPolling => words(&["--sticky-cookie", "server"]),
            _ => Vec::new(),
        };
        let profile = match self {
            Self::Graphql => words(&["--profile", "graphql-transport-ws"]),
            Self::Ocpp16 | Self::Ocpp201 => vec!["--config".to_owned(), configuration("ocpp-boot.toml")],
            Self::SocketIo | Self::SocketIoPolling | Self::SocketIoRooms => {
                vec!["--config".to_owned(), configuration("socket.io-rooms.toml")]
            }
            Self::Mqtt | Self::MqttBridged => words(&["--profile", "mqtt", "--compression", "off"]),
            Self::Jsonrpsee | Self::Ethers => words(&["--profile", "eth-subscribe", "--compression", "off"]),
        };
        let with_profile = common.iter().cloned().chain(profile).collect();
        (common, with_profile)
    }

    /// The sign of a state on the wire; `None` if this software has no such state, and for being idle, which has none.
    pub(super) fn sign(self, state: State) -> Option<Sign> {
        // Until a client that polls has changed to the WebSocket, there is no session. It joins its room afterwards.
        let begins = matches!(state, State::Connecting | State::InitSent);
        match (self, state) {
            (_, State::Idle) => None,
            (Self::SocketIoPolling, _) if begins => None,
            // Without a session yet and without another server, there is nothing to be kept.
            (Self::Mqtt, State::Connecting) => None,
            (_, State::Connecting) => Some(Sign::CONNECTING),
            (Self::Graphql, state) => signs::graphql(state),
            (Self::Ocpp16 | Self::Ocpp201, state) => signs::ocpp(state),
            (Self::SocketIo | Self::SocketIoPolling | Self::SocketIoRooms, state) => signs::socket_io(state),
            (Self::Mqtt | Self::MqttBridged, state) => signs::mqtt(state),
            (Self::Jsonrpsee | Self::Ethers, state) => signs::json_rpc(state),
        }
    }

    /// The states in which it is killed.
    pub fn states(self) -> Vec<State> {
        let has = |state: &State| *state == State::Idle || self.sign(*state).is_some();
        State::ALL.into_iter().filter(has).collect()
    }

    /// The client's program without the flags that all have.
    pub(super) fn client(self, servers: &Servers) -> Command {
        let mut command = match self {
            Self::Graphql => node("graphql_client.mjs"),
            Self::Ocpp16 | Self::Ocpp201 => python("ocpp_station.py"),
            Self::SocketIo | Self::SocketIoPolling | Self::SocketIoRooms => node("socketio_client.mjs"),
            Self::Mqtt | Self::MqttBridged => python("mqtt_clients.py"),
            Self::Jsonrpsee => {
                let mut command = Command::new(program::jsonrpsee());
                command.arg("client");
                command
            }
            Self::Ethers => node("ethers_client.mjs"),
        };
        match self {
            Self::Ocpp16 => command.args(["--version", "1.6"]),
            Self::Ocpp201 => command.args(["--version", "2.0.1"]),
            Self::MqttBridged => {
                let brokers: Vec<String> = servers.killed.iter().map(|broker| broker.address().to_string()).collect();
                command.args(["--version", "5", "--brokers", &brokers.join(",")])
            }
            Self::SocketIoPolling => command.arg("--polling"),
            Self::SocketIoRooms => command.arg("--shared-room"),
            _ => &mut command,
        };
        command
    }

    /// The client's URL.
    pub(super) fn url(self, proxy: SocketAddr) -> String {
        match self {
            Self::Graphql => format!("ws://{proxy}/graphql"),
            Self::Ocpp16 | Self::Ocpp201 => format!("ws://{proxy}/ocpp"),
            // Socket.IO begins with http, whatever it becomes.
            Self::SocketIo | Self::SocketIoPolling | Self::SocketIoRooms => format!("http://{proxy}"),
            Self::Mqtt | Self::MqttBridged => format!("ws://{proxy}/mqtt"),
            Self::Jsonrpsee | Self::Ethers => format!("ws://{proxy}/"),
        }
    }

    /// Starts its servers: those that are killed, and what they need beside.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn start(self) -> Servers {
        match self {
            Self::Mqtt => lone_broker(),
            Self::MqttBridged => bridged_brokers(),
            Self::SocketIoRooms => joined_by_redis(),
            _ => {
                let start = || Service::start(self.name(), move |at, port| self.server(at, port));
                Servers { killed: vec![start(), start()], _beside: Vec::new(), _ports: Vec::new() }
            }
        }
    }

    fn server(self, at: &Path, port: u16) -> Command {
        let command = match self {
            Self::Graphql => node("graphql_server.mjs"),
            Self::Ocpp16 | Self::Ocpp201 => python("ocpp_central.py"),
            Self::Jsonrpsee | Self::Ethers => {
                let mut command = Command::new(program::jsonrpsee());
                command.arg("server");
                command
            }
            _ => node("socketio_server.mjs"),
        };
        script(command, at, port)
    }
}

/// The servers of one software, as long as this is kept.
#[derive(Debug)]
pub struct Servers {
    pub(super) killed: Vec<Service>,
    _beside: Vec<Service>,
    _ports: Vec<ReservedPort>,
}

impl Servers {
    /// Where the first one listens.
    pub fn address(&self) -> SocketAddr {
        self.killed[0].address()
    }
}

fn script(mut command: Command, at: &Path, port: u16) -> Command {
    command.arg("--port").arg(port.to_string()).arg("--log").arg(at.join(JOURNAL));
    command
}

fn configuration(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name);
    path.to_str().expect("the path is UTF-8").to_owned()
}

/// Two Socket.IO servers whose rooms Redis makes one.
fn joined_by_redis() -> Servers {
    let redis = Service::start("redis", |at, port| {
        let mut command = redis();
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string()).current_dir(at);
        command
    });
    let url = format!("redis://{}", redis.address());
    let start = || {
        let url = url.clone();
        Service::start("socket.io", move |at, port| {
            let mut command = script(node("socketio_server.mjs"), at, port);
            command.args(["--redis", &url]);
            command
        })
    };
    Servers { killed: vec![start(), start()], _beside: vec![redis], _ports: Vec::new() }
}

fn lone_broker() -> Servers {
    let plain = ports::reserve();
    let number = plain.number;
    let killed = vec![Service::start("mosquitto", move |at, port| broker(at, port, number, None))];
    Servers { killed, _beside: Vec::new(), _ports: vec![plain] }
}

/// Each listens for the other's bridge beside the WebSocket; the first one builds it, for both directions.
fn bridged_brokers() -> Servers {
    let ports = vec![ports::reserve(), ports::reserve()];
    let [first, second] = [ports[0].number, ports[1].number];
    let killed = vec![
        Service::start("mosquitto", move |at, port| broker(at, port, first, Some(second))),
        Service::start("mosquitto", move |at, port| broker(at, port, second, None)),
    ];
    Servers { killed, _beside: Vec::new(), _ports: ports }
}

/// A broker that writes down each change at once. `plain`: its port for MQTT without WebSocket, which this release of
/// mosquitto does not start without; `joined`: that of the broker to build a bridge to.
fn broker(at: &Path, port: u16, plain: u16, joined: Option<u16>) -> Command {
    let place = at.display();
    let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
    let mut text = format!(
        "{user}allow_anonymous true\npersistence true\npersistence_location {place}/\nautosave_interval 1\n\
         autosave_on_changes true\nmax_queued_messages 0\nlog_type all\nlog_dest file {place}/mosquitto.log\n\
         listener {plain} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n"
    );
    if let Some(other) = joined {
        text += &format!(
            "connection bridge\naddress 127.0.0.1:{other}\ntopic # both 1\ncleansession false\nrestart_timeout 1\n\
             notifications false\n"
        );
    }
    fs::write(at.join("mosquitto.conf"), text).expect("the broker's configuration");
    let mut command = mosquitto();
    command.arg("-c").arg(at.join("mosquitto.conf"));
    command
}
