//! The second step: from raw to valid. Every value of every source is judged before anything is given up.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use tideover_protocol::scan::MessageLimits;
use tideover_protocol::session::{self, AckMode, Commit, EndCodes, Linger, SessionLimits};

use super::parse::{self, End};
use super::problem::{Problem, Problems};
use super::raw::Raw;
use super::reader::Reader;
use super::rules::{self, Effective, OwnRule};
use super::units::{format_duration, format_size};
use super::{
    Admission, Balancing, Compression, Config, DEFAULT_POOL, EdgeLimits, Ejection, HealthCheck, HealthConfig, Moving,
    PoolSettings, Rebalance, RouteConfig, Statuses, fleet, tls,
};
use super::{renewal, schemes};

/// The valid configuration, or all that is wrong.
pub(super) fn config(raw: Raw) -> Result<Config, Problems> {
    let Raw { given, tables, problems, bad, lacks_file } = raw;
    let mut reader = Reader::top(&given, bad);
    let buffer_total_bytes = reader.number("buffer-total-bytes");
    let (pools, routes) = fleet::read(&mut reader, &tables, buffer_total_bytes, lacks_file);
    let tls = tls::server(&mut reader);
    let config = Config {
        listen: tls::listen(&mut reader, tls.as_ref()),
        tls,
        proxy_protocol: tls::proxy_protocol(&mut reader),
        pools,
        routes,
        poison_entries: reader.number("poison-entries"),
        max_handshake_bytes: reader.number("max-handshake-bytes"),
        buffer_total_bytes,
        max_sessions: reader.number("max-sessions"),
        limits: edge_limits(&mut reader),
        drain_timeout: reader.duration("drain-timeout"),
        trust_forwarded: reader.list("trust-forwarded", parse::network),
        schemes: schemes::process(&mut reader),
        admin: reader.one("admin", parse::admin),
        admin_token: reader.one("admin-token-file", parse::token_file),
        workers: reader.number("workers"),
        log: reader.one("log", parse::filter),
        log_query: reader.choice("log-query"),
        log_format: reader.choice("log-format"),
    };
    check_listen(&mut reader, &config, lacks_file);
    tls::check_roots(&mut reader, &config.pools);
    schemes::check(&mut reader, &config.schemes, &config.pools);
    match once_each(problems.into_iter().chain(reader.problems)) {
        none if none.is_empty() => Ok(config),
        problems => Err(Problems(problems)),
    }
}

fn edge_limits(reader: &mut Reader<'_>) -> EdgeLimits {
    EdgeLimits {
        handshake_timeout: reader.duration("handshake-timeout"),
        max_header_fields: reader.number("max-header-fields"),
        max_http_requests: reader.number("max-http-requests"),
        max_sessions_per_address: reader.number("max-sessions-per-address"),
        session_rate_per_address: reader.number("session-rate-per-address"),
    }
}

/// What is wrong with a flag given for all routes is found once for each of them.
fn once_each(problems: impl Iterator<Item = Problem>) -> Vec<Problem> {
    problems.fold(Vec::new(), |mut all, problem| {
        if !all.contains(&problem) {
            all.push(problem);
        }
        all
    })
}

/// How a pool treats its backends.
pub(super) fn pool_settings(reader: &mut Reader<'_>) -> PoolSettings {
    PoolSettings {
        connect_timeout: reader.duration("connect-timeout"),
        handshakes_per_backend: reader.number("handshakes-per-backend"),
        transport: tls::transport(reader),
        balancing: balancing(reader),
        health: health(reader),
        moving: moving(reader),
        dns_server: reader.one("dns-server", parse::dns_server),
        http_timeout: reader.duration("http-timeout"),
        mode: reader.choice("mode"),
        scale: schemes::scale(reader),
    }
}

