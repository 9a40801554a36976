//! Either end of a transfer is killed in the middle, and the file arrives.
//!
//! `BULK_KILLS=50` kills as often; 20 times by default.

mod common;

use std::time::Duration;

use common::{Folder, Running, deltawire, random};

#[test]
fn a_file_survives_the_death_of_either_end() {
    let kills: u32 = std::env::var("BULK_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let mut random_numbers = fastrand::Rng::with_seed(u64::from(kills));
    let (mut resumed, mut in_the_middle) = (0, 0);
    for kill in 0..kills {
        let (from, to) = (Folder::new("killed-from"), Folder::new("killed-to"));
        let bytes = random(40 << 20, u64::from(kill));
        let file = from.put("a.bin", &bytes);
        let port = common::free_port();
        let listen = format!("127.0.0.1:{port}");
        let url = format!("http://{listen}/");
        let receive = || {
            let to = to.0.to_str().unwrap();
            let receiving = Running::start(
                deltawire(&["receive", "--once", "--json"]).args(["--listen", &listen, "--to", to]),
            );
            receiving.says("\"listening\"");
            receiving
        };
        let send = || {
            let file = file.to_str().unwrap();
            Running::start(&mut deltawire(&["send", "--json", "--rate", "65536", file, &url]))
        };
        let (mut receiving, mut sending) = (receive(), send());
        std::thread::sleep(Duration::from_millis(random_numbers.u64(50..700)));
        let names = to.names();
        if kill % 2 == 0 {
            receiving.kill();
            receiving = receive();
        } else {
            sending.kill();
            sending = send();
        }
        if names.contains(&"a.bin.part".to_owned()) {
            in_the_middle += 1;
            assert!(!names.contains(&"a.bin".to_owned()), "{names:?}");
        }
        let (said, code) = sending.ended();
        assert_eq!(code, Some(0), "kill {kill}: {said}");
        assert!(!said.contains("\"failed\""), "kill {kill}: {said}");
        if kill % 2 == 1 {
            // It saw one that was killed, and then one that was not.
            let (said, code) = receiving.ended();
            assert_eq!(code, Some(0), "kill {kill}: {said}");
        } else {
            receiving.kill();
        }
        assert!(to.get("a.bin") == bytes, "kill {kill}");
        assert_eq!(to.names(), ["a.bin"], "kill {kill}");
        let sent = said.lines().find(|line| line.contains("\"sent\"")).unwrap();
        let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
        resumed += u32::from(sent["resumed"].as_u64().unwrap() > 0);
    }
    println!("{kills} kills, {in_the_middle} in the middle, {resumed} transfers resumed");
    assert!(in_the_middle >= kills / 2, "{in_the_middle} of {kills}");
    assert!(resumed >= kills / 2, "{resumed} of {kills}");
}
