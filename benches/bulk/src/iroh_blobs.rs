//! iroh-blobs, as `sendme` uses it: a store of files at each end, BLAKE3 while it comes, QUIC.

use std::path::Path;

use anyhow::Context;
use iroh::EndpointAddr;
use iroh::endpoint::{Endpoint, RelayMode, presets};
use iroh::protocol::Router;
use iroh_blobs::api::blobs::{AddPathOptions, ExportMode, ExportOptions, ImportMode};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{ALPN, BlobFormat, BlobsProtocol};

use crate::measure::{Took, Watch};

async fn endpoint() -> anyhow::Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?;
    Ok(builder.bind().await?)
}

/// What hashing the file took, which is where it is, and moving it to `to`.
pub(crate) async fn run(from: &Path, to: &Path, scratch: &Path) -> anyhow::Result<(Took, Took)> {
    let store = FsStore::load(scratch.join("provider")).await?;
    let provider = endpoint().await?;
    let address = *provider.bound_sockets().first().context("no socket")?;
    let address = EndpointAddr::new(provider.id()).with_ip_addr(address);
    let watch = Watch::start();
    let options = AddPathOptions {
        path: from.to_owned(),
        format: BlobFormat::Raw,
        mode: ImportMode::TryReference,
    };
    let tag = store.blobs().add_path_with_opts(options).temp_tag().await?;
    let hashed = watch.stop();
    let router = Router::builder(provider).accept(ALPN, BlobsProtocol::new(&store, None)).spawn();
    let kept = FsStore::load(scratch.join("getter")).await?;
    let getter = endpoint().await?;
    let connection = getter.connect(address, ALPN).await?;
    let watch = Watch::start();
    kept.remote().fetch(connection, tag.hash_and_format()).complete().await?;
    let options =
        ExportOptions { hash: tag.hash(), mode: ExportMode::TryReference, target: to.to_owned() };
    kept.blobs().export_with_opts(options).finish().await?;
    let moved = watch.stop();
    // With its store.
    router.shutdown().await?;
    getter.close().await;
    kept.shutdown().await?;
    std::fs::remove_file(to)?;
    Ok((hashed, moved))
}
