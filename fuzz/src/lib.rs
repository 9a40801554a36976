//! What the fuzz targets check. The same functions run over the committed corpus in
//! `cargo test` (`framing/tests/corpus.rs`).

pub mod framing;
