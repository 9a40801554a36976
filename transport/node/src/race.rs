//! Ways to the same end, each with a head start before the next one is tried beside it (as RFC 8305 does with addresses).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use deltawire_link::Runtime;
use deltawire_link::runtime::BoxFuture;

/// What the first way gives that succeeds; the others are given up. `head_start` is what the ways before one of this index
/// have before it is tried beside them. If none does, or one fails in a way that is `last`,
/// why: of each that failed, in the order in which they did.
pub(crate) async fn race<'a, T, E>(
    runtime: &dyn Runtime,
    head_start: impl Fn(usize) -> Duration,
    ways: impl ExactSizeIterator<Item = BoxFuture<'a, Result<T, E>>>,
    last: impl Fn(&E) -> bool,
) -> Result<T, Vec<E>> {
    let all = ways.len();
    let (mut ways, mut running, mut failed) = (ways, Vec::new(), Vec::new());
    let mut timer = runtime.timer();
    // A timer may say only once that it is over.
    let mut due = false;
    poll_fn(|context| {
        loop {
            due = due || ways.len() > 0 && timer.poll(context).is_ready();
            if running.is_empty() || due {
                match ways.next() {
                    Some(way) => {
                        due = false;
                        running.push(way);
                        if ways.len() > 0 {
                            let wait = head_start(all - ways.len());
                            timer.set(runtime.now().saturating_add(wait));
                        }
                    }
                    None if running.is_empty() => {
                        return Poll::Ready(Err(std::mem::take(&mut failed)));
                    }
                    None => {}
                }
            }
            let before = running.len();
            let mut over = None;
            running.retain_mut(|way: &mut BoxFuture<'a, _>| {
                if over.is_some() {
                    return true;
                }
                match Pin::new(way).poll(context) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(won)) => over = Some(Ok(won)),
                    Poll::Ready(Err(error)) if last(&error) => over = Some(Err(error)),
                    Poll::Ready(Err(error)) => failed.push(error),
                }
                false
            });
            match over {
                Some(Ok(won)) => return Poll::Ready(Ok(won)),
                Some(Err(error)) => {
                    failed.push(error);
                    return Poll::Ready(Err(std::mem::take(&mut failed)));
                }
                None => {}
            }
            due = due || ways.len() > 0 && timer.poll(context).is_ready();
            if running.len() == before && !due {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Addresses of one host that are tried.
#[cfg(all(any(feature = "quic", feature = "sctp", feature = "tcp"), not(target_arch = "wasm32")))]
pub(crate) const MAX_ADDRESSES: usize = 4;

/// What an address gets as a start before the next one is tried beside it (RFC 8305, section 5).
#[cfg(all(any(feature = "quic", feature = "sctp", feature = "tcp"), not(target_arch = "wasm32")))]
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);

/// Addresses of one host in the order in which they are tried: of each family in turn, at most so many.
#[cfg(all(any(feature = "quic", feature = "sctp", feature = "tcp"), not(target_arch = "wasm32")))]
pub(crate) fn in_turn(
    addresses: Vec<std::net::SocketAddr>,
    most: usize,
) -> Vec<std::net::SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(std::net::SocketAddr::is_ipv4);
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_ipv4);
    first.reverse();
    second.reverse();
    let mut ordered = Vec::new();
    while ordered.len() < most && !(first.is_empty() && second.is_empty()) {
        ordered.extend(first.pop());
        ordered.extend(second.pop());
    }
    ordered.truncate(most);
    ordered
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::TokioRuntime;

    const START: Duration = Duration::from_millis(100);

    /// When a way is over, in milliseconds, and how.
    type Way = (u64, Result<u32, u32>);

    /// Says what came of these ways, and how many were begun.
    async fn run(ways: Vec<Way>) -> (Result<u32, Vec<u32>>, usize) {
        let begun = Arc::new(Mutex::new(0));
        let attempts = ways.into_iter().map(|(after, outcome)| {
            let begun = begun.clone();
            let way = async move {
                *begun.lock().unwrap() += 1;
                tokio::time::sleep(Duration::from_millis(after)).await;
                outcome
            };
            Box::pin(way) as BoxFuture<'_, _>
        });
        let outcome =
            race(&TokioRuntime::current(), |_| START, attempts, |error| *error == 9).await;
        (outcome, *begun.lock().unwrap())
    }

    #[tokio::test]
    async fn the_first_that_succeeds_is_taken() {
        let begun = std::time::Instant::now();
        assert_eq!(run(vec![(10, Ok(1)), (0, Ok(2))]).await, (Ok(1), 1), "it had a start");
        assert_eq!(run(vec![(10, Err(1)), (10, Ok(2))]).await, (Ok(2), 2));
        assert!(begun.elapsed() < START, "nobody waits for what has failed");
        let silent = vec![(60_000, Ok(1)), (60_000, Ok(2)), (10, Ok(3))];
        assert_eq!(run(silent).await, (Ok(3), 3));
        assert!(begun.elapsed() >= 2 * START);
    }

    #[tokio::test]
    async fn who_fails_last_says_so() {
        let outcome = run(vec![(20, Err(1)), (10, Err(2))]).await;
        assert_eq!(outcome, (Err(vec![1, 2]), 2));
        assert_eq!(run(Vec::new()).await, (Err(Vec::new()), 0));
        let refused = run(vec![(10, Err(9)), (10, Ok(2))]).await;
        assert_eq!(refused, (Err(vec![9]), 1), "another address would say the same");
    }

    #[cfg(any(feature = "quic", feature = "sctp", feature = "tcp"))]
    #[test]
    fn families_take_turns() {
        let of = |text: &str| -> Vec<std::net::SocketAddr> {
            text.split(' ').map(|address| address.parse().unwrap()).collect()
        };
        let addresses = of("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 1.1.1.2:1");
        assert_eq!(in_turn(addresses.clone(), 4), of("[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1"));
        assert_eq!(in_turn(addresses, 9), of("[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1 [::3]:1"));
        assert_eq!(in_turn(Vec::new(), 4), []);
    }
}
