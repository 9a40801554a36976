//! A page whose worker talks to a native server: one module for the window, the worker and, without
//! the page, for native programs.

pub mod board;
pub mod exercise;
pub mod service;
pub mod unordered;
pub mod yardstick;

#[cfg(target_arch = "wasm32")]
mod browser;
