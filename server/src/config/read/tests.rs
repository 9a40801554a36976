use std::cell::RefCell;

use super::*;

thread_local!(static KEYS: RefCell<Vec<String>> = RefCell::default());

/// Keeps the keys that were asked for, for the test below.
pub(super) fn note_keys(reading: &Reading<'_>) {
    KEYS.set(reading.known());
}

const EXAMPLE: &str = include_str!("../../../deltawire.example.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse("x.toml", text, &[]).map_err(|errors| errors.to_string())
}

fn error(text: &str) -> String {
    parse(text).expect_err(text)
}

#[test]
fn the_example_is_the_defaults_and_has_every_key() {
    let example = parse(EXAMPLE).unwrap();
    assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
    for key in KEYS.take() {
        let word = key.rsplit('.').next().unwrap();
        let is_there = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ', '[']);
            line.starts_with(word) || line.contains(&format!(".{word}]"))
        });
        let inner = ["grouped", "max_wait"].contains(&word);
        assert!(is_there || inner, "{key} is not in the example");
    }
    // What is commented out is right too.
    let tokens = "# { token";
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let is_key = line.trim_start().starts_with(tokens)
            || line.strip_prefix("# ").is_some_and(|line| {
                let key = line.split(" = ").next().unwrap_or_default();
                line.contains(" = ") && key.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
            });
        text += if is_key { line.trim_start().trim_start_matches("# ") } else { line };
        text.push('\n');
    }
    let all = parse(&text).unwrap();
    assert_eq!(all.server.tokens[0].name, "alice");
    assert_eq!(all.store.directory, Some("./data".into()));
    assert_eq!(all.store.log.durability, Durability::grouped());
    assert_eq!(all.store.log.retention.max_bytes, 100 << 30);
    assert_eq!(all.store.log.retention.max_age, Some(Duration::from_secs(30 * 24 * 3_600)));
    assert_eq!(all.store.archive.directory, Some("/mnt/archive".into()));
    assert_eq!(all.store.archive.keep_for, Some(Duration::from_secs(7 * 24 * 3_600)));
    let shared = all.hub_options(4).log;
    assert_eq!((shared.retention.max_bytes, shared.max_documents), (25 << 30, 275_000));
}

#[test]
fn errors_name_place_and_nearest_key() {
    assert_eq!(
        error("[hub]\n\ntial = \"1MiB\"\n"),
        "x.toml:3:1: hub.tial: unknown key; did you mean hub.tail?"
    );
    assert_eq!(
        error("[hub]\nhttp = \"127.0.0.1:1\"\n"),
        "x.toml:2:1: hub.http: unknown key; did you mean server.http?"
    );
    assert_eq!(error("quux = 1"), "x.toml:1:1: quux: unknown key");
    assert_eq!(error("[sever]"), "x.toml:1:2: sever: unknown key; did you mean server?");
    assert_eq!(
        error("[hub]\nmax_peers = \"many\"\n"),
        "x.toml:2:13: hub.max_peers: invalid type: string \"many\", expected u64"
    );
    assert_eq!(
        error("[store]\nsegment = \"64 parsecs\""),
        "x.toml:2:11: store.segment: \"64 parsecs\" is no size: write a number and a unit, such as \
         \"64MiB\" or \"1GB\""
    );
    assert!(error("[limits]\nheartbeat = 5").contains("x.toml:2:13: limits.heartbeat: "));
    assert_eq!(
        error("[limits]\nheartbeat = \"5y\""),
        "x.toml:2:1: limits.heartbeat: 5years is out of range: 100ms to 1h"
    );
    assert_eq!(
        error("[hub]\ndeliver = \"sotred\""),
        "x.toml:2:1: hub.deliver: \"sotred\" is none of \"appended\", \"stored\"; did you mean \"stored\"?"
    );
    assert!(error("[hub\n").starts_with("x.toml:1:"));
    assert!(error("[hub]\ntail = 1\ntail = 2").contains("x.toml:3:1: "));
    let both = error("[hub]\nmax_peers = 0\n[store]\nchunk = true\n");
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(error("server = 5").contains("server: expected a table"));
    assert!(error("[server]\nhttp = { a = 1 }").contains("found a table"));
}

