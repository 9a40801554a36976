//! Rooms: nodes that cannot be asked themselves, such as pages, take offers there and answer them.

mod limits;

use core::pin::pin;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

pub use self::limits::RoomLimits;
use crate::answerer::Offerer;
use crate::{ResourceId, excerpt};

/// Why somebody has to leave a room, or is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RoomRefusal {
    /// The name breaks a rule. Status 400.
    #[error(
        "the name of a room is \"{}\" ({} bytes), must be 1 to {limit} letters, digits and -._~, \
         and neither . nor ..", excerpt(.name), .name.len()
    )]
    Name {
        /// The name.
        name: String,
        /// `RoomLimits::max_name_len`.
        limit: usize,
    },
    /// Nobody took the offer in time. Status 503, with `Retry-After`.
    #[error("nobody accepts in this room, {waited:?} after the offer came: try again")]
    NobodyAccepts { waited: Duration },
    /// Who took the offer did not answer in time. Status 503, with `Retry-After`.
    #[error("the offer was taken, and not answered within {waited:?}: try again")]
    NotAnswered { waited: Duration },
    /// Who took the offer will not have it. Status 503, with `Retry-After`.
    #[error("who accepts in this room takes no more links for now: try again in a moment")]
    NotTaken,
    /// The system gave no randomness. Status 500.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// No such offer waits for an answer. Status 404.
    #[error("no offer of this id waits here: who made it went away, or has its answer")]
    Unknown,
    /// A limit. Status 503, with `Retry-After`.
    #[error("too many {what}: RoomLimits::{field} allows {limit}; try again in a moment")]
    Full { what: &'static str, field: &'static str, limit: usize },
}

/// All rooms of a router. A room is there as long as anybody waits in it.
#[derive(Debug)]
pub(super) struct Rooms {
    limits: RoomLimits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    rooms: HashMap<String, Room>,
    offers: HashMap<ResourceId, Offer>,
    /// Those that wait for an offer, in all rooms.
    acceptors: usize,
    /// Of all offers and answers.
    bytes: usize,
    /// Who waits, by address.
    of_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Room {
    /// Offers that nobody has taken, the oldest first.
    untaken: VecDeque<ResourceId>,
    /// With those that were taken.
    offers: usize,
    acceptors: usize,
    /// How many of both have each address.
    of_address: HashMap<IpAddr, usize>,
    /// Wakes one who waits for an offer.
    came: Arc<Notify>,
}

/// An offer that has no answer.
#[derive(Debug)]
struct Offer {
    room: String,
    /// `None` when it was taken.
    sdp: Option<String>,
    /// What counts for it, of `Table::bytes`.
    bytes: usize,
    answer: oneshot::Sender<Option<String>>,
}

/// Somebody's place in a room: given back when it is dropped.
#[derive(Debug)]
struct Place<'a> {
    rooms: &'a Rooms,
    name: &'a str,
    of: Option<IpAddr>,
    /// `None` of who waits for an offer.
    offer: Option<ResourceId>,
}

impl Rooms {
    pub(super) fn new(limits: RoomLimits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an offer or an answer may be, bytes.
    pub(super) fn max_len(&self) -> usize {
        self.limits.max_len
    }

    /// Says whether a room may have this name.
    pub(super) fn check_name(&self, name: &str) -> Result<(), RoomRefusal> {
        let limit = self.limits.max_name_len;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_name = (1..=limit).contains(&name.len()) && name.bytes().all(allowed);
        if is_name && name != "." && name != ".." {
            return Ok(());
        }
        Err(RoomRefusal::Name { name: name.to_owned(), limit })
    }

    /// Has an offer wait in a room, and gives its answer. Dropped before, it is taken back.
    pub(super) async fn offer(
        &self,
        name: &str,
        sdp: String,
        from: &Offerer,
    ) -> Result<String, RoomRefusal> {
        let mut id = [0; 16];
        // Who can guess it could answer in the place of who took it.
        getrandom::fill(&mut id).map_err(RoomRefusal::Random)?;
        let id = ResourceId::new(id);
        let (sender, answer) = oneshot::channel();
        let (_place, came) = self.enter(name, from.network(), Some((id, sdp, sender)))?;
        came.notify_one();
        let waited = self.limits.wait;
        match tokio::time::timeout(waited, answer).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(_) => Err(RoomRefusal::NotTaken),
            Err(_) => {
                let table = self.table();
                let taken = table.offers.get(&id).is_none_or(|offer| offer.sdp.is_none());
                drop(table);
                Err(match taken {
                    true => RoomRefusal::NotAnswered { waited },
                    false => RoomRefusal::NobodyAccepts { waited },
                })
            }
        }
    }

