//! The labels page: a table of what the active segmentation holds.

use std::fmt::Write as _;
use std::sync::Arc;

use eframe::egui::{self, Color32, RichText, Sense, TextEdit, Ui, vec2};
use egui_extras::{Column, TableBuilder};
use formats::{LabelEntry, LabelTable};
use viewer::{Content, LayerId};

use super::{App, work};
use crate::document::Document;

/// A segmentation, its revision, and its voxels per label in the order of numbers.
type Counts = (LayerId, u64, Vec<(u16, u64)>);

/// Which column the rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Number,
    Name,
    Volume,
}

/// What the page remembers.
#[derive(Debug, Default)]
pub(super) struct Panel {
    search: String,
    order: Order,
    is_descending: bool,
    /// The label that tools paint with and the row that is chosen.
    pub(super) chosen: u16,
    renaming: Option<(u16, String)>,
    counts: Option<Counts>,
    counting: Option<(LayerId, u64)>,
}

impl Panel {
    pub(super) fn counted(&mut self, layer: LayerId, revision: u64, counts: Vec<(u16, u64)>) {
        self.counts = Some((layer, revision, counts));
        self.counting = None;
    }

    /// Leaves a name as it was; false when none was being changed.
    pub(super) fn stop_renaming(&mut self) -> bool {
        self.renaming.take().is_some()
    }

    /// Rows of a segmentation's table, and of labels that occur without one (once they were counted).
    pub(super) fn rows(&self, layer: LayerId, table: &LabelTable) -> Vec<LabelEntry> {
        rows(table, self.counts.as_ref().filter(|c| c.0 == layer))
    }

    /// Voxels of a label, when they were counted.
    fn count(&self, layer: LayerId, id: u16) -> Option<u64> {
        let (of, _, counts) = self.counts.as_ref()?;
        if *of != layer {
            return None;
        }
        Some(counts.binary_search_by_key(&id, |(id, _)| *id).map_or(0, |n| counts[n].1))
    }

    /// The table as comma-separated values, with voxels and volumes where they were counted.
    pub(super) fn csv(&self, document: &Document, layer: LayerId) -> Option<String> {
        let labels = document.scene.layer(layer)?.labels()?;
        let voxel_mm3 = labels.grid.voxel_volume_mm3();
        let mut text = "index,name,voxels,volume_ml\n".to_owned();
        for entry in rows(&labels.table, self.counts.as_ref().filter(|c| c.0 == layer)) {
            let name = if entry.name.contains([',', '"', '\n']) {
                format!("\"{}\"", entry.name.replace('"', "\"\""))
            } else {
                entry.name.clone()
            };
            let count = self.count(layer, entry.id);
            let voxels = count.map(|n| n.to_string()).unwrap_or_default();
            let volume = count.map(|n| format!("{:.6}", n as f64 * voxel_mm3 / 1000.0)).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{},{name},{voxels},{volume}", entry.id);
        }
        Some(text)
    }
}

/// The table's rows, and those of labels that occur without having one.
fn rows(table: &LabelTable, counts: Option<&Counts>) -> Vec<LabelEntry> {
    let mut rows: Vec<LabelEntry> = table.entries.iter().filter(|e| e.id != 0).cloned().collect();
    for (id, _) in counts.into_iter().flat_map(|(_, _, counts)| counts) {
        if table.get(*id).is_none() {
            rows.push(LabelEntry::new(*id, table.name(*id), table.rgb(*id)));
        }
    }
    rows
}

/// What a row asks for.
enum RowAction {
    Show(u16, bool),
    Solo(u16),
    Colour(u16, [u8; 3]),
    Rename(u16, String),
    Centre(u16),
}

