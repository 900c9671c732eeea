//! The left panel: the stack of layers, and how the active one looks.

use eframe::egui::{self, Color32, ComboBox, DragValue, Panel, RichText, ScrollArea, Slider, Ui, vec2};
use formats::Level;
use viewer::window::{CT_PRESETS, Histogram};
use viewer::{ColourMap, Content, ImageLayer, LayerId, Window};

use super::App;
use super::theme::{self, ACCENT, WARNING};
use crate::commands::Command;

/// A window of fewer points is too narrow for two panels beside the panes.
const NARROW: f32 = 860.0;

/// What the rows ask for, carried out after they are drawn.
enum RowAction {
    Activate(LayerId),
    Move(LayerId, isize),
    Close(LayerId),
    Facts(LayerId),
}

impl App {
    pub(super) fn layers_ui(&mut self, ui: &mut Ui) {
        // A small window has no room for both panels; this one comes when the other is closed.
        let gives_way = ui.available_width() < NARROW && self.settings.panels[1];
        let mut open = self.settings.panels[0] && !gives_way;
        let frame = theme::panel(ui.style());
        Panel::left("layers").frame(frame).default_size(264.0).size_range(240.0..=420.0).show_collapsible(
            ui,
            &mut open,
            |ui| {
                ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                    self.stack_ui(ui);
                    ui.separator();
                    self.look_ui(ui);
                    self.frames_ui(ui);
                    self.notices_ui(ui);
                });
            },
        );
        if !gives_way {
            self.settings.panels[0] = open;
        }
    }

    fn stack_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.heading("Layers");
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if ui.small_button("New labels").on_hover_text("An empty segmentation to paint in").clicked()
                {
                    self.command(Command::NewLabels);
                }
                if ui.small_button("Add…").on_hover_text("Open another file as a layer").clicked() {
                    self.command(Command::Open);
                }
            });
        });
        let mut asked = None;
        let active = self.document.active;
        let details = &self.document.details;
        // Topmost first, as they lie over one another.
        for layer in self.document.scene.layers.iter_mut().rev() {
            let is_active = Some(layer.id) == active;
            let fill = if is_active {
                ui.visuals().selection.bg_fill.gamma_multiply(0.55)
            } else {
                Color32::TRANSPARENT
            };
            egui::Frame::new().fill(fill).corner_radius(4).inner_margin(egui::Margin::symmetric(4, 2)).show(
                ui,
                |ui| {
                    ui.horizontal(|ui| {
                        let eye = ui.checkbox(&mut layer.visible, "");
                        let name = layer.name.clone();
                        eye.widget_info(|| {
                            egui::WidgetInfo::labeled(egui::Role::CheckBox, true, format!("Show {name}"))
                        });
                        eye.on_hover_text("Show or hide");
                        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                            let more = ui.menu_button("…", |ui| {
                                row_menu(ui, layer.id, &mut asked);
                            });
                            more.response.widget_info(|| {
                                egui::WidgetInfo::labeled(
                                    egui::Role::Button,
                                    true,
                                    format!("More about {name}"),
                                )
                            });
                            let detail = details.get(&layer.id);
                            if detail.is_some_and(|d| d.notices.iter().any(|n| n.level == Level::Warning)) {
                                let mark = ui.label(RichText::new("!").color(WARNING));
                                mark.on_hover_text("There are warnings; see below when the layer is active");
                            }
                            if detail.is_some_and(|d| models::restorer::is_restored(&d.meta)) {
                                ui.label(RichText::new("restored").color(WARNING).small())
                                    .on_hover_text(super::restore::MARK);
                            }
                            if detail.is_some_and(|d| d.is_modified) {
                                ui.label(RichText::new("•").color(ACCENT).small())
                                    .on_hover_text("Not saved yet");
                            }
                            if detail.is_some_and(|d| d.preview.is_some()) {
                                ui.weak("loading…").on_hover_text("One slice until the rest is read");
                            }
                            let kind = if layer.labels().is_some() { "labels" } else { "image" };
                            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                                let text = if is_active {
                                    RichText::new(&layer.name).strong()
                                } else {
                                    RichText::new(&layer.name)
                                };
                                let label =
                                    ui.add(egui::Label::new(text).truncate().sense(egui::Sense::click()));
                                if label.on_hover_text(format!("{kind}: {}", layer.name)).clicked() {
                                    asked = Some(RowAction::Activate(layer.id));
                                }
                            });
                        });
                    });
                },
            );
        }
        match asked {
            Some(RowAction::Activate(id)) => self.document.active = Some(id),
            Some(RowAction::Move(id, by)) => self.document.reorder(id, by),
            Some(RowAction::Close(id)) => self.close(id),
            Some(RowAction::Facts(id)) => self.shown.facts = Some(id),
            None => {}
        }
    }

    /// Window, colours, opacity of the active layer.
    fn look_ui(&mut self, ui: &mut Ui) {
        let active = self.document.active;
        let histogram = active.and_then(|id| self.histograms.get(&id));
        let Some(layer) = self.document.active_layer_mut() else { return };
        ui.add(egui::Label::new(RichText::new(&layer.name).strong()).truncate());
        ui.horizontal(|ui| {
            ui.label("Opacity");
            let slider = Slider::new(&mut layer.opacity, 0.0..=1.0).show_value(false);
            let response = ui.add(slider);
            response.widget_info(|| egui::WidgetInfo::slider(true, f64::from(layer.opacity), "Opacity"));
            ui.weak(format!("{:.0} %", layer.opacity * 100.0));
        });
        match &mut layer.content {
            Content::Image(image) if !image.volume().voxels.is_colour() => image_ui(ui, image, histogram),
            Content::Image(_) => {
                ui.weak("Colours are shown as they are.");
            }
            Content::Labels(labels) => {
                ui.checkbox(&mut labels.outline, "Outlines only");
            }
        }
    }

    fn frames_ui(&mut self, ui: &mut Ui) {
        let Some((id, frame, count, axes)) = self.document.frames() else { return };
        ui.separator();
        let axis = axes.first();
        let name = axis.map_or("frame", |a| a.name.as_str());
        ui.label(RichText::new(format!("{} {} of {count}", capital(name), frame + 1)).strong());
        let mut shown = frame;
        ui.horizontal(|ui| {
            let is_playing = self.playing.is_some();
            let (sign, help) =
                if is_playing { ("Stop", "Stop at this frame") } else { ("Play", "Run through the frames") };
            if ui.button(sign).on_hover_text(help).clicked() {
                self.command(Command::PlayFrames);
            }
            ui.spacing_mut().slider_width = (ui.available_width() - 50.0).max(60.0);
            let slider = ui.add(Slider::new(&mut shown, 0..=count - 1).show_value(false));
            slider.widget_info(|| egui::WidgetInfo::slider(true, shown as f64, "Frame"));
        });
        if let Some(axis) = axis.filter(|a| a.step > 0.0) {
            ui.weak(format!("{:.3} {}", axis.step * shown as f64, axis.unit));
        }
        if shown != frame {
            self.document.set_frame(id, shown);
        }
        let cursor = self.document.scene.cursor_ras;
        if let Some(image) = self.document.scene.layer(id).and_then(|l| l.image()) {
            match viewer::probe::time_curve(image, cursor) {
                Some(curve) => curve_ui(ui, &curve, shown),
                None => _ = ui.weak("The cursor is outside the image"),
            }
        }
    }

    fn notices_ui(&mut self, ui: &mut Ui) {
        let Some(id) = self.document.active else { return };
        let mut notices = self.document.details.get(&id).map(|d| d.notices.clone()).unwrap_or_default();
        // What the graphics card adds, e.g. that it shows a large volume reduced.
        notices.extend(
            self.pictures.notices(&self.document.scene).into_iter().filter(|(of, _)| *of == id).map(|n| n.1),
        );
        notices.extend(self.pictures.problem().map(|p| formats::Notice::warning("graphics-memory", p)));
        if notices.is_empty() {
            return;
        }
        ui.separator();
        ui.label(RichText::new("Notices").strong());
        for notice in &notices {
            ui.horizontal_top(|ui| {
                match notice.level {
                    Level::Warning => ui.label(RichText::new("!").color(WARNING)),
                    Level::Info => ui.label(RichText::new("•").weak()),
                };
                ui.add(egui::Label::new(&notice.message).wrap());
            });
        }
    }
}

