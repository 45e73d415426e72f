//! Pools, their backends, and the routes to them: from tables and flags to what is valid.

use std::collections::BTreeSet;

use super::flags::tables;
use super::problem::{Place, Problem};
use super::raw::{Given, Table, Tables, split};
use super::reader::Reader;
use super::rules::OwnRule;
use super::valid::{check_route, pool_settings, route_settings};
use super::{BackendConfig, DEFAULT_POOL, Flag, PoolConfig, Public, Reporting, RouteConfig, Scope, parse, schemes};

/// The flags that say where the backends of a pool come from.
const SOURCES: [&str; 3] = ["backend", "backends-file", "backends-dns"];

/// What goes on being gathered.
struct Builder<'r, 'a> {
    top: &'r mut Reader<'a>,
    pools: Vec<(PoolConfig, Place)>,
    /// Some backends are not known because they are wrong: no pool is said to have none.
    lacks_backends: bool,
}

/// The pools and routes. `total` is `--buffer-total-bytes`.
pub(super) fn read(
    top: &mut Reader<'_>,
    tables: &Tables,
    total: usize,
    lacks_file: bool,
) -> (Vec<PoolConfig>, Vec<RouteConfig>) {
    let lacks_backends = lacks_file || SOURCES.iter().any(|name| !top.is_good(name));
    let mut builder = Builder { top, pools: Vec::new(), lacks_backends };
    tables.pools.iter().for_each(|table| builder.pool(table));
    builder.default_pool(tables);
    tables.backends.iter().for_each(|table| builder.backend(table));
    builder.check_empty();
    let routes = builder.routes(tables, total);
    (builder.pools.into_iter().map(|(pool, _)| pool).collect(), routes)
}

impl Builder<'_, '_> {
    fn pool(&mut self, table: &Table) {
        let mut reader = self.top.table(table, &tables::POOL, |_| false);
        let name = reader.required("name", parse::name);
        self.absorb(reader.problems);
        let is_default = name.as_deref() == Some(DEFAULT_POOL);
        let inherited = |flag: &Flag| flag.scope == Scope::Pool || is_default && flag.scope == Scope::Source;
        let mut reader = self.top.table(table, &tables::POOL, inherited);
        let pool = pool(&mut reader, name.unwrap_or_default());
        self.lacks_backends |= SOURCES.iter().any(|name| !reader.is_good(name));
        self.absorb(reader.problems);
        if let Some((_, place)) = self.pools.iter().find(|(other, _)| other.name == pool.name && !pool.name.is_empty())
        {
            let places = vec![place.clone(), table.place.clone()];
            self.top.problems.push(Problem { places, message: format!("there are two pools {:?}", pool.name) });
        }
        self.pools.push((pool, table.place.clone()));
    }

    /// The pool that needs no table.
    fn default_pool(&mut self, tables: &Tables) {
        let pool = pool(self.top, DEFAULT_POOL.into());
        self.lacks_backends |= SOURCES.iter().any(|name| !self.top.is_good(name));
        let names_it = |table: &Table| names_default(&table.given);
        let is_meant = SOURCES.iter().any(|name| self.top.has(name))
            || tables.backends.iter().any(names_it)
            || tables.routes.iter().any(names_it)
            || tables.routes.is_empty();
        if is_meant && !self.pools.iter().any(|(pool, _)| pool.name == DEFAULT_POOL) {
            let place = self.top.place("backend");
            self.pools.insert(0, (pool, place));
        }
    }

