use std::time::Duration;

use deltawire_framing::control::CloseCode;
use deltawire_requests::{
    CallOptions, Ended, Incoming, IncomingRequests, OpenError, Opened, Refusal, RefusalCode,
    Request, RequestError, Requests, RequestsOptions, WhenFull,
};

use crate::lab::{Linked, fields, pair, pair_with, runtime, soon, within};

async fn next(incoming: &mut IncomingRequests) -> Request {
    match soon("request", incoming.next()).await {
        Some(Incoming::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// Answers with what was asked, doubled.
async fn echo(mut incoming: IncomingRequests) {
    while let Some(incoming) = incoming.next().await {
        let Incoming::Request(request) = incoming else { panic!("{incoming:?}") };
        let answer = [request.payload(), request.payload()].concat();
        request.respond(&answer).await.unwrap();
    }
}

async fn check_echo(near: Requests, far: Requests) {
    let mut tasks = Vec::new();
    for (requests, side) in [(near, 0_u32), (far, 1)] {
        for task in 0..20_u32 {
            let requests = requests.clone();
            tasks.push(tokio::spawn(async move {
                for round in 0..20 {
                    let asked = [side.to_le_bytes(), (task * 100 + round).to_le_bytes()].concat();
                    let asked = asked.repeat(1 + round as usize * 30);
                    let answer = requests.call(&asked, CallOptions::default()).await.unwrap();
                    assert_eq!(answer.payload(), asked.repeat(2));
                }
            }));
        }
    }
    for task in tasks {
        soon("end", task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ask_at_a_time_any_number_of_tasks() {
    let [near, far] = pair();
    tokio::spawn(echo(near.incoming));
    tokio::spawn(echo(far.incoming));
    check_echo(near.requests, far.requests).await;
    let mut linked = Linked::new().await;
    let [near, far] = linked.over_commands(RequestsOptions::default());
    tokio::spawn(echo(near.incoming));
    tokio::spawn(echo(far.incoming));
    check_echo(near.requests, far.requests).await;
    let mut linked = Linked::new().await;
    let [near, far] = linked.over_deltas(RequestsOptions::default()).await;
    tokio::spawn(echo(near.1));
    tokio::spawn(echo(far.1));
    check_echo(near.0, far.0).await;
}

#[tokio::test]
async fn the_applications_own_commands_and_deltas_go_on() {
    let mut linked = Linked::new().await;
    let [near, mut far] = linked.over_commands(RequestsOptions::default());
    let Opened { incoming, commands, .. } = near;
    tokio::spawn(echo(incoming));
    for number in 0..500_u32 {
        commands.send.send(fields(), &number.to_le_bytes()).await.unwrap();
        commands.send.send_opaque(b"own").await.unwrap();
        let call = far.requests.call(b"ask", CallOptions::default());
        assert_eq!(soon("answer", call).await.unwrap().payload(), b"askask");
        let command = soon("command", far.commands.receive.next()).await.unwrap();
        assert_eq!(command.delta().unwrap().payload(), number.to_le_bytes());
        assert_eq!(far.commands.receive.next().await.unwrap().body(), b"own");
    }
    assert!(far.commands.receive.split(deltawire_framing::Kind::Request).is_err());
}

#[tokio::test]
async fn requests_are_refused_by_name_and_never_met_with_silence() {
    let [near, mut far] = pair();
    let call = |payload: &'static [u8]| {
        let requests = near.requests.clone();
        tokio::spawn(async move { requests.call(payload, CallOptions::default()).await })
    };
    let refused = |code, reason: &str, may_have_run| RequestError::Refused {
        code,
        reason: reason.into(),
        may_have_run,
    };
    let asked = call(b"no");
    next(&mut far.incoming).await.refuse(RefusalCode(300), "not today");
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error, refused(RefusalCode(300), "not today", true));
    let asked = call(b"dropped");
    drop(next(&mut far.incoming).await);
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error, refused(RefusalCode::ABANDONED, "", true));
    assert!(error.may_have_run());
    // One that waits is refused with those that come later.
    let asked = call(b"waits");
    tokio::task::yield_now().await;
    drop(far.incoming);
    for asked in [asked, call(b"late")] {
        let error = soon("refusal", asked).await.unwrap().unwrap_err();
        assert_eq!(error, refused(RefusalCode::NOT_SERVED, "", false));
        assert!(!error.may_have_run());
    }
}

#[tokio::test]
async fn what_is_too_long_or_too_many_is_refused_by_name() {
    let small = RequestsOptions {
        max_pending: 2,
        max_incoming: 1,
        max_request_len: 100,
        max_answer_len: 100,
        max_incoming_bytes: 1_000,
        ..RequestsOptions::default()
    };
    let [near, far] = pair_with(small);
    let error = near.requests.call(&[0; 101], CallOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused { code: RefusalCode::TOO_LONG, may_have_run: false, reason }
            if reason.contains("max_request_len")),
        "{error}"
    );
    // Longer than the ring.
    let error = near.requests.call(&[0; 70_000], CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, RequestError::TooLong { .. }) && !error.may_have_run(), "{error}");
    let mut incoming = far.incoming;
    let first = tokio::spawn({
        let requests = near.requests.clone();
        async move { requests.call(b"1", CallOptions::default()).await }
    });
    let request = next(&mut incoming).await;
    let error = near.requests.call(b"2", CallOptions::default()).await.unwrap_err();
    assert!(matches!(&error, RequestError::Refused { code: RefusalCode::TOO_MANY, .. }), "{error}");
    request.respond(&[1; 101]).await.unwrap();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error, RequestError::AnswerTooLong { len: 101, limit: 100 });
    assert!(error.may_have_run());
    assert_eq!(near.requests.open_exchanges(), 0);
}

