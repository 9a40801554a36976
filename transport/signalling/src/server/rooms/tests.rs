use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

type Waits<'a, T> = Pin<Box<dyn Future<Output = Result<T, RoomRefusal>> + 'a>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn from(number: u8) -> Offerer {
    Offerer::new(([192, 0, 2, number], 9).into())
}

/// Polls once.
fn poll<T>(waits: &mut Waits<'_, T>) -> Poll<Result<T, RoomRefusal>> {
    waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// An offer that waits.
fn offer<'a>(rooms: &'a Rooms, name: &'a str, from: &'a Offerer) -> Waits<'a, String> {
    let mut waits: Waits<'_, _> = Box::pin(rooms.offer(name, "offer".to_owned(), from));
    assert_eq!(poll(&mut waits), Poll::Pending);
    waits
}

/// Somebody who waits for an offer.
fn acceptor<'a>(
    rooms: &'a Rooms,
    name: &'a str,
    from: &'a Offerer,
) -> Waits<'a, Option<(ResourceId, String)>> {
    let mut waits: Waits<'_, _> = Box::pin(rooms.take(name, from));
    assert_eq!(poll(&mut waits), Poll::Pending);
    waits
}

fn assert_empty(rooms: &Rooms) {
    let Table { rooms, offers, acceptors, bytes, of_address } = &*rooms.table();
    assert_eq!((rooms.len(), offers.len(), *acceptors, *bytes), (0, 0, 0, 0));
    assert!(of_address.is_empty());
}

/// The limit that somebody met with.
fn limit<T: std::fmt::Debug>(refused: Poll<Result<T, RoomRefusal>>) -> (&'static str, usize) {
    match refused {
        Poll::Ready(Err(RoomRefusal::Full { field, limit, .. })) => (field, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offer_goes_to_who_accepts_and_its_answer_back() {
    let (runtime, rooms) = (runtime(), Rooms::new(RoomLimits::default()));
    let _context = runtime.enter();
    let (near, far) = (from(1), from(2));
    for acceptor_first in [true, false] {
        let mut waits = acceptor_first.then(|| acceptor(&rooms, "a", &far));
        let mut answer = offer(&rooms, "a", &near);
        let mut taken = waits.take().unwrap_or_else(|| Box::pin(rooms.take("a", &far)));
        let Poll::Ready(Ok(Some((id, sdp)))) = poll(&mut taken) else { panic!("no offer") };
        assert_eq!(sdp, "offer");
        drop(taken);
        let unknown = Err(RoomRefusal::Unknown);
        assert_eq!(rooms.answer("b", &id, Some("x".to_owned())), unknown, "another room's");
        assert_eq!(rooms.answer("a", &ResourceId::new([0; 16]), None), unknown, "guessed");
        rooms.answer("a", &id, Some("answer".to_owned())).unwrap();
        assert_eq!(rooms.answer("a", &id, Some("again".to_owned())), unknown);
        assert_eq!(poll(&mut answer), Poll::Ready(Ok("answer".to_owned())));
        drop(answer);
        assert_eq!(rooms.answer("a", &id, Some("late".to_owned())), unknown);
        assert_empty(&rooms);
    }
}

#[test]
fn an_offer_can_be_refused_and_nobody_answers_one_that_was_not_taken() {
    let (runtime, rooms) = (runtime(), Rooms::new(RoomLimits::default()));
    let _context = runtime.enter();
    let (near, far) = (from(1), from(2));
    let mut answer = offer(&rooms, "a", &near);
    let id = *rooms.table().offers.keys().next().unwrap();
    assert_eq!(rooms.answer("a", &id, Some("early".to_owned())), Err(RoomRefusal::Unknown));
    let mut taken: Waits<'_, _> = Box::pin(rooms.take("a", &far));
    assert!(poll(&mut taken).is_ready());
    rooms.answer("a", &id, None).unwrap();
    assert_eq!(poll(&mut answer), Poll::Ready(Err(RoomRefusal::NotTaken)));
    drop((answer, taken));
    assert_empty(&rooms);
}

#[test]
fn who_goes_away_leaves_nothing_and_wakes_the_next() {
    let (runtime, rooms) = (runtime(), Rooms::new(RoomLimits::default()));
    let _context = runtime.enter();
    let (near, far) = (from(1), from(2));
    let gone = offer(&rooms, "a", &near);
    drop(gone);
    assert_empty(&rooms);
    let [gone, mut next] = [(); 2].map(|()| acceptor(&rooms, "a", &far));
    let waits = offer(&rooms, "a", &near);
    // It was woken for the offer, and has not looked.
    drop(gone);
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(Some(_)))));
    // Of two that wait, each has one of two.
    let mut both = [(); 2].map(|()| acceptor(&rooms, "a", &far));
    let offers = [(); 2].map(|()| offer(&rooms, "a", &near));
    assert!(both.iter_mut().all(|waits| matches!(poll(waits), Poll::Ready(Ok(Some(_))))));
    drop((waits, next, both, offers));
    assert_empty(&rooms);
}

