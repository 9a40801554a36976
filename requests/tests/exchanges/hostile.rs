//! A peer that says what it likes.

use std::time::Duration;

use deltawire_channels::{Command, Sender};
use deltawire_framing::requests::{CreditOf, RefusalCode, RequestMessage};
use deltawire_link::{LinkEnded, memory};
use deltawire_requests::{
    CallOptions, Ended, Incoming, MAX_REPLIES, Opened, RequestError, Requests, RequestsOptions,
    Violation,
};

use tokio::task::JoinHandle;

use crate::lab::{Linked, fields, pair_with, runtime, soon};

fn say(sender: &mut Sender, message: RequestMessage<'_>) {
    let (head, payload) = (message.head(), message.payload());
    let body = [head.as_bytes(), payload].concat();
    let mut grant = sender.try_reserve_request(body.len()).unwrap();
    grant.body_mut().copy_from_slice(&body);
    grant.commit(body.len()).unwrap();
}

fn against(options: RequestsOptions) -> (Opened, Command) {
    let (near, far) = memory::pair();
    (Requests::in_process(near.command, runtime(), options).unwrap(), far.command)
}

fn request(id: u32, answers: Option<u32>, payload: &[u8]) -> RequestMessage<'_> {
    RequestMessage::Request { id, answers, payload }
}

fn open(id: u32, len: Option<u64>) -> RequestMessage<'static> {
    RequestMessage::Open { id, len, fields: fields() }
}

fn piece(id: u32, last: bool, payload: &[u8]) -> RequestMessage<'_> {
    RequestMessage::Piece { id, last, payload }
}

fn answer(id: u32, more: bool, payload: &[u8]) -> RequestMessage<'_> {
    RequestMessage::Answer { id, more, payload }
}

fn refused(id: u32) -> RequestMessage<'static> {
    RequestMessage::Refused { id, code: RefusalCode(7), may_have_run: true, reason: "" }
}

fn credit(id: u32, of: CreditOf, bytes: u32) -> RequestMessage<'static> {
    RequestMessage::Credit { id, of, bytes }
}

