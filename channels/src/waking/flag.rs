use crate::sync::{AtomicBool, Ordering};

/// A flag that any thread raises and that one takes down.
///
/// Who finds it raised sees what was written before it was raised.
#[derive(Debug)]
pub struct Flag(AtomicBool);

impl Flag {
    /// A flag that is raised, or not.
    #[must_use]
    pub fn new(raised: bool) -> Self {
        Self(AtomicBool::new(raised))
    }

    /// Raises it. Says whether it was down before.
    #[inline]
    pub fn raise(&self) -> bool {
        // Release: pairs with the acquires of `take` and `is_raised`. By exchange, so that it also
        // releases what an earlier call did, and that one of several callers learns to be the first.
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it is raised.
    #[must_use]
    #[inline]
    pub fn is_raised(&self) -> bool {
        // Acquire: pairs with the exchange in `raise`.
        self.0.load(Ordering::Acquire)
    }

    /// Takes it down. Says whether it was raised. Costs a plain load if it was not.
    #[inline]
    pub fn take(&self) -> bool {
        // The first look decides nothing but whether to look again. The exchange acquires what all
        // calls of `raise` before it released; one that comes after it finds the flag down.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

impl Default for Flag {
    /// Not raised.
    fn default() -> Self {
        Self::new(false)
    }
}
