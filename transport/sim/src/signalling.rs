//! How offers travel between nodes of a simulation: as reliable requests that take the latency of the way,
//! and find nobody where it is cut. HTTP itself is not simulated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::{
    Answer, Answered, Answerer, Offerer, Refusal, ResourceId, Signaller, SignallingError,
};

use super::Simulation;
use super::executor::Clock;
use super::host::Host;
use super::paths::Paths;

/// After so long nobody is asked any more.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who answers at which address.
#[derive(Clone, Default)]
pub(super) struct Signalling(Arc<Mutex<Table>>);

type Table = BTreeMap<String, (Host, Arc<dyn Server>)>;

/// An [`Answerer`] of any type.
trait Server: Send + Sync {
    fn answer(&self, offer: String, from: Offerer) -> BoxFuture<'_, Result<Answer, Refusal>>;
    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal>;
}

impl<A: Answerer> Server for A {
    fn answer(&self, offer: String, from: Offerer) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(Answerer::answer(self, offer, from))
    }

    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal> {
        Answerer::hang_up(self, id)
    }
}

impl Signalling {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.table());
        drop(all);
    }

    pub(super) fn forget(&self, host: Host) {
        self.table().retain(|_, (of, _)| *of != host);
    }
}

/// Brings the offers of one host's nodes to others: for `NodeBuilder::signaller`. Its addresses are those of
/// [`Simulation::serve`].
#[derive(Clone)]
pub struct HostSignaller {
    host: Host,
    address: std::net::IpAddr,
    clock: Clock,
    paths: Paths,
    signalling: Signalling,
}

impl Simulation {
    /// Brings offers from this host: see [`runtime`](Self::runtime).
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    #[must_use]
    pub fn signaller(&self, host: Host) -> HostSignaller {
        HostSignaller {
            host,
            address: self.address(host),
            clock: self.clock(),
            paths: self.paths.clone(),
            signalling: self.signalling.clone(),
        }
    }

    /// Has a node on this host answer offers to an address, such as `sim://server`.
    pub fn serve(&mut self, host: Host, url: &str, node: impl Answerer) {
        self.signalling.table().insert(url.to_owned(), (host, Arc::new(node)));
    }
}

impl HostSignaller {
    /// Goes to the host that serves this address; `None` where nobody does, or nothing gets there.
    async fn go(&self, url: &str) -> Result<(Host, Arc<dyn Server>), SignallingError> {
        let found = self.signalling.table().get(url).cloned();
        let Some((host, server)) = found else {
            let source = "nobody serves it".into();
            return Err(SignallingError::Unreachable { url: url.to_owned(), source });
        };
        self.pass(self.host, host, url).await?;
        Ok((host, server))
    }

    /// One way.
    async fn pass(&self, from: Host, to: Host, url: &str) -> Result<(), SignallingError> {
        let path = self.paths.get(from, to);
        if path.cut {
            self.clock.sleep(TIMEOUT).await;
            return Err(SignallingError::TimedOut { url: url.to_owned(), after: TIMEOUT });
        }
        self.clock.sleep(path.latency).await;
        Ok(())
    }
}

impl Signaller for HostSignaller {
    fn schemes(&self) -> &[&str] {
        &["sim"]
    }

    fn offer<'a>(
        &'a self,
        url: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<Answered, SignallingError>> {
        Box::pin(async move {
            let (host, server) = self.go(url).await?;
            let from = Offerer::new((self.address, 0).into());
            let answer = server.answer(sdp, from).await;
            self.pass(host, self.host, url).await?;
            match answer {
                Ok(Answer { id, sdp }) => {
                    Ok(Answered { sdp, resource: Some(format!("{url}/{id}")) })
                }
                Err(refusal) => Err(refused(url, &refusal)),
            }
        })
    }

    fn hang_up<'a>(&'a self, resource: &'a str) -> BoxFuture<'a, Result<(), SignallingError>> {
        Box::pin(async move {
            let (url, id) = resource.rsplit_once('/').unwrap_or((resource, ""));
            let (_, server) = self.go(url).await?;
            let id: ResourceId = id.parse().map_err(|_| refused(url, &Refusal::Unknown))?;
            server.hang_up(&id).map_err(|refusal| refused(url, &refusal))
        })
    }

    fn host(&self, url: &str) -> Result<(String, u16), SignallingError> {
        Ok((url.to_owned(), 0))
    }
}

fn refused(url: &str, refusal: &Refusal) -> SignallingError {
    let (status, retry_after) = match refusal {
        Refusal::TooManyPending { .. } => (503, Some(Duration::from_secs(1))),
        Refusal::TooManyPeers { .. } | Refusal::TooManyOfAddress { .. } | Refusal::ShuttingDown => {
            (503, None)
        }
        Refusal::Unknown => (404, None),
        Refusal::Internal { .. } => (500, None),
        _ => (422, None),
    };
    SignallingError::Refused { url: url.to_owned(), status, problem: None, retry_after }
}

impl fmt::Debug for HostSignaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSignaller").field("host", &self.host).finish_non_exhaustive()
    }
}
