//! Keeps a panic of the code under a link from others.
//!
//! A driver moves many links in one task, so a peer that found a way to make a stack panic would end all of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Keeps a value that is of no more use once it has panicked: it is not asked for anything again, so it does not matter
/// in what state it is.
#[derive(Debug)]
pub struct PanicGuard<T> {
    value: T,
    panicked: Option<String>,
}

impl<T> PanicGuard<T> {
    /// Guards this value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value, panicked: None }
    }

    /// Does something with the value; `None` when it panics, or has.
    #[inline]
    pub fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.panicked.is_some() {
            return None;
        }
        match caught(|| work(&mut self.value)) {
            Ok(result) => Some(result),
            Err(message) => {
                tracing::error!(message, "the stack of a link panicked; the link ends");
                self.panicked = Some(message);
                None
            }
        }
    }

    /// The message with which it panicked, if it did.
    #[must_use]
    pub fn panicked(&self) -> Option<&str> {
        self.panicked.as_deref()
    }
}

/// Does something that may panic.
///
/// # Errors
///
/// The message, when it does. What it worked on may be in any state.
pub fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
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
