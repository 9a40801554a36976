//! `deltawire sync`.

use std::cmp::Ordering;

use deltawire_bulk::{Bulk, BulkOptions, Existing, FileName, Sink, Source};
use serde_json::json;

use crate::arguments::Sync;
use crate::catalogue::{self, Catalogue, Entry};
use crate::end::End;
use crate::get::list;
use crate::link;
use crate::output::Output;
use crate::send::end_of;

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Here,
}

/// Which files go which way. Of two with one name and different bytes the one changed last goes, and of two that were changed
/// at the same time the one with the greater hash: both sides decide the same.
fn plan(here: &Catalogue, there: &Catalogue) -> Vec<(String, Way)> {
    let newest = |it: &Entry| (it.modified, it.blake3.clone());
    let mut names: Vec<&String> = here.keys().chain(there.keys()).collect();
    names.sort();
    names.dedup();
    let way = |name: &String| match (here.get(name), there.get(name)) {
        (Some(_), None) => Some(Way::There),
        (None, Some(_)) => Some(Way::Here),
        (Some(here), Some(there)) if here.blake3 != there.blake3 => {
            Some(match newest(here).cmp(&newest(there)) {
                Ordering::Less => Way::Here,
                _ => Way::There,
            })
        }
        _ => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), way(name)?))).collect()
}

/// Makes the folder and that of `serve --writable` have the same files.
pub(crate) async fn sync(task: &Sync, options: &link::Options, output: &Output) -> Result<(), End> {
    if !task.folder.is_dir() {
        return Err(End::NotStarted(format!("{} is no folder", task.folder.display())));
    }
    let node = link::client(options, task.retries)?;
    let bounds = BulkOptions { max_len: task.max_len << 20, ..BulkOptions::default() };
    let bulk = link::bulk(&node, bounds)?;
    let work = async {
        let (here, there) = (catalogue::of_folder(&task.folder).await?, list(&bulk).await?);
        let (mut moved, mut end) = (0_u32, Ok(()));
        for (name, way) in plan(&here, &there) {
            match move_one(task, &bulk, output, &name, way, here.contains_key(&name)).await {
                Ok(()) => moved += 1,
                Err(error) => end = Err(error),
            }
        }
        let text = format!("{moved} files went over");
        output.say("synced", &text, json!({ "files": moved }));
        end
    };
    link::keep(&node, &task.url, &bulk, output, work).await
}

async fn move_one(
    task: &Sync,
    bulk: &Bulk,
    output: &Output,
    name: &str,
    way: Way,
    is_here: bool,
) -> Result<(), End> {
    // A name of the other side's is no path.
    let file = FileName::new(name).map_err(|error| End::Refused(format!("{name:?}: {error}")))?;
    let path = task.folder.join(name);
    let failed = |error: std::io::Error| End::Failed(format!("{name}: {error}"));
    let moved = match way {
        Way::There => {
            let transfer = bulk.send(Source::file(path), file);
            let transfer = transfer.map_err(|error| End::Failed(error.to_string()))?;
            output.follow("sent", name, &transfer).await
        }
        Way::Here => {
            if task.keep && is_here {
                keep(&path).map_err(failed)?;
            }
            let sink = Sink::folder(&task.folder, Existing::Replace).keep_modified();
            let transfer = bulk.get(file, sink);
            let transfer = transfer.map_err(|error| End::Failed(error.to_string()))?;
            output.follow("received", name, &transfer).await
        }
    };
    moved.map(drop).map_err(|error| end_of(&error))
}

/// Gives a file a second name that is free, so that it stays when another takes its place.
fn keep(path: &std::path::Path) -> std::io::Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|it| format!(".{}", it.to_string_lossy()));
    for number in 1..10_000_u32 {
        let name = format!("{stem} ({number}){}", extension.as_deref().unwrap_or_default());
        match std::fs::hard_link(path, path.with_file_name(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hash: &str, modified: u64) -> Entry {
        Entry { len: 1, blake3: hash.to_owned(), modified }
    }

    #[test]
    fn the_newest_goes_over() {
        let catalogue = |files: &[(&str, &str, u64)]| -> Catalogue {
            files.iter().map(|(name, hash, at)| ((*name).to_owned(), entry(hash, *at))).collect()
        };
        let here = catalogue(&[
            ("same", "a", 1),
            ("only here", "a", 1),
            ("newer here", "a", 3),
            ("older here", "a", 1),
            ("tied", "b", 1),
        ]);
        let there = catalogue(&[
            ("same", "a", 9),
            ("only there", "a", 1),
            ("newer here", "b", 2),
            ("older here", "b", 2),
            ("tied", "a", 1),
        ]);
        let expected = [
            ("newer here", Way::There),
            ("older here", Way::Here),
            ("only here", Way::There),
            ("only there", Way::Here),
            ("tied", Way::There),
        ];
        let planned = plan(&here, &there);
        let planned: Vec<_> = planned.iter().map(|(name, way)| (name.as_str(), *way)).collect();
        assert_eq!(planned, expected);
        // Both decide the same.
        let turned = plan(&there, &here);
        for ((name, way), (_, other)) in planned.iter().zip(&turned) {
            assert_ne!(way, other, "{name}");
        }
    }
}
