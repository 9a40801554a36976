//! What somebody may have meant.

/// The known key that is most like this one, if any is: in the same section, or the same word in another one.
pub(super) fn nearest<'k>(path: &str, known: &'k [String]) -> Option<&'k str> {
    let word = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let elsewhere = known.iter().find(|known| word(known) == word(path));
    let distance = |known: &&String| strsim::damerau_levenshtein(path, known);
    let near = known.iter().min_by_key(distance).filter(|known| {
        let (own, other) = (path.len(), known.len());
        distance(known) <= (own.min(other) / 3).clamp(1, 4)
    });
    let near = near.filter(|near| word(near).len().abs_diff(word(path).len()) <= 4);
    near.or(elsewhere).map(String::as_str)
}

/// One of `names` that is most like this one.
pub(super) fn nearest_of<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.min_by_key(|known| strsim::damerau_levenshtein(name, known))?;
    (strsim::damerau_levenshtein(name, near) <= 3).then_some(near)
}
