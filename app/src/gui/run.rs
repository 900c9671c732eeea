//! Carrying out commands.

use eframe::egui::{Context, ViewportCommand};
use viewer::{Content, Convention, Plane, StandardView};

use super::dialogs::{Ask, Purpose};
use super::{App, Tab, palette, theme};
use crate::commands::{Command, Side};
use crate::document::Layout;
use crate::settings::Theme;

impl App {
    /// Carries out a command; what it asks for beyond its arguments is taken from the document.
    pub fn perform(&mut self, ctx: &Context, command: Command) {
        match command {
            Command::Open => self.ask_for_files(ctx),
            Command::OpenFolder => {
                let folder = self.recent_folder();
                self.ask(
                    ctx,
                    Ask {
                        purpose: Purpose::OpenFolder,
                        title: "Open folder".to_owned(),
                        name: String::new(),
                        folder,
                        filters: Vec::new(),
                    },
                );
            }
            Command::OpenSample => self.open_sample(ctx),
            Command::Deidentify => self.open_deid(),
            Command::ImportPack => self.ask_for_pack(ctx),
            Command::Segment => self.segment_active(ctx),
            Command::Restore => self.restore_active(ctx),
            Command::Find => self.show_prompt(),
            Command::ToggleSegmentOnOpen => self.settings.segment_on_open = !self.settings.segment_on_open,
            Command::Cancel => self.cancel(ctx),
            Command::Save | Command::SaveAs => self.save_active(ctx, command == Command::SaveAs),
            Command::SaveTable => self.ask_for_table(ctx),
            Command::SaveScreenshot => self.ask_for_picture(ctx, Purpose::SaveScreenshot),
            Command::SavePane => self.ask_for_picture(ctx, Purpose::SavePane),
            Command::SaveMesh => self.ask_for_mesh(ctx),
            Command::SaveTurntable => self.ask_for_turntable(ctx),
            Command::SaveSession => self.ask_for_session(ctx, false),
            Command::OpenSession => self.ask_for_session(ctx, true),
            Command::View3d(side) => {
                let view = match side {
                    Side::Anterior => StandardView::Anterior,
                    Side::Posterior => StandardView::Posterior,
                    Side::Left => StandardView::Left,
                    Side::Right => StandardView::Right,
                    Side::Superior => StandardView::Superior,
                    Side::Inferior => StandardView::Inferior,
                };
                self.pictures.volume_view.camera.look_from(view);
            }
            Command::CloseLayer => {
                if let Some(id) = self.document.active {
                    self.close(id);
                }
            }
            Command::CloseAll => {
                for id in self.document.scene.layers.iter().map(|l| l.id).collect::<Vec<_>>() {
                    self.close(id);
                }
            }
            Command::Quit => ctx.send_viewport_cmd(ViewportCommand::Close),
            Command::Palette => self.shown.palette = Some(palette::Palette::default()),
            Command::ShowSettings => self.shown.settings = true,
            Command::RestartGraphics => self.graphics.ask(),
            Command::About => self.shown.about = true,
            Command::ToggleTheme => {
                self.settings.theme =
                    if ctx.global_style().visuals.dark_mode { Theme::Light } else { Theme::Dark };
                theme::choose(ctx, self.settings.theme);
            }
            Command::ZoomIn | Command::ZoomOut => {
                let by = if command == Command::ZoomIn { 0.1 } else { -0.1 };
                self.settings.zoom = ((self.settings.zoom + by) * 10.0).round().clamp(5.0, 30.0) / 10.0;
                ctx.set_zoom_factor(self.settings.zoom);
            }
            Command::ToggleLayersPanel => self.settings.panels[0] = !self.settings.panels[0],
            Command::ToggleToolsPanel => self.settings.panels[1] = !self.settings.panels[1],
            Command::Undo | Command::Redo => self.undo(ctx, command == Command::Undo),
            Command::NewLabels => {
                if let Some(image) = self.document.active_image()
                    && !self.is_still_loading(ctx, image)
                {
                    self.document.add_empty_labels(image);
                    self.shown.tab = Tab::Edit;
                }
            }
            _ => self.look(ctx, command),
        }
    }

