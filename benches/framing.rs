//! The wire beside its baselines: `cargo bench -p deltawire --bench framing`.
//!
//! - `delta-1KiB`: a delta's fields and 1 KiB of payload, written to a buffer and read back, by
//!   Deltawire and by three codecs that do the same job. `headers in place` is Deltawire when the
//!   payload already lies where it will be sent from, which is what it is for.
//! - `message-1MiB`: cut into frames and put together again, beside one `copy_from_slice`.
//! - `crc32c`: the checksum of a delta's bytes.
//! - `packed`: walking a transport message of 100 deltas of 64 B.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use deltawire_framing::{
    Channel, Checksum, Delta, DeltaFields, DeltaWriter, DocId, Fragmenter, Frame, FrameHeader,
    Frames, Kind, Reassembled, Reassembler, ReassemblerLimits, RecordBuf, frame_step,
};
use zerocopy::IntoBytes;

const PAYLOAD: usize = 1_024;
const FRAME: usize = 16 + 48 + PAYLOAD;

fn fields(checksum: Checksum) -> DeltaFields {
    DeltaFields { timestamp: 1, sequence: 2, checksum, ..DeltaFields::new(DocId([7; 16])) }
}

/// Writes both headers in front of the payload that lies in `frame`.
#[inline]
fn write_headers(frame: &mut [u8], fields: &DeltaFields) -> usize {
    let (header, body) = frame.split_at_mut(16);
    let payload_len = body.len() - 48;
    let body_len = DeltaWriter::new(body, *fields).unwrap().finish(payload_len).unwrap();
    let whole = FrameHeader::whole(Kind::Delta, Channel::Data, body_len).unwrap();
    header.copy_from_slice(whole.as_bytes());
    16 + body_len
}

#[inline]
fn read(frame: &[u8]) -> Delta<'_> {
    Frame::parse(frame).unwrap().delta().unwrap()
}

/// The same delta, as a codec sees it.
#[derive(bincode::Encode, bincode::BorrowDecode, serde::Serialize, serde::Deserialize)]
struct Borrowed<'a> {
    doc_id: [u8; 16],
    timestamp: u64,
    sequence: u32,
    delta_type: u16,
    // As bytes: serde would else write one element after another.
    #[serde(borrow, with = "serde_bytes")]
    payload: &'a [u8],
}

/// The same, as rkyv wants it.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Owned {
    doc_id: [u8; 16],
    timestamp: u64,
    sequence: u32,
    delta_type: u16,
    payload: Vec<u8>,
}

fn borrowed(payload: &[u8]) -> Borrowed<'_> {
    Borrowed {
        doc_id: black_box([7; 16]),
        timestamp: black_box(1),
        sequence: black_box(2),
        delta_type: 0,
        payload,
    }
}

