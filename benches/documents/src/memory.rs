//! What a subscription costs in memory, and one that is not read.

use deltawire::documents::{Everyone, Hub, HubOptions, Start, SubscribeOptions};
use deltawire::framing::DeltaFields;

use crate::harness::Job;
use crate::links::DOC;
use crate::measure::resident_bytes;
use crate::report::{Place, Table, metric};
use crate::role::{Role, shared_runtime};
use crate::server::Server;

static TABLE: Table = Table {
    title: "In one process: memory of a subscription",
    notes: "100,000 subscriptions of one document in a process of its own, by what it has more in memory with them; and what each of them \
            adds while nobody reads and 200 deltas of 128 B are published, beyond what the document itself grew with one subscription.",
    metrics: &[metric("B a subscription"), metric("B more of a slow one")],
    baseline: None,
};

const SUBSCRIPTIONS: usize = 100_000;
const DELTAS: usize = 200;

pub(crate) fn job() -> Job {
    let place = Place { table: &TABLE, row: "deltawire", column: None };
    Job::new(place, || {
        let server = Server::play(&Role::Memory)?;
        let figure = |name| anyhow::Ok(server.said(name)?.parse::<f64>()?);
        Ok(vec![figure("subscription")?, figure("slow")?])
    })
}

/// Measures this process.
pub(crate) fn measure() -> anyhow::Result<()> {
    let options = SubscribeOptions { start: Start::Latest, ..SubscribeOptions::default() };
    let mut resident = Resident(resident_bytes(std::process::id())?);
    let hub = Hub::in_memory(HubOptions::default(), Everyone, shared_runtime());
    let publish = || -> anyhow::Result<()> {
        for _ in 0..DELTAS {
            hub.append(DeltaFields::new(DOC), &[7; 128])?;
        }
        Ok(())
    };
    let mut readers = vec![hub.subscribe(DOC, options)];
    publish()?;
    resident.grown()?;
    publish()?;
    let alone = resident.grown()?;
    readers.reserve(SUBSCRIPTIONS);
    readers.extend((0..SUBSCRIPTIONS).map(|_| hub.subscribe(DOC, options)));
    let subscriptions = resident.grown()?;
    publish()?;
    let slow = resident.grown()? - alone;
    let each = |bytes: f64| bytes / SUBSCRIPTIONS as f64;
    println!("subscription {} slow {}", each(subscriptions), each(slow));
    Ok(())
}

/// What this process had in memory when it was last looked at.
struct Resident(u64);

impl Resident {
    /// Bytes more than then.
    fn grown(&mut self) -> anyhow::Result<f64> {
        let before = std::mem::replace(&mut self.0, resident_bytes(std::process::id())?);
        Ok(self.0 as f64 - before as f64)
    }
}
