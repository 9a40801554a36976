//! The one place that atomics, cells and shared pointers come from, so that loom sees them all.
//! `clippy.toml` keeps them out of other crates.

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize},
    },
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicUsize},
};

pub(crate) use std::sync::atomic::Ordering;

/// Loom has none. What is in one is written before a ring is closed and read after, which loom sees.
pub(crate) use std::sync::OnceLock;

#[cfg(not(loom))]
pub(crate) use atomic_waker::AtomicWaker;
#[cfg(not(loom))]
pub(crate) use crossbeam_queue::ArrayQueue;

/// Stands for the crate's: its own tests answer for it.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

#[cfg(loom)]
impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &core::task::Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

/// Stands for the crate's: its own tests answer for it.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    values: loom::sync::Mutex<std::collections::VecDeque<T>>,
    capacity: usize,
}

#[cfg(loom)]
impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { values: loom::sync::Mutex::new(std::collections::VecDeque::new()), capacity }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let Ok(mut values) = self.values.lock() else { return Err(value) };
        if values.len() == self.capacity {
            return Err(value);
        }
        values.push_back(value);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.values.lock().ok()?.pop_front()
    }
}

/// A cell that lends its pointer for the length of a closure, so that loom can watch the access.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// Tells loom which steps of a plain memory are read and written. Loom's own cells are not plain
/// bytes, so memory that is lent out as slices is watched from beside it. Costs nothing otherwise.
#[derive(Debug)]
pub(crate) struct Watch {
    #[cfg(loom)]
    steps: Box<[UnsafeCell<()>]>,
}

#[cfg(not(loom))]
impl Watch {
    pub(crate) fn new(_len: usize) -> Self {
        Self {}
    }

    #[inline(always)]
    pub(crate) fn read(&self, _index: usize, _len: usize) {}

    #[inline(always)]
    pub(crate) fn write(&self, _index: usize, _len: usize) {}
}

#[cfg(loom)]
impl Watch {
    /// Bytes that are watched as one.
    const STEP: usize = 16;

    /// Watches `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        let steps = len.div_ceil(Self::STEP);
        Self { steps: (0..steps).map(|_| UnsafeCell::new(())).collect() }
    }

    /// Bytes `index..index + len` are being read by this thread.
    pub(crate) fn read(&self, index: usize, len: usize) {
        for step in self.touched(index, len) {
            step.with(|_| ());
        }
    }

    /// Bytes `index..index + len` are being written by this thread.
    pub(crate) fn write(&self, index: usize, len: usize) {
        for step in self.touched(index, len) {
            step.with_mut(|_| ());
        }
    }

    fn touched(&self, index: usize, len: usize) -> &[UnsafeCell<()>] {
        &self.steps[index / Self::STEP..(index + len).div_ceil(Self::STEP)]
    }
}
