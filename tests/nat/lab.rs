//! The network: this namespace is what lies between, and two others are routers with a host behind each.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where servers are, which everybody reaches.
pub(crate) const SERVERS: &str = "198.51.100.1";

/// What a router does with its host's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// There is none: the node is on the router itself, at a public address.
    None,
    /// The host has one port outside for each of its own; only whom it sent to may answer. As most have it at home.
    Cone,
    /// Another port outside for each whom it sends to: nobody can be told where the host is. As carriers have it.
    Symmetric,
    /// The same, and no UDP gets out, as in some companies.
    WithoutUdp,
}

/// A process that is killed when this is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A router and the host behind it: each a namespace that lives as long as a process in it.
pub(crate) struct Side {
    router: Process,
    host: Process,
    outside: String,
    inside: String,
}

pub(crate) fn system(words: &str) {
    let mut all = words.split_whitespace();
    let status = Command::new(all.next().unwrap()).args(all).status().unwrap();
    assert!(status.success(), "{words}: {status}");
}

fn namespace() -> Process {
    let mut command = Command::new("unshare");
    let process = Process(command.args(["-n", "sleep", "600"]).spawn().unwrap());
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    let there = format!("/proc/{}/ns/net", process.0.id());
    while std::fs::read_link(&there).is_ok_and(|there| there == here) {
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}

fn within(process: &Process, words: &str) {
    system(&format!("nsenter -t {} -n {words}", process.0.id()));
}

/// Has what runs in this namespace pass packets on.
fn forward(process: Option<&Process>) {
    let mut command = match process {
        Some(process) => {
            let mut command = Command::new("nsenter");
            command.args(["-t", &process.0.id().to_string(), "-n", "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    let status = command.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).status().unwrap();
    assert!(status.success(), "packets cannot be passed on: {status}");
}

/// Makes the network between.
pub(crate) fn between() {
    system("ip link set lo up");
    system(&format!("ip addr add {SERVERS}/32 dev lo"));
    // What goes to private addresses gets lost here, as anywhere; that it cannot be sent would have coturn end the session.
    for words in [
        "link add nowhere type veth peer name hole",
        "addr add 192.0.2.1/24 dev nowhere",
        "link set nowhere up",
        "link set hole up",
        "neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev nowhere",
        "route add default via 192.0.2.2",
    ] {
        system(&format!("ip {words}"));
    }
    forward(None);
}

impl Side {
    /// Side 1 or 2.
    pub(crate) fn new(number: u8) -> Self {
        let (router, host) = (namespace(), namespace());
        let (gate, outside) = (format!("203.0.{number}.1"), format!("203.0.{number}.2"));
        let (way, inside) = (format!("10.0.{number}.1"), format!("10.0.{number}.2"));
        system(&format!("ip link add to{number} type veth peer name wan"));
        system(&format!("ip link set wan netns {}", router.0.id()));
        system(&format!("ip addr add {gate}/24 dev to{number}"));
        system(&format!("ip link set to{number} up"));
        for words in
            ["link set lo up", &format!("addr add {outside}/24 dev wan"), "link set wan up"]
        {
            within(&router, &format!("ip {words}"));
        }
        within(&router, &format!("ip route add default via {gate}"));
        within(&router, "ip link add lan type veth peer name eth");
        within(&router, &format!("ip link set eth netns {}", host.0.id()));
        within(&router, &format!("ip addr add {way}/24 dev lan"));
        within(&router, "ip link set lan up");
        for words in ["link set lo up", &format!("addr add {inside}/24 dev eth"), "link set eth up"]
        {
            within(&host, &format!("ip {words}"));
        }
        within(&host, &format!("ip route add default via {way}"));
        forward(Some(&router));
        Self { router, host, outside, inside }
    }

    /// Has the router do this from now on.
    pub(crate) fn become_a(&self, nat: Nat) {
        let mut rules = "flush ruleset\n".to_owned();
        if nat != Nat::None {
            let how = if nat == Nat::Cone { "" } else { "random,fully-random" };
            rules += &format!(
                "table ip nat {{\n chain out {{\n type nat hook postrouting priority 100;\n oifname wan masquerade {how};\n }}\n \
                 chain in {{\n type filter hook input priority 0;\n iifname wan ct state new drop;\n }}\n}}\n"
            );
        }
        if nat == Nat::WithoutUdp {
            rules += "table ip wall {\n chain on {\n type filter hook forward priority 0;\n ip protocol udp drop;\n }\n}\n";
        }
        let mut nft = Command::new("nsenter");
        nft.args(["-t", &self.router.0.id().to_string(), "-n", "nft", "-f", "-"]);
        let mut nft = nft.stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
    }

    /// Where a node is, and what runs it there.
    pub(crate) fn place(&self, nat: Nat) -> (&str, Command) {
        let (address, process) = match nat {
            Nat::None => (&self.outside, &self.router),
            _ => (&self.inside, &self.host),
        };
        let mut command = Command::new("nsenter");
        command.args(["-t", &process.0.id().to_string(), "-n"]);
        command.arg(std::env::current_exe().unwrap());
        (address, command)
    }
}
