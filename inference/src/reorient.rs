//! Axes permuted and reversed; nothing is interpolated.

use formats::{AxisOrder, Grid};
use ndarray::{Array3, ArrayView3, Axis};

use crate::gridded::Gridded;

/// The same values stored in another axis order; the grid follows, so that nothing moves in the world.
/// `order` speaks of `ijk` axes, as [`Grid::reordered`] does.
#[must_use]
pub fn reorient<T: Copy>(source: &Gridded<ArrayView3<'_, T>>, order: AxisOrder) -> Gridded<Array3<T>> {
    let array = reordered_view(source.array, order).as_standard_layout().into_owned();
    Gridded { array, grid: source.grid.reordered(order) }
}

/// The order that undoes `order`.
#[must_use]
pub fn inverse(order: AxisOrder) -> AxisOrder {
    let mut back = AxisOrder::IDENTITY;
    for a in 0..3 {
        back.source[order.source[a]] = a;
        back.reversed[order.source[a]] = order.reversed[a];
    }
    back
}

/// The axis order that brings `grid` closest to axes growing as `code` says, e.g. `"RAS"` or `"LPI"`
/// (letters per `i`, `j`, `k`). `None` when the code is not three letters, one of each pair.
#[must_use]
pub fn order_to(grid: &Grid, code: &str) -> Option<AxisOrder> {
    let mut wanted = Vec::with_capacity(3);
    for letter in code.chars() {
        let (world, positive) = match letter.to_ascii_uppercase() {
            'R' => (0, true),
            'L' => (0, false),
            'A' => (1, true),
            'P' => (1, false),
            'S' => (2, true),
            'I' => (2, false),
            _ => return None,
        };
        wanted.push((world, positive));
    }
    let to_ras = grid.order_to_ras();
    let mut order = AxisOrder::IDENTITY;
    if wanted.len() != 3 || (0..3).any(|w| wanted.iter().filter(|(x, _)| *x == w).count() != 1) {
        return None;
    }
    for (a, (world, positive)) in wanted.into_iter().enumerate() {
        order.source[a] = to_ras.source[world];
        order.reversed[a] = to_ras.reversed[world] == positive;
    }
    Some(order)
}

/// The view `[k, j, i]` with axes permuted and reversed; no copy.
pub(crate) fn reordered_view<T>(array: ArrayView3<'_, T>, order: AxisOrder) -> ArrayView3<'_, T> {
    let axis = |x: usize| 2 - x; // ijk axis x is array axis 2 − x
    let mut view = array.permuted_axes([axis(order.source[2]), axis(order.source[1]), axis(order.source[0])]);
    for x in 0..3 {
        if order.reversed[x] {
            view.invert_axis(Axis(axis(x)));
        }
    }
    view
}
