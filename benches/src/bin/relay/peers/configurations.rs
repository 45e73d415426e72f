//! How each program is told to relay all requests to a backend, with one worker and no log of requests.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, loopback};
use crate::error::Result;

/// Where a contestant listens, what is behind it, and where its files go.
pub(super) struct Place<'a> {
    pub(super) port: u16,
    pub(super) backends: &'a [u16],
    pub(super) directory: &'a Path,
}

/// Writes tideover's rules: a message is acknowledged when one with its id came back.
pub(super) fn rules(directory: &Path) -> Result<PathBuf> {
    let rule = |from| {
        format!(
            "[[rule]]\nname = \"{from}\"\nfrom = \"{from}\"\njson = [{{ pointer = \"/id\", exists = true }}]\n\
             acknowledge = \"id {{/id}}\"\n"
        )
    };
    let file = directory.join("rules.toml");
    std::fs::write(&file, ["client", "backend"].map(rule).concat())?;
    Ok(file)
}

impl Kind {
    /// Writes the configuration and adds the arguments.
    pub(super) fn configure(self, command: &mut Command, place: &Place<'_>) -> Result<()> {
        let write = |name: &str, text: String| {
            let file = place.directory.join(name);
            std::fs::write(&file, text).map(|()| file)
        };
        match self {
            Self::Direct => {}
            Self::HaProxy => {
                command.arg("-db").arg("-f").arg(write("haproxy.cfg", place.haproxy())?);
            }
            Self::Nginx => {
                command.arg("-c").arg(write("nginx.conf", place.nginx())?).arg("-p").arg(place.directory);
            }
            Self::Envoy => {
                command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]);
                command.arg(write("envoy.yaml", place.envoy())?);
            }
            Self::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(write("Caddyfile", place.caddy())?);
                command.env("GOMAXPROCS", "1").env("XDG_DATA_HOME", place.directory);
                command.env("XDG_CONFIG_HOME", place.directory);
            }
            Self::Traefik => {
                command.arg(format!("--entrypoints.all.address={}", loopback(place.port)));
                command.args(["--log.level=ERROR", "--global.checknewversion=false"]);
                command.arg("--global.sendanonymoususage=false");
                let file = write("traefik.yaml", place.traefik())?;
                command.arg(format!("--providers.file.filename={}", file.display()));
                command.env("GOMAXPROCS", "1");
            }
            Self::Sozu => {
                command.arg("--config").arg(write("sozu.toml", place.sozu())?).arg("start");
            }
            Self::Tideover => {
                command.args(["serve", "--listen", &loopback(place.port).to_string()]);
                for backend in place.backends {
                    command.arg("--backend").arg(format!("ws://{}", loopback(*backend)));
                }
                command.arg("--admin").arg(format!("unix:{}", place.directory.join("admin").display()));
            }
        }
        Ok(())
    }
}

impl Place<'_> {
    /// A text for each backend.
    fn each(&self, text: impl Fn(u16) -> String) -> String {
        self.backends.iter().map(|port| text(*port)).collect()
    }

    fn haproxy(&self) -> String {
        let servers = self.each(|port| format!("    server s{port} 127.0.0.1:{port}\n"));
        format!(
            "global\n    nbthread 1\n    maxconn 9500\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n    \
             timeout tunnel 1h\n\
             frontend all\n    bind 127.0.0.1:{}\n    default_backend echo\n\
             backend echo\n{servers}",
            self.port
        )
    }

    fn nginx(&self) -> String {
        let servers = self.each(|port| format!("server 127.0.0.1:{port}; "));
        let (port, at) = (self.port, self.directory.display());
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

    fn envoy(&self) -> String {
        let endpoints = self.each(|port| {
            format!("      - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}\n")
        });
        format!(
            "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          stream_idle_timeout: 0s
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: echo, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: echo
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}}]}}
    load_assignment:
      cluster_name: echo
      endpoints:
      - lb_endpoints:
{}",
            self.port,
            endpoints.replace("      - endpoint", "        - endpoint")
        )
    }

    fn caddy(&self) -> String {
        let backends = self.each(|port| format!(" 127.0.0.1:{port}"));
        format!(
            "{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\n\
             http://127.0.0.1:{} {{\n\treverse_proxy{backends}\n}}\n",
            self.port
        )
    }

    fn traefik(&self) -> String {
        let servers = self.each(|port| format!("          - url: \"http://127.0.0.1:{port}\"\n"));
        format!(
            "http:\n  routers:\n    all: {{rule: \"PathPrefix(`/`)\", service: echo}}\n  services:\n    echo:\n      \
             loadBalancer:\n        servers:\n{servers}"
        )
    }

    fn sozu(&self) -> String {
        let (port, at) = (self.port, self.directory.display());
        let backends = self.each(|port| format!("{{ address = \"127.0.0.1:{port}\" }}, "));
        format!(
            "command_socket = \"{at}/sozu.sock\"\nsaved_state = \"{at}/state.json\"\nlog_level = \"error\"\n\
             log_target = \"stdout\"\nworker_count = 1\nworker_automatic_restart = false\nmax_connections = 9500\n\
             max_buffers = 20000\nbuffer_size = 16393\nactivate_listeners = true\nfront_timeout = 3600\n\
             back_timeout = 3600\n\n\
             [[listeners]]\nprotocol = \"http\"\naddress = \"127.0.0.1:{port}\"\n\n\
             [clusters.echo]\nprotocol = \"http\"\nfrontends = [{{ address = \"127.0.0.1:{port}\", hostname = \"127.0.0.1\" }}]\n\
             backends = [{backends}]\n"
        )
    }
}
