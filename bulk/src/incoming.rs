//! The side that wants the file, without files, clocks and tasks.

use std::collections::VecDeque;
use std::time::Duration;

use deltawire_framing::bulk::{GROUP, Wanted};

use crate::hashing::{Hash, merge, merge_group};
use crate::layout::Layout;
use crate::outgoing::Misplaced;
use crate::pieces::Pieces;

/// Groups whose pieces' hashes are here at a time: that of the pieces that come, and the next. 8 KiB each.
pub const MAX_PAGES: usize = 2;

/// How often a piece may come wrong before the transfer ends.
pub const MAX_WRONG_OF_PIECE: u8 = 3;

/// How often parts may come wrong, a transfer, before it ends.
pub const MAX_WRONG: u32 = 64;

/// Why a part was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Bad {
    /// It was not asked for, or is not as long as it has to be.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// What comes does not have the hash that was offered, however often it is asked for.
    #[error("what came did not have the hash that was offered, {0} times")]
    Checksum(u32),
}

/// What to ask the peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Which kind of part.
    pub wanted: Wanted,
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A transfer, seen from the side that wants the file: it asks for what it lacks, a bounded number of bytes at a time, and
/// takes nothing that it cannot check.
///
/// 1. [`poll_ask`](Self::poll_ask) says what to ask for. [`poll_look`](Self::poll_look), where an earlier transfer left
///    something, says which piece to look at there first; [`handle_looked`](Self::handle_looked) takes the answer.
/// 2. What comes goes to [`handle_hashes`](Self::handle_hashes) or [`handle_piece`](Self::handle_piece); the latter gives the
///    hash that the piece must have.
/// 3. Whoever has compared and written it says so: [`handle_written`](Self::handle_written) or
///    [`handle_wrong`](Self::handle_wrong).
///
/// It [is complete](Self::is_complete) when all pieces are written: each has then been checked against the file's hash.
#[derive(Clone, Debug)]
pub struct Incoming {
    layout: Layout,
    idle: Duration,
    have: Pieces,
    /// Whether pieces may lie where an earlier transfer left them.
    looks: bool,
    groups: Groups,
    pages: Vec<Page>,
    /// Pieces that were asked for, or came and are not written.
    asked: Vec<Asked>,
    /// Pieces to ask for once more.
    again: VecDeque<u32>,
    /// Everything in front was asked for, or is there.
    next: u32,
    /// Bytes of pieces that were asked for and are not written.
    asked_bytes: usize,
    /// How often which piece came wrong.
    wrong: Vec<(u32, u8)>,
    times_wrong: u32,
    found: u64,
    /// When something came last, or was asked for while nothing was under way.
    since: Duration,
}

#[derive(Clone, Debug)]
enum Groups {
    /// There is one at most, and the file's hash is its own.
    None,
    Wanted,
    Asked,
    Known(Box<[Hash]>),
}

/// The hashes of a group's pieces.
#[derive(Clone, Debug)]
struct Page {
    group: u32,
    hashes: PageHashes,
    /// Pieces before this one were looked for.
    looked: u32,
    /// One that is being looked at.
    looking: Option<u32>,
}

#[derive(Clone, Debug)]
enum PageHashes {
    Wanted,
    Asked,
    Known(Box<[Hash]>),
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    index: u32,
    /// It came, and is being checked and written.
    came: bool,
}

impl Incoming {
    /// A transfer of which these pieces are there. With `looks` others may be there too, and are looked for before they are
    /// asked for.
    #[must_use]
    pub fn new(layout: Layout, have: Pieces, looks: bool, idle: Duration, now: Duration) -> Self {
        let groups = if layout.groups() > 1 { Groups::Wanted } else { Groups::None };
        Self {
            layout,
            idle,
            have,
            looks,
            groups,
            pages: Vec::with_capacity(MAX_PAGES),
            asked: Vec::new(),
            again: VecDeque::new(),
            next: 0,
            asked_bytes: 0,
            wrong: Vec::new(),
            times_wrong: 0,
            found: 0,
            since: now,
        }
    }

    /// How the file is cut.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The pieces that are written.
    #[must_use]
    pub const fn have(&self) -> &Pieces {
        &self.have
    }

    /// Bytes of the pieces that are written.
    #[must_use]
    pub fn written(&self) -> u64 {
        let all = u64::from(self.have.count()) * u64::from(self.layout.piece_len());
        let last = self.layout.pieces().saturating_sub(1);
        let short = self.layout.piece_len() as usize - self.layout.len_of(last);
        if self.layout.pieces() > 0 && self.have.contains(last) { all - short as u64 } else { all }
    }

    /// Bytes of pieces that were asked for and are not written yet.
    #[must_use]
    pub const fn asked_bytes(&self) -> usize {
        self.asked_bytes
    }

