//! Undo and redo.

use std::collections::VecDeque;

use super::edit::LabelEdit;
use crate::scene::LayerId;

/// What to apply to go one step back or forth.
#[derive(Clone, Debug)]
pub struct Step {
    /// The layer it changes.
    pub layer: LayerId,
    /// What the user did, e.g. `"Brush"`.
    pub title: String,
    /// To be applied to the layer (and written to the journal).
    pub edit: LabelEdit,
}

#[derive(Debug)]
struct Entry {
    layer: LayerId,
    title: String,
    edit: LabelEdit,
    bytes: usize,
}

/// The edits of a document. As many as fit in a number of bytes: the oldest are dropped beyond it, the newest always
/// stays.
#[derive(Debug)]
pub struct History {
    done: VecDeque<Entry>,
    undone: Vec<Entry>,
    bytes: usize,
    limit_bytes: usize,
    /// The last of `done` still grows.
    is_open: bool,
    dropped: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

impl History {
    /// The limit of [`History::default`]: 256 MiB.
    pub const DEFAULT_BYTES: usize = 256 << 20;

    /// An empty history that holds up to `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { done: VecDeque::new(), undone: Vec::new(), bytes: 0, limit_bytes, is_open: false, dropped: 0 }
    }

    /// Records an edit that was applied as a step of its own. Empty edits are not recorded.
    pub fn push(&mut self, layer: LayerId, title: &str, edit: LabelEdit) {
        self.is_open = false;
        self.add(layer, title, edit);
    }

    /// Records an edit that was applied as part of the gesture under way (a brush stroke while the button is down): all
    /// edits of one layer and title until [`History::end_gesture`] are one step.
    pub fn extend(&mut self, layer: LayerId, title: &str, edit: LabelEdit) {
        if edit.is_empty() {
            return;
        }
        let open = self.is_open
            && self.undone.is_empty()
            && self.done.back().is_some_and(|e| e.layer == layer && e.title == title);
        let merged = match self.done.pop_back_if(|_| open) {
            Some(last) => {
                self.bytes -= last.bytes;
                last.edit.then(edit)
            }
            None => edit,
        };
        // A gesture that came back to where it began leaves nothing to undo, and must not go on in the step before.
        self.is_open = !merged.is_empty();
        self.add(layer, title, merged);
    }

    /// The gesture is over (the button was released).
    pub fn end_gesture(&mut self) {
        self.is_open = false;
    }

    fn add(&mut self, layer: LayerId, title: &str, edit: LabelEdit) {
        if edit.is_empty() {
            return;
        }
        self.bytes -= self.undone.drain(..).map(|e| e.bytes).sum::<usize>();
        let bytes = edit.byte_size() + title.len();
        self.bytes += bytes;
        self.done.push_back(Entry { layer, title: title.to_owned(), edit, bytes });
        while self.bytes > self.limit_bytes && self.done.len() > 1 {
            self.bytes -= self.done.pop_front().map_or(0, |e| e.bytes);
            self.dropped += 1;
        }
    }

    /// Takes one step back: apply what is returned.
    pub fn undo(&mut self) -> Option<Step> {
        self.is_open = false;
        let entry = self.done.pop_back()?;
        let step = Step { layer: entry.layer, title: entry.title.clone(), edit: entry.edit.inverse() };
        self.undone.push(entry);
        Some(step)
    }

    /// Takes one step forth: apply what is returned.
    pub fn redo(&mut self) -> Option<Step> {
        let entry = self.undone.pop()?;
        let step = Step { layer: entry.layer, title: entry.title.clone(), edit: entry.edit.clone() };
        self.done.push_back(entry);
        Some(step)
    }

    /// What [`History::undo`] would undo.
    #[must_use]
    pub fn undo_title(&self) -> Option<&str> {
        self.done.back().map(|e| e.title.as_str())
    }

    /// What [`History::redo`] would do again.
    #[must_use]
    pub fn redo_title(&self) -> Option<&str> {
        self.undone.last().map(|e| e.title.as_str())
    }

    /// Forgets the steps of a layer that is gone.
    pub fn forget(&mut self, layer: LayerId) {
        self.is_open = false;
        self.done.retain(|e| e.layer != layer);
        self.undone.retain(|e| e.layer != layer);
        self.bytes = self.done.iter().chain(&self.undone).map(|e| e.bytes).sum();
    }

