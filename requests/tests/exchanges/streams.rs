use std::time::Duration;

use deltawire_framing::{DeltaFields, DeltaType};
use deltawire_requests::{
    CallOptions, Incoming, IncomingRequests, RefusalCode, RequestError, RequestsOptions,
    StreamReader,
};

use crate::lab::{Linked, fields, pair, pair_with, soon};

async fn next(incoming: &mut IncomingRequests) -> StreamReader {
    match soon("stream", incoming.next()).await {
        Some(Incoming::Stream(stream)) => stream,
        other => panic!("{other:?}"),
    }
}

/// Byte `at` of a stream.
fn byte(at: u64) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(byte).collect()
}

/// Reads to the end, and says how much it was.
async fn read(mut stream: StreamReader) -> Result<u64, RequestError> {
    let mut len = 0;
    while let Some(piece) = stream.next().await? {
        assert!(piece.payload().iter().zip(len..).all(|(it, at)| *it == byte(at)));
        len += piece.payload().len() as u64;
    }
    Ok(len)
}

#[tokio::test]
async fn a_stream_comes_whole_however_it_was_written() {
    for len in [0, 1, 255, 16_352, 16_353, 300_000] {
        for known in [false, true] {
            let [near, mut far] = pair();
            let fields = DeltaFields {
                delta_type: DeltaType::SNAPSHOT,
                timestamp: 5,
                sequence: 6,
                ..fields()
            };
            let announced = known.then_some(len as u64);
            let mut writer = near.requests.stream(fields, announced).await.unwrap();
            let stream = next(&mut far.incoming).await;
            assert_eq!((stream.fields(), stream.len()), (fields, announced));
            let reading = tokio::spawn(read(stream));
            let all = bytes(0, len);
            for part in all.chunks(7_000) {
                soon("room", writer.write(part)).await.unwrap();
            }
            assert_eq!(writer.written(), len as u64);
            soon("end", writer.finish()).await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), len as u64);
            assert_eq!((near.requests.open_exchanges(), far.requests.held_bytes()), (0, 0));
        }
    }
}

