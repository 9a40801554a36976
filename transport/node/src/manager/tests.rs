use super::*;

fn manager() -> ConnectionManager {
    ConnectionManager::new(
        NodeLimits {
            max_peers: 3,
            max_pending: 2,
            max_pending_per_address: 1,
            max_per_address: 2,
            max_events: 2,
        },
        None,
    )
}

#[test]
fn limits_hold_and_are_named() {
    let mut manager = manager();
    let (first, _shared) = manager.begin(Role::Acceptor, None, None, None).unwrap();
    manager.begin(Role::Acceptor, None, None, None).unwrap();
    let full = manager.begin(Role::Acceptor, None, None, None).err();
    assert_eq!(full, Some(CapacityError::Pending { limit: 2 }));
    manager.opened(first.id());
    manager.begin(Role::Acceptor, None, None, None).unwrap();
    assert_eq!(
        manager.begin(Role::Initiator, None, None, None).err(),
        Some(CapacityError::Peers { limit: 3 })
    );
    manager.ended(first.id(), LinkEnded::HungUp);
    // Its last words are on their way, so it keeps its place.
    assert_eq!(
        manager.begin(Role::Initiator, None, None, None).err(),
        Some(CapacityError::Peers { limit: 3 })
    );
    manager.gone(first.id());
    manager.begin(Role::Initiator, None, None, None).unwrap();
    manager.shut_down();
    assert_eq!(
        manager.begin(Role::Initiator, None, None, None).err(),
        Some(CapacityError::ShuttingDown)
    );
}

#[test]
fn one_address_cannot_take_all_places() {
    let mut manager = manager();
    let from = |last| Some(IpAddr::from([192, 0, 2, last]));
    let (first, _shared) = manager.begin(Role::Acceptor, from(1), None, None).unwrap();
    let full = manager.begin(Role::Acceptor, from(1), None, None).err();
    assert_eq!(full, Some(CapacityError::PendingOfAddress { limit: 1 }));
    manager.opened(first.id());
    let (second, _shared) = manager.begin(Role::Acceptor, from(1), None, None).unwrap();
    manager.opened(second.id());
    // Both are open: another address has a place, this one has not.
    let full = manager.begin(Role::Acceptor, from(1), None, None).err();
    assert_eq!(full, Some(CapacityError::OfAddress { limit: 2 }));
    let (other, _shared) = manager.begin(Role::Acceptor, from(2), None, None).unwrap();
    manager.ended(other.id(), LinkEnded::HungUp);
    manager.gone(other.id());
    manager.ended(first.id(), LinkEnded::HungUp);
    let full = manager.begin(Role::Acceptor, from(1), None, None).err();
    assert_eq!(full, Some(CapacityError::OfAddress { limit: 2 }));
    manager.gone(first.id());
    let (third, _shared) = manager.begin(Role::Acceptor, from(1), None, None).unwrap();
    for link in [second, third] {
        manager.ended(link.id(), LinkEnded::HungUp);
        manager.gone(link.id());
    }
    assert!(manager.addresses.is_empty());
}

#[test]
fn who_is_not_let_in_yet_counts_once() {
    let mut manager = manager();
    let from = |last| Some(IpAddr::from([192, 0, 2, last]));
    manager.arrive(None).unwrap();
    manager.arrive(from(1)).unwrap();
    let pending = Some(CapacityError::Pending { limit: 2 });
    assert_eq!(manager.arrive(from(2)).err(), pending);
    assert_eq!(manager.begin(Role::Acceptor, from(2), None, None).err(), pending);
    let of_address = Some(CapacityError::PendingOfAddress { limit: 1 });
    assert_eq!(manager.validated(IpAddr::from([192, 0, 2, 1])).err(), of_address);
    manager.leave(from(1));
    let (link, _shared) = manager.begin(Role::Acceptor, from(1), None, None).unwrap();
    assert_eq!(manager.arrive(from(2)).err(), pending);
    manager.leave(None);
    assert_eq!(manager.arrive(from(1)).err(), of_address, "links and arrivals together");
    manager.opened(link.id());
    manager.arrive(from(1)).unwrap();
    manager.leave(from(1));
    manager.ended(link.id(), LinkEnded::HungUp);
    manager.gone(link.id());
    assert!(manager.addresses.is_empty());
}

#[test]
fn events_that_nobody_takes_are_counted() {
    let mut manager = manager();
    for _ in 0..3 {
        let (link, _shared) = manager.begin(Role::Initiator, None, None, None).unwrap();
        manager.opened(link.id());
        manager.opened(link.id());
        manager.ended(link.id(), LinkEnded::HungUp);
        manager.ended(link.id(), LinkEnded::HungUp);
    }
    assert_eq!(manager.poll_event(), Some(NodeEvent::Missed(4)));
    let (id, role) = (LinkId(3), Role::Initiator);
    assert_eq!(manager.poll_event(), Some(NodeEvent::Up { id, role }));
    let (ended, undelivered) = (LinkEnded::HungUp, Undelivered::default());
    assert_eq!(manager.poll_event(), Some(NodeEvent::Down { id, ended, undelivered }));
    assert_eq!(manager.poll_event(), None);
    assert_eq!(manager.peers().count(), 0);
}
