//! What one run took.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time, and the CPU time of the whole process: both ends and the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

/// Clocks that run.
pub(crate) struct Watch(Duration, Duration);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(now(ClockId::Monotonic), now(ClockId::ProcessCPUTime))
    }

    pub(crate) fn stop(self) -> Took {
        let time = now(ClockId::Monotonic) - self.0;
        Took { time, cpu: now(ClockId::ProcessCPUTime) - self.1 }
    }
}

fn now(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