#[tokio::test]
async fn a_call_waits_for_its_place_or_is_refused() {
    let [near, mut far] =
        pair_with(RequestsOptions { max_pending: 2, ..RequestsOptions::default() });
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let requests = near.requests.clone();
        waiting.push(tokio::spawn(async move { requests.call(b"", CallOptions::default()).await }));
        tokio::task::yield_now().await;
    }
    let refuse = CallOptions { when_full: WhenFull::Refuse, ..CallOptions::default() };
    let error = near.requests.call(b"", refuse).await.unwrap_err();
    assert_eq!(error, RequestError::TooMany { limit: 2 });
    let error = near.requests.call(b"", within(Duration::from_millis(30))).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut { may_have_run: false, .. }));
    // Some are not waited for any more: their places go to others.
    waiting.remove(3).abort();
    for _ in 0..5 {
        let request = next(&mut far.incoming).await;
        assert!(near.requests.open_exchanges() <= 2);
        request.respond(b"yes").await.unwrap();
    }
    for call in waiting {
        assert_eq!(soon("answer", call).await.unwrap().unwrap().payload(), b"yes");
    }
}

#[tokio::test]
async fn a_call_times_out_and_the_other_side_is_told() {
    for linked in [false, true] {
        let mut keep = None;
        let [near, mut far] = if linked {
            let linked = keep.insert(Linked::new().await);
            linked.over_commands(RequestsOptions::default())
        } else {
            pair()
        };
        let call = near.requests.call(b"slow", within(Duration::from_millis(50)));
        let (error, request) = tokio::join!(call, next(&mut far.incoming));
        let after = Duration::from_millis(50);
        assert_eq!(error.unwrap_err(), RequestError::TimedOut { after, may_have_run: true });
        soon("word of it", request.cancelled()).await;
        assert_eq!(request.respond(b"late").await, Err(RequestError::Cancelled));
        // A shorter time than that of one that waits already.
        let long = tokio::spawn({
            let requests = near.requests.clone();
            async move { requests.call(b"long", CallOptions::default()).await.map(drop) }
        });
        let request = next(&mut far.incoming).await;
        let error = near.requests.call(b"", within(Duration::from_millis(20))).await.unwrap_err();
        assert!(matches!(error, RequestError::TimedOut { .. }));
        request.respond(b"").await.unwrap();
        soon("answer", long).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_other_side() {
    let [near, mut far] = pair();
    let call = tokio::spawn({
        let requests = near.requests.clone();
        async move { requests.call(b"", CallOptions::default()).await.map(drop) }
    });
    let request = next(&mut far.incoming).await;
    call.abort();
    soon("word of it", request.cancelled()).await;
    drop(request);
    // Before it was taken: it never shows.
    let call = tokio::spawn({
        let requests = near.requests.clone();
        async move { requests.call(b"never seen", CallOptions::default()).await.map(drop) }
    });
    while far.requests.open_exchanges() == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    while far.requests.open_exchanges() > 0 {
        tokio::task::yield_now().await;
    }
    let seen = tokio::spawn(async move { next(&mut far.incoming).await.payload().to_vec() });
    drop(near.requests.call(b"seen", CallOptions::default()).await);
    assert_eq!(seen.await.unwrap(), b"seen");
    assert_eq!(near.requests.open_exchanges() + near.requests.held_bytes(), 0);
}

#[tokio::test]
async fn many_answers_come_as_they_are_read() {
    for linked in [false, true] {
        let mut keep = None;
        let [near, mut far] = if linked {
            let linked = keep.insert(Linked::new().await);
            linked.over_commands(RequestsOptions::default())
        } else {
            pair()
        };
        let mut answers = near.requests.call_many(b"count", CallOptions::default()).await.unwrap();
        let request = next(&mut far.incoming).await;
        assert!(request.wants_many());
        let mut writer = request.answers();
        let writing = tokio::spawn(async move {
            for number in 0..200_u32 {
                writer.send(&number.to_le_bytes().repeat(1_000)).await.unwrap();
            }
            writer.finish(b"end").await.unwrap();
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!writing.is_finished());
        assert!(near.requests.held_bytes() <= 64 << 10, "{}", near.requests.held_bytes());
        for number in 0..200_u32 {
            let answer = soon("answer", answers.next()).await.unwrap().unwrap();
            assert_eq!(answer.payload(), number.to_le_bytes().repeat(1_000));
        }
        assert_eq!(answers.next().await.unwrap().unwrap().payload(), b"end");
        assert!(answers.next().await.unwrap().is_none());
        writing.await.unwrap();
        // The longest answers, one by one, and one that never fits.
        let mut answers = near.requests.call_many(b"", CallOptions::default()).await.unwrap();
        let mut writer = next(&mut far.incoming).await.answers();
        tokio::spawn(async move {
            for _ in 0..10 {
                writer.send(&[1; 32 << 10]).await.unwrap();
            }
            let error = writer.send(&[1; 64 << 10]).await.unwrap_err();
            assert!(matches!(error, RequestError::TooLong { .. }), "{error}");
        });
        for _ in 0..10 {
            assert_eq!(
                soon("answer", answers.next()).await.unwrap().unwrap().payload().len(),
                32 << 10
            );
        }
        let error = soon("refusal", answers.next()).await.unwrap_err();
        assert!(matches!(error, RequestError::Refused { code: RefusalCode::ABANDONED, .. }));
        // Dropped by who reads.
        let answers = near.requests.call_many(b"", CallOptions::default()).await.unwrap();
        let mut writer = next(&mut far.incoming).await.answers();
        writer.send(b"one").await.unwrap();
        drop(answers);
        soon("word of it", writer.cancelled()).await;
        assert_eq!(writer.send(b"two").await, Err(RequestError::Cancelled));
    }
}

#[tokio::test]
async fn a_function_answers() {
    let [near, far] = pair();
    let respond = |request: &Request| {
        let asked = request.payload().to_vec();
        async move {
            match &asked[..] {
                b"wait" => std::future::pending().await,
                b"no" => Err(Refusal::new(RefusalCode(256), "no")),
                _ => Ok(asked),
            }
        }
    };
    tokio::spawn(far.incoming.serve(respond));
    let call = |payload| near.requests.call(payload, CallOptions::default());
    assert_eq!(call(b"yes").await.unwrap().payload(), b"yes");
    let error = call(b"no").await.unwrap_err();
    assert!(matches!(&error, RequestError::Refused { reason, .. } if &**reason == "no"));
    let error = near.requests.call(b"wait", within(Duration::from_millis(20))).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut { .. }));
    while far.requests.open_exchanges() > 0 {
        tokio::task::yield_now().await;
    }
    let stream = near.requests.stream(fields(), None).await.unwrap();
    let error = soon("refusal", stream.finish()).await.unwrap_err();
    assert!(matches!(error, RequestError::Refused { code: RefusalCode::NOT_SERVED, .. }));
}

#[tokio::test]
async fn when_the_link_is_over_everything_ends_by_name() {
    let mut linked = Linked::new().await;
    let [near, mut far] = linked.over_commands(RequestsOptions::default());
    let call = tokio::spawn({
        let requests = near.requests.clone();
        async move { requests.call(b"ask", CallOptions::default()).await.map(drop) }
    });
    let request = next(&mut far.incoming).await;
    let mut writer = near.requests.stream(fields(), None).await.unwrap();
    linked.links[1].close(CloseCode::NORMAL, "done");
    let error = soon("end", call).await.unwrap().unwrap_err();
    assert!(matches!(&error, RequestError::LinkOver { may_have_run: true, .. }), "{error}");
    soon("word of it", request.cancelled()).await;
    assert!(soon("end", writer.write(&[0; 1 << 20])).await.is_err());
    let error = near.requests.call(b"late", CallOptions::default()).await.unwrap_err();
    assert!(matches!(&error, RequestError::LinkOver { may_have_run: false, .. }), "{error}");
    assert!(matches!(near.requests.closed().await, Ended::Closed(_)));
    drop(far.incoming.next().await);
    assert!(soon("end", far.incoming.next()).await.is_none());
}

#[tokio::test]
async fn this_side_ends_them() {
    let [near, mut far] = pair();
    let call = tokio::spawn({
        let requests = near.requests.clone();
        async move { requests.call(b"", CallOptions::default()).await.map(drop) }
    });
    let request = next(&mut far.incoming).await;
    near.requests.close();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error, RequestError::LinkOver { ended: Ended::ByUs, may_have_run: true });
    // In one process the other side hears of it by the channel.
    soon("end", far.requests.closed()).await;
    soon("end", request.cancelled()).await;
}

