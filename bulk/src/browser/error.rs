//! What a browser says that went wrong.

use std::io;

use js_sys::{Error, JsString};
use wasm_bindgen::{JsCast, JsValue};

/// Names of exceptions, and what they are elsewhere.
const KINDS: [(&str, io::ErrorKind); 7] = [
    ("InvalidModificationError", io::ErrorKind::AlreadyExists),
    ("NoModificationAllowedError", io::ErrorKind::ResourceBusy),
    ("NotAllowedError", io::ErrorKind::PermissionDenied),
    ("NotFoundError", io::ErrorKind::NotFound),
    ("QuotaExceededError", io::ErrorKind::QuotaExceeded),
    ("SecurityError", io::ErrorKind::PermissionDenied),
    ("TypeMismatchError", io::ErrorKind::IsADirectory),
];

/// As an error of a system's.
pub(super) fn of_browser(thrown: JsValue) -> io::Error {
    let Some(error) = thrown.dyn_ref::<Error>() else {
        return io::Error::other(format!("{thrown:?}"));
    };
    let name = String::from(error.name());
    let kind = KINDS.iter().find(|(known, _)| *known == name);
    let kind = kind.map_or(io::ErrorKind::Other, |(_, kind)| *kind);
    io::Error::new(kind, format!("{name}: {}", String::from(error.message())))
}

/// That this browser lacks something.
pub(super) fn lacks(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this browser lacks {what}"))
}

/// A value of a type that the browser promised.
pub(super) fn expect<T: JsCast>(value: JsValue, what: &str) -> io::Result<T> {
    value.dyn_into().map_err(|_| lacks(what))
}

/// A method that not every browser has.
pub(super) fn method(of: &JsValue, name: &'static str) -> io::Result<js_sys::Function> {
    let found = js_sys::Reflect::get(of, &JsString::from(name)).map_err(of_browser)?;
    found.dyn_into().map_err(|_| lacks(name))
}
