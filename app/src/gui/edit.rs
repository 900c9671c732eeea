//! The edit page: tools, what they do in the panes, commands on labels, undo, and measuring.

use std::sync::Arc;

use eframe::egui::{self, Context, DragValue, RichText, Slider, Ui};
use serde::{Deserialize, Serialize};
use viewer::measure::{self, Shape, Size};
use viewer::panes::{Measured, Stroke};
use viewer::tools::{self, Brush, Extent, History, LabelEdit, Over, Tip, ValueRange};
use viewer::{Content, LayerId, Plane};

use super::App;
use super::work::Product;
use crate::commands::Command;

/// A region that grows beyond this many voxels has leaked.
const REGION_CAP: u64 = 50_000_000;

/// What the left button does in a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tool {
    #[default]
    Cursor,
    Brush,
    Eraser,
    Fill,
    Region,
    Distance,
    Angle,
    Roi(RoiForm),
}

/// The outline of a region that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RoiForm {
    Ellipse,
    Rectangle,
}

/// What tools may paint over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OverChoice {
    #[default]
    Everything,
    Background,
    Chosen,
}

/// A finished or growing measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measurement {
    tool: Tool,
    plane: Plane,
    points_ras: Vec<[f64; 3]>,
    text: String,
}

/// Tools and their settings.
#[derive(Debug)]
pub(super) struct Editor {
    tool: Tool,
    radius_mm: f64,
    is_ball: bool,
    over: OverChoice,
    /// Values that may be painted on.
    limit: Option<(f64, f64)>,
    tolerance: f64,
    in_slice: bool,
    sigma_mm: f64,
    history: History,
    last_ras: Option<[f64; 3]>,
    measurements: Vec<Measurement>,
    merge_into: u16,
}

impl Default for Editor {
    fn default() -> Self {
        Self {
            tool: Tool::Cursor,
            radius_mm: 5.0,
            is_ball: false,
            over: OverChoice::Everything,
            limit: None,
            tolerance: 10.0,
            in_slice: true,
            sigma_mm: 1.0,
            history: History::new(History::DEFAULT_BYTES),
            last_ras: None,
            measurements: Vec::new(),
            merge_into: 0,
        }
    }
}

impl Editor {
    pub(super) fn has_tool(&self) -> bool {
        self.tool != Tool::Cursor
    }

    /// Forgets the steps of a layer that is gone.
    pub(super) fn forget(&mut self, layer: LayerId) {
        self.history.forget(layer);
    }

    /// Puts the tool down; false when there was none.
    pub(super) fn put_down(&mut self) -> bool {
        std::mem::take(&mut self.tool) != Tool::Cursor
    }

    /// Whether labels are being painted right now.
    pub(super) fn is_stroking(&self) -> bool {
        self.last_ras.is_some()
    }

    /// The pointer that painted is gone.
    pub(super) fn end_stroke(&mut self) {
        self.last_ras = None;
        self.history.end_gesture();
    }

    pub(super) fn brush_mm(&self) -> Option<f64> {
        matches!(self.tool, Tool::Brush | Tool::Eraser).then_some(self.radius_mm)
    }

    pub(super) fn resize(&mut self, steps: i64) {
        self.radius_mm = (self.radius_mm * 1.1f64.powi(steps.clamp(-20, 20) as i32)).clamp(0.1, 100.0);
    }

    /// Measurements drawn in the slices of a plane.
    pub(super) fn measured(&self, plane: Plane) -> Vec<Measured> {
        let drawn = self.measurements.iter().filter(|m| m.plane == plane);
        drawn
            .map(|m| {
                let is_roi = matches!(m.tool, Tool::Roi(_));
                let points_ras = match (m.tool, &m.points_ras[..]) {
                    (Tool::Roi(form), [a, b]) => outline(form, plane, *a, *b),
                    (_, points) => points.to_vec(),
                };
                Measured { points_ras, is_closed: is_roi, text: m.text.clone() }
            })
            .collect()
    }
}