fn row_menu(ui: &mut Ui, id: LayerId, asked: &mut Option<RowAction>) {
    for (label, action) in [
        ("Move up", RowAction::Move(id, 1)),
        ("Move down", RowAction::Move(id, -1)),
        ("Facts…", RowAction::Facts(id)),
        ("Close", RowAction::Close(id)),
    ] {
        if ui.button(label).clicked() {
            *asked = Some(action);
            ui.close();
        }
    }
}

fn image_ui(ui: &mut Ui, image: &mut ImageLayer, histogram: Option<&Histogram>) {
    if let Some(histogram) = histogram {
        histogram_ui(ui, histogram, &mut image.window);
    }
    let (low, high) = image.value_range;
    let speed = ((high - low) / 300.0).max(1e-6);
    ui.horizontal(|ui| {
        let (mut level, mut width) = (image.window.level(), image.window.width());
        ui.label("Level");
        let a = ui.add(DragValue::new(&mut level).speed(speed).max_decimals(2));
        a.widget_info(|| egui::WidgetInfo::labeled(egui::Role::SpinButton, true, "Level"));
        ui.label("Width");
        let b = ui.add(DragValue::new(&mut width).speed(speed).max_decimals(2).range(1e-9..=f64::MAX));
        b.widget_info(|| egui::WidgetInfo::labeled(egui::Role::SpinButton, true, "Width"));
        if a.changed() || b.changed() {
            image.window = Window::level_width(level, width);
        }
    });
    ui.horizontal(|ui| {
        if ui.button("Auto").on_hover_text("2nd to 98th percentile of the values that are not 0").clicked() {
            image.window = viewer::window::auto_window(image.volume());
        }
        if ui.button("Full").on_hover_text("Smallest to largest value").clicked() {
            image.window = Window { low, high: if high > low { high } else { low + 1.0 } };
        }
        ui.menu_button("CT presets", |ui| {
            for preset in CT_PRESETS {
                let text = format!("{}  {:.0} / {:.0}", preset.name, preset.level, preset.width);
                if ui.button(text).clicked() {
                    image.window = Window::level_width(preset.level, preset.width);
                    ui.close();
                }
            }
        });
    });
    ui.horizontal(|ui| {
        ui.label("Colours");
        let combo =
            ComboBox::from_id_salt("colour map").selected_text(image.colour_map.name.as_ref()).width(150.0);
        let response = combo.show_ui(ui, |ui| {
            for map in ColourMap::all() {
                ui.horizontal(|ui| {
                    swatch(ui, map, vec2(44.0, 12.0));
                    if ui.selectable_label(map.name == image.colour_map.name, map.name.as_ref()).clicked() {
                        image.colour_map = map.clone();
                        ui.close();
                    }
                });
            }
        });
        response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Colours"));
    });
    swatch(ui, &image.colour_map, vec2(ui.available_width(), 8.0));
}

