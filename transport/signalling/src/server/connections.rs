//! One connection of the server, and how many each address has.

use core::pin::{Pin, pin};
use core::time::Duration;
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

use super::ServerLimits;
use crate::answerer::network;
use crate::{MEDIA_TYPE_PROBLEM, Problem};

/// The least that hyper works with.
const MIN_HEAD: usize = 8 << 10;

/// What a time-out of more counts as, so that it can be added to any time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What connections are: what is written waits so long.
pub(super) type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

/// Answers the requests of one connection, until it is as old as may be or `end` is gone.
pub(super) async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    limits: ServerLimits,
    mut end: watch::Receiver<()>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        router.clone().call(request)
    });
    // Answers are written whole; what WebSockets carry must not wait.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "a connection is gone");
        return;
    }
    let mut stream: Stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(limits.write_timeout.min(LONGEST)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout.min(LONGEST))
        .max_buf_size(limits.max_head.max(MIN_HEAD))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let last_request = async {
        // The sender is dropped when the server ends; nothing is ever sent.
        let ending = end.changed();
        drop(tokio::time::timeout(limits.max_age, ending).await);
    };
    let result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = last_request => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(limits.shutdown_timeout, connection).await.ok()
        }
    };
    match result {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%from, %error, "a signalling connection broke"),
        None => tracing::debug!(%from, "a signalling connection was not done in time"),
    }
}

/// How many connections each address has.
#[derive(Clone, Debug)]
pub(super) struct Places {
    limit: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address, if it has not all that one may have.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut taken = self.taken();
        let count = taken.get(&address).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        taken.insert(address, count + 1);
        Some(Place { places: self.clone(), address })
    }

    /// Tells a client that its address has all, as far as it can be told without waiting.
    pub(super) fn refuse(&self, stream: TcpStream) {
        let title = "Too Many Requests".to_owned();
        let kind = format!("{}too-many-connections", Problem::NAMESPACE);
        let detail = format!(
            "your address has {} connections, as many as one may have: close those that are not \
             needed",
            self.limit
        );
        let body = Problem { kind, title, status: 429, detail }.to_json();
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\n\
             Content-Type: {MEDIA_TYPE_PROBLEM}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if let Ok(mut stream) = stream.into_std() {
            // It does not wait: what has just been accepted has room for this.
            let _ = stream.write(answer.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_leaves_nothing_behind() {
        let places = Places::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let held = [places.take(one), places.take(one), places.take(other)];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(one).is_none());
        drop(held);
        assert!(places.taken().is_empty());
        assert!(places.take(one).is_some() && places.taken().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let places = Places::new(1);
        let _held = places.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(places.take("2001:db8::2".parse().unwrap()).is_none());
        assert!(places.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
