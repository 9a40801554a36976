//! Sizes and times as people write them.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Bytes, as a number or as a text such as `64MiB`.
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected bytes: a number, or a text such as \"64MiB\"")]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => match text.trim().parse::<ByteSize>() {
                Ok(size) => Ok(Self(size.0)),
                Err(_) => Err(serde::de::Error::custom(format!(
                    "{text:?} is no size: write a number and a unit, such as \"64MiB\" or \"1GB\""
                ))),
            },
        }
    }
}

/// A time, as a text such as `2ms`.
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a time: a text with a unit, such as \"2ms\" or \"30d\""
        )]
        enum Written {
            Text(String),
        }
        let Written::Text(text) = Written::deserialize(deserializer)?;
        match humantime::parse_duration(text.trim()) {
            Ok(time) => Ok(Self(time)),
            Err(_) => Err(serde::de::Error::custom(format!(
                "{text:?} is no time: write a number and a unit, such as \"2ms\", \"30s\" or \"30d\""
            ))),
        }
    }
}

pub(super) fn show_size(bytes: u64) -> String {
    // Exactly, or as a plain number.
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| bytes >> bits > 0 && bytes.is_multiple_of(1 << bits)) {
        Some((unit, bits)) => format!("{}{unit}", bytes >> bits),
        None => bytes.to_string(),
    }
}

pub(super) fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