    /// In how many runs the pieces lie that were asked for and are not written yet.
    #[must_use]
    pub fn asked_runs(&self) -> usize {
        let follows = |pair: &[Asked]| matches!(pair, [a, b] if a.index + 1 == b.index);
        let joints = self.asked.windows(2).filter(|pair| follows(pair)).count();
        self.asked.len() - joints
    }

    /// How often parts came wrong.
    #[must_use]
    pub const fn times_wrong(&self) -> u32 {
        self.times_wrong
    }

    /// Bytes of pieces that were found where an earlier transfer left them.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.found
    }

    /// Whether all pieces are there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// What to ask for next, with pieces of at most `room` bytes. What it gave is to be asked for.
    pub fn poll_ask(&mut self, room: usize, now: Duration) -> Option<Asking> {
        if self.is_complete() {
            return None;
        }
        let was_waiting = self.waits();
        let asking = self.ask_hashes().or_else(|| self.ask_pieces(room))?;
        if !was_waiting {
            self.since = now;
        }
        Some(asking)
    }

    fn ask_hashes(&mut self) -> Option<Asking> {
        if let Groups::Wanted = self.groups {
            self.groups = Groups::Asked;
            return Some(Asking { wanted: Wanted::GroupHashes, first: 0, count: 1 });
        }
        if let Groups::Asked = self.groups {
            return None;
        }
        self.turn_pages();
        let page = self.pages.iter_mut().find(|page| matches!(page.hashes, PageHashes::Wanted))?;
        page.hashes = PageHashes::Asked;
        Some(Asking { wanted: Wanted::PieceHashes, first: page.group, count: 1 })
    }

    /// Forgets pages that are done with, and wants those of the next pieces.
    fn turn_pages(&mut self) {
        if self.layout.pieces() <= 1 {
            return;
        }
        let Self { pages, have, layout, .. } = self;
        pages.retain(|page| {
            let pieces = layout.pieces_of(page.group);
            have.next_missing(pieces.start).is_some_and(|next| next < pieces.end)
        });
        let mut from = self.next;
        while self.pages.len() < MAX_PAGES {
            let Some(missing) = self.have.next_missing(from) else { break };
            let group = missing / GROUP;
            let looked = self.layout.pieces_of(group).start;
            if self.pages.iter().all(|page| page.group != group) {
                let hashes = PageHashes::Wanted;
                self.pages.push(Page { group, hashes, looked, looking: None });
            }
            from = self.layout.pieces_of(group).end;
        }
    }

    fn ask_pieces(&mut self, room: usize) -> Option<Asking> {
        let wanted = Wanted::Pieces;
        if let Some(first) = self.again.front().copied() {
            if self.layout.len_of(first) > room {
                return None;
            }
            self.again.pop_front();
            self.ask_piece(first);
            return Some(Asking { wanted, first, count: 1 });
        }
        let mut asking: Option<Asking> = None;
        let mut room = room;
        while let Some(index) = self.have.next_missing(self.next) {
            let follows = asking.is_none_or(|asking| asking.first + asking.count == index);
            let len = self.layout.len_of(index);
            if !follows || len > room || !self.may_ask(index) {
                break;
            }
            room -= len;
            self.ask_piece(index);
            self.next = index + 1;
            let asking = asking.get_or_insert(Asking { wanted, first: index, count: 0 });
            asking.count += 1;
        }
        asking
    }

    fn ask_piece(&mut self, index: u32) {
        self.asked_bytes += self.layout.len_of(index);
        self.asked.push(Asked { index, came: false });
    }

    /// Whether its hash is known, and it was looked for.
    fn may_ask(&self, index: u32) -> bool {
        if self.layout.pieces() <= 1 {
            return true;
        }
        let page = self.pages.iter().find(|page| page.group == index / GROUP);
        page.is_some_and(|page| {
            matches!(page.hashes, PageHashes::Known(_)) && (!self.looks || index < page.looked)
        })
    }

    /// A piece to look for where an earlier transfer left it, and the hash that it must have.
    pub fn poll_look(&mut self) -> Option<(u32, Hash)> {
        if !self.looks {
            return None;
        }
        let Self { pages, have, layout, .. } = self;
        for page in pages.iter_mut().filter(|page| page.looking.is_none()) {
            let PageHashes::Known(hashes) = &page.hashes else { continue };
            let pieces = layout.pieces_of(page.group);
            let Some(index) = have.next_missing(page.looked).filter(|it| *it < pieces.end) else {
                page.looked = pieces.end;
                continue;
            };
            page.looking = Some(index);
            let hash = hashes.get((index - pieces.start) as usize)?;
            return Some((index, *hash));
        }
        None
    }

    /// Takes in whether the piece that was to be looked for is there.
    pub fn handle_looked(&mut self, index: u32, found: bool) {
        let page = self.pages.iter_mut().find(|page| page.looking == Some(index));
        if let Some(page) = page {
            page.looking = None;
            page.looked = index + 1;
            if found && self.have.insert(index) {
                self.found += self.layout.len_of(index) as u64;
            }
        }
    }

    /// Takes in hashes that came. Those that are wrong are asked for again.
    ///
    /// # Errors
    /// When they were not asked for, or came wrong too often.
    pub fn handle_hashes(
        &mut self,
        wanted: Wanted,
        first: u32,
        hashes: &[Hash],
        now: Duration,
    ) -> Result<(), Bad> {
        self.since = now;
        if wanted == Wanted::GroupHashes {
            let Groups::Asked = self.groups else {
                return Err(Misplaced("hashes of groups that were not asked for").into());
            };
            if first != 0 || hashes.len() != self.layout.groups() as usize {
                return Err(Misplaced("not as many hashes as there are groups").into());
            }
            if merge(hashes, true) == *self.layout.root() {
                self.groups = Groups::Known(hashes.into());
                return Ok(());
            }
            self.groups = Groups::Wanted;
            return self.count_wrong();
        }
        let asked =
            |page: &&mut Page| page.group == first && matches!(page.hashes, PageHashes::Asked);
        let Some(page) = self.pages.iter_mut().find(asked) else {
            return Err(Misplaced("hashes of pieces that were not asked for").into());
        };
        if hashes.len() != self.layout.pieces_of(first).len() {
            return Err(Misplaced("not as many hashes as the group has pieces").into());
        }
        let expected = match &self.groups {
            Groups::Known(groups) => groups.get(first as usize),
            _ => Some(self.layout.root()),
        };
        if expected == Some(&merge_group(&self.layout, hashes)) {
            page.hashes = PageHashes::Known(hashes.into());
            return Ok(());
        }
        page.hashes = PageHashes::Wanted;
        self.count_wrong()
    }

    /// Takes in that a piece came, so many bytes of it: gives the hash that it must have.
    ///
    /// # Errors
    /// When it was not asked for, or is not as long as it has to be.
    pub fn handle_piece(&mut self, index: u32, len: usize, now: Duration) -> Result<Hash, Bad> {
        self.since = now;
        let asked = self.asked.iter_mut().find(|asked| asked.index == index && !asked.came);
        let Some(asked) = asked else {
            return Err(Misplaced("a piece that was not asked for").into());
        };
        if len != self.layout.len_of(index) {
            return Err(Misplaced("a piece that is not as long as it has to be").into());
        }
        asked.came = true;
        if self.layout.pieces() <= 1 {
            return Ok(*self.layout.root());
        }
        let page = self.pages.iter().find(|page| page.group == index / GROUP);
        let hash = page.and_then(|page| match &page.hashes {
            PageHashes::Known(hashes) => hashes.get((index % GROUP) as usize),
            _ => None,
        });
        // A page stays until all of its pieces are there.
        hash.copied().ok_or(Bad::Misplaced(Misplaced("a piece whose hash is not known")))
    }

    /// Takes in that a piece that came had the right hash and is written.
    pub fn handle_written(&mut self, index: u32) {
        if self.take_asked(index) {
            self.have.insert(index);
        }
    }

    /// Takes in that a piece that came had a wrong hash: it is asked for again, alone.
    ///
    /// # Errors
    /// When that was too often.
    pub fn handle_wrong(&mut self, index: u32) -> Result<(), Bad> {
        if !self.take_asked(index) {
            return Ok(());
        }
        self.again.push_back(index);
        let times = match self.wrong.iter_mut().find(|(wrong, _)| *wrong == index) {
            Some((_, times)) => {
                *times += 1;
                *times
            }
            None => {
                self.wrong.push((index, 1));
                1
            }
        };
        if times >= MAX_WRONG_OF_PIECE {
            self.times_wrong += 1;
            return Err(Bad::Checksum(times.into()));
        }
        self.count_wrong()
    }

    fn take_asked(&mut self, index: u32) -> bool {
        let found = self.asked.iter().position(|asked| asked.index == index && asked.came);
        if let Some(at) = found {
            self.asked.swap_remove(at);
            self.asked_bytes -= self.layout.len_of(index);
        }
        found.is_some()
    }

    fn count_wrong(&mut self) -> Result<(), Bad> {
        self.times_wrong += 1;
        if self.times_wrong >= MAX_WRONG { Err(Bad::Checksum(self.times_wrong)) } else { Ok(()) }
    }

    /// Whether something that was asked for has not come.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.groups, Groups::Asked)
            || self.pages.iter().any(|page| matches!(page.hashes, PageHashes::Asked))
            || self.asked.iter().any(|asked| !asked.came)
    }

    /// When to look whether it is idle; `None` while nothing is awaited.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.waits().then(|| self.since.saturating_add(self.idle))
    }

    /// Whether nothing came for too long of what was asked for.
    #[must_use]
    pub fn is_idle(&self, now: Duration) -> bool {
        self.poll_timeout().is_some_and(|at| now >= at)
    }
}
