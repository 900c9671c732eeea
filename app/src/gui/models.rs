//! The models page: what can be run on the active image, what it would take, and running it. Also what comes back.

use std::collections::HashMap;
use std::path::Path;

use eframe::egui::{self, Color32, Context, RichText, Ui};
use formats::Level;
use viewer::LayerId;

use super::dialogs::{Ask, Purpose};
use super::theme::{ACCENT, WARNING};
use super::work::{Estimated, Product, Run, Segmented};
use super::{App, Tab};
use crate::commands::Command;
use crate::packs::Import;
use models::restorer::Restoration;

/// What the page remembers.
#[derive(Debug, Default)]
pub(super) struct Panel {
    /// Estimates by layer and pack; absent while being made.
    estimates: HashMap<(LayerId, String), Option<Result<Estimated, String>>>,
    /// Opened files that are to be segmented because they were dropped on the page.
    pub(super) segment_next: usize,
    place: Option<egui::Rect>,
    last: Option<Last>,
}

/// The last run.
#[derive(Debug)]
struct Last {
    pack: String,
    seconds: f64,
    provider: String,
    why: String,
}

impl Panel {
    /// Forgets estimates, e.g. because packs changed.
    pub(super) fn forget(&mut self) {
        self.estimates.clear();
    }

    pub(super) fn estimated(&mut self, layer: LayerId, pack: String, estimate: Result<Estimated, String>) {
        self.estimates.insert((layer, pack), Some(estimate));
    }

    /// Notes the last run.
    pub(super) fn ran(&mut self, pack: String, seconds: f64, provider: inference::ProviderReport) {
        self.last = Some(Last { pack, seconds, provider: provider.used.to_string(), why: provider.why });
    }

    /// Whether the pointer (with files, or without) is over the page.
    pub(super) fn is_under_pointer(&self, ctx: &Context) -> bool {
        let pointer = ctx.input(|i| i.pointer.latest_pos());
        self.place.is_some_and(|place| pointer.is_some_and(|p| place.contains(p)))
    }
}

/// Whether a dropped path is a pack folder or a checkpoint rather than an image.
pub(super) fn is_pack_or_checkpoint(path: &Path) -> bool {
    const ENDINGS: [&str; 7] = ["pt", "pth", "bin", "safetensors", "ckpt", "npz", "onnx"];
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    path.join("pack.toml").is_file()
        || path.file_name().is_some_and(|n| n == "pack.toml")
        || ENDINGS.contains(&ending.as_str())
}

impl App {
    pub(super) fn models_ui(&mut self, ui: &mut Ui) {
        let before = ui.cursor().min;
        if self.packs.is_empty() {
            ui.weak("Looking for packs…");
        }
        // What was asked for comes first.
        self.findings_ui(ui);
        let layer = self.document.active_image();
        for n in 0..self.packs.len() {
            // Those that restore and those that are prompted have pages of their own.
            if self.packs[n].info.segments() {
                self.pack_ui(ui, n, layer);
            }
        }
        ui.add_space(4.0);
        ui.horizontal_wrapped(|ui| {
            if ui
                .button("Import…")
                .on_hover_text(
                    "Make a pack of a checkpoint or of somebody's ONNX network, or install a pack folder",
                )
                .clicked()
            {
                self.command(Command::ImportPack);
            }
            ui.checkbox(&mut self.settings.segment_on_open, "Segment on open");
        });
        self.provider_ui(ui);
        if let Some(last) = &self.models.last {
            ui.separator();
            ui.label(RichText::new("Last run").strong());
            ui.label(format!("{}: {:.1} s on {}", last.pack, last.seconds, last.provider));
            ui.weak(&last.why);
        }
        ui.add_space(8.0);
        ui.weak("Drop a scan here to open and segment it in one step.");
        self.models.place = Some(egui::Rect::from_min_max(before, ui.max_rect().max));
    }

