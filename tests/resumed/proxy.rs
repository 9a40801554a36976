//! What stands between two processes, and drops their connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: std::sync::Arc<Mutex<Vec<JoinHandle<()>>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before who listens there.
    pub(crate) async fn before(listening: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = std::sync::Arc::<Mutex<Vec<JoinHandle<()>>>>::default();
        let taken = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let connection = tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(listening).await else { return };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
                taken.lock().unwrap().push(connection);
            }
        });
        Self { address, connections, task }
    }

    /// Drops all connections that there are, with what they hold.
    pub(crate) fn kill(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.kill();
    }
}
