//! The 3-D page: what a ray makes of the values, colours and opacities, light, cuts, and picking.

use eframe::egui::{self, Color32, Context, Pos2, Rect, RichText, Sense, Slider, Ui, pos2, vec2};
use viewer::transfer::{self, ControlPoint};
use viewer::volume_view::{ClipPlane, Mode};
use viewer::{Projection, StandardView, TransferFunction};

use super::App;
use super::theme::ACCENT;

/// The name of a look that the user changed.
const CUSTOM: &str = "Custom";
/// What is left of an image's opacity in 3-D once a segmentation lies inside it: so little that a whole head in front
/// hides about half of what is behind.
const FADED: f32 = 0.015;

impl App {
    pub(super) fn volume_ui(&mut self, ui: &mut Ui) {
        let Some((window, range)) = self
            .document
            .active_image()
            .or_else(|| self.document.scene.layers.iter().find(|l| l.image().is_some()).map(|l| l.id))
            .and_then(|id| self.document.scene.layer(id)?.image())
            .map(|i| (i.window, i.value_range))
        else {
            self.labels_3d_ui(ui);
            return;
        };
        self.mode_ui(ui, range);
        let view = &mut self.pictures.volume_view;
        if view.mode == Mode::Composite {
            ui.horizontal(|ui| {
                ui.label("Look");
                let combo =
                    egui::ComboBox::from_id_salt("transfer").selected_text(&view.transfer.name).width(170.0);
                let response = combo.show_ui(ui, |ui| {
                    for preset in transfer::all_presets(window) {
                        if ui.selectable_label(preset.name == view.transfer.name, &preset.name).clicked() {
                            view.transfer = TransferFunction { unit_mm: view.transfer.unit_mm, ..preset };
                        }
                    }
                });
                response
                    .response
                    .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Look"));
            });
            transfer_ui(ui, &mut view.transfer, range);
        }
        ui.separator();
        self.light_ui(ui);
        ui.separator();
        self.labels_3d_ui(ui);
        ui.separator();
        self.cuts_ui(ui);
        ui.separator();
        self.camera_ui(ui);
    }

    /// Fades the image in 3-D when the first segmentation comes, so that it is seen inside; a look that the user made
    /// stays.
    pub(super) fn see_inside(&mut self) {
        let count = self.document.scene.layers.iter().filter(|l| l.labels().is_some()).count();
        let view = &mut self.pictures.volume_view;
        let is_ours = view.transfer.name != CUSTOM && !view.transfer.name.ends_with("see-through");
        if count == 1 && is_ours {
            view.transfer = view.transfer.faded(FADED);
        }
    }

