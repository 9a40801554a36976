//! Bulk over real links.

mod hostile;
mod lab;
mod moved;
mod refused;
