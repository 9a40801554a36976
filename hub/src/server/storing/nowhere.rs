//! What there is in place of an object store in a hub that is built without one: nothing that could be made.

use std::sync::{Arc, Weak};

use deltawire_store::Io;
use deltawire_store::files::{Directory, Places, SegmentFiles};

use super::super::Inner;
use super::Bell;

#[derive(Clone, Copy)]
pub(in super::super) enum Archiving {}

#[derive(Clone, Copy)]
pub(super) enum Librarian {}

#[derive(Clone, Copy)]
pub(super) enum Shelf {}

pub(super) enum Routed {
    #[expect(dead_code, reason = "the same as with an object store")]
    Here(Io),
    #[expect(dead_code, reason = "the same as with an object store")]
    AtOnce(Io),
    #[expect(dead_code, reason = "the same as with an object store")]
    Away,
}

impl Librarian {
    pub(super) fn start(
        archiving: Archiving,
        _: &Arc<Inner>,
        _: &Arc<Directory>,
        _: Vec<Places>,
        _: Vec<Arc<Bell>>,
    ) -> std::io::Result<(Self, Vec<Shelf>)> {
        match archiving {}
    }
}

impl Shelf {
    pub(super) fn settle(&mut self, _: &Weak<Inner>, _: &mut SegmentFiles) -> Option<Io> {
        match *self {}
    }

    pub(super) fn route(&mut self, _: Io, _: &SegmentFiles) -> Routed {
        match *self {}
    }

    pub(super) fn begin(&mut self, _: &Inner) {
        match *self {}
    }
}
