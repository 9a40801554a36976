//! A request's round trip beside a plain command's, over the same kind of link and in the same run.
#![allow(missing_docs)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use deltawire_channels::{Command, Peer};
use deltawire_link::{Link, memory};
use deltawire_node::{Admission, Node, TokioRuntime};
use deltawire_requests::{CallOptions, Incoming, Opened, Requests, RequestsOptions};
use tokio::runtime::Runtime;

const PAYLOAD: &[u8] = &[7; 64];

struct Ends {
    peers: [Peer; 2],
    links: Option<[Link; 2]>,
    _nodes: Vec<Node>,
}

async fn over_tcp() -> Ends {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Node::builder().accept_tcp(any, Admission::anyone()).build().unwrap();
    let client = Node::builder().build().unwrap();
    let url = format!("tcp://{}", server.tcp_address().unwrap());
    let (near, near_link) = client.connect(&url).await.unwrap();
    let (far, far_link) = server.accept().await.unwrap();
    let links = Some([near_link, far_link]);
    Ends { peers: [near, far], links, _nodes: vec![client, server] }
}

async fn in_memory() -> Ends {
    Ends { peers: memory::pair().into(), links: None, _nodes: Vec::new() }
}

fn open(command: Command, link: Option<&Link>) -> Opened {
    let runtime = Arc::new(TokioRuntime::current());
    let options = RequestsOptions::default();
    match link {
        Some(link) => Requests::over_commands(link, command, runtime, options).unwrap(),
        None => Requests::in_process(command, runtime, options).unwrap(),
    }
}

fn round_trips(criterion: &mut Criterion) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime: Runtime = builder.worker_threads(2).enable_all().build().unwrap();
    for kind in ["tcp", "memory"] {
        let ends = |runtime: &Runtime| {
            if kind == "tcp" { runtime.block_on(over_tcp()) } else { runtime.block_on(in_memory()) }
        };
        let mut group = criterion.benchmark_group(format!("round trip over {kind}"));
        let Ends { peers: [near, far], links: _links, _nodes } = ends(&runtime);
        let (mut near_command, mut far_command) = (near.command, far.command);
        runtime.spawn(async move {
            while let Ok(frame) = far_command.receive.next().await {
                let body = frame.body().to_vec();
                far_command.send.send_opaque(&body).await.unwrap();
            }
        });
        group.bench_function("command", |bench| {
            bench.iter(|| {
                runtime.block_on(async {
                    near_command.send.send_opaque(PAYLOAD).await.unwrap();
                    near_command.receive.next().await.unwrap().body().len()
                })
            });
        });
        let other = ends(&runtime);
        let [near, far] = other.peers;
        let links = other.links.as_ref();
        let (near, far) = runtime.block_on(async {
            let near = open(near.command, links.map(|it| &it[0]));
            (near, open(far.command, links.map(|it| &it[1])))
        });
        let mut incoming = far.incoming;
        runtime.spawn(async move {
            while let Some(Incoming::Request(request)) = incoming.next().await {
                let answer = request.payload().to_vec();
                request.respond(&answer).await.unwrap();
            }
        });
        group.bench_function("request", |bench| {
            bench.iter(|| {
                let call = near.requests.call(PAYLOAD, CallOptions::default());
                runtime.block_on(call).unwrap().payload().len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
