//! The software itself, pinned as for the other backends, installed on first use.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::environment::{install, install_node_packages, install_packages, installed};

const REQUIREMENTS: &str = include_str!("../../interop/requirements.txt");
const PACKAGE: &str = include_str!("../../interop/package.json");
const PACKAGE_LOCK: &str = include_str!("../../interop/package-lock.json");

/// Runs a script of `tests/interop` with the Node packages of `tests/interop/package-lock.json`.
///
/// # Panics
/// When they cannot be installed, with what is missing.
pub(super) fn node(name: &str) -> Command {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    let install =
        |directory: &Path| install_node_packages(directory, "tests/interop/package-lock.json", PACKAGE, PACKAGE_LOCK);
    let modules = MODULES.get_or_init(|| installed("interop-node", PACKAGE_LOCK, install).join("node_modules"));
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(script(name));
    command
}

/// Runs a script of `tests/interop` with the Python packages of `tests/interop/requirements.txt`.
///
/// # Panics
/// When they cannot be installed, with what is missing.
pub(super) fn python(name: &str) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let install = |directory: &Path| install_packages(directory, "tests/interop/requirements.txt", REQUIREMENTS, &[]);
    let python = PYTHON.get_or_init(|| installed("interop-python", REQUIREMENTS, install).join("bin/python"));
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script(name));
    command
}

/// The broker of Debian's package `mosquitto`, which root installs on first use.
///
/// # Panics
/// When there is none and it cannot be installed, with what is missing.
pub(super) fn mosquitto() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| debian("mosquitto", "mosquitto")))
}

/// The server of Debian's package `redis-server`, which root installs on first use.
///
/// # Panics
/// As for the broker.
pub(super) fn redis() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| debian("redis-server", "redis-server")))
}

/// Where a program of Debian's is, which is not always in a user's path.
fn debian(program: &str, package: &str) -> PathBuf {
    let find =
        || ["/usr/sbin", "/usr/bin"].map(|place| Path::new(place).join(program)).into_iter().find(|p| p.exists());
    find()
        .or_else(|| {
            install(program, package).unwrap_or_else(|needed| panic!("the test {needed}"));
            find()
        })
        .unwrap_or_else(|| panic!("the package {package} has no {program}"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}