    fn mode_ui(&mut self, ui: &mut Ui, range: (f64, f64)) {
        let view = &mut self.pictures.volume_view;
        let middle = f64::midpoint(range.0, range.1);
        ui.horizontal_wrapped(|ui| {
            for (mode, name, help) in [
                (Mode::Composite, "Volume", "Emission and absorption by the transfer function"),
                (Mode::Mip, "MIP", "The greatest value along each ray"),
                (Mode::MinIp, "MinIP", "The least value along each ray"),
                (Mode::Average, "Mean", "The mean value along each ray, like an X-ray picture"),
                (
                    Mode::Isosurface { value: middle },
                    "Surface",
                    "The first place where values reach a threshold",
                ),
            ] {
                let is_on = std::mem::discriminant(&view.mode) == std::mem::discriminant(&mode);
                if ui.selectable_label(is_on, name).on_hover_text(help).clicked() && !is_on {
                    view.mode = mode;
                }
            }
        });
        if let Mode::Isosurface { value } = &mut view.mode {
            ui.horizontal(|ui| {
                let label = ui.label("Threshold");
                ui.add(Slider::new(value, range.0..=range.1)).labelled_by(label.id);
            });
            ui.horizontal(|ui| {
                ui.label("Colour");
                let colour = ui.color_edit_button_srgb(&mut view.surface_rgb);
                colour
                    .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ColorWell, true, "Surface colour"));
            });
        }
        ui.checkbox(&mut view.image_visible, "Show the image");
    }

    fn light_ui(&mut self, ui: &mut Ui) {
        let light = &mut self.pictures.volume_view.lighting;
        ui.checkbox(&mut light.enabled, "Light");
        ui.add_enabled_ui(light.enabled, |ui| {
            for (name, value, range) in [
                ("Ambient", &mut light.ambient, 0.0..=1.0),
                ("Diffuse", &mut light.diffuse, 0.0..=1.0),
                ("Highlights", &mut light.specular, 0.0..=1.0),
                ("Sharpness", &mut light.shininess, 1.0..=100.0),
            ] {
                ui.horizontal(|ui| {
                    let label = named(ui, name, 72.0);
                    ui.add(Slider::new(value, range).max_decimals(2)).labelled_by(label.id);
                });
            }
        });
    }

    fn labels_3d_ui(&mut self, ui: &mut Ui) {
        let style = &mut self.pictures.volume_view.labels;
        ui.checkbox(&mut style.visible, "Labels");
        ui.add_enabled_ui(style.visible, |ui| {
            ui.checkbox(&mut style.smooth, "Smooth surfaces");
            ui.horizontal(|ui| {
                let label = named(ui, "Opacity", 72.0);
                ui.add(Slider::new(&mut style.opacity, 0.0..=1.0).max_decimals(2)).labelled_by(label.id);
            });
        });
    }

    fn cuts_ui(&mut self, ui: &mut Ui) {
        let Some((low, high)) = self.document.scene.bounds_ras() else { return };
        let cursor = self.document.scene.cursor_ras;
        let view = &mut self.pictures.volume_view;
        ui.label(RichText::new("Slices in 3-D").strong());
        ui.horizontal(|ui| {
            for (shown, plane) in view.slices.iter_mut().zip(viewer::Plane::ALL) {
                ui.checkbox(shown, plane.name());
            }
        });
        ui.label(RichText::new("Cut at the cursor").strong());
        ui.horizontal_wrapped(|ui| {
            let sides =
                [("R", 0, -1.0), ("L", 0, 1.0), ("A", 1, -1.0), ("P", 1, 1.0), ("S", 2, -1.0), ("I", 2, 1.0)];
            for (name, axis, sign) in sides {
                let mut normal_ras = [0.0; 3];
                normal_ras[axis] = sign;
                let at = view.clip_planes.iter().position(|c| c.normal_ras == normal_ras);
                let label = ui.selectable_label(at.is_some(), name);
                if label
                    .on_hover_text(format!("Take away what lies beyond the cursor towards {name}"))
                    .clicked()
                {
                    match at {
                        Some(n) => _ = view.clip_planes.remove(n),
                        None => view.clip_planes.push(ClipPlane { point_ras: cursor, normal_ras }),
                    }
                }
            }
            if !view.clip_planes.is_empty()
                && ui.button("To cursor").on_hover_text("Move the cuts to the cursor").clicked()
            {
                view.clip_planes.iter_mut().for_each(|c| c.point_ras = cursor);
            }
        });
        let mut crops = view.crop_ras.is_some();
        if ui.checkbox(&mut crops, "Crop box").changed() {
            view.crop_ras = crops.then_some((low, high));
        }
        if let Some((from, to)) = &mut view.crop_ras {
            for (axis, name) in ["L–R", "P–A", "I–S"].into_iter().enumerate() {
                ui.horizontal(|ui| {
                    ui.spacing_mut().slider_width = 84.0;
                    let label = named(ui, name, 34.0);
                    let a = Slider::new(&mut from[axis], low[axis]..=high[axis]).show_value(false);
                    ui.add(a).labelled_by(label.id).on_hover_text("From");
                    let b = Slider::new(&mut to[axis], low[axis]..=high[axis]).show_value(false);
                    ui.add(b).labelled_by(label.id).on_hover_text("To");
                });
                if from[axis] > to[axis] {
                    std::mem::swap(&mut from[axis], &mut to[axis]);
                }
            }
        }
    }

    fn camera_ui(&mut self, ui: &mut Ui) {
        let bounds = self.document.scene.bounds_ras();
        let camera = &mut self.pictures.volume_view.camera;
        ui.label(RichText::new("Look from").strong());
        ui.horizontal_wrapped(|ui| {
            for view in StandardView::ALL {
                if ui.button(view.name()).clicked() {
                    camera.look_from(view);
                }
            }
            if ui.button("Fit").on_hover_text("Everything in the picture").clicked()
                && let Some(bounds) = bounds
            {
                camera.fit(bounds, 1.2);
            }
        });
        let mut is_flat = camera.projection == Projection::Orthographic;
        if ui.checkbox(&mut is_flat, "Without perspective").changed() {
            camera.projection = if is_flat { Projection::Orthographic } else { Projection::Perspective };
        }
    }

    /// A click in 3-D moves the cursor to what is seen there.
    pub(super) fn pick(&mut self, ctx: &Context, rect: Rect, at: Pos2) {
        let size = [rect.width(), rect.height()].map(|n| n.round().max(1.0) as usize);
        let scene = &self.document.scene;
        match self.pictures.pick(scene, size, f64::from(at.x), f64::from(at.y)) {
            Some(pick) => {
                let name = pick.label.and_then(|id| {
                    let labels = scene.layer(pick.layer)?.labels()?;
                    Some(labels.table.name(id))
                });
                if let Some(id) = pick.label {
                    self.labels.chosen = id;
                }
                self.document.move_cursor(pick.ras);
                if let Some(name) = name {
                    self.say(ctx, name);
                }
            }
            None => self.say(ctx, "Nothing is seen there"),
        }
    }
}