/// Corners of an outline between two opposite corners of its box in a plane.
fn outline(form: RoiForm, plane: Plane, a: [f64; 3], b: [f64; 3]) -> Vec<[f64; 3]> {
    let [across, down, _] = plane.axes();
    let at = |s: f64, t: f64| {
        let mut p = a;
        p[across] = a[across] + (b[across] - a[across]) * s;
        p[down] = a[down] + (b[down] - a[down]) * t;
        p
    };
    match form {
        RoiForm::Rectangle => vec![at(0.0, 0.0), at(1.0, 0.0), at(1.0, 1.0), at(0.0, 1.0)],
        RoiForm::Ellipse => {
            let steps = 48;
            let turn = std::f64::consts::TAU / f64::from(steps);
            (0..steps)
                .map(|n| (f64::from(n) * turn).sin_cos())
                .map(|(s, c)| at(0.5 + c / 2.0, 0.5 + s / 2.0))
                .collect()
        }
    }
}

impl App {
    pub(super) fn edit_ui(&mut self, ui: &mut Ui) {
        let Some(id) = self.document.active_labels() else {
            ui.label("Tools change a segmentation. Open one, run a model, or make a new one.");
            if ui.button("New segmentation").clicked() {
                self.command(Command::NewLabels);
            }
            ui.separator();
            self.measure_ui(ui);
            return;
        };
        self.tools_ui(ui);
        self.label_choice_ui(ui, id);
        self.brush_ui(ui);
        ui.separator();
        self.history_ui(ui);
        ui.separator();
        self.label_commands_ui(ui, id);
        ui.separator();
        self.measure_ui(ui);
    }

    fn tools_ui(&mut self, ui: &mut Ui) {
        ui.label(RichText::new("Tool").strong());
        ui.horizontal_wrapped(|ui| {
            for (tool, name, help) in [
                (Tool::Cursor, "Cursor", "The left button moves the crosshair"),
                (Tool::Brush, "Brush", "Paint the chosen label"),
                (Tool::Eraser, "Eraser", "Paint background"),
                (Tool::Fill, "Fill", "Give the connected part of a label the chosen label"),
                (Tool::Region, "Region", "Grow over connected voxels with values like the one clicked"),
            ] {
                if ui.selectable_label(self.edit.tool == tool, name).on_hover_text(help).clicked() {
                    self.edit.tool = tool;
                }
            }
        });
    }

    fn label_choice_ui(&mut self, ui: &mut Ui, id: LayerId) {
        let Some(labels) = self.document.scene.layer(id).and_then(|l| l.labels()) else { return };
        let table = Arc::clone(&labels.table);
        self.count_labels(ui.ctx(), id);
        let rows = self.labels.rows(id, &table);
        if !rows.iter().any(|e| e.id == self.labels.chosen) {
            self.labels.chosen = rows.first().map_or(1, |e| e.id);
        }
        let chosen = self.labels.chosen;
        ui.horizontal(|ui| {
            super::labels::chip(ui, table.rgb(chosen));
            let combo =
                egui::ComboBox::from_id_salt("paint label").selected_text(table.name(chosen)).width(170.0);
            let response = combo.show_ui(ui, |ui| {
                for entry in &rows {
                    ui.selectable_value(&mut self.labels.chosen, entry.id, &entry.name);
                }
            });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Label to paint"));
            if ui.button("+").on_hover_text("Add a label").clicked() {
                self.add_label(ui.ctx(), id);
            }
        });
    }

