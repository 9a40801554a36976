//! The bytes of a stream as a stranger sends them: never a panic, the same however they are cut, and no more memory
//! than one message and what came.

use std::collections::VecDeque;
use std::time::Duration;

use allocation_counter::measure;
use deltawire_link::{Acknowledgements, MAX_STREAM_MESSAGE};
use deltawire_stream::{Framing, FramingError, Item, LengthPrefix, Reader};
use deltawire_websocket::{Side, WebSocketFraming};

/// The first byte says how messages stand in the stream.
pub fn stream(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 3 {
        0 => read(|| LengthPrefix, bytes),
        1 => read(|| WebSocketFraming::new(Side::Server), bytes),
        _ => read(|| WebSocketFraming::new(Side::Client { random: Box::new(|_| {}) }), bytes),
    }
}

fn read<F: Framing>(framing: impl Fn() -> F, bytes: &[u8]) {
    let whole = fed(framing(), bytes, bytes.len().max(1));
    for step in [1, 7] {
        assert!(fed(framing(), bytes, step) == whole, "cut after {step} bytes");
    }
    let mut acknowledgements = Acknowledgements::default();
    acknowledgements.wrote(1_000);
    for item in whole.0 {
        if let Item::Message(message) = item {
            assert!(message.len() <= MAX_STREAM_MESSAGE);
            let taken = acknowledgements.take(&message, Duration::ZERO);
            assert!(acknowledgements.in_flight() <= 1_000);
            if taken.is_err() {
                return;
            }
        }
    }
}

fn fed<F: Framing>(
    framing: F,
    bytes: &[u8],
    step: usize,
) -> (VecDeque<Item>, Result<(), FramingError>) {
    let mut items = VecDeque::new();
    let mut result = Ok(());
    let memory = measure(|| {
        let mut reader = Reader::new(framing);
        for part in bytes.chunks(step) {
            result = reader.feed(part, &mut items);
            if result.is_err() {
                return;
            }
        }
    });
    // Vectors grow by doubling.
    let most = MAX_STREAM_MESSAGE + 4 * bytes.len() * size_of::<Item>() + 4_096;
    assert!(memory.bytes_max <= most as u64, "{} of {most} bytes", memory.bytes_max);
    (items, result)
}
