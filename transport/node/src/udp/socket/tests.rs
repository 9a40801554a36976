use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::*;

/// What a socket took: each call's bytes, and how long its datagrams are.
#[derive(Clone, Debug, Default)]
struct Taken(Arc<Mutex<Vec<(usize, usize)>>>);

impl Taken {
    fn take(&self) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A system that fails in one way.
#[derive(Debug)]
struct Faulty {
    taken: Taken,
    /// The error of calls with several datagrams.
    several: Option<i32>,
    /// Calls with a source fail.
    foreign: bool,
    /// Calls that it takes until it has no room.
    room: usize,
    /// Whether waiting for room fails.
    broken: bool,
}

impl UdpSocket for Faulty {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([0, 0, 0, 0], 1)))
    }

    fn max_segments(&self) -> usize {
        64
    }

    fn poll_receive(
        &mut self,
        _: &mut [IoSliceMut<'_>],
        _: &mut [Received],
        _: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()> {
        let (len, segment) = (datagrams.bytes.len(), datagrams.segment);
        match self.several {
            Some(error) if len > segment => return Err(io::Error::from_raw_os_error(error)),
            _ if self.foreign && datagrams.source.is_some() => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            _ if self.room == 0 => return Err(io::ErrorKind::WouldBlock.into()),
            _ => {}
        }
        self.room -= 1;
        self.taken.0.lock().unwrap().push((len, segment));
        Ok(())
    }

    fn poll_send_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broken {
            true => Poll::Ready(Err(io::ErrorKind::Other.into())),
            false => Poll::Pending,
        }
    }
}

fn socket(faulty: impl FnOnce(&mut Faulty)) -> (Socket, Taken) {
    let taken = Taken::default();
    let mut system =
        Faulty { taken: taken.clone(), several: None, foreign: false, room: 1_000, broken: false };
    faulty(&mut system);
    let local = system.local_address().unwrap();
    let socket = Socket {
        socket: Box::new(system),
        local,
        addresses: vec![local],
        batch: Batch::default(),
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        singly: false,
    };
    (socket, taken)
}

fn several() -> Transmit {
    Transmit {
        destination: SocketAddr::from(([192, 0, 2, 1], 9)),
        source: SocketAddr::from(([192, 0, 2, 2], 1)),
        bytes: vec![0; 2_500],
        segment: Some(1_000),
    }
}

const ONE_BY_ONE: [(usize, usize); 3] = [(1_000, 1_000), (1_000, 1_000), (500, 1_000)];

#[test]
fn a_system_that_takes_no_several_is_asked_once() {
    const EIO: i32 = 5;
    const EINVAL: i32 = 22;
    for error in [EIO, EINVAL] {
        let (mut socket, taken) = socket(|system| system.several = Some(error));
        assert_eq!(socket.max_segments(), 64);
        socket.send(several());
        assert_eq!(taken.take(), ONE_BY_ONE, "nothing is lost");
        assert_eq!(socket.max_segments(), 1);
        socket.send(several());
        assert_eq!(taken.take(), ONE_BY_ONE);
        for _ in 0..2 {
            socket.send(Transmit { bytes: vec![0; 1_000], segment: None, ..several() });
        }
        socket.flush();
        assert_eq!(taken.take(), ONE_BY_ONE[..2], "none are put together");
    }
}

#[test]
fn a_path_for_shorter_datagrams_or_a_foreign_source_changes_nothing() {
    const EMSGSIZE: i32 = 90;
    let (mut long, taken) = socket(|system| system.several = Some(EMSGSIZE));
    long.send(several());
    assert_eq!((taken.take(), long.max_segments()), (ONE_BY_ONE.to_vec(), 64));
    let (mut foreign, taken) = socket(|system| system.foreign = true);
    foreign.send(several());
    assert_eq!((taken.take(), foreign.max_segments()), (vec![(2_500, 1_000)], 64));
}

#[test]
fn what_the_system_has_no_room_for_waits_and_none_goes_twice() {
    let (mut socket, taken) = socket(|system| {
        system.several = Some(5);
        system.room = 1;
    });
    socket.send(several());
    assert_eq!((taken.take(), socket.waiting_bytes), (ONE_BY_ONE[..1].to_vec(), 2_500));
    let mut context = Context::from_waker(Waker::noop());
    socket.poll_waiting(&mut context);
    assert_eq!(socket.waiting.len(), 1);
    socket.socket = Box::new(Faulty {
        taken: taken.clone(),
        several: Some(5),
        foreign: false,
        room: 9,
        broken: false,
    });
    socket.poll_waiting(&mut context);
    assert_eq!((taken.take(), socket.waiting_bytes), (ONE_BY_ONE[1..].to_vec(), 0));
}

#[test]
fn nothing_waits_for_a_socket_that_wakes_nobody() {
    let (mut socket, _) = socket(|system| (system.room, system.broken) = (0, true));
    socket.send(several());
    assert_eq!(socket.waiting_bytes, 2_500);
    socket.poll_waiting(&mut Context::from_waker(Waker::noop()));
    assert_eq!((socket.waiting.len(), socket.waiting_bytes), (0, 0));
}
