//! The page that shows what the server does, and its numbers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
};
use axum::response::{IntoResponse, Response};
use deltawire_hub::store::{Head, LogStats};
use deltawire_node::PeerState;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Shared;
use super::gate::{Who, require};
use super::problem::Problem;
use crate::config::Access;

/// Without anything from elsewhere.
const PAGE: &str = include_str!("admin.html");

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How old numbers may be: however many look, they are made so often.
const FRESH: Duration = Duration::from_millis(500);

/// Rows of each table.
const ROWS: usize = 200;

/// The last numbers that were made, and when.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Option<(Instant, Bytes)>>);

/// The page. It holds no numbers, so it needs no token: its visitor gives it one to ask with.
pub(super) async fn page() -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, PAGE).into_response()
}

/// The page's numbers.
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
) -> Result<Response, Problem> {
    require(&who, Access::Admin)?;
    let mut last = shared.watched.0.lock().await;
    let bytes = match &*last {
        Some((made, bytes)) if made.elapsed() < FRESH => bytes.clone(),
        _ => {
            // Many documents take a while: not where others wait.
            let made = tokio::task::spawn_blocking({
                let shared = shared.clone();
                move || Bytes::from(numbers(&shared).to_string())
            });
            let Ok(bytes) = made.await else {
                let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                return Err(Problem::new(status, "failed", "the numbers could not be made"));
            };
            *last = Some((Instant::now(), bytes.clone()));
            bytes
        }
    };
    drop(last);
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, bytes).into_response())
}

/// The sums of all shards.
pub(super) fn sum(logs: &[LogStats]) -> LogStats {
    let mut sum = LogStats::default();
    for log in logs {
        sum.documents += log.documents;
        sum.batches += log.batches;
        sum.hot_bytes += log.hot_bytes;
        sum.index_bytes += log.index_bytes;
        sum.kept_bytes += log.kept_bytes;
        sum.appended_records += log.appended_records;
        sum.appended_bytes += log.appended_bytes;
        sum.copied_bytes += log.copied_bytes;
        sum.adopted_bytes += log.adopted_bytes;
        sum.stamps += log.stamps;
        sum.dropped_records += log.dropped_records;
        sum.dirty_bytes += log.dirty_bytes;
        sum.cold_bytes += log.cold_bytes;
        sum.segments += log.segments;
        sum.disk_bytes += log.disk_bytes;
        sum.archived_segments += log.archived_segments;
        sum.archived_bytes += log.archived_bytes;
        sum.writes += log.writes;
        sum.syncs += log.syncs;
        sum.cold_reads += log.cold_reads;
        sum.disk_full += log.disk_full;
        sum.compacted_segments += log.compacted_segments;
        sum.compactions += log.compactions;
        sum.compacted_bytes += log.compacted_bytes;
        sum.failed_compactions += log.failed_compactions;
        sum.failed_deletes += log.failed_deletes;
        sum.damaged_batches += log.damaged_batches;
    }
    sum
}

fn head_value(head: Option<&Head>) -> Value {
    head.map_or(Value::Null, |head| {
        json!({
            "epoch": head.epoch.0,
            "first": head.first.0,
            "next": head.next.0,
            "durable": head.durable.0,
            "bytes": head.bytes,
        })
    })
}

