//! Requests, answers and streams over sessions that outlive their links.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use deltawire::requests::{
    CallOptions, Incoming, IncomingRequests, Opened, Request, RequestError, Requests,
    RequestsOptions, StreamReader,
};
use deltawire::sim::{Loss, Path};
use deltawire::{Link, LinkChange, Node, SessionsLimits};
use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::DeltaFields;

use crate::lab::{DOC, MS, SECOND, builder, connect, pair, server_with};

const CALLS: u32 = 400;
const STREAM: u64 = 3_000_000;

/// Requests over a link's commands, beside deltas that nobody uses.
fn open(node: &Node, (peer, link): (Peer, Link)) -> (Opened, (Sender, Receiver)) {
    let Peer { command, send, receive } = peer;
    let runtime = node.runtime().clone();
    let opened = Requests::over_commands(&link, command, runtime, RequestsOptions::default());
    (opened.unwrap(), (send, receive))
}

/// What came to a responder: each request's number, and how often.
type Asked = Rc<RefCell<BTreeMap<u32, u32>>>;

async fn respond(mut incoming: IncomingRequests, asked: Asked, streamed: Rc<RefCell<u64>>) {
    while let Some(incoming) = incoming.next().await {
        match incoming {
            Incoming::Request(request) => answer(request, &asked).await,
            Incoming::Stream(stream) => *streamed.borrow_mut() += read(stream).await,
        }
    }
}

/// Answers with the number, and with so many more where many are wanted.
async fn answer(request: Request, asked: &Asked) {
    let payload = request.payload().to_vec();
    let number = u32::from_le_bytes(payload[..4].try_into().unwrap());
    *asked.borrow_mut().entry(number).or_insert(0) += 1;
    let answered = if request.wants_many() {
        let mut answers = request.answers();
        for more in 0..number % 5 {
            if answers.send(&more.to_le_bytes()).await.is_err() {
                return;
            }
        }
        answers.finish(&payload).await
    } else {
        request.respond(&payload).await
    };
    answered.unwrap();
}

async fn read(mut stream: StreamReader) -> u64 {
    let mut len = 0;
    while let Some(piece) = stream.next().await.unwrap() {
        assert!(piece.payload().iter().zip(len..).all(|(it, at)| *it == (at % 251) as u8));
        len += piece.payload().len() as u64;
    }
    len
}

/// Asks one after the other; each has its answer.
async fn ask(requests: Requests, many: bool) -> Result<u32, RequestError> {
    // Longer than all outages.
    let options = CallOptions { timeout: Some(600 * SECOND), ..CallOptions::default() };
    for number in 0..CALLS {
        let payload = number.to_le_bytes();
        let last = if many {
            let mut answers = requests.call_many(&payload, options).await?;
            let mut all = Vec::new();
            while let Some(answer) = answers.next().await? {
                all.push(answer.payload().to_vec());
            }
            assert_eq!(all.len() as u32, number % 5 + 1);
            all.pop().unwrap()
        } else {
            requests.call(&payload, options).await?.payload().to_vec()
        };
        assert_eq!(last, payload);
    }
    Ok(CALLS)
}

async fn stream(requests: Requests) -> Result<u64, RequestError> {
    let mut writer = requests.stream(DeltaFields::new(DOC), None).await?;
    let mut written = 0;
    while written < STREAM {
        let len = (STREAM - written).min(5_000);
        let piece: Vec<u8> = (written..written + len).map(|at| (at % 251) as u8).collect();
        writer.write(&piece).await?;
        written += len;
    }
    writer.finish().await?;
    Ok(written)
}

/// Counts how often a session goes on.
async fn count(link: Link, resumed: Rc<RefCell<u32>>) {
    let mut changes = link.changes();
    loop {
        match changes.next().await {
            LinkChange::Resumed(_) => *resumed.borrow_mut() += 1,
            LinkChange::Over(_) => return,
            _ => {}
        }
    }
}

#[test]
fn each_request_runs_once_and_each_stream_comes_whole_over_links_that_are_cut() {
    let resumed = Rc::new(RefCell::new(0));
    for seed in 0..6 {
        let path = Path { latency: 10 * MS, loss: Loss::Independent(0.005), ..Path::default() };
        let (mut sim, [phone, tower]) = pair(seed, path);
        let limits = Some(SessionsLimits::default());
        let server = server_with(&mut sim, tower, |it| it.resume(limits));
        let client = builder(&mut sim, phone).resume(limits).build().unwrap();
        let (near, far) = connect(&mut sim, &client, &server);
        let link = near.1.clone();
        sim.spawn(count(link.clone(), resumed.clone()));
        let ((near, _near_deltas), (far, _far_deltas)) = (open(&client, near), open(&server, far));
        let asked = [Asked::default(), Asked::default()];
        let streamed = [Rc::new(RefCell::new(0)), Rc::new(RefCell::new(0))];
        let done = Rc::new(RefCell::new(Vec::new()));
        for (side, opened) in [near, far].into_iter().enumerate() {
            let Opened { requests, incoming, commands: _ } = opened;
            sim.spawn(respond(incoming, asked[side].clone(), streamed[side].clone()));
            for many in [false, true] {
                let (done, requests) = (done.clone(), requests.clone());
                sim.spawn(async move {
                    let asked = ask(requests, many).await;
                    done.borrow_mut().push(format!("{asked:?}"));
                });
            }
            let done = done.clone();
            sim.spawn(async move {
                let streamed = stream(requests).await;
                done.borrow_mut().push(format!("{streamed:?}"));
            });
        }
        let mut random = sim.random();
        for _ in 0..6 {
            sim.run_for(MS * (200 + random.below(1_000) as u32));
            sim.set_cut(&[phone], &[tower], true);
            sim.run_for(MS * (500 + random.below(9_000) as u32));
            sim.set_cut(&[phone], &[tower], false);
            sim.run_for(MS * (500 + random.below(3_000) as u32));
        }
        sim.run_for(120 * SECOND);
        let mut done = done.borrow().clone();
        done.sort();
        let mut expected = vec![format!("Ok({CALLS})"); 4];
        expected.extend(vec![format!("Ok({STREAM})"); 2]);
        expected.sort();
        assert_eq!(done, expected, "seed {seed}, {:?}", link.ended());
        for side in 0..2 {
            assert_eq!(*streamed[side].borrow(), STREAM, "seed {seed}");
            let asked = asked[side].borrow();
            assert_eq!(asked.len() as u32, CALLS, "seed {seed}");
            // Of each kind one: none ran twice.
            assert!(asked.values().all(|times| *times == 2), "seed {seed}: {asked:?}");
        }
    }
    let resumed = *resumed.borrow();
    assert!(resumed >= 6, "sessions went on {resumed} times: nothing was tried");
}
