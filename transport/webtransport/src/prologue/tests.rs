use url::Url;
use web_transport_proto::http::{HeaderName, HeaderValue};
use web_transport_proto::{ConnectRequest, Settings};

use super::*;

fn prologue() -> Prologue {
    let mut prologue = Prologue::new(Arc::new(Rules::new("/links")));
    for part in [Part::Control, Part::Request, Part::QpackEncoder, Part::QpackDecoder] {
        prologue.open(part).unwrap();
    }
    prologue
}

/// As a client has it, without the type of the stream.
fn settings() -> Vec<u8> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    bytes.split_off(1)
}

fn request(url: &str, fields: &[(&'static str, &str)]) -> Vec<u8> {
    let mut request = ConnectRequest::new(Url::parse(url).unwrap());
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        request = request.with_header(HeaderName::from_static(name), value);
    }
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_request_is_given_once_settings_are_there_however_the_bytes_are_cut() {
    let fields = [("origin", "https://a.org"), ("authorization", "Bearer x y")];
    let url = "https://a.org:4000/links?a=b&ticket=00ff&ticket=1";
    let (settings, request) = (settings(), request(url, &fields));
    for step in 1..request.len() {
        let mut prologue = prologue();
        for part in request.chunks(step) {
            assert_eq!(prologue.take_request(), None);
            prologue.feed(Part::Request, part).unwrap();
        }
        for part in settings.chunks(step) {
            assert_eq!(prologue.take_request(), None);
            prologue.feed(Part::Control, part).unwrap();
        }
        let asked = prologue.take_request().unwrap().unwrap();
        assert_eq!((asked.authority.as_str(), asked.path.as_str()), ("a.org:4000", "/links"));
        assert_eq!(asked.ticket.as_deref(), Some("00ff"));
        assert_eq!(asked.token.as_deref(), Some(&b"x y"[..]));
        assert_eq!(asked.origin.as_deref(), Some("https://a.org"));
        let shown = format!("{asked:?}");
        assert!(!shown.contains("00ff") && !shown.contains("x y"), "{shown}");
        assert_eq!(prologue.take_request(), None);
    }
}

#[test]
fn what_the_rules_do_not_have_is_denied() {
    let asked = |url: &str, fields: &[_]| {
        let mut prologue = prologue();
        prologue.feed(Part::Control, &settings()).unwrap();
        prologue.feed(Part::Request, &request(url, fields)).unwrap();
        prologue.take_request().unwrap().map(|_| ()).map_err(|denied| denied.status())
    };
    assert_eq!(asked("https://a.org/links", &[]), Ok(()));
    assert_eq!(asked("https://a.org/", &[]), Err(404));
    assert_eq!(asked("https://a.org/links", &[("origin", "https://b.org")]), Err(403));
}

#[test]
fn the_peer_closes_the_session_by_a_capsule_or_by_the_end_of_its_request() {
    let begun = || {
        let mut prologue = prologue();
        prologue.feed(Part::Request, &request("https://a.org/links", &[])).unwrap();
        assert!(!prologue.is_closed());
        prologue
    };
    let mut prologue = begun();
    prologue.finish(Part::Request).unwrap();
    assert!(prologue.is_closed());
    // One that is not known, in front; cut in two frames.
    let mut prologue = begun();
    prologue.feed(Part::Request, &[0x00, 7, 0x3f, 2, 9, 9, 0x68, 0x43, 5]).unwrap();
    prologue.feed(Part::Request, &[0x21, 1, 0, 0x00, 4, 0, 0, 0]).unwrap();
    assert!(!prologue.is_closed());
    prologue.feed(Part::Request, &[7, 0x00, 1, b'x']).unwrap();
    assert!(prologue.is_closed());
    let error = begun().feed(Part::Request, &[0x00, 4, 0x68, 0x43, 0x44, 5]).unwrap_err();
    let field = "a capsule that closes the session";
    assert_eq!(error, PrologueError::TooLong { field, len: 1_029, max: MAX_CAPSULE });
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let frame = |stream, kind, expected| PrologueError::Frame { stream, kind, expected };
    let out_of_place = "where it does not belong";
    let no_request = |reason: &str| PrologueError::Request { reason: reason.to_owned() };
    let settings = &settings();
    let twice = &[&settings[..], settings].concat();
    for (part, bytes, error) in [
        (Part::Control, &[0x07, 0][..], frame("control", 7, "and settings come first")),
        (Part::Control, &twice[..], frame("control", 4, out_of_place)),
        (
            Part::Control,
            &[0x04, 1, 0x41],
            PrologueError::Settings { reason: "invalid size".into() },
        ),
        (
            Part::Control,
            &[0x04, 0x44, 1],
            PrologueError::TooLong { field: "settings", len: 1_025, max: MAX_SETTINGS },
        ),
        (Part::Request, &[0x00, 0], frame("request", 0, out_of_place)),
        (Part::Request, &[0x04, 0], frame("request", 4, out_of_place)),
        (Part::Request, &[0x01, 0], no_request("qpack error")),
        (Part::Request, &[0x01, 2, 0, 0], no_request("expected https, got: None")),
        (
            Part::Request,
            &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            PrologueError::TooLong { field: "a request", len: (1 << 62) - 1, max: MAX_HEADERS },
        ),
    ] {
        assert_eq!(prologue().feed(part, bytes), Err(error), "{bytes:?}");
    }
    for part in [Part::Control, Part::Request, Part::QpackEncoder] {
        let stream = part.name();
        assert_eq!(prologue().open(part), Err(PrologueError::Twice { stream }));
        assert_eq!(prologue().finish(part), Err(PrologueError::Closed { stream }));
    }
}

#[test]
fn what_says_nothing_is_passed_over_and_has_a_bound() {
    let passed = MAX_SKIPPED as usize;
    for part in [Part::QpackEncoder, Part::QpackDecoder] {
        let mut prologue = prologue();
        prologue.feed(part, &vec![0; passed]).unwrap();
        let (stream, len, max) = (part.name(), MAX_SKIPPED + 1, MAX_SKIPPED);
        assert_eq!(prologue.feed(part, &[0]), Err(PrologueError::Skipped { stream, len, max }));
    }
    // Frames that are not known, before a request and behind settings, empty ones too.
    for (part, before) in [(Part::Request, Vec::new()), (Part::Control, settings())] {
        let mut prologue = prologue();
        prologue.feed(part, &before).unwrap();
        for _ in 0..passed / 2 {
            prologue.feed(part, &[0x21, 0]).unwrap();
        }
        let refused = prologue.feed(part, &[0x21, 0]);
        assert!(matches!(refused, Err(PrologueError::Skipped { .. })), "{refused:?}");
    }
}

#[test]
fn no_more_is_held_than_said() {
    let memory = allocation_counter::measure(|| {
        let mut prologue = prologue();
        let mut request = vec![0x01, 0x60, 0];
        request.resize(MAX_HEADERS as usize, 0x20);
        prologue.feed(Part::Request, &request).unwrap();
        prologue.feed(Part::Control, &[&[0x04, 0x44, 0][..], &[0; 1_023]].concat()).unwrap();
    });
    assert!(memory.bytes_max <= 2 * (MAX_HEADERS + MAX_SETTINGS) + 512, "{}", memory.bytes_max);
}