    fn brush_ui(&mut self, ui: &mut Ui) {
        let edit = &mut self.edit;
        if matches!(edit.tool, Tool::Brush | Tool::Eraser) {
            ui.horizontal(|ui| {
                let label = ui.label("Radius");
                let slider = Slider::new(&mut edit.radius_mm, 0.1..=50.0)
                    .logarithmic(true)
                    .suffix(" mm")
                    .max_decimals(1);
                ui.add(slider).labelled_by(label.id).on_hover_text("Alt and wheel in a pane change it too");
            });
            ui.horizontal(|ui| {
                ui.selectable_value(&mut edit.is_ball, false, "Disc in the slice");
                ui.selectable_value(&mut edit.is_ball, true, "Ball");
            });
        }
        if matches!(edit.tool, Tool::Fill | Tool::Region) {
            ui.horizontal(|ui| {
                ui.selectable_value(&mut edit.in_slice, true, "In the slice");
                ui.selectable_value(&mut edit.in_slice, false, "In 3-D");
            });
        }
        if edit.tool == Tool::Region {
            ui.horizontal(|ui| {
                let label = ui.label("Values within ±");
                ui.add(DragValue::new(&mut edit.tolerance).range(0.0..=f64::MAX).speed(1.0))
                    .labelled_by(label.id);
                ui.weak("of the one clicked");
            });
        }
        if !matches!(edit.tool, Tool::Brush | Tool::Eraser | Tool::Region) {
            return;
        }
        ui.horizontal(|ui| {
            ui.label("Over");
            ui.selectable_value(&mut edit.over, OverChoice::Everything, "everything");
            ui.selectable_value(&mut edit.over, OverChoice::Background, "background");
            ui.selectable_value(&mut edit.over, OverChoice::Chosen, "chosen label");
        });
        if edit.tool == Tool::Region {
            return;
        }
        let window = self
            .document
            .active_image()
            .and_then(|id| self.document.scene.layer(id)?.image().map(|i| i.window));
        let mut limits = edit.limit.is_some();
        if ui.checkbox(&mut limits, "Only on values").changed() {
            edit.limit = limits.then(|| window.map_or((0.0, 1.0), |w| (w.low, w.high)));
        }
        if let Some((low, high)) = &mut edit.limit {
            ui.horizontal(|ui| {
                for (name, value) in [("from", low), ("to", high)] {
                    let label = ui.label(name);
                    ui.add(DragValue::new(value).speed(1.0)).labelled_by(label.id);
                }
            });
        }
    }

