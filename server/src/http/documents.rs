//! Documents over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use deltawire_framing::documents::Start;
use deltawire_framing::{DeltaFields, DeltaType, DocId};
use deltawire_hub::store::{Head, Refused};
use deltawire_hub::{AppendError, Place, RejectError};
use futures_util::stream;
use serde_json::{Value, json};

use super::asked::{self, Query};
use super::encoder::Format;
use super::following::{Follow, Following};
use super::gate::{self, Who, require};
use super::problem::Problem;
use super::reading::{Reading, visible};
use super::{Shared, answer};
use crate::config::Access;

/// Documents that are listed in one answer, if nothing is said.
const LISTED: u64 = 1_000;

/// The most.
const MAX_LISTED: u64 = 10_000;

/// Deltas that are read in one answer, if nothing is said.
const READ: u64 = 1_000;

type Document = Result<Path<String>, PathRejection>;

fn document_of(path: Document, uri: &Uri) -> Result<DocId, Problem> {
    match path {
        Ok(Path(text)) => asked::document(&text),
        // It is not even UTF-8.
        Err(_) => asked::document(uri.path()),
    }
}

/// Takes a delta in.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Document,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    require(&who, Access::Write)?;
    let document = document_of(path, &uri)?;
    let query = Query::parse(query.as_deref(), &["type", "timestamp", "wait", "position"])?;
    let mut fields = DeltaFields::new(document);
    if let Some(number) = query.number("type", 0, u64::from(u16::MAX))? {
        fields.delta_type = delta_type(number as u16, &who)?;
    }
    fields.timestamp = query.number("timestamp", 0, u64::MAX)?.unwrap_or_default();
    let position = query.number("position", 1, u64::MAX)?;
    let stored = match query.text("wait") {
        None | Some("appended") => false,
        Some("stored") => true,
        Some(other) => return Err(Problem::invalid("wait", other, "appended or stored")),
    };
    if stored && shared.hub.is_volatile() {
        let detail = "this server keeps documents in memory only: nothing is ever stored";
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "volatile", detail);
        return Err(problem.of("wait", "stored", "appended"));
    }
    if let Some(reason) = shared.not_ready() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", reason);
        return Err(problem.later(Duration::from_secs(5)));
    }
    let limits = shared.limits();
    let body = request.into_body();
    let taken = shared.room.read(&headers, body, limits.max_body, limits.body_timeout).await?;
    let appended = shared.hub.append_at(position, fields, &taken.bytes);
    let len = taken.bytes.len();
    drop(taken);
    let place = appended.map_err(|error| not_appended(error, document))?;
    shared.counted.written(len);
    let mut level = "appended";
    if stored {
        let waiting = shared.hub.stored(&document, place);
        match tokio::time::timeout(limits.stored_timeout, waiting).await {
            Ok(true) => level = "stored",
            Ok(false) => {
                return Err(not_stored(
                    place,
                    "the store takes nothing more, or the document was deleted",
                ));
            }
            Err(_) => return Err(not_stored(place, "the disk is slow")),
        }
    }
    let value = json!({ "epoch": place.epoch, "position": place.position, "level": level });
    Ok(answer(StatusCode::CREATED, &value))
}

fn delta_type(number: u16, who: &Who) -> Result<DeltaType, Problem> {
    let known = [DeltaType::OPAQUE, DeltaType::OPERATIONS, DeltaType::GROUP, DeltaType::SNAPSHOT];
    if let Some(known) = known.into_iter().find(|it| it.get() == number) {
        if known == DeltaType::SNAPSHOT && !who.rights.snapshots {
            return Err(gate::forbidden("this token may write no snapshots"));
        }
        return Ok(known);
    }
    DeltaType::application(number).map_err(|_| {
        let expected = "0 opaque, 1 operations, 2 group, 3 snapshot, or from 256 on";
        Problem::invalid("type", &number.to_string(), expected)
    })
}

fn not_appended(error: AppendError, document: DocId) -> Problem {
    let detail = error.to_string();
    let problem = |status, kind| Problem::new(status, kind, detail.clone());
    match error {
        AppendError::Conflict { expected, next } => problem(StatusCode::CONFLICT, "conflict")
            .of("position", expected, next)
            .with("next", next),
        AppendError::Invalid(_) | AppendError::NoGroup(_) => {
            problem(StatusCode::BAD_REQUEST, "invalid")
        }
        AppendError::Refused(refused) => match refused {
            Refused::TooLong { .. } => {
                problem(StatusCode::PAYLOAD_TOO_LARGE, "too-long").with("field", "body")
            }
            Refused::Full { .. } => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "full").later(Duration::from_secs(1))
            }
            Refused::TooManyDocuments { limit } => problem(
                StatusCode::INSUFFICIENT_STORAGE,
                "too-many-documents",
            )
            .of("document", document.to_string(), limit),
            Refused::ReadOnly(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "read-only"),
            _ => problem(StatusCode::INTERNAL_SERVER_ERROR, "refused"),
        },
        _ => problem(StatusCode::INTERNAL_SERVER_ERROR, "refused"),
    }
}

