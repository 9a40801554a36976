//! The memory of a slot ring, and who owns which slot of it. Wakes nobody and knows no closing.

#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};

/// Puts values in. There is one for every storage.
pub(super) struct Writer<T> {
    shared: Arc<Shared<T>>,
    /// Where the next value goes. At or after the published tail: invariant 2.
    tail: usize,
    /// Where there is no more room: the ring's capacity behind the head as it was last seen. At or
    /// before the same behind the published head, as that only grows. At the tail, so that nothing is
    /// put in, until there is memory for the slots: invariant 4.
    limit: usize,
}

/// Takes values out. There is one for every storage.
pub(super) struct Reader<T> {
    shared: Arc<Shared<T>>,
    /// Where the next value lies. At or after the published head: invariant 3.
    head: usize,
    /// The tail as it was last seen. At or before the published tail, as that only grows.
    tail: usize,
}

struct Shared<T> {
    /// Position behind the last value that the reader may take. Only the writer stores it.
    tail: CachePadded<AtomicUsize>,
    /// Position of the first value that the reader has not given back. Only the reader stores it.
    head: CachePadded<AtomicUsize>,
    /// Positions count values from the start and wrap around with `usize`; the slot of a position
    /// is its remainder by the number of slots, a power of two. "The writer's tail" and "the
    /// reader's head" are the private ones of [`Writer`] and [`Reader`]. Invariants:
    ///
    /// 1. published head ≤ reader's head ≤ published tail ≤ writer's tail ≤ published head +
    ///    number of slots, where ≤ counts from the published head.
    /// 2. Slots from the published tail up to the writer's tail hold values; they and those from
    ///    there up to published head + number of slots are the writer's, to write.
    /// 3. Slots from the published head up to the published tail are the reader's, to read. Those
    ///    from the reader's head on hold values; those before it have been moved out of.
    /// 4. There are no slots until the writer looks for room for the first time: then it takes memory
    ///    for them, once, before it publishes anything. The reader looks at them only behind what was
    ///    published. So a ring that nobody uses takes no memory.
    slots: UnsafeCell<Box<[Slot<T>]>>,
    /// The number of slots less 1.
    mask: usize,
    /// How many values there may be, at most as many as there are slots.
    capacity: usize,
}

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

// SAFETY: by invariants 2 and 3 a slot has one owner at a time, and storing a position with release
// and loading it with acquire hands it over. Values cross threads, so they have to be `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Room for `capacity` values, at positions from `position` on.
///
/// # Panics
/// When `capacity` is 0 or above `isize::MAX`.
pub(super) fn storage<T>(capacity: usize, position: usize) -> (Writer<T>, Reader<T>) {
    assert!(capacity > 0, "a ring holds at least 1 value");
    assert!(capacity <= isize::MAX as usize, "a ring holds at most isize::MAX values");
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(position)),
        head: CachePadded::new(AtomicUsize::new(position)),
        slots: UnsafeCell::new(Box::default()),
        mask: capacity.next_power_of_two() - 1,
        capacity,
    });
    let writer = Writer { shared: Arc::clone(&shared), tail: position, limit: position };
    let reader = Reader { shared, head: position, tail: position };
    (writer, reader)
}

impl<T> Writer<T> {
    /// How many values the ring holds at most.
    pub(super) fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// How many values there are. The reader may be taking some.
    pub(super) fn len(&self) -> usize {
        // Acquire: pairs with the store in `Reader::publish`.
        let head = self.shared.head.load(Ordering::Acquire);
        self.tail.wrapping_sub(head)
    }

    /// Whether there is room for a value.
    #[inline]
    pub(super) fn has_room(&mut self) -> bool {
        self.room(1) > 0
    }

    /// How many values there is room for, in `0..=capacity`. Asks the reader only when fewer than
    /// `wanted` are known of.
    #[inline]
    pub(super) fn room(&mut self, wanted: usize) -> usize {
        let known = self.limit.wrapping_sub(self.tail);
        if known >= wanted {
            return known;
        }
        // Acquire: pairs with the store in `Reader::publish`. The reader is done with the slots
        // before it.
        let head = self.shared.head.load(Ordering::Acquire);
        // Here, away from the path of every value.
        // SAFETY: this is the writer.
        unsafe { self.shared.take_slots() };
        self.limit = head.wrapping_add(self.shared.capacity);
        self.limit.wrapping_sub(self.tail)
    }

