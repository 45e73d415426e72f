//! The second step: from raw to valid. Every value of every source is judged before anything is given up.

use std::time::Duration;

use tideover_protocol::session::{self, AckMode, Commit, EndCodes, Linger};

use super::choice::Choice;
use super::parse::{self, End};
use super::problem::{Place, Problem, Problems};
use super::raw::{Given, Raw};
use super::units::{format_duration, format_size};
use super::{BackendConfig, Balancing, Config, DEFAULT_POOL, Fallback, Flag, PoolConfig, PoolSettings, RouteConfig};

/// The valid configuration, or all that is wrong.
pub(super) fn config(raw: Raw) -> Result<Config, Problems> {
    let mut reader = Reader { raw };
    let config = Config {
        listen: reader.list("listen", parse::listen),
        pools: vec![pool(&mut reader)],
        routes: vec![route(&mut reader)],
        poison_entries: reader.number("poison-entries"),
        max_handshake_bytes: reader.number("max-handshake-bytes"),
        buffer_total_bytes: reader.number("buffer-total-bytes"),
        max_sessions: reader.number("max-sessions"),
        drain_timeout: reader.duration("drain-timeout"),
        trust_forwarded: reader.list("trust-forwarded", parse::network),
        admin: reader.one("admin", parse::admin),
        admin_token: reader.one("admin-token-file", parse::token_file),
        workers: reader.number("workers"),
        log: reader.one("log", parse::filter),
        log_format: reader.choice("log-format"),
    };
    check_together(&mut reader, &config);
    match reader.raw.problems {
        none if none.is_empty() => Ok(config),
        problems => Err(Problems(problems)),
    }
}

fn pool(reader: &mut Reader) -> PoolConfig {
    PoolConfig {
        name: DEFAULT_POOL.into(),
        backends: reader.list("backend", parse::backend).into_iter().map(BackendConfig::new).collect(),
        settings: PoolSettings {
            connect_timeout: reader.duration("connect-timeout"),
            handshakes_per_backend: reader.number("handshakes-per-backend"),
            balancing: balancing(reader),
        },
    }
}

