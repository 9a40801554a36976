//! Takes bodies in: within limits for each, and for all at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// What room is counted in, bytes.
const UNIT: usize = 1 << 10;

/// How much of a body that is refused is read and dropped, so that its sender gets to read the refusal.
const DRAINED: usize = 256 << 10;

/// How long that may take.
const DRAINING: Duration = Duration::from_secs(2);

/// Room for the bodies that are coming in.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// A body, and the room that it takes.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    _room: Vec<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let units = max_bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// Reads a whole body, or says why not.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        max: usize,
        timeout: Duration,
    ) -> Result<Taken, Problem> {
        let announced = usize::try_from(axum::body::HttpBody::size_hint(&body).lower());
        if announced.unwrap_or(usize::MAX) > max {
            // Who waits for a word before it sends is told at once.
            if !headers.contains_key(EXPECT) {
                drain(body).await;
            }
            return Err(too_long(announced.ok(), max));
        }
        match tokio::time::timeout(timeout, self.collect(&mut body, max)).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(problem)) => {
                drain(body).await;
                Err(problem)
            }
            Err(_) => {
                let detail = format!("the body did not come within {timeout:?}: send it at once");
                let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail);
                Err(problem.with("field", "body").with("limit", format!("{timeout:?}")))
            }
        }
    }

    async fn collect(&self, body: &mut Body, max: usize) -> Result<Taken, Problem> {
        let mut taken = Taken { bytes: Vec::new(), _room: Vec::new() };
        let mut room = 0_usize;
        while let Some(frame) = body.frame().await {
            let broken = |_| {
                Problem::new(StatusCode::BAD_REQUEST, "broken-body", "the body broke off")
                    .with("field", "body")
            };
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else { continue };
            let len = taken.bytes.len().saturating_add(data.len());
            if len > max {
                return Err(too_long(None, max));
            }
            if len > room {
                // As a vector grows, so does what is taken for it.
                let least = len - room;
                let more = least.max(room.min(max.saturating_sub(room))).div_ceil(UNIT);
                let units = u32::try_from(more).unwrap_or(u32::MAX);
                let permit = self.0.clone().try_acquire_many_owned(units).map_err(|_| {
                    let detail = "the server has as many bodies coming in as it takes at a time";
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-bodies", detail)
                        .with("field", "body")
                        .with("limit", "limits.max_body_bytes")
                        .later(Duration::from_secs(1))
                })?;
                taken._room.push(permit);
                room += more * UNIT;
            }
            taken.bytes.extend_from_slice(data);
        }
        Ok(taken)
    }
}

fn too_long(len: Option<usize>, max: usize) -> Problem {
    let len = len.map_or_else(|| format!("more than {max}"), |len| len.to_string());
    let detail = format!("the body has {len} bytes: at most {max} are taken (limits.max_body)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", detail).of("body", len, max)
}

/// Reads on for a moment: a connection that is closed on somebody who still writes takes the answer with it.
async fn drain(mut body: Body) {
    let rest = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    drop(tokio::time::timeout(DRAINING, rest).await);
}
