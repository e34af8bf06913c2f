//! Plots as SVG: lines over a linear or logarithmic axis, with bands for what happened meanwhile.
//!
//! An SVG stands in a page or a file as it is; it needs no script, and text in it can be searched.

mod dots;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

pub use dots::Dots;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (920, 300);
/// Colours that can be told apart by people who do not see all of them (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const BAND: RGBColor = RGBColor(160, 160, 160);

/// A line and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What the axes show, with units.
    pub axes: (String, String),
    /// Equal distances are equal factors: of the axis to the right, of the axis upwards.
    pub logarithmic: (bool, bool),
    /// The lines.
    pub lines: Vec<Line>,
    /// From where to where something went on, in the units of the axis to the right.
    pub bands: Vec<(f64, f64)>,
}

impl Plot {
    /// The SVG.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = bounds(points().map(|point| point.0), self.logarithmic.0)?;
        let upwards = bounds(points().map(|point| point.1), self.logarithmic.1)?;
        match self.logarithmic {
            (false, false) => self.draw(&mut svg, across.0..across.1, upwards.0..upwards.1),
            (true, false) => self.draw(&mut svg, (across.0..across.1).log_scale(), upwards.0..upwards.1),
            (false, true) => self.draw(&mut svg, across.0..across.1, (upwards.0..upwards.1).log_scale()),
            (true, true) => self.draw(&mut svg, (across.0..across.1).log_scale(), (upwards.0..upwards.1).log_scale()),
        }?;
        Ok(svg)
    }

    fn draw<X, Y>(&self, svg: &mut String, across: X, upwards: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw {}: {error}", self.title);
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(wrong)?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, ("sans-serif", 18)).margin(10).x_label_area_size(40).y_label_area_size(70);
        let mut chart = builder.build_cartesian_2d(across, upwards).map_err(wrong)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(&self.axes.0).y_desc(&self.axes.1).light_line_style(TRANSPARENT).max_light_lines(0);
        mesh.y_labels(6).x_label_formatter(&|value| short(*value)).y_label_formatter(&|value| short(*value));
        mesh.draw().map_err(wrong)?;
        let (bottom, top) = self.height();
        for &(from, to) in &self.bands {
            let band = Rectangle::new([(from, bottom), (to, top)], BAND.mix(0.25).filled());
            chart.draw_series([band]).map_err(wrong)?;
        }
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            let drawn = chart.draw_series(series).map_err(wrong)?;
            drawn.label(&line.name).legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        let mut legend = chart.configure_series_labels();
        legend.position(self.free_corner()).background_style(WHITE.mix(0.8)).border_style(BAND.mix(0.5));
        legend.draw().map_err(wrong)?;
        drop(chart);
        root.present().map_err(wrong)
    }

    /// Where the legend hides least: below lines that run high, above all others.
    fn free_corner(&self) -> SeriesLabelPosition {
        let (bottom, top) = self.height();
        let scaled = |value: f64| if self.logarithmic.1 { value.ln() } else { value };
        let middle = (scaled(bottom) + scaled(top)) / 2.0;
        let points: Vec<f64> = self.lines.iter().flat_map(|line| &line.points).map(|point| scaled(point.1)).collect();
        let high = points.iter().filter(|value| **value > middle).count();
        if high * 2 > points.len() { SeriesLabelPosition::LowerLeft } else { SeriesLabelPosition::UpperLeft }
    }

    fn height(&self) -> (f64, f64) {
        let values = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        bounds(values, self.logarithmic.1).unwrap_or((0.0, 1.0))
    }
}

/// From where to where an axis goes; one that is not logarithmic begins at 0 at the latest.
fn bounds(values: impl Iterator<Item = f64>, logarithmic: bool) -> Result<(f64, f64)> {
    let values = values.filter(|value| value.is_finite() && (!logarithmic || *value > 0.0));
    let found = values.fold(None, |found: Option<(f64, f64)>, value| match found {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    });
    let (least, most) = found.ok_or_else(|| anyhow!("a plot without a point"))?;
    if logarithmic {
        return Ok((least / 1.2, most.max(least * 1.1) * 1.2));
    }
    let most = if most > least.min(0.0) { most } else { least.min(0.0) + 1.0 };
    Ok((least.min(0.0), most * 1.05))
}

/// A number as people write it: 1200000 is 1.2M.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        magnitude if magnitude >= 1e9 => (value / 1e9, "G"),
        magnitude if magnitude >= 1e6 => (value / 1e6, "M"),
        magnitude if magnitude >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 || scaled.fract().abs() < 1e-9 {
        0
    } else if scaled.abs() >= 1.0 {
        1
    } else {
        3
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)]) -> Plot {
        let line = Line { name: "acknowledged".to_owned(), points: points.to_vec() };
        Plot { title: "readings".to_owned(), lines: vec![line], bands: vec![(1.0, 2.0)], ..Plot::default() }
    }

    #[test]
    fn a_plot_holds_its_title_and_its_lines() {
        let svg = plot(&[(0.0, 0.0), (1.0, 5.0), (2.0, 3.0)]).svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("readings") && svg.contains("acknowledged"), "{svg}");
        assert!(svg.matches("#0072B2").count() >= 2, "the line and its legend: {svg}");
    }

    #[test]
    fn what_never_changes_can_be_drawn_too() {
        for points in [&[(0.0, 0.0)][..], &[(3.0, 7.0), (3.0, 7.0)], &[(0.0, 0.0), (9.0, 0.0)]] {
            plot(points).svg().unwrap();
            Plot { logarithmic: (false, true), ..plot(points) }.svg().ok();
        }
    }

    #[test]
    fn nothing_to_draw_is_said() {
        assert!(plot(&[]).svg().unwrap_err().to_string().contains("without a point"));
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.0, 0.25, 1.0, 12.5, 999.0, 1200.0, 250_000.0, 3e6].into_iter().map(short).collect();
        assert_eq!(shown, ["0", "0.250", "1", "12.5", "999", "1.2k", "250k", "3M"]);
    }
}
