//! Lines of text found in a layer: outlines on its slices, and a list.

use eframe::egui::Context;

use super::App;
use super::work::FoundText;

/// What the page remembers.
#[derive(Debug, Default)]
pub(super) struct Panel {
    /// What was found last.
    pub(super) found: Option<FoundText>,
}

impl App {
    pub(super) fn text_found(&mut self, ctx: &Context, found: FoundText) {
        let lines: usize = found.found.pages.iter().map(|p| p.lines.len()).sum();
        self.say(ctx, format!("{}: {lines} lines of text in {:.1} s", found.pack, found.seconds));
        self.text.found = Some(found);
    }
}
