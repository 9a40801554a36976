//! Over real data channels, between two connections of one window.

use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{
    RtcDataChannelInit, RtcDataChannelType, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcSessionDescriptionInit,
};

use super::*;

wasm_bindgen_test_configure!(run_in_browser);

const PATIENCE: Duration = Duration::from_secs(20);

fn misused(error: &TransportError) -> Option<u16> {
    error.downcast_ref::<StreamMisuse>().map(|misuse| misuse.stream)
}

/// Two connections, and their channels.
struct Pair {
    ends: [RtcPeerConnection; 2],
    channels: [Vec<RtcDataChannel>; 2],
}

impl Pair {
    fn new() -> Self {
        let ends = [(); 2].map(|()| RtcPeerConnection::new().unwrap());
        for (end, other) in [(0, 1), (1, 0)] {
            // Candidates go straight over.
            let other = ends[other].clone();
            let listener = Closure::<dyn FnMut(RtcPeerConnectionIceEvent)>::new(
                move |event: RtcPeerConnectionIceEvent| {
                    let candidate = event.candidate();
                    let _ = other.add_ice_candidate_with_opt_rtc_ice_candidate(candidate.as_ref());
                },
            );
            ends[end].set_onicecandidate(Some(listener.as_ref().unchecked_ref()));
            listener.forget();
        }
        let channels = [0, 1].map(|end: usize| (0..3).map(|id| channel(&ends[end], id)).collect());
        Self { ends, channels }
    }

