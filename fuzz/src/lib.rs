//! What the fuzz targets check. The same functions run over the committed corpus in
//! `cargo test` (`framing/tests/corpus.rs`, `channels/tests/corpus.rs`, `transport/tests/engine`).

pub mod engine;
pub mod framing;
pub mod hostile;
pub mod session;
