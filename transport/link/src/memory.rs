//! Two peers in one process, each reading where the other wrote: nothing is copied.
//!
//! What one side commits lies in a ring that the other side reads. There is no session between
//! them, because there is nothing to agree on: a ring that is full makes the writer wait, and a
//! peer that is dropped closes its rings. Code that is written against these peers works unchanged
//! with peers on other links.

use deltawire_channels::ring::byte;
use deltawire_channels::{Command, InvalidLimits, Limits, Peer, Receiver, Sender};
use deltawire_framing::Channel;

/// Two peers that are each other's, with the default [`Limits`].
///
/// ```
/// # pollster::block_on(async {
/// use deltawire_framing::{DeltaFields, DocId};
///
/// let (mut alice, mut bob) = deltawire_link::memory::pair();
///
/// let mut grant = alice.send.reserve(5).await?;
/// grant.payload_mut().copy_from_slice(b"hello");
/// grant.commit(DeltaFields::new(DocId([7; 16])), 5)?;
///
/// assert_eq!(bob.receive.next().await?.delta()?.payload(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn pair() -> (Peer, Peer) {
    pair_of_rings(&Limits::default())
}

/// Two peers that are each other's, with rings of these sizes: [`Limits::send_ring`] and
/// [`Limits::command_ring`], each twice.
///
/// # Errors
/// When the limits cannot be kept: see [`Limits::validate`].
pub fn pair_with(limits: &Limits) -> Result<(Peer, Peer), InvalidLimits> {
    limits.validate()?;
    Ok(pair_of_rings(limits))
}

fn pair_of_rings(limits: &Limits) -> (Peer, Peer) {
    let (command_there, command_here) = directed(limits.command_ring, Channel::Command);
    let (command_back, command_home) = directed(limits.command_ring, Channel::Command);
    let (there, here) = directed(limits.send_ring, Channel::Data);
    let (back, home) = directed(limits.send_ring, Channel::Data);
    let alice = Peer {
        command: Command { send: command_there, receive: command_home },
        send: there,
        receive: home,
    };
    let bob = Peer {
        command: Command { send: command_back, receive: command_here },
        send: back,
        receive: here,
    };
    (alice, bob)
}

/// A sender, and the receiver that reads its ring.
fn directed(capacity: usize, channel: Channel) -> (Sender, Receiver) {
    let (producer, consumer) = byte::ring(capacity.next_power_of_two().max(64));
    (Sender::new(producer, channel), Receiver::from_ring(consumer))
}

#[cfg(test)]
mod tests {
    use deltawire_channels::{ChannelClosed, SendError, TryNextError};
    use deltawire_framing::{DeltaFields, DocId};

    use super::*;

    fn send(sender: &mut Sender, payload: &[u8]) -> *const u8 {
        let mut grant = sender.try_reserve(payload.len()).unwrap();
        grant.payload_mut().copy_from_slice(payload);
        let place = grant.payload_mut().as_ptr();
        grant.commit(DeltaFields::new(DocId([7; 16])), payload.len()).unwrap();
        place
    }

    #[test]
    fn the_receiver_reads_where_the_sender_wrote() {
        let (mut alice, mut bob) = pair();
        for len in [0, 1, 1_000, 500_000] {
            let payload = vec![len as u8; len];
            let place = send(&mut alice.send, &payload);
            let read = bob.receive.try_next().unwrap().delta().unwrap();
            assert_eq!((read.payload(), read.payload().as_ptr()), (&payload[..], place));
            bob.receive.release();
        }
        send(&mut bob.command.send, b"command");
        let read = alice.command.receive.try_next().unwrap();
        assert_eq!(
            (read.channel(), read.delta().unwrap().payload()),
            (Channel::Command, &b"command"[..])
        );
        assert_eq!(alice.receive.try_next().unwrap_err(), TryNextError::Empty);
    }

    #[test]
    fn a_full_ring_waits_for_the_reader() {
        let (mut alice, mut bob) =
            pair_with(&Limits { send_ring: 256, ..Limits::default() }).unwrap();
        send(&mut alice.send, &[1; 100]);
        assert!(matches!(alice.send.try_reserve(100), Err(SendError::Full { .. })));
        let reader = std::thread::spawn(move || {
            for _ in 0..100 {
                let read = pollster::block_on(bob.receive.next()).unwrap().delta().unwrap();
                assert_eq!(read.payload(), [1; 100]);
            }
            bob
        });
        for _ in 1..100 {
            let mut grant = pollster::block_on(alice.send.reserve(100)).unwrap();
            grant.payload_mut().fill(1);
            grant.commit(DeltaFields::new(DocId([7; 16])), 100).unwrap();
        }
        drop(reader.join().unwrap());
        assert!(matches!(
            alice.send.try_reserve(1),
            Err(SendError::Closed(ChannelClosed::Dropped))
        ));
        assert!(pollster::block_on(alice.receive.next()).is_err());
    }

    #[test]
    fn rings_that_cannot_be_are_refused_by_name() {
        for (field, limits) in [
            ("send_ring", Limits { send_ring: 2 << 30, ..Limits::default() }),
            ("command_ring", Limits { command_ring: 0, ..Limits::default() }),
            ("max_arrivals", Limits { max_arrivals: 0, ..Limits::default() }),
        ] {
            assert_eq!(pair_with(&limits).unwrap_err().field, field);
        }
    }

    #[test]
    fn no_message_costs_an_allocation() {
        let (mut alice, mut bob) = pair();
        let mut exchange = |messages| {
            for _ in 0..messages {
                send(&mut alice.send, &[1; 1_000]);
                assert_eq!(bob.receive.try_next().unwrap().delta().unwrap().payload()[0], 1);
            }
        };
        // Queues take memory when they are first used: once through the ring.
        exchange(1_100);
        let info = allocation_counter::measure(|| exchange(1_000));
        assert_eq!(info.count_total, 0);
    }
}
