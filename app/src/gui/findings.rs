//! What packs answer that is neither labels nor images: a table of classes, or boxes on the slices.

use eframe::egui::{self, Context, RichText, Ui};
use formats::Notice;
use models::mayor::TextFound;
use models::plain::{Classified, Detected};
use viewer::LayerId;
use viewer::panes::Measured;

use super::App;
use super::theme::ACCENT;

/// An answer with where it came from.
#[derive(Debug)]
pub struct Findings {
    /// The layer it was computed from.
    pub source: LayerId,
    /// The answer.
    pub answer: Answer,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// The pack's name.
    pub pack: String,
    /// The provider really used, and why.
    pub provider: inference::ProviderReport,
    /// Seconds in all.
    pub seconds: f64,
}

/// An answer that is neither labels nor an image.
#[derive(Debug)]
pub enum Answer {
    /// Probabilities of classes.
    Classes(Classified),
    /// Boxes.
    Boxes(Detected),
    /// Lines of text.
    Text(TextFound),
}

/// Rows of a table that are shown; the rest is told to be there.
const MOST: usize = 40;

impl Findings {
    /// Boxes as outlines to be drawn on their slices.
    pub(super) fn outlines(&self) -> Vec<Measured> {
        let detected = match &self.answer {
            Answer::Boxes(detected) => detected,
            Answer::Text(found) => return text_outlines(found),
            Answer::Classes(_) => return Vec::new(),
        };
        let outline = |b| Measured {
            points_ras: detected.outline(b).to_vec(),
            is_closed: true,
            text: format!("{} {:.0} %", b.class, b.score * 100.0),
        };
        detected.boxes.iter().map(outline).collect()
    }
}

impl App {
    /// The last answer that is neither labels nor an image.
    pub fn findings(&self) -> Option<&Findings> {
        self.findings.as_ref()
    }

    /// An answer came back.
    pub(super) fn found(&mut self, ctx: &Context, found: Findings) {
        if self.document.scene.layer(found.source).is_none() {
            self.say(ctx, "The image was closed meanwhile; its result was dropped");
            return;
        }
        let what = match &found.answer {
            Answer::Classes(c) => {
                c.best().map_or("no answer".to_owned(), |(name, p)| format!("{name} {:.1} %", p * 100.0))
            }
            Answer::Text(t) => {
                let lines: usize = t.pages.iter().map(|p| p.lines.len()).sum();
                format!("{lines} line{} of text", if lines == 1 { "" } else { "s" })
            }
            Answer::Boxes(d) => {
                format!("{} box{}", d.boxes.len(), if d.boxes.len() == 1 { "" } else { "es" })
            }
        };
        self.say(ctx, format!("{}: {what}", found.pack));
        self.models.ran(found.pack.clone(), found.seconds, found.provider.clone());
        if let Answer::Boxes(detected) = &found.answer
            && let Some(best) = detected.boxes.first()
        {
            self.document.move_cursor(centre(detected, best));
        }
        self.findings = Some(found);
    }

    /// The answer, above the packs. It goes when its image goes.
    pub(super) fn findings_ui(&mut self, ui: &mut Ui) {
        let gone = self.findings.as_ref().is_some_and(|f| self.document.scene.layer(f.source).is_none());
        if gone {
            self.findings = None;
        }
        let Some(found) = &self.findings else { return };
        let mut goes_to = None;
        let mut clears = false;
        ui.horizontal(|ui| {
            ui.label(RichText::new(&found.pack).strong());
            clears = ui.small_button("Clear").on_hover_text("Forget this answer").clicked();
        });
        let layer = self.document.scene.layer(found.source);
        ui.weak(format!("on {}", layer.map_or("", |l| l.name.as_str())));
        match &found.answer {
            Answer::Classes(classified) => {
                classes_ui(ui, classified, self.document.scene.cursor_ras);
            }
            Answer::Text(text) => {
                goes_to = text_ui(ui, text);
            }
            Answer::Boxes(detected) => {
                if detected.boxes.is_empty() {
                    ui.label(format!(
                        "Nothing found with a score of at least {:.0} %",
                        detected.threshold * 100.0
                    ));
                }
                for b in detected.boxes.iter().take(MOST) {
                    let slice =
                        b.slice.map_or_else(String::new, |s| format!("  slice {} {}", s.axis, s.index));
                    let text = format!("{}  {:.0} %{slice}", b.class, b.score * 100.0);
                    if ui.selectable_label(false, text).on_hover_text("Go there").clicked() {
                        goes_to = Some(centre(detected, b));
                    }
                }
                if detected.boxes.len() > MOST {
                    ui.weak(format!("and {} more", detected.boxes.len() - MOST));
                }
            }
        }
        for notice in &found.notices {
            ui.weak(&notice.message);
        }
        ui.separator();
        if let Some(ras) = goes_to {
            self.document.move_cursor(ras);
        }
        if clears {
            self.findings = None;
        }
    }
}

