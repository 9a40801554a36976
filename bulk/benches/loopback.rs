//! A file over loopback, checked and written, beside what the link carries without bulk and beside a plain copy over TCP.
//!
//! `cargo bench -p deltawire-bulk --features files`: 256 MiB, in `/dev/shm` where that is; `BULK_MIB=1024` for a whole
//! GiB, `BULK_DIR` for another folder. Each three times, in turn; the medians.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deltawire_bulk::{Bulk, BulkOptions, Existing, FileName, Proposal, Sink, Source};
use deltawire_channels::{Command, Peer};
use deltawire_framing::{DeltaFields, DocId};
use deltawire_link::Link;
use deltawire_node::{Admission, Node};

const ROUNDS: usize = 3;
const MESSAGE: usize = 64 << 10;

#[tokio::main]
async fn main() {
    let mib: u64 = std::env::var("BULK_MIB").map_or(256, |mib| mib.parse().unwrap());
    let shm = Path::new("/dev/shm");
    let temporary = || if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let folder = std::env::var("BULK_DIR").map_or_else(|_| temporary(), PathBuf::from);
    let folder = folder.join(format!("deltawire-bulk-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, len) = (folder.join("source"), mib << 20);
    {
        let (mut file, mut random) = (File::create(&source).unwrap(), fastrand::Rng::with_seed(1));
        let mut block = vec![0; 1 << 20];
        for _ in 0..mib {
            random.fill(&mut block);
            file.write_all(&block).unwrap();
        }
    }
    let mut all = [const { Vec::new() }; 4];
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    let mut spent = [0.0; 3];
    for _ in 0..ROUNDS {
        let start = cpu();
        all[0].push(rate(len, plain(&source, &folder.join("plain"))));
        let after_plain = cpu();
        all[1].push(rate(len, raw(len).await));
        let after_raw = cpu();
        let (hashed, moved, times) = bulk(&source, &folder).await;
        for (sum, spent) in
            spent.iter_mut().zip([after_plain - start, after_raw - after_plain, cpu() - after_raw])
        {
            *sum += spent;
        }
        all[2].push(rate(len, moved));
        all[3].push(rate(len, hashed));
        beside.extend(times);
        alone.extend(round_trips_alone().await);
    }
    let [plain, raw, bulk, hashing] = all.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    println!("{mib} MiB in {}", folder.display());
    println!("| | MB/s |");
    println!("|---|---|");
    println!("| plain copy over TCP, from file to file | {plain:.0} |");
    println!("| the link, messages of 64 KiB, no files | {raw:.0} |");
    println!("| bulk, from file to file, checked | {bulk:.0} |");
    println!("| hashing before the offer | {hashing:.0} |");
    let [plain, link, moved] = spent.map(|it| 1e3 * it / (ROUNDS as f64 * mib as f64 / 1_024.0));
    println!(
        "CPU of both ends, ms a GiB: plain {plain:.0}, the link {link:.0}, bulk with hashing {moved:.0}"
    );
    println!("bulk is {:.0} % of the link's own", 100.0 * bulk / raw);
    let (alone, beside) = (percentile(&mut alone), percentile(&mut beside));
    println!("a command's round trip, p95: {alone:.1?} alone, {beside:.1?} beside bulk");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Seconds of CPU that this process has spent; 0 where the system does not say.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let ticks = behind.split(' ').skip(11).take(2).filter_map(|it| it.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn rate(len: u64, took: Duration) -> f64 {
    len as f64 / took.as_secs_f64() / 1e6
}

fn percentile(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 95 / 100]
}

/// Reads, sends, receives and writes in blocks of 64 KiB.
fn plain(from: &Path, to: &Path) -> Duration {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Instant::now();
    let from = from.to_owned();
    let sending = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        copy(&mut File::open(from).unwrap(), &mut stream);
    });
    let (mut stream, _) = listener.accept().unwrap();
    copy(&mut stream, &mut File::create(to).unwrap());
    sending.join().unwrap();
    let took = begun.elapsed();
    std::fs::remove_file(to).unwrap();
    took
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut block = vec![0; MESSAGE];
    loop {
        match from.read(&mut block).unwrap() {
            0 => return,
            len => to.write_all(&block[..len]).unwrap(),
        }
    }
}

async fn link() -> ([(Peer, Link); 2], [Node; 2]) {
    let any = "127.0.0.1:0".parse().unwrap();
    let far = Node::builder().accept_tcp(any, Admission::anyone()).build().unwrap();
    let near = Node::builder().build().unwrap();
    let url = format!("tcp://{}", far.tcp_address().unwrap());
    let (here, there) = tokio::join!(near.connect(&url), far.accept());
    ([here.unwrap(), there.unwrap()], [near, far])
}

async fn raw(len: u64) -> Duration {
    let ([(near, _link), (far, _far_link)], _nodes) = link().await;
    let Peer { mut send, .. } = near;
    let Peer { mut receive, .. } = far;
    let begun = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..len / MESSAGE as u64 {
            let grant = send.reserve_opaque(MESSAGE).await.unwrap();
            grant.commit(MESSAGE).unwrap();
        }
        send
    });
    for _ in 0..len / MESSAGE as u64 {
        receive.next().await.unwrap();
    }
    let took = begun.elapsed();
    drop(sending.await.unwrap());
    took
}

