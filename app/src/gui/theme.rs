//! Colours and spacing of the window, in one place. Dark by default: pictures are judged against dark surrounds.

use egui::{Color32, Context, CornerRadius, Stroke, Theme as Mode, Visuals, vec2};

use crate::settings::Theme;

/// The colour of what is chosen or under way.
pub const ACCENT: Color32 = Color32::from_rgb(64, 186, 172);
/// The colour of warnings.
pub const WARNING: Color32 = Color32::from_rgb(236, 178, 72);
/// The colour of errors.
pub const ERROR: Color32 = Color32::from_rgb(238, 104, 96);

/// The frame of a panel at the window's edge. It has no fill of its own: the window is cleared to the panels' colour, and
/// a software adapter takes as long for what is painted in the same colour again as for what is seen.
pub fn panel(style: &egui::Style) -> egui::Frame {
    egui::Frame::side_top_panel(style).fill(Color32::TRANSPARENT)
}

/// Sets up both themes; called once.
pub fn install(ctx: &Context) {
    ctx.all_styles_mut(|style| {
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.spacing.button_padding = vec2(8.0, 4.0);
        style.spacing.interact_size.y = 24.0;
        style.spacing.slider_width = 120.0;
        style.spacing.menu_margin = egui::Margin::same(6);
        style.spacing.scroll.floating = false;
        style.spacing.scroll.bar_width = 8.0;
        // Sliders in narrow panels look crowded with the default 18.
        style.spacing.icon_width = 16.0;
    });
    ctx.set_visuals_of(Mode::Dark, dark());
    ctx.set_visuals_of(Mode::Light, light());
}

/// Applies the user's choice.
pub fn choose(ctx: &Context, theme: Theme) {
    ctx.set_theme(match theme {
        Theme::Dark => egui::ThemePreference::Dark,
        Theme::Light => egui::ThemePreference::Light,
        Theme::System => egui::ThemePreference::System,
    });
}

fn dark() -> Visuals {
    let mut v = Visuals::dark();
    v.weak_text_color = Some(Color32::from_rgb(146, 152, 160));
    v.panel_fill = Color32::from_rgb(27, 30, 35);
    v.window_fill = Color32::from_rgb(33, 36, 42);
    v.extreme_bg_color = Color32::from_rgb(17, 19, 22);
    v.faint_bg_color = Color32::from_rgb(33, 37, 43);
    v.window_stroke = Stroke::new(1.0, Color32::from_rgb(58, 63, 71));
    v.widgets.noninteractive.bg_stroke = Stroke::new(1.0, Color32::from_rgb(49, 53, 60));
    v.widgets.noninteractive.fg_stroke.color = Color32::from_rgb(200, 204, 210);
    v.widgets.inactive.fg_stroke.color = Color32::from_rgb(214, 218, 224);
    v.widgets.inactive.weak_bg_fill = Color32::from_rgb(47, 52, 60);
    v.widgets.inactive.bg_fill = Color32::from_rgb(56, 62, 71);
    v.widgets.hovered.weak_bg_fill = Color32::from_rgb(62, 69, 79);
    v.widgets.active.weak_bg_fill = Color32::from_rgb(70, 78, 90);
    v.selection.bg_fill = Color32::from_rgb(30, 102, 96);
    v.selection.stroke = Stroke::new(1.0, Color32::from_rgb(226, 246, 243));
    v.hyperlink_color = ACCENT;
    v.warn_fg_color = WARNING;
    v.error_fg_color = ERROR;
    rounded(v)
}

fn light() -> Visuals {
    let mut v = Visuals::light();
    v.weak_text_color = Some(Color32::from_rgb(92, 98, 106));
    v.panel_fill = Color32::from_rgb(243, 244, 246);
    v.faint_bg_color = Color32::from_rgb(232, 234, 238);
    v.selection.bg_fill = Color32::from_rgb(160, 221, 213);
    v.selection.stroke = Stroke::new(1.0, Color32::from_rgb(8, 66, 60));
    v.hyperlink_color = Color32::from_rgb(6, 112, 102);
    v.warn_fg_color = Color32::from_rgb(150, 94, 0);
    v.error_fg_color = Color32::from_rgb(178, 38, 30);
    rounded(v)
}

fn rounded(mut v: Visuals) -> Visuals {
    let radius = CornerRadius::same(4);
    for widget in [
        &mut v.widgets.noninteractive,
        &mut v.widgets.inactive,
        &mut v.widgets.hovered,
        &mut v.widgets.active,
        &mut v.widgets.open,
    ] {
        widget.corner_radius = radius;
    }
    v.window_corner_radius = CornerRadius::same(8);
    v.menu_corner_radius = CornerRadius::same(6);
    v
}