    /// Until the other end's channels are open.
    async fn connect(&self) {
        let [a, b] = &self.ends;
        let offer: RtcSessionDescriptionInit = done(a.create_offer()).await.unchecked_into();
        done(a.set_local_description(&offer)).await;
        done(b.set_remote_description(&offer)).await;
        let answer: RtcSessionDescriptionInit = done(b.create_answer()).await.unchecked_into();
        done(b.set_local_description(&answer)).await;
        done(a.set_remote_description(&answer)).await;
        for channel in &self.channels[1] {
            while channel.ready_state() != RtcDataChannelState::Open {
                clock::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// The first end's channels as a link has them.
    fn take(&self) -> Channels {
        let channels = self.channels[0].iter().map(JsValue::from).collect();
        let mut channels = Channels::new(Role::Initiator, false, &channels, Rc::default()).unwrap();
        channels.begin(16_384);
        channels
    }

    /// Both connected, and the first end's channels open.
    async fn open() -> (Self, Channels) {
        let pair = Self::new();
        let mut channels = pair.take();
        pair.connect().await;
        assert_eq!(next(&mut channels).await, Ok(Output::Open));
        (pair, channels)
    }

    /// What comes to the other end over this stream.
    fn heard(&self, number: usize) -> Rc<RefCell<Vec<Vec<u8>>>> {
        let heard = Rc::<RefCell<Vec<Vec<u8>>>>::default();
        let listener = Closure::<dyn FnMut(MessageEvent)>::new({
            let heard = heard.clone();
            move |event: MessageEvent| {
                heard.borrow_mut().push(Uint8Array::new(&event.data()).to_vec());
            }
        });
        self.channels[1][number].set_onmessage(Some(listener.as_ref().unchecked_ref()));
        listener.forget();
        heard
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for end in &self.ends {
            end.close();
        }
    }
}

fn channel(end: &RtcPeerConnection, id: u16) -> RtcDataChannel {
    let options = RtcDataChannelInit::new();
    options.set_negotiated(true);
    options.set_id(id);
    let channel = end.create_data_channel_with_data_channel_dict("test", &options);
    channel.set_binary_type(RtcDataChannelType::Arraybuffer);
    channel
}

async fn done<T: 'static + wasm_bindgen::convert::FromWasmAbi>(promise: js_sys::Promise<T>) -> T {
    JsFuture::from(promise).await.unwrap()
}

/// What the channels give next.
async fn next(channels: &mut Channels) -> Result<Output, TransportError> {
    let limit = clock::now() + PATIENCE;
    loop {
        match channels.poll_output() {
            Ok(Output::Timeout(_)) => {}
            other => return other,
        }
        assert!(clock::now() < limit, "nothing came");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

#[wasm_bindgen_test]
async fn messages_go_both_ways() {
    let (pair, mut channels) = Pair::open().await;
    let (commands, deltas) = (pair.heard(0), pair.heard(1));
    // What the worker does with the bytes afterwards changes nothing.
    let mut message = vec![1; 16_384];
    assert_eq!(channels.write(Channel::Data, &message), Ok(true));
    message.fill(9);
    assert_eq!(channels.write(Channel::Command, &[2; 100]), Ok(true));
    assert!(channels.in_flight() >= 16_484);
    pair.channels[1][0].send_with_u8_array(&[3; 64]).unwrap();
    assert_eq!(
        next(&mut channels).await,
        Ok(Output::Message(Channel::Command, vec![3; 64].into()))
    );
    pair.channels[1][2].send_with_u8_array(&[4; 65_535]).unwrap();
    assert_eq!(
        next(&mut channels).await,
        Ok(Output::Message(Channel::Data, vec![4; 65_535].into()))
    );
    while deltas.borrow().is_empty() || commands.borrow().is_empty() {
        clock::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*deltas.borrow(), [vec![1; 16_384]]);
    assert_eq!(*commands.borrow(), [vec![2; 100]]);
    while channels.in_flight() > 0 {
        clock::sleep(Duration::from_millis(5)).await;
    }
}

#[wasm_bindgen_test]
async fn who_accepts_has_the_other_streams() {
    let pair = Pair::new();
    let array = pair.channels[0].iter().map(JsValue::from).collect();
    let mut channels = Channels::new(Role::Acceptor, false, &array, Rc::default()).unwrap();
    channels.begin(16_384);
    pair.connect().await;
    assert_eq!(next(&mut channels).await, Ok(Output::Open));
    let deltas = pair.heard(2);
    assert_eq!(channels.write(Channel::Data, &[1; 16_384]), Ok(true));
    assert!(channels.in_flight() >= 16_384);
    for (number, channel) in [(0, Channel::Command), (1, Channel::Data)] {
        pair.channels[1][number].send_with_u8_array(&[3; 64]).unwrap();
        let message = Output::Message(channel, vec![3; 64].into());
        assert_eq!(next(&mut channels).await, Ok(message));
    }
    while deltas.borrow().is_empty() {
        clock::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*deltas.borrow(), [vec![1; 16_384]]);
    pair.channels[1][2].send_with_u8_array(&[1]).unwrap();
    let error = next(&mut channels).await.unwrap_err();
    assert!(misused(&error) == Some(2), "{error}");
}

#[wasm_bindgen_test]
async fn the_peer_may_not_use_my_stream() {
    let (pair, mut channels) = Pair::open().await;
    pair.channels[1][1].send_with_u8_array(&[1]).unwrap();
    let error = next(&mut channels).await.unwrap_err();
    assert!(misused(&error) == Some(1), "{error}");
}

#[wasm_bindgen_test]
async fn texts_are_refused() {
    let (pair, mut channels) = Pair::open().await;
    pair.channels[1][0].send_with_str("hello").unwrap();
    let error = next(&mut channels).await.unwrap_err();
    assert!(misused(&error) == Some(0), "{error}");
}

#[wasm_bindgen_test]
async fn what_comes_early_is_bounded() {
    let pair = Pair::new();
    let array = pair.channels[0].iter().map(JsValue::from).collect();
    // The session has not begun.
    let mut channels = Channels::new(Role::Initiator, false, &array, Rc::default()).unwrap();
    pair.connect().await;
    assert_eq!(next(&mut channels).await, Ok(Output::Open));
    for _ in 0..=EARLY / 16_384 {
        pair.channels[1][2].send_with_u8_array(&[0; 16_384]).unwrap();
    }
    // Nothing is taken out before the session begins.
    let limit = clock::now() + PATIENCE;
    while channels.inbox.lost.borrow().is_none() {
        assert!(clock::now() < limit, "as much as comes is kept");
        clock::sleep(Duration::from_millis(5)).await;
    }
    let mut came = 0;
    let error = loop {
        match next(&mut channels).await {
            Ok(Output::Message(_, message)) => {
                // As payloads are promised to lie, whatever the allocator gives.
                assert!(message.as_ptr().addr().is_multiple_of(16));
                came += message.len();
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(came, EARLY);
    assert!(misused(&error) == Some(2), "{error}");
}

#[wasm_bindgen_test]
async fn a_peer_that_goes_is_noticed() {
    let (pair, mut channels) = Pair::open().await;
    pair.ends[1].close();
    assert_eq!(next(&mut channels).await, Ok(Output::Closed));
    // A frame that was on its way out is not a fault.
    while pair.channels[0][1].ready_state() != RtcDataChannelState::Closed {
        clock::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(channels.write(Channel::Data, &[1]), Ok(true));
}
