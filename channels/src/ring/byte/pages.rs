//! Zeroed memory that takes none until it is touched: a ring that nobody uses costs nothing.
//!
//! An allocator would give what another ring had, and write the zeros itself.

#![allow(unsafe_code)]

use core::ptr::NonNull;

#[cfg(any(unix, windows))]
use memmap2::MmapMut;

/// So many zeroed bytes, aligned to a cache line, that stay where they are.
pub(super) struct Pages {
    first: NonNull<u8>,
    /// Frees them. Never looked at while the pages live, as others hold pointers into them.
    _owner: Owner,
}

/// From the system, where it has pages to give.
#[cfg(any(unix, windows))]
enum Owner {
    System { _pages: MmapMut },
    Allocator { _lines: Lines },
}

#[cfg(not(any(unix, windows)))]
enum Owner {
    Allocator { _lines: Lines },
}

// SAFETY: the owner is only dropped. What is done with the bytes answers for itself.
unsafe impl Send for Pages {}
// SAFETY: as above; `first` only copies a pointer.
unsafe impl Sync for Pages {}

/// Memory of the allocator's, not borrowed by anybody.
struct Lines(NonNull<[Line]>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Pages {
    pub(super) fn new(len: usize) -> Self {
        #[cfg(any(unix, windows))]
        if let Ok(mut pages) = MmapMut::map_anon(len)
            && let Some(first) = NonNull::new(pages.as_mut_ptr())
        {
            return Self { first, _owner: Owner::System { _pages: pages } };
        }
        let lines = vec![Line([0; 64]); len.div_ceil(64)].into_boxed_slice();
        let lines = NonNull::from(Box::leak(lines));
        Self { first: lines.cast(), _owner: Owner::Allocator { _lines: Lines(lines) } }
    }

    /// Points to the first byte, with leave to go on to the last.
    #[inline]
    pub(super) fn first(&self) -> *mut u8 {
        self.first.as_ptr()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // SAFETY: it was leaked when it was made, and is freed once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
