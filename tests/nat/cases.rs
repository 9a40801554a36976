//! What is tried, and the table of how it went.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use deltawire::Node;
use deltawire::signalling::{RoomLimits, SignallingOptions, SignallingServer};

use crate::coturn::{Coturn, PASSWORD};
use crate::lab::{Nat, Process, SERVERS, Side, between};
use crate::{ROLE, ends};

const PORT: u16 = 3_478;
/// Of the server that forgets soon.
const FORGETFUL: u16 = 3_479;

/// How long a case may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Case {
    name: &'static str,
    /// Before who accepts, and who connects.
    nats: [Nat; 2],
    servers: Servers,
    engine: &'static str,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    Nobody,
    Stun,
    TurnOverUdp,
    TurnOverTcp,
    /// That listens at no such port, and one that does over TCP.
    SilentAndTcp,
    WrongPassword,
    Forgetful,
}

enum Expected {
    /// It opens, and who connects has its peer there, if that is told.
    Opens,
    /// It does not, and the error names this.
    Fails(&'static str),
}

const CASES: [Case; 12] = {
    use Expected::{Fails, Opens};
    const LEAN: &str = "lean";
    const fn case(
        name: &'static str,
        nats: [Nat; 2],
        servers: Servers,
        engine: &'static str,
        expected: Expected,
    ) -> Case {
        Case { name, nats, servers, engine, expected }
    }
    let symmetric = [Nat::Symmetric; 2];
    let blocked = [Nat::WithoutUdp; 2];
    [
        case("no NAT, no servers", [Nat::None; 2], Servers::Nobody, LEAN, Opens),
        case("who accepts behind NAT, STUN", [Nat::Cone, Nat::None], Servers::Stun, LEAN, Opens),
        case("who connects behind NAT, STUN", [Nat::None, Nat::Cone], Servers::Stun, LEAN, Opens),
        case("both behind NAT, no servers", [Nat::Cone; 2], Servers::Nobody, LEAN, Fails("not")),
        case("both behind NAT, STUN", [Nat::Cone; 2], Servers::Stun, LEAN, Opens),
        case("symmetric NAT on both, STUN only", symmetric, Servers::Stun, LEAN, Fails("not")),
        case("symmetric NAT on both, TURN over UDP", symmetric, Servers::TurnOverUdp, LEAN, Opens),
        case("the same, on str0m", symmetric, Servers::TurnOverUdp, "str0m", Opens),
        case("no UDP gets out, TURN over TCP", blocked, Servers::TurnOverTcp, LEAN, Opens),
        case("TURN at a silent port, and over TCP", symmetric, Servers::SilentAndTcp, LEAN, Opens),
        case("TURN, its nonces and addresses soon old", symmetric, Servers::Forgetful, LEAN, Opens),
        case(
            "TURN with a wrong password",
            symmetric,
            Servers::WrongPassword,
            LEAN,
            Fails(
                "turn:198.51.100.1:3478: the server does not take the username or the credential (401",
            ),
        ),
    ]
};

impl Servers {
    fn urls(self) -> String {
        let turn = format!("turn:{SERVERS}:{PORT}");
        match self {
            Self::Nobody => String::new(),
            Self::Stun => format!("stun:{SERVERS}:{PORT}"),
            Self::TurnOverUdp => format!("{turn}@{PASSWORD}"),
            Self::TurnOverTcp => format!("{turn}?transport=tcp@{PASSWORD}"),
            Self::SilentAndTcp => {
                format!("turn:{SERVERS}:9@{PASSWORD} {turn}?transport=tcp@{PASSWORD}")
            }
            Self::WrongPassword => format!("{turn}@wrong"),
            Self::Forgetful => format!("turn:{SERVERS}:{FORGETFUL}@{PASSWORD}"),
        }
    }
}

pub(crate) fn run() {
    between();
    let sides = [Side::new(1), Side::new(2)];
    let _coturn = Coturn::start(PORT, &[]);
    let forgetful =
        Coturn::start(FORGETFUL, &["--verbose", "--stale-nonce=2", "--max-allocate-lifetime=4"]);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let url = runtime.block_on(async {
        let node = Node::builder().build().unwrap();
        let rooms = Some(RoomLimits::default());
        let router = node.router(SignallingOptions { rooms, ..SignallingOptions::default() });
        let listen = format!("{SERVERS}:0").parse().unwrap();
        let server = SignallingServer::bind(listen, router).await.unwrap();
        let url = format!("http://{}/webrtc/rooms/", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        url
    });
    println!(
        "| case | opened after, s | MB/s, there and back | round trip, ms |\n|---|---|---|---|"
    );
    let mut failures = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let row = match try_case(case, &sides, &format!("{url}{number}")) {
            Ok(row) => row,
            Err(why) => {
                failures.push(format!("{}: {why}", case.name));
                "FAILED | | |".to_owned()
            }
        };
        println!("| {} | {row}", case.name);
    }
    // Not that it was just never asked again.
    let log = forgetful.log();
    for said in ["error 438: Stale nonce", "REFRESH processed, success"] {
        if !log.contains(said) {
            failures.push(format!("the forgetful server never said {said:?}"));
        }
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    assert!(failures.is_empty(), "{} of {} cases failed", failures.len(), CASES.len());
}

fn try_case(case: &Case, sides: &[Side; 2], url: &str) -> Result<String, String> {
    for (side, nat) in sides.iter().zip(case.nats) {
        side.become_a(nat);
    }
    let seconds = if case.servers == Servers::Forgetful { "9" } else { "0" };
    let start = |at: usize, role: &str| {
        let (address, mut command) = sides[at].place(case.nats[at]);
        command.env(ROLE, role).env(ends::URL, url).env(ends::ADDRESS, address);
        command.env(ends::ICE_SERVERS, case.servers.urls()).env(ends::ENGINE, case.engine);
        command.env(ends::SECONDS, seconds).stdout(Stdio::piped());
        Process(command.spawn().unwrap())
    };
    let mut acceptor = start(0, "accept");
    let mut connector = start(1, "connect");
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = connector.0.try_wait().unwrap() {
            break ended;
        }
        if begun.elapsed() > PATIENCE {
            return Err("it takes too long".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    connector.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let _ = acceptor.0.kill();
    let mut told = String::new();
    acceptor.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    if !ended.success() {
        return Err(format!("who connects: {ended}"));
    }
    let mut words = said.split_whitespace();
    match (&case.expected, words.next()) {
        (Expected::Opens, Some("ok")) => {
            let cells: Vec<_> = words.take(3).collect();
            Ok(format!("{} |", cells.join(" | ")))
        }
        (Expected::Fails(why), Some(first)) if first != "ok" => {
            // Who accepts is told of its servers as well.
            let is_told = case.servers != Servers::WrongPassword || told.contains(why);
            match said.contains(why) && is_told {
                true => Ok("not reached, as it should be | | |".to_owned()),
                false => {
                    Err(format!("it says {said:?}, and who accepts {told:?}, without {why:?}"))
                }
            }
        }
        _ => Err(format!("it says {said:?}, and who accepts {told:?}")),
    }
}
