//! The memory of a byte ring, and who owns which bytes of it. Knows no frames, wakes nobody.
//!
//! Every range is checked, in release builds too: what the bytes say can then never matter for
//! safety, and the rest of the ring is safe code.

#![allow(unsafe_code)]

use core::slice;

use crossbeam_utils::CachePadded;

use super::pages::Pages;
use crate::sync::{Arc, AtomicUsize, Ordering, Watch};

/// Writes bytes and publishes them. There is one for every memory.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The published tail, or behind it the start of a lap that was begun. Only this side changes it.
    tail: usize,
    /// Where the last lap starts that was begun with an empty ring. A head before it means that
    /// the reader, which has nothing to read, does not know of the lap yet.
    lap: usize,
    /// Where free bytes end: the capacity behind the head as it was last seen. At or before the
    /// same behind the published head, as that only grows.
    limit: usize,
    /// Bytes from the tail on that are free, lie in one piece and are of a page that is in use
    /// already. At most to `limit`.
    near: usize,
}

/// Reads bytes and gives them back. There is one for every memory.
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// The published head, or behind it the start of a lap. Only this side changes it.
    head: usize,
    /// The tail as it was last seen. At or before the published tail, as that only grows.
    tail: usize,
}

struct Shared {
    /// Position behind the last byte that the reader may read. Only the writer stores it.
    tail: CachePadded<AtomicUsize>,
    /// Position of the first byte that the reader has not given back. Only the reader stores it.
    head: CachePadded<AtomicUsize>,
    /// Positions count bytes from the start and wrap around with `usize`; the index of a position
    /// is its remainder by the capacity, a power of two.
    ///
    /// A *lap* begins when the writer finds that nothing is left to read: instead of walking
    /// through memory that was never touched, it goes on at the ring's start. It takes the first
    /// such position that is more than a capacity behind the tail. So the reader, when it finds a
    /// tail more than a capacity behind its head, knows that it was through, and goes there too. A
    /// published head before the lap therefore stands for the lap's start. Invariants:
    ///
    /// 1. head ≤ tail ≤ head + capacity, where ≤ counts from the head.
    /// 2. Bytes from tail up to head + capacity are the writer's. The writer lends them out only
    ///    while it is itself borrowed, and does not move the tail meanwhile.
    /// 3. Bytes from head up to tail are the reader's. The reader lends them out only while it is
    ///    itself borrowed, and does not move the head meanwhile.
    pages: Pages,
    capacity: usize,
    watch: Watch,
}

/// Bytes of a cache line, to which the ring is aligned.
const LINE: usize = 64;

/// Bytes of a page of memory, the least that systems have. Loom gets to see many small ones.
const PAGE: usize = if cfg!(loom) { 32 } else { 4_096 };

// SAFETY: by invariants 2 and 3 a byte has one owner at a time, and storing a position with release
// and loading it with acquire hands it over.
unsafe impl Sync for Shared {}

/// Zeroed memory of `capacity` bytes, a power of two of at least 64, at positions from `position`
/// on.
pub(super) fn memory(capacity: usize, position: usize) -> (Writer, Reader) {
    debug_assert!(capacity.is_power_of_two() && capacity >= LINE);
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(position)),
        head: CachePadded::new(AtomicUsize::new(position)),
        pages: Pages::new(capacity),
        capacity,
        watch: Watch::new(capacity),
    });
    let writer = Writer {
        shared: Arc::clone(&shared),
        tail: position,
        lap: position,
        limit: position.wrapping_add(capacity),
        near: 0,
    };
    let reader = Reader { shared, head: position, tail: position };
    (writer, reader)
}

impl Writer {
    /// Bytes of the ring.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Where the next byte goes.
    #[inline]
    pub(super) fn tail(&self) -> usize {
        self.tail
    }

    /// Bytes from `position` to the ring's end, in `1..=capacity`.
    #[inline]
    pub(super) fn to_end(&self, position: usize) -> usize {
        self.shared.to_end(position)
    }

