//! Requests and streams between two peers: in one process, and over TCP.
#![allow(missing_docs)]

mod hostile;
mod lab;
mod requests;
mod streams;