    /// Whether a layer is but a slice so far; says so.
    pub(super) fn is_still_loading(&mut self, ctx: &Context, id: viewer::LayerId) -> bool {
        let is_preview = self.document.is_preview(id);
        if is_preview {
            self.say(ctx, "This file is still being read");
        }
        is_preview
    }

    /// Takes a layer away; unsaved labels are asked about first.
    pub(super) fn close(&mut self, id: viewer::LayerId) {
        let is_modified = self.document.details.get(&id).is_some_and(|d| d.is_modified);
        if is_modified && self.shown.closing != Some(id) {
            self.shown.closing = Some(id);
            return;
        }
        self.shown.closing = None;
        if let Some((job, _)) = self.previews.iter().find(|(_, layer)| **layer == id) {
            self.jobs.cancel(*job);
        }
        self.journal_forget(id);
        self.edit.forget(id);
        self.histograms.remove(&id);
        self.document.remove(id);
    }

    /// Commands that only change how things look.
    fn look(&mut self, ctx: &Context, command: Command) {
        let document = &mut self.document;
        match command {
            Command::ResetView => document.reset_views(),
            Command::ToggleOverlays => document.toggle_overlays(),
            Command::NextLayer => document.cycle_active(1),
            Command::PreviousLayer => document.cycle_active(-1),
            Command::NextSlice => document.scroll(Plane::Axial, 1),
            Command::PreviousSlice => document.scroll(Plane::Axial, -1),
            Command::NextFrame | Command::PreviousFrame => {
                if let Some((id, frame, count, _)) = document.frames() {
                    let by = if command == Command::NextFrame { 1 } else { count - 1 };
                    document.set_frame(id, frame + by);
                }
            }
            Command::PlayFrames => {
                self.playing = if self.playing.is_some() { None } else { Some(ctx.input(|i| i.time)) };
            }
            Command::SetLayout(layout) => {
                document.layout = layout;
                document.maximised = None;
            }
            Command::Maximise => {
                let pane = self.pane_under_pointer.unwrap_or(document.main.0);
                document.maximised = if document.maximised.is_some() { None } else { Some(pane) };
            }
            Command::ToggleConvention => {
                let to = match document.scene.convention {
                    Convention::Radiological => Convention::Neurological,
                    Convention::Neurological => Convention::Radiological,
                };
                document.scene.convention = to;
                self.settings.convention = to;
            }
            Command::ToggleInterpolation => {
                document.scene.interpolate = !document.scene.interpolate;
                self.settings.interpolate = document.scene.interpolate;
            }
            Command::ToggleCrosshair => self.show_crosshair = !self.show_crosshair,
            Command::ToggleCompare => self.restore.compares = !self.restore.compares,
            Command::ToggleOutline => {
                for layer in &mut document.scene.layers {
                    if let Content::Labels(labels) = &mut layer.content {
                        labels.outline = !labels.outline;
                    }
                }
            }
            Command::AutoWindow => {
                if let Some(id) = document.active_image()
                    && let Some(layer) = document.scene.layer_mut(id)
                    && let Content::Image(image) = &mut layer.content
                {
                    image.window = viewer::window::auto_window(image.volume());
                }
            }
            _ => {}
        }
    }

    fn cancel(&mut self, ctx: &Context) {
        if self.labels.stop_renaming() {
            return;
        }
        if self.jobs.running().is_empty() {
            if self.edit.put_down() {
                return;
            }
            if self.document.maximised.take().is_none() && self.document.layout == Layout::Single {
                self.document.layout = Layout::Quad;
            }
        } else {
            self.jobs.cancel_all();
            self.say(ctx, "Cancelling…");
        }
    }

    /// Advances a playing series at the pace of its frames (2 to 20 a second).
    pub(super) fn play(&mut self, ctx: &Context) {
        let Some(last) = self.playing else { return };
        let Some((id, frame, _, axes)) = self.document.frames() else {
            self.playing = None;
            return;
        };
        let seconds =
            axes.first().filter(|a| a.unit == "s" && a.step > 0.0).map_or(0.1, |a| a.step).clamp(0.05, 0.5);
        let now = ctx.input(|i| i.time);
        if now - last >= seconds {
            self.document.set_frame(id, frame + 1);
            self.playing = Some(now);
        }
        ctx.request_repaint_after(std::time::Duration::from_secs_f64(seconds));
    }
}