fn balancing(reader: &mut Reader<'_>) -> Balancing {
    Balancing {
        balance: reader.choice("balance"),
        hash_key: reader.one("hash-key", parse::hash_key),
        hash_balance_factor: reader.number("hash-balance-factor"),
        sticky_cookie: reader.one("sticky-cookie", parse::cookie),
        sticky_key: reader.one("sticky-key-file", parse::key_file),
        latency_half_life: reader.duration("latency-half-life"),
        agent_port: Some(reader.number("agent-port")).filter(|port| *port > 0),
        agent_interval: reader.duration("agent-interval"),
        load_path: reader.one("load-path", parse::path),
        load_interval: reader.duration("load-interval"),
        load_half_life: reader.duration("load-half-life"),
        load_max_age: reader.duration("load-max-age"),
        full_rps: Some(reader.number("full-rps")).filter(|rps| *rps > 0),
    }
}

fn moving(reader: &mut Reader<'_>) -> Moving {
    let rebalance =
        Rebalance { rate: reader.number("rebalance-rate"), threshold: reader.number("rebalance-threshold") };
    Moving {
        at_once: reader.number("migrate-at-once"),
        drain_rate: reader.number("drain-rate"),
        rebalance: reader.choice::<bool>("rebalance").then_some(rebalance),
    }
}

fn health(reader: &mut Reader<'_>) -> HealthConfig {
    HealthConfig {
        check: health_check(reader),
        ejection: ejection(reader),
        slow_start: reader.duration_or_word("slow-start").filter(|time| !time.is_zero()),
        panic: reader.number("health-panic"),
    }
}

fn health_check(reader: &mut Reader<'_>) -> HealthCheck {
    let statuses = reader.list("health-status", parse::statuses);
    if statuses.is_empty() {
        reader.reject(&["health-status"], "no answer would pass a check".into());
    }
    HealthCheck {
        probe: reader.one("health-check", parse::check),
        statuses: Statuses(statuses),
        host: reader.one("health-host", parse::host),
        interval: reader.duration("health-interval"),
        timeout: reader.duration("health-timeout"),
        rise: reader.number("health-rise"),
        fall: reader.number("health-fall"),
    }
}

fn ejection(reader: &mut Reader<'_>) -> Ejection {
    let ejection = Ejection { time: reader.duration_or_word("ejection-time"), max: reader.duration("ejection-max") };
    if let Some(time) = ejection.time.filter(|time| *time > ejection.max) {
        let [time, max] = [time, ejection.max].map(format_duration);
        reader.reject(&["ejection-time", "ejection-max"], format!("{time} is more than {max}, the longest ejection"));
    }
    ejection
}

/// A route that takes every handshake.
///
/// `own` are the rules of the configuration's file, of which those count that are for a route of this `name`.
pub(super) fn route_settings(reader: &mut Reader<'_>, own: &[OwnRule], name: Option<&str>) -> RouteConfig {
    let rules = rules::of_route(reader, own, name);
    let mut renewal = renewal::renewal(reader);
    renewal.query = rules.config.query.clone();
    RouteConfig {
        name: None,
        hosts: Vec::new(),
        paths: Vec::new(),
        headers: Vec::new(),
        pool: DEFAULT_POOL.into(),
        admission: Admission {
            http: reader.choice("http"),
            origins: reader.list("allow-origin", parse::matching),
            hosts: reader.list("allow-host", parse::matching),
        },
        session: session_config(reader, &rules),
        reattach_order: reader.choice("reattach-order"),
        renewal,
        compression: compression(reader, &rules),
        reattach_header: reader.one("reattach-header", parse::header),
        session_key: reader.one("session-key-file", parse::key_file),
        rules: rules.config,
    }
}

/// `--compression`, or its default, which depends on the rules.
fn compression(reader: &mut Reader<'_>, rules: &Effective) -> Compression {
    let changes = rules.config.look.changes_messages();
    let given = reader.if_given("compression", parse::choice);
    if let (Some(Compression::Relay), true, Some(origin)) = (given, changes, &rules.origin) {
        let why = "rules that translate ids or cut packets need --compression off";
        reader.reject_with(&["compression"], origin, why.into());
    }
    given.unwrap_or(if changes { Compression::Off } else { Compression::Relay })
}

