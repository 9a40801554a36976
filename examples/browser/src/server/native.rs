use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use deltawire::prelude::*;
use deltawire::signalling::{RoomLimits, SignallingOptions, SignallingServer, Token};
use deltawire::webrtc::EngineKind;
use deltawire::{Admission, IceServer, LinkChange};
use deltawire_browser_demo::service::{self, Error};

/// Serves the page, signalling, the board and the echo.
#[derive(Parser)]
struct Arguments {
    /// Folder with the page.
    #[arg(long)]
    site: PathBuf,
    /// TCP port of the page and of signalling; 0 takes any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder that keeps the board. Default: it is kept in memory.
    #[arg(long)]
    board: Option<PathBuf>,
    /// Address at which links reach it, if it is another one than where it listens.
    #[arg(long)]
    advertise: Option<IpAddr>,
    /// Can be reached from this machine's network too, by anybody. Default: from this machine only.
    #[arg(long)]
    lan: bool,
    /// Runs links over WebRTC on str0m's engine. Default: on the lean one.
    #[arg(long)]
    str0m: bool,
    /// Instead accepts in a room of another server's, and serves who connects there.
    #[arg(long)]
    accept: Option<String>,
    /// Where it accepts in a room.
    #[arg(long, default_value = "127.0.0.1:0", requires = "accept")]
    listen: SocketAddr,
    /// Accepts in a room with an address at this TURN server, such as turn:example.org.
    #[arg(long, requires = "accept", requires = "turn_user")]
    turn: Option<String>,
    /// Its name and its password there, with a colon between.
    #[arg(long)]
    turn_user: Option<String>,
    /// Instead connects to who accepts in a room of another server's, tries the link and closes it.
    #[arg(long)]
    meet: Option<String>,
}

/// What `/guarded/webrtc` asks for, so that the page can try how a refusal looks.
const TOKEN: &str = "only-for-the-demo";

pub(super) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), Error> {
    let engine = if arguments.str0m { EngineKind::Str0m } else { EngineKind::Lean };
    let mut builder = Node::builder().limits(service::limits()).engine(engine);
    let user = arguments.turn_user.as_deref().and_then(|user| user.split_once(':'));
    if let Some((turn, (name, password))) = arguments.turn.as_deref().zip(user) {
        builder = builder.ice_servers([IceServer::new(turn).with_credentials(name, password)]);
    }
    match (&arguments.accept, &arguments.meet) {
        (Some(room), _) => return super::rooms::accept(builder, arguments.listen, room).await,
        (_, Some(room)) => return super::rooms::meet(builder, room).await,
        _ => {}
    }
    let files = Arc::new(read(&arguments.site)?);
    let local = if arguments.lan { lan_address()? } else { Ipv4Addr::LOCALHOST.into() };
    let node = builder
        .listen((local, 0).into())
        .advertise(arguments.advertise)
        .accept_webtransport(Admission::anyone())
        .build()?;
    let guarded = SignallingOptions {
        token: Some(Token::new(TOKEN)?),
        path: "/guarded/webrtc".parse()?,
        ..SignallingOptions::default()
    };
    // Where pages connect to one another.
    let rooms =
        SignallingOptions { rooms: Some(RoomLimits::default()), ..SignallingOptions::default() };
    let router = Router::new()
        .merge(node.router(rooms))
        .merge(node.router(guarded))
        .merge(super::unordered::open(local, engine)?)
        .merge(super::board::open(local, arguments.board.as_deref())?)
        .fallback(move |uri: Uri| std::future::ready(file(&files, uri.path())));
    let address = SocketAddr::new(local, arguments.port);
    let server = SignallingServer::bind(address, router).await?;
    println!("open http://{}/ in a browser ; Ctrl+C ends", server.local_addr());
    for address in node.addresses() {
        println!("links over WebRTC reach {address}");
    }
    tokio::spawn(server.serve(std::future::pending()));
    while let Some((peer, link)) = node.accept().await {
        println!("{}: connected", link.id());
        tokio::spawn(tell(link.clone()));
        tokio::spawn(async move {
            if let Err(error) = service::serve(peer).await {
                println!("{}: {error}", link.id());
            }
        });
    }
    Ok(())
}

/// Prints what becomes of a link.
pub(super) async fn tell(link: Link) {
    let (id, mut changes) = (link.id(), link.changes());
    loop {
        match changes.next().await {
            LinkChange::Down { why } => println!("{id}: down, {why}"),
            LinkChange::Resumed(resumed) => {
                println!("{id}: went on over {} after {:.1?}", resumed.kind, resumed.after);
            }
            LinkChange::Over(ended) => return println!("{id}: {ended}"),
            _ => {}
        }
    }
}

/// The address that this machine's network knows it by. Nothing is sent.
fn lan_address() -> std::io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

type Files = HashMap<String, (&'static str, Vec<u8>)>;

/// All files of the page, by path.
fn read(site: &Path) -> Result<Files, Error> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(site).map_err(|error| format!("{}: {error}", site.display()))? {
        let path = entry?.path();
        let media_type = match path.extension().and_then(|extension| extension.to_str()) {
            Some("css") => "text/css",
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript",
            Some("wasm") => "application/wasm",
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(format!("/{name}"), (media_type, std::fs::read(&path)?));
    }
    Ok(files)
}

fn file(files: &Files, path: &str) -> Response {
    let path = if path == "/" { "/index.html" } else { path };
    let Some((media_type, bytes)) = files.get(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        ("content-type", *media_type),
        ("cache-control", "no-cache"),
        // A page that shares memory with no other origin gets a finer clock.
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    (headers, bytes.clone()).into_response()
}
