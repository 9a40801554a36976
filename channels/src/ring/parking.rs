//! Parking a task until the other side of a ring has something for it: no lost wake-up, no lock, and
//! neither side ever waits for the other one in here.
//!
//! The danger is the gap between "nothing there" and "asleep". Both sides write, then look:
//!
//! | who waits | who wakes |
//! |---|---|
//! | leaves its waker and exchanges the state for "parked" | publishes its position |
//! | looks at the position again | exchanges the state for "awake", and looks what it was |
//!
//! The two exchanges are of one atomic, so one comes first. If it is the left one, the right one
//! finds "parked" and wakes. If it is the right one, the left one has acquired what was published
//! before it, so the second look finds it. So no fence is needed; a fence and a load in place of the
//! waking side's exchange take the same time.

#![allow(unsafe_code)]

use core::hint::spin_loop;
use core::task::{Context, Poll, Waker};

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicU8, AtomicUsize, Ordering, UnsafeCell};

/// How far a ring is: it only ever goes up.
const OPEN: u8 = 0;
/// Nothing more is begun. What is committed meanwhile still counts.
const CLOSED: u8 = 1;
/// What is committed from now on does not count.
const SEALED: u8 = 2;

/// No waker is left. The other states are the index of the cell that one lies in.
const AWAKE: u8 = 2;

/// How often to look again before parking: at least, and at most. Between threads on two cores, 32
/// looks (about a microsecond) make waiting calls up to three times as fast as none do, and 128 are
/// no better. Without a second thread, and for loom, looking again is in vain.
const LOOKS: (u32, u32) = if cfg!(any(loom, target_family = "wasm")) { (0, 0) } else { (1, 32) };

/// One side's seat at a ring: parks this side's task, wakes the other's, and closes the ring.
/// Closes and wakes when dropped.
pub(super) struct Parker {
    shared: Arc<Shared>,
    /// Which spot is this side's own: 0 or 1.
    side: usize,
    /// A cell of this side's spot that this side may write whenever it is not parked: 0 or 1.
    /// By invariant 2 or 3 of [`Spot::cells`].
    free: u8,
    /// The position that this side had published when it last woke the other one.
    announced: usize,
    /// How often to look again before parking, in the bounds of [`LOOKS`].
    looks: u32,
}

struct Shared {
    spots: [CachePadded<Spot>; 2],
    /// Read by every call and written twice at the most, so away from all that is written often.
    end: CachePadded<End>,
}

/// Whether a ring has come to its end.
struct End {
    /// [`OPEN`], [`CLOSED`] or [`SEALED`].
    state: AtomicU8,
    /// How far the side that sealed the ring had read it by then.
    read: AtomicUsize,
}

/// Where one side waits.
struct Spot {
    /// [`AWAKE`], or the cell (0 or 1) that holds the waker of a parked task.
    state: AtomicU8,
    /// Invariants:
    ///
    /// 1. Only the waiting side sets `state` to 0 or 1, only after writing that cell, and only by
    ///    exchange. Everybody else only ever exchanges it for `AWAKE`.
    /// 2. Whoever exchanges `c` for `AWAKE` owns cell `c`: the waking side until it exchanges
    ///    again, the waiting side until it parks in `c` again.
    /// 3. When the waiting side has parked in one cell and finds `AWAKE`, the waking side may be in
    ///    that cell, but has left the other one: it took this one by a later exchange, which the
    ///    waiting side has now acquired. So the other cell is the waiting side's.
    cells: [UnsafeCell<Option<Waker>>; 2],
}

// SAFETY: `state` is atomic, and invariants 1 to 3 give each cell one owner at a time, handed over
// by exchanges that acquire and release. `Waker` is `Send`.
unsafe impl Sync for Spot {}

impl Parker {
    /// The two sides' seats at a ring whose positions start at `position`.
    pub(super) fn pair(position: usize) -> (Self, Self) {
        let shared = Arc::new(Shared {
            spots: [Spot::new(), Spot::new()].map(CachePadded::new),
            end: CachePadded::new(End {
                state: AtomicU8::new(OPEN),
                read: AtomicUsize::new(position),
            }),
        });
        let seat = |side| Self {
            shared: Arc::clone(&shared),
            side,
            free: 0,
            announced: position,
            looks: LOOKS.0,
        };
        (seat(0), seat(1))
    }

    /// Wakes the other side if it is parked. It then sees that this side has published `position`.
    #[inline]
    pub(super) fn announce(&mut self, position: usize) {
        self.announced = position;
        self.notify_peer();
    }

