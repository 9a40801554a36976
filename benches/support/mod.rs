//! What the benches share.
#![allow(unreachable_pub, dead_code, reason = "each bench uses what it needs")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting what the calling thread allocates.
pub struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Prints how many allocations a round costs, once warm.
pub fn print_allocations(name: &str, mut round: impl FnMut()) {
    const ROUNDS: u64 = 100;
    round();
    let before = ALLOCATIONS.get();
    for _ in 0..ROUNDS {
        round();
    }
    let count = (ALLOCATIONS.get() - before) as f64 / ROUNDS as f64;
    println!("{name}: {count} allocations a round\n");
}
