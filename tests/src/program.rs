//! The programs under test, built once per test process.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Overrides the tideover program, for example with a release build.
const PROGRAM_VARIABLE: &str = "TIDEOVER_TEST_PROGRAM";

/// The `tideover` program.
///
/// # Panics
/// When it cannot be built.
pub fn tideover() -> PathBuf {
    std::env::var_os(PROGRAM_VARIABLE).map_or_else(|| built("tideover"), PathBuf::from)
}

/// The Rust test backend.
///
/// # Panics
/// When it cannot be built.
pub fn echo_backend() -> PathBuf {
    built("echo-backend")
}

/// The server and the client of jsonrpsee.
///
/// # Panics
/// When they cannot be built.
pub fn jsonrpsee() -> PathBuf {
    built("jsonrpsee")
}

/// The target directory, where the tests keep what they install, log and measure.
pub fn target_directory() -> &'static Path {
    profile_directory().parent().expect("a profile directory is in the target directory")
}

/// The directory with this profile's programs: that of the running test, without `deps`.
fn profile_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let test = std::env::current_exe().expect("the running test's path");
        let directory = test.parent().expect("a test is in a directory");
        let in_deps = directory.ends_with("deps");
        if in_deps { directory.parent().expect("deps has a parent") } else { directory }.to_owned()
    })
}

fn built(name: &str) -> PathBuf {
    static BUILD: OnceLock<()> = OnceLock::new();
    BUILD.get_or_init(build_programs);
    profile_directory().join(name)
}

/// Cargo builds the programs of a package for its own integration tests only, and never because a source of another
/// package changed; so ask it. With `--workspace` it shares what `cargo test --workspace` has built.
fn build_programs() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = match profile_directory().file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let output = Command::new(cargo)
        .args(["build", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target_directory())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cannot build the programs:\n{}", String::from_utf8_lossy(&output.stderr));
}