    /// Takes `self` exclusively, as all that touches the cells does: each side is one at a time.
    #[inline]
    fn notify_peer(&mut self) {
        let spot = &self.shared.spots[1 - self.side];
        // Release: pairs with the exchange in `park`, whose second look must see what this side
        // published. Acquire: pairs with the same exchange, behind which the waker was written.
        let parked = spot.state.swap(AWAKE, Ordering::AcqRel);
        if parked != AWAKE {
            // SAFETY: the exchange has just found this cell parked.
            unsafe { wake(spot, parked) };
        }
    }

    /// Whether either side has closed the ring.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        // Acquire: pairs with the exchange in `close`. What the closer published before is seen.
        self.shared.end.state.load(Ordering::Acquire) != OPEN
    }

    /// Whether the other side has sealed the ring before it read what was
    /// [announced](Self::announce) last. Asked after that: it then came behind the seal's exchange of
    /// the same state. If it says no, the other side has read what was announced or will see it.
    #[inline]
    pub(super) fn is_sealed(&self) -> bool {
        self.shared.end.state.load(Ordering::Acquire) == SEALED && self.is_unread()
    }

    /// Whether the side that sealed the ring had not read what was announced last.
    #[cold]
    fn is_unread(&self) -> bool {
        // Relaxed: written once, before the ring was sealed. A ring is shorter than half of all
        // positions.
        let read = self.shared.end.read.load(Ordering::Relaxed);
        self.announced.wrapping_sub(read).cast_signed() > 0
    }

    /// Closes the ring for good: what this side, which has `read` so far, finds in it now is all that
    /// the other one has committed. Only one side seals.
    pub(super) fn seal(&mut self, read: usize) {
        if self.shared.end.state.load(Ordering::Relaxed) != SEALED {
            self.shared.end.read.store(read, Ordering::Relaxed);
            // Release: pairs with the load in `is_sealed`.
            self.shared.end.state.store(SEALED, Ordering::Release);
        }
        // Of this exchange and that of the other side's `announce` one comes first. If it is the
        // other one, what was announced is seen from now on; if it is this one, the seal is.
        self.shared.spots[self.side].state.fetch_or(0, Ordering::AcqRel);
        self.notify_peer();
    }

    /// Closes the ring and wakes the other side.
    pub(super) fn close(&mut self) {
        // Release: pairs with the load in `is_closed`.
        self.shared.end.state.fetch_max(CLOSED, Ordering::Release);
        self.notify_peer();
    }

    /// Leaves `waker` for the other side's next `notify_peer`. Whoever parks looks once more.
    fn park(&mut self, waker: &Waker) {
        self.take_back();
        let spot = &self.shared.spots[self.side];
        let replaced = spot.cells[usize::from(self.free)].with_mut(|cell| {
            // SAFETY: the cell is this side's: by invariant 2 if this side took it back, and by
            // invariant 3 if the other side took the last one.
            let cell = unsafe { &mut *cell };
            match cell {
                Some(left) if left.will_wake(waker) => None,
                _ => cell.replace(waker.clone()),
            }
        });
        // Release: pairs with the exchange in `notify_peer`, which goes on to take the waker.
        // Acquire: pairs with the same exchange. If it came first, what was published before it
        // is seen by the look that follows.
        spot.state.swap(self.free, Ordering::AcqRel);
        self.free = 1 - self.free;
        drop(replaced);
    }

    /// Takes the waker back that the last `park` left, if it is still there.
    fn unpark(&mut self) {
        if self.take_back() {
            let spot = &self.shared.spots[self.side];
            let left = spot.cells[usize::from(self.free)].with_mut(|cell| {
                // SAFETY: the cell is this side's, by invariant 2.
                unsafe { (*cell).take() }
            });
            drop(left);
        }
    }

    /// Ends this side's parking. Whether its waker was still there; it is in the `free` cell then.
    fn take_back(&mut self) -> bool {
        let spot = &self.shared.spots[self.side];
        // Acquire: pairs with the exchange in `notify_peer`; invariant 3 rests on it. Nothing is
        // handed over, so nothing needs releasing.
        let parked = spot.state.swap(AWAKE, Ordering::Acquire);
        if parked != AWAKE {
            self.free = parked;
        }
        parked != AWAKE
    }
}

impl Drop for Parker {
    fn drop(&mut self) {
        self.close();
        self.unpark();
    }
}

impl Spot {
    fn new() -> Self {
        Self { state: AtomicU8::new(AWAKE), cells: [UnsafeCell::new(None), UnsafeCell::new(None)] }
    }
}

