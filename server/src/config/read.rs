//! Which keys there are, what they may be, and how they go together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deltawire_hub::Deliver;
use deltawire_hub::store::{BadOption, Durability};
use deltawire_signalling::Token;

use super::error::{ConfigError, ConfigErrors, Origin};
use super::section::{Reading, Section};
use super::values::show_size;
use super::{
    Access, ArchiveConfig, Config, Forwarded, HubConfig, LimitsConfig, LogFormat, MetricsConfig,
    Pin, ServerConfig, StoreConfig, TokenConfig,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a delta's frame is longer than its payload, at most.
const FRAME: usize = 128;

impl Config {
    /// Reads a file, or takes the defaults without one, with the process's environment over it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigErrors> {
        let text = match path.map(std::fs::read_to_string).transpose() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                let name = path.map(|path| path.display().to_string()).unwrap_or_default();
                let origin = Origin::File { name, line: 1, column: 1 };
                let message = format!("cannot be read: {error}");
                return Err(ConfigErrors(vec![ConfigError { origin, message }]));
            }
        };
        let name = path.map_or_else(String::new, |path| path.display().to_string());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<Vec<_>>();
        Self::parse(&name, &text, &environment)
    }

    /// Reads a text, whose errors name it `name`, with these variables over it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn parse(
        name: &str,
        text: &str,
        environment: &[(String, String)],
    ) -> Result<Self, ConfigErrors> {
        let reading = Reading::new(name, text);
        let mut config = Self::default();
        let mut root = reading.root(environment);
        let section = root.section("server");
        let http = section.origin("http");
        config.server.read(section);
        config.hub.read(root.section("hub"));
        config.store.read(root.section("store"));
        config.limits.read(root.section("limits"));
        config.metrics.read(root.section("metrics"));
        root.finish();
        #[cfg(test)]
        tests::note_keys(&reading);
        for (key, message) in config.contradictions() {
            let origin = http.clone().filter(|_| key == "server.http");
            reading.error(origin.unwrap_or(Origin::Together), format!("{key}: {message}"));
        }
        reading.finish()?;
        Ok(config)
    }

    /// What does not go together: keys, and why.
    fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, message: String| found.push((key.to_owned(), message));
        let ServerConfig { http, listen, tokens, allow_anonymous, .. } = &self.server;
        let open = |address: &SocketAddr| {
            tokens.is_empty() && !allow_anonymous && !address.ip().is_loopback()
        };
        let who = "would let anybody in that reaches it: give server.tokens, or say \
                   server.allow_anonymous = true";
        if open(http) {
            wrong("server.http", format!("{http} {who}"));
        }
        if self.metrics.prometheus && open(&self.metrics.address) {
            wrong("metrics.address", format!("{} {who}", self.metrics.address));
        }
        if self.metrics.prometheus && self.metrics.address == *http && http.port() != 0 {
            wrong("metrics.address", format!("{http} is server.http too: take another port"));
        }
        if let Some(listen) = listen
            && listen.ip().is_unspecified()
            && self.server.advertise.is_empty()
        {
            let message = format!("peers cannot be told {listen}: say which addresses they reach");
            wrong("server.advertise", message);
        }
        if let Err(error) = self.cors() {
            wrong("server.origins", error.to_string());
        }
        if let Err(error) = self.proxies() {
            wrong("server.trusted_proxies", error.to_string());
        }
        let (mut names, mut texts) = (BTreeSet::new(), BTreeSet::new());
        for token in tokens {
            if !names.insert(&token.name) {
                wrong("server.tokens", format!("two tokens have the name {:?}", token.name));
            }
            if !texts.insert(token.token.authorization()) {
                wrong(
                    "server.tokens",
                    format!("the token of {:?} is another one's too", token.name),
                );
            }
        }
        let log = &self.store.log;
        if self.store.directory.is_none() && log.durability != Durability::Memory {
            let message = "nothing is stored without store.directory: name one";
            wrong("store.durability", message.to_owned());
        }
        if self.store.directory.is_none() && self.store.archive.directory.is_some() {
            let message = "there is nothing to move without store.directory: name one";
            wrong("store.archive.directory", message.to_owned());
        }
        if self.store.directory.is_some() && self.store.directory == self.store.archive.directory {
            let message = "is store.directory too: take another one, of another disk";
            wrong("store.archive.directory", message.to_owned());
        }
        if self.limits.max_body.saturating_add(FRAME) > log.max_record {
            let most = show_size(log.max_record.saturating_sub(FRAME) as u64);
            let message = format!("longer than store.max_record lets a delta be: at most {most}");
            wrong("limits.max_body", message);
        }
        if self.limits.max_body > self.limits.max_body_bytes {
            let most = show_size(self.limits.max_body_bytes as u64);
            wrong("limits.max_body", format!("more than limits.max_body_bytes: at most {most}"));
        }
        if let Err(bad) = self.hub_options(self.shards()).log.check() {
            let BadOption { option, value, least, most } = bad;
            let range = if most == usize::MAX as u64 {
                format!("at least {}", show_size(least))
            } else {
                format!("{} to {}", show_size(least), show_size(most))
            };
            let value = show_size(value);
            let message = format!("{value} does not go with the other keys: must be {range}");
            let section = if option == "max_documents" { "hub" } else { "store" };
            wrong(&format!("{section}.{option}"), message);
        }
        found
    }
}

