//! The table of limits in `docs/LIMITS.md` has the names and defaults of the code.
//!
//! Each field of each struct of limits is compared. Constants are listed here by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use deltawire_channels::session::{ACKNOWLEDGE_EACH, ACKNOWLEDGE_WITHIN, MAX_PONGS};
use deltawire_channels::{Limits, MAX_HANDED_OVER, MAX_SHARED};

use deltawire::bulk::{
    BulkOptions, MAX_ASKED_AGAIN, MAX_ASKS, MAX_PAGES, MAX_WRONG, MAX_WRONG_OF_PIECE,
};
use deltawire::documents::store::LogOptions;
use deltawire::documents::{Archiving, DocumentsOptions, HubOptions};
use deltawire::limits::{
    CONNECT_TIMEOUT, GATHERING, MAX_ASKING, MAX_FROM_RELAY, MAX_ICE_SERVERS, MAX_PROBES,
    MAX_TO_RELAY, MAX_TO_STREAM, MAX_WAITING, REQUESTS, SOCKET_BUFFER, turn,
};
use deltawire::link::{LAST_WORDS, MAX_STREAM_MESSAGE};
use deltawire::requests::{MAX_REFUSAL_REASON, MAX_REPLIES, MESSAGE_OVERHEAD, RequestsOptions};
use deltawire::sdp::{MAX_CANDIDATES, MAX_DESCRIPTION_LEN, MAX_SCTP_INIT_LEN};
use deltawire::signalling::{Rate, RoomLimits, SdpFragment, ServerLimits, SignallingOptions};
use deltawire::webrtc::{
    ADDRESSES_PER_PEER, MAX_DATAGRAM_LEN, MAX_HANDSHAKE, MAX_QUEUE, MAX_SOURCES, records,
    sctp_filter,
};
use deltawire::{NodeLimits, PacingLimits, SessionsLimits};

/// `Limits::max_data_window`, by default.
const WINDOW: u32 = 2 << 20;

const DOCUMENT: &str = include_str!("../docs/LIMITS.md");

/// Rows of the table, first cell without its quotes: the second.
fn documented() -> BTreeMap<String, String> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (name.to_owned(), rest.split(" | ").next().unwrap().to_owned())
    });
    rows.collect()
}

