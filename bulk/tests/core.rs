//! The two sides of a transfer, with parts lost, doubled, in another order, and wrong: the file comes, or the transfer ends by
//! name and another goes on; nothing wrong is ever written.

use std::time::Duration;

use deltawire_bulk::{
    Bad, Incoming, Layout, MAX_WRONG_OF_PIECE, Outgoing, Part, Pieces, hash_piece, merge,
    merge_group,
};
use deltawire_framing::bulk::{AskFields, Wanted};
use proptest::prelude::*;

const IDLE: Duration = Duration::from_secs(30);

/// What happens to a part on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Comes,
    Lost,
    Twice,
    /// Behind the one that follows.
    Late,
    Wrong,
    Short,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        12 => Just(Fate::Comes),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        3 => Just(Fate::Late),
        2 => Just(Fate::Wrong),
        1 => Just(Fate::Short),
    ];
    prop::collection::vec(fate, 0..200)
}

#[derive(Clone, Debug)]
enum Sent {
    Piece(u32, Vec<u8>),
    Hashes(Wanted, u32, Vec<[u8; 32]>),
}

struct File {
    bytes: Vec<u8>,
    layout: Layout,
}

impl File {
    fn new(len: usize, piece_len: u32) -> Self {
        let bytes: Vec<u8> = (0..len).map(|i| ((i * i) >> 4) as u8).collect();
        let layout = Layout::new(len as u64, *blake3::hash(&bytes).as_bytes(), piece_len).unwrap();
        Self { bytes, layout }
    }

    fn piece(&self, index: u32) -> &[u8] {
        let start = self.layout.offset(index) as usize;
        &self.bytes[start..start + self.layout.len_of(index)]
    }

    fn hashes(&self, group: u32) -> Vec<[u8; 32]> {
        let pieces = self.layout.pieces_of(group);
        pieces.map(|index| hash_piece(&self.layout, index, self.piece(index))).collect()
    }

    fn part(&self, part: Part) -> Sent {
        match part {
            Part::Piece(index) => Sent::Piece(index, self.piece(index).to_vec()),
            Part::PieceHashes(group) => {
                Sent::Hashes(Wanted::PieceHashes, group, self.hashes(group))
            }
            Part::GroupHashes => {
                let groups = 0..self.layout.groups();
                let hashes: Vec<_> =
                    groups.map(|it| merge_group(&self.layout, &self.hashes(it))).collect();
                assert_eq!(&merge(&hashes, true), self.layout.root());
                Sent::Hashes(Wanted::GroupHashes, 0, hashes)
            }
        }
    }
}

fn spoil(sent: &mut Sent, short: bool) {
    match sent {
        Sent::Piece(_, bytes) if short => drop(bytes.pop()),
        Sent::Piece(_, bytes) => bytes[0] ^= 1,
        Sent::Hashes(_, _, hashes) if short => drop(hashes.pop()),
        Sent::Hashes(_, _, hashes) => hashes[0][0] ^= 1,
    }
}

/// One transfer, until it is complete or ends.
fn transfer(
    file: &File,
    written: &mut [u8],
    have: Pieces,
    looks: bool,
    fates: &mut impl Iterator<Item = Fate>,
    room: usize,
) -> (Pieces, Result<(), Bad>) {
    let now = Duration::ZERO;
    let mut incoming = Incoming::new(file.layout, have, looks, IDLE, now);
    let mut outgoing = Outgoing::new(file.layout, incoming.written(), IDLE, now);
    let mut late: Option<Sent> = None;
    loop {
        while let Some((index, hash)) = incoming.poll_look() {
            let start = file.layout.offset(index) as usize;
            let there = &written[start..start + file.layout.len_of(index)];
            incoming.handle_looked(index, hash_piece(&file.layout, index, there) == hash);
        }
        while let Some(ask) = incoming.poll_ask(room.saturating_sub(incoming.asked_bytes()), now) {
            let (wanted, first, count) = (ask.wanted, ask.first, ask.count);
            let ask = AskFields { id: 1, wanted, first, count, written: incoming.written() };
            outgoing.handle_ask(&ask, now).unwrap();
        }
        assert!(incoming.asked_bytes() <= room, "no more is asked for than may be");
        if incoming.is_complete() {
            return (incoming.have().clone(), Ok(()));
        }
        let Some(part) = outgoing.poll_part() else {
            let Some(late) = late.take() else {
                // What was lost never comes: the link is over, or the transfer idle.
                assert!(incoming.waits() && incoming.is_idle(IDLE));
                return (incoming.have().clone(), Ok(()));
            };
            if let Err(bad) = take(file, written, &mut incoming, late) {
                return (incoming.have().clone(), Err(bad));
            }
            continue;
        };
        let mut sent = file.part(part);
        let mut arriving = Vec::new();
        match fates.next().unwrap_or(Fate::Comes) {
            Fate::Comes => arriving.push(sent),
            Fate::Lost => {}
            Fate::Twice => arriving.extend([sent.clone(), sent]),
            Fate::Late if late.is_none() => late = Some(sent),
            Fate::Late => arriving.push(sent),
            Fate::Wrong => {
                spoil(&mut sent, false);
                arriving.push(sent);
            }
            Fate::Short => {
                spoil(&mut sent, true);
                arriving.push(sent);
            }
        }
        if !arriving.is_empty() {
            arriving.extend(late.take());
        }
        for sent in arriving {
            if let Err(bad) = take(file, written, &mut incoming, sent) {
                return (incoming.have().clone(), Err(bad));
            }
        }
    }
}

