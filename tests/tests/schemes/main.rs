//! Must be shown, 5: the schemes besides proxying, to real clients and to the real `dig`.

mod assign;
mod dns;
mod redirect;
mod scale;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);
