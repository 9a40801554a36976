//! What is of Unix sockets alone.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use deltawire::{Admission, BuildError, ConnectError, Node, UnixPeers};

use crate::lab::{Place, Served, client, free_path, refusal, soon};

fn mode(place: &Place) -> u32 {
    let Place::Unix(path) = place else { panic!("{place:?}") };
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_processes_of_allowed_users_are_at_the_other_end() {
    let of = |peers| Served::new("unix", Node::builder().unix_peers(peers), Admission::anyone());
    let own = of(UnixPeers::default());
    assert_eq!(mode(&own.place), 0o600);
    own.join(&client()).await;
    // A number that no user has here.
    let others = UnixPeers::Users(vec![4_000_000_000]);
    let served = of(others.clone());
    assert_eq!(mode(&served.place), 0o666);
    let error = refusal(soon("refusal", client().connect(&served.url)).await);
    assert!(error.to_string().contains("unix_peers"), "{error}");
    // Who connects looks too: a token goes to nobody else.
    let node = Node::builder().unix_peers(others).build().unwrap();
    match soon("error", node.connect(&own.url)).await.unwrap_err() {
        ConnectError::Stream { source, .. } => {
            assert_eq!(source.kind(), ErrorKind::PermissionDenied);
        }
        other => panic!("{other}"),
    }
    let anyone = of(UnixPeers::Anyone);
    anyone.join(&client()).await;
}

#[tokio::test]
async fn a_file_that_is_left_is_replaced_and_one_in_use_is_not() {
    let path = free_path();
    let build = || Node::builder().accept_unix(&path, Admission::anyone()).build();
    let in_use = |outcome: Result<Node, BuildError>| match outcome.unwrap_err() {
        BuildError::ListenStream { address, source } => {
            assert_eq!(address, format!("unix://{}", path.display()));
            assert_eq!(source.kind(), ErrorKind::AddrInUse);
            source.to_string()
        }
        other => panic!("{other}"),
    };
    // As a process leaves it that is killed.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let node = build().unwrap();
    let url = format!("unix://{}", path.display());
    soon("link", client().connect(&url)).await.unwrap();
    assert!(in_use(build()).contains("another process"));
    soon("link", client().connect(&url)).await.unwrap();
    // Another's that came in its place stays.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    node.shut_down(std::time::Duration::from_millis(100)).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(path.exists());
    drop(other);
    fs::remove_file(&path).unwrap();
    // What is no socket is nobody's to remove.
    fs::write(&path, b"a letter").unwrap();
    assert!(in_use(build()).contains("no socket"));
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn paths_that_cannot_be_are_named() {
    for wrong in ["unix://relative", "unix:///", "unix:/one/slash"] {
        let outcome = soon("error", client().connect(wrong)).await;
        assert!(matches!(outcome, Err(ConnectError::Address { .. })), "{outcome:?}");
    }
    let outcome = soon("error", client().connect("unix:///nobody/is/there")).await;
    assert!(matches!(outcome, Err(ConnectError::Stream { .. })), "{outcome:?}");
    let long = format!("/tmp/{}", "a".repeat(200));
    let outcome = Node::builder().accept_unix(long, Admission::anyone()).build();
    assert!(matches!(outcome, Err(BuildError::ListenStream { .. })), "{outcome:?}");
}
