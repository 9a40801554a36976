//! The client before servers that are not what they should be.

use std::error::Error;
use std::time::Duration;

use deltawire::signalling::{
    Answered, ClientOptions, SignallingClient, SignallingError, SignallingOptions,
};

use crate::node::{OFFER, client, fragment, start, url};
use crate::raw::answer_with;

/// What the client makes of a server that answers an offer with these bytes.
async fn offered(answer: impl Into<Vec<u8>>) -> Result<Answered, SignallingError> {
    client(None).offer(&url(answer_with(answer.into()).await), OFFER).await
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

const SDP: &str = "Content-Type: application/sdp\r\n";

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    drop(listener);
    let error = client(None).offer(&url, OFFER).await.unwrap_err();
    assert!(error.to_string().starts_with(&url) && error.to_string().contains("check the address"));
    match &error {
        SignallingError::Unreachable { url: named, .. } => assert_eq!(*named, url),
        other => panic!("{other:?}"),
    }
    let mut causes = std::iter::successors(error.source(), |error| (*error).source());
    assert!(causes.any(|cause| cause.to_string().contains("refused")));
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    let timeout = Duration::from_millis(50);
    let client = SignallingClient::new(ClientOptions { timeout, ..ClientOptions::default() });
    let url = url(answer_with(Vec::new()).await);
    match client.unwrap().offer(&url, OFFER).await.unwrap_err() {
        SignallingError::TimedOut { url: named, after } => {
            assert_eq!((named, after), (url, timeout));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nv"]
    {
        match offered(garbage).await.unwrap_err() {
            SignallingError::Broken { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let long = "é".repeat(1000);
    let moved = answer("301 Moved Permanently", "Location: /other\r\n", "");
    for (bytes, field, value) in [
        (answer("200 OK", SDP, "v=0"), "status", "200"),
        (answer("204 No Content", "", ""), "status", "204"),
        (moved, "status", "301"),
        (answer("201 Created", "", "v=0"), "content-type", ""),
        (answer("201 Created", "Content-Type: text/html\r\n", "v=0"), "content-type", "text/html"),
        (answer("201 Created", SDP, ""), "body", ""),
        (answer("201 Created", SDP, "<html>"), "body", "<html>"),
        (answer("201 Created", SDP, &long), "body", &long[..130]),
        (
            answer("201 Created", &format!("{SDP}Location: http://\r\n"), "v=0"),
            "location",
            "http://",
        ),
        (
            answer("201 Created", &format!("{SDP}Location: ftp://a/\r\n"), "v=0"),
            "location",
            "ftp://a/",
        ),
        (answer("307 Temporary Redirect", "Location: ftp://a/\r\n", ""), "location", "ftp://a/"),
    ] {
        match offered(bytes.clone()).await.unwrap_err() {
            SignallingError::NotAnAnswer { field: about, value: found, .. } => {
                assert_eq!((about, found.as_str()), (field, value), "{bytes}");
            }
            other => panic!("{bytes}: {other:?}"),
        }
    }
    let binary = [answer("201 Created", SDP, "v=0?").as_bytes(), b""].concat();
    let binary: Vec<u8> =
        binary.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect();
    let error = offered(binary).await.unwrap_err();
    assert!(error.to_string().contains("must be UTF-8"), "{error}");
}

#[tokio::test]
async fn answers_are_bounded() {
    let sdp = |len: usize| format!("v=0{}", "x".repeat(len - 3));
    assert!(offered(answer("201 Created", SDP, &sdp(65_536))).await.is_ok());
    let endless = format!("HTTP/1.1 201 Created\r\n{SDP}\r\n{}", sdp(1 << 20));
    for bytes in [answer("201 Created", SDP, &sdp(65_537)), endless] {
        match offered(bytes).await.unwrap_err() {
            SignallingError::TooLong { limit, .. } => assert_eq!(limit, 65_536),
            other => panic!("{other:?}"),
        }
    }
    let problem = "Content-Type: application/problem+json\r\n";
    match offered(answer("500 Oops", problem, &sdp(100_000))).await.unwrap_err() {
        SignallingError::Refused { status: 500, problem: None, retry_after: None, .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refusals_without_a_problem_are_told_too() {
    let problem = "Content-Type: application/problem+json\r\n";
    for (headers, body) in [("", "{}"), (problem, "{"), ("Content-Type: text/html\r\n", "<html>")] {
        let headers = format!("{headers}Retry-After: 7\r\n");
        let error = offered(answer("503 Busy", &headers, body)).await.unwrap_err();
        assert!(error.to_string().ends_with("/webrtc refused with status 503 (try again in 7s)"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
    let date = "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n";
    let body = r#"{"title":"Busy","detail":"come\nback \u001b[31mlater"}"#;
    let bytes = answer("503 Busy", &format!("{problem}{date}"), body);
    let error = offered(bytes).await.unwrap_err();
    assert!(error.to_string().ends_with("refused with status 503: comeback [31mlater"));
    assert_eq!(error.retry_after(), None);
}

#[tokio::test]
async fn a_wrong_path_is_named_with_what_to_check() {
    let url = url(answer_with(answer("404 Not Found", "", "").into()).await);
    let error = client(None).offer(&url, OFFER).await.unwrap_err().to_string();
    assert!(error.starts_with(&url) && error.contains("404"), "{error}");
    assert!(error.contains("check the path, /webrtc by default"), "{error}");
    let (_node, address) = start(SignallingOptions::default()).await;
    let wrong = format!("http://{address}/rtc");
    let error = client(None).offer(&wrong, OFFER).await.unwrap_err().to_string();
    assert!(error.starts_with(&wrong) && error.contains("POST offers to /webrtc"), "{error}");
}

#[tokio::test]
async fn a_server_need_not_name_a_resource() {
    let answered = offered(answer("201 Created", SDP, "v=0\r\n")).await.unwrap();
    assert_eq!(answered, Answered { sdp: "v=0\r\n".to_owned(), resource: None });
}

#[tokio::test]
async fn redirects_are_followed_but_the_token_stays() {
    let (node, there) = start(SignallingOptions::default()).await;
    let to_there = format!("Location: {}\r\n", url(there));
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let here = answer_with(answer(status, &to_there, "").into()).await;
        let answered = client(None).offer(&url(here), OFFER).await.unwrap();
        let resource = answered.resource.unwrap();
        assert!(resource.as_str().starts_with(&url(there)));
        match client(Some("token")).offer(&url(here), OFFER).await.unwrap_err() {
            SignallingError::Redirected { from, to } => {
                assert_eq!((from, to), (url(here), url(there)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(node.offers.lock().unwrap().len(), 2);

    let circle = answer("307 Temporary Redirect", "Location: /webrtc\r\n", "");
    let circle = url(answer_with(circle.into()).await);
    let error = client(Some("token")).offer(&circle, OFFER).await.unwrap_err();
    assert!(matches!(error, SignallingError::NotAnAnswer { field: "redirects", .. }), "{error}");

    let elsewhere = answer("201 Created", &format!("{SDP}{to_there}"), "v=0");
    let elsewhere = url(answer_with(elsewhere.into()).await);
    assert!(client(None).offer(&elsewhere, OFFER).await.is_ok());
    let error = client(Some("token")).offer(&elsewhere, OFFER).await.unwrap_err();
    assert!(error.to_string().contains("the token goes to no other"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_not() {
    let client = client(None);
    for url in ["", "localhost", "ftp://localhost/", "http://a:b@localhost/webrtc"] {
        let error = client.offer(url, OFFER).await.unwrap_err();
        assert!(matches!(error, SignallingError::Url { .. }), "{error}");
    }
    let mut fragment = fragment();
    fragment.candidates.push("candidate:\r\nDELETE".to_owned());
    let resource = "http://127.0.0.1:9/webrtc/x";
    let error = client.add_candidates(resource, &fragment).await.unwrap_err();
    assert!(matches!(error, SignallingError::SdpFragment(_)), "{error}");
}