/// `--ack`, or its default, which depends on the rules. Whether `--commit` fits them is judged here, too.
fn ack(reader: &mut Reader<'_>, commit: Commit, rules: &Effective) -> AckMode {
    let given = reader.if_given("ack", parse::choice);
    let acknowledges = rules.config.look.acknowledges();
    let ack = given.unwrap_or(if acknowledges { AckMode::Rules } else { AckMode::Pong });
    let Some(origin) = &rules.origin else { return ack };
    if acknowledges && ack == AckMode::Explicit {
        let why = "a backend that acknowledges explicitly needs no rules that acknowledge; one of the two";
        reader.reject_with(&["ack"], origin, why.into());
    }
    if rules.config.look.looks_at_backends() && commit == Commit::Barrier {
        let why = "output commit may drop what a backend said, and what rules made of it stays; one of the two";
        reader.reject_with(&["commit"], origin, why.into());
    }
    ack
}

fn session_config(reader: &mut Reader<'_>, rules: &Effective) -> session::Config {
    let commit = reader.choice("commit");
    let ack = ack(reader, commit, rules);
    session::Config {
        ack,
        ack_interval: reader.duration("ack-interval"),
        ack_linger: linger(reader, commit),
        greeting: reader.number("greeting"),
        dedupe_replies: dedupe(reader, ack, commit, rules),
        dedupe_entries: reader.number("dedupe-entries"),
        dedupe_bytes: reader.number("dedupe-bytes"),
        commit,
        commit_bytes: reader.number("commit-bytes"),
        max_replays: reader.number("max-replays"),
        on_poison: reader.choice("on-poison"),
        keep_poison_payload: reader.choice("keep-poison-payload"),
        replay_max_age: reader.duration_or_word("replay-max-age"),
        on_expired: reader.choice("on-expired"),
        ack_timeout: reader.duration("ack-timeout"),
        ping_interval: reader.duration_or_word("ping-interval"),
        ping_timeout: reader.duration("ping-timeout"),
        hang_timeout: reader.duration_or_word("hang-timeout"),
        failover_timeout: reader.duration("failover-timeout"),
        stable_after: reader.duration("stable-after"),
        migrate_quiet: reader.duration("migrate-quiet"),
        migrate_timeout: reader.duration("migrate-timeout"),
        on_migrate_timeout: reader.choice("on-migrate-timeout"),
        end_codes: end_codes(reader),
        on_ambiguous: reader.choice("on-ambiguous"),
        reattach: reader.choice("reattach"),
        on_full: reader.choice("on-full"),
        close_timeout: reader.duration("close-timeout"),
        orphan_timeout: reader.duration("orphan-timeout"),
        buffer_messages: reader.number("buffer-messages"),
        buffer_bytes: reader.number("buffer-bytes"),
        max_message: MessageLimits {
            bytes: reader.number("max-message-bytes"),
            frames: reader.number("max-message-frames"),
        },
        limits: session_limits(reader),
        rules: rules.config.look.rules(),
        pin_messages: reader.number("pin-messages"),
        pin_bytes: reader.number("pin-bytes"),
        hold_timeout: reader.duration("hold-timeout"),
        inspect_bytes: reader.number("inspect-bytes"),
    }
}

fn session_limits(reader: &mut Reader<'_>) -> SessionLimits {
    SessionLimits {
        message_rate: NonZeroU32::new(reader.number("message-rate")),
        byte_rate: NonZeroU64::new(reader.number("byte-rate")),
        control_rate: NonZeroU32::new(reader.number("control-rate")),
        on_rate: reader.choice("on-rate"),
        idle_timeout: reader.duration_or_word("idle-timeout"),
        max_age: reader.duration_or_word("max-session-age"),
        slow_client_timeout: reader.duration_or_word("slow-client-timeout"),
        slow_client_bytes: reader.number("slow-client-bytes"),
    }
}