fn balancing(reader: &mut Reader) -> Balancing {
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

fn route(reader: &mut Reader) -> RouteConfig {
    RouteConfig {
        pool: DEFAULT_POOL.into(),
        session: session_config(reader),
        reattach_order: reader.choice("reattach-order"),
        reattach_header: reader.one("reattach-header", parse::header),
        session_key: reader.one("session-key-file", parse::key_file),
    }
}

fn session_config(reader: &mut Reader) -> session::Config {
    let (ack, commit) = (reader.choice("ack"), reader.choice("commit"));
    session::Config {
        ack,
        ack_interval: reader.duration("ack-interval"),
        ack_linger: linger(reader, commit),
        greeting: reader.number("greeting"),
        dedupe_replies: dedupe(reader, ack, commit),
        dedupe_entries: reader.number("dedupe-entries"),
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
        end_codes: end_codes(reader),
        on_ambiguous: reader.choice("on-ambiguous"),
        reattach: reader.choice("reattach"),
        on_full: reader.choice("on-full"),
        close_timeout: reader.duration("close-timeout"),
        orphan_timeout: reader.duration("orphan-timeout"),
        buffer_messages: reader.number("buffer-messages"),
        buffer_bytes: reader.number("buffer-bytes"),
        max_message_bytes: reader.number("max-message-bytes"),
    }
}

/// What is acknowledged at a barrier is forgotten with it, so `auto` is nothing there.
fn linger(reader: &mut Reader, commit: Commit) -> Linger {
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
fn dedupe(reader: &mut Reader, ack: AckMode, commit: Commit) -> bool {
    let given = reader.choice_if_given("dedupe-replies");
    if commit == Commit::Barrier && ack != AckMode::Pong {
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

fn end_codes(reader: &mut Reader) -> EndCodes {
    let ends = reader.list("ambiguous", parse::end);
    EndCodes {
        failover: reader.list("failover-codes", parse::code),
        codeless_ambiguous: ends.contains(&End::Codeless),
        eof_ambiguous: ends.contains(&End::Eof),
        ambiguous: ends.into_iter().filter_map(End::code).collect(),
    }
}

/// What must hold between values that are fine each.
fn check_together(reader: &mut Reader, config: &Config) {
    let backends: Vec<_> = config.pools.iter().flat_map(|pool| &pool.backends).map(|backend| &backend.url).collect();
    for (name, is_given) in [("listen", !config.listen.is_empty()), ("backend", !backends.is_empty())] {
        if !is_given && !reader.raw.lacks_file {
            reader.reject(&[name], "at least one is needed".into());
        }
    }
    if let Some(twice) = first_twice(&backends) {
        reader.reject(&["backend"], format!("{twice} is given twice"));
    }
    let fixed: Vec<_> = config.listen.iter().filter(|address| address.port() != 0).copied().collect();
    if let Some(twice) = first_twice(&fixed) {
        reader.reject(&["listen"], format!("{twice} is given twice"));
    }
    let [route] = &config.routes[..] else { unreachable!("there is one route") };
    let codes = &route.session.end_codes;
    if let Some(both) = codes.failover.iter().find(|code| codes.ambiguous.contains(code)) {
        reader.reject(&["failover-codes", "ambiguous"], format!("close code {both} is in both; it may be in one"));
    }
    check_total(reader, config, &route.session);
}

/// The largest message must fit into its direction's half of the total beside a ring, or it would wait for ever.
fn check_total(reader: &mut Reader, config: &Config, session: &session::Config) {
    let (message, ring) = (session.max_message_bytes, session.buffer_bytes);
    let least = message.saturating_add(ring).saturating_mul(2);
    if config.buffer_total_bytes < least {
        let [total, message, ring, least] =
            [config.buffer_total_bytes, message, ring, least].map(|bytes| format_size(bytes as u64));
        reader.reject(
            &["buffer-total-bytes", "max-message-bytes", "buffer-bytes"],
            format!("a total of {total} is less than {least}, twice {message} (a message) + {ring} (a ring)"),
        );
    }
}

fn first_twice<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(n, item)| items[..*n].contains(item)).map(|(_, item)| item)
}

/// Reads one flag after the other and notes what is wrong. In place of a bad value it goes on with the default.
struct Reader {
    raw: Raw,
}

impl Reader {
    /// The value of a flag that takes one: that of the first source that gives it.
    fn one<T>(&mut self, name: &'static str, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> T {
        let mut values = self.list(name, parse);
        values.swap_remove(0)
    }

    /// The values of a flag that takes a list. Those of all sources are judged; the first source's are returned.
    fn list<T>(&mut self, name: &'static str, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Vec<T> {
        let flag = Flag::named(name).expect("a flag of the table");
        self.given(flag, &parse).unwrap_or_else(|| default(flag, parse))
    }

    /// The good values of the first source that gives the flag, if all that any source gives is good.
    fn given<T>(&mut self, flag: &'static Flag, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Option<Vec<T>> {
        let name = flag.name;
        let mut first = None;
        for Given { place, texts, .. } in self.raw.given.iter().filter(|given| given.flag.name == name) {
            let parsed: Vec<_> = texts.iter().map(|text| parse(flag, text).map_err(|why| (text, why))).collect();
            for (text, why) in parsed.iter().filter_map(|result| result.as_ref().err()) {
                self.raw.problems.push(Problem::at(place, format!("{text:?} {why}")));
                self.raw.bad.insert(name);
            }
            first.get_or_insert(parsed.into_iter().filter_map(Result::ok).collect::<Vec<T>>());
        }
        first.filter(|_| !self.raw.bad.contains(name))
    }

    fn choice<T: Choice>(&mut self, name: &'static str) -> T {
        self.one(name, parse::choice)
    }

    /// The value of a flag whose default depends on others; `None` if it is not given, or bad.
    fn choice_if_given<T: Choice>(&mut self, name: &'static str) -> Option<T> {
        let flag = Flag::named(name).expect("a flag of the table");
        self.given(flag, parse::choice).and_then(|mut values| values.pop())
    }

    fn number<T: TryFrom<u64>>(&mut self, name: &'static str) -> T {
        self.one(name, parse::number)
    }

    fn duration(&mut self, name: &'static str) -> Duration {
        self.duration_or_word(name).expect("only a flag that may be a word is one")
    }

    fn duration_or_word(&mut self, name: &'static str) -> Option<Duration> {
        self.one(name, parse::duration)
    }

    /// Notes that these flags do not fit each other, unless one of them is bad by itself.
    fn reject(&mut self, names: &[&'static str], message: String) {
        if !names.iter().any(|name| self.raw.bad.contains(name)) {
            let places = names.iter().map(|name| self.place(name)).collect();
            self.raw.problems.push(Problem { places, message });
        }
    }

    fn place(&self, name: &'static str) -> Place {
        let given = self.raw.given.iter().find(|given| given.flag.name == name);
        let flag = Flag::named(name).expect("a flag of the table");
        match (given, flag.default) {
            (Some(given), _) => given.place.clone(),
            (None, Fallback::Required) => Place::Flag(flag.name),
            (None, Fallback::Value(_) | Fallback::Computed(_)) => Place::Default(flag.name),
        }
    }
}

fn default<T>(flag: &Flag, parse: impl Fn(&Flag, &str) -> Result<T, String>) -> Vec<T> {
    let text = match flag.default {
        Fallback::Required => return Vec::new(),
        Fallback::Value(text) => text.to_owned(),
        Fallback::Computed(_) => cores().to_string(),
    };
    let parse = |text: String| parse(flag, &text).expect("the defaults of the table are valid");
    super::raw::split(flag, &text).into_iter().map(parse).collect()
}

/// The default of `--workers`, the one that is computed.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024))
}
