//! Whether the runtime's threads keep to one core each, and to which.

use crate::config::Pin;

/// The cores to keep threads on; `None` to leave that to the system.
///
/// By [`Pin::Auto`] threads are pinned only where the process has all of the machine's cores for itself: not in
/// containers and not under quotas, where pinning makes throttling worse. Elsewhere than on Linux it does nothing.
#[must_use]
pub fn cores(pin: Pin) -> Option<Vec<usize>> {
    #[cfg(target_os = "linux")]
    return linux::cores(pin);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pin;
        None
    }
}

/// Keeps the thread that calls this on a core.
pub fn pin_to(core: usize) {
    #[cfg(target_os = "linux")]
    linux::pin_to(core);
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use crate::config::Pin;

    pub(super) fn cores(pin: Pin) -> Option<Vec<usize>> {
        let set = sched_getaffinity(None).ok()?;
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        let pins = match pin {
            Pin::Off => false,
            Pin::On => true,
            Pin::Auto => {
                let parallel = std::thread::available_parallelism().map_or(0, usize::from);
                parallel == allowed.len() && online() == Some(allowed.len()) && !is_container()
            }
        };
        (pins && allowed.len() > 1).then_some(allowed)
    }

    /// How many cores are online.
    fn online() -> Option<usize> {
        let list = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
        let mut count = 0;
        for range in list.trim().split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            count += last.checked_sub(first)? + 1;
        }
        Some(count)
    }

    fn is_container() -> bool {
        let has_quota = std::fs::read_to_string("/sys/fs/cgroup/cpu.max")
            .is_ok_and(|quota| !quota.trim_start().starts_with("max"));
        has_quota
            || Path::new("/.dockerenv").exists()
            || Path::new("/run/.containerenv").exists()
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }

    pub(super) fn pin_to(core: usize) {
        let mut set = CpuSet::new();
        if core < CpuSet::MAX_CPU {
            set.set(core);
            if let Err(error) = sched_setaffinity(None, &set) {
                tracing::debug!(%error, core, "a thread could not be pinned");
            }
        }
    }
}