    fn backend(&mut self, table: &Table) {
        let mut reader = self.top.table(table, &tables::BACKEND, |_| false);
        let backend = one_backend(&mut reader);
        let name = reader.one("pool", parse::name);
        let of_pool = reader.place("pool");
        self.lacks_backends |= backend.is_none() || !reader.is_good("pool");
        let named_well = reader.is_good("pool");
        self.absorb(reader.problems);
        let (Some(backend), true) = (backend, named_well) else { return };
        let Some((pool, _)) = self.pools.iter_mut().find(|(pool, _)| pool.name == name) else {
            self.lacks_backends = true;
            return self.unknown_pool(of_pool, &name);
        };
        let clashes = all_of(pool).find_map(|other| clash(&backend, other));
        match clashes {
            Some(clash) => self.top.problems.push(Problem::at(&table.place, clash)),
            None => pool.backends.push(backend),
        }
    }

    fn check_empty(&mut self) {
        if self.lacks_backends {
            return;
        }
        for (pool, place) in &self.pools {
            if pool.backends.is_empty() && pool.file.is_none() && pool.dns.is_none() {
                let message = match place {
                    Place::Flag(_) => "at least one is needed".into(),
                    _ => format!("the pool {:?} has no backend, and no backends-file or backends-dns", pool.name),
                };
                self.top.problems.push(Problem::at(place, message));
            }
        }
    }

    /// The routes; without any table, one that takes all.
    fn routes(&mut self, tables: &Tables, total: usize) -> Vec<RouteConfig> {
        let all = route_settings(self.top, &tables.rules, None);
        check_route(self.top, &all, total);
        self.check_names(tables);
        if tables.routes.is_empty() {
            return vec![all];
        }
        let (routes, known): (Vec<_>, Vec<_>) = tables.routes.iter().map(|table| self.route(table, &tables.rules, total)).unzip();
        for (n, route) in routes.iter().enumerate() {
            let covers = |earlier: &usize| known[*earlier] && known[n] && routes[*earlier].takes_all_of(route);
            let earlier = (0..n).find(covers);
            if let Some(earlier) = earlier {
                let places = vec![tables.routes[n].place.clone(), tables.routes[earlier].place.clone()];
                let message = "the first is never taken: the other one, before it, takes all its handshakes".into();
                self.top.problems.push(Problem { places, message });
            }
        }
        routes
    }

    /// The names of routes, and who uses them.
    fn check_names(&mut self, tables: &Tables) {
        let given = tables.routes.iter().flat_map(|table| &table.given).filter(|given| given.flag.name == "name");
        let names: Vec<(String, &Place)> = given.map(|given| (given.texts.concat(), &given.place)).collect();
        for (n, (name, place)) in names.iter().enumerate() {
            if let Some((_, first)) = names[..n].iter().find(|(other, _)| other == name) {
                let places = vec![(*first).clone(), (*place).clone()];
                self.top.problems.push(Problem { places, message: format!("there are two routes {name:?}") });
            }
        }
        let known: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        self.absorb(tables.rules.iter().flat_map(|rule| rule.unknown_routes(&known)).collect());
    }

    /// And whether it is known what the route takes.
    fn route(&mut self, table: &Table, rules: &[OwnRule], total: usize) -> (RouteConfig, bool) {
        let mut reader = self.top.table(table, &tables::ROUTE, |flag| flag.scope != Scope::Source);
        let name = reader.if_given("name", parse::name);
        let settings = route_settings(&mut reader, rules, name.as_deref());
        let route = RouteConfig {
            name,
            hosts: reader.list("host", parse::matching),
            paths: reader.list("path", parse::matching),
            headers: reader.list("header", parse::matching),
            pool: reader.one("pool", parse::name),
            ..settings
        };
        check_route(&mut reader, &route, total);
        let (place, named_well) = (reader.place("pool"), reader.is_good("pool"));
        let known = ["host", "path", "header"].iter().all(|name| reader.is_good(name));
        self.absorb(reader.problems);
        if named_well && !self.pools.iter().any(|(pool, _)| pool.name == route.pool) {
            self.unknown_pool(place, &route.pool);
        }
        (route, known)
    }

    fn unknown_pool(&mut self, place: Place, name: &str) {
        let known: Vec<_> = self.pools.iter().map(|(pool, _)| pool.name.as_str()).collect();
        let message = format!("there is no pool {name:?}, only {}", known.join(", "));
        self.top.problems.push(Problem { places: vec![place], message });
    }

