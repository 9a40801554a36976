use std::time::Duration;

/// What is to be run.
pub(crate) struct Arguments {
    /// So many seeds.
    pub(crate) seeds: u64,
    /// No new seed after so long.
    pub(crate) limit: Option<Duration>,
    /// Only this one, with what it does.
    pub(crate) seed: Option<u64>,
}

const USAGE: &str = "usage: [--seeds N (default: 1000)] [--minutes M] [--seed S (only this one)]";

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { seeds: 1_000, limit: None, seed: None };
        while let Some(word) = words.next() {
            let number = words.next().and_then(|number| number.parse::<u64>().ok());
            let number = number.ok_or_else(|| format!("{word} needs a number; {USAGE}"))?;
            match word.as_str() {
                "--seeds" => arguments.seeds = number,
                "--minutes" => arguments.limit = Some(Duration::from_secs(60 * number)),
                "--seed" => arguments.seed = Some(number),
                _ => return Err(format!("unknown argument {word}; {USAGE}")),
            }
        }
        Ok(arguments)
    }
}