/// A name in front of a slider; names below one another begin at the same place, and so do the sliders.
fn named(ui: &mut Ui, name: &str, width: f32) -> egui::Response {
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(vec2(width, 18.0), layout, |ui| {
        ui.set_min_width(width);
        ui.label(name)
    })
    .inner
}

/// Control points over the range of values: drag to move, double click to add, right click to remove or colour.
fn transfer_ui(ui: &mut Ui, transfer: &mut TransferFunction, range: (f64, f64)) {
    let (low, high) = if range.1 > range.0 { range } else { (range.0, range.0 + 1.0) };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 96.0), Sense::click_and_drag());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Opacity over values"));
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
    let inner = rect.shrink(6.0);
    let place = |p: &ControlPoint| {
        // Square root: small opacities matter most.
        let height = p.opacity.clamp(0.0, 1.0).sqrt();
        let x = ((p.value - low) / (high - low)) as f32;
        pos2(inner.left() + inner.width() * x, inner.bottom() - inner.height() * height)
    };
    let value_at = |p: Pos2| {
        let x = f64::from((p.x - inner.left()) / inner.width()).clamp(0.0, 1.0);
        let height = ((inner.bottom() - p.y) / inner.height()).clamp(0.0, 1.0);
        (low + x * (high - low), height * height)
    };
    let points: Vec<Pos2> = transfer.points.iter().map(place).collect();
    painter.add(egui::Shape::line(points.clone(), egui::Stroke::new(1.5, ACCENT)));
    for (at, point) in points.iter().zip(&transfer.points) {
        painter.circle_filled(*at, 5.0, Color32::from_rgb(point.rgb[0], point.rgb[1], point.rgb[2]));
        painter.circle_stroke(*at, 5.0, egui::Stroke::new(1.0, Color32::WHITE));
    }
    let nearest = |p: Pos2| {
        let near = points.iter().enumerate().map(|(n, at)| (n, at.distance(p)));
        near.filter(|(_, d)| *d < 12.0).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(n, _)| n)
    };
    let held_id = response.id.with("held");
    if response.drag_started()
        && let Some(n) = response.interact_pointer_pos().and_then(nearest)
    {
        ui.data_mut(|d| d.insert_temp(held_id, n));
    }
    let custom = |t: &mut TransferFunction| t.name = CUSTOM.to_owned();
    if response.dragged()
        && let Some(p) = response.interact_pointer_pos()
        && let Some(n) = ui.data(|d| d.get_temp::<usize>(held_id))
        && n < transfer.points.len()
    {
        let (value, opacity) = value_at(p);
        let before = n.checked_sub(1).map_or(f64::NEG_INFINITY, |m| transfer.points[m].value);
        let after = transfer.points.get(n + 1).map_or(f64::INFINITY, |m| m.value);
        transfer.points[n].value = value.max(before).min(after);
        transfer.points[n].opacity = opacity;
        custom(transfer);
    }
    if response.drag_stopped() {
        ui.data_mut(|d| d.remove_temp::<usize>(held_id));
    }
    if response.double_clicked()
        && let Some(p) = response.interact_pointer_pos()
        && nearest(p).is_none()
    {
        let (value, opacity) = value_at(p);
        let [r, g, b, _] = transfer.at(value);
        let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
        transfer.points.push(ControlPoint { value, rgb: [byte(r), byte(g), byte(b)], opacity });
        transfer.sort();
        custom(transfer);
    }
    let target_id = response.id.with("target");
    if response.secondary_clicked() {
        let target = response.interact_pointer_pos().and_then(nearest);
        ui.data_mut(|d| d.insert_temp(target_id, target));
    }
    response.context_menu(|ui| {
        let target = ui.data(|d| d.get_temp::<Option<usize>>(target_id)).flatten();
        match target.filter(|n| *n < transfer.points.len()) {
            Some(n) => {
                ui.horizontal(|ui| {
                    ui.label("Colour");
                    if ui.color_edit_button_srgb(&mut transfer.points[n].rgb).changed() {
                        custom(transfer);
                    }
                });
                if transfer.points.len() > 2 && ui.button("Remove point").clicked() {
                    transfer.points.remove(n);
                    custom(transfer);
                    ui.close();
                }
            }
            None => _ = ui.weak("Right click a point to colour or remove it; double click to add one"),
        }
    });
    response.on_hover_text(format!("Opacity over values from {low:.4} to {high:.4} (square-root scale)"));
}