/// It has its place, and may be lost.
fn not_stored(place: Place, why: &str) -> Problem {
    let detail = format!(
        "the delta is at position {} and is not stored: {why}. It may be stored later: look before sending it again",
        place.position
    );
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "not-stored", detail)
        .with("epoch", place.epoch)
        .with("position", place.position)
        .with("level", "appended")
}

/// Gives deltas: those that there are, or all that come.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Document,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(&who, Access::Read)?;
    let document = document_of(path, &uri)?;
    let query = Query::parse(query.as_deref(), &["from", "epoch", "limit", "follow"])?;
    let follow = query.flag("follow")?;
    let limit = query.number("limit", 1, u64::MAX)?;
    let epoch = query.number("epoch", 0, u64::from(u32::MAX))?;
    let epoch = epoch.map(|epoch| epoch as u32);
    let format = format_of(&headers);
    let head = shared.hub.head(&document);
    let start = match query.text("from") {
        None | Some("oldest") => Start::Oldest,
        Some("latest") => Start::Latest,
        Some("snapshot") => Start::Snapshot,
        Some(text) => {
            let known = text.bytes().all(|byte| byte.is_ascii_digit());
            let position = known.then(|| text.parse::<u64>().ok()).flatten();
            let Some(position) = position.filter(|position| *position > 0) else {
                let expected = "a position from 1 on, or oldest, latest or snapshot";
                return Err(Problem::invalid("from", text, expected));
            };
            let of_head = || head.as_ref().map_or(0, |head| head.epoch.0);
            Start::Position { epoch: epoch.unwrap_or_else(of_head), position }
        }
    };
    if follow {
        return following(&shared, who, document, start, format, limit);
    }
    let Some(head) = head else { return Err(Problem::unknown_document(document)) };
    let earlier = |epoch| shared.hub.until(&document, epoch);
    let at = place_of(&head, earlier, start, visible(&head, shared.deliver))?;
    let hub = shared.hub.clone();
    let (deliver, counted) = (shared.deliver, shared.counted.clone());
    let limit = limit.unwrap_or(READ);
    let reading = Reading::new(hub, document, deliver, format, at, limit, counted);
    let parts = stream::unfold(reading, |mut reading| async move {
        let part = reading.next().await?;
        Some((Ok::<_, std::convert::Infallible>(part), reading))
    });
    Ok(streamed(format, Body::from_stream(parts)))
}

/// Where a reader begins that does not follow; up to which position an `earlier` epoch means the same is asked for.
fn place_of(
    head: &Head,
    earlier: impl Fn(u32) -> Option<u64>,
    start: Start,
    end: u64,
) -> Result<Place, Problem> {
    let epoch = head.epoch.0;
    let position = match start {
        Start::Latest => end,
        Start::Snapshot => head.snapshot.map_or(head.first.0, |snapshot| snapshot.at.0),
        Start::Position { epoch: asked, position } => {
            let same = asked == epoch || earlier(asked).is_some_and(|until| position <= until);
            if !same {
                let detail = format!(
                    "positions of epoch {asked} mean something else now: the document is in epoch {epoch}. Read \
                     it from the oldest, or from the newest snapshot"
                );
                let problem = Problem::new(StatusCode::CONFLICT, "epoch", detail);
                return Err(problem.of("epoch", asked, epoch).with("first", head.first.0));
            }
            if position > head.next.0 {
                let detail = format!("the document goes up to position {}", head.next.0 - 1);
                let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "position", detail);
                return Err(problem.of("from", position, head.next.0));
            }
            position
        }
        Start::Oldest => head.first.0,
    };
    Ok(Place { epoch, position })
}

fn following(
    shared: &Arc<Shared>,
    who: Who,
    document: DocId,
    start: Start,
    format: Format,
    limit: Option<u64>,
) -> Result<Response, Problem> {
    let limits = shared.limits();
    let Ok(permit) = shared.follower_places.clone().try_acquire_owned() else {
        let detail = "the server has as many followers as it takes";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-followers", detail);
        let problem = problem.of("follow", "true", limits.max_followers);
        return Err(problem.later(Duration::from_secs(5)));
    };
    let place = shared.followers.enter(document, who.identity.clone());
    let follow = Follow {
        document,
        identity: who.identity,
        start,
        format,
        limit: limit.unwrap_or(u64::MAX),
        queue: limits.follower_queue,
        heartbeat: limits.heartbeat,
        ending: shared.ending.subscribe(),
        counted: shared.counted.clone(),
        place,
        permit,
    };
    let following = Following::new(&shared.hub, follow).map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-followed", error.to_string())
    })?;
    let parts = stream::unfold(following, |mut following| async move {
        let part = following.next().await?;
        Some((Ok::<_, std::convert::Infallible>(part), following))
    });
    Ok(streamed(format, Body::from_stream(parts)))
}

