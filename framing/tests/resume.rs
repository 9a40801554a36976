//! Messages of sessions that go on over other links: golden vectors, made by an independent encoder, hold both ways.

use deltawire_framing::control::{Acknowledge, Control, Resume, Ticket};
use deltawire_framing::{Channel, Frame, FrameHeader, Kind};
use serde::Deserialize;
use zerocopy::IntoBytes;

#[derive(Deserialize)]
struct Vectors {
    acknowledge: Vec<AcknowledgeVector>,
    resume: Vec<ResumeVector>,
    ticket: Vec<TicketVector>,
    invalid: Vec<InvalidVector>,
}

#[derive(Deserialize)]
struct AcknowledgeVector {
    channel: u8,
    flags: u8,
    asks: bool,
    ticket: u32,
    taken: u64,
    hex: String,
}

#[derive(Deserialize)]
struct ResumeVector {
    ticket: u32,
    taken: [u64; 2],
    sent: [u64; 2],
    secret: String,
    hex: String,
}

#[derive(Deserialize)]
struct TicketVector {
    number: u32,
    timeout_ms: u32,
    secret: String,
    hex: String,
}

#[derive(Deserialize)]
struct InvalidVector {
    why: String,
    field: String,
    hex: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/resume-v1.json")).unwrap();
    assert!(vectors.acknowledge.len() >= 5 && vectors.resume.len() >= 3);
    assert!(vectors.ticket.len() >= 3 && vectors.invalid.len() >= 14);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let header = FrameHeader::whole(Kind::Control, Channel::Command, body.len()).unwrap();
    [header.as_bytes(), body].concat()
}

#[test]
fn acknowledges() {
    for vector in vectors().acknowledge {
        let message = bytes(&vector.hex);
        let frame = Frame::parse(&message).unwrap();
        let Ok(Control::Acknowledge(read)) = Control::parse(frame.body()) else { panic!() };
        assert_eq!((read.channel() as u8, read.asks()), (vector.channel, vector.asks));
        assert_eq!((read.ticket(), read.taken()), (vector.ticket, vector.taken));
        let channel = if vector.channel == 0 { Channel::Command } else { Channel::Data };
        let written = Acknowledge::new(channel, vector.taken).with_ticket(vector.ticket);
        let written = if vector.asks { written.asking() } else { written };
        // Flags of later versions are read, and not written.
        if vector.flags <= 1 {
            assert_eq!(framed(written.as_bytes()), message);
        }
    }
}

#[test]
fn resumes() {
    for vector in vectors().resume {
        let message = bytes(&vector.hex);
        let frame = Frame::parse(&message).unwrap();
        let Ok(Control::Resume(read)) = Control::parse(frame.body()) else { panic!() };
        assert_eq!(read.ticket(), vector.ticket);
        assert_eq!((read.taken(), read.sent()), (vector.taken, vector.sent));
        assert_eq!(read.secret()[..], bytes(&vector.secret));
        let secret = bytes(&vector.secret).try_into().unwrap();
        let written = Resume::new(vector.ticket, vector.taken, vector.sent, secret);
        assert_eq!(framed(written.as_bytes()), message);
    }
}

#[test]
fn tickets() {
    for vector in vectors().ticket {
        let message = bytes(&vector.hex);
        let frame = Frame::parse(&message).unwrap();
        let Ok(Control::Ticket(read)) = Control::parse(frame.body()) else { panic!() };
        assert_eq!((read.number(), read.timeout_ms()), (vector.number, vector.timeout_ms));
        assert_eq!(read.secret()[..], bytes(&vector.secret));
        let secret = bytes(&vector.secret).try_into().unwrap();
        let written = Ticket::new(vector.number, vector.timeout_ms, secret);
        assert_eq!(framed(written.as_bytes()), message);
    }
}

#[test]
fn what_breaks_a_rule_is_refused_by_its_field() {
    for vector in vectors().invalid {
        let message = bytes(&vector.hex);
        let frame = Frame::parse(&message).unwrap();
        let error = Control::parse(frame.body()).unwrap_err();
        assert_eq!(error.field.to_string(), vector.field, "{}", vector.why);
    }
}