    fn history_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            let undo = self.edit.history.undo_title().map(str::to_owned);
            let redo = self.edit.history.redo_title().map(str::to_owned);
            if ui.add_enabled(undo.is_some(), egui::Button::new("Undo")).clicked() {
                self.command(Command::Undo);
            }
            if ui.add_enabled(redo.is_some(), egui::Button::new("Redo")).clicked() {
                self.command(Command::Redo);
            }
            ui.weak(undo.unwrap_or_else(|| "nothing to undo".to_owned()));
        });
    }

    fn label_commands_ui(&mut self, ui: &mut Ui, id: LayerId) {
        let label = self.labels.chosen;
        ui.label(RichText::new("The chosen label").strong());
        ui.horizontal_wrapped(|ui| {
            let connectivity = formats::components::Connectivity::Six;
            if ui
                .button("Keep largest")
                .on_hover_text("Take away all but its largest connected part")
                .clicked()
            {
                self.compute(ui.ctx(), id, "Keep largest", move |l, _, task| {
                    tools::keep_largest(&l.labels, Some(&[label]), connectivity, task)
                });
            }
            if ui
                .button("Interpolate")
                .on_hover_text("Fill the slices between painted ones (axial)")
                .clicked()
            {
                self.compute(ui.ctx(), id, "Interpolate", move |l, _, task| {
                    let axis = l.grid.axes_ras().iter().position(|(world, _)| *world == 2).unwrap_or(2);
                    tools::interpolate(&l.labels, &l.grid, label, axis, &Over::Background, task)
                });
            }
        });
        ui.horizontal_wrapped(|ui| {
            let by = self.edit.sigma_mm;
            if ui.button("Smooth").on_hover_text("Smooth its border over this length").clicked() {
                self.compute(ui.ctx(), id, "Smooth", move |l, _, task| {
                    tools::smooth(&l.labels, &l.grid, label, by, &Over::Everything, task)
                });
            }
            if ui.button("Grow").on_hover_text("Grow into the background by this length").clicked() {
                self.compute(ui.ctx(), id, "Grow", move |l, _, task| {
                    tools::grow(&l.labels, &l.grid, label, by, &Over::Background, task)
                });
            }
            if ui.button("Shrink").on_hover_text("Shrink by this length").clicked() {
                self.compute(ui.ctx(), id, "Shrink", move |l, _, task| {
                    tools::shrink(&l.labels, &l.grid, label, by, task)
                });
            }
            let drag = DragValue::new(&mut self.edit.sigma_mm).range(0.1..=50.0).speed(0.1).suffix(" mm");
            let drag = ui.add(drag);
            drag.widget_info(|| egui::WidgetInfo::labeled(egui::Role::SpinButton, true, "Length"));
        });
        self.merge_ui(ui, id, label);
    }

    fn merge_ui(&mut self, ui: &mut Ui, id: LayerId, label: u16) {
        let Some(labels) = self.document.scene.layer(id).and_then(|l| l.labels()) else { return };
        let table = Arc::clone(&labels.table);
        ui.horizontal(|ui| {
            let into = self.edit.merge_into;
            let text = if into == 0 { "…".to_owned() } else { table.name(into) };
            let combo = egui::ComboBox::from_id_salt("merge into").selected_text(text).width(120.0);
            let goes = ui.add_enabled(into != 0 && into != label, egui::Button::new("Merge into")).clicked();
            let response = combo.show_ui(ui, |ui| {
                for entry in self.labels.rows(id, &table).iter().filter(|e| e.id != label) {
                    ui.selectable_value(&mut self.edit.merge_into, entry.id, &entry.name);
                }
            });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Merge into"));
            if goes {
                self.compute(ui.ctx(), id, "Merge", move |l, _, _| {
                    Ok(tools::merge(&l.labels, &l.table, &[label], into))
                });
                self.labels.chosen = into;
            }
            if ui.button("Delete").on_hover_text("Its voxels become background").clicked() {
                self.compute(ui.ctx(), id, "Delete label", move |l, _, _| {
                    Ok(tools::delete(&l.labels, &l.table, &[label]))
                });
                self.labels.chosen = 0;
            }
        });
    }

    fn add_label(&mut self, ctx: &Context, id: LayerId) {
        self.compute(ctx, id, "Add label", |l, _, _| {
            let number = tools::free_id(&l.labels, &l.table)
                .ok_or_else(|| tools::Error::Argument("all 65535 label numbers are taken".to_owned()))?;
            let entry = formats::LabelEntry::new(
                number,
                format!("Label {number}"),
                formats::labels::default_rgb(number),
            );
            tools::add_label(&l.labels, &l.table, entry)
        });
    }

    /// Makes an edit on a thread of its own, from a snapshot; it is applied when nothing else changed meanwhile.
    fn compute(
        &mut self,
        ctx: &Context,
        id: LayerId,
        title: &'static str,
        work: impl FnOnce(
            &viewer::LabelLayer,
            Option<&formats::Volume>,
            &formats::Task,
        ) -> tools::Result<LabelEdit>
        + Send
        + 'static,
    ) {
        let Some(labels) = self.document.scene.layer(id).and_then(|l| l.labels()).cloned() else { return };
        let image = self
            .document
            .active_image()
            .and_then(|i| Some(self.document.scene.layer(i)?.image()?.volume().clone()));
        self.start_job(ctx, title, move |task| {
            let edit = work(&labels, image.as_ref(), task)?;
            Ok(Product::Edited { layer: id, revision: labels.revision, title, edit })
        });
    }

    /// An edit was computed.
    pub(super) fn edited(
        &mut self,
        ctx: &Context,
        layer: LayerId,
        revision: u64,
        title: &'static str,
        edit: LabelEdit,
    ) {
        let Some(labels) = self.document.scene.layer(layer).and_then(|l| l.labels()) else { return };
        if labels.revision != revision {
            self.say(ctx, format!("{title}: the labels changed meanwhile; please do it again"));
        } else if edit.is_empty() {
            self.say(ctx, format!("{title}: nothing to change"));
        } else if self.apply(layer, &edit) {
            self.edit.history.push(layer, title, edit);
        }
    }

    /// Applies a change of a table as a step of its own, or as more of the step before when both have one title.
    pub(super) fn edit_table(&mut self, id: LayerId, title: &str, grows: bool, edit: LabelEdit) {
        if edit.is_empty() || !self.apply(id, &edit) {
            return;
        }
        if grows {
            self.edit.history.extend(id, title, edit);
        } else {
            self.edit.history.push(id, title, edit);
        }
    }

    /// Changes labels, and tells everybody who must know: the card, the journal, the list of what is not saved.
    fn apply(&mut self, id: LayerId, edit: &LabelEdit) -> bool {
        let Some(Content::Labels(labels)) = self.document.scene.layer_mut(id).map(|l| &mut l.content) else {
            return false;
        };
        let before = labels.revision;
        if let Err(error) = edit.apply_to_layer(labels) {
            self.complain("Editing", &error.into());
            return false;
        }
        if let Some(bounds) = edit.bounds() {
            self.pictures.labels_changed(labels.id, before, labels.revision, &bounds);
        }
        self.journal_edit(id, edit);
        if let Some(details) = self.document.details.get_mut(&id) {
            details.is_modified = true;
        }
        true
    }

    pub(super) fn undo(&mut self, ctx: &Context, back: bool) {
        if self.undo_restoration(ctx, back) {
            return;
        }
        let step = if back { self.edit.history.undo() } else { self.edit.history.redo() };
        if let Some(step) = step
            && self.apply(step.layer, &step.edit)
        {
            self.say(ctx, format!("{}: {}", if back { "Undone" } else { "Done again" }, step.title));
        }
    }

    /// A tool is used in a slice.
    pub(super) fn stroke(&mut self, ctx: &Context, plane: Plane, stroke: Stroke, ras: [f64; 3]) {
        match self.edit.tool {
            Tool::Cursor => {}
            Tool::Brush | Tool::Eraser => self.paint(plane, stroke, ras),
            Tool::Fill | Tool::Region if stroke == Stroke::Begin => self.fill(ctx, plane, ras),
            Tool::Fill | Tool::Region => {}
            Tool::Distance | Tool::Angle | Tool::Roi(_) => self.measure(plane, stroke, ras),
        }
    }

    fn paint(&mut self, plane: Plane, stroke: Stroke, ras: [f64; 3]) {
        if stroke == Stroke::End {
            self.edit.end_stroke();
            return;
        }
        let Some(id) = self.document.active_labels() else { return };
        let is_eraser = self.edit.tool == Tool::Eraser;
        let chosen = self.labels.chosen.max(1);
        let over = match self.edit.over {
            OverChoice::Everything => Over::Everything,
            OverChoice::Background if is_eraser => Over::Everything,
            OverChoice::Background => Over::Background,
            OverChoice::Chosen => Over::Labels(vec![chosen]),
        };
        let brush = Brush {
            tip: if self.edit.is_ball { Tip::Ball } else { Tip::Disc(plane) },
            radius_mm: self.edit.radius_mm,
            label: if is_eraser { 0 } else { chosen },
            over,
        };
        let points = match self.edit.last_ras {
            Some(last) if stroke == Stroke::Move => vec![last, ras],
            _ => vec![ras],
        };
        self.edit.last_ras = Some(ras);
        let scene = &self.document.scene;
        let image = self.document.active_image().and_then(|i| Some(scene.layer(i)?.image()?.volume()));
        let values = match (self.edit.limit, image) {
            (Some((low, high)), Some(image)) => Some(ValueRange { image, low, high }),
            _ => None,
        };
        let Some(labels) = scene.layer(id).and_then(|l| l.labels()) else { return };
        match tools::stroke(&labels.labels, &labels.grid, &brush, &points, values) {
            Ok(edit) if !edit.is_empty() => {
                if self.apply(id, &edit) {
                    self.edit.history.extend(id, if is_eraser { "Eraser" } else { "Brush" }, edit);
                }
            }
            Ok(_) => {}
            Err(error) => self.complain("Painting", &error.into()),
        }
    }

    fn fill(&mut self, ctx: &Context, plane: Plane, ras: [f64; 3]) {
        let Some(id) = self.document.active_labels() else { return };
        let label = self.labels.chosen.max(1);
        let extent = if self.edit.in_slice { Extent::Slice(plane) } else { Extent::Volume };
        if self.edit.tool == Tool::Fill {
            self.compute(ctx, id, "Fill", move |l, _, task| {
                tools::fill(&l.labels, &l.grid, ras, label, extent, task)
            });
            return;
        }
        let tolerance = self.edit.tolerance;
        let over = match self.edit.over {
            OverChoice::Everything => Over::Everything,
            OverChoice::Background => Over::Background,
            OverChoice::Chosen => Over::Labels(vec![label]),
        };
        self.compute(ctx, id, "Region", move |l, image, task| {
            let none = || tools::Error::Argument("there is no image here to take values from".to_owned());
            let image = image.ok_or_else(none)?;
            let ijk = image.grid.voxel_from_world().map(|m| m.apply(ras).map(f64::round)).ok_or_else(none)?;
            if ijk.iter().any(|v| *v < 0.0) {
                return Err(none());
            }
            let value = image.value(ijk.map(|v| v as usize)).ok_or_else(none)?;
            let values = ValueRange { image, low: value - tolerance, high: value + tolerance };
            tools::region(&l.labels, &l.grid, ras, label, extent, values, &over, REGION_CAP, task)
        });
    }
}