    fn pack_ui(&mut self, ui: &mut Ui, n: usize, layer: Option<LayerId>) {
        let row = &self.packs[n];
        let is_chosen = self.settings.pack.as_deref() == Some(row.info.id.as_str());
        let stroke = if is_chosen {
            egui::Stroke::new(1.5, ACCENT)
        } else {
            ui.visuals().widgets.noninteractive.bg_stroke
        };
        let (info, intended) = (row.info.clone(), row.intended_use.clone());
        let (mut runs, mut shows, mut chooses) = (false, false, false);
        let frame = egui::Frame::new()
            .stroke(stroke)
            .fill(ui.visuals().faint_bg_color)
            .corner_radius(6)
            .inner_margin(8)
            .outer_margin(egui::Margin::symmetric(0, 2));
        frame.show(ui, |ui| {
            ui.set_width(ui.available_width());
            let name = ui.selectable_label(is_chosen, RichText::new(&info.name).strong());
            chooses = name.on_hover_text("Choose this pack").clicked();
            ui.label(&info.summary);
            ui.weak(format!(
                "{} · {} {} · {} · {}",
                info.family,
                info.labels,
                match (info.answer.is_some(), info.labels) {
                    (true, 1) => "class",
                    (true, _) => "classes",
                    (false, 1) => "structure",
                    (false, _) => "structures",
                },
                info.channels.join(" + "),
                info.licence
            ));
            if is_chosen {
                if !intended.is_empty() {
                    ui.weak(format!("For: {intended}"));
                }
                self.estimate_ui(ui, n, layer);
            }
            ui.horizontal(|ui| {
                let is_whole = layer.is_some_and(|id| !self.document.is_preview(id));
                let can_run = is_whole && !self.is_busy();
                let button = egui::Button::new(RichText::new("Run").strong().color(Color32::WHITE))
                    .fill(ACCENT.gamma_multiply(0.7));
                let run = ui
                    .add_enabled(can_run, button)
                    .on_hover_text("Run on the active image (the chosen pack: Ctrl+Enter)");
                // Several packs have such a button: each says whose it is to those who hear rather than see.
                let name = format!("Run {}", info.name);
                run.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, can_run, &name));
                runs = run.clicked();
                shows = ui
                    .button("Card")
                    .on_hover_text("What it was trained on, how good it is, its limits")
                    .clicked();
            });
        });
        if chooses || runs {
            self.settings.pack = Some(info.id);
        }
        if shows {
            self.shown.card = Some(n);
        }
        if runs {
            self.command(Command::Segment);
        }
    }

    pub(super) fn estimate_ui(&mut self, ui: &mut Ui, n: usize, layer: Option<LayerId>) {
        let Some(layer) = layer.filter(|id| !self.document.is_preview(*id)) else { return };
        let key = (layer, self.packs[n].info.id.clone());
        match self.models.estimates.get(&key) {
            Some(Some(Ok(estimate))) => {
                ui.weak(format!(
                    "About {} in {} tiles; {} free",
                    inference::memory::in_words(estimate.memory_bytes),
                    estimate.tiles,
                    inference::memory::in_words(estimate.available_bytes)
                ));
                for notice in &estimate.notices {
                    match notice.level {
                        Level::Warning => ui.label(RichText::new(&notice.message).color(WARNING)),
                        Level::Info => ui.weak(&notice.message),
                    };
                }
            }
            Some(Some(Err(reason))) => {
                ui.label(RichText::new(reason).color(WARNING));
            }
            Some(None) => {
                ui.weak("Estimating…");
            }
            None => {
                self.models.estimates.insert(key.clone(), None);
                if let Some(run) = self.run_of(layer, n) {
                    let ctx = ui.ctx().clone();
                    self.start_job(&ctx, "Estimating", move |_| {
                        let estimate = run.estimate().map_err(|e| crate::failure::describe(&e));
                        Ok(Product::Estimated(key.0, key.1, estimate))
                    });
                }
            }
        }
    }

    fn provider_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.label("Compute on");
            let combo = egui::ComboBox::from_id_salt("provider").selected_text(&self.settings.provider);
            let response = combo.show_ui(ui, |ui| {
                ui.selectable_value(&mut self.settings.provider, "auto".to_owned(), "auto");
                for provider in inference::Provider::all() {
                    let name = provider.to_string();
                    ui.selectable_value(&mut self.settings.provider, name.clone(), name);
                }
            });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Compute on"));
        });
    }

    /// The volumes a pack would run on: the frame shown of the active image, or, for packs with several channels, as
    /// many images (or frames) as it has channels.
    pub(super) fn run_of(&self, layer: LayerId, n: usize) -> Option<Run> {
        let row = self.packs.get(n)?;
        let wanted = row.info.channels.len();
        let image = self.document.scene.layer(layer)?;
        let first = image.image()?;
        let channels = if wanted == 1 {
            vec![first.volume().clone()]
        } else if first.image.frames.len() == wanted {
            first.image.frames.clone()
        } else {
            // Images in the order of layers, bottom first; the pack says when their number does not fit.
            self.document
                .scene
                .layers
                .iter()
                .filter_map(|l| Some(l.image()?.volume().clone()))
                .take(wanted)
                .collect()
        };
        Some(Run {
            source: layer,
            channels,
            whole: row.info.restores.map(|_| std::sync::Arc::clone(&first.image)),
            name: image.name.clone(),
            pack: std::sync::Arc::clone(&row.pack),
            provider: self.settings.provider.clone(),
            threads: self.settings.threads,
            may_install: true,
            restoring: self.restore.restoring,
            prompting: self.asked(),
        })
    }

    pub(super) fn segment_active(&mut self, ctx: &Context) {
        if let Some(layer) = self.document.active_image() {
            self.segment(ctx, layer);
        }
    }

    /// Runs the chosen pack on a layer.
    pub fn segment(&mut self, ctx: &Context, layer: LayerId) {
        if self.is_still_loading(ctx, layer) {
            return;
        }
        let chosen = self.settings.pack.clone();
        let labels = |p: &super::work::PackRow| p.info.segments();
        let at = self.packs.iter().position(|p| labels(p) && Some(&p.info.id) == chosen.as_ref());
        let Some(n) = at.or_else(|| self.packs.iter().position(labels)) else {
            let error =
                anyhow::anyhow!("no pack is installed (yet); import one, or wait until packs are listed");
            self.complain("Segmenting", &error);
            return;
        };
        let Some(run) = self.run_of(layer, n) else { return };
        let loaded = std::sync::Arc::clone(&self.loaded);
        let title = format!("{} on {}", self.packs[n].info.name, run.name);
        self.start_job(ctx, title, move |task| run.run(&loaded, task));
    }

    /// A result came back: it becomes a layer above its source.
    pub(super) fn segmented(&mut self, ctx: &Context, result: Segmented) {
        let Some(source) = self.document.scene.layer(result.source) else {
            self.say(ctx, "The image was closed meanwhile; its result was dropped");
            return;
        };
        let name = format!("{}: {}", source.name, result.pack);
        let layer = self.document.add_labels(result.labels, name, Some(result.source), result.notices);
        let provider = result.provider.used.to_string();
        self.say(ctx, format!("{}: {:.1} s on {provider}", result.pack, result.seconds));
        self.models.ran(result.pack, result.seconds, result.provider);
        if result.found.is_empty() {
            self.shown.tab = Tab::Labels;
        } else {
            self.prompt.searched(result.found, layer);
        }
        self.see_inside();
    }

    pub(super) fn ask_for_pack(&mut self, ctx: &Context) {
        let endings =
            ["pt", "pth", "bin", "safetensors", "ckpt", "npz", "onnx", "toml"].map(str::to_owned).to_vec();
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::ImportPack,
                title: "Checkpoint, ONNX file, or pack.toml of a pack".to_owned(),
                name: String::new(),
                folder,
                filters: vec![("Checkpoints and packs".to_owned(), endings)],
            },
        );
    }

    /// Imports a pack folder (or its `pack.toml`) at once; for a checkpoint asks what kind of network it holds.
    pub(super) fn import(&mut self, ctx: &Context, path: &Path) {
        let folder = if path.is_dir() {
            Some(path.to_owned())
        } else {
            path.parent().filter(|_| path.ends_with("pack.toml")).map(Path::to_owned)
        };
        let Some(folder) = folder else {
            if path.extension().is_some_and(|e| e.eq_ignore_ascii_case(crate::packs::ONNX)) {
                self.ask_about_network(ctx, path);
                return;
            }
            // Flax checkpoints come as NumPy archives.
            let is_maxim = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
            let preset = models::import::PRESETS.first().map(|p| p.0.to_owned());
            self.shown.import = Some(Import {
                preset: preset.filter(|_| !is_maxim),
                task: is_maxim.then(Restoration::default),
                out: Some(self.packs_folder()),
                ..Import::of(path.to_owned(), if is_maxim { "maxim" } else { "segformer3d" })
            });
            return;
        };
        let title =
            format!("Installing {}", folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
        let packs = self.packs_folder();
        self.start_job(ctx, title, move |_| {
            Ok(Product::PackInstalled(Box::new(crate::packs::install_in(&packs, &folder, false)?)))
        });
    }

    /// The questions about a checkpoint.
    pub(super) fn import_ui(&mut self, ctx: &Context) {
        let Some(form) = &mut self.shown.import else { return };
        let mut goes = false;
        let modal = egui::Modal::new(egui::Id::unique("import")).show(ctx, |ui| {
            ui.set_width(440.0);
            ui.heading("Import a checkpoint");
            ui.add(egui::Label::new(form.checkpoint.display().to_string()).truncate());
            ui.weak("Weights are read, names and shapes checked; nothing in the file is executed.");
            ui.add_space(6.0);
            let is_maxim = form.family == "maxim";
            if is_maxim {
                ui.horizontal_wrapped(|ui| {
                    ui.label("MAXIM trained for");
                    for task in Restoration::ALL {
                        ui.selectable_value(&mut form.task, Some(task), task.word());
                    }
                });
            } else {
                ui.horizontal(|ui| {
                    ui.label("SegFormer3D trained on");
                    for (name, _) in models::import::PRESETS {
                        ui.selectable_value(&mut form.preset, Some((*name).to_owned()), *name);
                    }
                });
            }
            ui.horizontal(|ui| {
                let label = ui.label("Identifier");
                let mut id = form.id.clone().unwrap_or_else(|| form.default_id());
                if ui.text_edit_singleline(&mut id).labelled_by(label.id).changed() {
                    form.id = Some(id);
                }
            });
            ui.add_enabled_ui(!is_maxim, |ui| {
                ui.label("Attention divided by the root of");
                for (value, name) in [
                    (None, "as the preset says"),
                    (Some("num_heads"), "heads"),
                    (Some("head_dim"), "dimension"),
                ] {
                    ui.selectable_value(&mut form.attention_scale, value.map(str::to_owned), name);
                }
            });
            ui.checkbox(&mut form.half, "Store in 16 bits: half the size, about three digits");
            ui.checkbox(&mut form.overwrite, "Replace a pack of the same identifier");
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                goes = ui.button("Import").clicked();
                if ui.button("Not now").clicked() {
                    ui.close();
                }
            });
        });
        let is_closed = modal.should_close();
        if goes && let Some(form) = self.shown.import.take() {
            let name = form.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.start_job(ctx, format!("Importing {name}"), move |task| {
                Ok(Product::PackInstalled(Box::new(crate::packs::import_pack(&form, task)?)))
            });
        } else if is_closed {
            self.shown.import = None;
        }
    }
}
