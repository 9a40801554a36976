//! Blobs and files of the origin's own file system, in a browser's dedicated worker.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]

mod pipe;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use blake3::Hasher;
use deltawire_bulk::{
    Bulk, BulkOptions, BulkStatus, Existing, FileName, PART, Phase, Proposal, STATE, Sink, Source,
    Transfer, TransferError,
};
use deltawire_channels::Peer;
use deltawire_link::runtime::{SharedRuntime, sleep};
use deltawire_node::Node;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{
    Blob, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetFileOptions,
    FileSystemSyncAccessHandle, WorkerGlobalScope,
};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const MIB: usize = 1 << 20;

/// Bytes that repeat nowhere, from the `index`th MiB on.
fn random(index: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// A blob, and its hash: made of many, so that none of it stays in this module's memory.
fn blob(len: usize) -> (Blob, [u8; 32]) {
    let (parts, mut hasher) = (Array::new(), Hasher::new());
    for index in 0..len.div_ceil(MIB) {
        let bytes = random(index, MIB.min(len - index * MIB));
        hasher.update(&bytes);
        let part = Blob::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(&*bytes)));
        parts.push(&part.unwrap());
    }
    (Blob::new_with_blob_sequence(&parts).unwrap(), *hasher.finalize().as_bytes())
}

async fn hash_of(blob: &Blob) -> [u8; 32] {
    let mut hasher = Hasher::new();
    let mut at = 0.0;
    while at < blob.size() {
        let end = blob.size().min(at + MIB as f64);
        let part = blob.slice_with_f64_and_f64(at, end).unwrap();
        let buffer = JsFuture::from(part.array_buffer()).await.unwrap();
        hasher.update(&Uint8Array::new(&buffer).to_vec());
        at = end;
    }
    *hasher.finalize().as_bytes()
}

async fn root() -> FileSystemDirectoryHandle {
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let root = JsFuture::from(scope.navigator().storage().get_directory()).await.unwrap();
    root.unchecked_into()
}

async fn find(name: &str) -> Option<FileSystemFileHandle> {
    JsFuture::from(root().await.get_file_handle(name)).await.ok().map(JsCast::unchecked_into)
}

async fn content(name: &str) -> Option<Blob> {
    let file = JsFuture::from(find(name).await?.get_file()).await.unwrap();
    Some(file.unchecked_into::<File>().into())
}

async fn put(name: &str, bytes: &[u8]) {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let made = root().await.get_file_handle_with_options(name, &options);
    let file: FileSystemFileHandle = JsFuture::from(made).await.unwrap().unchecked_into();
    let open = JsFuture::from(file.create_sync_access_handle()).await.unwrap();
    let open: FileSystemSyncAccessHandle = open.unchecked_into();
    open.truncate_with_u32(0).unwrap();
    open.write_with_js_u8_array(&Uint8Array::from(bytes)).unwrap();
    open.close();
}

/// Tests share a file system, which outlives them.
async fn clear(name: &str) {
    for ending in ["", PART, STATE] {
        let _ = JsFuture::from(root().await.remove_entry(&format!("{name}{ending}"))).await;
    }
}

/// Two nodes, bulk of each, and how what comes is taken in.
struct Ends {
    nodes: [Node; 2],
    bulk: [Bulk; 2],
    taken: Rc<RefCell<Vec<Transfer>>>,
}

impl Ends {
    async fn new(existing: Existing) -> Self {
        // A link that is cut is gone.
        let nodes = [(); 2].map(|()| Node::builder().resume(None).build().unwrap());
        let options = BulkOptions { max_retries: 0, ..BulkOptions::default() };
        let bulk = nodes.each_ref().map(|it| Bulk::new(it.runtime().clone(), options).unwrap());
        let taken = Rc::<RefCell<Vec<Transfer>>>::default();
        let (far, directory, all) = (bulk[1].clone(), root().await, taken.clone());
        spawn_local(async move {
            while let Some(proposal) = far.proposals().await {
                if let Proposal::Offer(offer) = proposal {
                    let accepted = offer.accept(Sink::folder(directory.clone(), existing));
                    all.borrow_mut().extend(accepted.ok());
                }
            }
        });
        Self { nodes, bulk, taken }
    }

    /// A link between them.
    async fn join(&self) -> pipe::Cut {
        let (near, far, cut) = pipe::pair();
        self.nodes[1].attach_accepted(far, None).unwrap();
        let near = self.nodes[0].attach(near).await.unwrap();
        let far = self.nodes[1].accept().await.unwrap();
        for ((peer, link), bulk) in [near, far].into_iter().zip(self.bulk.clone()) {
            let Peer { command, send, receive } = peer;
            spawn_local(async move {
                let _ended = bulk.attend(&link, receive).await;
                // They keep the session.
                drop((command, send));
            });
        }
        cut
    }

    fn send(&self, blob: &Blob, name: &str) -> Transfer {
        self.bulk[0].send(Source::blob(blob.clone()), FileName::new(name).unwrap()).unwrap()
    }

    fn runtime(&self) -> &SharedRuntime {
        self.nodes[0].runtime()
    }

    async fn received(&self) -> Result<deltawire_bulk::Report, TransferError> {
        let transfer = self.taken.borrow().last().unwrap().clone();
        soon(self.runtime(), "end of the transfer", transfer.finished()).await
    }
}

