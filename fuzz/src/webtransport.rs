//! What a stranger says as a browser before its link: never a panic, the same however it is cut, and no more memory than
//! is said.

use std::mem::discriminant;
use std::sync::Arc;

use allocation_counter::measure;
use deltawire_webtransport::{
    MAX_HEADERS, MAX_SETTINGS, Part, Prologue, PrologueError, Request, Rules, StreamHead,
};

/// Where links are: the corpus asks for it.
const PATH: &str = "/deltawire";

/// Runs of bytes, each behind two: on which stream it comes (from 4 on, that this one is over, or opened again), and how
/// long it is.
pub fn webtransport(data: &[u8]) {
    head(data);
    let whole = fed(data, usize::MAX);
    for step in [1, 7] {
        assert!(same(&fed(data, step), &whole), "cut after {step} bytes");
    }
    if let Ok(Some((request, _))) = &whole {
        assert!(
            request.path == PATH && request.ticket.as_ref().is_none_or(|it| it.len() < 1 << 14)
        );
    }
}

/// What was asked for, and whether the session was closed then.
type Outcome = Result<Option<(Request, bool)>, PrologueError>;

/// How much was passed over when that was too much depends on where it was cut.
fn same(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Err(one), Err(other)) => discriminant(one) == discriminant(other),
        (one, other) => one == other,
    }
}

fn fed(data: &[u8], step: usize) -> Outcome {
    let rules = Arc::new(Rules::new(PATH));
    let mut outcome = Ok(None);
    let memory = measure(|| outcome = feed(Prologue::new(rules), data, step));
    // Fields as they came, as they are read, and as others have them.
    let most = 16 * (MAX_HEADERS + MAX_SETTINGS);
    assert!(memory.bytes_max <= most, "{} of {most} bytes", memory.bytes_max);
    outcome
}

fn feed(mut prologue: Prologue, mut data: &[u8], step: usize) -> Outcome {
    let parts = [Part::Request, Part::Control, Part::QpackEncoder, Part::QpackDecoder];
    for part in parts {
        prologue.open(part)?;
    }
    let mut asked = None;
    while let [which, len, rest @ ..] = data {
        let part = parts[usize::from(which % 4)];
        let (run, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        match which / 4 {
            0 => {
                for bytes in run.chunks(step.max(1)) {
                    prologue.feed(part, bytes)?;
                }
            }
            1 => prologue.finish(part)?,
            _ => prologue.open(part)?,
        }
        if let Some(Ok(request)) = prologue.take_request() {
            assert!(asked.is_none(), "it was asked for twice");
            asked = Some(request);
        }
    }
    Ok(asked.map(|request| (request, prologue.is_closed())))
}

/// What a stream is shows after 17 bytes at the most.
fn head(data: &[u8]) {
    for mut head in [StreamHead::unidirectional(), StreamHead::bidirectional()] {
        let mut read = data.iter().map(|byte| head.read(*byte));
        let at = read.position(|read| !matches!(read, Ok(None)));
        assert!(at.map_or(data.len() < 17, |at| at < 17), "{at:?}");
    }
}