/// Wakes the task whose waker lies in `cell`.
///
/// # Safety
/// The waking side has exchanged `cell` for `AWAKE`, and nothing since.
#[cold]
unsafe fn wake(spot: &Spot, cell: u8) {
    let waker = spot.cells[usize::from(cell)].with_mut(|cell| {
        // SAFETY: the cell is the caller's: invariant 2.
        unsafe { (*cell).take() }
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A side of a ring that can wait.
pub(super) trait Parks {
    fn parker(&mut self) -> &mut Parker;

    /// The position that this side has published.
    fn published(&self) -> usize;

    /// Wakes the other side if it is parked.
    #[inline]
    fn notify_peer(&mut self) {
        let position = self.published();
        self.parker().announce(position);
    }

    /// Ready as soon as `look` finds something: looks, looks a few times more if that has paid
    /// lately, parks, and looks again.
    #[inline]
    fn poll_until<R>(
        &mut self,
        context: &mut Context<'_>,
        mut look: impl FnMut(&mut Self) -> Option<R>,
    ) -> Poll<R> {
        if let Some(found) = look(self) {
            return Poll::Ready(found);
        }
        if let Some(found) = self.keep_looking(&mut look) {
            return Poll::Ready(found);
        }
        // Otherwise both sides could sleep, each waiting for what the other has published without notify.
        if self.parker().announced != self.published() {
            self.notify_peer();
        }
        self.parker().park(context.waker());
        match look(self) {
            Some(found) => {
                self.parker().unpark();
                Poll::Ready(found)
            }
            None => Poll::Pending,
        }
    }

    /// Parking and being woken costs far more than waiting for a peer that is at work right now.
    /// So looks twice as often each time that this finds something, and half as often, down to
    /// once, each time that it does not: an idle ring costs one more look.
    #[inline]
    fn keep_looking<R>(&mut self, look: &mut impl FnMut(&mut Self) -> Option<R>) -> Option<R> {
        let looks = self.parker().looks;
        for _ in 0..looks {
            spin_loop();
            if let Some(found) = look(self) {
                self.parker().looks = (looks * 2).min(LOOKS.1);
                return Some(found);
            }
        }
        self.parker().looks = (looks / 2).max(LOOKS.0);
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A side that never finds anything.
    struct Side(Parker, usize);

    impl Parks for Side {
        fn parker(&mut self) -> &mut Parker {
            &mut self.0
        }

        fn published(&self) -> usize {
            self.1
        }
    }

    /// Two sides, a waker for the first one, and what counts its wakes.
    fn sides() -> (Side, Side, Waker, std::sync::Arc<Counter>) {
        let (one, other) = Parker::pair(0);
        let counter = std::sync::Arc::new(Counter::default());
        let waker = Waker::from(std::sync::Arc::clone(&counter));
        (Side(one, 0), Side(other, 0), waker, counter)
    }

    fn park(side: &mut Side, waker: &Waker) {
        let poll = side.poll_until(&mut Context::from_waker(waker), |_| None::<()>);
        assert!(poll.is_pending());
    }

    fn count(counter: &Counter) -> usize {
        counter.0.load(Ordering::Relaxed)
    }

    #[test]
    fn who_parks_once_is_woken_once() {
        let (mut one, mut other, waker, counter) = sides();
        other.notify_peer();
        assert_eq!(count(&counter), 0);
        for wakes in 1..5 {
            park(&mut one, &waker);
            park(&mut one, &waker);
            other.notify_peer();
            other.notify_peer();
            assert_eq!(count(&counter), wakes);
        }
    }

    #[test]
    fn only_the_last_waker_is_woken() {
        let (mut one, mut other, waker, counter) = sides();
        park(&mut one, &waker);
        park(&mut one, Waker::noop());
        other.notify_peer();
        assert_eq!(count(&counter), 0);
        park(&mut one, Waker::noop());
        park(&mut one, &waker);
        other.notify_peer();
        assert_eq!(count(&counter), 1);
    }

    #[test]
    fn whoever_parks_announces_what_it_published_quietly() {
        let (mut one, mut other, waker, counter) = sides();
        park(&mut one, &waker);
        park(&mut other, Waker::noop());
        assert_eq!(count(&counter), 0, "nothing was published");
        other.1 = 1;
        park(&mut other, Waker::noop());
        assert_eq!(count(&counter), 1);
        park(&mut one, &waker);
        park(&mut other, Waker::noop());
        assert_eq!(count(&counter), 1, "it was announced before");
    }

    #[test]
    fn dropping_a_side_closes_wakes_and_keeps_no_waker() {
        let (mut one, other, waker, counter) = sides();
        park(&mut one, &waker);
        drop(other);
        assert!(one.0.is_closed());
        assert_eq!(count(&counter), 1);
        park(&mut one, &waker);
        drop((one, waker));
        assert_eq!(std::sync::Arc::strong_count(&counter), 1);
    }
}