/// Where a point of a slice lies: (0, 0) is the corner of its first pixel, whose centre is voxel (0, 0).
fn place(grid: &formats::Grid, [x, y]: [f64; 2], slice: usize) -> [f64; 3] {
    grid.world_from_voxel.apply([x - 0.5, y - 0.5, slice as f64])
}

fn text_outlines(found: &TextFound) -> Vec<Measured> {
    let lines = found.pages.iter().flat_map(|p| p.lines.iter().map(|l| (p.slice, l)));
    lines
        .map(|(slice, line)| Measured {
            points_ras: line.polygon.iter().map(|&p| place(&found.grid, p, slice)).collect(),
            is_closed: true,
            text: format!("{:.0} %", line.score * 100.0),
        })
        .collect()
}

/// Lines of text, the surest of each slice first; where the user wants to go.
fn text_ui(ui: &mut Ui, found: &TextFound) -> Option<[f64; 3]> {
    let lines: Vec<_> = found.pages.iter().flat_map(|p| p.lines.iter().map(|l| (p.slice, l))).collect();
    if lines.is_empty() {
        ui.label("No text found. No tool finds all text: look yourself.");
    }
    let mut goes_to = None;
    for (n, (slice, line)) in lines.iter().take(MOST).enumerate() {
        let ([x, y], (h, w)) = (line.shape.origin, line.shape.region.dim());
        let place_of = if found.pages.len() > 1 { format!("  slice {}", slice + 1) } else { String::new() };
        let text = format!("Line {}  {:.0} %  at {x}, {y}{place_of}", n + 1, line.score * 100.0);
        if ui.selectable_label(false, text).on_hover_text("Go there").clicked() {
            goes_to =
                Some(place(&found.grid, [x as f64 + w as f64 / 2.0, y as f64 + h as f64 / 2.0], *slice));
        }
    }
    if lines.len() > MOST {
        ui.weak(format!("and {} more", lines.len() - MOST));
    }
    goes_to
}

fn centre(detected: &Detected, b: &models::plain::FoundBox) -> [f64; 3] {
    let corners = detected.outline(b);
    [0, 1, 2].map(|a| corners.iter().map(|c| c[a]).sum::<f64>() / 4.0)
}

/// Classes, the most probable first: of the whole, and of the slice at the cursor where there are several.
fn classes_ui(ui: &mut Ui, classified: &Classified, cursor_ras: [f64; 3]) {
    let mean = classified.mean();
    if mean.is_empty() {
        ui.label("No answer: there was nothing to look at");
        return;
    }
    let mut order: Vec<usize> = (0..mean.len()).collect();
    order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]));
    let away = |r: &&models::plain::ClassRow| {
        r.slice.map_or(f64::INFINITY, |s| (0..3).map(|a| (s.centre_ras[a] - cursor_ras[a]).powi(2)).sum())
    };
    let here = if classified.rows.len() > 1 {
        classified.rows.iter().min_by(|a, b| away(a).total_cmp(&away(b)))
    } else {
        None
    };
    egui::Grid::new("classes").num_columns(3).striped(true).spacing([10.0, 3.0]).show(ui, |ui| {
        ui.weak("class");
        ui.weak(if here.is_some() { "mean of slices" } else { "probability" });
        ui.weak(
            here.and_then(|r| r.slice).map_or_else(String::new, |s| format!("slice {} {}", s.axis, s.index)),
        );
        ui.end_row();
        for &class in order.iter().take(MOST) {
            ui.add(egui::Label::new(&classified.classes[class]).truncate());
            let bar = egui::ProgressBar::new(mean[class] as f32)
                .desired_width(96.0)
                .fill(ACCENT.gamma_multiply(0.5))
                .text(format!("{:.1} %", mean[class] * 100.0));
            ui.add(bar);
            ui.label(here.map_or_else(String::new, |r| format!("{:.1} %", r.probabilities[class] * 100.0)));
            ui.end_row();
        }
    });
    if order.len() > MOST {
        ui.weak(format!("and {} more", order.len() - MOST));
    }
}
