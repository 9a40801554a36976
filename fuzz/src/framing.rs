//! Whatever bytes come in: an error or a view that holds what it promises, never a panic, and no
//! loop longer than the input.

use std::sync::LazyLock;
use std::time::Duration;

use deltawire_framing::control::{Close, Control, Pong, Resume};
use deltawire_framing::documents::{Group, GroupWriter};
use deltawire_framing::operations::{Operation, Operations, OperationsWriter};
use deltawire_framing::{
    Channel, Delta, DeltaFields, DeltaMut, Fragmenter, Frame, FrameHeader, Frames, Kind,
    Reassembled, Reassembler, ReassemblerLimits, run,
};
use zerocopy::IntoBytes;

/// A transport message.
pub fn frame(data: &[u8]) {
    let mut walked = 0;
    let mut frames = 0;
    let mut errors = 0;
    for frame in Frames::new(data) {
        assert_eq!(errors, 0, "nothing follows an error");
        let Ok(frame) = frame else {
            errors += 1;
            continue;
        };
        frames += 1;
        let bytes = frame.as_bytes();
        assert_eq!(bytes, &data[walked..walked + bytes.len()], "frames lie one after another");
        walked += bytes.len().next_multiple_of(16);
        let header = frame.header();
        assert!(frame.body_offset() + frame.body().len() <= header.message_len() as usize);
        assert_eq!(Frame::parse(bytes).unwrap().header(), header);
        if !header.is_fragment() {
            let message_len = header.message_len() as usize;
            let again = FrameHeader::whole(header.kind(), header.channel(), message_len);
            assert_eq!(again.unwrap().as_bytes(), &bytes[..16], "one way to write it");
            match frame.kind() {
                Kind::Delta => frame.delta().map_or((), group),
                Kind::Control => drop(frame.control()),
                Kind::Document => drop(frame.document()),
                Kind::Request => drop(frame.request()),
                Kind::Bulk => drop(frame.bulk()),
                Kind::Opaque => {}
            }
        }
    }
    assert!(frames + errors <= data.len() / 16 + 1);
    if errors == 0 && run(data, data.len()).is_some_and(|run| run.len == data.len()) {
        assert_eq!(run(data, data.len()).unwrap().frames, frames);
    }
}

/// A delta.
pub fn delta(data: &[u8]) {
    let Ok(delta) = Delta::parse(data) else {
        return;
    };
    assert_eq!(delta.as_bytes(), data);
    assert_eq!(delta.payload().len() + 48, data.len());
    if let Ok(numbers) = delta.payload_as::<u64>() {
        assert_eq!(numbers.len() * 8, delta.payload().len());
    }
    if delta.delta_type().get() == 1 {
        operations(delta.payload());
    }
    let _ = delta.verify_checksum();
    let mut copy = data.to_vec();
    let mut changed = DeltaMut::parse(&mut copy).unwrap();
    changed.payload_mut().fill(7);
    changed.update_checksum();
    Delta::parse(&copy).unwrap().verify_checksum().unwrap();
}

/// A payload of operations.
pub fn operations(data: &[u8]) {
    let mut written = vec![0; data.len()];
    let mut writer = OperationsWriter::new(&mut written);
    for operation in Operations::new(data) {
        let Ok(operation) = operation else { return };
        match operation {
            Operation::Insert { offset, data } => writer.insert(offset, data),
            Operation::Delete { offset, len } => writer.delete(offset, len),
            Operation::Update { offset, data } => writer.update(offset, data),
        }
        .unwrap();
    }
    assert_eq!(writer.finish(), data.len());
    assert_eq!(written, data, "one way to write it");
}

/// The body of a control message.
pub fn control(data: &[u8]) {
    let Ok(message) = Control::parse(data) else {
        return;
    };
    match message {
        Control::Hello(hello) => assert_eq!(hello.as_bytes(), data),
        Control::Window(window) => assert_eq!(window.as_bytes(), data),
        Control::Position(position) => assert_eq!(position.as_bytes(), data),
        Control::Ping(ping) => {
            assert_eq!(ping.as_bytes(), data);
            let pong = Pong::to(ping);
            assert!(matches!(Control::parse(pong.as_bytes()), Ok(Control::Pong(p)) if *p == pong));
        }
        Control::Pong(pong) => assert_eq!(pong.as_bytes(), data),
        Control::Close(close) => {
            let mut written = vec![0; data.len()];
            let again = Close::new(close.code(), close.reason()).with_flags(close.flags());
            let len = again.write(&mut written).unwrap();
            assert_eq!(&written[..len], data);
        }
        Control::Acknowledge(acknowledge) => assert_eq!(acknowledge.as_bytes(), data),
        Control::Resume(resume) => {
            assert_eq!(resume.as_bytes(), data);
            let (taken, sent) = (resume.taken(), resume.sent());
            let again = Resume::new(resume.ticket(), taken, sent, *resume.secret());
            assert_eq!(again.as_bytes(), data, "one way to write it");
        }
        Control::Ticket(ticket) => assert_eq!(ticket.as_bytes(), data),
        other => panic!("no check for {other:?}"),
    }
}

