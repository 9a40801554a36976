//! Programs that run beside this one.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;

use anyhow::{Context, bail};

/// Where a server says that it listens. What it says later is read and dropped, so that it never
/// waits for a reader.
pub(crate) fn address(server: &mut Child) -> anyhow::Result<String> {
    let output = server.stdout.take().context("the server has no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next() {
        let line = line?;
        let found = line.split_whitespace().find(|word| word.starts_with("http://"));
        if let Some(url) = found {
            thread::spawn(move || lines.for_each(drop));
            return Ok(url.to_owned());
        }
    }
    bail!("the server ended before it listened")
}

/// A process that ends with this value.
pub(crate) struct Stopped(pub(crate) Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
