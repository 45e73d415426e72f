//! What the schemes besides proxying are configured with.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::parse;
use super::reader::Reader;
use super::{BackendConfig, Origin, PoolConfig, PublicUrl};

/// How the handshakes of a pool are answered (`--mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With a session that the proxy relays.
    Proxy,
    /// With 307 and the least loaded backend's public URL.
    Redirect,
}

/// The schemes of the process.
#[derive(Clone, Debug)]
pub struct SchemesConfig {
    /// `--assign`. `None`: nobody can ask.
    pub assign: Option<AssignConfig>,
    /// `--assigned-lifetime`: how long a session that the proxy does not see lasts, on average. Not zero.
    pub assigned_lifetime: Duration,
    /// `--dns-listen`. `None`: the DNS is not answered.
    pub dns: Option<DnsConfig>,
    /// `--on-scale`. `None`: nothing is run.
    pub on_scale: Option<OnScale>,
}

impl Default for SchemesConfig {
    /// None but proxying.
    fn default() -> Self {
        Self { assign: None, assigned_lifetime: Duration::from_secs(600), dns: None, on_scale: None }
    }
}

/// Who may ask for an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignConfig {
    /// `--assign-origin`: pages that may ask; may be empty.
    pub origins: Vec<Origin>,
    /// `--assign-rate`: requests a second from one client, at least 1.
    pub rate: u32,
    /// `--assign-ttl`: how soon a client should connect. At least a second.
    pub ttl: Duration,
}

/// The DNS responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// `--dns-listen`: where it answers, by UDP and TCP. At least one.
    pub listen: Vec<SocketAddr>,
    /// `--dns-name`: what it answers for. At least one, none twice.
    pub names: Vec<DnsZone>,
    /// `--dns-ns`: who answers for these names. Empty: `ns.` before each name, with the addresses of `listen`.
    pub nameservers: Vec<String>,
    /// `--dns-answers`: addresses in an answer, at least 1.
    pub answers: usize,
    /// `--dns-ttl`: how long an answer may be kept. At least a second, at most a day.
    pub ttl: Duration,
    /// `--dns-rate`: answers a second to one network, at least 1.
    pub rate: u32,
}

/// A name of the DNS, and the pool whose backends it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZone {
    /// The name in lower case, without a dot at its end.
    pub name: String,
    /// The pool.
    pub pool: String,
}

/// The command that is run when a pool should get larger or smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnScale {
    /// `--on-scale`: a program.
    pub program: PathBuf,
    /// `--on-scale-timeout`: how long it may take. Not zero.
    pub timeout: Duration,
}

/// When a pool is too small or too large. At least one of the two targets is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleConfig {
    /// `--sessions-per-backend`: how many sessions a backend should have. `None`: sessions do not matter.
    pub sessions_per_backend: Option<u32>,
    /// `--scale-load`: what part of a backend should be in use as it reports, above 0, at most 1. `None`: reports do not
    /// matter.
    pub load: Option<f64>,
    /// `--scale-min`: the fewest backends.
    pub min: u32,
    /// `--scale-max`: the most backends, not below `min`.
    pub max: u32,
    /// `--scale-slack`: the part of a target that must be spare before a backend is one too many. 0 to 0.9.
    pub slack: f64,
    /// `--scale-debounce`: how long another number must be wanted before it counts. May be zero.
    pub debounce: Duration,
}

/// Where a backend is without the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Public {
    /// `public-url`. `None`: nobody can be sent there.
    pub url: Option<PublicUrl>,
    /// `public-address`. Empty: what the host of its URL is or resolves to.
    pub addresses: Vec<IpAddr>,
}

/// The schemes of the process, as they are given.
pub(super) fn process(reader: &mut Reader<'_>) -> SchemesConfig {
    let assign = AssignConfig {
        origins: reader.list("assign-origin", parse::origin),
        rate: reader.number("assign-rate"),
        ttl: reader.duration("assign-ttl"),
    };
    let program = reader.one("on-scale", parse::program);
    let timeout = reader.duration("on-scale-timeout");
    SchemesConfig {
        assign: reader.choice::<bool>("assign").then_some(assign),
        assigned_lifetime: reader.duration("assigned-lifetime"),
        dns: dns(reader),
        on_scale: program.map(|program| OnScale { program, timeout }),
    }
}