/// A sequence of frames. Each begins with a byte that says what comes: a frame as the fuzzer made
/// it, or a true fragment of one of a few messages, so that many messages get finished.
pub fn reassembler(mut data: &[u8]) {
    let limits = ReassemblerLimits {
        max_bytes: 4_096,
        max_messages: 4,
        max_idle: Duration::from_millis(50),
        remembered: 2,
    };
    let mut reassembler = Reassembler::new(limits, 1);
    let mut now = Duration::ZERO;
    let mut only_true_fragments = true;
    while let [how, len, rest @ ..] = data {
        let raw = &rest[..rest.len().min(*len as usize)];
        let frame = if how & 1 == 0 {
            data = &rest[raw.len()..];
            only_true_fragments = false;
            raw.to_vec()
        } else {
            let [index, next @ ..] = rest else { break };
            data = next;
            fragment(how >> 1, *len, *index)
        };
        now += Duration::from_millis(u64::from(how >> 5));
        if let Ok(frame) = Frame::parse(&frame) {
            let complete = insert(&mut reassembler, frame, now);
            if let Some(body) = complete.filter(|_| only_true_fragments) {
                let id = frame.header().message_id();
                assert!(body.iter().enumerate().all(|(at, byte)| *byte == pattern(id, at)));
            }
        }
        assert!(reassembler.claimed_bytes() <= limits.max_bytes);
        assert!(reassembler.unfinished() <= limits.max_messages as usize);
        while let Some(abandoned) = reassembler.poll_expired(now) {
            assert!(abandoned.received > 0);
        }
    }
}

/// What byte `position` of message `message_id` is.
fn pattern(message_id: u32, position: usize) -> u8 {
    (message_id as usize * 89 + position * 31) as u8
}

/// The longest body of each of eight messages.
static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    (0..8).map(|id| (0..800).map(|position| pattern(id, position)).collect()).collect()
});

/// A true fragment of message `id`, `len` times 3 bytes and some long.
fn fragment(id: u8, len: u8, index: u8) -> Vec<u8> {
    let message_id = u32::from(id & 7);
    let body = &BODIES[message_id as usize][..usize::from(len) * 3 + 33];
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, body.len()).unwrap();
    let fragmenter = Fragmenter::new(&whole, message_id, 32).unwrap();
    let mut scratch = [0; 32];
    let index = u16::from(index) % fragmenter.count();
    fragmenter.in_scratch(body, index, &mut scratch).unwrap().to_vec()
}

/// Inserts a frame; gives the body of the message that it completes.
fn insert(
    reassembler: &mut Reassembler<Vec<u8>>,
    frame: Frame<'_>,
    now: Duration,
) -> Option<Vec<u8>> {
    let mut landing = |message: &FrameHeader| Some(vec![0; message.message_len() as usize]);
    let before = reassembler.unfinished();
    match reassembler.insert(frame, now, &mut landing) {
        Ok(Reassembled::Complete(message)) => {
            assert_eq!(message.header.message_len() as usize, message.buffer.len());
            let at = frame.body_offset()..frame.body_offset() + frame.body().len();
            assert_eq!(&message.buffer[at], frame.body(), "what came last is in its place");
            return Some(message.buffer);
        }
        Ok(Reassembled::Whole(whole)) => assert_eq!(whole.as_bytes(), frame.as_bytes()),
        Ok(_) => {}
        Err(error) => {
            assert_eq!(reassembler.unfinished(), before, "a refusal changes nothing: {error}");
        }
    }
    None
}

/// What is a group has in it what its payload is made of.
fn group(delta: Delta<'_>) {
    let Ok(group) = Group::parse(delta) else { return };
    let mut writer = GroupWriter::new(delta.doc_id());
    let mut exact = true;
    for inner in group.deltas() {
        assert_eq!(inner.doc_id(), delta.doc_id());
        // Another type than we write, or none of our checksum: read, and not written.
        exact &= inner.verify_checksum().is_ok();
        let fields = DeltaFields {
            delta_type: inner.delta_type(),
            timestamp: inner.timestamp(),
            sequence: inner.sequence(),
            ..DeltaFields::new(inner.doc_id())
        };
        exact &= writer.push(fields, inner.payload()).is_ok();
    }
    if exact {
        assert_eq!(writer.payload().len(), delta.payload().len());
    }
}
