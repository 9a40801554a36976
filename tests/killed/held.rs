use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

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

/// Begins this process anew with an allocator that gives long blocks back to the system at once,
/// so that its resident memory says what it holds.
pub(crate) fn give_memory_back() {
    const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
    if env::var_os(THRESHOLD).is_some() {
        return;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(env::args_os().skip(1)).env(THRESHOLD, "65536").env("MALLOC_ARENA_MAX", "1");
    panic!("this program cannot begin anew: {}", again.exec());
}