/// What is acknowledged at a barrier is forgotten with it, so `auto` is nothing there.
fn linger(reader: &mut Reader<'_>, commit: Commit) -> Linger {
    match (reader.duration_or_word("ack-linger"), commit) {
        (Some(duration), Commit::Off) => Linger::For(duration),
        (None, Commit::Off) => Linger::Auto,
        (None | Some(Duration::ZERO), Commit::Barrier) => Linger::For(Duration::ZERO),
        (Some(duration), Commit::Barrier) => {
            let duration = format_duration(duration);
            let message =
                format!("output commit forgets at the barrier; ack-linger {duration} does not fit, 0 or auto do");
            reader.reject(&["commit", "ack-linger"], message);
            Linger::For(Duration::ZERO)
        }
    }
}

/// `--dedupe-replies`, or its default, which depends on the other two. Both are judged here, too.
fn dedupe(reader: &mut Reader<'_>, ack: AckMode, commit: Commit, rules: &Effective) -> bool {
    let given = reader.if_given("dedupe-replies", parse::choice);
    // Beside rules it is wrong anyway, which is told of them.
    if commit == Commit::Barrier && ack != AckMode::Pong && !rules.config.look.looks_at_backends() {
        reader.reject(&["commit", "ack"], "output commit needs --ack pong".into());
    }
    if given == Some(true) && ack == AckMode::Explicit {
        let why = "a backend that acknowledges explicitly knows what it has answered; dedupe-replies must be off";
        reader.reject(&["dedupe-replies", "ack"], why.into());
    }
    if given == Some(true) && commit == Commit::Barrier {
        let why = "output commit leaves nothing to de-duplicate; one of the two must be off";
        reader.reject(&["dedupe-replies", "commit"], why.into());
    }
    given.unwrap_or(ack == AckMode::Pong && commit == Commit::Off)
}

fn end_codes(reader: &mut Reader<'_>) -> EndCodes {
    let ends = reader.list("ambiguous", parse::end);
    EndCodes {
        failover: reader.list("failover-codes", parse::code),
        codeless_ambiguous: ends.contains(&End::Codeless),
        eof_ambiguous: ends.contains(&End::Eof),
        ambiguous: ends.into_iter().filter_map(End::code).collect(),
    }
}

fn check_listen(reader: &mut Reader<'_>, config: &Config, lacks_file: bool) {
    if config.listen.is_empty() && !lacks_file {
        reader.reject(&["listen"], "at least one is needed".into());
    }
    let addresses = config.listen.iter().map(|listen| listen.address);
    let fixed: Vec<_> = addresses.filter(|address| address.port() != 0).collect();
    if let Some(twice) = first_twice(&fixed) {
        reader.reject(&["listen"], format!("{twice} is given twice"));
    }
}

/// What must hold between values of a route that are fine each. `total` is `--buffer-total-bytes`.
pub(super) fn check_route(reader: &mut Reader<'_>, route: &RouteConfig, total: usize) {
    let codes = &route.session.end_codes;
    if let Some(both) = codes.failover.iter().find(|code| codes.ambiguous.contains(code)) {
        reader.reject(&["failover-codes", "ambiguous"], format!("close code {both} is in both; it may be in one"));
    }
    if route.session.ack == AckMode::Rules && !route.rules.look.acknowledges() {
        let why = "no rule acknowledges: that takes a profile or [[rule]]s for this route";
        reader.reject(&["ack", "profile"], why.into());
    }
    check_total(reader, &route.session, total);
}

/// The largest message must fit into its direction's half of the total beside a ring, or it would wait for ever.
fn check_total(reader: &mut Reader<'_>, session: &session::Config, total: usize) {
    let (message, ring) = (session.max_message.bytes, session.buffer_bytes);
    let least = least_total(session);
    if total < least {
        let [total, message, ring, least] = [total, message, ring, least].map(|bytes| format_size(bytes as u64));
        reader.reject(
            &["buffer-total-bytes", "max-message-bytes", "buffer-bytes"],
            format!("a total of {total} is less than {least}, twice {message} (a message) + {ring} (a ring)"),
        );
    }
}

/// The least total that a session so configured can live with.
pub(super) fn least_total(session: &session::Config) -> usize {
    session.max_message.bytes.saturating_add(session.buffer_bytes).saturating_mul(2)
}

pub(super) fn first_twice<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(n, item)| items[..*n].contains(item)).map(|(_, item)| item)
}
