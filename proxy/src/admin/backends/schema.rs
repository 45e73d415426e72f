//! What the texts of a backend look like, for `/openapi.json`: whatever fits is taken. Some spellings that fit no pattern
//! are taken too, such as a scheme in capital letters.

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// The URL of a backend (see [`crate::config::BackendUrl`]).
pub(super) fn url() -> Schema {
    // So long that no host in it has more than its 253 bytes.
    const LONGEST: usize = 258;
    let pattern = format!("^wss?://({}|{}|\\[({})\\])(:{})?/?$", name_pattern(), ipv4(), ipv6(), port());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .max_length(Some(LONGEST))
        .examples([serde_json::json!("ws://127.0.0.1:9001")])
        .description(Some("Where it is: ws://host:port or wss://host:port; no path, query or user."))
        .into()
}

/// The name of a backend or a pool: graphic ASCII without quotes, comma and backslash.
pub(super) fn name() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[!#-&(-+\\--\\[\\]-~]+$"))
        .min_length(Some(1))
        .max_length(Some(255))
        .into()
}

/// A host name; its last label is no number.
fn name_pattern() -> &'static str {
    "([a-zA-Z0-9_-]{1,63}\\.){0,8}[a-zA-Z_-][a-zA-Z0-9_-]{0,62}"
}

fn ipv4() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    format!("({byte}\\.){{3}}{byte}")
}

/// As RFC 4291 2.2 has it in its first two forms: eight groups, or fewer around a `::`.
fn ipv6() -> String {
    let group = "[0-9a-fA-F]{1,4}";
    let shortened = (1..=6).map(|before| {
        let behind = 7 - before;
        format!("({group}:){{1,{before}}}(:{group}){{1,{behind}}}")
    });
    let ends = [format!("({group}:){{7}}{group}"), format!("({group}:){{1,7}}:"), format!(":((:{group}){{1,7}}|:)")];
    ends.into_iter().chain(shortened).collect::<Vec<_>>().join("|")
}

fn port() -> &'static str {
    "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
}
