//! What the fuzz targets check. The same functions run over the committed corpus in
//! `cargo test` (`framing/tests/corpus.rs`, `channels/tests/corpus.rs`, `transport/webrtc/tests/engine`,
//! `transport/websocket/tests/corpus.rs`, `transport/sctp/tests/corpus.rs`, `transport/turn/tests/corpus.rs`, `transport/webtransport/tests/corpus.rs`, `store/tests/corpus.rs`, `requests/tests/corpus.rs`,
//! `bulk/tests/corpus.rs`).

pub mod bulk;
#[cfg(feature = "engine")]
pub mod engine;
pub mod framing;
#[cfg(feature = "engine")]
pub mod hostile;
pub mod requests;
pub mod sctp;
pub mod session;
pub mod store;
pub mod stream;
pub mod turn;
pub mod webtransport;

/// The engine that is tried: the default one.
#[cfg(feature = "engine")]
const ENGINE: deltawire_webrtc::EngineKind = deltawire_webrtc::EngineKind::Lean;
