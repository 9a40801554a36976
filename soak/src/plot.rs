use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;

use crate::Sample;
use crate::summary::Summary;

const INK: RGBColor = RGBColor(31, 111, 235);

const FIT: RGBColor = RGBColor(192, 38, 45);

/// Memory above, round trips below, over minutes: an SVG.
pub(crate) fn draw(path: &Path, samples: &[Sample], summary: &Summary) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let canvas = SVGBackend::new(path, (900, 600)).into_drawing_area();
    canvas.fill(&WHITE)?;
    let (upper, lower) = canvas.split_vertically(300);
    let minutes = samples.last().context("there are no samples")?.at / 60.0;
    let memory = samples.iter().map(|it| (it.at / 60.0, it.resident / 1e6));
    panel(&upper, "resident memory, MB", minutes, memory.collect(), &[summary.start, summary.end])?;
    let times = samples.iter().filter_map(|it| Some((it.at / 60.0, it.round_trip?)));
    panel(&lower, "median round trip of 64 B in each second, µs", minutes, times.collect(), &[])?;
    canvas.present()?;
    Ok(())
}

/// One line over minutes, and the line through it that fits best, if there is one: seconds, bytes.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    minutes: f64,
    points: Vec<(f64, f64)>,
    fit: &[(f64, f64)],
) -> anyhow::Result<()> {
    let top = points.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..minutes, 0.0..top)?;
    chart.configure_mesh().x_desc("minutes").light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(points, INK))?;
    let fit = fit.iter().map(|(at, bytes)| (at / 60.0, bytes / 1e6));
    chart.draw_series(LineSeries::new(fit, FIT.stroke_width(2)))?;
    Ok(())
}
