//! Browsers that lack something: what the page says of it.

use std::time::Duration;

use anyhow::ensure;

use super::install::Browser;
use super::report::print_results;
use super::session::Session;

/// A link has ten seconds to open.
const PATIENCE: Duration = Duration::from_secs(30);

/// As in a browser that starts no workers.
const NO_WORKER: &str = "delete window.Worker";

/// As in a browser that was built without WebRTC, or where an extension takes it away.
const NO_WEBRTC: &str = "delete window.RTCPeerConnection";

/// As in a browser that does not know how to transfer data channels.
const NO_TRANSFER: &str = "
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, transfer) {
        if (transfer?.some?.(it => it instanceof RTCDataChannel)) {
            throw new DOMException('RTCDataChannel could not be cloned.', 'DataCloneError');
        }
        return post.call(this, message, transfer);
    }";

/// A server whose datagrams are lost: no candidate of its leads to it.
const NO_PATH: &str = "
    const set = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        sdp = sdp.replace(/^(a=candidate:\\S+ \\d+ udp \\d+ \\S+) \\d+/gmi, '$1 9');
        return set.call(this, { type, sdp });
    }";

/// Tries them, and prints how it went.
pub(super) fn run(session: &mut Session, browser: Browser, url: &str) -> bool {
    let websocket = &format!("{url}?websocket");
    let results = match browser {
        Browser::Chromium => vec![
            ("no workers", without(session, url, NO_WORKER, "starts no worker")),
            ("no WebRTC", without(session, url, NO_WEBRTC, "makes no RTCPeerConnection")),
            ("no WebRTC, but WebSocket", without(session, websocket, NO_WEBRTC, "connected")),
            ("no way to transfer a data channel", relayed(session, url)),
            ("no path to the server", without(session, url, NO_PATH, "was not reached within")),
        ],
        Browser::Firefox => vec![
            ("no WebRTC", disabled(session, url, WEBRTC, "makes no RTCPeerConnection")),
            ("no WebRTC, but WebSocket", disabled(session, websocket, WEBRTC, "connected")),
            // It says what to do.
            ("no path to the server", disabled(session, url, LOOPBACK, "--lan")),
        ],
    };
    print_results("browsers that lack something", &results)
}

const WEBRTC: &str = "media.peerconnection.enabled";

const LOOPBACK: &str = "media.peerconnection.ice.loopback";

/// Opens the page in a Chromium without something.
fn without(session: &mut Session, url: &str, lack: &str, wanted: &str) -> anyhow::Result<String> {
    let lack = session.before_pages(lack)?;
    let said = session
        .open(url)
        .and_then(|()| session.wait_for_text("state", PATIENCE, |it| it.contains(wanted)));
    session.no_longer(&lack)?;
    Ok(format!("the page says: {}", said?))
}

/// Opens the page in a Firefox that has something switched off.
fn disabled(
    session: &mut Session,
    url: &str,
    preference: &str,
    wanted: &str,
) -> anyhow::Result<String> {
    session.prefer(preference, false)?;
    let said = session
        .open(url)
        .and_then(|()| session.wait_for_text("state", PATIENCE, |it| it.contains(wanted)));
    session.prefer(preference, true)?;
    Ok(format!("the page says: {}", said?))
}

fn relayed(session: &mut Session, url: &str) -> anyhow::Result<String> {
    without(session, url, NO_TRANSFER, "connected")?;
    let route = session.wait_for_text("route", PATIENCE, |route| route != "–")?;
    ensure!(route == "relayed", "the page says that its channels are {route}");
    Ok("the window relays".to_owned())
}