    /// Puts a value in and publishes it, or gives it back.
    #[inline]
    pub(super) fn push(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(value);
        }
        // SAFETY: there is room, so there are slots, by invariant 4.
        let slot = unsafe { self.shared.slot(self.tail) };
        slot.with_mut(|slot| {
            // SAFETY: there is room, so the tail is below published head + number of slots: the
            // slot is the writer's, by invariant 2.
            unsafe { (*slot).write(value) };
        });
        self.tail = self.tail.wrapping_add(1);
        self.publish();
        Ok(())
    }

    /// Puts in values from `values` until there is no more room or no more value, and returns how
    /// many. The reader does not see them before `publish`.
    #[inline]
    pub(super) fn put_all(&mut self, values: &mut impl Iterator<Item = T>) -> usize {
        let start = self.tail;
        let mut room = self.room(values.size_hint().0.max(1));
        while room > 0 {
            // As far as the slots lie one after another, so that the compiler can vectorize.
            let lying = room.min(self.shared.to_end(self.tail));
            let put = self.put_lying(lying, values);
            if put < lying {
                break;
            }
            room = self.room(1);
        }
        self.tail.wrapping_sub(start)
    }

    /// Puts in up to `count` values, for which there is room before the end of the slots.
    #[inline]
    fn put_lying(&mut self, count: usize, values: &mut impl Iterator<Item = T>) -> usize {
        debug_assert!(count <= self.shared.to_end(self.tail));
        let index = self.shared.index(self.tail);
        // SAFETY: there is room, so there are slots, by invariant 4.
        let slots = unsafe { self.shared.slots() };
        let mut put = 0;
        for slot in &slots[index..index + count] {
            let Some(value) = values.next() else { break };
            slot.with_mut(|slot| {
                // SAFETY: there is room for `count` values from the tail on: the slots are the
                // writer's, by invariant 2.
                unsafe { (*slot).write(value) };
            });
            put += 1;
        }
        // Not before: should the iterator panic, the values so far are leaked.
        self.tail = self.tail.wrapping_add(put);
        put
    }

    /// The position that the reader sees.
    #[inline]
    pub(super) fn published(&self) -> usize {
        // Between calls, all that was put in has been published.
        self.tail
    }

    /// Shows the reader all that was put in.
    #[inline]
    pub(super) fn publish(&mut self) {
        // Release: pairs with the load in `Reader::has_value`. The values are written.
        self.shared.tail.store(self.tail, Ordering::Release);
    }
}

impl<T> Drop for Writer<T> {
    /// Values that were put in but not published are the reader's, or dropped with the storage.
    fn drop(&mut self) {
        self.publish();
    }
}

impl<T> Reader<T> {
    /// How many values the ring holds at most.
    pub(super) fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// How many values there are. The writer may be adding some.
    pub(super) fn len(&self) -> usize {
        // Acquire: pairs with the store in `Writer::publish`.
        let tail = self.shared.tail.load(Ordering::Acquire);
        tail.wrapping_sub(self.head)
    }

    /// Whether there is a value.
    #[inline]
    pub(super) fn has_value(&mut self) -> bool {
        self.available(1) > 0
    }

    /// How many values there are to take. Asks the writer only when fewer than `wanted` are known
    /// of.
    #[inline]
    pub(super) fn available(&mut self, wanted: usize) -> usize {
        let known = self.tail.wrapping_sub(self.head);
        if known >= wanted {
            return known;
        }
        // Acquire: pairs with the store in `Writer::publish`. The values before it are written.
        self.tail = self.shared.tail.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head)
    }

    /// Takes a value out and gives its slot back.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if !self.has_value() {
            return None;
        }
        // SAFETY: there is a value, so there are slots, by invariant 4.
        let slot = unsafe { self.shared.slot(self.head) };
        let value = slot.with_mut(|slot| {
            // SAFETY: there is a value, so the head is below the published tail: the slot is the
            // reader's and holds a value, by invariant 3. Moving the head on moves it out.
            unsafe { (*slot).assume_init_read() }
        });
        self.head = self.head.wrapping_add(1);
        self.publish();
        Some(value)
    }

    /// Takes out up to `max` of the values that there are.
    #[inline]
    pub(super) fn drain(&mut self, max: usize) -> Drain<'_, T> {
        let count = self.available(max).min(max);
        let start = self.head;
        // At once, so that a drain that is leaked leaks its values instead of taking them twice.
        self.head = start.wrapping_add(count);
        Drain { start, next: start, end: self.head, reader: self }
    }

    /// The position that the writer sees.
    #[inline]
    pub(super) fn published(&self) -> usize {
        // Between calls, all that was taken has been given back.
        self.head
    }

    /// Gives back the slots of all that was taken. Giving 16 back at a time is no faster: the writer
    /// looks only when it knows of no more room.
    #[inline]
    pub(super) fn publish(&mut self) {
        // Release: pairs with the load in `Writer::room`. The values are moved out.
        self.shared.head.store(self.head, Ordering::Release);
    }
}