    /// Bytes that are not free. The reader may be giving some back.
    pub(super) fn used(&self) -> usize {
        self.tail.wrapping_sub(self.head())
    }

    /// Bytes from the tail on that can be lent out without asking anybody: they are free and lie in
    /// one piece.
    #[inline]
    pub(super) fn near(&self) -> usize {
        self.near
    }

    /// Notes that the page in which `len` bytes from the tail on end is about to be touched: what
    /// is left of it is [`near`](Self::near) too.
    #[inline]
    pub(super) fn come_near(&mut self, len: usize) {
        let to_page_end = self.tail.wrapping_add(len).wrapping_neg() & (PAGE - 1);
        self.near = (len + to_page_end).min(self.known_free()).min(self.to_end(self.tail));
    }

    /// Asks the reader for its head. If it has given everything back, goes on at the ring's start.
    #[inline]
    pub(super) fn refresh(&mut self) {
        let head = self.head();
        if head == self.tail && self.shared.index(head) != 0 {
            let capacity = self.capacity();
            self.lap = head.wrapping_add(self.to_end(head)).wrapping_add(capacity);
            self.tail = self.lap;
            self.near = 0;
            self.limit = self.lap.wrapping_add(capacity);
        } else {
            self.limit = head.wrapping_add(self.capacity());
        }
    }

    /// Bytes that are known to be free, in `0..=capacity`.
    #[inline]
    pub(super) fn known_free(&self) -> usize {
        self.limit.wrapping_sub(self.tail)
    }

    /// The first byte that the reader has not given back.
    #[inline]
    fn head(&self) -> usize {
        // Acquire: pairs with the store in `Reader::release`. The reader is done with the bytes
        // before it.
        let head = self.shared.head.load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) > self.capacity() { self.lap } else { head }
    }

    /// The `len` bytes from `start` on, all free and before the ring's end.
    ///
    /// # Panics
    /// When they are not.
    #[inline]
    pub(super) fn bytes_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        let before = start.wrapping_sub(self.tail);
        let free = self.known_free();
        assert!(
            before <= free && len <= free - before && len <= self.to_end(start),
            "the range is the writer's"
        );
        // SAFETY: the range lies between tail and head + capacity: it is the writer's, by
        // invariant 2, and the writer is borrowed for as long as the slice lives. It ends before
        // the memory does.
        unsafe { self.shared.slice_mut(start, len) }
    }

    /// Moves the tail to `tail`: the reader gets the bytes before it.
    ///
    /// # Panics
    /// When they are not all the writer's.
    #[inline]
    pub(super) fn publish(&mut self, tail: usize) {
        let len = tail.wrapping_sub(self.tail);
        assert!(len <= self.known_free(), "the range is the writer's");
        self.tail = tail;
        self.near = self.near.saturating_sub(len);
        // Release: pairs with the load in `Reader::look`. The bytes are written.
        self.shared.tail.store(tail, Ordering::Release);
    }
}

impl Reader {
    /// Bytes of the ring.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// The first byte that was not given back.
    #[inline]
    pub(super) fn head(&self) -> usize {
        self.head
    }

    /// Position behind the last byte that is known to be there.
    #[inline]
    pub(super) fn tail(&self) -> usize {
        self.tail
    }

    /// Bytes from `position` to the ring's end, in `1..=capacity`.
    #[inline]
    pub(super) fn to_end(&self, position: usize) -> usize {
        self.shared.to_end(position)
    }

    /// Whether `position` is at the ring's start.
    #[inline]
    pub(super) fn is_start(&self, position: usize) -> bool {
        self.shared.index(position) == 0
    }

    /// Bytes that were not given back. The writer may be adding some.
    pub(super) fn used(&self) -> usize {
        let (head, tail) = self.look();
        tail.wrapping_sub(head)
    }

    /// Asks the writer for its tail. Where the writer has begun a lap, the head moves there.
    #[inline]
    pub(super) fn refresh(&mut self) {
        (self.head, self.tail) = self.look();
    }

