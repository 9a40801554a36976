/// Ids that one side gives: 1, 2, and so on; 1 again after the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    opened: u64,
}

/// How many there are.
const COUNT: u64 = u32::MAX as u64;

impl Ids {
    pub(super) fn next(self) -> u32 {
        // Below 2^32 by the remainder.
        (self.opened % COUNT) as u32 + 1
    }

    /// The one that follows.
    pub(super) fn after(id: u32) -> u32 {
        id % u32::MAX + 1
    }

    pub(super) fn open(&mut self) {
        self.opened += 1;
    }

    /// Whether it was given once.
    pub(super) fn was_opened(self, id: u32) -> bool {
        id != 0 && u64::from(id) <= self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_up_and_begin_anew() {
        let mut ids = Ids::default();
        assert_eq!(ids.next(), 1);
        assert!(!ids.was_opened(1) && !ids.was_opened(0));
        ids.open();
        assert_eq!(ids.next(), 2);
        assert!(ids.was_opened(1) && !ids.was_opened(2));
        ids.opened = COUNT - 1;
        assert_eq!(ids.next(), u32::MAX);
        assert_eq!(
            (Ids::after(1), Ids::after(u32::MAX - 1), Ids::after(u32::MAX)),
            (2, u32::MAX, 1)
        );
        ids.open();
        assert_eq!(ids.next(), 1);
        assert!(ids.was_opened(u32::MAX));
    }
}
