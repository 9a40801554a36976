use core::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt;

use super::refuse;

/// How much of a body that is too long is read and dropped, so that its sender gets to read the
/// refusal before the connection is closed.
const DRAINED: usize = 256 << 10;

/// The whole body as text, or why not.
pub(super) async fn read(
    body: Body,
    max_body: usize,
    timeout: Duration,
) -> Result<String, Response> {
    let bytes = tokio::time::timeout(timeout, collect(body, max_body)).await.map_err(|_| {
        let detail = format!("the body did not come within {timeout:?}: send it at once");
        refuse::plain(StatusCode::REQUEST_TIMEOUT, detail)
    })??;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        refuse::malformed(format!("the body must be UTF-8, byte {valid} is not"))
    })
}

async fn collect(mut body: Body, max_body: usize) -> Result<Vec<u8>, Response> {
    let mut bytes = Vec::new();
    let mut len = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| refuse::malformed("the body broke off".to_owned()))?;
        let Some(data) = frame.data_ref() else { continue };
        len = len.saturating_add(data.len());
        if len <= max_body {
            bytes.extend_from_slice(data);
        } else if len > max_body.saturating_add(DRAINED) {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if len <= max_body {
        return Ok(bytes);
    }
    let detail = format!("the body is too long: at most {max_body} bytes are taken");
    Err(refuse::plain(StatusCode::PAYLOAD_TOO_LARGE, detail))
}
