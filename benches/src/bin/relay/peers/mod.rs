//! The contestants: which programs there are, and how each is told to relay to a backend with one worker.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod configurations;

use crate::error::{Error, Result};
use crate::options::{Options, Pongs};
use crate::process::{Cores, Process, version};

const READY_WITHIN: Duration = Duration::from_secs(15);

/// What sort of program it is: how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy at all.
    Direct,
    HaProxy,
    Nginx,
    Envoy,
    Caddy,
    Traefik,
    Sozu,
    Tideover,
}

impl Kind {
    /// What a name given with `--program` must begin with.
    const PREFIXES: [(&'static str, Self); 7] = [
        ("haproxy", Self::HaProxy),
        ("nginx", Self::Nginx),
        ("envoy", Self::Envoy),
        ("caddy", Self::Caddy),
        ("traefik", Self::Traefik),
        ("sozu", Self::Sozu),
        ("tideover", Self::Tideover),
    ];
}

/// Only takes part in the scaling.
pub(crate) const TWO_WORKERS: &str = "tideover-2-workers";

/// How tideover is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// By default, with one worker.
    Default,
    /// Without de-duplication and linger, to see what they cost.
    Plain,
    /// With two workers, on both cores.
    TwoWorkers,
    /// With rules that look into every message, both ways, and have it acknowledged by its id.
    Rules,
}

impl Variant {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Default => &["--workers", "1"],
            Self::Plain => &["--workers", "1", "--dedupe-replies", "off", "--ack-linger", "0ms"],
            Self::TwoWorkers => &["--workers", "2"],
            Self::Rules => &["--workers", "1"],
        }
    }
}

/// One who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What answers behind it.
    pub(crate) pongs: Pongs,
    /// How it differs from default settings.
    pub(crate) variant: Variant,
    /// `None`: not installed.
    pub(crate) program: Option<PathBuf>,
}

impl Contestant {
    /// Those that are asked for, present or not.
    pub(crate) fn all(options: &Options) -> Result<Vec<Self>> {
        let named = |name: &str, kind, pongs, program| Self {
            name: name.into(),
            kind,
            pongs,
            variant: Variant::Default,
            program,
        };
        let mut all = vec![
            named("direct", Kind::Direct, Pongs::InOrder, Some(PathBuf::new())),
            named("haproxy", Kind::HaProxy, Pongs::InOrder, find("haproxy")),
            named("nginx", Kind::Nginx, Pongs::InOrder, find("nginx")),
            named("haproxy-2.8", Kind::HaProxy, Pongs::InOrder, find("haproxy-2.8")),
            named("envoy", Kind::Envoy, Pongs::InOrder, find("envoy")),
            named("caddy", Kind::Caddy, Pongs::InOrder, find("caddy")),
            named("traefik", Kind::Traefik, Pongs::InOrder, find("traefik")),
            named("sozu", Kind::Sozu, Pongs::InOrder, find("sozu")),
            named("tideover", Kind::Tideover, Pongs::InOrder, None),
            named("tideover-early", Kind::Tideover, Pongs::Early, None),
        ];
        for (name, pongs, variant) in [
            ("tideover-plain", Pongs::InOrder, Variant::Plain),
            ("tideover-early-plain", Pongs::Early, Variant::Plain),
            ("tideover-rules", Pongs::InOrder, Variant::Rules),
            (TWO_WORKERS, Pongs::InOrder, Variant::TwoWorkers),
        ] {
            all.push(Self { variant, ..named(name, Kind::Tideover, pongs, None) });
        }
        for program in &options.program {
            let kind = Kind::PREFIXES.into_iter().find(|(prefix, _)| program.name.starts_with(prefix));
            let kind = kind.ok_or_else(|| Error::Other(format!("{}: how is it configured?", program.name)))?.1;
            let path = program.path.exists().then(|| program.path.clone());
            match all.iter_mut().find(|known| known.name == program.name) {
                Some(known) => known.program = path,
                None => all.push(named(&program.name, kind, Pongs::InOrder, path)),
            }
        }
        let is_unknown = |wanted: &&String| !all.iter().any(|known| known.name == **wanted);
        if let Some(wanted) = options.peer.iter().find(is_unknown) {
            return Err(Error::Other(format!("{wanted}: no such contestant")));
        }
        all.retain(|known| options.peer.is_empty() || options.peer.contains(&known.name));
        let is_given = |name: &str| options.program.iter().any(|program| program.name == name);
        let own: Vec<_> = all.iter_mut().filter(|it| it.kind == Kind::Tideover && !is_given(&it.name)).collect();
        if !own.is_empty() {
            let built = build_tideover()?;
            own.into_iter().for_each(|contestant| contestant.program = Some(built.clone()));
        }
        Ok(all)
    }

