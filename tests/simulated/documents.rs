//! Documents over a network that loses, cuts and restarts: each delta once, in one order, for all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use deltawire::documents::store::Read;
use deltawire::documents::{
    Documents, DocumentsOptions, Everyone, Gap, Hub, HubOptions, Item, Place, SubscribeOptions,
    Why, keep, serve,
};
use deltawire::framing::control::CloseCode;
use deltawire::framing::{DeltaFields, Frame};
use deltawire::link::runtime::sleep;
use deltawire::prelude::*;
use deltawire::sim::{Host, Loss, Path, Simulation};
use deltawire::{Backoff, SessionsLimits};

use crate::lab::{MS, SECOND, URL, builder, server_with};

const DOCS: [DocId; 2] = [DocId([1; 16]), DocId([2; 16])];
const PER_WRITER: u32 = 300;

/// Whether sessions outlive their links.
type Resume = Option<SessionsLimits>;

/// As by default.
fn goes_on() -> Resume {
    Some(SessionsLimits::default())
}

/// A hub on a host, which all that connect are served by.
fn hub_on(sim: &mut Simulation, host: Host, resume: Resume) -> (Hub, Node) {
    let node = server_with(sim, host, |builder| builder.resume(resume).serve_documents());
    let hub = Hub::in_memory(HubOptions::default(), Everyone, node.runtime().clone());
    let (serving, served) = (hub.clone(), node.clone());
    sim.spawn(async move { serve(&served, &serving).await });
    (hub, node)
}

/// Documents of a host, kept attended.
fn documents_on(sim: &mut Simulation, host: Host, resume: Resume) -> Documents {
    let backoff = Backoff { first: 100 * MS, longest: SECOND, ..Backoff::default() };
    let node = builder(sim, host).resume(resume).backoff(backoff).build().unwrap();
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let keeping = documents.clone();
    sim.spawn(async move { keep(&node, URL, &keeping).await.unwrap() });
    documents
}

/// What a reader has seen of a document.
#[derive(Debug, Default)]
struct Seen {
    deltas: Vec<(Place, Vec<u8>)>,
    gaps: Vec<Gap>,
}

type Log = Rc<RefCell<Seen>>;

fn read(sim: &mut Simulation, documents: &Documents, doc_id: DocId) -> Log {
    let mut subscription = documents.subscribe(doc_id, SubscribeOptions::default()).unwrap();
    let seen = Log::default();
    let log = seen.clone();
    sim.spawn(async move {
        while let Ok(item) = subscription.next().await {
            match item {
                Item::Delta { place, message } => {
                    let payload = message.delta().unwrap().payload().to_vec();
                    log.borrow_mut().deltas.push((place, payload));
                }
                Item::Gap(gap) => log.borrow_mut().gaps.push(gap),
                _ => {}
            }
        }
    });
    seen
}

/// Writes numbers behind the writer's own, at its own pace; counts those whose receipt came.
fn write(
    sim: &mut Simulation,
    documents: &Documents,
    doc_id: DocId,
    writer: u8,
    pace: Duration,
) -> Rc<RefCell<u32>> {
    let mut publisher = documents.publish(doc_id).unwrap();
    let received = Rc::new(RefCell::new(0));
    let count = received.clone();
    let runtime = documents.runtime().clone();
    sim.spawn(async move {
        for number in 0..PER_WRITER {
            let mut payload = vec![writer; 5 + (number as usize * 37) % 3_000];
            payload[1..5].copy_from_slice(&number.to_le_bytes());
            let receipt = publisher.publish(&payload).await.unwrap();
            if number % 50 == 49 {
                receipt.received().await.unwrap();
            }
            *count.borrow_mut() += 1;
            sleep(&*runtime, pace).await;
        }
        publisher.flush().await.unwrap();
        *count.borrow_mut() = u32::MAX;
    });
    received
}

#[test]
fn each_delta_once_and_in_one_order_whatever_becomes_of_links() {
    // DOCUMENTS_SEEDS=1000 runs more of them, DOCUMENTS_SEED=7 a single one.
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let seeds = match number("DOCUMENTS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DOCUMENTS_SEEDS").unwrap_or(12),
    };
    let mut links = 0;
    for seed in seeds.clone() {
        let mut sim = Simulation::new(seed);
        let [tower] = sim.add_hosts();
        let phones: [Host; 3] = sim.add_hosts();
        sim.set_default_path(Path {
            latency: 15 * MS,
            loss: Loss::Independent(0.01),
            ..Path::default()
        });
        let resume = if seed % 2 == 0 { None } else { goes_on() };
        let (hub, node) = hub_on(&mut sim, tower, resume);
        let (mut logs, mut writers) = (Vec::new(), Vec::new());
        for (index, phone) in phones.into_iter().enumerate() {
            let documents = documents_on(&mut sim, phone, resume);
            for doc_id in DOCS {
                logs.push((doc_id, read(&mut sim, &documents, doc_id)));
                let pace = MS * (5 + 7 * index as u32);
                writers.push(write(&mut sim, &documents, doc_id, index as u8, pace));
            }
        }
        let mut random = sim.random();
        for _ in 0..25 {
            sim.run_for(MS * (50 + random.below(400) as u32));
            let phone = phones[random.below(3) as usize];
            match random.below(4) {
                // The link ends in the middle of everything.
                0 => {
                    let peers = node.peers();
                    if let Some(peer) = peers.get(random.below(3) as usize) {
                        links += 1;
                        peer.link.close(CloseCode(300), "cut");
                        peer.link.cut_short();
                    }
                }
                1 => sim.change_address(phone),
                // Longer than it takes to notice.
                2 => {
                    sim.set_cut(&[phone], &[tower], true);
                    sim.run_for(MS * (1_000 + random.below(8_000) as u32));
                    sim.set_cut(&[phone], &[tower], false);
                }
                _ => {}
            }
        }
        sim.run_for(90 * SECOND);
        for writer in &writers {
            assert_eq!(*writer.borrow(), u32::MAX, "seed {seed}: all receipts came");
        }
        for doc_id in DOCS {
            let kept = kept(&hub, &doc_id);
            assert_eq!(kept.len(), phones.len() * PER_WRITER as usize, "seed {seed}");
            let mut next = BTreeMap::new();
            for payload in &kept {
                let number = u32::from_le_bytes(payload[1..5].try_into().unwrap());
                let next = next.entry(payload[0]).or_insert(0);
                assert_eq!(number, *next, "seed {seed}: each writer's deltas once, in its order");
                *next += 1;
            }
            for (_, log) in logs.iter().filter(|(of, _)| *of == doc_id) {
                let seen = log.borrow();
                assert!(seen.gaps.is_empty(), "seed {seed}: {:?}", seen.gaps);
                let payloads: Vec<_> = seen.deltas.iter().map(|(_, payload)| payload).collect();
                assert!(
                    payloads.iter().copied().eq(&kept),
                    "seed {seed}: all readers see the same"
                );
                for (index, (place, _)) in seen.deltas.iter().enumerate() {
                    assert_eq!(place.position, index as u64 + 1, "seed {seed}");
                }
            }
        }
    }
    let runs = seeds.count();
    assert!(links >= runs, "{links} links ended in {runs} runs");
}

