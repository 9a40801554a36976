//! What is not taken is refused before its first byte, by name; and what goes wrong ends by name.

use std::time::Duration;

use deltawire_bulk::{
    Bulk, BulkOptions, BulkStatus, Existing, Proposal, Refused, Sink, Source, Transfer,
    TransferError,
};

use crate::lab::{Folder, Nodes, name, random, soon, take_all};

async fn refused(transfer: &Transfer) -> BulkStatus {
    match soon("end", transfer.finished()).await.unwrap_err() {
        TransferError::Peer(status) => status,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_before_the_first_byte() {
    let to = Folder::new("limits");
    let nodes = Nodes::new();
    let near = nodes.bulk(BulkOptions { max_pending: 6, ..BulkOptions::default() })[0].clone();
    let options = BulkOptions { max_len: 1_000, max_pending: 2, ..BulkOptions::default() };
    let far = nodes.bulk(options)[1].clone();
    let _ends = nodes.join(&near, &far).await;
    let long = near.send(Source::memory(vec![0; 1_001]), name("long")).unwrap();
    assert_eq!(refused(&long).await, BulkStatus::TOO_LONG);
    // Nobody looks at what is offered: more than two do not wait.
    let send = |it: &str| near.send(Source::memory(it.as_bytes().to_vec()), name(it)).unwrap();
    let offered = ["a", "b", "c"].map(send);
    assert_eq!(refused(&offered[2]).await, BulkStatus::TOO_MANY);
    let Some(Proposal::Offer(first)) = far.proposals().await else { panic!("no offer") };
    let Some(Proposal::Offer(second)) = far.proposals().await else { panic!("no offer") };
    // One that is dropped is refused.
    drop(first);
    assert_eq!(refused(&offered[0]).await, BulkStatus::REFUSED);
    to.put("b", b"other");
    let transfer = second.accept(Sink::folder(&to.0, Existing::Refuse)).unwrap();
    assert_eq!(refused(&offered[1]).await, BulkStatus::EXISTS);
    assert!(transfer.finished().await.is_err());
    assert_eq!((to.names(), to.get("b")), (vec!["b".to_owned()], b"other".to_vec()));
    // As many wait here as may: without a link nobody takes one.
    let alone = &nodes.bulk(BulkOptions { max_pending: 6, ..BulkOptions::default() })[0];
    let refused: Vec<_> = (0..8)
        .map(|i| alone.send(Source::memory(vec![i]), name(&format!("{i}"))))
        .filter_map(Result::err)
        .collect();
    assert_eq!(refused, [Refused::TooMany { limit: 6 }; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_go_at_a_time_and_all_arrive() {
    let to = Folder::new("many");
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions { max_rate: 2 << 20, ..BulkOptions::default() });
    let _taking = take_all(&far, &to.0, Existing::Refuse);
    let _ends = nodes.join(&near, &far).await;
    let bytes: Vec<Vec<u8>> = (0..12).map(|i| random(150_000, i)).collect();
    let transfers: Vec<Transfer> = bytes
        .iter()
        .enumerate()
        .map(|(i, it)| near.send(Source::memory(it.clone()), name(&format!("{i}"))).unwrap())
        .collect();
    let started = std::time::Instant::now();
    let mut most = 0;
    while transfers.iter().any(|it| it.ended().is_none()) {
        let moving = deltawire_bulk::Phase::Moving;
        most = most.max(transfers.iter().filter(|it| it.progress().phase == moving).count());
        assert!(started.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(most, 5);
    // 1.8 MB at 2 MiB a second.
    let took = started.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(3)).contains(&took), "{took:?}");
    for (i, it) in bytes.iter().enumerate() {
        assert!(to.get(&i.to_string()) == *it, "{i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_cancels_and_the_other_hears_of_it() {
    let (from, to) = (Folder::new("cancel-from"), Folder::new("cancel-to"));
    let bytes = random(8 << 20, 5);
    let path = from.put("a", &bytes);
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions { max_rate: 4 << 20, ..BulkOptions::default() });
    let _ends = nodes.join(&near, &far).await;
    for here in [true, false] {
        let sent = near.send(Source::file(&path), name("a")).unwrap();
        let Some(Proposal::Offer(offer)) = soon("offer", far.proposals()).await else {
            panic!("no offer")
        };
        let received = offer.accept(Sink::folder(&to.0, Existing::Refuse)).unwrap();
        let seen = received.progress().written;
        while received.progress().written < seen + (1 << 20) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (cancelled, other) = if here { (&sent, &received) } else { (&received, &sent) };
        cancelled.cancel();
        let error = soon("end", cancelled.finished()).await.unwrap_err();
        assert!(matches!(error, TransferError::Here(BulkStatus::CANCELLED)), "{error}");
        assert_eq!(refused(other).await, BulkStatus::CANCELLED);
    }
    // What came is there for the next.
    soon("state", async {
        while to.names() != ["a.part", "a.part-state"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let _taking = take_all(&far, &to.0, Existing::Refuse);
    let sent = near.send(Source::file(&path), name("a")).unwrap();
    let report = soon("end", sent.finished()).await.unwrap();
    assert!(report.resumed >= 1 << 20 && report.moved <= 7 << 20, "{report:?}");
    assert!(to.get("a") == bytes);
    assert_eq!(to.names(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_ends_by_name() {
    let (from, to) = (Folder::new("changed-from"), Folder::new("changed-to"));
    let mut bytes = random(4 << 20, 6);
    let path = from.put("a", &bytes);
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _ends = nodes.join(&near, &far).await;
    let sent = near.send(Source::file(&path), name("a")).unwrap();
    let Some(Proposal::Offer(offer)) = soon("offer", far.proposals()).await else {
        panic!("no offer")
    };
    bytes[3 << 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let received = offer.accept(Sink::folder(&to.0, Existing::Refuse)).unwrap();
    let error = soon("end", received.finished()).await.unwrap_err();
    assert!(matches!(error, TransferError::Checksum(3)), "{error}");
    assert_eq!(refused(&sent).await, BulkStatus::CHECKSUM);
    assert!(!to.names().contains(&"a".to_owned()), "nothing wrong gets its name");
    // One that is gone is an error of this side's, and the peer is not asked.
    let gone = near.send(Source::file(from.0.join("b")), name("b")).unwrap();
    let error = soon("end", gone.finished()).await.unwrap_err();
    assert!(matches!(error, TransferError::Io { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_existing_files_and_replacing() {
    let to = Folder::new("existing");
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _ends = nodes.join(&near, &far).await;
    let mut bytes = random(1 << 20, 9);
    to.put("a.bin", &bytes);
    // One piece of sixteen is another.
    bytes[500_000] ^= 1;
    for (existing, moved, path) in [
        (Existing::Rename, 1 << 20, "a (1).bin"),
        (Existing::Replace, 65_536, "a.bin"),
        // It is there already, as it is.
        (Existing::Refuse, 0, "a.bin"),
    ] {
        let sent = near.send(Source::memory(bytes.clone()), name("a.bin")).unwrap();
        let Some(Proposal::Offer(offer)) = soon("offer", far.proposals()).await else {
            panic!("no offer")
        };
        let received = offer.accept(Sink::folder(&to.0, existing)).unwrap();
        let report = soon("end", received.finished()).await.unwrap();
        soon("end", sent.finished()).await.unwrap();
        assert_eq!((report.moved, report.path), (moved, Some(to.0.join(path))), "{existing:?}");
        assert!(to.get(path) == bytes);
    }
    assert_eq!(to.names(), ["a (1).bin", "a.bin"]);
    // A link is not followed.
    std::os::unix::fs::symlink("/dev/null", to.0.join("link")).unwrap();
    std::os::unix::fs::symlink("/dev/null", to.0.join("other.part")).unwrap();
    for file in ["link", "other"] {
        let sent = near.send(Source::memory(vec![1]), name(file)).unwrap();
        let Some(Proposal::Offer(offer)) = soon("offer", far.proposals()).await else {
            panic!("no offer")
        };
        let _ = offer.accept(Sink::folder(&to.0, Existing::Replace)).unwrap();
        assert_eq!(refused(&sent).await, BulkStatus::EXISTS, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_refuses_what_is_new_and_ends_the_rest() {
    let to = Folder::new("shut");
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions { max_rate: 1 << 20, ..BulkOptions::default() });
    let _taking = take_all(&far, &to.0, Existing::Refuse);
    let _ends = nodes.join(&near, &far).await;
    let send =
        |bulk: &Bulk, len| bulk.send(Source::memory(random(len, 1)), name(&format!("{len}")));
    let (short, long) = (send(&near, 100_000).unwrap(), send(&near, 9 << 20).unwrap());
    while long.progress().written == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let shutting = {
        let far = far.clone();
        tokio::spawn(async move { far.shut_down(Duration::from_millis(500)).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let late = send(&near, 5).unwrap();
    assert_eq!(refused(&late).await, BulkStatus::GOING_AWAY);
    assert!(matches!(send(&far, 5), Err(Refused::Closed)));
    let unfinished = soon("end", shutting).await.unwrap();
    assert_eq!(unfinished.len(), 1);
    soon("end", short.finished()).await.unwrap();
    assert_eq!(refused(&long).await, BulkStatus::GOING_AWAY);
    assert!(far.proposals().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_and_what_stops_ends_by_name() {
    let nodes = Nodes::new();
    let options = BulkOptions {
        answer_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        ..BulkOptions::default()
    };
    let [near, far] = nodes.bulk(options);
    let _ends = nodes.join(&near, &far).await;
    let sent = near.send(Source::memory(vec![1]), name("a")).unwrap();
    let asked = near.get(name("b"), Sink::memory(9)).unwrap();
    for transfer in [sent, asked] {
        let error = soon("end", transfer.finished()).await.unwrap_err();
        assert!(matches!(error, TransferError::Unanswered), "{error}");
    }
    // What was offered and asked for is taken back.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let proposals = tokio::time::timeout(Duration::from_millis(50), far.proposals()).await;
    assert!(proposals.is_err(), "{proposals:?}");
}
