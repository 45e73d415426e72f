//! The Python, Node and Go packages of the real servers and clients: pinned, installed under the target directory on first
//! use, once for all test processes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{lock, program};

const REQUIREMENTS: &str = include_str!("../backends/requirements.txt");
const KOSOKU: &str = include_str!("../backends/kosoku.txt");
const SCHEMATHESIS: &str = include_str!("../backends/schemathesis.txt");
const PACKAGE: &str = include_str!("../backends/package.json");
const PACKAGE_LOCK: &str = include_str!("../backends/package-lock.json");
const GORILLA_BACKEND: &str = include_str!("../backends/gorilla/main.go");

/// Debian's packages for [`gorilla_backend`].
const GO_PACKAGES: &str = "golang-go golang-github-gorilla-websocket-dev";

/// Debian's package for [`dig`].
const DIG_PACKAGE: &str = "bind9-dnsutils";

/// Where Debian's package for [`chromium`] puts the program.
const CHROMIUM: &str = "/usr/bin/chromium";

/// That package.
const CHROMIUM_PACKAGE: &str = "chromium";

/// Where the second of them puts its sources.
const GORILLA: &str = "/usr/share/gocode/src/github.com/gorilla/websocket";

/// The Python interpreter of a virtual environment with `tests/backends/requirements.txt` installed.
///
/// # Panics
/// When it cannot be made, with what is missing.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| installed("python", REQUIREMENTS, install_python).join("bin/python"))
}

/// The program `kosoku`, which runs Autobahn's cases, of `tests/backends/kosoku.txt`.
///
/// # Panics
/// When it cannot be installed, with what is missing.
pub fn kosoku() -> &'static Path {
    static KOSOKU_PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    KOSOKU_PROGRAM.get_or_init(|| installed("kosoku", KOSOKU, install_kosoku).join("bin/kosoku"))
}

/// The program `schemathesis`, which calls an HTTP API in all ways that its OpenAPI text allows and forbids, of
/// `tests/backends/schemathesis.txt`.
///
/// # Panics
/// When it cannot be installed, with what is missing.
pub fn schemathesis() -> &'static Path {
    static SCHEMATHESIS_PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let install = || installed("schemathesis", SCHEMATHESIS, install_schemathesis).join("bin/schemathesis");
    SCHEMATHESIS_PROGRAM.get_or_init(install)
}

/// The `node_modules` directory with `tests/backends/package-lock.json` installed, for NODE_PATH.
///
/// # Panics
/// When it cannot be made, with what is missing.
pub fn node_modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| installed("node", PACKAGE_LOCK, install_node).join("node_modules"))
}

/// The gorilla backend, built from Debian's packages, which are installed if they are missing and we are root.
///
/// # Errors
/// Says what is missing and how to get it. Unlike the others this one is optional: not every system has Debian's Go.
pub fn gorilla_backend() -> Result<&'static Path, &'static str> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = PROGRAM.get_or_init(|| {
        if !Path::new(GORILLA).exists() || Command::new("go").arg("version").output().is_err() {
            install("Debian's Go packages", GO_PACKAGES)?;
        }
        Ok(installed("go", GORILLA_BACKEND, build_gorilla).join("gorilla-backend"))
    });
    built.as_deref().map_err(String::as_str)
}

/// The `dig` program, installed with Debian's packages if it is missing and we are root.
///
/// # Errors
/// Says what is missing and how to get it. Not every system has it.
pub fn dig() -> Result<&'static str, &'static str> {
    static DIG: OnceLock<Result<(), String>> = OnceLock::new();
    let found = DIG.get_or_init(|| {
        if Command::new("dig").arg("-v").output().is_ok() { Ok(()) } else { install("dig", DIG_PACKAGE) }
    });
    found.as_ref().map(|()| "dig").map_err(String::as_str)
}

/// The `chromium` program, installed with Debian's package if it is missing.
///
/// # Errors
/// It is missing, and cannot be installed because we are not root or there is no apt: says which.
///
/// # Panics
/// When apt cannot install it.
pub fn chromium() -> Result<&'static str, &'static str> {
    static FOUND: OnceLock<Result<(), &str>> = OnceLock::new();
    let starts = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let found =
        FOUND.get_or_init(|| match (starts(CHROMIUM), rustix::process::geteuid().is_root(), starts("apt-get")) {
            (true, ..) => Ok(()),
            (false, false, _) => Err("needs Chromium, and only root can install it: apt install chromium"),
            (false, true, false) => Err("needs Chromium, and there is no apt-get to install it"),
            (false, true, true) => {
                install("Chromium", CHROMIUM_PACKAGE).unwrap_or_else(|needed| panic!("apt failed; the test {needed}"));
                Ok(())
            }
        });
    found.map(|()| CHROMIUM)
}