impl App {
    fn measure_ui(&mut self, ui: &mut Ui) {
        ui.label(RichText::new("Measure").strong());
        if self.measured_on_restored().is_some() {
            let warning = "The active image is restored, not for measurement: measure on the original.";
            ui.add(egui::Label::new(RichText::new(warning).color(super::theme::WARNING)).wrap());
        }
        ui.horizontal_wrapped(|ui| {
            for (tool, name, help) in [
                (Tool::Distance, "Distance", "Drag from one point to the other"),
                (Tool::Angle, "Angle", "Click three points; the second is the corner"),
                (Tool::Roi(RoiForm::Ellipse), "Ellipse", "Drag a box: mean, SD, least, greatest value, area"),
                (
                    Tool::Roi(RoiForm::Rectangle),
                    "Rectangle",
                    "Drag a box: mean, SD, least, greatest value, area",
                ),
            ] {
                if ui.selectable_label(self.edit.tool == tool, name).on_hover_text(help).clicked() {
                    self.edit.tool = tool;
                }
            }
        });
        let mut removed = None;
        for (n, m) in self.edit.measurements.iter().enumerate() {
            ui.horizontal_top(|ui| {
                if ui.small_button("×").on_hover_text("Remove the measurement").clicked() {
                    removed = Some(n);
                }
                // Wrapped: a long line would widen the panel, and the panes would move under the pointer.
                let text = format!("{}: {}", m.plane.name(), m.text.replace('\n', ", "));
                ui.add(egui::Label::new(text).wrap());
            });
        }
        if let Some(n) = removed {
            self.edit.measurements.remove(n);
        }
        if !self.edit.measurements.is_empty() && ui.button("Copy measurements").clicked() {
            let rows: Vec<String> =
                self.edit.measurements.iter().map(|m| m.text.replace('\n', ", ")).collect();
            ui.ctx().copy_text(rows.join("\n"));
        }
    }