impl App {
    pub(super) fn labels_ui(&mut self, ui: &mut Ui) {
        let Some(id) = self.document.active_labels() else {
            ui.weak("No segmentation is open. Run a model, open one, or make a new one to paint in.");
            return;
        };
        self.count_labels(ui.ctx(), id);
        let Some(layer) = self.document.scene.layer(id) else { return };
        let Some(labels) = layer.labels() else { return };
        let table = Arc::clone(&labels.table);
        let voxel_ml = labels.grid.voxel_volume_mm3() / 1000.0;
        ui.add(egui::Label::new(RichText::new(&layer.name).strong()).truncate());
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 5.0;
            ui.spacing_mut().button_padding.x = 6.0;
            let search = TextEdit::singleline(&mut self.labels.search).hint_text("Search");
            let edit = ui.add(search.desired_width((ui.available_width() - 196.0).max(60.0)));
            edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Search labels"));
            if ui.button("All").on_hover_text("Show all labels").clicked() {
                self.change_table(id, |t| t.entries.iter_mut().for_each(|e| e.visible = true));
            }
            if ui.button("None").on_hover_text("Hide all labels").clicked() {
                self.change_table(id, |t| t.entries.iter_mut().for_each(|e| e.visible = false));
            }
            if ui.button("Copy").on_hover_text("Copy the table as comma-separated values").clicked()
                && let Some(text) = self.labels.csv(&self.document, id)
            {
                ui.ctx().copy_text(text);
            }
            if ui.button("CSV…").on_hover_text("Save the table").clicked() {
                self.command(crate::commands::Command::SaveTable);
            }
        });
        let mut shown = rows(&table, self.labels.counts.as_ref().filter(|c| c.0 == id));
        let search = self.labels.search.to_lowercase();
        shown.retain(|e| e.name.to_lowercase().contains(&search) || e.id.to_string() == search);
        match self.labels.order {
            Order::Number => shown.sort_by_key(|e| e.id),
            Order::Name => shown.sort_by_key(|e| e.name.to_lowercase()),
            Order::Volume => shown.sort_by_key(|e| self.labels.count(id, e.id)),
        }
        if self.labels.is_descending {
            shown.reverse();
        }
        let mut asked = None;
        self.table_ui(ui, id, &shown, voxel_ml, &mut asked);
        if let Some(action) = asked {
            let ctx = ui.ctx().clone();
            self.row_action(&ctx, id, action);
        }
    }

    fn table_ui(
        &mut self,
        ui: &mut Ui,
        id: LayerId,
        rows: &[LabelEntry],
        voxel_ml: f64,
        asked: &mut Option<RowAction>,
    ) {
        let panel = &mut self.labels;
        let mut order = (panel.order, panel.is_descending);
        let table = TableBuilder::new(ui)
            .striped(true)
            .sense(Sense::click())
            .cell_layout(egui::Layout::left_to_right(egui::Align::Center))
            .column(Column::exact(20.0))
            .column(Column::exact(22.0))
            .column(Column::exact(34.0))
            .column(Column::remainder().clip(true).at_least(60.0))
            .column(Column::exact(62.0));
        let header = |ui: &mut Ui, name: &str, this: Order, order: &mut (Order, bool)| {
            let label = ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 3.0;
                let text = RichText::new(name).small().strong();
                let label = ui.add(egui::Label::new(text).selectable(false).sense(Sense::click()));
                if order.0 == this {
                    arrow(ui, order.1);
                }
                label
            });
            let label = label.inner;
            if label.on_hover_text("Sort").clicked() {
                *order = (this, order.0 == this && !order.1);
            }
        };
        table
            .header(20.0, |mut row| {
                row.col(|_| {});
                row.col(|_| {});
                row.col(|ui| header(ui, "#", Order::Number, &mut order));
                row.col(|ui| header(ui, "Name", Order::Name, &mut order));
                row.col(|ui| header(ui, "ml", Order::Volume, &mut order));
            })
            .body(|body| {
                body.rows(24.0, rows.len(), |mut row| {
                    let entry = &rows[row.index()];
                    row.set_selected(panel.chosen == entry.id);
                    row.col(|ui| {
                        let mut visible = entry.visible;
                        let check = ui.checkbox(&mut visible, "");
                        check.widget_info(|| {
                            egui::WidgetInfo::labeled(
                                egui::Role::CheckBox,
                                true,
                                format!("Show {}", entry.name),
                            )
                        });
                        if check.clicked() {
                            *asked = Some(RowAction::Show(entry.id, visible));
                        }
                    });
                    row.col(|ui| {
                        let mut rgb = entry.rgb;
                        let colour = ui.color_edit_button_srgb(&mut rgb);
                        colour.widget_info(|| {
                            egui::WidgetInfo::labeled(
                                egui::Role::ColorWell,
                                true,
                                format!("Colour of {}", entry.name),
                            )
                        });
                        if rgb != entry.rgb {
                            *asked = Some(RowAction::Colour(entry.id, rgb));
                        }
                    });
                    row.col(|ui| {
                        ui.weak(entry.id.to_string());
                    });
                    let mut name = None;
                    row.col(|ui| name = name_ui(ui, entry, &mut panel.renaming, asked));
                    row.col(|ui| {
                        let text = panel.count(id, entry.id).map(|n| format!("{:.2}", n as f64 * voxel_ml));
                        ui.weak(text.unwrap_or_else(|| "…".to_owned()));
                    });
                    // The name lies over the row and takes its clicks.
                    let response = name.into_iter().fold(row.response(), |row, name| row.union(name));
                    if response.clicked() {
                        panel.chosen = entry.id;
                    }
                    response.context_menu(|ui| {
                        for (label, action) in [
                            ("Centre view", RowAction::Centre(entry.id)),
                            ("Show only this", RowAction::Solo(entry.id)),
                        ] {
                            if ui.button(label).clicked() {
                                *asked = Some(action);
                                ui.close();
                            }
                        }
                        if ui.button("Rename").clicked() {
                            panel.renaming = Some((entry.id, entry.name.clone()));
                            ui.close();
                        }
                    });
                });
            });
        (panel.order, panel.is_descending) = order;
    }

    fn row_action(&mut self, ctx: &egui::Context, layer: LayerId, action: RowAction) {
        match action {
            RowAction::Show(id, visible) => self.change_row(layer, id, |e| e.visible = visible),
            // The picker gives a colour per step of the pointer: one step to undo, until something else is done.
            RowAction::Colour(id, rgb) => {
                self.set_entry(layer, id, &format!("Colour of label {id}"), true, |e| e.rgb = rgb);
            }
            RowAction::Rename(id, name) => {
                self.set_entry(layer, id, "Rename label", false, |e| e.name = name);
            }
            RowAction::Solo(id) => {
                self.change_row(layer, id, |e| e.visible = true);
                self.change_table(layer, |t| t.entries.iter_mut().for_each(|e| e.visible = e.id == id));
            }
            RowAction::Centre(id) => {
                let Some(labels) = self.document.scene.layer(layer).and_then(|l| l.labels()).cloned() else {
                    return;
                };
                self.start_job(ctx, "Finding the middle", move |_| {
                    Ok(work::Product::Centred(centre_of(&labels, id)))
                });
            }
        }
    }

    /// Changes the name or colour of a row (made when the label has none) as an edit that can be undone; with `grows`, as
    /// part of the step before when that did the same.
    fn set_entry(
        &mut self,
        layer: LayerId,
        id: u16,
        title: &str,
        grows: bool,
        change: impl FnOnce(&mut LabelEntry),
    ) {
        let Some(labels) = self.document.scene.layer(layer).and_then(|l| l.labels()) else { return };
        let table = &labels.table;
        let new = || LabelEntry::new(id, table.name(id), table.rgb(id));
        let mut entry = table.get(id).cloned().unwrap_or_else(new);
        change(&mut entry);
        let edit = viewer::tools::set_entry(&labels.labels, table, entry);
        self.edit_table(layer, title, grows, edit);
    }

    /// Changes what is shown of a table.
    fn change_table(&mut self, layer: LayerId, change: impl FnOnce(&mut LabelTable)) {
        let Some(Content::Labels(labels)) = self.document.scene.layer_mut(layer).map(|l| &mut l.content)
        else {
            return;
        };
        change(Arc::make_mut(&mut labels.table));
        if let Some(details) = self.document.details.get_mut(&layer) {
            details.is_modified = true;
        }
    }

    /// Changes a row, which is made when the label has none.
    fn change_row(&mut self, layer: LayerId, id: u16, change: impl FnOnce(&mut LabelEntry)) {
        self.change_table(layer, |table| {
            if table.get(id).is_none() {
                table.entries.push(LabelEntry::new(id, table.name(id), table.rgb(id)));
            }
            if let Some(entry) = table.entries.iter_mut().find(|e| e.id == id) {
                change(entry);
            }
        });
    }

    /// Counts voxels when the segmentation changed since the last count.
    pub(super) fn count_labels(&mut self, ctx: &egui::Context, id: LayerId) {
        let Some(labels) = self.document.scene.layer(id).and_then(|l| l.labels()) else { return };
        let now = (id, labels.revision);
        let is_known = self.labels.counts.as_ref().is_some_and(|c| (c.0, c.1) == now);
        if is_known || self.labels.counting == Some(now) {
            return;
        }
        self.labels.counting = Some(now);
        let voxels = labels.labels.clone();
        self.start_job(ctx, "Counting labels", move |_| work::count(now.0, now.1, &voxels));
    }
}