impl ServerConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        let address = "address with a port, such as 127.0.0.1:8080";
        of.parsed("http", &mut self.http, address);
        of.parsed_or_off("listen", &mut self.listen, address);
        of.list("advertise", &mut self.advertise, "address, such as 192.0.2.1");
        of.parsed("path", &mut self.path, "path such as /webrtc");
        if let Some(tables) = of.tables("tokens") {
            self.tokens =
                tables.into_iter().filter_map(|(of, at)| TokenConfig::read(of, &at)).collect();
        }
        of.flag("allow_anonymous", &mut self.allow_anonymous);
        of.list("origins", &mut self.origins, "origin");
        of.list("trusted_proxies", &mut self.trusted_proxies, "proxy");
        let choices =
            [("forwarded", Forwarded::Forwarded), ("x-forwarded-for", Forwarded::XForwardedFor)];
        of.choice("forwarded_header", &mut self.forwarded, &choices);
        of.time("shutdown", &mut self.shutdown, SECOND..=HOUR);
        if let Some((log, origin)) = of.text("log") {
            match log.parse::<tracing_subscriber::EnvFilter>() {
                Ok(_) => self.log = log,
                Err(error) => of.wrong("log", &origin, format!("{log:?} is no filter: {error}")),
            }
        }
        let choices = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        of.choice("log_format", &mut self.log_format, &choices);
        of.finish();
    }
}

impl TokenConfig {
    fn read(mut of: Section<'_, '_>, at: &Origin) -> Option<Self> {
        let token = of.text("token");
        let name = of.text("name");
        let mut access = Access::default();
        let choices = [("read", Access::Read), ("write", Access::Write), ("admin", Access::Admin)];
        of.choice("access", &mut access, &choices);
        let mut snapshots = access == Access::Admin;
        of.flag("snapshots", &mut snapshots);
        for (key, missing) in [("token", token.is_none()), ("name", name.is_none())] {
            if missing {
                of.wrong(key, at, "is missing");
            }
        }
        let token = token.and_then(|(token, origin)| match Token::new(token) {
            Ok(token) => Some(token),
            Err(error) => {
                of.wrong("token", &origin, error);
                None
            }
        });
        let name = name.and_then(|(name, origin)| {
            let fits = (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
            if !fits {
                of.wrong("name", &origin, "must be 1 to 256 bytes, without control characters");
            }
            fits.then_some(name)
        });
        of.finish();
        Some(Self { token: token?, name: name?, access, snapshots })
    }
}

impl HubConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        if of.is_number("shards") {
            let mut shards = 0;
            of.number("shards", &mut shards, 1..=1_024);
            self.shards = (shards > 0).then_some(shards);
        } else {
            of.choice("shards", &mut self.shards, &[("auto", None)]);
        }
        of.number("max_peers", &mut self.max_peers, 1..=10_000_000);
        of.number("max_peers_per_address", &mut self.max_peers_per_address, 1..=10_000_000);
        of.number("max_pending", &mut self.max_pending, 1..=1_000_000);
        of.time("resume_timeout", &mut self.resume_timeout, Duration::ZERO..=HOUR);
        of.number("max_detached", &mut self.max_detached, 1..=10_000_000);
        of.long_size("max_detached_bytes", &mut self.max_detached_bytes, MIB..=1_024 * GIB);
        of.number("max_detached_per_owner", &mut self.max_detached_per_owner, 1..=10_000_000);
        of.number("max_documents", &mut self.max_documents, 1..=1_000_000_000);
        let most = 1_000_000;
        of.number("max_subscriptions_per_peer", &mut self.max_subscriptions_per_peer, 1..=most);
        of.size("tail", &mut self.tail, KIB..=GIB);
        of.size("max_tail_bytes", &mut self.max_tail_bytes, KIB..=64 * GIB);
        let choices = [("appended", Deliver::Appended), ("stored", Deliver::Stored)];
        of.choice("deliver", &mut self.deliver, &choices);
        of.number("max_keyed", &mut self.max_keyed, 1..=1_000_000);
        of.number("peer_deltas", &mut self.peer_deltas, 0..=1_000_000_000);
        of.size("peer_bytes", &mut self.peer_bytes, 0..=4 * GIB - 1);
        of.number("peer_documents", &mut self.peer_documents, 0..=1_000_000_000);
        of.number("max_present", &mut self.max_present, 1..=1_000_000);
        of.size("max_presence_len", &mut self.max_presence_len, 1..=MIB);
        of.time("presence_timeout", &mut self.presence_timeout, SECOND..=HOUR);
        let choices = [("auto", Pin::Auto), ("on", Pin::On), ("off", Pin::Off)];
        of.choice("pin", &mut self.pin, &choices);
        of.finish();
    }
}

