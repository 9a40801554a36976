//! Numbers for Prometheus, in its text format. No label names a document or a peer: there may be millions.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::admin::sum;
use super::gate::{Who, require};
use super::problem::Problem;
use crate::config::Access;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
) -> Result<Response, Problem> {
    require(&who, Access::Read)?;
    let (hub, logs) = (shared.hub.stats(), shared.hub.logs());
    let (log, http) = (sum(&logs), shared.counted.get());
    let followers = shared.followers.len() as u64;
    let ready = u64::from(shared.not_ready().is_none());
    let mut text = String::with_capacity(8 << 10);
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(text, "# HELP deltawire_{name} {help}");
        let _ = writeln!(text, "# TYPE deltawire_{name} {kind}");
        let _ = writeln!(text, "deltawire_{name} {value}");
    };
    let mut gauge = |name: &str, help: &str, value: u64| put(name, "gauge", help, value);
    gauge("ready", "Whether deltas are taken.", ready);
    gauge("uptime_seconds", "Since the server started.", shared.started.elapsed().as_secs());
    gauge("links", "Links that are open or being opened.", shared.node.peers().len() as u64);
    gauge("peers", "Peers that the hub attends to, HTTP followers included.", hub.peers as u64);
    gauge("documents", "Documents that are known.", log.documents);
    gauge("subscriptions", "Subscriptions to documents.", hub.readers as u64);
    gauge("present", "Writers that are present.", hub.present as u64);
    gauge("tail_bytes", "Newest deltas of documents that somebody reads.", hub.tail_bytes as u64);
    gauge("log_hot_bytes", "Records in memory.", log.hot_bytes);
    gauge("log_cold_bytes", "Records that were read back from the disk.", log.cold_bytes);
    gauge("log_index_bytes", "The index, in memory.", log.index_bytes);
    gauge("log_dirty_bytes", "Records that wait for the disk.", log.dirty_bytes);
    gauge("log_kept_bytes", "Records that are kept, headers included.", log.kept_bytes);
    gauge("log_disk_bytes", "Segments that hold something.", log.disk_bytes);
    gauge("log_segments", "Segments.", log.segments);
    gauge("log_compacted_segments", "Those that stand for others.", log.compacted_segments);
    let archive = shared.hub.archive_stats();
    if let Some(archive) = archive {
        gauge("archive_segments", "Segments in the archive only.", archive.segments);
        gauge("archive_bytes", "Bytes of their records, headers included.", archive.bytes);
        gauge("archive_failing", "Failures since it last did as asked.", archive.failing);
    }
    gauge("http_followers", "Requests that follow a document.", followers);
    let mut counter = |name: &str, help: &str, value: u64| put(name, "counter", help, value);
    counter("log_appended_records_total", "Records that were appended.", log.appended_records);
    counter("log_appended_bytes_total", "Bytes of their frames.", log.appended_bytes);
    counter("log_copied_bytes_total", "Bytes of them that were copied.", log.copied_bytes);
    counter("log_adopted_bytes_total", "Bytes of them that were not copied.", log.adopted_bytes);
    counter("log_dropped_records_total", "Records that retention dropped.", log.dropped_records);
    counter("log_stamps_total", "Stamps that changed something.", log.stamps);
    counter("log_writes_total", "Writes to the disk.", log.writes);
    counter("log_syncs_total", "Syncs of the disk.", log.syncs);
    counter("log_cold_reads_total", "Reads from the disk.", log.cold_reads);
    counter("log_disk_full_total", "Times that the disk was full.", log.disk_full);
    counter("log_compactions_total", "Compactions that were done.", log.compactions);
    counter("log_compacted_bytes_total", "Bytes that they did away with.", log.compacted_bytes);
    counter("log_failed_compactions_total", "Those given up.", log.failed_compactions);
    counter("log_failed_deletes_total", "Segments that could not be deleted.", log.failed_deletes);
    counter("log_damaged_batches_total", "Batches found damaged when read.", log.damaged_batches);
    if let Some(archive) = archive {
        counter("archive_put_segments_total", "Segments that were moved.", archive.put_segments);
        counter("archive_put_bytes_total", "Bytes of their objects.", archive.put_bytes);
        counter("archive_reads_total", "Reads from the archive.", archive.reads);
        counter("archive_read_bytes_total", "Bytes that they gave.", archive.read_bytes);
        counter(
            "archive_erased_segments_total",
            "Segments deleted there.",
            archive.erased_segments,
        );
        counter("archive_failures_total", "Requests to be made again.", archive.failures);
        counter("archive_errors_total", "Segments not to be moved or read.", archive.errors);
    }
    counter("runs_total", "Runs that were handed to readers.", hub.runs);
    counter("unexpected_deltas_total", "Deltas that came for no publication.", hub.unexpected);
    counter("http_requests_total", "Requests but those for links.", http.requests);
    counter("http_refused_total", "Those that were answered by 4xx.", http.refused);
    counter("http_failed_total", "Those that were answered by 5xx.", http.failed);
    counter("http_deltas_written_total", "Deltas that came over HTTP.", http.deltas_in);
    counter("http_bytes_written_total", "Bytes of their payloads.", http.bytes_in);
    counter("http_deltas_read_total", "Deltas that were read over HTTP.", http.deltas_out);
    counter("http_bytes_read_total", "Bytes of their frames.", http.bytes_out);
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], text).into_response())
}