/// Installs Debian's packages, so that one test process at a time does.
///
/// # Errors
/// Says what is missing and how to get it, when we are not root or the packages cannot be had.
pub(crate) fn install(what: &str, packages: &str) -> Result<(), String> {
    let environment = program::target_directory().join("test-env");
    fs::create_dir_all(&environment).expect("target/test-env");
    let _lock = lock::exclusive(&environment.join("apt.lock"));
    let needed = format!("needs {what}: apt install {packages}");
    let apt_get = |arguments: &[&str]| {
        let output = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output();
        output.is_ok_and(|output| output.status.success())
    };
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.split(' ')).collect();
    let root = rustix::process::geteuid().is_root();
    let done = root && (apt_get(&install) || apt_get(&["update"]) && apt_get(&install));
    if done { Ok(()) } else { Err(needed) }
}

/// `target/test-env/NAME`, installed anew unless it was finished with just these `pins`.
pub(crate) fn installed(name: &str, pins: &str, install: fn(&Path)) -> PathBuf {
    let environment = program::target_directory().join("test-env");
    fs::create_dir_all(&environment).expect("target/test-env");
    let directory = environment.join(name);
    let finished = environment.join(format!("{name}.finished"));
    let _lock = lock::exclusive(&environment.join(format!("{name}.lock")));
    if fs::read_to_string(&finished).is_ok_and(|installed| installed == pins) {
        return directory;
    }
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("target/test-env");
    install(&directory);
    fs::write(finished, pins).expect("target/test-env");
    directory
}

fn install_python(directory: &Path) {
    install_packages(directory, "tests/backends/requirements.txt", REQUIREMENTS, &[]);
}

fn install_kosoku(directory: &Path) {
    install_packages(directory, "tests/backends/kosoku.txt", KOSOKU, &["--require-hashes", "--only-binary=:all:"]);
}

fn install_schemathesis(directory: &Path) {
    let flags = ["--require-hashes", "--only-binary=:all:"];
    install_packages(directory, "tests/backends/schemathesis.txt", SCHEMATHESIS, &flags);
}

pub(crate) fn install_packages(directory: &Path, name: &str, pins: &str, flags: &[&str]) {
    run(
        "Python 3.10 or later with the venv module (Debian: apt install python3-venv)",
        Command::new("python3").args(["-m", "venv"]).arg(directory),
    );
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, pins).expect("target/test-env");
    run(
        &format!("the Python packages of {name}, so access to a package index"),
        Command::new(directory.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet"])
            .args(flags)
            .arg("-r")
            .arg(requirements),
    );
}

fn install_node(directory: &Path) {
    install_node_packages(directory, "tests/backends/package-lock.json", PACKAGE, PACKAGE_LOCK);
}

pub(crate) fn install_node_packages(directory: &Path, name: &str, package: &str, lock: &str) {
    run("Node.js 18 or later", Command::new("node").arg("--version"));
    fs::write(directory.join("package.json"), package).expect("target/test-env");
    fs::write(directory.join("package-lock.json"), lock).expect("target/test-env");
    run(
        &format!("npm and the packages of {name}, so access to a package registry"),
        Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(directory),
    );
}

fn build_gorilla(directory: &Path) {
    let source = directory.join("main.go");
    fs::write(&source, GORILLA_BACKEND).expect("target/test-env");
    run(
        "Debian's Go packages as they are installed by apt",
        Command::new("go")
            .args(["build", "-o", "gorilla-backend"])
            .arg(source)
            .current_dir(directory)
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", directory.join("cache")),
    );
}

fn run(needed: &str, command: &mut Command) {
    let shown = format!("{command:?}");
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the tests need {needed}.\n{shown} failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("the tests need {needed}.\n{shown} did not start: {error}"),
    }
}

/// Lets this process, and those that it starts from now on, open as many files as the system allows it.
///
/// # Panics
/// When the limit cannot be changed.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be raised to the hard one");
}
