use std::fs;

/// What this process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Resident memory, KiB.
    pub(crate) resident: u64,
    pub(crate) files: usize,
    pub(crate) tasks: usize,
}

impl Held {
    /// By the runtime of the caller.
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            resident: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
    }
}
