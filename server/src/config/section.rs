//! Reads a TOML document key by key, so that each error knows its place, and unknown keys the nearest known one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Origin};
use super::nearest::{nearest, nearest_of};
use super::values::{Size, Time, show_size, show_time};

/// How environment variables of the configuration begin.
const PREFIX: &str = "DELTAWIRE_";

/// What stands between the sections of a key in a variable's name.
const SEPARATOR: &str = "__";

enum Item<'i> {
    Table(Table<'i>),
    Value(Spanned<DeValue<'i>>),
}

struct Entry<'i> {
    origin: Origin,
    item: Item<'i>,
}

type Table<'i> = BTreeMap<String, Entry<'i>>;

/// What is found while a document is read.
pub(super) struct Reading<'i> {
    name: &'i str,
    text: &'i str,
    errors: RefCell<Vec<ConfigError>>,
    /// Every key that was asked for.
    known: RefCell<Vec<String>>,
    /// Keys that nobody asked for.
    unknown: RefCell<Vec<(String, Origin)>>,
}

/// A table of the document.
pub(super) struct Section<'r, 'i> {
    reading: &'r Reading<'i>,
    path: String,
    table: Table<'i>,
}

impl<'i> Reading<'i> {
    /// Of the file `name` with this text.
    pub(super) fn new(name: &'i str, text: &'i str) -> Self {
        Self {
            name,
            text,
            errors: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// The whole document, with what the environment says over it.
    pub(super) fn root<'r>(&'r self, environment: &'i [(String, String)]) -> Section<'r, 'i> {
        let mut table = match DeTable::parse(self.text) {
            Ok(parsed) => self.table(parsed.into_inner()),
            Err(error) => {
                self.error(self.place(error.span()), error.message());
                Table::new()
            }
        };
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX).filter(|key| key.contains(SEPARATOR)) else {
                continue;
            };
            let key = key.to_ascii_lowercase();
            let parts: Vec<&str> = key.split(SEPARATOR).collect();
            self.set(&mut table, &parts, name, value);
        }
        Section { reading: self, path: String::new(), table }
    }

    fn table(&self, table: DeTable<'i>) -> Table<'i> {
        let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'i>>)| {
            let origin = self.place(Some(key.span()));
            let span = value.span();
            let item = match value.into_inner() {
                DeValue::Table(table) => Item::Table(self.table(table)),
                value => Item::Value(Spanned::new(span, value)),
            };
            let key: std::borrow::Cow<'i, str> = key.into_inner();
            (key.into_owned(), Entry { origin, item })
        };
        table.into_iter().map(entry).collect()
    }

    /// Puts the value of an environment variable where its name says.
    fn set(&self, table: &mut Table<'i>, parts: &[&str], name: &str, value: &'i str) {
        let origin = Origin::Environment(name.to_owned());
        let [key, rest @ ..] = parts else { return };
        if rest.is_empty() {
            let text = || Spanned::new(0..value.len(), DeValue::String(value.into()));
            let value = DeValue::parse(value).unwrap_or_else(|_| text());
            let span = value.span();
            let item = match value.into_inner() {
                DeValue::Table(inner) => {
                    let mut inner = self.table(inner);
                    place_all(&mut inner, &origin);
                    Item::Table(inner)
                }
                value => Item::Value(Spanned::new(span, value)),
            };
            table.insert((*key).to_owned(), Entry { origin, item });
            return;
        }
        let empty = || Entry { origin: origin.clone(), item: Item::Table(Table::new()) };
        let entry = table.entry((*key).to_owned()).or_insert_with(empty);
        if !matches!(entry.item, Item::Table(_)) {
            // The environment counts for more.
            *entry = empty();
        }
        if let Item::Table(table) = &mut entry.item {
            self.set(table, rest, name, value);
        }
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Origin {
        let at = span.map_or(0, |span| span.start).min(self.text.len());
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Origin::File { name: self.name.to_owned(), line, column }
    }

    pub(super) fn error(&self, origin: Origin, message: impl Display) {
        self.errors.borrow_mut().push(ConfigError { origin, message: message.to_string() });
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<String> {
        self.known.borrow().clone()
    }

    /// What is wrong, once everything was asked for.
    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        let (mut errors, known) = (self.errors.into_inner(), self.known.into_inner());
        for (path, origin) in self.unknown.into_inner() {
            let nearest = match nearest(&path, &known) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            errors.push(ConfigError { origin, message: format!("{path}: unknown key{nearest}") });
        }
        errors.sort_by_key(|error| match &error.origin {
            Origin::File { line, column, .. } => (*line, *column),
            _ => (usize::MAX, 0),
        });
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

/// All of it was written there.
fn place_all(table: &mut Table<'_>, origin: &Origin) {
    for entry in table.values_mut() {
        entry.origin = origin.clone();
        if let Item::Table(inner) = &mut entry.item {
            place_all(inner, origin);
        }
    }
}

impl<'r, 'i> Section<'r, 'i> {
    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &str) -> Option<Entry<'i>> {
        self.reading.known.borrow_mut().push(self.full(key));
        self.table.remove(key)
    }

    fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<(T, Origin)> {
        let Entry { origin, item } = self.take(key)?;
        let value = match item {
            Item::Value(value) => value,
            Item::Table(_) => {
                self.error(&origin, key, "expected a value, and found a table");
                return None;
            }
        };
        let is_variable = matches!(origin, Origin::Environment(_));
        let mut read = T::deserialize(toml::de::ValueDeserializer::from(value.clone()));
        if is_variable && read.is_err() {
            // A text need not be quoted there.
            let text = match value.get_ref() {
                DeValue::Integer(number) => Some(number.as_str().to_owned()),
                DeValue::Boolean(flag) => Some(flag.to_string()),
                _ => None,
            };
            if let Some(text) = text {
                let text = Spanned::new(value.span(), DeValue::String(text.into()));
                read = T::deserialize(toml::de::ValueDeserializer::from(text)).or(read);
            }
        }
        match read {
            Ok(read) => Some((read, origin)),
            Err(error) => {
                // The value's own line, which may be further down in a list.
                let span = error.span().or_else(|| Some(value.span()));
                let origin = if is_variable { origin } else { self.reading.place(span) };
                self.error(&origin, key, error.message());
                None
            }
        }
    }

    fn error(&self, origin: &Origin, key: &str, message: impl Display) {
        self.reading.error(origin.clone(), format!("{}: {message}", self.full(key)));
    }

    /// The table under this key; an empty one if there is none. `None` when it is something else.
    pub(super) fn section(&mut self, key: &str) -> Section<'r, 'i> {
        let path = self.full(key);
        let (reading, table) = (self.reading, self.table.remove(key));
        reading.known.borrow_mut().push(path.clone());
        let table = match table {
            Some(Entry { item: Item::Table(table), .. }) => table,
            Some(Entry { origin, .. }) => {
                self.error(&origin, key, "expected a table");
                Table::new()
            }
            None => Table::new(),
        };
        Section { reading, path, table }
    }

    /// Whether the key is there, and is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        matches!(self.table.get(key), Some(Entry { item: Item::Table(_), .. }))
    }

    /// Where the key is written, if it is.
    pub(super) fn origin(&self, key: &str) -> Option<Origin> {
        self.table.get(key).map(|entry| entry.origin.clone())
    }

    /// The tables in the list under this key, each with its place.
    pub(super) fn tables(&mut self, key: &str) -> Option<Vec<(Section<'r, 'i>, Origin)>> {
        let Entry { origin, item } = self.take(key)?;
        let Item::Value(value) = item else {
            self.error(&origin, key, "expected a list of tables");
            return None;
        };
        let DeValue::Array(list) = value.into_inner() else {
            self.error(&origin, key, "expected a list of tables");
            return None;
        };
        let is_variable = matches!(origin, Origin::Environment(_));
        let mut found = Vec::new();
        for (index, item) in list.into_iter().enumerate() {
            let place = || self.reading.place(Some(item.span()));
            let at = if is_variable { origin.clone() } else { place() };
            let DeValue::Table(table) = item.into_inner() else {
                self.error(&at, key, "expected a list of tables");
                continue;
            };
            let mut table = self.reading.table(table);
            if is_variable {
                place_all(&mut table, &origin);
            }
            let path = format!("{}[{index}]", self.full(key));
            found.push((Section { reading: self.reading, path, table }, at));
        }
        Some(found)
    }

    /// Whatever was not asked for is unknown.
    pub(super) fn finish(self) {
        let Self { reading, path, table } = self;
        for (key, entry) in table {
            let full = if path.is_empty() { key } else { format!("{path}.{key}") };
            reading.unknown.borrow_mut().push((full, entry.origin));
        }
    }

    pub(super) fn flag(&mut self, key: &str, into: &mut bool) {
        if let Some((flag, _)) = self.read(key) {
            *into = flag;
        }
    }

    pub(super) fn number(&mut self, key: &str, into: &mut usize, range: RangeInclusive<usize>) {
        let Some((number, origin)) = self.read::<u64>(key) else { return };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if range.contains(&number) {
            *into = number;
        } else {
            let (least, most) = range.into_inner();
            self.error(&origin, key, format!("{number} is out of range: {least} to {most}"));
        }
    }

    pub(super) fn long_number(&mut self, key: &str, into: &mut u64, range: RangeInclusive<u64>) {
        let Some((number, origin)) = self.read::<u64>(key) else { return };
        if range.contains(&number) {
            *into = number;
        } else {
            let (least, most) = range.into_inner();
            self.error(&origin, key, format!("{number} is out of range: {least} to {most}"));
        }
    }

    pub(super) fn size(&mut self, key: &str, into: &mut usize, range: RangeInclusive<u64>) {
        let mut bytes = *into as u64;
        self.long_size(key, &mut bytes, range);
        *into = usize::try_from(bytes).unwrap_or(usize::MAX);
    }

    pub(super) fn long_size(&mut self, key: &str, into: &mut u64, range: RangeInclusive<u64>) {
        let Some((Size(bytes), origin)) = self.read(key) else { return };
        if range.contains(&bytes) {
            *into = bytes;
        } else {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            let bytes = show_size(bytes);
            self.error(&origin, key, format!("{bytes} is out of range: {least} to {most}"));
        }
    }

    pub(super) fn time(&mut self, key: &str, into: &mut Duration, range: RangeInclusive<Duration>) {
        let Some((Time(time), origin)) = self.read(key) else { return };
        if range.contains(&time) {
            *into = time;
        } else {
            let (least, most) = (show_time(*range.start()), show_time(*range.end()));
            let time = show_time(time);
            self.error(&origin, key, format!("{time} is out of range: {least} to {most}"));
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<(String, Origin)> {
        self.read(key)
    }

    /// Whether the key is there, and not a text.
    pub(super) fn is_number(&self, key: &str) -> bool {
        let Some(Entry { item: Item::Value(value), .. }) = self.table.get(key) else {
            return false;
        };
        matches!(value.get_ref(), DeValue::Integer(_))
    }

    /// A text that is one of these.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, into: &mut T, choices: &[(&str, T)]) {
        let Some((text, origin)) = self.text(key) else { return };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            *into = *choice;
            return;
        }
        let names = || choices.iter().map(|(name, _)| *name);
        let all = names().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let near = nearest_of(&text, names());
        let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        self.error(&origin, key, format!("{text:?} is none of {all}{near}"));
    }

    /// A text that says something else.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, into: &mut T, expected: &str) {
        let Some((text, origin)) = self.text(key) else { return };
        match text.parse() {
            Ok(parsed) => *into = parsed,
            Err(_) => self.error(&origin, key, format!("{text:?} is no {expected}")),
        }
    }

    /// The same, or `off`.
    pub(super) fn parsed_or_off<T: FromStr>(
        &mut self,
        key: &str,
        into: &mut Option<T>,
        expected: &str,
    ) {
        let Some((text, origin)) = self.text(key) else { return };
        match text.parse() {
            Ok(parsed) => *into = Some(parsed),
            Err(_) if text == "off" => *into = None,
            Err(_) => self.error(&origin, key, format!("{text:?} is no {expected}, nor \"off\"")),
        }
    }

    /// Texts that each say something else.
    pub(super) fn list<T: FromStr>(&mut self, key: &str, into: &mut Vec<T>, expected: &str) {
        let Some((texts, origin)) = self.read::<Vec<String>>(key) else { return };
        let mut list = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(parsed) => list.push(parsed),
                Err(_) => self.error(&origin, key, format!("{text:?} is no {expected}")),
            }
        }
        *into = list;
    }

    pub(super) fn wrong(&self, key: &str, origin: &Origin, message: impl Display) {
        self.error(origin, key, message);
    }
}