#[test]
fn nobody_waits_for_ever() {
    let wait = Duration::from_millis(20);
    let (runtime, rooms) = (runtime(), Rooms::new(RoomLimits { wait, ..RoomLimits::default() }));
    let (near, far) = (from(1), from(2));
    runtime.block_on(async {
        assert_eq!(rooms.take("a", &far).await, Ok(None));
        let nobody = rooms.offer("a", "offer".to_owned(), &near).await;
        assert_eq!(nobody, Err(RoomRefusal::NobodyAccepts { waited: wait }));
        let (silent, taken) =
            tokio::join!(rooms.offer("a", "offer".to_owned(), &near), rooms.take("a", &far));
        assert!(matches!(taken, Ok(Some(_))));
        assert_eq!(silent, Err(RoomRefusal::NotAnswered { waited: wait }));
    });
    assert_empty(&rooms);
}

#[test]
fn all_that_waits_is_bounded() {
    let limits = RoomLimits {
        max_rooms: 3,
        max_offers: 6,
        max_offers_per_room: 4,
        max_acceptors: 5,
        max_acceptors_per_room: 3,
        max_per_address: 2,
        ..RoomLimits::default()
    };
    let (runtime, rooms) = (runtime(), Rooms::new(limits));
    let _context = runtime.enter();
    let addresses = [1, 2, 3, 4, 5, 6, 7].map(from);
    let [one, two, three, four, five, six, _] = &addresses;
    let try_offer = |name: &'static str, from: &Offerer| {
        poll(&mut (Box::pin(rooms.offer(name, "offer".to_owned(), from)) as Waits<'_, _>))
    };
    let try_accept = |name: &'static str, from: &Offerer| {
        poll(&mut (Box::pin(rooms.take(name, from)) as Waits<'_, _>))
    };
    let mut waits: Vec<_> =
        [one, one, two, two].into_iter().map(|of| offer(&rooms, "a", of)).collect();
    assert_eq!(limit(try_offer("a", three)), ("max_offers_per_room", 4));
    assert_eq!(limit(try_offer("b", one)), ("max_per_address", 2));
    assert_eq!(limit(try_accept("b", one)), ("max_per_address", 2));
    waits.extend([offer(&rooms, "b", three), offer(&rooms, "c", three)]);
    assert_eq!(limit(try_offer("c", four)), ("max_offers", 6));
    assert_eq!(limit(try_accept("d", four)), ("max_rooms", 3));
    drop(waits);
    assert_empty(&rooms);
    let waits = [("a", four), ("a", four), ("a", five), ("b", five), ("c", six)];
    let waits = waits.map(|(name, of)| acceptor(&rooms, name, of));
    assert_eq!(limit(try_accept("a", six)), ("max_acceptors", 5));
    drop(waits);
    let waits = [four, four, five].map(|of| acceptor(&rooms, "a", of));
    assert_eq!(limit(try_accept("a", six)), ("max_acceptors_per_room", 3));
    drop(waits);
    assert_empty(&rooms);
}

#[test]
fn offers_and_answers_are_bounded_in_bytes() {
    let limits = RoomLimits { max_bytes: 10, ..RoomLimits::default() };
    let (runtime, rooms) = (runtime(), Rooms::new(limits));
    let _context = runtime.enter();
    let (near, far) = (from(1), from(2));
    let mut first = offer(&rooms, "a", &near);
    let second = offer(&rooms, "a", &near);
    let mut third: Waits<'_, _> = Box::pin(rooms.offer("a", "o".to_owned(), &near));
    assert_eq!(limit(poll(&mut third)), ("max_bytes", 10));
    let mut taken: Waits<'_, _> = Box::pin(rooms.take("a", &far));
    let Poll::Ready(Ok(Some((id, _)))) = poll(&mut taken) else { panic!("no offer") };
    let long = rooms.answer("a", &id, Some("answer".to_owned()));
    assert_eq!(limit(Poll::Ready(long)), ("max_bytes", 10));
    rooms.answer("a", &id, Some("fits!".to_owned())).unwrap();
    assert_eq!(rooms.table().bytes, 10);
    assert_eq!(poll(&mut first), Poll::Ready(Ok("fits!".to_owned())));
    drop((first, second, third, taken));
    assert_empty(&rooms);
}

#[test]
fn names_are_plain_and_short() {
    let rooms = Rooms::new(RoomLimits::default());
    let longest = "x".repeat(64);
    for name in ["a", "A-room.of~7_letters", "offers", longest.as_str()] {
        assert_eq!(rooms.check_name(name), Ok(()), "{name}");
    }
    let long = "x".repeat(65);
    for name in ["", ".", "..", "a b", "%20", "a%2Fb", "é", "a?b", "a\0", long.as_str()] {
        let refused = RoomRefusal::Name { name: name.to_owned(), limit: 64 };
        assert_eq!(rooms.check_name(name), Err(refused), "{name}");
    }
    let refused = rooms.check_name(&long).unwrap_err().to_string();
    assert!(refused.contains("(65 bytes), must be 1 to 64 letters"), "{refused}");
}
