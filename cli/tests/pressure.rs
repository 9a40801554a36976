//! A disk without room: what does not fit is refused before its first byte, and goes when there is room.

#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{Folder, Running, deltawire, free_port, random};

/// Says, with the value "no", to do without tests that need namespaces.
const NAMESPACES: &str = "DELTAWIRE_TEST_NAMESPACES";

#[test]
fn what_does_not_fit_the_disk_is_refused_until_there_is_room() {
    if std::env::var(NAMESPACES).as_deref() == Ok("no") {
        println!("NOT RUN, because {NAMESPACES} is \"no\"");
        return;
    }
    let works = Command::new("unshare").args(["-rm", "true"]).status();
    assert!(
        works.is_ok_and(|status| status.success()),
        "this test needs namespaces (Debian: util-linux). Where they are not to be had, set {NAMESPACES}=no to do \
         without it"
    );
    let (from, to) = (Folder::new("full-from"), Folder::new("full-to"));
    let bytes = random(8 << 20, 1);
    let file = from.put("a.bin", &bytes);
    let short = from.put("b.bin", &bytes[..1 << 20]);
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let url = format!("http://{listen}/");
    let script = "set -e; mount -t tmpfs -o size=12m none \"$0\"; \
                  head -c 6000000 /dev/zero > \"$0/ballast\"; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, to.path(), env!("CARGO_BIN_EXE_deltawire")]);
    command.args(["receive", "--json", "--listen", &listen, "--to", to.path()]);
    let receiving = Running::start(&mut command);
    receiving.says("\"listening\"");
    let send = |file: &std::path::Path| {
        Running::start(&mut deltawire(&["send", "--json", file.to_str().unwrap(), &url])).ended()
    };
    let (said, code) = send(&file);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("there is no room for it"), "{said}");
    // What fits goes.
    let (said, code) = send(&short);
    assert_eq!(code, Some(0), "{said}");
    let inside = std::path::PathBuf::from(format!("/proc/{}/root{}", receiving.id(), to.path()));
    let mut names: Vec<_> =
        std::fs::read_dir(&inside).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["b.bin", "ballast"], "nothing is left of what was refused");
    std::fs::remove_file(inside.join("ballast")).unwrap();
    let (said, code) = send(&file);
    assert_eq!(code, Some(0), "{said}");
    assert!(std::fs::read(inside.join("a.bin")).unwrap() == bytes);
}