#[test]
fn any_text_is_taken_or_refused() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2_000 {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..random.usize(1..20) {
            let at = random.usize(0..bytes.len());
            match random.u8(0..4) {
                0 => bytes[at] = *random.choice(b"\"'[]{}=#.,\n0-9_\\\xc3\xa9").unwrap(),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.splice(at..at, *b"# \n").for_each(drop),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(wrong) = parse(&text) {
            assert!(wrong.lines().all(|line| !line.is_empty()), "{wrong}");
        }
    }
    for text in ["é = 1", "[é]", "\u{feff}[hub]", "a.b.c.d = 1", "[[hub]]", "hub = [1]"] {
        let _ = parse(text);
    }
}

#[test]
fn tokens_are_checked() {
    let text = "[[server.tokens]]\ntoken = \"a b\"\nnmae = \"x\"\naccess = \"root\"\n";
    let wrong = error(text);
    for part in [
        "x.toml:2:1: server.tokens[0].token: byte 1 of the token",
        "x.toml:3:1: server.tokens[0].nmae: unknown key; did you mean server.tokens[0].name?",
        "x.toml:4:1: server.tokens[0].access: \"root\" is none of",
        "server.tokens[0].name: is missing",
    ] {
        assert!(wrong.contains(part), "{part}\n{wrong}");
    }
    let twice =
        "[server]\ntokens = [{ token = \"a\", name = \"x\" }, { token = \"a\", name = \"x\" }]";
    assert_eq!(error(twice).lines().count(), 2);
}

#[test]
fn the_environment_counts_for_more() {
    let variables = |pairs: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect::<Vec<_>>()
    };
    let environment = variables(&[
        ("DELTAWIRE_STORE__DIRECTORY", "./data"),
        ("DELTAWIRE_STORE__RETENTION__MAX_AGE", "30d"),
        ("DELTAWIRE_HUB__TAIL", "1MiB"),
        ("DELTAWIRE_HUB__MAX_PEERS", "5"),
        ("DELTAWIRE_HUB__SHARDS", "3"),
        ("DELTAWIRE_METRICS__PROMETHEUS", "true"),
        ("DELTAWIRE_SERVER__TOKENS", "[{ token = \"x\", name = \"1\" }]"),
        ("DELTAWIRE_OTHER", "not ours"),
        ("PATH", "/bin"),
    ]);
    let text = "[hub]\ntail = \"2MiB\"\n[store]\nretention = { max_age = \"1d\", per_document = \"1GiB\" }";
    let config = Config::parse("x.toml", text, &environment).unwrap();
    assert_eq!((config.hub.tail, config.hub.max_peers), (1 << 20, 5));
    assert_eq!((config.hub.shards, config.metrics.prometheus), (Some(3), true));
    assert_eq!(config.store.log.retention.per_document_bytes, 1 << 30);
    assert_eq!(config.store.log.retention.max_age, Some(Duration::from_secs(30 * 24 * 3_600)));
    assert_eq!(config.store.log.durability, Durability::grouped());
    assert_eq!(config.server.tokens.len(), 1);
    let number = variables(&[("DELTAWIRE_STORE__DIRECTORY", "17")]);
    let config = Config::parse("", "", &number).unwrap();
    assert_eq!(config.store.directory, Some("17".into()));
    for (name, value, message) in [
        (
            "DELTAWIRE_STROE__DIRECTORY",
            "x",
            "DELTAWIRE_STROE__DIRECTORY: stroe: unknown key; did you mean store?",
        ),
        (
            "DELTAWIRE_HUB__TIAL",
            "1",
            "DELTAWIRE_HUB__TIAL: hub.tial: unknown key; did you mean hub.tail?",
        ),
        (
            "DELTAWIRE_HUB__MAX_PEERS",
            "many",
            "DELTAWIRE_HUB__MAX_PEERS: hub.max_peers: invalid type: string \"many\", expected u64",
        ),
    ] {
        let errors = Config::parse("x.toml", "", &variables(&[(name, value)])).unwrap_err();
        assert_eq!(errors.to_string(), message);
    }
}

#[test]
fn what_does_not_go_together_is_said() {
    assert!(
        error("[server]\nhttp = \"0.0.0.0:8080\"").starts_with(
            "x.toml:2:1: server.http: 0.0.0.0:8080 would let anybody in that reaches it"
        )
    );
    assert!(parse("[server]\nhttp = \"0.0.0.0:8080\"\nallow_anonymous = true").is_ok());
    let token = "[server]\nhttp = \"[::]:80\"\ntokens = [{ token = \"a\", name = \"b\" }]";
    assert!(parse(token).is_ok());
    assert!(error("[server]\nlisten = \"0.0.0.0:1\"").contains("server.advertise: "));
    assert!(error("[store]\ndurability = \"each\"").contains("store.durability: "));
    let archive = "archive.directory = \"./data\"";
    assert!(error(&format!("[store]\n{archive}")).contains("store.archive.directory: there"));
    let same = error(&format!("[store]\ndirectory = \"./data\"\n{archive}"));
    assert!(same.contains("store.archive.directory: is store.directory"), "{same}");
    assert!(error("[limits]\nmax_body = \"16MiB\"").contains("limits.max_body: longer"));
    assert!(error("[limits]\nmax_body_bytes = \"4KiB\"").contains("limits.max_body: more"));
    assert!(error("[store]\nmax_hot_bytes = \"1MiB\"").contains("store.max_hot_bytes: 1MiB"));
    assert!(error("[server]\norigins = [\"example.org\"]").contains("server.origins: "));
    assert!(error("[server]\nlog = \"a=b=c\"").contains("server.log: "));
    let metrics = "[metrics]\nprometheus = true\naddress = \"0.0.0.0:1\"";
    assert!(error(metrics).contains("metrics.address: "));
}