async fn soon<T>(runtime: &SharedRuntime, what: &str, future: impl Future<Output = T>) -> T {
    let (mut future, mut late) = (pin!(future), pin!(sleep(&**runtime, Duration::from_secs(60))));
    let waited = std::future::poll_fn(|context| {
        if let Poll::Ready(done) = future.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        late.as_mut().poll(context).map(|()| None)
    });
    waited.await.unwrap_or_else(|| panic!("no {what} in time"))
}

/// Pages of 64 KiB that this module's memory has.
fn pages() -> usize {
    core::arch::wasm32::memory_size(0)
}

#[wasm_bindgen_test]
async fn a_blob_becomes_a_file_without_passing_through_memory() {
    const NAME: &str = "large.bin";
    clear(NAME).await;
    let (blob, hash) = blob(48 * MIB + 12_345);
    let ends = Ends::new(Existing::Refuse).await;
    let _cut = ends.join().await;
    let before = pages();
    let sent = ends.send(&blob, NAME);
    let report = soon(ends.runtime(), "transfer", sent.finished()).await.unwrap();
    assert_eq!((report.len, report.root), (blob.size() as u64, hash));
    let grown = (pages() - before) << 16;
    assert!(grown <= 4 * MIB, "{grown} bytes more for a file of {} bytes", report.len);
    let received = ends.received().await.unwrap();
    assert_eq!(received.path.unwrap().to_str(), Some(NAME));
    assert_eq!((received.moved, received.resumed, received.repeated), (report.len, 0, 0));
    assert_eq!(hash_of(&content(NAME).await.unwrap()).await, hash);
    for ending in [PART, STATE] {
        assert!(find(&format!("{NAME}{ending}")).await.is_none(), "{ending} is left");
    }
    // What is there already is not sent again.
    let again = ends.send(&blob, NAME);
    soon(ends.runtime(), "transfer", again.finished()).await.unwrap();
    assert_eq!(ends.received().await.unwrap().moved, 0);
    clear(NAME).await;
}

#[wasm_bindgen_test]
async fn what_came_before_the_link_was_lost_is_not_sent_again() {
    const NAME: &str = "interrupted.bin";
    clear(NAME).await;
    let (blob, hash) = blob(24 * MIB);
    let ends = Ends::new(Existing::Refuse).await;
    let cut = ends.join().await;
    let sent = ends.send(&blob, NAME);
    soon(ends.runtime(), "half", async {
        while sent.progress().written < 12 << 20 {
            sent.changed(sent.progress()).await;
        }
    })
    .await;
    cut.cut();
    assert!(matches!(ends.received().await, Err(TransferError::LinkLost)));
    soon(ends.runtime(), "end of the link", async {
        while sent.progress().phase != Phase::Waiting {
            sent.changed(sent.progress()).await;
        }
    })
    .await;
    assert!(find(&format!("{NAME}{PART}")).await.is_some());
    let _cut = ends.join().await;
    soon(ends.runtime(), "transfer", sent.finished()).await.unwrap();
    let report = ends.received().await.unwrap();
    assert!(report.resumed >= 12 << 20 && report.moved <= 13 << 20, "{report:?}");
    assert_eq!(hash_of(&content(NAME).await.unwrap()).await, hash);
    assert!(find(&format!("{NAME}{STATE}")).await.is_none());
    clear(NAME).await;
}

#[wasm_bindgen_test]
async fn files_that_are_there_are_kept_or_replaced_as_the_receiver_says() {
    const NAME: &str = "there.bin";
    let (new, hash) = blob(MIB + 7);
    let old = random(0, 3 * (64 << 10));
    for existing in [Existing::Refuse, Existing::Rename, Existing::Replace] {
        clear(NAME).await;
        clear("there (1).bin").await;
        put(NAME, &old).await;
        let ends = Ends::new(existing).await;
        let _cut = ends.join().await;
        let sent = soon(ends.runtime(), "transfer", ends.send(&new, NAME).finished()).await;
        let (is, renamed) = (content(NAME).await.unwrap(), content("there (1).bin").await);
        if existing == Existing::Refuse {
            assert!(matches!(sent, Err(TransferError::Peer(BulkStatus::EXISTS))), "{sent:?}");
        } else {
            sent.unwrap();
        }
        match existing {
            Existing::Replace => {
                assert_eq!(hash_of(&is).await, hash);
                // Pieces that are the same are taken from what was there.
                assert_eq!(ends.received().await.unwrap().resumed, 3 * (64 << 10));
            }
            _ => assert_eq!(is.size() as usize, old.len()),
        }
        match renamed {
            Some(renamed) => assert_eq!(hash_of(&renamed).await, hash),
            None => assert_ne!(existing, Existing::Rename),
        }
    }
    clear(NAME).await;
    clear("there (1).bin").await;
}

#[wasm_bindgen_test]
async fn a_file_that_is_open_elsewhere_is_busy() {
    const NAME: &str = "busy.bin";
    clear(NAME).await;
    put(&format!("{NAME}{PART}"), b"somebody's").await;
    let open = find(&format!("{NAME}{PART}")).await.unwrap().create_sync_access_handle();
    let open: FileSystemSyncAccessHandle = JsFuture::from(open).await.unwrap().unchecked_into();
    let ends = Ends::new(Existing::Refuse).await;
    let _cut = ends.join().await;
    let (small, _) = blob(1_000);
    let sent = ends.send(&small, NAME);
    let ended = soon(ends.runtime(), "refusal", sent.finished()).await;
    assert!(matches!(ended, Err(TransferError::Peer(BulkStatus::BUSY))), "{ended:?}");
    open.close();
    let sent = ends.send(&small, NAME);
    soon(ends.runtime(), "transfer", sent.finished()).await.unwrap();
    clear(NAME).await;
}