impl StoreConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        if let Some((directory, origin)) = of.text("directory") {
            if directory.is_empty() {
                of.wrong("directory", &origin, "is empty: leave it out to keep nothing");
            } else {
                self.directory = Some(PathBuf::from(directory));
                self.log.durability = Durability::grouped();
            }
        }
        let log = &mut self.log;
        if of.is_table("durability") {
            let mut durability = of.section("durability");
            let mut grouped = durability.section("grouped");
            let (mut max_wait, mut max_bytes) = (2 * MS, 1 << 20);
            grouped.time("max_wait", &mut max_wait, Duration::ZERO..=SECOND);
            grouped.size("max_bytes", &mut max_bytes, KIB..=GIB);
            grouped.finish();
            durability.finish();
            log.durability = Durability::Grouped { max_wait, max_bytes };
        } else {
            let choices = [
                ("page-cache", Durability::PageCache),
                ("grouped", Durability::grouped()),
                ("each", Durability::Each),
            ];
            of.choice("durability", &mut log.durability, &choices);
        }
        of.size("segment", &mut log.segment, MIB..=2 * GIB);
        of.size("chunk", &mut log.chunk, 4 * KIB..=64 * MIB);
        of.size("max_record", &mut log.max_record, KIB..=GIB);
        of.size("max_hot_bytes", &mut log.max_hot_bytes, MIB..=u64::MAX);
        of.size("max_cold_bytes", &mut log.max_cold_bytes, MIB..=u64::MAX);
        of.size("max_dirty_bytes", &mut log.max_dirty_bytes, KIB..=u64::MAX);
        of.size("max_index_bytes", &mut log.max_index_bytes, MIB..=u64::MAX);
        of.number("max_writers", &mut log.max_writers, 1..=4_096);
        of.time("remember_writers", &mut log.remember_writers, Duration::ZERO..=YEAR);
        of.number("compact_below", &mut log.compact_below, 0..=90);
        let mut kept = of.section("retention");
        let retention = &mut log.retention;
        let mut max_age = Duration::ZERO;
        kept.time("max_age", &mut max_age, SECOND..=100 * YEAR);
        if max_age > Duration::ZERO {
            retention.max_age = Some(max_age);
        }
        kept.long_size("max_bytes", &mut retention.max_bytes, MIB..=u64::MAX);
        kept.long_size("per_document", &mut retention.per_document_bytes, KIB..=u64::MAX);
        let most = u64::MAX;
        kept.long_number("per_document_records", &mut retention.per_document_records, 1..=most);
        kept.long_number("keep_after_snapshot", &mut retention.keep_after_snapshot, 0..=most);
        kept.finish();
        self.archive.read(of.section("archive"));
        of.finish();
    }
}

impl ArchiveConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        if let Some((directory, origin)) = of.text("directory") {
            if directory.is_empty() {
                of.wrong("directory", &origin, "is empty: leave it out to move nothing");
            } else {
                self.directory = Some(PathBuf::from(directory));
            }
        }
        of.long_size("keep_bytes", &mut self.keep_bytes, 0..=u64::MAX);
        let mut keep_for = Duration::ZERO;
        of.time("keep_for", &mut keep_for, SECOND..=100 * YEAR);
        if keep_for > Duration::ZERO {
            self.keep_for = Some(keep_for);
        }
        of.time("timeout", &mut self.timeout, 100 * MS..=HOUR);
        of.number("max_reads", &mut self.max_reads, 1..=1_024);
        of.finish();
    }
}

impl LimitsConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        of.time("ask_timeout", &mut self.ask_timeout, 10 * MS..=HOUR);
        of.number("max_connections", &mut self.max_connections, 1..=1_000_000);
        let per_address = &mut self.max_connections_per_address;
        of.number("max_connections_per_address", per_address, 1..=1_000_000);
        of.time("head_timeout", &mut self.head_timeout, 100 * MS..=HOUR);
        of.time("write_timeout", &mut self.write_timeout, 100 * MS..=HOUR);
        of.time("connection_age", &mut self.connection_age, SECOND..=YEAR);
        of.size("max_body", &mut self.max_body, KIB..=GIB);
        of.time("body_timeout", &mut self.body_timeout, 100 * MS..=HOUR);
        of.size("max_body_bytes", &mut self.max_body_bytes, KIB..=u64::MAX);
        of.number("max_followers", &mut self.max_followers, 0..=1_000_000);
        of.size("follower_queue", &mut self.follower_queue, KIB..=GIB);
        of.time("heartbeat", &mut self.heartbeat, 100 * MS..=HOUR);
        of.time("stored_timeout", &mut self.stored_timeout, 10 * MS..=HOUR);
        of.number("signalling_burst", &mut self.signalling_burst, 1..=usize::from(u16::MAX));
        of.time("signalling_refill", &mut self.signalling_refill, Duration::ZERO..=HOUR);
        of.finish();
    }
}

impl MetricsConfig {
    fn read(&mut self, mut of: Section<'_, '_>) {
        of.flag("prometheus", &mut self.prometheus);
        let address = "address with a port, such as 127.0.0.1:9090";
        of.parsed("address", &mut self.address, address);
        of.finish();
    }
}

#[cfg(test)]
mod tests;
