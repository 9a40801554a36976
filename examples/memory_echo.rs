//! Two peers in one process exchange deltas in place: `cargo run --release --example memory_echo`.

use std::thread;

use deltawire::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Sends every delta back, its numbers doubled.
async fn echo(mut peer: Peer) -> Result<()> {
    while let Ok(frame) = peer.receive.next().await {
        let delta = frame.delta()?;
        let numbers = delta.payload_as::<f32>()?;
        let mut grant = peer.send.reserve(4 * numbers.len()).await?;
        for (twice, number) in grant.payload_as_mut::<f32>()?.iter_mut().zip(numbers) {
            *twice = 2.0 * number;
        }
        grant.commit(DeltaFields::new(delta.doc_id()), 4 * numbers.len())?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let (mut alice, bob) = deltawire::memory::pair();
    let bob = thread::spawn(|| pollster::block_on(echo(bob)));
    pollster::block_on(async {
        let mut grant = alice.send.reserve(12).await?;
        grant.payload_as_mut::<f32>()?.copy_from_slice(&[1.0, 2.0, 3.0]);
        grant.commit(DeltaFields::new(DocId([7; 16])), 12)?;

        let echoed = alice.receive.next().await?.delta()?;
        println!("{} came back: {:?}", echoed.doc_id(), echoed.payload_as::<f32>()?);
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    drop(alice);
    bob.join().expect("bob does not panic")
}
