//! Two sessions, joined by pipes on virtual time.
#![allow(unreachable_pub, reason = "one test binary")]

mod closing;
mod cost;
mod crossing;
mod ends;
mod faults;
mod floods;
mod flow;
mod idle;
mod kept;
mod pipe;
mod properties;
mod resume;
mod rules;
mod shared;
mod split;
mod trace;
mod waking;
