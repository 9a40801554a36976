use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_link::runtime::{BindOptions, BoxFuture, Runtime, Timer, UdpSocket};

use crate::clock;

/// Time, tasks and randomness of a window or a worker. It has no sockets.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BrowserRuntime;

impl BrowserRuntime {
    /// The one that there is.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

struct Alarm {
    timer: clock::Timer,
    at: Option<Duration>,
}

impl Timer for Alarm {
    fn set(&mut self, at: Duration) {
        self.at = Some(at);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let now = clock::now();
        if now >= at {
            self.at = None;
            return Poll::Ready(());
        }
        self.timer.wake_at(at, now, context);
        Poll::Pending
    }
}

impl Runtime for BrowserRuntime {
    fn now(&self) -> Duration {
        clock::now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(Alarm { timer: clock::Timer::new(), at: None })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }

    fn bind(&self, _options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        Err(no_sockets())
    }

    fn network_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(crate::online::online())
    }

    fn local_address<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, io::Result<IpAddr>> {
        Box::pin(std::future::ready(Err(no_sockets())))
    }
}

fn no_sockets() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a browser has no sockets")
}
