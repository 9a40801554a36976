//! How often a server that has no room is asked.

use std::future::Future;
use std::time::Duration;

use deltawire_link::Runtime;
use deltawire_link::runtime::{jitter, sleep};
use deltawire_signalling::SignallingError;

use crate::backoff::part_of;

/// Asks, and asks again when a server says how long to wait, as long as `patience` allows.
pub(crate) async fn patiently<T, F>(
    runtime: &dyn Runtime,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<T, SignallingError>
where
    F: Future<Output = Result<T, SignallingError>>,
{
    let start = runtime.now();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let waited = runtime.now().saturating_sub(start);
        let random = jitter(runtime);
        match error.retry_after().and_then(|asked| wait(asked, patience, waited, random)) {
            Some(wait) => {
                tracing::debug!(%error, ?wait, "asking the server again");
                sleep(runtime, wait).await;
            }
            None => return Err(error),
        }
    }
}

/// What is waited at the least, though a server asks for less: one that says 0 may do so for ever.
const LEAST: Duration = Duration::from_secs(1);

/// As long as the server asks, and up to half as long again, so that not all that it refused come
/// back at once; `None` if that is more than what is left of the patience.
fn wait(asked: Duration, patience: Duration, waited: Duration, random: u64) -> Option<Duration> {
    let left = patience.saturating_sub(waited);
    let asked = asked.max(LEAST);
    let wait = asked.checked_add(part_of(asked.min(patience) / 2, random))?;
    (wait <= left).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_waited_than_patience_allows_and_no_less_than_asked() {
        let [one, ten] = [1, 10].map(Duration::from_secs);
        for random in 0..2_048 {
            let waits = wait(one, ten, ten - 2 * one, random).unwrap();
            assert!(waits >= one && waits <= one * 3 / 2);
            assert_eq!(wait(2 * ten, ten, Duration::ZERO, random), None);
            assert_eq!(wait(Duration::MAX, ten, Duration::ZERO, random), None);
            assert_eq!(wait(one, ten, ten, random), None);
            assert_eq!(wait(one, Duration::ZERO, Duration::ZERO, random), None);
            // A server that says 0 ever again.
            assert_eq!(wait(Duration::ZERO, Duration::ZERO, Duration::ZERO, random), None);
            assert_eq!(wait(Duration::ZERO, ten, ten, random), None);
            assert!(wait(Duration::ZERO, ten, Duration::ZERO, random).unwrap() >= one);
            wait(Duration::from_secs(u64::MAX), Duration::MAX, Duration::ZERO, random);
        }
    }
}
