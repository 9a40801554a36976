//! Where nobody listens, and where a browser does not even try: with a server the page's checks try it.

use deltawire_channels::{Order, Reliability};

use super::*;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const D: Delivery = Delivery { order: Order::Ordered, reliability: Reliability::Reliable };

/// What becomes of it.
async fn end(mut transport: BrowserWebTransport) -> TransportError {
    std::future::poll_fn(|context| {
        transport.attach(context.waker());
        match transport.poll_output() {
            Ok(Output::Timeout(_)) => Poll::Pending,
            Ok(other) => panic!("{other:?}"),
            Err(error) => Poll::Ready(error),
        }
    })
    .await
}

#[wasm_bindgen_test::wasm_bindgen_test]
async fn what_is_not_reached_says_what_to_check() {
    // Nobody listens at the port for discarding.
    let transport =
        BrowserWebTransport::open("https://127.0.0.1:9/links", &[[7; 32]], D, D).unwrap();
    let error = end(transport).await;
    assert_eq!(error.kind(), TransportErrorKind::NotReached);
    assert!(error.to_string().contains("hash"), "{error}");
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn what_is_no_address_is_refused_at_once() {
    for url in ["", "links", "http://127.0.0.1/links", "https://127.0.0.1/links#there"] {
        let error = BrowserWebTransport::open(url, &[], D, D).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::SetUp, "{url}: {error}");
    }
}

#[wasm_bindgen_test::wasm_bindgen_test]
fn one_that_is_closed_before_it_is_open_is_over() {
    let mut transport = BrowserWebTransport::open("https://127.0.0.1:9/links", &[], D, D).unwrap();
    transport.close();
    assert!(transport.finish() && transport.in_flight() == 0);
    assert!(transport.write(Channel::Data, b"x").is_ok());
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
}
