//! The rules of the configuration, told through its sources.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, CommandFactory, FromArgMatches, Parser};
use tideover_protocol::close::CloseCode;
use tideover_protocol::session::{self, AckMode, OnFull};

use super::*;

mod fleet;
mod guarantees;
mod health;
mod profiles;
mod rules;
mod schemes;

/// A file in the system's folder for such, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tideover-{test}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

fn config(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Result<Config, Problems> {
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Sources { flags, env }.config()
}

/// The lines of the report, with the scratch file's path shortened.
fn report(result: Result<Config, Problems>, file: Option<&Scratch>) -> Vec<String> {
    let text = result.expect_err("a bad configuration").to_string();
    let text = file.map_or(text.clone(), |file| text.replace(file.path(), "tideover.toml"));
    text.lines().map(str::to_owned).collect()
}

const BACKEND: (&str, &str) = ("backend", "ws://127.0.0.1:9001");

#[test]
fn the_defaults_are_those_of_the_session_engine() {
    let url: BackendUrl = BACKEND.1.parse().unwrap();
    let config = Config::with_backends(std::slice::from_ref(&url)).unwrap();
    assert_eq!(format!("{:?}", config.routes[0].session), format!("{:?}", session::Config::default()));
    assert_eq!(config.pools[0].backends, [BackendConfig::new(url)]);
    assert_eq!(config.listen, [Listen { address: "127.0.0.1:8080".parse().unwrap(), tls: false }]);
    assert!(config.tls.is_none() && config.proxy_protocol.is_none());
    assert!(config.pools[0].settings.transport == Transport::default());
    assert_eq!((config.max_handshake_bytes, config.buffer_total_bytes), (16 << 10, 1 << 30));
    assert_eq!((config.max_sessions, config.pools[0].settings.handshakes_per_backend), (10_000, 64));
    assert_eq!(
        (config.pools[0].settings.connect_timeout, config.drain_timeout),
        (Duration::from_secs(5), Duration::from_secs(10))
    );
    assert_eq!((config.routes[0].reattach_order, config.log_format), (ReattachOrder::OtherFirst, LogFormat::Text));
    assert_eq!((config.trust_forwarded.as_slice(), config.log.as_str()), ([].as_slice(), "info"));
    assert!((1..=1024).contains(&config.workers));
    assert!(config.routes[0].reattach_header.is_none() && config.routes[0].session_key.is_none());
    assert_eq!(config.poison_entries, 100);
    assert_eq!(config.pools[0].settings.balancing, Balancing::default());
    assert_eq!(config.pools[0].settings.moving, Moving::default());
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let file = Scratch::new("order", "max-sessions = 1\nbuffer-messages = 1\nbuffer-bytes = '1KiB'\n");
    let config = config(
        &[BACKEND, ("max-sessions", "3"), ("config", file.path())],
        &[("TIDEOVER_MAX_SESSIONS", "2"), ("TIDEOVER_BUFFER_MESSAGES", "2"), ("TIDEOVER_CONFIG", "/does/not/exist")],
    )
    .unwrap();
    let session = &config.routes[0].session;
    assert_eq!((config.max_sessions, session.buffer_messages, session.buffer_bytes), (3, 2, 1024));
    assert_eq!(session.max_message.bytes, 16 << 20);
}

#[test]
fn a_list_of_one_source_replaces_that_of_another() {
    let env = ("TIDEOVER_BACKEND", "ws://c, ws://d");
    assert_eq!(config(&[], &[env]).unwrap().pools[0].backends.len(), 2);
    let config = config(&[("backend", "ws://a"), ("backend", "ws://b:81,ws://b:82")], &[env]).unwrap();
    let backends: Vec<_> = config.pools[0].backends.iter().map(|backend| backend.url.authority()).collect();
    assert_eq!(backends, ["a:80", "b:81", "b:82"]);
}

#[test]
fn values_of_every_kind_are_read() {
    let file = Scratch::new(
        "kinds",
        r#"
        backend = ["ws://a", "ws://b:9001"]
        listen = "0.0.0.0:80,[::]:80"
        buffer-bytes = 0x1_00
        buffer-messages = 1_000
        max-message-bytes = "1 MB"
        ack = "none"
        ack-interval = "1m 30s"
        drain-timeout = 0
        ping-interval = "off"
        hang-timeout = "1h"
        failover-codes = [1012, "4000"]
        ambiguous = ""
        on-full = "drop-oldest"
        trust-forwarded = ["10.0.0.0/8", "::1"]
        log = "warn,tideover=debug"
        "#,
    );
    let config = config(&[("config", file.path())], &[]).unwrap();
    let session = &config.routes[0].session;
    assert_eq!((config.listen.len(), config.pools[0].backends.len()), (2, 2));
    assert_eq!((session.buffer_bytes, session.buffer_messages, session.max_message.bytes), (256, 1000, 1_000_000));
    assert_eq!((session.ack, session.on_full), (AckMode::None, OnFull::DropOldest));
    assert_eq!((session.ack_interval, config.drain_timeout), (Duration::from_secs(90), Duration::ZERO));
    assert_eq!((session.ping_interval, session.hang_timeout), (None, Some(Duration::from_secs(3600))));
    assert_eq!(session.end_codes.failover, [CloseCode::SERVICE_RESTART, CloseCode::new(4000).unwrap()]);
    let ends = &session.end_codes;
    assert_eq!((ends.ambiguous.len(), ends.codeless_ambiguous, ends.eof_ambiguous), (0, false, false));
    assert_eq!(config.trust_forwarded, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let file = Scratch::new(
        "wrong",
        "# a comment\nbuffer_bytes = 1\nmax-sessions = 0\nack = true\nfailover-codes = [1012, 1005, 1.5, []]\n\
         drain-timeout = 10\n\n[\"ad\\nmin\"]\nlisten = 1\n",
    );
    let flags = [("buffer-bytes", "1MiBB"), ("backend", "http://a"), ("backend", "ws://b/chat"), ("ack", "keys")];
    let env = [("TIDEOVER_MAX_SESSIONS", "many"), ("TIDEOVER_LOG", "a=b=c"), ("TIDEOVER_WORKERS", "")];
    let result = config(&[&flags[..], &[("config", file.path())]].concat(), &env);
    let lines = report(result, Some(&file));
    let expected = [
        "--buffer-bytes: \"1MiBB\" is not a size from 1B to 1TiB",
        "--backend: \"http://a\" begins with neither ws:// nor wss://",
        "--backend: \"ws://b/chat\" has a path; the client's path is used",
        "--ack: \"keys\" is not none, pong, reply, rules or explicit",
        "TIDEOVER_MAX_SESSIONS: \"many\" is not a whole number from 1 to 10000000",
        "TIDEOVER_LOG: \"a=b=c\" is not a log filter",
        "TIDEOVER_WORKERS: \"\" is not a whole number from 1 to 1024",
        "tideover.toml:2: buffer_bytes: unknown key; did you mean buffer-bytes?",
        "tideover.toml:3: max-sessions: \"0\" is not a whole number from 1 to 10000000",
        "tideover.toml:4: ack: true is of type boolean, not a string: none, pong, reply, rules or explicit",
        "tideover.toml:5: failover-codes: \"1005\" is not a close code that may be sent",
        "tideover.toml:5: failover-codes: 1.5 is of type float, not a string or an integer, or an array of them: a close",
        "tideover.toml:5: failover-codes: [] is of type array",
        "tideover.toml:6: drain-timeout: \"10\" is not a duration from 0 to 30days, such as 250ms",
        "tideover.toml:8: ad\\nmin: unknown key",
    ];
    for start in expected {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}\nis not in\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn every_flag_is_judged_in_every_source() {
    for flag in flags().filter(|flag| flag.key().is_some()) {
        let lines = report(config(&[(flag.name, "=\u{1}=")], &[]), None);
        assert!(lines.iter().any(|line| line.starts_with(&format!("--{}: ", flag.name))), "{lines:?}");
        let lines = report(config(&[], &[(&flag.env(), "=\u{1}=")]), None);
        assert!(lines.iter().any(|line| line.starts_with(&format!("{}: ", flag.env()))), "{lines:?}");
        let file = Scratch::new(flag.name, &format!("{} = '=='", flag.name));
        let lines = report(config(&[("config", file.path())], &[]), Some(&file));
        assert!(lines.iter().any(|line| line.starts_with(&format!("tideover.toml:1: {}: ", flag.name))), "{lines:?}");
    }
}

#[test]
fn what_follows_from_a_bad_value_is_not_reported_too() {
    let file = Scratch::new("follows", "backend = 1\nbuffer-total-bytes = true\nmax-message-bytes = '1GiB'\n");
    let lines = report(config(&[("config", file.path()), ("ambiguous", "1012,x")], &[]), Some(&file));
    let starts =
        ["tideover.toml:1: backend: 1 is of type", "tideover.toml:2: buffer-total-bytes: true", "--ambiguous: \"x\""];
    assert!(starts.iter().all(|start| lines.iter().any(|line| line.starts_with(start))), "{lines:?}");
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
}

#[test]
#[cfg(unix)]
fn a_variable_that_is_not_utf8_is_reported() {
    use std::os::unix::ffi::OsStringExt;
    let env = vec![("TIDEOVER_ACK".into(), OsString::from_vec(vec![b'a', 0xff]))];
    let flags = vec![(BACKEND.0, BACKEND.1.to_owned())];
    assert_eq!(report(Sources { flags, env }.config(), None), ["TIDEOVER_ACK: \"a\\xFF\" is not UTF-8"]);
}

#[test]
fn a_broken_file_is_reported_without_guesses_at_what_it_lacks() {
    let file = Scratch::new("broken", "ack = 'pong'\nack = 'none'\nlisten = [\n");
    let lines = report(config(&[("config", file.path())], &[]), Some(&file));
    assert!(lines.iter().all(|line| line.starts_with("tideover.toml:")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("tideover.toml:2: ")), "{lines:?}");
    let lines = report(config(&[("ack", "x")], &[("TIDEOVER_CONFIG", "/does/not/exist")]), None);
    assert!(lines[0].starts_with("TIDEOVER_CONFIG: cannot read \"/does/not/exist\": "), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn bounds_hold_at_their_edges() {
    let cases = [
        ("buffer-messages", ["1", "1000000"], ["0", "1000001"]),
        ("max-handshake-bytes", ["8KiB", "1MiB"], ["8191", "1025KiB"]),
        ("max-message-bytes", ["125", "255MiB"], ["124", "2TiB"]),
        ("max-message-frames", ["1", "10000000"], ["0", "10000001"]),
        ("ack-interval", ["1ms", "30days"], ["999us", "31days"]),
        ("ack-timeout", ["1ms", "1h"], ["0", "off"]),
        ("hang-timeout", ["1ms", "off"], ["0", "never"]),
        ("handshakes-per-backend", ["1", "2"], ["0", "-1"]),
        ("workers", ["1", "1024"], ["0", "1025"]),
        ("failover-codes", ["4999", "1007"], ["1015", "5000"]),
        ("ack-linger", ["auto", "0"], ["off", "-1s"]),
        ("replay-max-age", ["off", "1ms"], ["auto", "0"]),
        ("dedupe-entries", ["0", "1000000"], ["-1", "1000001"]),
        ("dedupe-bytes", ["0", "1GiB"], ["-1", "2GiB"]),
        ("compression", ["relay", "off"], ["on", "deflate"]),
        ("max-replays", ["1", "100"], ["0", "101"]),
        ("commit-bytes", ["1", "1TiB"], ["0", "2TiB"]),
        ("poison-entries", ["0", "100000"], ["off", "100001"]),
        ("keep-poison-payload", ["on", "off"], ["true", "1"]),
        ("pin-messages", ["1", "1024"], ["0", "1025"]),
        ("pin-bytes", ["1", "1TiB"], ["0", "2TiB"]),
        ("inspect-bytes", ["1", "1TiB"], ["0", "2TiB"]),
        ("hold-timeout", ["1ms", "1h"], ["0", "off"]),
        ("reattach-header", ["X-Balancer-Reconnect", ""], ["a b", "Host"]),
    ];
    for (name, good, bad) in cases {
        for value in good {
            assert!(config(&[BACKEND, (name, value)], &[]).is_ok(), "--{name} {value}");
        }
        for value in bad {
            assert_eq!(report(config(&[BACKEND, (name, value)], &[]), None).len(), 1, "--{name} {value}");
        }
    }
}

#[test]
fn values_that_do_not_fit_each_other_are_reported_with_all_places() {
    let total = |env| config(&[BACKEND, ("max-message-bytes", "1MiB"), ("buffer-bytes", "1MiB")], &[env]);
    assert!(total(("TIDEOVER_BUFFER_TOTAL_BYTES", "4MiB")).is_ok());
    let lines = report(total(("TIDEOVER_BUFFER_TOTAL_BYTES", "3MiB")), None);
    let places = "TIDEOVER_BUFFER_TOTAL_BYTES, --max-message-bytes, --buffer-bytes: a total of 3MiB is less than 4MiB";
    assert!(lines[0].starts_with(places), "{lines:?}");

    let lines = report(config(&[BACKEND, ("ambiguous", "1012,eof")], &[]), None);
    assert!(lines[0].starts_with("--failover-codes (default), --ambiguous: close code 1012 is in both"), "{lines:?}");

    let twice = config(&[("backend", "ws://a"), ("backend", "ws://A:80"), ("listen", "[::1]:0,[::1]:0")], &[]);
    assert_eq!(report(twice, None), ["--backend: ws://a:80 is given twice"]);
    assert_eq!(report(config(&[], &[]), None), ["--backend: at least one is needed"]);
    assert!(config(&[BACKEND, ("reattach-order", "same-only")], &[]).is_ok());
}

#[test]
fn variables_of_no_flag_do_not_matter() {
    assert!(config(&[BACKEND], &[("TIDEOVER_PORT", "tcp://10.0.0.1:80"), ("TIDEOVER_SERVICE_HOST", "x")]).is_ok());
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    _args: Args,
}

#[test]
fn the_help_says_of_each_flag_its_default_bounds_and_variable() {
    let mut command = Serve::command();
    command.build();
    for flag in flags() {
        let arg = command.get_arguments().find(|arg| arg.get_id() == flag.name).unwrap();
        let long = arg.get_long_help().unwrap().to_string();
        for part in [flag.summary, &flag.default.to_string(), &flag.kind.to_string(), &flag.env()] {
            assert!(long.contains(part), "{part} is not in\n{long}");
        }
        assert!(arg.get_help().unwrap().to_string().contains(&flag.default.to_string()));
        assert!(arg.get_help_heading().is_some());
    }
}

#[test]
fn clap_takes_the_flags_as_written() {
    let command = Args::augment_args(clap::Command::new("serve"));
    let line = ["serve", "--backend", "ws://a", "--ambiguous", "", "--backend=ws://b", "--ack-interval", "5ms"];
    let matches = command.try_get_matches_from(line).unwrap();
    let flags = Args::from_arg_matches(&matches).unwrap().given;
    let config = Sources { flags, env: Vec::new() }.config().unwrap();
    assert_eq!((config.pools[0].backends.len(), config.routes[0].session.ack_interval), (2, Duration::from_millis(5)));
    assert!(!config.routes[0].session.end_codes.eof_ambiguous);
}

const EXAMPLE: &str = include_str!("../../../tideover.example.toml");

/// The lines of the example that are keys behind a `#`, without it.
fn example_keys() -> impl Iterator<Item = &'static str> {
    let is_key = |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')).filter(is_key)
}

#[test]
fn the_example_lists_every_key_in_the_order_of_the_help() {
    let listed: Vec<_> = example_keys().filter_map(|line| line.split(' ').next()).collect();
    let keys: Vec<_> = flags().filter_map(Flag::key).collect();
    assert_eq!(listed, keys);
}

#[test]
fn the_example_is_the_default_when_uncommented() {
    let text: String = example_keys().map(|line| format!("{line}\n")).collect();
    let file = Scratch::new("example", &text);
    let example = config(&[("config", file.path()), ("workers", "1")], &[]).unwrap();
    let defaults = config(&[("backend", "ws://127.0.0.1:9001,ws://127.0.0.1:9002"), ("workers", "1")], &[]).unwrap();
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
}

#[test]
fn the_page_of_limits_has_each_with_its_default() {
    let page = include_str!("../../../docs/limits.md");
    let limits = THEMES.iter().filter(|theme| theme.heading.starts_with("Limits")).flat_map(|theme| theme.flags);
    let missing: Vec<_> = limits
        .filter_map(|flag| {
            let Fallback::Value(default) = flag.default else { panic!("a limit has a default") };
            let row = format!("| `--{}` | `{default}` |", flag.name);
            (!page.contains(&row)).then_some(row)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