/// The payloads that a hub keeps of a document.
fn kept(hub: &Hub, doc_id: &DocId) -> Vec<Vec<u8>> {
    let (mut kept, mut from) = (Vec::new(), 1);
    while let Read::Run(run) = hub.read(doc_id, from, 1 << 20) {
        kept.extend(run.records.iter().map(|record| {
            Frame::parse(&record.frame).unwrap().delta().unwrap().payload().to_vec()
        }));
        from = run.next.0;
    }
    kept
}

#[test]
fn a_hub_that_forgot_everything_is_another_epoch_and_readers_are_told() {
    [None, goes_on()].into_iter().for_each(forgets);
}

fn forgets(resume: Resume) {
    let mut sim = Simulation::new(3);
    let [tower, phone] = sim.add_hosts();
    let (hub, _node) = hub_on(&mut sim, tower, resume);
    for number in 0..10_u8 {
        hub.append(DeltaFields::new(DOCS[0]), &[number]).unwrap();
    }
    let documents = documents_on(&mut sim, phone, resume);
    let seen = read(&mut sim, &documents, DOCS[0]);
    sim.run_for(5 * SECOND);
    assert_eq!(seen.borrow().deltas.len(), 10);
    let old = seen.borrow().deltas[0].0.epoch;
    sim.kill(tower);
    sim.run_for(20 * SECOND);
    let (hub, _node) = hub_on(&mut sim, tower, resume);
    for number in 0..3_u8 {
        hub.append(DeltaFields::new(DOCS[0]), &[100 + number]).unwrap();
    }
    sim.run_for(30 * SECOND);
    let seen = seen.borrow();
    assert_eq!(seen.gaps.len(), 1, "{:?}", seen.gaps);
    assert_eq!(seen.gaps[0].why, Why::NewEpoch);
    let new: Vec<_> =
        seen.deltas[10..].iter().map(|(place, payload)| (place.position, payload[0])).collect();
    assert_eq!(new, [(1, 100), (2, 101), (3, 102)]);
    assert_ne!(seen.deltas[10].0.epoch, old);
}

#[test]
fn who_cannot_be_reached_is_not_there_and_is_again_once_the_session_goes_on() {
    let mut sim = Simulation::new(4);
    let [tower, phone, desk] = sim.add_hosts();
    sim.set_default_path(Path { latency: 10 * MS, ..Path::default() });
    let (hub, node) = hub_on(&mut sim, tower, goes_on());
    let [away, there] = [phone, desk].map(|host| documents_on(&mut sim, host, goes_on()));
    let mut traveller = away.presence(DOCS[0]).unwrap();
    traveller.set(b"traveller").unwrap();
    let mut others = there.presence(DOCS[0]).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    sim.spawn(async move {
        while let Ok(item) = others.next().await {
            match item {
                Item::Present { message, .. } => {
                    told.borrow_mut().push(message.delta().unwrap().payload().to_vec());
                }
                Item::Gone { .. } => told.borrow_mut().push(b"gone".to_vec()),
                _ => {}
            }
        }
    });
    sim.run_for(SECOND);
    assert_eq!(*seen.borrow(), [b"traveller"]);
    assert!(away.is_connected() && there.is_connected());
    let before: Vec<_> = node.peers().iter().map(|it| it.link.id()).collect();
    sim.set_cut(&[phone], &[tower], true);
    sim.run_for(10 * SECOND);
    assert!(away.is_attended() && !away.is_connected() && there.is_connected());
    assert_eq!(seen.borrow().last().unwrap(), b"gone");
    assert_eq!(hub.stats().present, 0);
    sim.set_cut(&[phone], &[tower], false);
    sim.run_for(10 * SECOND);
    assert!(away.is_connected());
    // What it says again from time to time comes too.
    seen.borrow_mut().dedup();
    assert_eq!(*seen.borrow(), [&b"traveller"[..], b"gone", b"traveller"]);
    let after: Vec<_> = node.peers().iter().map(|it| it.link.id()).collect();
    assert_eq!(before, after, "the session is the same");
}