    /// Bytes of memory the steps hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Steps that can be undone and redone.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.done.len(), self.undone.len())
    }

    /// Whether nothing can be undone or redone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Steps dropped since the start to stay within the limit.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::EditBuilder;
    use formats::{LabelTable, Shared};
    use ndarray::Array3;
    use proptest::prelude::*;

    fn edit(labels: &mut Shared<u16>, start: usize, len: usize, value: u16) -> LabelEdit {
        let mut builder = EditBuilder::new(labels);
        builder.paint(start, len, |_, _| value);
        let edit = builder.finish();
        edit.apply(labels, &mut LabelTable::default()).unwrap();
        edit
    }

    proptest! {
        #[test]
        fn undoing_all_and_redoing_all(
            edits in prop::collection::vec((0usize..50, 0usize..14, 0u16..4, any::<bool>(), any::<bool>()), 1..30),
        ) {
            let layer = LayerId::fresh();
            let mut labels = Array3::zeros((4, 4, 4)).into_shared();
            let (start, mut history) = (labels.clone(), History::default());
            let mut table = LabelTable::default();
            for (at, len, value, gesture, end) in edits {
                let edit = edit(&mut labels, at, len, value);
                if gesture { history.extend(layer, "Brush", edit) } else { history.push(layer, "Fill", edit) }
                if end { history.end_gesture() }
            }
            let last = labels.clone();
            let mut steps = 0;
            while let Some(step) = history.undo() {
                step.edit.apply(&mut labels, &mut table).unwrap();
                steps += 1;
            }
            prop_assert_eq!(&labels, &start);
            prop_assert_eq!(history.len(), (0, steps));
            while let Some(step) = history.redo() {
                step.edit.apply(&mut labels, &mut table).unwrap();
            }
            prop_assert_eq!(&labels, &last);
            prop_assert_eq!(history.dropped(), 0);
        }
    }

    #[test]
    fn a_gesture_is_one_step() {
        let layer = LayerId::fresh();
        let mut labels = Array3::zeros((4, 4, 4)).into_shared();
        let mut history = History::default();
        history.push(layer, "Fill", edit(&mut labels, 0, 3, 1));
        for at in 0..5 {
            history.extend(layer, "Brush", edit(&mut labels, at * 4, 6, 2));
        }
        history.end_gesture();
        history.extend(layer, "Brush", edit(&mut labels, 40, 6, 2));
        assert_eq!(history.len(), (3, 0));
        assert_eq!((history.undo().unwrap().title.as_str(), history.undo_title()), ("Brush", Some("Brush")));
        history.push(
            layer,
            "Fill",
            LabelEdit::of_table([4; 3], LabelTable::default(), LabelTable::default()),
        );
        assert_eq!(history.len(), (2, 1), "an empty edit is no step");
    }

    #[test]
    fn a_gesture_back_to_its_start_leaves_the_step_before_alone() {
        let layer = LayerId::fresh();
        let mut labels = Array3::zeros((4, 4, 4)).into_shared();
        let mut history = History::default();
        history.extend(layer, "Brush", edit(&mut labels, 0, 3, 1));
        history.end_gesture();
        history.extend(layer, "Brush", edit(&mut labels, 10, 3, 1));
        history.extend(layer, "Brush", edit(&mut labels, 10, 3, 0));
        history.extend(layer, "Brush", edit(&mut labels, 20, 3, 1));
        assert_eq!(history.len(), (2, 0));
    }

    #[test]
    fn the_oldest_steps_go_first_and_the_newest_stays() {
        let layer = LayerId::fresh();
        let mut labels = Array3::zeros((4, 4, 4)).into_shared();
        let one = edit(&mut labels, 0, 3, 1).byte_size();
        let mut history = History::new(one * 5 / 2);
        for n in 0..6u16 {
            history.push(layer, "", edit(&mut labels, 20, 3, n % 2 + 1));
        }
        assert_eq!((history.len(), history.dropped()), ((2, 0), 4));
        let mut history = History::new(1);
        history.push(layer, "", edit(&mut labels, 0, 3, 9));
        assert_eq!(history.len(), (1, 0));
        history.forget(layer);
        assert!(history.is_empty() && history.bytes() == 0);
    }
}
