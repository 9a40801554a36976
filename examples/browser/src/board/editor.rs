//! A text field that others write into too.

use super::operation::Change;
use super::text::{Edit, apply, difference};

/// What a text field shows: the document's text, and on top of it what its owner typed and the document does not have yet. One
/// change is on its way at a time; what is typed meanwhile becomes the next one.
#[derive(Debug, Default)]
pub struct Editor {
    /// The document's text, up to `position`.
    confirmed: Vec<u16>,
    position: u64,
    /// The change that is on its way, as it applies to `confirmed`.
    pending: Option<Edit>,
    view: Vec<u16>,
}

impl Editor {
    /// What it shows.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf16_lossy(&self.view)
    }

    /// Its owner typed: it shows this now. Gives what is to be done to the document.
    pub fn typed(&mut self, text: &str) -> Option<Change> {
        self.view = text.encode_utf16().collect();
        self.send()
    }

    fn send(&mut self) -> Option<Change> {
        if self.pending.is_some() {
            return None;
        }
        self.pending = difference(&self.confirmed, &self.view);
        self.pending.clone().map(|edit| Change { base: self.position, edit })
    }

    /// The document's text was changed. Gives how what is shown changes by that, and what is to be done next.
    pub fn changed(
        &mut self,
        position: u64,
        edit: &Edit,
        own: bool,
    ) -> (Option<Edit>, Option<Change>) {
        self.position = position;
        let mut expected = self.confirmed.clone();
        apply(&mut self.confirmed, edit);
        if let Some(pending) = &self.pending {
            apply(&mut expected, pending);
        }
        let typed = difference(&expected, &self.view);
        if own && self.pending.take().is_some() {
            let before = std::mem::replace(&mut self.view, self.confirmed.clone());
            if let Some(typed) = typed {
                apply(&mut self.view, &typed);
            }
            return (difference(&before, &self.view), self.send());
        }
        let mut shown = edit.clone();
        if let Some(pending) = &mut self.pending {
            shown = edit.over(pending, false);
            *pending = pending.over(edit, true);
        }
        if let Some(typed) = typed {
            shown = shown.over(&typed, false);
        }
        let shown = shown.within(self.view.len());
        apply(&mut self.view, &shown);
        (Some(shown), None)
    }

    /// The document begins anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
