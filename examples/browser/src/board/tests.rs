use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn operation() -> impl Strategy<Value = Operation> {
    let stroke = (any::<u8>(), any::<u8>(), vec(any::<[i16; 2]>(), 1..20))
        .prop_map(|(colour, width, points)| Operation::Stroke(Stroke { colour, width, points }));
    let change = (any::<u64>(), any::<u32>(), any::<u32>(), ".{0,8}").prop_map(
        |(base, at, delete, insert): (_, _, _, String)| {
            let insert = insert.encode_utf16().collect();
            Operation::Change(Change { base, edit: Edit { at, delete, insert } })
        },
    );
    let undo =
        (0..20_u64, 0..20_u32).prop_map(|(position, number)| Operation::Undo { position, number });
    prop_oneof![stroke, change, undo, Just(Operation::Clear)]
}

fn signed() -> impl Strategy<Value = Signed> {
    (0..3_u64, 0..20_u32, operation()).prop_map(|(author, number, operation)| Signed {
        id: OperationId { author, number },
        operation,
    })
}

fn logged(position: u64, signed: &Signed) -> Logged {
    let kind = signed.operation.kind();
    Logged { position, time: 0, kind, payload: signed.write().into_boxed_slice() }
}

proptest! {
    #[test]
    fn what_is_written_is_read(signed in signed()) {
        let read = Signed::read(signed.operation.kind(), &signed.write());
        prop_assert_eq!(read, Ok(signed.clone()));
        let wish = Wish::Perform(signed.clone());
        prop_assert_eq!(Wish::read(&wish.write()), Ok(wish));
        let placed = ToWindow::Placed { position: 7, time: 8, signed };
        prop_assert_eq!(ToWindow::read(&placed.write()), Ok(placed));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(kind in 250..270_u16, bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(signed) = Signed::read(kind, &bytes) {
            prop_assert_eq!(signed.write(), &*bytes, "there is one way to write it");
        }
        let _ = Appearance::read(&bytes);
        let _ = Wish::read(&bytes);
        let _ = ToWindow::read(&bytes);
    }

    /// Operations in any order, with any references, and bytes that are none.
    #[test]
    fn a_replica_takes_whatever_comes_and_forgets_it_again(
        operations in vec(signed(), 0..40),
        noise in vec((256..260_u16, vec(any::<u8>(), 0..40)), 0..10),
        cut in 0..60_u64,
    ) {
        let noise = noise.into_iter().map(|(kind, payload)| (kind, payload.into_boxed_slice()));
        let operations = operations.iter().map(|it| (it.operation.kind(), it.write().into_boxed_slice()));
        let log: Vec<_> = operations.chain(noise).zip(1..)
            .map(|((kind, payload), position)| Logged { position, time: 0, kind, payload }).collect();
        let mut whole = Replica::default();
        for logged in &log {
            whole.take(logged.clone());
        }
        let (text, digest) = (whole.text(), whole.digest());
        let mut cut_off = whole.clone();
        let lost = cut_off.truncate(cut);
        let mut part = Replica::default();
        for logged in log.iter().filter(|it| it.position < cut) {
            part.take(logged.clone());
        }
        prop_assert_eq!((part.digest(), part.text()), (cut_off.digest(), cut_off.text()));
        prop_assert_eq!(part.entries(), cut_off.entries());
        for logged in lost {
            cut_off.take(logged);
        }
        prop_assert_eq!((cut_off.digest(), cut_off.text()), (digest, text));
        prop_assert_eq!(cut_off.strokes(), whole.strokes());
    }

    #[test]
    fn a_difference_makes_one_text_of_the_other(from in ".{0,12}", to in ".{0,12}") {
        let [mut from, to] = [from, to].map(|it| it.encode_utf16().collect::<Vec<_>>());
        if let Some(edit) = difference(&from, &to) {
            prop_assert!(String::from_utf16(&edit.insert).is_ok(), "no character is cut in two");
            apply(&mut from, &edit);
        }
        prop_assert_eq!(from, to);
    }

    /// Two write into one text, each over its own slow line: in the end both see the same.
    #[test]
    fn two_editors_converge(steps in vec((any::<bool>(), 0..4_u8, any::<(u8, u8)>(), "[a-z]{0,3}"), 0..60)) {
        let mut room = Room::default();
        for (who, what, (at, delete), insert) in steps {
            let who = usize::from(who);
            match what {
                0 | 1 => room.type_in(who, usize::from(at), usize::from(delete % 4), &insert),
                2 => room.sequence(who),
                _ => room.deliver(who),
            }
        }
        room.settle();
        let text = room.replica.text();
        prop_assert_eq!([room.editors[0].text(), room.editors[1].text()], [text.clone(), text]);
    }
}

/// A hub, two editors, and what is on its way between them.
#[derive(Default)]
struct Room {
    replica: Replica,
    editors: [Editor; 2],
    /// Changes on their way to the hub.
    rising: [Vec<Change>; 2],
    /// How many of the replica's entries an editor has.
    seen: [usize; 2],
    numbers: [u32; 2],
}

impl Room {
    fn type_in(&mut self, who: usize, at: usize, delete: usize, insert: &str) {
        let mut text: Vec<char> = self.editors[who].text().chars().collect();
        let at = at.min(text.len());
        let end = (at + delete).min(text.len());
        text.splice(at..end, insert.chars());
        let change = self.editors[who].typed(&text.into_iter().collect::<String>());
        self.rising[who].extend(change);
    }

    fn sequence(&mut self, who: usize) {
        if self.rising[who].is_empty() {
            return;
        }
        let operation = Operation::Change(self.rising[who].remove(0));
        self.numbers[who] += 1;
        let id = OperationId { author: who as u64, number: self.numbers[who] };
        let logged = logged(self.replica.next(), &Signed { id, operation });
        assert!(self.replica.take(logged).is_some());
    }

    fn deliver(&mut self, who: usize) {
        let Some(entry) = self.replica.entries().get(self.seen[who]) else { return };
        self.seen[who] += 1;
        let Operation::Change(change) = &entry.signed.operation else { return };
        let own = entry.signed.id.author == who as u64;
        let (_, next) = self.editors[who].changed(entry.position, &change.edit, own);
        self.rising[who].extend(next);
    }

    fn settle(&mut self) {
        for _ in 0..1_000 {
            for who in [0, 1] {
                self.sequence(who);
                self.deliver(who);
            }
        }
        assert!(self.rising.iter().all(Vec::is_empty), "they go on for ever");
    }
}

#[test]
fn undo_takes_back_what_it_names_and_nothing_else() {
    let by = |author, number, operation| Signed { id: OperationId { author, number }, operation };
    let stroke = |x| Operation::Stroke(Stroke { colour: 0, width: 1, points: vec![[x, 0]] });
    let undo = |position, number| Operation::Undo { position, number };
    let mut replica = Replica::default();
    let mut take = |signed: Signed| {
        let position = replica.next();
        let done = replica.take(logged(position, &signed)).is_some();
        (done, replica.strokes().iter().map(|it| it.points[0][0]).collect::<Vec<_>>())
    };
    assert_eq!(take(by(1, 1, stroke(1))), (true, vec![1]));
    assert_eq!(take(by(2, 1, stroke(2))), (true, vec![1, 2]));
    assert_eq!(take(by(1, 1, stroke(3))), (false, vec![1, 2]), "the same one twice");
    assert_eq!(take(by(2, 2, undo(1, 1))), (false, vec![1, 2]), "of another's");
    assert_eq!(take(by(1, 2, undo(2, 1))), (false, vec![1, 2]), "another one lies there");
    assert_eq!(take(by(1, 3, undo(1, 1))), (true, vec![2]), "the later one stays");
    assert_eq!(take(by(1, 4, undo(1, 1))), (false, vec![2]), "twice");
    assert_eq!(take(by(1, 5, Operation::Clear)), (true, vec![]));
    assert_eq!(take(by(2, 3, stroke(4))), (true, vec![4]));
    assert_eq!(take(by(1, 6, undo(8, 5))), (true, vec![2, 4]), "a clearing too");
}

#[test]
fn changes_that_did_not_know_of_each_other_both_stay() {
    let mut replica = Replica::default();
    let mut change = |author, base, at, delete, insert: &str| {
        let insert = insert.encode_utf16().collect();
        let operation = Operation::Change(Change { base, edit: Edit { at, delete, insert } });
        let number = u32::try_from(replica.next()).unwrap();
        let signed = Signed { id: OperationId { author, number }, operation };
        replica.take(logged(replica.next(), &signed));
        replica.text()
    };
    assert_eq!(change(1, 0, 0, 0, "one three"), "one three");
    assert_eq!(change(1, 1, 9, 0, " four"), "one three four");
    assert_eq!(change(2, 1, 4, 0, "two "), "one two three four", "made to what was before");
    assert_eq!(change(3, 2, 0, 3, "1"), "1 two three four");
    let left = change(4, 2, 0, 14, "");
    assert_eq!(left, "1", "what was inserted in the middle of it goes with it");
}