fn take(file: &File, written: &mut [u8], incoming: &mut Incoming, sent: Sent) -> Result<(), Bad> {
    match sent {
        Sent::Hashes(wanted, first, hashes) => {
            incoming.handle_hashes(wanted, first, &hashes, Duration::ZERO)
        }
        Sent::Piece(index, bytes) => {
            let hash = incoming.handle_piece(index, bytes.len(), Duration::ZERO)?;
            if hash_piece(&file.layout, index, &bytes) != hash {
                return incoming.handle_wrong(index);
            }
            assert!(bytes == file.piece(index), "what has the right hash is right");
            let start = file.layout.offset(index) as usize;
            written[start..start + bytes.len()].copy_from_slice(&bytes);
            incoming.handle_written(index);
            Ok(())
        }
    }
}

proptest! {
    #[test]
    fn the_file_comes_or_the_transfer_ends_by_name(
        len in prop_oneof![0_usize..5_000, 250_000..300_000_usize, 500_000..800_000_usize],
        fates in fates(),
        room in 1_024_usize..70_000,
        remembers in any::<bool>(),
    ) {
        let file = File::new(len, 1_024);
        let mut written = vec![0; len];
        let mut fates = fates.into_iter();
        let mut have = Pieces::none(file.layout.pieces());
        let mut transfers = 0;
        while !have.is_full() {
            transfers += 1;
            prop_assert!(transfers < 300, "it gets on");
            // A process that was killed remembers nothing, and looks for what it wrote.
            if !remembers {
                have = Pieces::none(file.layout.pieces());
            }
            let before = have.count();
            let looks = !remembers;
            let (after, _) = transfer(&file, &mut written, have, looks, &mut fates, room);
            prop_assert!(after.count() >= before, "nothing is lost");
            have = after;
            for index in 0..file.layout.pieces() {
                let start = file.layout.offset(index) as usize;
                let there = &written[start..start + file.layout.len_of(index)];
                prop_assert!(!have.contains(index) || there == file.piece(index));
            }
        }
        prop_assert!(written == file.bytes);
    }

    #[test]
    fn nothing_that_was_not_asked_for_is_taken(
        messages in prop::collection::vec((0_u8..4, 0_u32..1_100, 0_usize..3_000), 0..100),
    ) {
        let file = File::new(1_000 * 1_024 + 7, 1_024);
        let none = Pieces::none(file.layout.pieces());
        let mut incoming = Incoming::new(file.layout, none, false, IDLE, Duration::ZERO);
        let _ = incoming.poll_ask(0, Duration::ZERO);
        for (kind, number, len) in messages {
            let hashes = vec![[7; 32]; len];
            let now = Duration::ZERO;
            let taken = match kind {
                0 => incoming.handle_piece(number, len, now).map(drop),
                1 => incoming.handle_hashes(Wanted::PieceHashes, number, &hashes, now),
                2 => {
                    incoming.handle_written(number);
                    incoming.handle_looked(number, true);
                    incoming.handle_wrong(number)
                }
                _ => incoming.handle_hashes(Wanted::GroupHashes, number, &hashes, now),
            };
            prop_assert!(kind == 2 || number == 0 && len == 4 || taken.is_err());
            prop_assert_eq!(incoming.have().count(), 0);
            let _ = incoming.poll_ask(1 << 20, now);
        }
    }
}

#[test]
fn a_piece_that_is_always_wrong_ends_the_transfer() {
    let file = File::new(300_000, 1_024);
    let mut written = vec![0; 300_000];
    let none = Pieces::none(file.layout.pieces());
    // The hashes of groups and of the two pages come; then nothing is right.
    let mut fates = [Fate::Comes; 3].into_iter().chain(std::iter::repeat(Fate::Wrong));
    let (have, ended) = transfer(&file, &mut written, none, false, &mut fates, 1_024);
    assert_eq!(ended, Err(Bad::Checksum(MAX_WRONG_OF_PIECE.into())));
    assert_eq!(have.count(), 0);
}

#[test]
fn what_came_wrong_once_is_asked_for_again_alone() {
    let file = File::new(300_000, 1_024);
    let mut written = vec![0; 300_000];
    let none = Pieces::none(file.layout.pieces());
    let mut fates = [Fate::Comes; 10].into_iter().chain([Fate::Wrong]);
    let (have, ended) = transfer(&file, &mut written, none, false, &mut fates, 65_536);
    assert!(have.is_full() && ended.is_ok() && written == file.bytes);
}
