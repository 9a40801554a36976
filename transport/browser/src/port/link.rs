use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use js_sys::Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelType, RtcIceGatheringState,
    RtcIceServer, RtcPeerConnection, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use super::relay::Relay;
use super::{IceServer, Inner};
use crate::clock;
use crate::envelope::{Envelope, Kind, explain};

/// A connection that the window holds for the worker.
pub(super) struct WindowLink {
    connection: RtcPeerConnection,
    on_state: Closure<dyn FnMut()>,
    /// By stream, if the channels could not be transferred.
    relays: Vec<Relay>,
}

/// How long a connection that the worker has closed stays, so that its last words are sent.
const LINGER: Duration = Duration::from_millis(200);

/// How long candidates are waited for at the most.
const GATHERING: Duration = Duration::from_secs(1);

impl WindowLink {
    /// Makes a connection, gives its channels away in this very task, as later they cannot be
    /// transferred any more, and then its description: an answer, if there is an offer.
    pub(super) fn open(port: &Rc<Inner>, id: u32, request: &Envelope) -> Result<Self, String> {
        let configuration = RtcConfiguration::new();
        let servers: Array = port.options.ice_servers.iter().map(server).collect();
        configuration.set_ice_servers(&servers);
        let connection =
            RtcPeerConnection::new_with_configuration(&configuration).map_err(|error| {
                format!("this browser makes no RTCPeerConnection: {}", explain(&error))
            })?;
        let mut channels = Vec::new();
        for options in request.list("channels") {
            let options: RtcDataChannelInit = options.unchecked_into();
            let channel =
                connection.create_data_channel_with_data_channel_dict("deltawire", &options);
            channel.set_binary_type(RtcDataChannelType::Arraybuffer);
            channels.push(channel);
        }
        let relays = if !port.options.force_relay && transfer(port, id, &channels) {
            Vec::new()
        } else {
            relay(port, id, channels)?
        };
        let on_state = Closure::new({
            let (port, connection) = (Rc::downgrade(port), connection.clone());
            move || {
                let state = connection.connection_state();
                let lost = [RtcPeerConnectionState::Failed, RtcPeerConnectionState::Closed];
                if let Some(port) = port.upgrade().filter(|_| lost.contains(&state)) {
                    port.post(&Envelope::new(id, Kind::Lost));
                }
            }
        });
        connection.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));
        let (port, described) = (Rc::downgrade(port), connection.clone());
        let (offer, gather) = (request.get("sdp").as_string(), request.get("gather").is_truthy());
        spawn_local(async move {
            let description = describe(&described, offer, gather).await;
            let Some(port) = port.upgrade() else { return };
            match description {
                Ok(sdp) => port.post(&Envelope::new(id, Kind::Offer).with("sdp", sdp.into())),
                Err(error) => port.fail(id, &format!("no description: {}", explain(&error))),
            }
        });
        Ok(Self { connection, on_state, relays })
    }

    pub(super) fn is_relayed(&self) -> bool {
        !self.relays.is_empty()
    }

    pub(super) fn answer(&self, port: &Rc<Inner>, id: u32, sdp: &str) {
        let answer = RtcSessionDescriptionInit::new(RtcSdpType::Answer);
        answer.set_sdp(sdp);
        let done = self.connection.set_remote_description(&answer);
        let port = Rc::downgrade(port);
        spawn_local(async move {
            if let Err(error) = JsFuture::from(done).await
                && let Some(port) = port.upgrade()
            {
                port.fail(id, &format!("the answer cannot be used: {}", explain(&error)));
            }
        });
    }

    /// Closes it when its last words are sent.
    pub(super) fn close(self) {
        self.connection.set_onconnectionstatechange(None);
        spawn_local(async move {
            clock::sleep(LINGER).await;
            drop(self);
        });
    }
}

impl Drop for WindowLink {
    fn drop(&mut self) {
        self.connection.set_onconnectionstatechange(None);
        let _ = &self.on_state;
        self.connection.close();
    }
}

/// As the browser takes it.
fn server(IceServer { urls, username, credential, .. }: &IceServer) -> RtcIceServer {
    let server = RtcIceServer::new();
    let urls: Array = urls.iter().map(JsValue::from).collect();
    server.set_urls(&urls);
    // Of STUN there are none.
    if !username.is_empty() {
        server.set_username(username);
        server.set_credential(credential);
    }
    server
}

/// Gives the channels to the worker, if the browser can.
fn transfer(port: &Inner, id: u32, channels: &[RtcDataChannel]) -> bool {
    let channels: Array = channels.iter().map(JsValue::from).collect();
    let envelope = Envelope::new(id, Kind::Channels)
        .with("route", "transferred".into())
        .with("channels", channels.clone().into());
    match port.worker.post_message_with_transfer(envelope.as_message(), &channels) {
        Ok(()) => true,
        Err(error) => {
            tracing::info!(error = explain(&error), "channels cannot be transferred: relaying");
            false
        }
    }
}

/// Keeps the channels, and gives the worker ports to them.
fn relay(port: &Inner, id: u32, channels: Vec<RtcDataChannel>) -> Result<Vec<Relay>, String> {
    let (mut relays, ports) = (Vec::new(), Array::new());
    for channel in channels {
        let (relay, worker_end) = Relay::new(channel, port.payload_bytes.clone())
            .map_err(|error| format!("no MessageChannel: {}", explain(&error)))?;
        ports.push(&worker_end);
        relays.push(relay);
    }
    let envelope = Envelope::new(id, Kind::Channels)
        .with("route", "relayed".into())
        .with("channels", ports.clone().into());
    port.worker
        .post_message_with_transfer(envelope.as_message(), &ports)
        .map_err(|error| format!("ports cannot be transferred: {}", explain(&error)))?;
    Ok(relays)
}

/// The offer, or the answer to one.
async fn describe(
    connection: &RtcPeerConnection,
    offer: Option<String>,
    gather: bool,
) -> Result<String, JsValue> {
    let made = match offer {
        None => connection.create_offer(),
        Some(sdp) => {
            let offer = RtcSessionDescriptionInit::new(RtcSdpType::Offer);
            offer.set_sdp(&sdp);
            JsFuture::from(connection.set_remote_description(&offer)).await?;
            connection.create_answer()
        }
    };
    let description: RtcSessionDescriptionInit = JsFuture::from(made).await?.unchecked_into();
    JsFuture::from(connection.set_local_description(&description)).await?;
    // Else candidates are not waited for: the acceptor learns this side's address from its checks.
    if gather {
        gathered(connection).await;
    }
    let sdp = connection.local_description().map(|description| description.sdp());
    sdp.ok_or_else(|| JsValue::from_str("there is no local description"))
}

/// Waits for candidates: without them a browser does not find another. Chromium takes a tenth of a second, for names that
/// hide this machine's addresses (mDNS), and both as long as STUN takes, if it is asked.
async fn gathered(connection: &RtcPeerConnection) {
    let is_complete = {
        let connection = connection.clone();
        move || connection.ice_gathering_state() == RtcIceGatheringState::Complete
    };
    let (complete, waits) = oneshot::channel();
    let mut complete = Some(complete);
    let on_change = Closure::<dyn FnMut()>::new(move || {
        if is_complete() {
            complete.take();
        }
    });
    connection.set_onicegatheringstatechange(Some(on_change.as_ref().unchecked_ref()));
    if connection.ice_gathering_state() != RtcIceGatheringState::Complete {
        let _: Option<Result<(), _>> = clock::timeout(GATHERING, waits).await;
    }
    connection.set_onicegatheringstatechange(None);
}