/// One call, one call for many, and one stream of this side's are open: 1, 2 and 3.
async fn violation(messages: &[RequestMessage<'_>]) -> Violation {
    let (opened, mut command) = against(RequestsOptions {
        max_incoming: 4,
        max_streams: 4,
        max_answer_len: 8 << 10,
        answer_window: 16 << 10,
        stream_window: 16 << 10,
        ..RequestsOptions::default()
    });
    let requests = opened.requests.clone();
    let one = tokio::spawn({
        let requests = requests.clone();
        async move { requests.call(b"", CallOptions::default()).await.map(drop) }
    });
    while requests.open_exchanges() == 0 {
        tokio::task::yield_now().await;
    }
    let many = requests.call_many(b"", CallOptions::default()).await.unwrap();
    let writer = requests.stream(fields(), Some(5)).await.unwrap();
    for message in messages {
        say(&mut command.send, *message);
    }
    let ended = soon("end", requests.closed()).await;
    let Ended::Violation(violation) = ended else { panic!("{ended:?}") };
    let ended = RequestError::LinkOver { ended: Ended::Violation(violation), may_have_run: true };
    if let Err(error) = one.await.unwrap() {
        assert!(error == ended || matches!(error, RequestError::Refused { .. }));
    }
    drop((many, writer));
    violation
}

#[tokio::test]
async fn every_rule_has_a_name() {
    use CreditOf::{Answers, Pieces};
    let never = |what, id| Violation::NeverOpened { what, id };
    let place = |what, id| Violation::OutOfPlace { what, id };
    let id = |id, expected| Violation::Id { id, expected };
    let long = [0; 4_000];
    let answers = vec![answer(2, true, &long); 4];
    let mut pieces = vec![piece(1, false, &long); 4];
    pieces.insert(0, open(1, None));
    let cases: Vec<(Vec<RequestMessage<'_>>, Violation)> = vec![
        (vec![request(2, None, b"")], id(2, 1)),
        (vec![request(1, None, b""), request(1, None, b"")], id(1, 2)),
        (vec![request(1, None, b""), open(1, None)], id(1, 2)),
        (vec![open(1, None), open(3, None)], id(3, 2)),
        (vec![answer(4, false, b"")], never("an answer", 4)),
        (vec![answer(1, false, b""), answer(9, false, b"")], never("an answer", 9)),
        (vec![answer(1, true, b"")], place("one answer of several", 1)),
        (vec![answer(2, false, b""), answer(2, false, b"")], place("an answer", 2)),
        (vec![answer(2, false, b""), refused(2)], place("a refusal", 2)),
        (answers, Violation::Credit { id: 2, cost: 4_256, credit: 16_384 - 3 * 4_256 }),
        (pieces, Violation::Credit { id: 1, cost: 4_256, credit: 16_384 - 3 * 4_256 }),
        (vec![answer(3, false, b"")], place("an answer to a stream that is not at its end", 3)),
        (vec![refused(3), refused(3)], place("a refusal", 3)),
        (vec![refused(4)], never("a refusal", 4)),
        (vec![credit(4, Pieces, 1)], never("a credit for pieces", 4)),
        (vec![credit(1, Pieces, 1)], place("a credit for pieces", 1)),
        (vec![credit(1, Answers, 1)], never("a credit for answers", 1)),
        (vec![request(1, None, b""), credit(1, Answers, 1)], place("a credit for answers", 1)),
        (vec![open(1, None), credit(1, Answers, 1)], place("a credit for answers", 1)),
        (vec![RequestMessage::Cancel { id: 1 }], never("a cancel", 1)),
        (vec![piece(1, true, b"")], never("a piece", 1)),
        (vec![request(1, None, b""), piece(1, true, b"")], place("a piece", 1)),
        (
            vec![open(1, None), piece(1, true, b""), piece(1, true, b"")],
            place("a piece behind the last", 1),
        ),
        (
            vec![open(1, Some(3)), piece(1, false, b"four")],
            Violation::StreamLen { id: 1, len: 3, came: 4 },
        ),
        (
            vec![open(1, Some(3)), piece(1, true, b"12")],
            Violation::StreamLen { id: 1, len: 3, came: 2 },
        ),
    ];
    for (messages, expected) in cases {
        let what = expected.to_string();
        assert_eq!(violation(&messages).await, expected, "{what}");
        assert!(!expected.to_string().is_empty());
    }
}

#[tokio::test]
async fn pieces_beyond_the_credit_end_the_link() {
    let mut linked = Linked::new().await;
    let mut hostile = linked.take_command(0);
    let command = linked.take_command(1);
    let opened =
        Requests::over_commands(&linked.links[1], command, runtime(), RequestsOptions::default());
    let opened = opened.unwrap();
    say(&mut hostile.send, open(1, None));
    let mut sent = 0;
    while opened.requests.ended().is_none() {
        let body = [piece(1, false, &[0; 16_000]).head().as_bytes(), &[0; 16_000]].concat();
        match hostile.send.try_reserve_request(body.len()) {
            Ok(mut grant) => {
                grant.body_mut().copy_from_slice(&body);
                if grant.commit(body.len()).is_ok() {
                    sent += 1;
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    assert!(sent >= 9, "{sent}");
    assert!(matches!(
        opened.requests.ended(),
        Some(Ended::Violation(Violation::Credit { id: 1, .. }))
    ));
    let ended = soon("end", linked.links[0].closed()).await;
    assert!(matches!(ended, LinkEnded::Session(_)), "{ended:?}");
    assert!(ended.to_string().contains("the credit left was"), "{ended}");
}

#[tokio::test]
async fn an_unknown_type_ends_the_session_by_name() {
    let mut linked = Linked::new().await;
    let mut hostile = linked.take_command(0);
    let mut grant = hostile.send.try_reserve_request(16).unwrap();
    grant.body_mut().copy_from_slice(&[8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    grant.commit(16).unwrap();
    let ended = soon("end", linked.links[1].closed()).await;
    assert!(ended.to_string().contains("request_type is 8"), "{ended}");
}

/// Ids that were open once are ignored: their exchanges may have been dropped meanwhile.
#[tokio::test]
async fn what_comes_late_is_ignored() {
    let (opened, mut command) = against(RequestsOptions::default());
    let requests = opened.requests.clone();
    for id in 1..=3 {
        drop(requests.call_many(b"", CallOptions::default()).await.unwrap());
        for message in [
            answer(id, true, b"x"),
            refused(id),
            answer(id, false, b"x"),
            credit(id, CreditOf::Pieces, 9),
        ] {
            say(&mut command.send, message);
        }
        say(&mut command.send, request(id, None, b""));
        for message in [
            RequestMessage::Cancel { id },
            RequestMessage::Cancel { id },
            credit(id, CreditOf::Answers, 9),
            piece(id, false, b"x"),
        ] {
            say(&mut command.send, message);
        }
    }
    let call = tokio::spawn({
        let requests = requests.clone();
        async move { requests.call(b"", CallOptions::default()).await }
    });
    while requests.open_exchanges() == 0 {
        tokio::task::yield_now().await;
    }
    say(&mut command.send, answer(4, false, b"here"));
    assert_eq!(soon("answer", call).await.unwrap().unwrap().payload(), b"here");
    assert!(requests.ended().is_none());
}

#[tokio::test]
async fn a_flood_of_requests_that_nobody_takes_is_bounded_and_answered() {
    let options = RequestsOptions { max_incoming: 8, ..RequestsOptions::default() };
    let (opened, mut command) = against(options);
    let mut incoming = opened.incoming;
    let (mut sent, mut refusals) = (0_u32, 0);
    while sent < 5_000 {
        let body = [request(sent + 1, None, b"").head().as_bytes(), &[0; 100][..]].concat();
        if let Ok(mut grant) = command.send.try_reserve_request(body.len()) {
            grant.body_mut().copy_from_slice(&body);
            grant.commit(body.len()).unwrap();
            sent += 1;
            continue;
        }
        // Nothing of what it says is read until its own ring and the replies are full: then this reads.
        tokio::task::yield_now().await;
        assert!(opened.requests.open_exchanges() <= 8);
        while let Ok(frame) = command.receive.try_next() {
            match frame.request().unwrap() {
                RequestMessage::Refused { code, may_have_run, .. } => {
                    assert_eq!((code, may_have_run), (RefusalCode::TOO_MANY, false));
                    refusals += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    while refusals < 5_000 - 8 {
        tokio::task::yield_now().await;
        while command.receive.try_next().is_ok() {
            refusals += 1;
        }
    }
    assert_eq!(refusals, 5_000 - 8);
    for _ in 0..8 {
        assert!(matches!(incoming.next().await, Some(Incoming::Request(_))));
    }
    const { assert!(MAX_REPLIES < 5_000) };
}

#[tokio::test]
async fn a_peer_that_never_reads_is_refused_and_costs_no_more() {
    let (opened, mut command) = against(RequestsOptions::default());
    drop(opened.incoming);
    let mut sent = 0_u32;
    while sent < 100_000 {
        while let Ok(mut grant) = command.send.try_reserve_request(16) {
            grant.body_mut().copy_from_slice(request(sent + 1, None, b"").head().as_bytes());
            grant.commit(16).unwrap();
            sent += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(opened.requests.ended().is_none());
    assert_eq!(opened.requests.open_exchanges(), 0);
    // And if it reads after all, it is told of each.
    for id in 1..=sent {
        let frame = soon("refusal", command.receive.next()).await.unwrap();
        match frame.request().unwrap() {
            RequestMessage::Refused { id: of, code, may_have_run: false, .. } => {
                assert_eq!(of, id);
                assert!([RefusalCode::NOT_SERVED, RefusalCode::TOO_MANY].contains(&code));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_sides_that_only_refuse_do_not_wait_for_each_other() {
    const CALLS: usize = 4_000;
    let options = RequestsOptions {
        max_pending: CALLS,
        max_incoming: 1,
        timeout: Duration::from_secs(20),
        ..RequestsOptions::default()
    };
    let [near, far] = pair_with(options);
    let mut calls = Vec::new();
    for side in [&near, &far] {
        for _ in 0..CALLS {
            let requests = side.requests.clone();
            calls.push(tokio::spawn(async move {
                requests.call(&[7; 200], CallOptions::default()).await
            }));
        }
    }
    // One of each side's waits here, untaken; all others are refused.
    let mut refused = 0;
    while refused < 2 * (CALLS - 1) {
        tokio::task::yield_now().await;
        let (over, left): (Vec<_>, _) = calls.into_iter().partition(JoinHandle::is_finished);
        calls = left;
        for call in over {
            let error = call.await.unwrap().unwrap_err();
            let expected =
                matches!(error, RequestError::Refused { code: RefusalCode::TOO_MANY, .. });
            assert!(expected, "{error}");
            refused += 1;
        }
    }
    drop((near.incoming, far.incoming));
    for call in calls {
        let error = soon("refusal", call).await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Refused { .. }), "{error}");
    }
}