/// How long hashing took, and moving; and round trips of commands meanwhile.
async fn bulk(source: &Path, to: &Path) -> (Duration, Duration, Vec<Duration>) {
    let ([(near, near_link), (far, far_link)], nodes) = link().await;
    let [here, there] =
        nodes.each_ref().map(|it| Bulk::new(it.runtime().clone(), options()).unwrap());
    let (receive, command) = (near.receive, near.command);
    let attending = here.clone();
    tokio::spawn(async move { attending.attend(&near_link, receive).await });
    let (receive, echoing) = (far.receive, tokio::spawn(echo(far.command)));
    let attending = there.clone();
    tokio::spawn(async move { attending.attend(&far_link, receive).await });
    let begun = Instant::now();
    let sent = here.send(Source::file(source), FileName::new("moved").unwrap()).unwrap();
    let Some(Proposal::Offer(offer)) = there.proposals().await else { panic!("no offer") };
    let hashed = begun.elapsed();
    let begun = Instant::now();
    let received = offer.accept(Sink::folder(to, Existing::Refuse)).unwrap();
    let asking = tokio::spawn(round_trips(command, Duration::from_millis(2)));
    received.finished().await.unwrap();
    sent.finished().await.unwrap();
    let moved = begun.elapsed();
    asking.abort();
    echoing.abort();
    let times = core::mem::take(&mut *TIMES.lock().unwrap());
    std::fs::remove_file(to.join("moved")).unwrap();
    (hashed, moved, times)
}

static TIMES: std::sync::Mutex<Vec<Duration>> = std::sync::Mutex::new(Vec::new());

async fn round_trips(mut command: Command, pause: Duration) {
    loop {
        let begun = Instant::now();
        command.send.send(DeltaFields::new(DocId([1; 16])), b"ping").await.unwrap();
        command.receive.next().await.unwrap();
        TIMES.lock().unwrap().push(begun.elapsed());
        tokio::time::sleep(pause).await;
    }
}

async fn echo(mut command: Command) {
    while command.receive.next().await.is_ok() {
        command.send.send(DeltaFields::new(DocId([1; 16])), b"pong").await.unwrap();
    }
}

async fn round_trips_alone() -> Vec<Duration> {
    let ([(near, _link), (far, _far_link)], _nodes) = link().await;
    let echoing = tokio::spawn(echo(far.command));
    let asking = tokio::spawn(round_trips(near.command, Duration::from_millis(2)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    asking.abort();
    echoing.abort();
    core::mem::take(&mut *TIMES.lock().unwrap())
}

/// `BULK_ASKED`: KiB that are asked for at a time.
fn options() -> BulkOptions {
    let mut options = BulkOptions::default();
    if let Ok(asked) = std::env::var("BULK_ASKED") {
        options.max_asked = asked.parse::<usize>().unwrap() << 10;
    }
    options
}
