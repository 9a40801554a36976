//! Deltas whose content follows from their number, so that whoever gets one can check it.

use deltawire_channels::{Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId, Frame};

use crate::nodes::soon;
use crate::random::Random;

/// The longest payload of a ring or window of this many bytes: headers take the rest.
pub(crate) const fn longest(ring: usize) -> usize {
    ring - 64 - 48
}

fn fields(number: u64) -> DeltaFields {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    DeltaFields { sequence: number as u32, ..DeltaFields::new(DocId(id)) }
}

pub(crate) async fn send(sender: &mut Sender, number: u64, len: usize) {
    let mut grant = sender.reserve(len).await.unwrap();
    Random(number).fill(grant.payload_mut());
    grant.commit(fields(number), len).unwrap();
}

/// Commits deltas, from `number` on, until the ring is full. Gives the number of the next one.
pub(crate) fn fill_up(sender: &mut Sender, mut number: u64, len: usize) -> u64 {
    while let Ok(mut grant) = sender.try_reserve(len) {
        Random(number).fill(grant.payload_mut());
        grant.commit(fields(number), len).unwrap();
        number += 1;
    }
    number
}

/// A delta's number and length, once its content was found right.
pub(crate) fn check(frame: Frame<'_>) -> (u64, usize) {
    let delta = frame.delta().unwrap();
    delta.verify_checksum().unwrap();
    let number = u64::from_le_bytes(delta.doc_id().0[..8].try_into().unwrap());
    assert_eq!(delta.sequence(), number as u32);
    let mut expected = vec![0; delta.payload().len()];
    Random(number).fill(&mut expected);
    assert!(delta.payload() == expected, "delta {number} is damaged");
    (number, expected.len())
}

pub(crate) async fn receive(receiver: &mut Receiver) -> (u64, usize) {
    check(soon("a delta", receiver.next()).await.expect("the link is open"))
}

/// Everything up to the end, in the order in which it came.
pub(crate) async fn receive_all(receiver: &mut Receiver) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Ok(frame) = soon("a delta or the end", receiver.next()).await {
        numbers.push(check(frame).0);
    }
    numbers
}

/// Moves deltas of these lengths, numbered from 0, and checks what comes.
pub(crate) async fn transfer(sender: &mut Sender, receiver: &mut Receiver, lengths: &[usize]) {
    let sending = async {
        for (number, len) in lengths.iter().enumerate() {
            send(sender, number as u64, *len).await;
        }
    };
    let receiving = async {
        for (number, len) in lengths.iter().enumerate() {
            assert_eq!(receive(receiver).await, (number as u64, *len));
        }
    };
    tokio::join!(sending, receiving);
}
