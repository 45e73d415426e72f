//! Which backend somebody means.

use super::client::{Answer, Client};
use super::problem::Problem;
use crate::admin::{Backend, Backends};

/// The number of the backend that `text` names: by its number, `POOL/NAME`, name or URL.
pub(super) async fn backend(client: &Client, text: &str) -> Result<u32, Problem> {
    let all = client.get("/v1/backends").await?.json()?;
    let all: Backends = serde_json::from_value(all).map_err(|_| Answer::unexpected())?;
    pick(&all.backends, text)
}

fn pick(all: &[Backend], text: &str) -> Result<u32, Problem> {
    let number = text.parse().ok();
    let ways: [&dyn Fn(&&Backend) -> bool; 4] = [
        &|backend| Some(backend.id) == number,
        &|backend| format!("{}/{}", backend.pool, backend.name) == text,
        &|backend| backend.name == text,
        &|backend| backend.url == text,
    ];
    let found = ways.iter().map(|is_it| all.iter().filter(is_it).collect::<Vec<_>>()).find(|found| !found.is_empty());
    match found.as_deref() {
        None => Err(Problem::Refused(format!("no backend {text:?}; see `tideover ctl backends`"))),
        Some([one]) => Ok(one.id),
        Some(several) => {
            let names: Vec<_> = several.iter().map(|one| format!("{} ({}/{})", one.id, one.pool, one.name)).collect();
            Err(Problem::Refused(format!("{text:?} may be any of {}: name it by its id", names.join(", "))))
        }
    }
}