    /// Takes the oldest offer that nobody has taken, or waits for one: `None` if none comes in time.
    pub(super) async fn take(
        &self,
        name: &str,
        from: &Offerer,
    ) -> Result<Option<(ResourceId, String)>, RoomRefusal> {
        let (_place, came) = self.enter(name, from.network(), None)?;
        let taken = async {
            loop {
                // On the list before it looks, so that of two each is woken by an offer of its own. One that is dropped
                // after it was woken wakes another.
                let mut woken = pin!(came.notified());
                woken.as_mut().enable();
                if let Some(taken) = self.table().take(name) {
                    return taken;
                }
                woken.await;
            }
        };
        Ok(tokio::time::timeout(self.limits.wait, taken).await.ok())
    }

    /// Answers an offer that was taken; `None` refuses it.
    pub(super) fn answer(
        &self,
        name: &str,
        id: &ResourceId,
        answer: Option<String>,
    ) -> Result<(), RoomRefusal> {
        let mut table = self.table();
        let is_it = |offer: &&Offer| offer.room == name && offer.sdp.is_none();
        let bytes = table.offers.get(id).filter(is_it).ok_or(RoomRefusal::Unknown)?.bytes;
        let len = answer.as_ref().map_or(0, String::len);
        // The answer counts in the place of the offer, until it is on its way.
        let all = (table.bytes - bytes).saturating_add(len);
        if all > self.limits.max_bytes {
            return Err(self.too_many_bytes());
        }
        table.bytes = all;
        let Some(offer) = table.offers.get_mut(id) else { return Err(RoomRefusal::Unknown) };
        offer.bytes = len;
        let (closed, _) = oneshot::channel();
        let sender = std::mem::replace(&mut offer.answer, closed);
        drop(table);
        sender.send(answer).map_err(|_| RoomRefusal::Unknown)
    }

