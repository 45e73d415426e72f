//! What the numbers were measured on.

use serde::Serialize;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Processes that wanted a core in the minute before the run began: how much else went on.
    pub(crate) load_average: f64,
    /// Seconds since 1970.
    pub(crate) unix_time: u64,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            line.map(|value| value.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default();
        let kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib / (1 << 20),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            load_average: load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            unix_time: std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()),
        }
    }
}
