//! The right panel and its pages.

use eframe::egui::{Panel, ScrollArea, Ui};

use super::{App, Tab, theme};

impl App {
    pub(super) fn side_ui(&mut self, ui: &mut Ui) {
        let mut open = self.settings.panels[1];
        let frame = theme::panel(ui.style());
        Panel::right("tools").frame(frame).default_size(308.0).size_range(290.0..=460.0).show_collapsible(
            ui,
            &mut open,
            |ui| {
                ui.horizontal(|ui| {
                    // Six tabs fit the panel's width, which then is that of the panel and not of what is in it.
                    ui.spacing_mut().item_spacing.x = 2.0;
                    for (tab, name) in [
                        (Tab::Models, "Models"),
                        (Tab::Labels, "Labels"),
                        (Tab::Restore, "Restore"),
                        (Tab::Find, "Find"),
                        (Tab::Edit, "Tools"),
                        (Tab::Volume, "3-D"),
                    ] {
                        ui.selectable_value(&mut self.shown.tab, tab, name);
                    }
                });
                ui.separator();
                if self.shown.tab == Tab::Labels {
                    // The table scrolls by itself.
                    self.labels_ui(ui);
                    return;
                }
                ScrollArea::vertical().auto_shrink(false).show(ui, |ui| match self.shown.tab {
                    Tab::Models => self.models_ui(ui),
                    Tab::Edit => self.edit_ui(ui),
                    Tab::Restore => self.restore_ui(ui),
                    Tab::Find => self.prompt_ui(ui),
                    Tab::Labels | Tab::Volume => self.volume_ui(ui),
                });
            },
        );
        self.settings.panels[1] = open;
    }
}