pub(super) fn swatch(ui: &mut Ui, map: &ColourMap, size: egui::Vec2) {
    let (rect, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    let steps = 48;
    for n in 0..steps {
        let [r, g, b, _] = map.at(n as f32 / (steps - 1) as f32);
        let left = rect.left() + rect.width() * n as f32 / steps as f32;
        let piece = egui::Rect::from_min_size(
            egui::pos2(left, rect.top()),
            vec2(rect.width() / steps as f32 + 0.5, rect.height()),
        );
        ui.painter().rect_filled(piece, 0.0, Color32::from_rgb(r, g, b));
    }
}

/// Bars of the values with the window over them; dragging its ends changes it.
fn histogram_ui(ui: &mut Ui, histogram: &Histogram, window: &mut Window) {
    let size = vec2(ui.available_width(), 64.0);
    let (rect, response) = ui.allocate_exact_size(size, egui::Sense::click_and_drag());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Histogram and window"));
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
    let (low, high) = (histogram.low, histogram.high);
    let heights = histogram.heights();
    // One filled strip per point of the screen: bars narrower than a pixel would shimmer.
    let columns = (rect.width().floor() as usize).max(1);
    let colour = ui.visuals().weak_text_color().gamma_multiply(0.6);
    for column in 0..columns {
        let (from, to) = (column * heights.len() / columns, (column + 1) * heights.len() / columns);
        let height = heights[from..to.max(from + 1)].iter().copied().fold(0.0, f32::max);
        let x = rect.left() + column as f32;
        let bar = egui::Rect::from_min_max(
            egui::pos2(x, rect.bottom() - height * (rect.height() - 4.0)),
            egui::pos2(x + 1.0, rect.bottom()),
        );
        painter.rect_filled(bar, 0.0, colour);
    }
    let x_of =
        |value: f64| rect.left() + rect.width() * (((value - low) / (high - low)) as f32).clamp(0.0, 1.0);
    let (left, right) = (x_of(window.low), x_of(window.high));
    let band = egui::Rect::from_x_y_ranges(left..=right, rect.y_range());
    painter.rect_filled(band, 0.0, ACCENT.gamma_multiply(0.14));
    for x in [left, right] {
        painter.vline(x, rect.y_range(), egui::Stroke::new(1.5, ACCENT));
    }
    if (response.dragged() || response.clicked())
        && let Some(p) = response.interact_pointer_pos()
    {
        let share = f64::from(((p.x - rect.left()) / rect.width()).clamp(0.0, 1.0));
        let value = low + share * (high - low);
        let least = (high - low) * 1e-4;
        // The nearer end follows the pointer.
        if (p.x - left).abs() <= (p.x - right).abs() {
            window.low = value.min(window.high - least);
        } else {
            window.high = value.max(window.low + least);
        }
    }
    response.on_hover_text(format!(
        "Values from {low:.4} to {high:.4}, counts on a logarithmic scale. Drag an end of the window"
    ));
}

/// Values over frames at the cursor.
fn curve_ui(ui: &mut Ui, curve: &[f64], frame: usize) {
    let finite: Vec<f64> = curve.iter().copied().filter(|v| v.is_finite()).collect();
    let (Some(low), Some(high)) =
        (finite.iter().copied().reduce(f64::min), finite.iter().copied().reduce(f64::max))
    else {
        return;
    };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 72.0), egui::Sense::hover());
    response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Values over frames at the cursor")
    });
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
    let span = if high > low { high - low } else { 1.0 };
    let inner = rect.shrink(4.0);
    let at = |n: usize, v: f64| {
        let x = inner.left() + inner.width() * n as f32 / (curve.len().max(2) - 1) as f32;
        egui::pos2(x, inner.bottom() - inner.height() * ((v - low) / span) as f32)
    };
    let points: Vec<egui::Pos2> =
        curve.iter().enumerate().filter(|(_, v)| v.is_finite()).map(|(n, v)| at(n, *v)).collect();
    painter.add(egui::Shape::line(points, egui::Stroke::new(1.5, ACCENT)));
    if let Some(value) = curve.get(frame).filter(|v| v.is_finite()) {
        painter.circle_filled(at(frame, *value), 3.5, Color32::WHITE);
    }
    let value = curve.get(frame).map_or(f64::NAN, |v| *v);
    ui.weak(format!("{} here, {} to {} in all", short(value), short(low), short(high)));
}

/// A value in few digits.
pub(super) fn short(value: f64) -> String {
    if value.abs() >= 1e5 || (value != 0.0 && value.abs() < 1e-3) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}
