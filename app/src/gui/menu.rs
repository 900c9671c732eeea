//! Menus and the strip of buttons beside them.

use eframe::egui::{self, Panel, RichText, Ui};

use super::{App, theme};
use crate::commands::{self, ACTIONS, Command, Menu};
use crate::document::Layout;
use viewer::Convention;

impl App {
    pub(super) fn menu_ui(&mut self, ui: &mut Ui) {
        let frame = theme::panel(ui.style()).inner_margin(egui::Margin::symmetric(8, 4));
        Panel::top("menu").frame(frame).show(ui, |ui| {
            egui::MenuBar::new().ui(ui, |ui| {
                for menu in Menu::ALL {
                    ui.menu_button(menu.name(), |ui| self.menu_rows(ui, menu));
                }
                if !self.document.is_empty() {
                    ui.separator();
                    self.strip_ui(ui);
                }
            });
        });
    }

    fn menu_rows(&mut self, ui: &mut Ui, menu: Menu) {
        ui.set_min_width(230.0);
        for action in ACTIONS.iter().filter(|a| a.menu == menu) {
            let mut button = egui::Button::new(action.label);
            if let Some(key) = commands::key_of(action, &self.settings) {
                button = button.shortcut_text(ui.ctx().format_shortcut(&key));
            }
            let is_on = match action.command {
                Command::ToggleSegmentOnOpen => self.settings.segment_on_open,
                Command::SetLayout(layout) => layout == self.document.layout && !self.document.is_empty(),
                _ => false,
            };
            let response = ui.add_enabled((action.available)(&self.document), button.selected(is_on));
            if response.on_hover_text(action.help).clicked() {
                self.command(action.command);
                ui.close();
            }
            if action.command == Command::Open {
                self.recent_rows(ui);
            }
        }
    }

    fn recent_rows(&mut self, ui: &mut Ui) {
        ui.menu_button("Open recent", |ui| {
            if self.settings.recent.is_empty() {
                ui.weak("Nothing was opened yet");
            }
            for path in self.settings.recent.clone() {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                if ui.button(name).on_hover_text(path.display().to_string()).clicked() {
                    let ctx = ui.ctx().clone();
                    self.open_paths(&ctx, vec![path]);
                    ui.close();
                }
            }
        });
    }

    /// What is wanted all the time: layouts, convention, crosshair.
    fn strip_ui(&mut self, ui: &mut Ui) {
        let layouts =
            [(Layout::Quad, "2×2"), (Layout::OneLarge, "1+3"), (Layout::Single, "1"), (Layout::Row, "3×1")];
        for (layout, label) in layouts {
            let command = Command::SetLayout(layout);
            let is_on = self.document.layout == layout && self.document.maximised.is_none();
            if ui.selectable_label(is_on, label).on_hover_text(commands::action(command).help).clicked() {
                self.command(command);
            }
        }
        ui.separator();
        let side = match self.document.scene.convention {
            Convention::Radiological => "R | L",
            Convention::Neurological => "L | R",
        };
        let words = match self.document.scene.convention {
            Convention::Radiological => "Radiological: the patient's right is on the left. Click to switch",
            Convention::Neurological => "Neurological: the patient's right is on the right. Click to switch",
        };
        if ui.button(RichText::new(side).strong()).on_hover_text(words).clicked() {
            self.command(Command::ToggleConvention);
        }
        for (command, is_on, label) in [
            (Command::ToggleInterpolation, self.document.scene.interpolate, "Smooth"),
            (Command::ToggleCrosshair, self.show_crosshair, "Crosshair"),
        ] {
            if ui.selectable_label(is_on, label).on_hover_text(commands::action(command).help).clicked() {
                self.command(command);
            }
        }
        if ui.button("Reset").on_hover_text(commands::action(Command::ResetView).help).clicked() {
            self.command(Command::ResetView);
        }
    }
}
