use core::fmt;
use core::str::FromStr;

use crate::{DEFAULT_PATH, ResourceId};

/// Where offers go: a path like `/webrtc`. Resources lie below it. `/` is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(String);

/// A text that cannot be a [`PathPrefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path {path:?} must be / or like /a/b: parts of letters, digits and -._~, each with a / \
     before it"
)]
pub struct PathPrefixError {
    /// The text.
    pub path: String,
}

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Where offers go.
    Offers,
    /// What an offer made.
    Resource(ResourceId),
    /// Something in a room.
    Room(InRoom),
    /// Nothing.
    Nothing,
}

/// What lies in a room, whose name nobody has looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InRoom {
    pub(super) name: String,
    pub(super) what: RoomTarget,
}

/// What can be asked of a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RoomTarget {
    /// Where offers to it go.
    Room,
    /// Where they are taken.
    Offers,
    /// One that was taken.
    Offer(ResourceId),
}

impl InRoom {
    /// What lies at a path behind `/rooms/`.
    fn read(path: &str) -> Option<Self> {
        let (name, what) = match path.split_once('/') {
            None => (path, RoomTarget::Room),
            Some((name, "offers")) => (name, RoomTarget::Offers),
            Some((name, below)) => {
                let id = below.strip_prefix("offers/")?.parse().ok()?;
                (name, RoomTarget::Offer(id))
            }
        };
        Some(Self { name: name.to_owned(), what })
    }
}

impl PathPrefix {
    /// The paths that this module serves, as axum writes them.
    pub(super) fn routes(&self) -> Vec<String> {
        let mut routes = vec![format!("{}/", self.0), format!("{}/{{*rest}}", self.0)];
        if !self.0.is_empty() {
            routes.push(self.0.clone());
        }
        routes
    }

    pub(super) fn target(&self, path: &str) -> Target {
        match path.strip_prefix(&self.0) {
            Some("") => Target::Offers,
            Some("/") if self.0.is_empty() => Target::Offers,
            Some(below) => {
                let Some(below) = below.strip_prefix('/') else { return Target::Nothing };
                match below.strip_prefix("rooms/") {
                    Some(room) => InRoom::read(room).map_or(Target::Nothing, Target::Room),
                    None => below.parse().map_or(Target::Nothing, Target::Resource),
                }
            }
            None => Target::Nothing,
        }
    }
}

impl Default for PathPrefix {
    fn default() -> Self {
        Self(DEFAULT_PATH.to_owned())
    }
}

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_part = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
        };
        match path.strip_prefix('/') {
            Some("") => Ok(Self(String::new())),
            Some(parts) if parts.split('/').all(is_part) => Ok(Self(path.to_owned())),
            _ => Err(PathPrefixError { path: path.to_owned() }),
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_taken() {
        for path in ["/", "/webrtc", "/v1/signalling.x/~a_b-c"] {
            assert_eq!(path.parse::<PathPrefix>().unwrap().to_string(), path);
        }
        for path in ["", "webrtc", "/a/", "//", "/a//b", "/{id}", "/:a", "/a b", "/*", "/a/.."] {
            assert_eq!(path.parse::<PathPrefix>().unwrap_err().path, path);
        }
    }

    #[test]
    fn targets_are_told_apart() {
        let id = ResourceId::new([7; 16]);
        for prefix in ["/", "/webrtc", "/a/b"] {
            let prefix: PathPrefix = prefix.parse().unwrap();
            let base = prefix.0.clone();
            assert_eq!(prefix.target(&prefix.to_string()), Target::Offers);
            assert_eq!(prefix.target(&format!("{base}/{id}")), Target::Resource(id));
            for below in ["//", "/x", &format!("/{id}/"), &format!("//{id}"), &format!("/{id}/x")] {
                assert_eq!(prefix.target(&format!("{base}{below}")), Target::Nothing, "{below}");
            }
        }
        let prefix = PathPrefix::default();
        let room = |path: &str| match prefix.target(&format!("/webrtc/rooms/{path}")) {
            Target::Room(InRoom { name, what }) => Some((name, what)),
            _ => None,
        };
        for (path, name, what) in [
            ("a", "a", RoomTarget::Room),
            ("offers", "offers", RoomTarget::Room),
            ("", "", RoomTarget::Room),
            ("a/offers", "a", RoomTarget::Offers),
            (&format!("a/offers/{id}"), "a", RoomTarget::Offer(id)),
        ] {
            assert_eq!(room(path), Some((name.to_owned(), what)), "{path}");
        }
        for path in ["a/", "a/b", "a/offers/", "a/offers/1", &format!("a/{id}"), "a//offers"] {
            assert_eq!(room(path), None, "{path}");
        }
        assert_eq!(PathPrefix::default().target("/webrtc/rooms"), Target::Nothing);
        assert_eq!(PathPrefix::default().target("/webrtc/"), Target::Nothing);
        assert_eq!(PathPrefix::default().target("/other"), Target::Nothing);
    }
}
