//! Backends by what people call them.

use std::sync::Arc;

use crate::admin::error::Failure;
use crate::pool::{Backend, Fleet, Pool};

/// All backends that `text` names: the one of that number, else those of that name, else those at that URL. Two pools may
/// have backends of one name, or at one URL.
pub(in crate::admin) fn named(fleet: &Fleet, text: &str) -> Result<Vec<Arc<Backend>>, Failure> {
    let all: Vec<_> = fleet.backends().into_iter().map(|(_, backend)| backend).collect();
    let found = matching(&all, text);
    if found.is_empty() { Err(none(text)) } else { Ok(found) }
}

/// The backend of the pool that `text` names.
pub(in crate::admin) fn one_in_pool(pool: &Pool, text: &str) -> Result<Arc<Backend>, Failure> {
    matching(&pool.backends(), text).pop().ok_or_else(|| {
        Failure::not_found(format!("the pool {:?} has no backend {text:?}; see /v1/backends", pool.name))
    })
}

fn matching(all: &[Arc<Backend>], text: &str) -> Vec<Arc<Backend>> {
    let number = text.parse().ok();
    let by =
        |is_it: &dyn Fn(&Backend) -> bool| -> Vec<_> { all.iter().filter(|backend| is_it(backend)).cloned().collect() };
    let ways: [&dyn Fn(&Backend) -> bool; 3] =
        [&|backend| Some(backend.id.number()) == number, &|backend| *backend.name == *text, &|backend| {
            backend.url.to_string() == text
        }];
    ways.into_iter().map(by).find(|found| !found.is_empty()).unwrap_or_default()
}

fn none(text: &str) -> Failure {
    Failure::not_found(format!("no backend {text:?}; see /v1/backends"))
}