    /// A measuring tool is used in a slice.
    fn measure(&mut self, plane: Plane, stroke: Stroke, ras: [f64; 3]) {
        let tool = self.edit.tool;
        let is_angle = tool == Tool::Angle;
        if stroke == Stroke::Begin {
            let goes_on = self
                .edit
                .measurements
                .last_mut()
                .filter(|m| is_angle && m.tool == tool && m.plane == plane && m.points_ras.len() < 3);
            match goes_on {
                Some(m) => m.points_ras.push(ras),
                None => {
                    let points_ras = if is_angle { vec![ras] } else { vec![ras, ras] };
                    self.edit.measurements.push(Measurement { tool, plane, points_ras, text: String::new() });
                }
            }
        } else if !is_angle
            && let Some(last) =
                self.edit.measurements.last_mut().filter(|m| m.tool == tool && m.points_ras.len() == 2)
        {
            last.points_ras[1] = ras;
        }
        if let Some(m) = self.edit.measurements.last() {
            let text = self.measured_text(m);
            let is_dot = !is_angle && stroke == Stroke::End && m.points_ras[0] == m.points_ras[1];
            if is_dot {
                self.edit.measurements.pop(); // a click that was no drag
            } else if let Some(m) = self.edit.measurements.last_mut() {
                m.text = text;
            }
        }
    }
}

