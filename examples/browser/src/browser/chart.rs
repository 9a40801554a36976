//! A line that moves: round trips of late.

use std::collections::VecDeque;

/// Points that fit.
const POINTS: usize = 150;

/// The last points, as an SVG `polyline` in a view of 600 × 120.
#[derive(Debug, Default)]
pub(super) struct Chart {
    values: VecDeque<f64>,
}

impl Chart {
    /// One more. Gives the line's points, and the value at the top.
    pub(super) fn push(&mut self, value: f64) -> (String, f64) {
        if self.values.len() == POINTS {
            self.values.pop_front();
        }
        self.values.push_back(value);
        let top = self.values.iter().copied().fold(1.0, f64::max) * 1.1;
        let points = self.values.iter().enumerate().map(|(index, value)| {
            let x = index as f64 * 600.0 / (POINTS - 1) as f64;
            format!("{x:.1},{:.1}", 120.0 - value / top * 120.0)
        });
        (points.collect::<Vec<_>>().join(" "), top)
    }

    /// The middle of the values.
    pub(super) fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.values.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}
