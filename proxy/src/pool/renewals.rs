//! What is changed of a kept handshake when it is given to a backend again, and where that comes from.
//!
//! Rules go first, then the file, then the hook: what comes later goes before it where both name a field or key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;
use hyper::Uri;
use hyper::header::HeaderMap;

use super::hook::{Failure, Given, Hook, HookCounts};
use super::{KeptHandshake, SessionHeaders, locked};
use crate::config::{HookConfig, OnHookFailure, RenewalConfig, SessionKey, ValuesFile};
use crate::renewal::{QueryEdit, Values};

/// A route's.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    /// What rules do to the query.
    query: QueryEdit,
    file: Option<Arc<LiveValues>>,
    hook: Option<Arc<Hook>>,
}

/// The request head of a re-attach, as it was renewed.
#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
}

/// Why a handshake cannot be given to a backend now.
#[derive(Debug)]
pub(super) enum NotRenewed {
    /// The hook says that the session is over, or nobody knows and that is to be the same.
    Closed(String),
    /// It may be tried again.
    Failed(String),
}

/// The values of a file, as of now.
#[derive(Debug)]
struct LiveValues {
    path: PathBuf,
    values: ArcSwap<Values>,
}

impl Renewals {
    /// Those that `config` describes.
    pub(super) fn new(config: &RenewalConfig, shared: &Shared) -> Self {
        let file = config.file.as_ref().map(|file| shared.file(file));
        let hook = config.hook.as_ref().map(|hook| shared.hook(hook));
        Self { query: config.query.clone(), file, hook }
    }

    /// The request head for the session's next backend; `None` if it is that of the client.
    ///
    /// # Errors
    /// See [`NotRenewed`]. Dropping the future ends the call of the hook.
    pub(super) async fn renew(
        &self,
        handshake: &KeptHandshake,
        session: &SessionHeaders,
        key: Option<&SessionKey>,
    ) -> Result<Option<Renewed>, NotRenewed> {
        if self.query.is_empty() && self.file.is_none() && self.hook.is_none() {
            return Ok(None);
        }
        let (target, headers) = handshake.parse();
        let Some(hook) = &self.hook else {
            return self.changed(&target, &headers, None).map(Some).map_err(|why| NotRenewed::Failed(why.to_string()));
        };
        let failure = match hook.ask(session, &headers, key).await {
            Ok(Given::Denied) => return Err(NotRenewed::Closed("the hook denied the session".into())),
            Ok(Given::Values(values)) => match self.changed(&target, &headers, Some(&values)) {
                Ok(renewed) => return Ok(Some(renewed)),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        let why = format!("the re-attach hook failed: {failure}");
        match hook.on_failure() {
            OnHookFailure::Wait => Err(NotRenewed::Failed(why)),
            OnHookFailure::Close => Err(NotRenewed::Closed(why)),
            OnHookFailure::Attach => {
                tracing::info!(session = %session.session, why, "attached without fresh credentials");
                self.changed(&target, &headers, None).map(Some).map_err(|why| NotRenewed::Failed(why.to_string()))
            }
        }
    }

    /// A backend did not take what the hook gave.
    pub(super) fn refused(&self, handshake: &KeptHandshake, session: &SessionHeaders) {
        if let Some(hook) = &self.hook {
            hook.forget(session, &handshake.parse().1);
        }
    }

    fn changed(&self, target: &Uri, headers: &HeaderMap, given: Option<&Values>) -> Result<Renewed, Failure> {
        let file = self.file.as_ref().map(|file| file.values.load_full());
        let all = file.as_deref().into_iter().chain(given);
        let query = all.clone().fold(self.query.clone(), |query, values| query.then(values.query_edit()));
        let target = query.changed(target).ok_or(Failure::Target)?;
        let mut headers = headers.clone();
        all.for_each(|values| values.apply_to(&mut headers));
        Ok(Renewed { target, headers })
    }
}

/// What the routes of a process share: hooks, so that their pace is kept over all sessions, and the values of files.
/// Sessions keep the routes of an older configuration, so it lives as long as the process.
#[derive(Debug, Default)]
pub(super) struct Shared {
    hooks: Mutex<Vec<Weak<Hook>>>,
    files: Mutex<Vec<Weak<LiveValues>>>,
    counts: Arc<HookCounts>,
}

impl Shared {
    /// What came of asking hooks, with its word.
    pub(super) fn hook_counts(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.counts.get().into_iter()
    }

    /// The file at `path` says this now.
    pub(super) fn set_values(&self, path: &Path, values: &Values) {
        for file in live(&self.files).iter().filter(|file| file.path == path) {
            file.values.store(Arc::new(values.clone()));
        }
    }

    fn file(&self, file: &ValuesFile) -> Arc<LiveValues> {
        if let Some(known) = live(&self.files).into_iter().find(|known| known.path == file.path) {
            known.values.store(Arc::new(file.values.clone()));
            return known;
        }
        let new = Arc::new(LiveValues { path: file.path.clone(), values: ArcSwap::from_pointee(file.values.clone()) });
        locked(&self.files).push(Arc::downgrade(&new));
        new
    }

    fn hook(&self, config: &HookConfig) -> Arc<Hook> {
        if let Some(known) = live(&self.hooks).into_iter().find(|known| known.is(config)) {
            known.trust_as(config);
            return known;
        }
        let new = Arc::new(Hook::new(config, self.counts.clone()));
        locked(&self.hooks).push(Arc::downgrade(&new));
        new
    }
}

/// Those that are still there; the others are forgotten.
fn live<T>(all: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    let mut all = locked(all);
    all.retain(|one| one.strong_count() > 0);
    all.iter().filter_map(Weak::upgrade).collect()
}

impl fmt::Display for NotRenewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}
