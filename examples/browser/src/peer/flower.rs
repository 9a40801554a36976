use std::f32::consts::TAU;

use deltawire_browser_demo::board::{SIZE, Stroke};

/// Points of a flower.
const POINTS: u16 = 160;

/// The line of a flower: which one decides where it is, and its petals.
pub(super) fn flower(number: u32) -> Stroke {
    let [width, height] = SIZE.map(f32::from);
    // Along the lower edge, so that most of the board is free.
    let middle = [width * (0.1 + 0.16 * (number % 6) as f32), height * 0.88];
    let petals = (3 + number % 5) as f32;
    let size = height * 0.075;
    let points = (0..=POINTS).map(|step| {
        let turn = f32::from(step) / f32::from(POINTS) * TAU;
        let reach = size * (0.55 + 0.45 * (petals * turn).cos());
        [middle[0] + reach * turn.cos(), middle[1] + reach * turn.sin()].map(|it| it as i16)
    });
    Stroke { colour: (number % 6) as u8 + 1, width: 40, points: points.collect() }
}