#[tokio::test]
async fn without_a_handle_the_task_ends_and_the_session_with_it() {
    let mut linked = Linked::new().await;
    let peer = linked.peers[0].take().unwrap();
    let opened = Requests::over_commands(
        &linked.links[0],
        peer.command,
        runtime(),
        RequestsOptions::default(),
    );
    let opened = opened.unwrap();
    drop((peer.send, peer.receive));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(linked.links[0].ended().is_none());
    drop(opened);
    soon("end", linked.links[0].closed()).await;
}

#[tokio::test]
async fn a_channel_has_requests_once() {
    let mut linked = Linked::new().await;
    let _first = linked.over_deltas(RequestsOptions::default()).await;
    let receive = &mut linked.peers[0].as_mut().unwrap().receive;
    let options = RequestsOptions::default();
    let priority = Default::default();
    let again =
        Requests::over_deltas(&linked.links[0], receive, priority, runtime(), options).await;
    assert!(matches!(again, Err(OpenError::Split(_))));
    // Over commands there may be others.
    let [near, far] = linked.over_commands(options);
    tokio::spawn(echo(far.incoming));
    assert_eq!(near.requests.call(b"a", CallOptions::default()).await.unwrap().payload(), b"aa");
}

#[test]
fn a_runtime_that_is_shut_down_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [near, far] = runtime.block_on(async { pair() });
    let requests = near.requests.clone();
    runtime.block_on(async {
        let call = tokio::spawn({
            let requests = requests.clone();
            async move { requests.call(b"", CallOptions::default()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        call.abort();
    });
    drop(runtime);
    assert!(matches!(requests.ended(), Some(Ended::Closed(_))));
    let error = pollster::block_on(requests.stream(fields(), None)).unwrap_err();
    assert!(matches!(error, RequestError::LinkOver { may_have_run: false, .. }), "{error}");
    drop(far);
}