/// Writes 100 MB, and says how much waited at most at the reader.
async fn hundred_megabytes(
    near: deltawire_requests::Requests,
    far: deltawire_requests::Requests,
    mut incoming: IncomingRequests,
) -> usize {
    const LEN: u64 = 100_000_000;
    let mut writer = near.stream(fields(), Some(LEN)).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut stream = next(&mut incoming).await;
        let (mut len, mut held) = (0, 0);
        while let Some(piece) = stream.next().await.unwrap() {
            let (first, last) = (piece.payload()[0], piece.payload()[piece.payload().len() - 1]);
            assert_eq!(first, byte(len));
            len += piece.payload().len() as u64;
            assert_eq!(last, byte(len - 1));
            held = held.max(far.held_bytes() + piece.payload().len());
        }
        assert_eq!(len, LEN);
        held
    });
    let mut at = 0;
    while at < LEN {
        let part = bytes(at, 50_000);
        writer.write(&part).await.unwrap();
        at += 50_000;
    }
    writer.finish().await.unwrap();
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_go_through_with_little_memory() {
    let [near, far] = pair();
    let held = hundred_megabytes(near.requests, far.requests, far.incoming).await;
    assert!(held <= (128 << 10) + (16 << 10), "{held}");
    let mut linked = Linked::new().await;
    let [near, far] = linked.over_commands(RequestsOptions::default());
    let held = hundred_megabytes(near.requests, far.requests, far.incoming).await;
    assert!(held <= (128 << 10) + (16 << 10), "{held}");
    let mut linked = Linked::new().await;
    let [near, far] = linked.over_deltas(RequestsOptions::default()).await;
    let held = hundred_megabytes(near.0, far.0, far.1).await;
    assert!(held <= (128 << 10) + (16 << 10), "{held}");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_nothing_else() {
    let mut linked = Linked::new().await;
    let [near, mut far] = linked.over_commands(RequestsOptions::default());
    let mut streams = Vec::new();
    let mut writing = Vec::new();
    for _ in 0..16 {
        let mut writer = near.requests.stream(fields(), None).await.unwrap();
        streams.push(next(&mut far.incoming).await);
        writing.push(tokio::spawn(async move {
            writer.write(&bytes(0, 400_000)).await?;
            writer.finish().await
        }));
    }
    // Far more than the window of commands waits by now, and all of it is bounded.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = far.requests.held_bytes();
    assert!((1 << 20..=16 * (128 << 10)).contains(&held), "{held}");
    let mut incoming = far.incoming;
    tokio::spawn(async move {
        while let Some(Incoming::Request(request)) = incoming.next().await {
            request.respond(b"yes").await.unwrap();
        }
    });
    for _ in 0..100 {
        let call = near.requests.call(b"still there?", CallOptions::default());
        assert_eq!(soon("answer", call).await.unwrap().payload(), b"yes");
    }
    let reading: Vec<_> = streams.into_iter().map(|it| tokio::spawn(read(it))).collect();
    for task in reading {
        assert_eq!(soon("stream", task).await.unwrap().unwrap(), 400_000);
    }
    for task in writing {
        soon("end", task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn either_side_cancels_a_stream() {
    let [near, mut far] = pair();
    // Who writes.
    let mut writer = near.requests.stream(fields(), None).await.unwrap();
    writer.write(&bytes(0, 100)).await.unwrap();
    let stream = next(&mut far.incoming).await;
    drop(writer);
    assert_eq!(soon("end", read(stream)).await, Err(RequestError::Cancelled));
    // Who reads, while the other waits for it.
    let mut writer = near.requests.stream(fields(), None).await.unwrap();
    let stream = next(&mut far.incoming).await;
    let writing = tokio::spawn(async move { writer.write(&bytes(0, 1 << 20)).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!writing.is_finished());
    drop(stream);
    let error = soon("end", writing).await.unwrap().unwrap_err();
    assert!(matches!(
        &error,
        RequestError::Refused { code: RefusalCode::CANCELLED, may_have_run: true, .. }
    ));
    // By name, and behind the last piece.
    let mut writer = near.requests.stream(fields(), None).await.unwrap();
    writer.write(b"x").await.unwrap();
    let finishing = tokio::spawn(writer.finish());
    let stream = next(&mut far.incoming).await;
    tokio::task::yield_now().await;
    stream.refuse(RefusalCode(999), "not that one");
    let error = soon("end", finishing).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused { code: RefusalCode(999), reason, .. } if &**reason == "not that one")
    );
    assert_eq!((near.requests.open_exchanges(), far.requests.open_exchanges()), (0, 0));
}

#[tokio::test]
async fn streams_are_bounded_by_name() {
    let small =
        RequestsOptions { max_streams: 2, max_stream_len: 50_000, ..RequestsOptions::default() };
    let (near, far) = deltawire_link::memory::pair();
    let runtime = crate::lab::runtime;
    let near = deltawire_requests::Requests::in_process(
        near.command,
        runtime(),
        RequestsOptions::default(),
    );
    let near = near.unwrap();
    let mut far = deltawire_requests::Requests::in_process(far.command, runtime(), small).unwrap();
    // Announced.
    let writer = near.requests.stream(fields(), Some(50_001)).await.unwrap();
    let error = soon("refusal", writer.finish()).await.unwrap_err();
    assert!(matches!(error, RequestError::WrongLength { len: 50_001, written: 0 }), "{error}");
    let mut writer = near.requests.stream(fields(), Some(50_001)).await.unwrap();
    let error = soon("refusal", writer.write(&bytes(0, 50_001))).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused { code: RefusalCode::TOO_LONG, reason, may_have_run: false }
            if reason.contains("max_stream_len")),
        "{error}"
    );
    drop(writer);
    // Not announced.
    let mut writer = near.requests.stream(fields(), None).await.unwrap();
    let reading = tokio::spawn(read(next(&mut far.incoming).await));
    let error = loop {
        if let Err(error) = soon("refusal", writer.write(&bytes(writer.written(), 5_000))).await {
            break error;
        }
    };
    assert!(matches!(&error, RequestError::Refused { code: RefusalCode::TOO_LONG, .. }), "{error}");
    assert_eq!(reading.await.unwrap(), Err(RequestError::StreamTooLong { limit: 50_000 }));
    drop(writer);
    // Too many.
    let _two = [
        near.requests.stream(fields(), None).await.unwrap(),
        near.requests.stream(fields(), None).await.unwrap(),
    ];
    let mut third = near.requests.stream(fields(), None).await.unwrap();
    let error = soon("refusal", third.write(b"x")).await.unwrap_err();
    assert!(matches!(&error, RequestError::Refused { code: RefusalCode::TOO_MANY, .. }), "{error}");
}

#[tokio::test]
async fn a_stream_has_the_length_that_was_announced() {
    let [near, mut far] = pair();
    let mut writer = near.requests.stream(fields(), Some(10)).await.unwrap();
    let stream = next(&mut far.incoming).await;
    let error = writer.write(&[0; 11]).await.unwrap_err();
    assert_eq!(error, RequestError::WrongLength { len: 10, written: 11 });
    writer.write(&bytes(0, 9)).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error, RequestError::WrongLength { len: 10, written: 9 });
    assert_eq!(soon("end", read(stream)).await, Err(RequestError::Cancelled));
}

#[tokio::test]
async fn streams_wait_for_their_places() {
    let [near, mut far] =
        pair_with(RequestsOptions { max_streams: 1, ..RequestsOptions::default() });
    let first = near.requests.stream(fields(), None).await.unwrap();
    let requests = near.requests.clone();
    let second = tokio::spawn(async move { requests.stream(fields(), None).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished());
    drop(first);
    drop(next(&mut far.incoming).await);
    soon("place", second).await.unwrap().unwrap();
}