fn numbers(shared: &Shared) -> Value {
    let (hub, node) = (&shared.hub, &shared.node);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (stats, log) = (hub.stats(), sum(&hub.logs()));
    let mut peers = node.peers();
    let links = peers.len();
    // The newest first.
    peers.reverse();
    peers.truncate(ROWS);
    let peers: Vec<Value> = peers
        .iter()
        .map(|peer| {
            let (link, of_link) = (&peer.link, peer.link.stats());
            json!({
                "link": link.id().to_string(),
                "kind": link.kind(),
                "identity": link.identity().map(|identity| identity.subject().to_owned()),
                "address": link.remote_address().map(|address| address.to_string()),
                "open": matches!(peer.state, PeerState::Open),
                "received": of_link.bytes_received,
                "sent": of_link.bytes_sent,
                "in_flight": of_link.in_flight,
            })
        })
        .collect();
    let mut live = hub.live(ROWS * 5);
    live.sort_by_key(|it| std::cmp::Reverse((it.readers + it.present, it.doc_id.0)));
    live.truncate(ROWS);
    let mut documents: Vec<Value> = live
        .iter()
        .map(|it| {
            json!({
                "document": it.doc_id.to_string(),
                "readers": it.readers,
                "present": it.present,
                "head": head_value(it.head.as_ref()),
            })
        })
        .collect();
    // Where there are few, those that nobody reads too.
    if log.documents as usize <= ROWS {
        for doc_id in hub.list() {
            if documents.len() < ROWS && !live.iter().any(|it| it.doc_id == doc_id) {
                documents.push(json!({
                    "document": doc_id.to_string(),
                    "readers": 0,
                    "present": 0,
                    "head": head_value(hub.head(&doc_id).as_ref()),
                }));
            }
        }
    }
    let slow = slow(shared);
    json!({
        "time_ms": now.as_millis() as u64,
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "not_ready": shared.not_ready(),
        "stores": !hub.is_volatile(),
        "links": links,
        "followers": shared.followers.len(),
        "hub": {
            "peers": stats.peers,
            "readers": stats.readers,
            "present": stats.present,
            "tail_bytes": stats.tail_bytes,
            "runs": stats.runs,
            "unexpected": stats.unexpected,
        },
        "log": {
            "documents": log.documents,
            "appended_records": log.appended_records,
            "appended_bytes": log.appended_bytes,
            "dropped_records": log.dropped_records,
            "hot_bytes": log.hot_bytes,
            "index_bytes": log.index_bytes,
            "dirty_bytes": log.dirty_bytes,
            "disk_bytes": log.disk_bytes,
            "segments": log.segments,
            "syncs": log.syncs,
        },
        "archive": hub.archive_stats().map(|archive| json!({
            "segments": archive.segments,
            "bytes": archive.bytes,
            "put_segments": archive.put_segments,
            "reads": archive.reads,
            "failures": archive.failures,
            "failing": archive.failing,
            "errors": archive.errors,
        })),
        "http": shared.counted.get(),
        "peers": peers,
        "documents": documents,
        "slow": slow,
    })
}

/// Subscribers that are behind, the furthest first: those on links as the hub knows them, and those over HTTP, of which the
/// hub knows nothing while they do not read.
fn slow(shared: &Shared) -> Vec<Value> {
    let on_links = shared.hub.slow_readers(ROWS).into_iter().filter_map(|it| {
        let link = it.link?.to_string();
        let identity = it.identity.map(|identity| identity.subject().to_owned());
        Some((it.behind, it.position, it.doc_id, identity, link))
    });
    let followers = shared.followers.list().into_iter().filter_map(|it| {
        let (position, head) = (it.position(), shared.hub.head(&it.document)?);
        let behind = head.next.0.checked_sub(position).filter(|it| position > 0 && *it > 0)?;
        let identity = Some(it.identity.subject().to_owned());
        Some((behind, position, it.document, identity, "http".to_owned()))
    });
    let mut all: Vec<_> = on_links.chain(followers).collect();
    all.sort_by_key(|(behind, ..)| std::cmp::Reverse(*behind));
    all.truncate(ROWS);
    let value = |(behind, position, document, identity, link): (u64, u64, _, _, _)| {
        let document: deltawire_framing::DocId = document;
        let (identity, link): (Option<String>, String) = (identity, link);
        json!({
            "document": document.to_string(),
            "identity": identity,
            "link": link,
            "position": position,
            "behind": behind,
        })
    };
    all.into_iter().map(value).collect()
}