fn dns(reader: &mut Reader<'_>) -> Option<DnsConfig> {
    let config = DnsConfig {
        listen: reader.list("dns-listen", parse::listen),
        names: reader.list("dns-name", parse::dns_zone),
        nameservers: reader.list("dns-ns", parse::host_name),
        answers: reader.number("dns-answers"),
        ttl: reader.duration("dns-ttl"),
        rate: reader.number("dns-rate"),
    };
    match (config.listen.is_empty(), config.names.is_empty()) {
        (true, false) => {
            reader.reject(&["dns-name", "dns-listen"], "a name is answered for only with dns-listen".into())
        }
        (false, true) => reader.reject(&["dns-listen", "dns-name"], "there is no name to answer for".into()),
        _ => {}
    }
    let names: Vec<_> = config.names.iter().map(|zone| &zone.name).collect();
    if let Some(twice) = super::valid::first_twice(&names) {
        reader.reject(&["dns-name"], format!("{twice} is given twice"));
    }
    (!config.listen.is_empty()).then_some(config)
}

/// When a pool is too small or too large.
pub(super) fn scale(reader: &mut Reader<'_>) -> Option<ScaleConfig> {
    let percent = |number: u32| f64::from(number) / 100.0;
    let config = ScaleConfig {
        sessions_per_backend: Some(reader.number("sessions-per-backend")).filter(|each| *each > 0),
        load: Some(reader.number("scale-load")).filter(|load| *load > 0).map(percent),
        min: reader.number("scale-min"),
        max: reader.number("scale-max"),
        slack: percent(reader.number("scale-slack")),
        debounce: reader.duration("scale-debounce"),
    };
    if config.min > config.max {
        let message = format!("at least {} and at most {} backends cannot be wanted", config.min, config.max);
        reader.reject(&["scale-min", "scale-max"], message);
    }
    (config.sessions_per_backend.is_some() || config.load.is_some()).then_some(config)
}

/// Gives the backends of a pool what `--public-url` and `--public-address` say of them.
pub(super) fn publish(reader: &mut Reader<'_>, backends: &mut [BackendConfig]) {
    for (name, url) in reader.list("public-url", parse::public_url) {
        match find(backends, &name) {
            Some(backend) => backend.public.url = Some(url),
            None => reader.reject(&["public-url"], no_backend(&name)),
        }
    }
    for (name, address) in reader.list("public-address", parse::public_address) {
        match find(backends, &name) {
            Some(backend) => backend.public.addresses.push(address),
            None => reader.reject(&["public-address"], no_backend(&name)),
        }
    }
}

fn no_backend(name: &str) -> String {
    format!("there is no --backend {name:?}; what is listed elsewhere has this as a key of its own")
}

fn find<'b>(backends: &'b mut [BackendConfig], name: &str) -> Option<&'b mut BackendConfig> {
    backends.iter_mut().find(|backend| backend.id == name || backend.url.authority() == name)
}

/// What must hold between the schemes and the pools.
pub(super) fn check(reader: &mut Reader<'_>, schemes: &SchemesConfig, pools: &[PoolConfig]) {
    for zone in schemes.dns.iter().flat_map(|dns| &dns.names) {
        if !pools.iter().any(|pool| pool.name == zone.pool) {
            reader.reject(
                &["dns-name"],
                format!("{} stands for the pool {:?}, which is not there", zone.name, zone.pool),
            );
        }
    }
    if schemes.on_scale.is_some() && pools.iter().all(|pool| pool.settings.scale.is_none()) {
        let message = "when to run it is not known: sessions-per-backend or scale-load is needed";
        reader.reject(&["on-scale"], message.into());
    }
    for pool in pools {
        let needs = match (pool.settings.mode, &schemes.assign) {
            (Mode::Redirect, _) => "mode",
            (Mode::Proxy, Some(_)) => "assign",
            (Mode::Proxy, None) => continue,
        };
        for backend in pool.backends.iter().filter(|backend| backend.public.url.is_none()) {
            let message = format!("clients cannot be sent to the backend {:?}: it has no public-url", backend.id);
            reader.reject(&[needs, "public-url"], message);
        }
    }
}
