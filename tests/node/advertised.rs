//! Nodes that peers reach at other addresses than those at which their datagrams come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use deltawire::{Node, NodeBuilder};

use crate::deltas::{receive, send};
use crate::nodes::{End, LOOPBACK, builder, client, join_from, join_with};

/// For documentation (RFC 5737, RFC 3849): no host has them.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PUBLIC_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Another of this host's.
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn listening(address: &str, advertised: &[IpAddr], builder: NodeBuilder) -> Node {
    let listening = builder.listen(address.parse().unwrap());
    listening.advertise(advertised.iter().copied()).build().unwrap()
}

/// Sends the description on its way through a NAT, which gives datagrams to one address that come for
/// another.
fn nat(sdp: &str, from: IpAddr, to: IpAddr) -> String {
    let of = |address| format!(" {address} ");
    assert!(sdp.contains(&of(from)), "{from} is advertised: {sdp}");
    sdp.replace(&of(from), &of(to))
}

async fn exchange((mut near, mut far): (End, End)) {
    for number in 0..20 {
        send(&mut near.0.send, number, 5_000).await;
        send(&mut far.0.send, number, 5_000).await;
    }
    for number in 0..20 {
        assert_eq!(receive(&mut far.0.receive).await, (number, 5_000));
        assert_eq!(receive(&mut near.0.receive).await, (number, 5_000));
    }
}

#[tokio::test]
async fn a_node_behind_a_nat_is_reached_where_it_says() {
    for lite in [true, false] {
        for listens in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            println!("listening at {listens}, lite: {lite}");
            let server = listening(listens, &[PUBLIC], builder().ice_lite(lite));
            let hide = |sdp: String| nat(&sdp, PUBLIC, LOOPBACK);
            exchange(join_with(&client(), &server, hide).await).await;
        }
        let server = listening("[::]:0", &[PUBLIC_6], builder().ice_lite(lite));
        let hide = |sdp: String| nat(&sdp, PUBLIC_6, LOOPBACK_6);
        exchange(join_from(LOOPBACK_6, &client(), &server, hide).await).await;
    }
}

/// What goes back has to come from where the peer sent to, or its NAT and its ICE drop it. The system would
/// choose another address.
#[tokio::test]
async fn answers_go_out_where_the_question_came_in() {
    for listens in ["0.0.0.0:0", "[::]:0"] {
        let server = listening(listens, &[PUBLIC], builder());
        let hide = |sdp: String| nat(&sdp, PUBLIC, SECOND);
        exchange(join_with(&client(), &server, hide).await).await;
    }
}

/// Addresses of both families, and as IPv6 has those of IPv4.
#[tokio::test]
async fn one_socket_is_reached_over_both_families() {
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    };
    for advertised in [LOOPBACK, mapped(LOOPBACK)] {
        let server = listening("[::]:0", &[LOOPBACK_6, advertised], builder());
        for local in [LOOPBACK, LOOPBACK_6, mapped(LOOPBACK)] {
            println!("from {local}");
            exchange(join_from(local, &client(), &server, |sdp| sdp).await).await;
        }
    }
    let server = listening("[::ffff:127.0.0.1]:0", &[], builder());
    assert_eq!(server.addresses().next().unwrap().ip(), LOOPBACK);
    exchange(join_with(&client(), &server, |sdp| sdp).await).await;
}