    fn absorb(&mut self, problems: Vec<Problem>) {
        self.top.problems.extend(problems);
    }
}

/// Whether the table of a backend or route means the pool `default`.
fn names_default(given: &[Given]) -> bool {
    given.iter().find(|given| given.flag.name == "pool").is_none_or(|given| given.texts == [DEFAULT_POOL])
}

fn pool(reader: &mut Reader<'_>, name: String) -> PoolConfig {
    let mut pool = PoolConfig {
        name,
        settings: pool_settings(reader),
        backends: Vec::new(),
        file: reader.one("backends-file", parse::backends_file),
        dns: reader.one("backends-dns", parse::dns_name),
    };
    for url in reader.list("backend", parse::backend) {
        let backend = BackendConfig::new(url);
        match pool.backends.iter().find_map(|other| clash(&backend, other)) {
            Some(clash) => reader.reject(&["backend"], clash),
            None => pool.backends.push(backend),
        }
    }
    schemes::publish(reader, &mut pool.backends);
    let listed = pool.file.iter().flat_map(|file| &file.backends);
    let clashes: Vec<_> = listed.filter_map(|one| pool.backends.iter().find_map(|other| clash(one, other))).collect();
    clashes.into_iter().for_each(|clash| reader.reject(&["backends-file", "backend"], clash));
    pool
}

fn all_of(pool: &PoolConfig) -> impl Iterator<Item = &BackendConfig> {
    pool.backends.iter().chain(pool.file.iter().flat_map(|file| &file.backends))
}

fn one_backend(reader: &mut Reader<'_>) -> Option<BackendConfig> {
    let url = reader.required("url", parse::backend);
    let id = reader.if_given("id", parse::name);
    let weight = reader.number("weight");
    let max_sessions = Some(reader.number("max-sessions")).filter(|most| *most != 0);
    let priority = reader.number("priority");
    let public = Public {
        url: reader.one("public-url", parse::own_public_url),
        addresses: reader.list("public-address", parse::ip),
    };
    let reporting = Reporting {
        agent: reader.if_given("agent", parse::host_port),
        agent_send: reader.one("agent-send", parse::text),
        load_url: reader.if_given("load-url", parse::http_url),
    };
    let url = url?;
    let id = id.unwrap_or_else(|| url.authority());
    Some(BackendConfig { id, url, weight, max_sessions, public, priority, reporting })
}

/// A backend of these keys and their values, as in `[[backend]]`; `pool` is none of them. Or all that is wrong with it.
pub(super) fn backend(settings: &[(&str, &str)]) -> Result<BackendConfig, Vec<String>> {
    let mut given = Vec::new();
    for (key, value) in settings {
        let known = tables::BACKEND.keys.iter().filter(|flag| flag.name != "pool").find(|flag| flag.name == *key);
        let flag = known.ok_or_else(|| vec![format!("{key}: unknown key")])?;
        given.push(Given { flag, place: Place::Flag(flag.name), texts: split(flag, value) });
    }
    let table = Table { place: Place::Flag("backends-file"), given, bad: BTreeSet::new() };
    let mut reader = Reader::top(&[], BTreeSet::new()).table(&table, &tables::BACKEND, |_| false);
    let backend = one_backend(&mut reader);
    let wrong: Vec<_> = reader.problems.iter().map(|problem| problem.to_string().replacen("--", "", 1)).collect();
    backend.filter(|_| wrong.is_empty()).ok_or(wrong)
}

/// What two backends of a pool may not share.
pub(super) fn clash(new: &BackendConfig, other: &BackendConfig) -> Option<String> {
    if new.url == other.url {
        Some(format!("{} is given twice", new.url))
    } else {
        (new.id == other.id).then(|| format!("the id {:?} is given twice", new.id))
    }
}
