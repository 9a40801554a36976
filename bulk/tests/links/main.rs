//! Bulk over real links.

mod lab;
mod moved;
