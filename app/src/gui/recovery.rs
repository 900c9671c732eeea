//! Edits that survive a crash, in the window: keeping the journal, and offering what an earlier run left behind.

use eframe::egui::{self, Context, Modal, RichText};
use viewer::LayerId;
use viewer::tools::LabelEdit;

use super::App;
use super::work::{self, Product};
use crate::document::Details;
use crate::journal::{self, About, Journal, Pending, Recovered, Source};
use crate::open::Opened;

/// What earlier runs left, and what this one writes.
#[derive(Default)]
pub(super) struct Keeper {
    journal: Option<Journal>,
    /// Whether a journal cannot be had.
    has_failed: bool,
    pending: Vec<Pending>,
}

/// What was rebuilt, with the images it was drawn on where they are still there.
pub struct Rebuilt {
    /// The labels and the session to be removed once they are in the window.
    pub recovered: Recovered,
    /// For each layer, its image.
    pub images: Vec<Option<work::OpenedFile>>,
}

impl std::fmt::Debug for Rebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rebuilt({} layers)", self.recovered.layers.len())
    }
}

impl App {
    /// Looks for what an earlier run left behind.
    pub(super) fn look_for_pending(&mut self, ctx: &Context) {
        let folder = self.home.join("journal");
        self.start_job(ctx, "Looking for unsaved edits", move |_| {
            Ok(Product::Pending(journal::pending(&folder)))
        });
    }

    pub(super) fn pending_found(&mut self, pending: Vec<Pending>) {
        self.keeper.pending = pending;
    }

    /// The journal of this run, begun with the first edit.
    fn start_journal(&mut self) {
        if self.keeper.journal.is_none() && !self.keeper.has_failed {
            match Journal::start(&self.home.join("journal")) {
                Ok(journal) => self.keeper.journal = Some(journal),
                Err(error) => {
                    self.keeper.has_failed = true; // told once
                    self.complain("Keeping edits safe from a crash", &error);
                }
            }
        }
    }

    /// Called after an edit was applied.
    pub(super) fn journal_edit(&mut self, id: LayerId, edit: &LabelEdit) {
        self.start_journal();
        let (Some(journal), Some(map)) = (&self.keeper.journal, self.document.label_map(id)) else { return };
        journal.record(id, edit, || (self.about(id), map));
    }

    /// Called when a layer was saved or closed.
    pub(super) fn journal_forget(&mut self, id: LayerId) {
        if let Some(journal) = &self.keeper.journal {
            journal.forget(id);
        }
    }

    /// Tells when edits are not kept safe; once per frame.
    pub(super) fn journal_tend(&mut self) {
        let Some(journal) = &self.keeper.journal else { return };
        if let Some(problem) = journal.take_problem() {
            self.complain("Keeping edits safe from a crash", &anyhow::anyhow!(problem));
        }
    }

    /// Nothing is left to recover: everything was saved, or the user said that it may go.
    pub(super) fn journal_finish(&mut self) {
        if let Some(journal) = self.keeper.journal.take() {
            journal.finish();
        }
    }

    fn about(&self, id: LayerId) -> About {
        let source_of = |d: Option<&Details>| d.and_then(|d| d.path.as_deref()).and_then(Source::of);
        let details = self.document.details.get(&id);
        let image = details.and_then(|d| d.source).and_then(|s| self.document.details.get(&s));
        About {
            name: self.document.scene.layer(id).map(|l| l.name.clone()).unwrap_or_default(),
            labels: source_of(details),
            image: source_of(image),
        }
    }

    /// Offers what was left behind.
    pub(super) fn recovery_ui(&mut self, ctx: &Context) {
        if self.keeper.pending.is_empty() {
            return;
        }
        let (mut recovers, mut discards) = (false, false);
        let modal = Modal::new(egui::Id::unique("recovery")).show(ctx, |ui| {
            ui.set_width(460.0);
            ui.heading("Unsaved edits were found");
            ui.label("The program ended without saving them. They can be opened again as they were.");
            ui.add_space(6.0);
            for pending in &self.keeper.pending {
                let minutes = pending.last_written.elapsed().map_or(0, |e| e.as_secs() / 60);
                for layer in &pending.layers {
                    ui.label(RichText::new(&layer.about.name).strong());
                    ui.weak(format!("{} edits, the last {}", layer.edits, ago(minutes)));
                }
            }
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                recovers = ui.button("Recover").clicked();
                discards = ui.button("Discard").on_hover_text("Remove these edits for good").clicked();
                if ui.button("Later").on_hover_text("Ask again at the next start").clicked() {
                    ui.close();
                }
            });
        });
        if recovers {
            for pending in std::mem::take(&mut self.keeper.pending) {
                self.start_job(ctx, "Recovering edits", move |task| {
                    let recovered = pending.recover()?;
                    let images = recovered.layers.iter().map(|layer| {
                        let path = &layer.about.image.as_ref()?.path;
                        match work::open(path, Some(false), None, task) {
                            Ok(Product::Opened(file)) => Some(*file),
                            _ => None, // the labels are worth having without their image
                        }
                    });
                    let images = images.collect();
                    Ok(Product::Recovered(Box::new(Rebuilt { recovered, images })))
                });
            }
        } else if discards {
            for pending in std::mem::take(&mut self.keeper.pending) {
                if let Err(error) = pending.discard() {
                    self.complain("Discarding edits", &error);
                }
            }
        } else if modal.should_close() {
            self.keeper.pending.clear();
        }
    }

    /// Edits were rebuilt: they become layers again, in the journal of this run before the old one goes.
    pub(super) fn recovered(&mut self, ctx: &Context, rebuilt: Rebuilt) {
        let Rebuilt { mut recovered, images } = rebuilt;
        for (layer, image) in std::mem::take(&mut recovered.layers).into_iter().zip(images) {
            let image_path = layer.about.image.as_ref().map(|s| s.path.clone());
            let is_open = |path: &std::path::Path| {
                let found = self.document.details.iter().find(|(_, d)| d.path.as_deref() == Some(path));
                found.map(|(id, _)| *id)
            };
            let source = image_path.as_deref().and_then(is_open).or_else(|| {
                let file = image?;
                let Opened::Image(image) = file.content else { return None };
                let look = file.look.unwrap_or_else(|| work::first_look(&image));
                let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let is_first = self.document.is_empty();
                let id = self.document.add_image(*image, name, look.window, look.range);
                self.histograms.extend(look.histogram.map(|h| (id, h)));
                if is_first {
                    self.pictures.volume_view = viewer::VolumeView::of_scene(&self.document.scene, 1.2);
                }
                Some(id)
            });
            let id = self.document.add_labels(layer.map, layer.about.name, source, Vec::new());
            if let Some(details) = self.document.details.get_mut(&id) {
                details.is_modified = true;
                details.path = layer.about.labels.map(|s| s.path);
            }
            self.start_journal();
            if let (Some(journal), Some(map)) = (&self.keeper.journal, self.document.label_map(id)) {
                journal.begin(id, self.about(id), map);
            }
            self.say(ctx, format!("{} edits were recovered", layer.edits));
        }
        for problem in &recovered.problems {
            self.complain("Recovering edits", &anyhow::anyhow!(problem.clone()));
        }
        recovered.done();
    }
}

fn ago(minutes: u64) -> String {
    match minutes {
        0 => "less than a minute ago".to_owned(),
        1..=90 => format!("{minutes} minutes ago"),
        91..=2880 => format!("{} hours ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}
