//! The rules of pools, backends and routes.

use hyper::header::HeaderMap;

use super::*;

fn of_file(test: &str, text: &str) -> Result<Config, Problems> {
    let file = Scratch::new(test, text);
    config(&[("config", file.path())], &[])
}

fn wrong(test: &str, text: &str) -> Vec<String> {
    let file = Scratch::new(test, text);
    report(config(&[("config", file.path())], &[]), Some(&file))
}

const FLEET: &str = "\
ack = 'none'
connect-timeout = '1s'

[[backend]]
url = 'ws://10.0.0.1:9001'

[[pool]]
name = 'chat'
connect-timeout = '2s'
backend = ['ws://10.0.0.2:9001']

[[backend]]
pool = 'chat'
id = 'big'
url = 'ws://10.0.0.3:9001'
weight = 200
max-sessions = 50
priority = 1

[[route]]
host = ['chat.example.com', '*.chat.example.com']
path = '/v1'
header = 'X-Tenant=a'
pool = 'chat'
ack = 'reply'

[[route]]
";

#[test]
fn tables_make_pools_backends_and_routes() {
    let config = of_file("fleet", FLEET).unwrap();
    let [default, chat] = &config.pools[..] else { panic!("{:?}", config.pools) };
    assert_eq!((&*default.name, &*chat.name), ("default", "chat"));
    assert_eq!(default.backends, [BackendConfig::new("ws://10.0.0.1:9001".parse().unwrap())]);
    let ids: Vec<_> = chat.backends.iter().map(|backend| &*backend.id).collect();
    assert_eq!(ids, ["10.0.0.2:9001", "big"]);
    let big = &chat.backends[1];
    assert_eq!((big.weight, big.max_sessions, big.priority), (200, Some(50), 1));
    assert_eq!((chat.backends[0].weight, chat.backends[0].max_sessions), (DEFAULT_WEIGHT, None));
    let [first, rest] = &config.routes[..] else { panic!("{:?}", config.routes) };
    assert_eq!((&*first.pool, &*rest.pool), ("chat", "default"));
    assert_eq!((first.hosts.len(), first.paths.len(), first.headers.len()), (2, 1, 1));
    assert!(first.headers[0].takes(&HeaderMap::from_iter([("x-tenant".parse().unwrap(), "a".parse().unwrap())])));
}

#[test]
fn what_a_table_says_goes_before_what_is_said_for_all() {
    let file = Scratch::new("before", FLEET);
    let config = config(&[("config", file.path()), ("connect-timeout", "3s")], &[("TIDEOVER_ACK", "pong")]).unwrap();
    assert_eq!(
        config.routes.iter().map(|route| route.session.ack).collect::<Vec<_>>(),
        [AckMode::Reply, AckMode::Pong]
    );
    let timeouts: Vec<_> = config.pools.iter().map(|pool| pool.settings.connect_timeout.as_secs()).collect();
    assert_eq!(timeouts, [3, 2]);
}

#[test]
fn without_a_route_all_go_to_the_default_pool() {
    let config =
        of_file("no-route", "[[backend]]\nurl = 'ws://a'\n[[pool]]\nname = 'b'\nbackend = 'ws://b'\n").unwrap();
    assert_eq!(config.routes.len(), 1);
    assert_eq!((&*config.routes[0].pool, config.routes[0].hosts.len()), ("default", 0));
    assert_eq!(config.pools.len(), 2);
    // There is none where nothing leads to it.
    let only = "[[pool]]\nname = 'b'\nbackend = 'ws://b'\n[[route]]\npool = 'b'\n";
    assert_eq!(of_file("only", only).unwrap().pools.len(), 1);
}

