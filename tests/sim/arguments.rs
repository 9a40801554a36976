use std::time::Duration;

use deltawire::webrtc::EngineKind;

/// What is to be run.
pub(crate) struct Arguments {
    /// So many seeds.
    pub(crate) seeds: u64,
    /// No new seed after so long.
    pub(crate) limit: Option<Duration>,
    /// Only this one, with what it does.
    pub(crate) seed: Option<u64>,
    /// Only this one of the checks with tables.
    pub(crate) check: Option<String>,
    /// Only the checks with tables, and of them what is about this engine.
    pub(crate) engine: Option<EngineKind>,
    /// Whether nothing is to be run: somebody asked libtest for other tests, or for a list.
    pub(crate) nothing: bool,
}

/// This program's name among tests, for filters such as `cargo test name`.
const NAME: &str = "sim";

const USAGE: &str = "usage: [--seeds N (default: 1000)] [--minutes M] [--seed S (only this one)] \
                     [--check NAME (only this table)] [--engine lean|str0m (only tables, of this engine)]";

impl Arguments {
    /// Those of this program, and libtest's, which `cargo test` hands to each.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut seeds, mut limit, mut seed, mut check, mut nothing) =
            (None, None, None, None, false);
        let mut engine = None;
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().and_then(|number| number.parse::<u64>().ok());
                number.ok_or_else(|| format!("{word} needs a number; {USAGE}"))
            };
            match word.as_str() {
                "--seeds" => seeds = Some(number()?),
                "--minutes" => limit = Some(Duration::from_secs(60 * number()?)),
                "--seed" => seed = Some(number()?),
                "--check" => check = words.next(),
                "--engine" => {
                    engine = Some(match words.next().as_deref() {
                        Some("lean") => EngineKind::Lean,
                        Some("str0m") => EngineKind::Str0m,
                        _ => return Err(format!("--engine needs lean or str0m; {USAGE}")),
                    });
                }
                "--list" => nothing = true,
                "--test-threads" => drop(number()?),
                "--skip" => nothing |= words.next().is_some_and(|name| NAME.contains(&name)),
                "--color" | "--format" => drop(words.next()),
                option if option.starts_with('-') => {}
                filter => nothing |= !NAME.contains(filter),
            }
        }
        // With a time and no number, time alone ends it.
        let seeds = seeds.unwrap_or(if limit.is_some() { u64::MAX } else { 1_000 });
        Ok(Self { seeds, limit, seed, check, engine, nothing })
    }
}
