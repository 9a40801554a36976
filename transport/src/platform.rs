//! What natives and browsers do each in their way.

use std::time::Duration;

/// Waits so long.
pub(crate) async fn sleep(duration: Duration) {
    #[cfg(not(target_arch = "wasm32"))]
    tokio::time::sleep(duration).await;
    #[cfg(target_arch = "wasm32")]
    crate::browser::sleep(duration).await;
}

/// Time since any fixed start.
pub(crate) fn now() -> Duration {
    #[cfg(not(target_arch = "wasm32"))]
    return {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    };
    #[cfg(target_arch = "wasm32")]
    crate::browser::now()
}