    /// A place in a room for an offer, or for who waits for one; and what wakes who waits for one.
    fn enter<'a>(
        &'a self,
        name: &'a str,
        of: Option<IpAddr>,
        offer: Option<(ResourceId, String, oneshot::Sender<Option<String>>)>,
    ) -> Result<(Place<'a>, Arc<Notify>), RoomRefusal> {
        self.check_name(name)?;
        let limits = &self.limits;
        let mut table = self.table();
        let (all, of_room, waits) = match (&offer, table.rooms.get(name)) {
            (Some(_), room) => (table.offers.len(), room.map_or(0, |room| room.offers), OFFERS),
            (None, room) => (table.acceptors, room.map_or(0, |room| room.acceptors), ACCEPTORS),
        };
        let (most, most_of_room) = match &offer {
            Some(_) => (limits.max_offers, limits.max_offers_per_room),
            None => (limits.max_acceptors, limits.max_acceptors_per_room),
        };
        let of_one = of.and_then(|of| table.of_address.get(&of)).copied().unwrap_or(0);
        let rooms = table.rooms.len();
        let here = of.and_then(|of| table.rooms.get(name)?.of_address.get(&of));
        let (of_one_here, most_here) =
            (here.copied().unwrap_or(0), limits.max_per_address_and_room);
        for (is_full, [what, field], limit) in [
            (all >= most, waits[0], most),
            (of_room >= most_of_room, waits[1], most_of_room),
            (of_one >= limits.max_per_address, OF_ADDRESS[0], limits.max_per_address),
            (of_one_here >= most_here, OF_ADDRESS[1], most_here),
            (!table.rooms.contains_key(name) && rooms >= limits.max_rooms, ROOMS, limits.max_rooms),
        ] {
            if is_full {
                return Err(RoomRefusal::Full { what, field, limit });
            }
        }
        let len = offer.as_ref().map_or(0, |(_, sdp, _)| sdp.len());
        if table.bytes.saturating_add(len) > limits.max_bytes {
            return Err(self.too_many_bytes());
        }
        table.bytes += len;
        if let Some(of) = of {
            *table.of_address.entry(of).or_default() += 1;
        }
        let room = table.rooms.entry(name.to_owned()).or_default();
        if let Some(of) = of {
            *room.of_address.entry(of).or_default() += 1;
        }
        let came = room.came.clone();
        let id = match offer {
            Some((id, sdp, answer)) => {
                room.offers += 1;
                room.untaken.push_back(id);
                let (room, bytes, sdp) = (name.to_owned(), sdp.len(), Some(sdp));
                table.offers.insert(id, Offer { room, sdp, bytes, answer });
                Some(id)
            }
            None => {
                room.acceptors += 1;
                table.acceptors += 1;
                None
            }
        };
        drop(table);
        Ok((Place { rooms: self, name, of, offer: id }, came))
    }

    fn too_many_bytes(&self) -> RoomRefusal {
        let [what, field] = BYTES;
        RoomRefusal::Full { what, field, limit: self.limits.max_bytes }
    }
}

/// What there may be too many of, and what says so: in all rooms, and in one.
const OFFERS: [[&str; 2]; 2] = [
    ["offers wait in all rooms", "max_offers"],
    ["offers wait in this room", "max_offers_per_room"],
];
const ACCEPTORS: [[&str; 2]; 2] = [
    ["peers wait for offers in all rooms", "max_acceptors"],
    ["peers wait for offers in this room", "max_acceptors_per_room"],
];
const OF_ADDRESS: [[&str; 2]; 2] = [
    ["peers of your address wait in rooms", "max_per_address"],
    ["peers of your address wait in this room", "max_per_address_and_room"],
];
const ROOMS: [&str; 2] = ["rooms", "max_rooms"];
const BYTES: [&str; 2] = ["bytes of offers and answers are on their way", "max_bytes"];

impl Table {
    fn take(&mut self, name: &str) -> Option<(ResourceId, String)> {
        let room = self.rooms.get_mut(name)?;
        let id = room.untaken.pop_front()?;
        let offer = self.offers.get_mut(&id)?;
        Some((id, offer.sdp.take()?))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.rooms.table();
        let table = &mut *table;
        if let Some(of) = self.of {
            leave(&mut table.of_address, of);
        }
        if let Some(offer) = self.offer.and_then(|id| table.offers.remove(&id)) {
            table.bytes -= offer.bytes;
        }
        if let Some(room) = table.rooms.get_mut(self.name) {
            if let Some(of) = self.of {
                leave(&mut room.of_address, of);
            }
            match self.offer {
                Some(id) => {
                    room.offers -= 1;
                    room.untaken.retain(|untaken| *untaken != id);
                }
                None => {
                    room.acceptors -= 1;
                    table.acceptors -= 1;
                }
            }
            if room.offers + room.acceptors == 0 {
                table.rooms.remove(self.name);
            }
        }
    }
}

/// One less of this address.
fn leave(of_address: &mut HashMap<IpAddr, usize>, of: IpAddr) {
    if let Some(count) = of_address.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            of_address.remove(&of);
        }
    }
}

#[cfg(test)]
mod tests;