fn streamed(format: Format, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// Lines for those that ask for them, else frames.
fn format_of(headers: &HeaderMap) -> Format {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepts.flat_map(|value| value.split(','));
    let is_lines = |range: &str| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(super::encoder::LINES)
    };
    if ranges.any(is_lines) { Format::Lines } else { Format::Frames }
}

fn head_value(document: DocId, head: &Head) -> Value {
    json!({
        "document": document.to_string(),
        "epoch": head.epoch.0,
        "first": head.first.0,
        "next": head.next.0,
        "durable": head.durable.0,
        "snapshot": head.snapshot.map(|it| json!({ "at": it.at.0, "covers": it.covers.0 })),
        "records": head.records,
        "bytes": head.bytes,
    })
}

/// Rejects a delta that was taken in.
pub(super) async fn reject(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if !who.rights.delete {
        return Err(gate::forbidden("this needs a token with the access \"admin\""));
    }
    let Ok(Path((document, position))) = path else {
        return Err(Problem::invalid("document", uri.path(), "a UUID and a position"));
    };
    let document = asked::document(&document)?;
    let at = position.parse::<u64>().ok().filter(|at| *at > 0);
    let at = at.ok_or_else(|| Problem::invalid("position", &position, "a position from 1 on"))?;
    let query = Query::parse(query.as_deref(), &["epoch"])?;
    let epoch = query.number("epoch", 0, u64::from(u32::MAX))?.map(|epoch| epoch as u32);
    let head = shared.hub.head(&document).ok_or_else(|| Problem::unknown_document(document))?;
    let place = Place { epoch: epoch.unwrap_or(head.epoch.0), position: at };
    let subject = who.identity.subject();
    let rejected = shared.hub.reject(&document, place, by(subject)).await;
    rejected.map_err(|error| not_rejected(&error, document, place))?;
    tracing::info!(%document, position = at, by = subject, "a delta was rejected");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The first 16 bytes of a subject's name, for the log.
fn by(subject: &str) -> [u8; 16] {
    let mut by = [0; 16];
    by.iter_mut().zip(subject.bytes()).for_each(|(to, from)| *to = from);
    by
}

fn not_rejected(error: &RejectError, document: DocId, place: Place) -> Problem {
    let detail = error.to_string();
    let problem = |status, kind| Problem::new(status, kind, detail.clone());
    match error {
        RejectError::OtherEpoch { asked, epoch } => {
            problem(StatusCode::CONFLICT, "epoch").of("epoch", *asked, *epoch)
        }
        RejectError::Refused(Refused::Unknown { .. }) => Problem::unknown_document(document),
        RejectError::Refused(Refused::NoRecord { next, .. }) => {
            problem(StatusCode::NOT_FOUND, "unknown-delta").of("position", place.position, next.0)
        }
        RejectError::Refused(Refused::Full { .. }) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "full").later(Duration::from_secs(1))
        }
        RejectError::Refused(Refused::ReadOnly(_)) | RejectError::NotStored => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "read-only")
        }
        _ => problem(StatusCode::INTERNAL_SERVER_ERROR, "refused"),
    }
}

/// What there is of a document.
pub(super) async fn head(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Document,
    uri: Uri,
) -> Result<Response, Problem> {
    require(&who, Access::Read)?;
    let document = document_of(path, &uri)?;
    let head = shared.hub.head(&document).ok_or_else(|| Problem::unknown_document(document))?;
    Ok(answer(StatusCode::OK, &head_value(document, &head)))
}

/// Which documents there are, in the order of their names.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    require(&who, Access::Read)?;
    let query = Query::parse(query.as_deref(), &["limit", "after"])?;
    let limit = query.number("limit", 1, MAX_LISTED)?.unwrap_or(LISTED) as usize;
    let after = query.text("after").map(asked::document).transpose()?;
    let Ok(_turn) = shared.lists.acquire().await else {
        let detail = "the server is going away";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail));
    };
    let mut documents = shared.hub.list();
    documents.retain(|document| after.is_none_or(|after| document.0 > after.0));
    let more = documents.len() > limit;
    if more {
        documents.select_nth_unstable_by_key(limit, |document| document.0);
        documents.truncate(limit);
    }
    documents.sort_unstable_by_key(|document| document.0);
    let next = documents.last().filter(|_| more).map(ToString::to_string);
    let documents: Vec<_> = documents.iter().map(ToString::to_string).collect();
    Ok(answer(StatusCode::OK, &json!({ "documents": documents, "next": next })))
}

/// Deletes a document.
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Who>,
    path: Document,
    uri: Uri,
) -> Result<Response, Problem> {
    if !who.rights.delete {
        return Err(gate::forbidden("this needs a token with the access \"admin\""));
    }
    let document = document_of(path, &uri)?;
    if shared.hub.delete(&document) {
        tracing::info!(%document, by = who.identity.subject(), "a document was deleted");
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Problem::unknown_document(document))
}