/// A small triangle: down for the greatest first, up for the least first.
fn arrow(ui: &mut Ui, is_descending: bool) {
    let (rect, _) = ui.allocate_exact_size(vec2(7.0, 7.0), Sense::hover());
    let corners = if is_descending {
        vec![rect.left_top(), rect.right_top(), rect.center_bottom()]
    } else {
        vec![rect.left_bottom(), rect.center_top(), rect.right_bottom()]
    };
    let colour = ui.visuals().text_color();
    ui.painter().add(egui::Shape::convex_polygon(corners, colour, egui::Stroke::NONE));
}

/// The name, or the field where it is changed.
fn name_ui(
    ui: &mut Ui,
    entry: &LabelEntry,
    renaming: &mut Option<(u16, String)>,
    asked: &mut Option<RowAction>,
) -> Option<egui::Response> {
    if let Some((id, text)) = renaming
        && *id == entry.id
    {
        let edit = ui.add(TextEdit::singleline(text).desired_width(f32::INFINITY));
        edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "New name"));
        if edit.lost_focus() {
            // Escape never comes here: it is a command, which ends the renaming.
            *asked = Some(RowAction::Rename(entry.id, text.clone()));
            *renaming = None;
        } else if !edit.has_focus() {
            edit.request_focus();
        }
        return None;
    }
    let colour = if entry.visible { ui.visuals().text_color() } else { ui.visuals().weak_text_color() };
    let label = egui::Label::new(RichText::new(&entry.name).color(colour))
        .truncate()
        .selectable(false)
        .sense(Sense::click());
    let label = ui.add(label);
    if label.double_clicked() {
        *renaming = Some((entry.id, entry.name.clone()));
    }
    Some(label.on_hover_text(format!("{}: double click to rename, right click for more", entry.name)))
}

/// The voxel of a label nearest to its centre of mass, RAS+ millimetres; none when it does not occur.
fn centre_of(labels: &viewer::LabelLayer, id: u16) -> Option<[f64; 3]> {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for ((k, j, i), _) in labels.labels.indexed_iter().filter(|(_, v)| **v == id) {
        for (total, at) in sum.iter_mut().zip([i, j, k]) {
            *total += at as f64;
        }
        count += 1.0;
    }
    if count == 0.0 {
        return None;
    }
    let mean = sum.map(|s| s / count);
    let away = |p: [usize; 3]| -> f64 { (0..3).map(|a| (p[a] as f64 - mean[a]).powi(2)).sum() };
    let nearest = labels
        .labels
        .indexed_iter()
        .filter(|(_, v)| **v == id)
        .map(|((k, j, i), _)| [i, j, k])
        .min_by(|a, b| away(*a).total_cmp(&away(*b)))?;
    Some(labels.grid.world_from_voxel.apply(nearest.map(|v| v as f64)))
}

/// A square of a label's colour.
pub(super) fn chip(ui: &mut Ui, rgb: [u8; 3]) {
    let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
    ui.painter().rect_filled(rect, 3.0, Color32::from_rgb(rgb[0], rgb[1], rgb[2]));
}