/// Each field by its name, so that one that is added has to be named here; and the constants.
fn in_code() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    assert_eq!(Limits::default().largest_data_window(), u64::from(WINDOW));
    let mut add = |name: &str, value: String| {
        assert_eq!(all.insert(name.to_owned(), value), None, "{name} twice");
    };
    let bytes = |bytes: u64| match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    };
    macro_rules! fields {
        ($type:ident { $($field:ident: $show:expr),* $(,)? }) => {{
            let $type { $($field),* } = $type::default();
            $(add(concat!(stringify!($type), "::", stringify!($field)), $show($field));)*
        }};
    }
    macro_rules! constants {
        ($($name:expr => $value:expr),* $(,)?) => { $(add($name, $value);)* };
    }
    let size = |size: usize| bytes(size as u64);
    let time = |time: Duration| match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    };
    fields!(Limits {
        send_ring: size,
        command_ring: size,
        data_window: bytes,
        max_data_window: bytes,
        command_window: bytes,
        max_frame_len: size,
        max_unfinished: |count: u32| count.to_string(),
        max_arrivals: |count: usize| count.to_string(),
        max_senders: |count: usize| count.to_string(),
        max_idle: time,
        hello_timeout: time,
        idle_timeout: time,
        close_timeout: time,
        loss_timeout: time,
    });
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let count = |count: usize| count.to_string();
    fields!(SessionsLimits {
        resume_timeout: time,
        max_detached: count,
        max_detached_bytes: bytes,
        max_detached_per_owner: count,
    });
    fields!(NodeLimits {
        max_peers: count,
        max_pending: count,
        max_pending_per_address: count,
        max_per_address: count,
        max_events: count,
    });
    fields!(PacingLimits { min: size, max: size });
    fields!(ServerLimits {
        max_connections: count,
        max_connections_per_address: count,
        max_head: size,
        head_timeout: time,
        write_timeout: time,
        max_age: time,
        shutdown_timeout: time,
    });
    fields!(RoomLimits {
        max_name_len: size,
        max_rooms: count,
        max_offers: count,
        max_offers_per_room: count,
        max_acceptors: count,
        max_acceptors_per_room: count,
        max_per_address: count,
        max_per_address_and_room: count,
        max_bytes: size,
        max_len: size,
        wait: time,
    });
    fields!(Rate { burst: |burst: core::num::NonZeroU16| burst.to_string(), refill: time });
    fields!(DocumentsOptions {
        max_open: count,
        max_queued_bytes: size,
        max_unacknowledged_bytes: size,
        presence_interval: time,
    });
    fields!(RequestsOptions {
        max_pending: count,
        max_incoming: count,
        max_incoming_bytes: size,
        max_request_len: size,
        max_answer_len: size,
        answer_window: |len: u32| bytes(len.into()),
        max_streams: count,
        max_stream_len: bytes,
        stream_window: |len: u32| bytes(len.into()),
        max_uncopied: size,
        timeout: time,
    });
    constants! {
        "RequestsOptions::memory_bound" => mebibytes(RequestsOptions::default().memory_bound()),
        "requests::MAX_REPLIES" => count(MAX_REPLIES),
        "requests::MESSAGE_OVERHEAD" => format!("{MESSAGE_OVERHEAD} bytes"),
        "requests::MAX_REFUSAL_REASON" => format!("{MAX_REFUSAL_REASON} bytes"),
        "MAX_HANDED_OVER" => size(MAX_HANDED_OVER),
    }
    let no_bound = |rate: u64| if rate == 0 { "no bound".to_owned() } else { rate.to_string() };
    fields!(BulkOptions {
        max_len: bytes,
        max_pending: count,
        max_active: count,
        max_asked: size,
        max_read_ahead: size,
        piece_len: |len: u32| bytes(len.into()),
        max_rate: no_bound,
        idle_timeout: time,
        answer_timeout: time,
        max_retries: |count: u32| count.to_string(),
    });
    let HubOptions {
        log,
        shards: _,
        deliver: _,
        tail,
        max_tail_bytes,
        max_open_per_peer,
        max_keyed,
        max_present,
        max_presence_len,
        presence_timeout,
        rates,
        ask_timeout,
        adopt_from,
    } = HubOptions::default();
    let LogOptions {
        durability: _,
        retention: _,
        chunk,
        segment,
        max_documents,
        max_record,
        max_hot_bytes,
        max_cold_bytes,
        max_dirty_bytes,
        max_index_bytes,
        compact_below,
        max_writers,
        remember_writers,
    } = log;
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    let Archiving { store: _, prefix: _, keep_bytes, keep_for: None, timeout, max_reads } =
        Archiving::new(store)
    else {
        panic!("segments stay as long as there is room")
    };
    let rate = |rate: u32| if rate == 0 { "no bound".to_owned() } else { rate.to_string() };
    constants! {
        "HubOptions::shards" => "1 to 16".to_owned(),
        "HubOptions::tail" => size(tail),
        "HubOptions::max_tail_bytes" => size(max_tail_bytes),
        "HubOptions::max_open_per_peer" => count(max_open_per_peer),
        "HubOptions::max_keyed" => count(max_keyed),
        "PeerRates::deltas" => rate(rates.deltas),
        "PeerRates::bytes" => rate(rates.bytes),
        "PeerRates::new_documents" => rate(rates.new_documents),
        "HubOptions::max_present" => count(max_present),
        "HubOptions::max_presence_len" => size(max_presence_len),
        "HubOptions::presence_timeout" => time(presence_timeout),
        "HubOptions::ask_timeout" => time(ask_timeout),
        "HubOptions::adopt_from" => size(adopt_from),
        "LogOptions::chunk" => size(chunk),
        "LogOptions::segment" => size(segment),
        "LogOptions::max_documents" => count(max_documents),
        "LogOptions::max_record" => size(max_record),
        "LogOptions::max_hot_bytes" => size(max_hot_bytes),
        "LogOptions::max_cold_bytes" => size(max_cold_bytes),
        "LogOptions::max_dirty_bytes" => size(max_dirty_bytes),
        "LogOptions::max_index_bytes" => size(max_index_bytes),
        "LogOptions::max_writers" => count(max_writers),
        "LogOptions::remember_writers" => time(remember_writers),
        "LogOptions::compact_below" => compact_below.to_string(),
        "Archiving::keep_bytes" => bytes(keep_bytes),
        "Archiving::timeout" => time(timeout),
        "Archiving::max_reads" => count(max_reads),
        "subscribed::MAX_REJECTIONS" => count(stated(SUBSCRIBED, "MAX_REJECTIONS")),
        "subscribed::MAX_REJECTED" => count(stated(SUBSCRIBED, "MAX_REJECTED")),
        "attendant::MAX_ASKING" => count(stated(ATTENDANT, "MAX_ASKING")),
        "attendant::MAX_ANSWERS" => count(stated(ATTENDANT, "MAX_ANSWERS")),
    }
    // Its rate is above; the others bound nothing.
    let SignallingOptions {
        max_body,
        body_timeout,
        authorize_timeout,
        max_rate_keys,
        // None are the default; where there are some, these are theirs.
        rooms: None,
        rate: _,
        token: _,
        cors: _,
        path: _,
        authorizer: _,
        trusted_proxies: _,
    } = SignallingOptions::default()
    else {
        panic!("there are rooms by default");
    };
    constants! {
        "Limits::memory_bound" => mebibytes(Limits::default().memory_bound()),
        "SignallingOptions::max_body" => size(max_body),
        "SignallingOptions::body_timeout" => time(body_timeout),
        "SignallingOptions::authorize_timeout" => time(authorize_timeout),
        "SignallingOptions::max_rate_keys" => count(max_rate_keys),
        "SdpFragment::MAX_CANDIDATES" => count(SdpFragment::MAX_CANDIDATES),
        "SdpFragment::MAX_CANDIDATE_LEN" => size(SdpFragment::MAX_CANDIDATE_LEN),
        "bulk::MAX_ASKS" => count(MAX_ASKS),
        "bulk::MAX_ASKED_AGAIN" => MAX_ASKED_AGAIN.to_string(),
        "bulk::MAX_PAGES" => count(MAX_PAGES),
        "bulk::MAX_WRONG_OF_PIECE" => MAX_WRONG_OF_PIECE.to_string(),
        "bulk::MAX_WRONG" => MAX_WRONG.to_string(),
        "bulk::MAX_CONTROL" => count(stated(BULK, "MAX_CONTROL")),
        "browser::EARLY" => size(stated(CHANNELS, "EARLY")),
        "browser::GATHERING" => time(Duration::from_secs(stated(WINDOW_LINK, "GATHERING") as u64)),
        "websocket::MAX_WAITING" => size(stated(INBOX, "MAX_WAITING")),
        "webtransport::MAX_IN_FLIGHT" => size(stated(WEBTRANSPORT, "MAX_IN_FLIGHT")),
        "webtransport::MEMORY" => size(stated(INCOMING, "MEMORY")),
        "webtransport::MAX_HEADERS" => size(stated(PROLOGUE, "MAX_HEADERS")),
        "webtransport::MAX_SETTINGS" => size(stated(PROLOGUE, "MAX_SETTINGS")),
        "webtransport::MAX_CAPSULE" => format!("{} bytes", stated(PROLOGUE, "MAX_CAPSULE")),
        "webtransport::MAX_SKIPPED" => size(stated(PROLOGUE, "MAX_SKIPPED")),
        "http3::MAX_UNKNOWN" => count(stated(HTTP3, "MAX_UNKNOWN")),
        "http3::MAX_UNIDIRECTIONAL" => count(stated(HTTP3, "MAX_UNIDIRECTIONAL")),
        "http3::DATAGRAMS" => size(stated(HTTP3, "DATAGRAMS")),
        "MAX_STREAM_MESSAGE" => size(MAX_STREAM_MESSAGE),
        "stream::MAX_CONTROL" => size(stated(FRAMING, "MAX_CONTROL")),
        "tickets::MAX_TICKETS" => count(stated(TICKETS, "MAX_TICKETS")),
        "tickets::MAX_OF_ADDRESS" => count(stated(TICKETS, "MAX_OF_ADDRESS")),
        "tickets::LIFETIME" => time(Duration::from_secs(stated(TICKETS, "LIFETIME") as u64)),
        "websocket::UPGRADE_TIMEOUT" =>
            time(Duration::from_secs(stated(UPGRADES, "UPGRADE_TIMEOUT") as u64)),
        "admission::AUTHORIZE_TIMEOUT" =>
            time(Duration::from_secs(stated(ADMISSION, "AUTHORIZE_TIMEOUT") as u64)),
        "preface::MAX_TOKEN_LEN" => size(stated(PREFACE, "MAX_TOKEN_LEN")),
        "preface::MAX_REASON_LEN" => format!("{} bytes", stated(PREFACE, "MAX_REASON_LEN")),
        "unix::BACKLOG" => count(stated(UNIX, "BACKLOG")),
        "quic::MAX_REFUSED" => count(stated(ARRIVING, "MAX_REFUSED")),
        "sctp::MAX_REFUSED" => count(stated(SCTP_ARRIVING, "MAX_REFUSED")),
        "sctp::MAX_TOKEN_LEN" => size(stated(SCTP, "MAX_TOKEN_LEN")),
        "sctp::MAX_UNADMITTED" => size(stated(SCTP, "MAX_UNADMITTED")),
        "sctp::MAX_REASON_LEN" => format!("{} bytes", stated(FAREWELL, "MAX_REASON_LEN")),
        "sctp::COOKIE_LIFE" => time(Duration::from_secs(stated(GATE, "COOKIE_LIFE") as u64)),
        "automatic::MAX_REMEMBERED" => count(stated(AUTOMATIC, "MAX_REMEMBERED")),
        "sdp::MAX_CANDIDATES" => count(MAX_CANDIDATES),
        "link::LAST_WORDS" => time(LAST_WORDS),
        "session::ACKNOWLEDGE_EACH" => bytes(ACKNOWLEDGE_EACH),
        "session::ACKNOWLEDGE_WITHIN" => time(ACKNOWLEDGE_WITHIN),
        "session::MAX_PONGS" => count(MAX_PONGS),
        "MAX_SHARED" => count(MAX_SHARED),
        "NodeBuilder::connect_timeout" => time(CONNECT_TIMEOUT),
        "NodeBuilder::socket_buffer" => size(SOCKET_BUFFER),
        "webrtc::REQUESTS" => count(REQUESTS),
        "NodeBuilder::ice_servers" => count(MAX_ICE_SERVERS),
        "gathering::MAX_ASKING" => count(MAX_ASKING),
        "gathering::GATHERING" => time(GATHERING),
        "gathering::MAX_PROBES" => count(MAX_PROBES),
        "relay::MAX_TO_RELAY" => count(MAX_TO_RELAY),
        "relay::MAX_FROM_RELAY" => count(MAX_FROM_RELAY),
        "relay::MAX_TO_STREAM" => size(MAX_TO_STREAM),
        "turn::MAX_FRAME" => size(turn::MAX_FRAME),
        "turn::MAX_PERMISSIONS" => count(turn::MAX_PERMISSIONS),
        "turn::MAX_CHANNELS" => count(turn::MAX_CHANNELS),
        "turn::MAX_HELD" => count(turn::MAX_HELD),
        "turn::MAX_LIFETIME" => time(turn::MAX_LIFETIME),
        "webrtc::ADDRESSES_PER_PEER" => count(ADDRESSES_PER_PEER),
        "driver::MAX_WAITING" => size(MAX_WAITING),
        "webrtc::MAX_DATAGRAM_LEN" => size(MAX_DATAGRAM_LEN),
        "webrtc::MAX_QUEUE" => size(MAX_QUEUE as usize),
        "webrtc::MAX_HANDSHAKE" => size(MAX_HANDSHAKE),
        "records::MAX_QUEUE" => count(records::MAX_QUEUE),
        "records::MAX_MESSAGE_LEN" => size(records::MAX_MESSAGE_LEN),
        "sdp::MAX_DESCRIPTION_LEN" => size(MAX_DESCRIPTION_LEN),
        "sdp::MAX_SCTP_INIT_LEN" => size(MAX_SCTP_INIT_LEN),
        "webrtc::MAX_SOURCES" => count(MAX_SOURCES),
        "webrtc::max_held" => mebibytes(sctp_filter::max_held(WINDOW) as u64),
        "sctp_filter::max_ahead" => count(sctp_filter::max_ahead(WINDOW)),
        "sctp_filter::max_ahead_bytes" => size(sctp_filter::max_ahead_bytes(WINDOW)),
        "sctp_filter::RESERVE" => count(sctp_filter::RESERVE),
        "sctp_filter::RESERVE_BYTES" => size(sctp_filter::RESERVE_BYTES),
        "sctp_filter::MAX_CHUNKS" => sctp_filter::MAX_CHUNKS.to_string(),
        "sctp_filter::max_forward" => count(sctp_filter::max_forward(WINDOW) as usize),
        "sctp_filter::MAX_INITS" => sctp_filter::MAX_INITS.to_string(),
    }
    all
}

