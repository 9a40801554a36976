//! What the benches share.
#![allow(unreachable_pub, dead_code, reason = "each bench uses what it needs")]

/// Prints how many allocations a round costs, once warm.
pub fn print_allocations(name: &str, mut round: impl FnMut()) {
    const ROUNDS: u64 = 100;
    round();
    let info = allocation_counter::measure(|| (0..ROUNDS).for_each(|_| round()));
    println!("{name}: {} allocations a round\n", info.count_total as f64 / ROUNDS as f64);
}