    /// The first byte that was not given back, and the position behind the last one that is there.
    #[inline]
    fn look(&self) -> (usize, usize) {
        // Acquire: pairs with the store in `Writer::publish`. The bytes before it are written.
        let tail = self.shared.tail.load(Ordering::Acquire);
        if tail.wrapping_sub(self.head) <= self.capacity() {
            return (self.head, tail);
        }
        // At most a capacity behind the lap's start, and behind it: a lap is published with what
        // lies in it.
        let behind = self.shared.index(tail.wrapping_sub(1)) + 1;
        (tail.wrapping_sub(behind), tail)
    }

    /// The `len` bytes from `start` on, all readable and before the ring's end.
    ///
    /// # Panics
    /// When they are not.
    #[inline]
    pub(super) fn bytes(&self, start: usize, len: usize) -> &[u8] {
        self.check(start, len);
        // SAFETY: the range lies between head and tail: it is the reader's, by invariant 3, and
        // the reader is borrowed for as long as the slice lives. It ends before the memory does.
        unsafe { self.shared.slice(start, len) }
    }

    /// The `len` bytes from `start` on, all readable and before the ring's end, to write over.
    ///
    /// # Panics
    /// When they are not.
    #[inline]
    pub(super) fn bytes_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        self.check(start, len);
        // SAFETY: as in `bytes`, and the reader is borrowed exclusively.
        unsafe { self.shared.slice_mut(start, len) }
    }

    /// Moves the head to `head`: the writer gets the bytes before it.
    ///
    /// # Panics
    /// When they are not all the reader's.
    #[inline]
    pub(super) fn release(&mut self, head: usize) {
        assert!(
            head.wrapping_sub(self.head) <= self.tail.wrapping_sub(self.head),
            "the range is the reader's"
        );
        self.head = head;
        // Release: pairs with the load in `Writer::head`. The reader is done with the bytes.
        self.shared.head.store(head, Ordering::Release);
    }

    #[inline]
    fn check(&self, start: usize, len: usize) {
        let before = start.wrapping_sub(self.head);
        let readable = self.tail.wrapping_sub(self.head);
        assert!(
            before <= readable && len <= readable - before && len <= self.to_end(start),
            "the range is the reader's"
        );
    }
}

impl Shared {
    #[inline]
    fn capacity(&self) -> usize {
        self.capacity
    }

    /// The index of `position`, in `0..capacity`.
    #[inline]
    fn index(&self, position: usize) -> usize {
        position & (self.capacity() - 1)
    }

    #[inline]
    fn to_end(&self, position: usize) -> usize {
        self.capacity() - self.index(position)
    }

    /// # Safety
    /// The range does not reach beyond the ring's end, and nobody writes to it while the slice
    /// lives.
    #[inline]
    unsafe fn slice(&self, start: usize, len: usize) -> &[u8] {
        debug_assert!(len <= self.to_end(start));
        self.watch.read(self.index(start), len);
        // SAFETY: the caller's promise; every byte has been initialized to zero.
        unsafe { slice::from_raw_parts(self.pointer(start), len) }
    }

    /// # Safety
    /// The range does not reach beyond the ring's end, and nobody else reads or writes it while
    /// the slice lives.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    unsafe fn slice_mut(&self, start: usize, len: usize) -> &mut [u8] {
        debug_assert!(len <= self.to_end(start));
        self.watch.write(self.index(start), len);
        // SAFETY: the caller's promise; every byte has been initialized to zero.
        unsafe { slice::from_raw_parts_mut(self.pointer(start), len) }
    }

    /// Points to the byte at `position`, with leave to go on to the memory's end.
    #[inline]
    fn pointer(&self, position: usize) -> *mut u8 {
        // SAFETY: the index is below the capacity, so this stays within the pages.
        unsafe { self.pages.first().add(self.index(position)) }
    }
}