/// Values on their way out.
pub(super) struct Drain<'a, T> {
    reader: &'a mut Reader<T>,
    /// Position of the first value.
    start: usize,
    /// Position of the next value. From here to `end` slots are the reader's and hold values: they
    /// lay between its head and the published tail when it was asked, and the head is at `end`.
    next: usize,
    end: usize,
}

impl<T> Drain<'_, T> {
    /// Takes the next value out.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: there is a value, so there are slots, by invariant 4.
        let slot = unsafe { self.reader.shared.slot(self.next) };
        let value = slot.with_mut(|slot| {
            // SAFETY: the position is below `end`, so the slot is the reader's and holds a value.
            // Moving `next` on moves it out.
            unsafe { (*slot).assume_init_read() }
        });
        self.next = self.next.wrapping_add(1);
        Some(value)
    }

    /// Takes all that are left, as far as their slots lie one after another at a time, so that the
    /// compiler can vectorize.
    #[inline]
    pub(super) fn fold<A>(&mut self, mut folded: A, mut fold: impl FnMut(A, T) -> A) -> A {
        while self.next != self.end {
            let index = self.reader.shared.index(self.next);
            let lying = self.left().min(self.reader.shared.to_end(self.next));
            // SAFETY: there is a value, so there are slots, by invariant 4.
            let slots = unsafe { self.reader.shared.slots() };
            for slot in &slots[index..index + lying] {
                let value = slot.with_mut(|slot| {
                    // SAFETY: as in `take`: the slots are those from `next` on, before `end`.
                    unsafe { (*slot).assume_init_read() }
                });
                // First, so that a value is not taken twice should the closure panic.
                self.next = self.next.wrapping_add(1);
                folded = fold(folded, value);
            }
        }
        folded
    }

    /// How many values are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.end.wrapping_sub(self.next)
    }

    /// Gives back the slots of what was taken, if anything was; returns the head then. What was not
    /// taken stays in the ring.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<usize> {
        self.end = self.next;
        self.reader.head = self.next;
        if self.next == self.start {
            return None;
        }
        self.reader.publish();
        Some(self.next)
    }
}

impl<T> Drop for Reader<T> {
    /// Values that were taken must not be dropped again with the storage.
    fn drop(&mut self) {
        self.publish();
    }
}

impl<T> Shared<T> {
    /// Takes memory for the slots, if there is none yet.
    ///
    /// # Safety
    /// The caller is the writer.
    #[inline]
    unsafe fn take_slots(&self) {
        // SAFETY: only the writer writes to this.
        if self.slots.with(|slots| unsafe { (&*slots).is_empty() }) {
            let slots = new_slots(self.mask + 1);
            // SAFETY: before there are slots the reader does not look at this, by invariant 4.
            self.slots.with_mut(|place| unsafe { *place = slots });
        }
    }

    /// # Safety
    /// There are slots: the caller is the writer and has found room, or the reader and has found
    /// a value.
    #[inline]
    unsafe fn slots(&self) -> &[Slot<T>] {
        // SAFETY: by invariant 4 nobody writes to this any more.
        self.slots.with(|slots| unsafe { &*slots })
    }

    /// The slot of a position.
    ///
    /// # Safety
    /// There are slots, as for [`slots`](Self::slots).
    #[inline]
    unsafe fn slot(&self, position: usize) -> &Slot<T> {
        // SAFETY: the caller's promise.
        let slots = unsafe { self.slots() };
        // SAFETY: the index is a remainder by the number of slots.
        unsafe { slots.get_unchecked(self.index(position)) }
    }

    /// The index of a position's slot, below the number of slots.
    #[inline]
    fn index(&self, position: usize) -> usize {
        position & self.mask
    }

    /// How many slots lie one after another from a position on.
    #[inline]
    fn to_end(&self, position: usize) -> usize {
        self.mask + 1 - self.index(position)
    }
}

impl<T> Drop for Shared<T> {
    /// Drops the values that are left. Both sides are gone, and have published.
    fn drop(&mut self) {
        // Relaxed: the last `Arc` has acquired what both sides did.
        let mut head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        while head != tail {
            // SAFETY: there is a value, so there are slots, by invariant 4.
            let slot = unsafe { self.slot(head) };
            slot.with_mut(|slot| {
                // SAFETY: the slot lies between the published head and tail: it holds a value, by
                // invariant 3, and nobody else is left to own it.
                unsafe { (*slot).assume_init_drop() };
            });
            head = head.wrapping_add(1);
        }
    }
}

#[cold]
fn new_slots<T>(count: usize) -> Box<[Slot<T>]> {
    (0..count).map(|_| Slot::new(MaybeUninit::uninit())).collect()
}