    /// Whether ratios are taken against it, and bars set: the system's own HAProxy and nginx. The others are shown.
    pub(crate) fn is_measure(&self) -> bool {
        matches!(&*self.name, "haproxy" | "nginx")
    }

    /// What it says of its version; `None`: not installed.
    pub(crate) fn version(&self) -> Option<String> {
        let program = self.program.as_deref()?;
        match self.kind {
            Kind::Direct => Some("no proxy".into()),
            Kind::HaProxy | Kind::Nginx => version(program, "-v"),
            Kind::Traefik => version(program, "version"),
            Kind::Caddy => version(program, "version"),
            Kind::Envoy | Kind::Sozu | Kind::Tideover => version(program, "--version"),
        }
    }

    /// Starts it before these backends; `None` if it is not installed. What it writes goes into `directory`.
    pub(crate) fn start(&self, backends: &[u16], cores: Option<Cores>, directory: &Path) -> Result<Option<Proxy>> {
        let Some(program) = &self.program else { return Ok(None) };
        if self.kind == Kind::Direct {
            return Ok(Some(Proxy { process: None, address: loopback(backends[0]), admin: None }));
        }
        let port = free_port()?;
        let directory = directory.join(format!("{}-{port}", self.name));
        std::fs::create_dir_all(&directory)?;
        let admin = (self.kind == Kind::Tideover).then(|| directory.join("admin"));
        let mut command = Command::new(program);
        self.kind.configure(&mut command, &configurations::Place { port, backends, directory: &directory })?;
        if self.kind == Kind::Tideover {
            command.args(self.variant.flags());
        }
        if self.variant == Variant::Rules {
            command.arg("--config").arg(configurations::rules(&directory)?);
        }
        let spread = self.variant == Variant::TwoWorkers;
        let log = std::fs::File::create(directory.join("log"))?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(log);
        let mut process = Process::start_proxy(&mut command, cores, spread)?;
        let ready = || {
            let api = admin.as_ref().is_none_or(|admin| UnixStream::connect(admin).is_ok());
            TcpStream::connect(loopback(port)).is_ok() && api
        };
        wait_until(ready, &mut process, &directory)?;
        Ok(Some(Proxy { process: Some(process), address: loopback(port), admin }))
    }
}

/// A contestant that runs.
pub(crate) struct Proxy {
    /// `None`: direct.
    pub(crate) process: Option<Process>,
    pub(crate) address: SocketAddr,
    /// The socket of tideover's operator's API.
    pub(crate) admin: Option<PathBuf>,
}

impl Proxy {
    /// CPU time up to now.
    pub(crate) fn cpu(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu)
    }

    /// Memory in bytes.
    pub(crate) fn pss(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::pss)
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(loopback(0))?.local_addr()?.port())
}

fn wait_until(ready: impl Fn() -> bool, process: &mut Process, directory: &Path) -> Result<()> {
    let begin = Instant::now();
    while !ready() {
        if !process.is_running() || begin.elapsed() > READY_WITHIN {
            let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            return Err(Error::Other(format!("{} did not start:\n{log}", directory.display())));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Where `benches/setup` puts the programs that are no packages of the system.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin");

/// The path of an installed program.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = [INSTALLED, "/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let places = std::env::split_paths(&path).chain(others);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Has cargo build the program in the profile of this one: a run must not measure what was built before a change.
fn build_tideover() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let place = this.parent().ok_or_else(|| Error::Other("this program is nowhere".into()))?;
    let profile = match place.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "tideover", "--bin", "tideover", "--profile", profile, "--target-dir"]);
    command.arg(place.parent().unwrap_or(place)).current_dir(env!("CARGO_MANIFEST_DIR"));
    match command.status() {
        Ok(status) if status.success() => Ok(place.join("tideover")),
        Ok(_) => Err(Error::Other("tideover cannot be built".into())),
        Err(error) => Err(Error::Other(format!("cargo does not run: {error}"))),
    }
}
