//! The contestants: which programs there are, and how each is told to relay to a backend with one worker.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    Tideover,
}

/// One who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What answers behind it.
    pub(crate) pongs: Pongs,
    /// `None`: not installed.
    pub(crate) program: Option<PathBuf>,
}

impl Contestant {
    /// Those that are asked for, present or not.
    pub(crate) fn all(options: &Options) -> Result<Vec<Self>> {
        let named = |name: &str, kind, pongs, program| Self { name: name.into(), kind, pongs, program };
        let mut all = vec![
            named("direct", Kind::Direct, Pongs::InOrder, Some(PathBuf::new())),
            named("haproxy", Kind::HaProxy, Pongs::InOrder, find("haproxy")),
            named("nginx", Kind::Nginx, Pongs::InOrder, find("nginx")),
            named("tideover", Kind::Tideover, Pongs::InOrder, None),
            named("tideover-early", Kind::Tideover, Pongs::Early, None),
        ];
        for program in &options.program {
            let kinds = [("haproxy", Kind::HaProxy), ("nginx", Kind::Nginx), ("tideover", Kind::Tideover)];
            let kind = kinds.into_iter().find(|(prefix, _)| program.name.starts_with(prefix));
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

    /// What it says of its version; `None`: not installed.
    pub(crate) fn version(&self) -> Option<String> {
        let program = self.program.as_deref()?;
        match self.kind {
            Kind::Direct => Some("no proxy".into()),
            Kind::HaProxy | Kind::Nginx => version(program, "-v"),
            Kind::Tideover => version(program, "--version"),
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
        match self.kind {
            Kind::Direct => {}
            Kind::HaProxy => {
                let file = directory.join("haproxy.cfg");
                std::fs::write(&file, haproxy(port, backends))?;
                command.arg("-db").arg("-f").arg(file);
            }
            Kind::Nginx => {
                let file = directory.join("nginx.conf");
                std::fs::write(&file, nginx(port, backends, &directory))?;
                command.arg("-c").arg(file).arg("-p").arg(&directory);
            }
            Kind::Tideover => {
                command.args(["serve", "--workers", "1", "--listen", &loopback(port).to_string()]);
                for backend in backends {
                    command.arg("--backend").arg(format!("ws://{}", loopback(*backend)));
                }
                command.arg("--admin").arg(format!("unix:{}", directory.join("admin").display()));
            }
        }
        let log = std::fs::File::create(directory.join("log"))?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(log);
        let mut process = Process::start_proxy(&mut command, cores)?;
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

fn haproxy(port: u16, backends: &[u16]) -> String {
    let servers: String = backends.iter().map(|port| format!("    server s{port} 127.0.0.1:{port}\n")).collect();
    format!(
        "global\n    nbthread 1\n    maxconn 9500\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n    \
         timeout tunnel 1h\n\
         frontend all\n    bind 127.0.0.1:{port}\n    default_backend echo\n\
         backend echo\n{servers}"
    )
}

fn nginx(port: u16, backends: &[u16], directory: &Path) -> String {
    let servers: String = backends.iter().map(|port| format!("server 127.0.0.1:{port}; ")).collect();
    let at = directory.display();
    format!(
        "daemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections 19000; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/body;\n  proxy_temp_path {at}/proxy;\n  \
         fastcgi_temp_path {at}/fastcgi;\n  uwsgi_temp_path {at}/uwsgi;\n  scgi_temp_path {at}/scgi;\n  \
         upstream echo {{ {servers}}}\n  \
         server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n      proxy_pass http://echo;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Host $host;\n      \
         proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection \"upgrade\";\n      \
         proxy_read_timeout 1h;\n      proxy_send_timeout 1h;\n    }}\n  }}\n}}\n"
    )
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

/// The path of an installed program.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
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