impl Editor {
    /// Measurements for a session file.
    pub(super) fn measurements_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.measurements).unwrap_or_default()
    }

    /// Takes measurements from a session file; what is not understood is left out.
    pub(super) fn restore(&mut self, measurements: &serde_json::Value) {
        self.measurements = serde_json::from_value(measurements.clone()).unwrap_or_default();
    }
}

impl App {
    /// What a measurement says.
    fn measured_text(&self, m: &Measurement) -> String {
        let text = match (m.tool, &m.points_ras[..]) {
            (Tool::Distance, [a, b]) => format!("{:.1} mm", measure::distance_mm(*a, *b)),
            (Tool::Angle, [a, vertex, b]) => {
                measure::angle_deg(*a, *vertex, *b).map_or_else(String::new, |angle| format!("{angle:.1}°"))
            }
            (Tool::Roi(form), [a, b]) => self.region_text(form, m.plane, *a, *b),
            _ => String::new(),
        };
        match self.measured_on_restored() {
            // The warning goes with the number, also into the clipboard and the session.
            Some(mark) if !text.is_empty() => format!("{text}\n{mark}"),
            _ => text,
        }
    }

    /// Values of the active image inside an outline.
    fn region_text(&self, form: RoiForm, plane: Plane, a: [f64; 3], b: [f64; 3]) -> String {
        let [across, down, through] = plane.axes();
        let corners = [[a[across], a[down]], [b[across], b[down]]];
        let shape = match form {
            RoiForm::Rectangle => Shape::Rectangle { corners },
            RoiForm::Ellipse => Shape::Ellipse {
                centre: [0, 1].map(|n| f64::midpoint(corners[0][n], corners[1][n])),
                half_axes_mm: [0, 1].map(|n| ((corners[1][n] - corners[0][n]) / 2.0).abs().max(1e-6)),
                turn_rad: 0.0,
            },
        };
        let image = self.document.active_image().and_then(|id| self.document.scene.layer(id)?.image());
        let Some(image) = image else { return "no image here".to_owned() };
        match measure::plane_region(image.volume(), plane, a[through], &shape) {
            Ok(region) => {
                let size = match region.size {
                    Size::Area { drawn_mm2, .. } => format!("{drawn_mm2:.1} mm²"),
                    Size::Volume { counted_mm3 } => format!("{counted_mm3:.1} mm³"),
                };
                match region.values {
                    Some(v) => format!(
                        "mean {:.2}, SD {:.2}\n{:.2} to {:.2}\n{size}, {} voxels",
                        v.mean, v.sd, v.min, v.max, region.voxels
                    ),
                    None => format!("no values\n{size}"),
                }
            }
            Err(error) => error.to_string(),
        }
    }
}
