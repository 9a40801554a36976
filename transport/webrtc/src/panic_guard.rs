//! Keeps a panic of the stack from others.
//!
//! A driver moves many links in one task, so a peer that found a way to make the stack panic would end all of
//! them. What panicked is not asked for anything again, so it does not matter in what state it is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A value that is of no more use once it has panicked.
#[derive(Debug)]
pub(super) struct PanicGuard<T> {
    value: T,
    panicked: Option<String>,
}

impl<T> PanicGuard<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, panicked: None }
    }

    /// Does something with the value; `None` when it panics, or has.
    #[inline]
    pub(super) fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.panicked.is_some() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| work(&mut self.value))) {
            Ok(result) => Some(result),
            Err(panic) => {
                let message = message(panic.as_ref());
                tracing::error!(message, "the WebRTC stack panicked; its link ends");
                self.panicked = Some(message);
                None
            }
        }
    }

    /// With what message it panicked, if it did.
    pub(super) fn panicked(&self) -> Option<&str> {
        self.panicked.as_deref()
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panicked_is_left_alone() {
        let mut shell = PanicGuard::new(1);
        assert_eq!(shell.with(|value| *value + 1), Some(2));
        assert_eq!(shell.with(|_| panic!("on purpose, number {}", 3)), None::<()>);
        assert_eq!(shell.panicked(), Some("on purpose, number 3"));
        assert_eq!(shell.with(|value| *value), None);
    }
}
