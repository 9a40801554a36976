//! What programs that collect figures and traces see of links.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltawire::{Admission, Node};
use deltawire_channels::Limits;
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

/// Figures by name and labels.
#[derive(Clone, Debug, Default)]
struct Figures(Arc<Mutex<BTreeMap<String, f64>>>);

struct Figure(Figures, String);

impl Figures {
    fn named(&self, key: &Key) -> Arc<Figure> {
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        Arc::new(Figure(self.clone(), format!("{}{{{labels}}}", key.name())))
    }

    fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(f64::NAN)
    }
}

impl Figure {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut all = self.0.0.lock().unwrap();
        let figure = all.entry(self.1.clone()).or_default();
        *figure = change(*figure);
    }
}

impl CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.change(|figure| figure + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.change(|figure| figure + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|figure| figure - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Figure {
    fn record(&self, value: f64) {
        self.change(|_| value);
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.named(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.named(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.named(key))
    }
}

/// Fields of the spans named "link", in the order in which they began.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "link"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.0.lock().unwrap();
        values.record(&mut Fields(&mut spans[span.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One test at a time: what a thread without a subscriber finds out of places in the code, tracing remembers for all.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const MESSAGES: usize = 50;
const LEN: usize = 10_000;

/// Sends from one node to another, waits, and closes.
async fn run(linger: Duration) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // They ask each other often enough that the round trip is known.
    let limits = Limits { idle_timeout: Duration::from_secs(1), ..Limits::default() };
    let builder = || Node::builder().limits(limits);
    let server = builder().accept_tcp(any, Admission::anyone()).build().unwrap();
    let client = builder().build().unwrap();
    let url = format!("tcp://{}", server.tcp_address().unwrap());
    let (mut near, link) = client.connect(&url).await.unwrap();
    let (mut far, far_link) = server.accept().await.unwrap();
    for _ in 0..MESSAGES {
        near.send.send(DeltaFields::new(DocId([1; 16])), &[1; LEN]).await.unwrap();
        far.receive.next().await.unwrap();
    }
    tokio::time::sleep(linger).await;
    link.close(CloseCode::NORMAL, "done");
    link.closed().await;
    far_link.closed().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    client.connect(&format!("tcp://{nobody}")).await.unwrap_err();
    tokio::time::sleep(linger).await;
}

#[tokio::test]
async fn figures_are_published_as_links_open_and_end_and_once_a_second() {
    let _alone = ALONE.lock().await;
    let figures = Figures::default();
    let _collecting = metrics::set_default_local_recorder(&figures);
    let running = run(Duration::from_millis(1_300));
    let looking = async {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(figures.get("deltawire_links_open{kind=tcp}"), 2.0, "both ends");
        let before = figures.get("deltawire_sent_messages_total{kind=tcp}");
        assert_eq!(before, MESSAGES as f64, "{figures:?}");
    };
    tokio::join!(running, looking);
    assert_eq!(figures.get("deltawire_links_opened_total{kind=tcp}"), 2.0);
    assert_eq!(figures.get("deltawire_links_ended_total{kind=tcp,reason=closed_by_us}"), 1.0);
    assert_eq!(figures.get("deltawire_links_ended_total{kind=tcp,reason=closed_by_peer}"), 1.0);
    assert_eq!(figures.get("deltawire_links_ended_total{kind=none,reason=stopped}"), 1.0);
    assert_eq!(figures.get("deltawire_links_open{kind=tcp}"), 0.0);
    assert_eq!(figures.get("deltawire_in_flight_bytes{kind=tcp}"), 0.0);
    for direction in ["sent", "received"] {
        let messages = figures.get(&format!("deltawire_{direction}_messages_total{{kind=tcp}}"));
        assert_eq!(messages, MESSAGES as f64, "{direction}");
        let bytes = figures.get(&format!("deltawire_{direction}_bytes_total{{kind=tcp}}"));
        let payloads = (MESSAGES * LEN) as f64;
        assert!((payloads..1.1 * payloads).contains(&bytes), "{direction}: {bytes}");
    }
    assert!(figures.get("deltawire_round_trip_seconds{kind=tcp}") < 1.0);
    let names: Vec<_> = figures.0.lock().unwrap().keys().cloned().collect();
    assert!(names.len() < 20, "none is of one link: {names:?}");
}

#[tokio::test]
async fn a_link_is_a_span_from_its_session_to_its_end() {
    let _alone = ALONE.lock().await;
    let spans = Spans::default();
    let _collecting = tracing::subscriber::set_default(spans.clone());
    run(Duration::ZERO).await;
    let spans = spans.0.lock().unwrap();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (mut by_us, mut by_peer) = (0, 0);
    for span in spans.iter() {
        assert_eq!((&*span["kind"], &*span["id"]), ("\"tcp\"", "link 1"));
        by_us += usize::from(span["reason"].contains("by this side"));
        by_peer += usize::from(span["reason"].contains("by the peer"));
    }
    assert_eq!((by_us, by_peer), (1, 1), "{spans:?}");
}
