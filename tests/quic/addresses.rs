//! Hosts that have several addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use deltawire::link::Runtime;
use deltawire::link::runtime::{BindOptions, BoxFuture, Timer, UdpSocket as RuntimeSocket};
use deltawire::{ConnectError, LinkEnded, Node, TokioRuntime};

use crate::lab::{server, soon};

/// A host that knows one name, and may have no IPv6.
#[derive(Debug)]
struct Names {
    inner: TokioRuntime,
    addresses: Vec<SocketAddr>,
    has_ipv6: bool,
}

impl Runtime for Names {
    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.inner.timer()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.random(bytes)
    }

    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn RuntimeSocket>> {
        match options.address.is_ipv6() && !self.has_ipv6 {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => self.inner.bind(options),
        }
    }

    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        assert_eq!(host, "host.example");
        Box::pin(std::future::ready(Ok(self.addresses.clone())))
    }

    fn local_address<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<IpAddr>> {
        self.inner.local_address(host, port)
    }
}

fn client(addresses: Vec<SocketAddr>, has_ipv6: bool) -> Node {
    let names = Names { inner: TokioRuntime::current(), addresses, has_ipv6 };
    Node::builder().runtime(names).connect_timeout(Duration::from_secs(3)).build().unwrap()
}

const URL: &str = "quic://host.example:4000";

#[tokio::test]
async fn a_family_that_this_host_lacks_is_passed_over() {
    let server = server();
    let there = server.addresses().next().unwrap();
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, there.port()));
    let begun = Instant::now();
    let node = client(vec![ipv6, there], false);
    soon("link", node.connect(URL)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(250), "at once: {:?}", begun.elapsed());
    let outcome = soon("error", client(vec![ipv6], false).connect(URL)).await;
    assert!(matches!(outcome, Err(ConnectError::Socket { address, .. }) if address.is_ipv6()));
    let outcome = soon("error", client(Vec::new(), true).connect(URL)).await;
    assert!(matches!(outcome, Err(ConnectError::Host { .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_address_that_says_nothing_holds_nobody_up() {
    let server = server();
    let there = server.addresses().next().unwrap();
    // They take what comes, and do not answer.
    let silent = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [first, second] = silent.each_ref().map(|socket| socket.local_addr().unwrap());
    let begun = Instant::now();
    let node = client(vec![first, second, there], true);
    let (_near, link) = soon("link", node.connect(URL)).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500), "each has a head start: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(link.remote_address(), Some(there));
    let begun = Instant::now();
    let outcome = soon("end", client(vec![first, second], true).connect(URL)).await;
    assert!(matches!(outcome, Err(ConnectError::Ended(LinkEnded::NotReached(_)))), "{outcome:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(3_500), "all within one time-out: {took:?}");
}