#[test]
fn everything_wrong_in_tables_is_reported_at_once_with_its_place() {
    let text = "\
workers = 2
[[backend]]
url = 'ws://a/x'
weight = 257
[[backend]]
id = 'no url'
pool = 'nowhere'
[[backend]]
url = 'ws://b'
pool = 'nowhere'
wieght = 1
[[pool]]
name = 'chat'
ack = 'pong'
workers = 1
[[pool]]
name = 'chat'
connect-timeout = 1
[[route]]
host = ['ok', 'a b']
path = 'chat'
header = 'a b'
pool = 'char'
buffer_bytes = 1
ack = true
[[route]]
max-message-bytes = '1GiB'
failover-codes = [1011]
";
    let lines = wrong("tables", text);
    let expected = [
        "tideover.toml:3: backend.url: \"ws://a/x\" has a path",
        "tideover.toml:4: backend.weight: \"257\" is not a whole number from 0 to 256",
        "tideover.toml:6: backend.id: \"no url\" is not a name",
        "tideover.toml:5: [[backend]]: url is needed",
        "tideover.toml:10: backend.pool: there is no pool \"nowhere\", only default, chat, chat",
        "tideover.toml:11: backend.wieght: unknown key; did you mean weight?",
        "tideover.toml:14: pool.ack: is no key of [[pool]]: it stands outside tables or in [[route]]",
        "tideover.toml:15: pool.workers: is no key of [[pool]]: it stands outside tables",
        "tideover.toml:12: [[pool]], tideover.toml:16: [[pool]]: there are two pools \"chat\"",
        "tideover.toml:18: pool.connect-timeout: \"1\" is not a duration",
        "tideover.toml:20: route.host: \"a b\" is not a host",
        "tideover.toml:21: route.path: \"chat\" is not a path",
        "tideover.toml:22: route.header: \"a b\" is not a header field",
        "tideover.toml:23: route.pool: there is no pool \"char\", only",
        "tideover.toml:24: route.buffer_bytes: unknown key; did you mean buffer-bytes?",
        "tideover.toml:25: route.ack: true is of type boolean",
        "--buffer-total-bytes (default), tideover.toml:27: route.max-message-bytes, --buffer-bytes (default): a total of",
        "tideover.toml:28: route.failover-codes, --ambiguous (default): close code 1011 is in both",
    ];
    for start in expected {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}\nis not in\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn what_is_wrong_for_all_routes_is_reported_once() {
    let lines =
        wrong("once", "commit = 'barrier'\nack = 'reply'\nbackend = 'ws://a'\n[[route]]\npath = '/a'\n[[route]]\n");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let apart = "commit = 'barrier'\nbackend = 'ws://a'\n[[route]]\npath = '/a'\nack = 'reply'\n[[route]]\n";
    let lines = wrong("apart", apart);
    let places = "tideover.toml:1: commit, tideover.toml:5: route.ack: output commit needs --ack pong";
    assert_eq!(lines, [places]);
}

#[test]
fn a_pool_needs_a_backend_or_somewhere_to_find_them() {
    let pool = |more: &str| format!("[[pool]]\nname = 'a'\n{more}\n[[route]]\npool = 'a'\n");
    let lines = wrong("empty", &pool(""));
    assert_eq!(
        lines,
        ["tideover.toml:1: [[pool]]: the pool \"a\" has no backend, and no backends-file or backends-dns"]
    );
    let dns = of_file("dns", &pool("backends-dns = 'srv:_ws._tcp.example.com'\ndns-server = '127.0.0.1'")).unwrap();
    assert_eq!(dns.pools[0].dns, "srv:_ws._tcp.example.com".parse().ok());
    assert_eq!(dns.pools[0].settings.dns_server, "127.0.0.1:53".parse().ok());
    let list = Scratch::new("list", "# none yet\n");
    let file = of_file("file", &pool(&format!("backends-file = '{}'", list.path()))).unwrap();
    assert!(file.pools[0].file.as_ref().is_some_and(|file| file.backends.is_empty()));
    let unused = wrong("unused", "[[pool]]\nname = 'a'\nbackend = 'ws://a'\n");
    assert_eq!(unused, ["--backend: at least one is needed"], "there is no route, so all go to the pool default");
}

#[test]
fn sources_outside_tables_are_those_of_the_default_pool() {
    let list = Scratch::new("outside", "ws://10.0.0.9:1 weight=1\n");
    let text = "[[pool]]\nname = 'default'\n[[pool]]\nname = 'b'\nbackend = 'ws://b'\n[[route]]\n";
    let file = Scratch::new("sources", text);
    let flags = [("config", file.path()), ("backends-file", list.path()), ("backend", "ws://a")];
    let config = config(&flags, &[]).unwrap();
    let [default, other] = &config.pools[..] else { panic!("{:?}", config.pools) };
    assert_eq!((default.backends.len(), default.file.as_ref().map_or(0, |file| file.backends.len())), (1, 1));
    assert_eq!((other.backends.len(), &other.file), (1, &None));
}

#[test]
fn a_backend_stands_once_in_its_pool() {
    let both = |second: &str| format!("[[backend]]\nurl = 'ws://a'\nid = 'x'\n[[backend]]\n{second}\n");
    assert_eq!(
        wrong("url-twice", &both("url = 'ws://A:80'")),
        ["tideover.toml:4: [[backend]]: ws://a:80 is given twice"]
    );
    assert_eq!(
        wrong("id-twice", &both("url = 'ws://b'\nid = 'x'")),
        ["tideover.toml:4: [[backend]]: the id \"x\" is given twice"]
    );
    let list = Scratch::new("listed", "ws://a\n");
    let lines = report(config(&[("backend", "ws://a"), ("backends-file", list.path())], &[]), None);
    assert_eq!(lines, ["--backends-file, --backend: ws://a:80 is given twice"]);
    let apart = "[[backend]]\nurl = 'ws://a'\n[[pool]]\nname = 'b'\nbackend = 'ws://a'\n";
    assert!(of_file("apart-pools", apart).is_ok(), "two pools may share a backend");
}

#[test]
fn a_route_behind_one_that_takes_all_its_handshakes_is_reported() {
    let text = "backend = 'ws://a'\n[[route]]\nhost = 'a'\n[[route]]\nhost = 'a'\npath = '/b'\n[[route]]\n[[route]]\npath = '/'\n";
    let lines = wrong("behind", text);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("tideover.toml:4: [[route]], tideover.toml:2: [[route]]: the first is never"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("tideover.toml:8: [[route]], tideover.toml:7: [[route]]: "), "{lines:?}");
}

#[test]
fn tables_are_arrays_of_tables() {
    assert_eq!(
        wrong("no-array", "backend = 'ws://a'\n[pool]\nname = 'a'\n"),
        ["tideover.toml:2: pool: is no array of tables: write [[pool]]"]
    );
    let inline = of_file("inline", "backend = [{ url = 'ws://a', weight = 3 }]").unwrap();
    assert_eq!(inline.pools[0].backends[0].weight, 3);
}
