//! What becomes of a link while it is attended, where its session outlives what it goes over.

use core::future::{pending, poll_fn};
use core::pin::pin;

use deltawire_link::{Link, LinkChange};

/// Attends a link, and says whether it is down, at first and whenever that may have changed.
pub(crate) async fn told<T>(
    link: &Link,
    attending: impl Future<Output = T>,
    mut say: impl FnMut(bool),
) -> T {
    let mut attending = pin!(attending);
    let mut watching = pin!(async {
        let mut changes = link.changes();
        loop {
            say(link.is_down());
            if let LinkChange::Over(_) = changes.next().await {
                // Whoever attends it hears of that by itself.
                pending::<()>().await;
            }
        }
    });
    poll_fn(|context| {
        let _: core::task::Poll<()> = watching.as_mut().poll(context);
        attending.as_mut().poll(context)
    })
    .await
}
