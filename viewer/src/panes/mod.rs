//! Panes as egui widgets: they show a picture somebody rendered, draw lines and letters over it, and tell which
//! gestures were made. They decide nothing and change nothing.

mod divider;
mod orientation;
mod slice_pane;
mod volume_pane;

pub use slice_pane::{Measured, SlicePane, SliceResponse, plane_colour};
pub use volume_pane::{VolumePane, VolumeResponse};

use egui::{Color32, Painter, Rect, TextureId, pos2};

use crate::view::SliceView;

/// What a gesture in a pane asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewAction {
    /// The crosshair goes to a world point.
    MoveCursor([f64; 3]),
    /// So many slices towards the positive end of the axis through the plane.
    Scroll(i64),
    /// The window changes by these shares of its width: level, width.
    DragWindow {
        /// Shift of the level.
        level: f64,
        /// Growth of the width.
        width: f64,
    },
    /// Another zoom or centre.
    Look(SliceView),
    /// The line between the two layers of [`crate::Split`] goes to this share of the width, 0..=1.
    MoveDivider(f64),
    /// The pane fills the window, or goes back.
    Maximise,
    /// The tool is used at a world point.
    Stroke(Stroke, [f64; 3]),
    /// The tool's size changes by so many steps.
    Resize(i64),
}

/// A phase of using a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// The button went down.
    Begin,
    /// The pointer moved while it was down.
    Move,
    /// The button went up.
    End,
}

/// The picture, or `empty` while there is none. Pictures are opaque, so nothing is painted below them: a software adapter
/// takes as long for what is covered as for what is seen.
fn fill(painter: &Painter, rect: Rect, picture: Option<TextureId>, empty: Color32) {
    match picture {
        Some(picture) => {
            let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            painter.image(picture, rect, whole, Color32::WHITE);
        }
        None => _ = painter.rect_filled(rect, 0.0, empty),
    }
}
