//! The command palette: every command, found by typing.

use eframe::egui::{self, Context, Key, Modal, ScrollArea, TextEdit};

use super::App;
use crate::commands::{self, ACTIONS, Action, Command};

/// What is typed and what is chosen.
#[derive(Debug, Default)]
pub(super) struct Palette {
    text: String,
    chosen: usize,
}

/// How well an action answers what was typed: higher is better, none when it does not. All words must occur.
fn score(action: &Action, text: &str) -> Option<u32> {
    let label = action.label.to_lowercase();
    let all = format!("{label} {} {}", action.help.to_lowercase(), action.menu.name().to_lowercase());
    let text = text.to_lowercase();
    if !text.split_whitespace().all(|word| all.contains(word)) {
        return None;
    }
    Some(match label.find(text.trim()) {
        Some(0) => 3,
        Some(_) => 2,
        None => 1,
    })
}

impl App {
    pub(super) fn palette_ui(&mut self, ctx: &Context) {
        let Some(palette) = &mut self.shown.palette else { return };
        let mut found: Vec<(&Action, u32)> = ACTIONS
            .iter()
            .filter(|a| a.command != Command::Palette)
            .filter_map(|a| Some((a, score(a, &palette.text)?)))
            .collect();
        found.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        let (down, up, enter) = ctx.input_mut(|i| {
            let none = egui::Modifiers::NONE;
            (
                i.consume_key(none, Key::ArrowDown),
                i.consume_key(none, Key::ArrowUp),
                i.consume_key(none, Key::Enter),
            )
        });
        let last = found.len().saturating_sub(1);
        palette.chosen = (palette.chosen + usize::from(down)).saturating_sub(usize::from(up)).min(last);
        let mut picked = None;
        let modal = Modal::new(egui::Id::unique("palette")).show(ctx, |ui| {
            ui.set_width(480.0);
            let hint = TextEdit::singleline(&mut palette.text)
                .hint_text("Type a command")
                .desired_width(f32::INFINITY);
            let edit = ui.add(hint);
            edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Command"));
            edit.request_focus();
            if edit.changed() {
                palette.chosen = 0;
            }
            // As high with few rows as with many: the list stands still while words are typed.
            let height = (ui.ctx().content_rect().height() - 120.0).clamp(120.0, 360.0);
            ScrollArea::vertical().max_height(height).auto_shrink(false).show(ui, |ui| {
                for (n, (action, _)) in found.iter().enumerate() {
                    let is_available = (action.available)(&self.document);
                    let mut button = egui::Button::new(action.label)
                        .selected(n == palette.chosen)
                        .frame_when_inactive(false);
                    let key = commands::key_of(action, &self.settings);
                    // Also where there is none: a text at the right keeps the label at the left.
                    button =
                        button.shortcut_text(key.map_or_else(String::new, |k| ui.ctx().format_shortcut(&k)));
                    let response = ui.add_enabled_ui(is_available, |ui| {
                        ui.add_sized([ui.available_width(), 24.0], button)
                    });
                    let response = response.inner.on_hover_text(action.help);
                    if n == palette.chosen && (down || up) {
                        response.scroll_to_me(None);
                    }
                    if response.clicked() {
                        picked = Some(action.command);
                    }
                }
                if found.is_empty() {
                    ui.weak("No command has these words");
                }
            });
        });
        if enter
            && let Some((action, _)) =
                found.get(palette.chosen).filter(|(a, _)| (a.available)(&self.document))
        {
            picked = Some(action.command);
        }
        if picked.is_some() || modal.should_close() || ctx.input(|i| i.key_pressed(Key::Escape)) {
            self.shown.palette = None;
        }
        if let Some(command) = picked {
            self.command(command);
            ctx.request_repaint();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_anywhere_and_labels_come_first() {
        let best = |text: &str| {
            ACTIONS
                .iter()
                .filter_map(|a| Some((score(a, text)?, a)))
                .max_by_key(|(s, _)| *s)
                .map(|(_, a)| a.id)
        };
        assert_eq!(best("undo"), Some("undo"));
        assert_eq!(best("scr"), None);
        assert_eq!(best("window percentile"), Some("auto-window"));
    }
}
