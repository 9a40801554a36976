//! The rings beside others, in one run: compare figures within a run, not between runs.
//!
//! Every consumer looks at every byte that it gets, in place where its ring lends it out. Threads
//! that find nothing to do spin a little, then yield; those of the `async` calls park.

mod byte;
mod side_by_side;
mod slot;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .configure_from_args();
    slot::one_thread(&mut criterion);
    byte::one_thread(&mut criterion);
    criterion.final_summary();

    slot::two_threads();
    byte::two_threads();
}