/// Where constants stand that are not public, or of the browser's part, which is not compiled here.
const BULK: &str = include_str!("../bulk/src/driver/state.rs");
const CHANNELS: &str = include_str!("../transport/browser/src/channels.rs");
const WINDOW_LINK: &str = include_str!("../transport/browser/src/port/link.rs");
const INBOX: &str = include_str!("../transport/websocket/src/browser/inbox.rs");
const WEBTRANSPORT: &str = include_str!("../transport/webtransport/src/browser/mod.rs");
const INCOMING: &str = include_str!("../transport/webtransport/src/browser/incoming.rs");
const PROLOGUE: &str = include_str!("../transport/webtransport/src/prologue.rs");
const HTTP3: &str = include_str!("../transport/quic/src/http3.rs");
const FRAMING: &str = include_str!("../transport/stream/src/framing.rs");
const TICKETS: &str = include_str!("../transport/signalling/src/server/tickets.rs");
const UPGRADES: &str = include_str!("../transport/signalling/src/server/websocket.rs");
const ATTENDANT: &str = include_str!("../hub/src/server/attendant/mod.rs");
const SUBSCRIBED: &str = include_str!("../hub/src/client/subscribed.rs");
const ADMISSION: &str = include_str!("../transport/node/src/admission.rs");
const PREFACE: &str = include_str!("../transport/stream/src/preface.rs");
const UNIX: &str = include_str!("../transport/node/src/streams/unix.rs");
const ARRIVING: &str = include_str!("../transport/node/src/quic/hub/arriving.rs");
const SCTP: &str = include_str!("../transport/sctp/src/lib.rs");
const SCTP_ARRIVING: &str = include_str!("../transport/node/src/sctp/arriving.rs");
const FAREWELL: &str = include_str!("../transport/sctp/src/farewell.rs");
const GATE: &str = include_str!("../transport/sctp/src/gate.rs");
const AUTOMATIC: &str = include_str!("../transport/node/src/automatic.rs");

/// A number that a source says a constant has: bytes, a count, or seconds.
fn stated(source: &str, constant: &str) -> usize {
    let start = format!("const {constant}: ");
    let line = source.lines().find_map(|line| line.split_once(&start)).unwrap().1;
    let value = line.split_once(" = ").unwrap().1.trim_end_matches(';').replace('_', "");
    let value = value.trim_start_matches("Duration::fromsecs(").trim_end_matches(')');
    match value.split_once(" << ") {
        Some((number, shift)) => number.parse::<usize>().unwrap() << shift.parse::<u32>().unwrap(),
        None => value.parse().unwrap(),
    }
}

#[test]
fn the_table_has_the_limits_and_their_defaults() {
    assert_eq!(documented(), in_code());
}
