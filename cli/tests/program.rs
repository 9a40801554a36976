//! The program, run as people run it.

mod common;

use std::time::Duration;

use common::{Folder, Running, deltawire, free_port, random};

fn run(arguments: &[&str]) -> (String, Option<i32>) {
    Running::start(&mut deltawire(arguments)).ended()
}

/// `serve` or `receive`, and its address.
fn listening(arguments: &[&str]) -> (Running, String) {
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = deltawire(arguments);
    let running = Running::start(command.args(["--json", "--listen", &listen]));
    running.says("\"listening\"");
    (running, format!("http://{listen}/"))
}

#[test]
fn files_go_from_one_to_the_other() {
    let (from, to) = (Folder::new("go-from"), Folder::new("go-to"));
    let files = [("a.bin", random(3 << 20, 1)), ("empty", Vec::new()), ("ü ö", random(5, 2))];
    let paths: Vec<String> = files
        .iter()
        .map(|(name, bytes)| from.put(name, bytes).to_str().unwrap().to_owned())
        .collect();
    let (mut receiving, url) = listening(&["receive", "--once", "--to", to.path()]);
    let mut arguments = vec!["send", "--json"];
    arguments.extend(paths.iter().map(String::as_str));
    arguments.push(&url);
    let (said, code) = run(&arguments);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|it| it["event"] == "sent").count(), 3, "{said}");
    let (said, code) = receiving.ended();
    assert_eq!(code, Some(0), "{said}");
    for (name, bytes) in &files {
        assert!(to.get(name) == *bytes, "{name}");
        assert!(said.contains(&blake3::hash(bytes).to_hex().to_string()), "{said}");
    }
    assert_eq!(to.names().len(), 3);
}

#[test]
fn what_is_served_can_be_listed_and_got() {
    let (from, to) = (Folder::new("serve"), Folder::new("get"));
    let bytes = random(1 << 20, 3);
    from.put("a.bin", &bytes);
    from.put(".hidden", b"not for others");
    std::os::unix::fs::symlink("/etc/passwd", from.0.join("passwd")).unwrap();
    let (_serving, url) = listening(&["serve", from.path()]);
    let (said, code) = run(&["get", &url]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.trim(), "1048576  a.bin");
    let (said, code) = run(&["get", &url, "a.bin", "--to", to.path()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(to.get("a.bin") == bytes);
    for (name, expected) in [("b.bin", 5), ("passwd", 5), (".hidden", 3), ("../a", 3)] {
        let (said, code) = run(&["get", &url, name, "--to", to.path()]);
        assert_eq!(code, Some(expected), "{name}: {said}");
    }
    // Nobody may write there.
    let file = to.0.join("a.bin");
    let (said, code) = run(&["send", file.to_str().unwrap(), &url]);
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(to.names(), ["a.bin"]);
}

#[test]
fn two_folders_get_the_same_files() {
    let (here, there) = (Folder::new("sync-here"), Folder::new("sync-there"));
    let old = random(2 << 20, 4);
    let mut new = old.clone();
    new[1_000_000] ^= 1;
    here.put("only here", b"1");
    there.put("only there", b"2");
    here.put("older here", &old);
    there.put("older there", &old);
    std::thread::sleep(Duration::from_millis(20));
    there.put("older here", &new);
    here.put("older there", &new);
    let (_serving, url) = listening(&["serve", there.path(), "--writable"]);
    let (said, code) = run(&["sync", here.path(), &url, "--json", "--keep"]);
    assert_eq!(code, Some(0), "{said}");
    for line in said.lines().filter(|line| line.contains("older")) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["moved"], 65_536, "only the piece that differs: {line}");
    }
    let same = ["older here", "older there", "only here", "only there"];
    assert_eq!(there.names(), same);
    for name in same {
        assert!(here.get(name) == there.get(name), "{name}");
    }
    assert!(here.get("older here") == new && here.get("older here (1)") == old);
    // What was kept goes over too, and then nothing any more.
    assert_eq!(run(&["sync", here.path(), &url]).1, Some(0));
    let (said, code) = run(&["sync", here.path(), &url]);
    assert_eq!((said.trim(), code), ("0 files went over", Some(0)));
    assert_eq!(here.names(), there.names());
}

#[test]
fn exit_codes_say_what_was_wrong() {
    let folder = Folder::new("codes");
    let file = folder.put("a", b"a");
    let file = file.to_str().unwrap();
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    for (arguments, expected) in [
        (&["send"][..], 2),
        (&["unknown"], 2),
        (&["send", "/nowhere/a", &nobody], 1),
        (&["send", file, &nobody, "--retries", "1"], 4),
        (&["receive", "--to", "/nowhere"], 3),
        (&["receive", "--listen", "192.0.2.1:1"], 3),
        (&["ping", &nobody], 4),
        (&["inspect", "/nowhere"], 1),
        (&["--version"], 0),
        (&["sync", "--help"], 0),
    ] {
        let (said, code) = run(arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
    }
    let (taken, url) = listening(&["echo"]);
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let (said, code) = run(&["echo", "--listen", address]);
    assert_eq!(code, Some(3), "{said}");
    drop(taken);
}

#[test]
fn a_token_keeps_others_out() {
    let folder = Folder::new("token");
    let file = folder.put("a", b"a");
    let to = Folder::new("token-to");
    let (_receiving, url) = listening(&["receive", "--to", to.path(), "--token", "secret"]);
    let file = file.to_str().unwrap();
    let (said, code) = run(&["send", file, &url, "--retries", "1"]);
    assert_eq!(code, Some(4), "{said}");
    let (said, code) = run(&["send", file, &url, "--token", "secret"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(to.names(), ["a"]);
}

#[test]
fn echo_answers_ping_and_the_rest_says_something() {
    let (_echo, url) = listening(&["echo"]);
    let (said, code) = run(&["ping", &url, "--rounds", "50", "--throughput", "4"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("50 round trips") && said.contains("4 MiB there and back"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let (said, code) = run(&["completions", shell]);
        assert!(code == Some(0) && said.contains("receive"), "{shell}");
    }
    let folder = Folder::new("inspect");
    let file = folder.put("hex", b"01030100 00000000 03000000 00000100 616263");
    let (said, code) = run(&["inspect", "--hex", file.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("opaque"), "{said}");
}