fn delta(criterion: &mut Criterion) {
    let payload = vec![7; PAYLOAD];
    let mut buffer = vec![0; FRAME + 64];

    let plain = fields(Checksum::Absent);
    let checked = fields(Checksum::Present);
    let mut group = criterion.benchmark_group("delta-1KiB");
    let mut frame = vec![7; FRAME];
    group.bench_function("deltawire headers in place, write + view", |bencher| {
        bencher.iter(|| {
            let len = write_headers(black_box(&mut frame), black_box(&plain));
            read(black_box(&frame[..len])).payload().len()
        });
    });
    support::print_allocations("deltawire headers in place, write + view", || {
        let len = write_headers(&mut frame, &plain);
        black_box(read(&frame[..len]).payload());
    });

    write_headers(&mut buffer[..FRAME], &checked);
    group.bench_function("deltawire write", |bencher| {
        bencher.iter(|| {
            let frame = black_box(&mut buffer[..FRAME]);
            frame[64..].copy_from_slice(black_box(&payload));
            write_headers(frame, black_box(&plain))
        });
    });
    group.bench_function("deltawire read", |bencher| {
        bencher.iter(|| read(black_box(&buffer[..FRAME])).payload().len());
    });
    group.bench_function("deltawire write with checksum", |bencher| {
        bencher.iter(|| {
            let frame = black_box(&mut buffer[..FRAME]);
            frame[64..].copy_from_slice(black_box(&payload));
            write_headers(frame, black_box(&checked))
        });
    });
    group.bench_function("deltawire read with checksum", |bencher| {
        bencher.iter(|| {
            let delta = read(black_box(&buffer[..FRAME]));
            delta.verify_checksum().unwrap();
            delta.payload().len()
        });
    });

    let config = bincode::config::standard();
    bincode::encode_into_slice(borrowed(&payload), &mut buffer, config).unwrap();
    group.bench_function("bincode write", |bencher| {
        bencher.iter(|| {
            let delta = borrowed(black_box(&payload));
            bincode::encode_into_slice(delta, black_box(&mut buffer), config).unwrap()
        });
    });
    group.bench_function("bincode read", |bencher| {
        bencher.iter(|| {
            let (delta, _): (Borrowed<'_>, _) =
                bincode::borrow_decode_from_slice(black_box(&buffer), config).unwrap();
            delta.payload.len()
        });
    });

    postcard::to_slice(&borrowed(&payload), &mut buffer).unwrap();
    group.bench_function("postcard write", |bencher| {
        bencher.iter(|| {
            let delta = borrowed(black_box(&payload));
            postcard::to_slice(&delta, black_box(&mut buffer)).unwrap().len()
        });
    });
    group.bench_function("postcard read", |bencher| {
        bencher.iter(|| {
            let delta: Borrowed<'_> = postcard::from_bytes(black_box(&buffer)).unwrap();
            delta.payload.len()
        });
    });

    let owned = Owned {
        doc_id: [7; 16],
        timestamp: 1,
        sequence: 2,
        delta_type: 0,
        payload: payload.clone(),
    };
    let mut aligned = rkyv::to_bytes::<rkyv::rancor::Error>(&owned).unwrap();
    group.bench_function("rkyv write", |bencher| {
        bencher.iter(|| {
            aligned.clear();
            let out = black_box(&mut aligned);
            rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(black_box(&owned), out)
                .unwrap()
                .len()
        });
    });
    group.bench_function("rkyv read", |bencher| {
        bencher.iter(|| {
            let bytes = black_box(&aligned[..]);
            rkyv::access::<ArchivedOwned, rkyv::rancor::Error>(bytes).unwrap().payload.len()
        });
    });
    group.finish();
}

/// Sends a message through fragmenter and reassembler; the frames are handed on where they lie.
struct Transfer {
    sent: RecordBuf,
    pool: Vec<RecordBuf>,
    reassembler: Reassembler<RecordBuf>,
    message_id: u32,
}

const MESSAGE: usize = 1 << 20;

impl Transfer {
    fn new() -> Self {
        let mut sent = RecordBuf::with_body_capacity(MESSAGE);
        sent.body_mut().fill(7);
        sent.seal(FrameHeader::whole(Kind::Opaque, Channel::Data, MESSAGE).unwrap()).unwrap();
        Self {
            sent,
            pool: vec![RecordBuf::with_body_capacity(MESSAGE)],
            reassembler: Reassembler::new(ReassemblerLimits::default(), 1),
            message_id: 0,
        }
    }

    fn run(&mut self) {
        self.message_id += 1;
        let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, MESSAGE).unwrap();
        let fragmenter = Fragmenter::new(&whole, self.message_id, 16_384).unwrap();
        for index in 0..fragmenter.count() {
            let message = fragmenter.in_place(self.sent.frame_bytes_mut(), index).unwrap();
            for frame in Frames::new(black_box(&message)) {
                let mut landing = |_: &FrameHeader| self.pool.pop();
                let now = Duration::ZERO;
                let result = self.reassembler.insert(frame.unwrap(), now, &mut landing);
                if let Reassembled::Complete(mut message) = result.unwrap() {
                    message.buffer.seal(message.header).unwrap();
                    black_box(message.buffer.frame_bytes());
                    message.buffer.clear();
                    self.pool.push(message.buffer);
                }
            }
        }
        assert_eq!(self.pool.len(), 1);
    }
}

fn message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message-1MiB");
    group.throughput(Throughput::Bytes(MESSAGE as u64));
    let source = vec![7u8; MESSAGE];
    let mut target = vec![0u8; MESSAGE];
    group.bench_function("copy_from_slice", |bencher| {
        bencher.iter(|| black_box(&mut target).copy_from_slice(black_box(&source)));
    });
    let mut transfer = Transfer::new();
    group.bench_function("deltawire fragment + reassemble", |bencher| {
        bencher.iter(|| transfer.run());
    });
    support::print_allocations("deltawire fragment + reassemble", || transfer.run());
    group.finish();
}

fn crc32c(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for len in [64, 1_024, 16_320, 1 << 20] {
        let mut body = vec![7; 48 + len];
        DeltaWriter::new(&mut body, fields(Checksum::Present)).unwrap().finish(len).unwrap();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("verify {len} B"), |bencher| {
            let delta = Delta::parse(&body).unwrap();
            bencher.iter(|| black_box(delta).verify_checksum().unwrap());
        });
    }
    group.finish();
}

fn packed(criterion: &mut Criterion) {
    const DELTAS: u64 = 100;
    let mut message = Vec::new();
    for _ in 0..DELTAS {
        message.resize(frame_step(message.len()), 0);
        let start = message.len();
        message.resize(start + 64 + 64, 7);
        write_headers(&mut message[start..], &fields(Checksum::Absent));
    }
    let mut group = criterion.benchmark_group("packed");
    group.throughput(Throughput::Elements(DELTAS));
    group.bench_function("walk 100 deltas of 64 B", |bencher| {
        bencher.iter(|| {
            let frames = Frames::new(black_box(&message));
            frames.map(|frame| frame.unwrap().delta().unwrap().payload().len()).sum::<usize>()
        });
    });
    group.bench_function("join 100 deltas of 64 B", |bencher| {
        bencher.iter(|| deltawire_framing::run(black_box(&message), usize::MAX));
    });
    group.bench_function("memcpy of the same bytes", |bencher| {
        bencher.iter_batched_ref(
            || vec![0u8; message.len()],
            |copy| copy.copy_from_slice(black_box(&message)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = delta, message, crc32c, packed
}
criterion_main!(benches);
