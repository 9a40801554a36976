//! The engine [`Lean`](deltawire_webrtc::Lean), on virtual time: what `engine/` tries.

#![cfg(not(target_arch = "wasm32"))]

#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/descriptions.rs"]
mod descriptions;
#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../../fuzz/src/engine.rs"]
mod engine;
#[path = "engine/floods.rs"]
mod floods;
#[path = "engine/foreign.rs"]
mod foreign;
#[path = "engine/handshake.rs"]
mod handshake;
#[allow(dead_code, unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../../fuzz/src/hostile.rs"]
mod hostile;
#[path = "engine/pair.rs"]
mod pair;
#[path = "engine/replay.rs"]
mod replay;

/// Which engine it is.
const ENGINE: deltawire_webrtc::EngineKind = deltawire_webrtc::EngineKind::Lean;
