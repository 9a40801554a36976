//! Files arrive as they were.

use std::time::Duration;

use deltawire_bulk::{
    BulkOptions, BulkStatus, Existing, Phase, Proposal, Sink, Source, TransferError,
};

use crate::lab::{Folder, Nodes, name, random, soon, take_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_as_it_was() {
    let (from, to) = (Folder::new("from"), Folder::new("to"));
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _taking = take_all(&far, &to.0, Existing::Refuse);
    let _ends = nodes.join(&near, &far).await;
    for (index, len) in
        [0, 1, 65_535, 65_536, 65_537, 300_000, 20 << 20, (16 << 20) + 1].into_iter().enumerate()
    {
        let (file, bytes) = (format!("{index}.bin"), random(len, index as u64));
        let path = from.put(&file, &bytes);
        let transfer = near.send(Source::file(path), name(&file)).unwrap();
        let report = soon("end", transfer.finished()).await.unwrap();
        assert_eq!((report.len, report.moved), (len as u64, len as u64));
        assert_eq!(report.root, *blake3::hash(&bytes).as_bytes());
        assert!(to.get(&file) == bytes, "{len}");
        let progress = transfer.progress();
        assert_eq!((progress.phase, progress.written), (Phase::Over, len as u64));
    }
    assert_eq!(to.names().len(), 8, "{:?}", to.names());
}

/// What the system has in memory is read at once, and everything else by a thread: both, in turn.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_in_memory_arrives_too() {
    use rustix::fs::{Advice, fadvise};
    let (from, to) = (Folder::new("cold"), Folder::new("warm"));
    let bytes = random((24 << 20) + 5, 3);
    let path = from.put("cold.bin", &bytes);
    let file = std::fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _ends = nodes.join(&near, &far).await;
    let sent = near.send(Source::file(path), name("cold.bin")).unwrap();
    let Some(Proposal::Offer(offer)) = soon("offer", far.proposals()).await else { panic!() };
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let received = offer.accept(Sink::folder(&to.0, Existing::Refuse)).unwrap();
    let forgetting = async {
        loop {
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::select! {
        report = soon("end", received.finished()) => drop(report.unwrap()),
        () = forgetting => {}
    }
    soon("end", sent.finished()).await.unwrap();
    assert!(to.get("cold.bin") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_arrives_in_memory_both_ways() {
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions { piece_len: 4_096, ..BulkOptions::default() });
    let _ends = nodes.join(&near, &far).await;
    for (here, there) in [(&near, &far), (&far, &near)] {
        for len in [0, 1, 5_000, 3 << 20] {
            let bytes = random(len, 7);
            let sent = here.send(Source::memory(bytes.clone()), name("a")).unwrap();
            let Some(Proposal::Offer(offer)) = soon("offer", there.proposals()).await else {
                panic!("no offer")
            };
            assert_eq!((offer.len(), offer.name().as_str()), (len as u64, "a"));
            let received = offer.accept(Sink::memory(4 << 20)).unwrap();
            let report = soon("end", received.finished()).await.unwrap();
            assert!(report.bytes.unwrap() == bytes);
            soon("end", sent.finished()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_by_name_comes() {
    let (from, to) = (Folder::new("served"), Folder::new("got"));
    let bytes = random(5 << 20, 1);
    let path = from.put("a.bin", &bytes);
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _ends = nodes.join(&near, &far).await;
    let serving = tokio::spawn(async move {
        while let Some(Proposal::Request(request)) = far.proposals().await {
            match request.name().map(|it| it.as_str().to_owned()) {
                Some(asked) if asked == "a.bin" => {
                    request.answer(Source::file(&path), name("a.bin")).unwrap();
                }
                Some(_) => request.refuse(BulkStatus::NOT_FOUND),
                None => {
                    request.answer(Source::memory(&b"a.bin"[..]), name("catalogue")).unwrap();
                }
            }
        }
    });
    let got = near.get(name("a.bin"), Sink::folder(&to.0, Existing::Refuse)).unwrap();
    let report = soon("end", got.finished()).await.unwrap();
    assert_eq!(report.path, Some(to.0.join("a.bin")));
    assert!(to.get("a.bin") == bytes);
    let missing = near.get(name("b.bin"), Sink::folder(&to.0, Existing::Refuse)).unwrap();
    let error = soon("end", missing.finished()).await.unwrap_err();
    assert!(matches!(error, TransferError::Peer(BulkStatus::NOT_FOUND)), "{error}");
    let catalogue = near.get_catalogue(Sink::memory(1_000)).unwrap();
    let report = soon("end", catalogue.finished()).await.unwrap();
    assert_eq!(report.bytes.unwrap(), &b"a.bin"[..]);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_over_the_next_link() {
    let (from, to) = (Folder::new("cut-from"), Folder::new("cut-to"));
    let bytes = random(64 << 20, 3);
    let path = from.put("a.bin", &bytes);
    let nodes = Nodes::new();
    let [near, far] = nodes.bulk(BulkOptions::default());
    let _taking = take_all(&far, &to.0, Existing::Refuse);
    let transfer = near.send(Source::file(path), name("a.bin")).unwrap();
    let mut links = 0;
    while transfer.ended().is_none() {
        let ends = nodes.join(&near, &far).await;
        links += 1;
        let seen = transfer.progress().written;
        soon("progress", async {
            while transfer.ended().is_none() && transfer.progress().written < seen + (9 << 20) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let [here, there] = ends;
        for end in [&here, &there] {
            end.link.close(deltawire_framing::control::CloseCode::NORMAL, "cut");
        }
        for end in [here, there] {
            soon("end of link", end.attending).await.unwrap().unwrap();
        }
    }
    let report = transfer.finished().await.unwrap();
    assert!(links > 3, "{links}");
    assert!(report.resumed > 0, "{report:?}");
    assert!(to.get("a.bin") == bytes);
    assert_eq!(to.names(), ["a.bin"]);
}
