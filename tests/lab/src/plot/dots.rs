//! Numbers of several, one below the other: a dot at the median, a bar from the least to the most, and the median in words.
//!
//! The axis is logarithmic, where dots can be compared and lengths of bars could not.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{BAND, COLOURS, bounds, short};

/// Width of the plot, height of a row, and of everything besides rows, in pixels.
const WIDTH: u32 = 920;
const ROW: u32 = 34;
const BESIDES: u32 = 100;
/// Room for names.
const NAMES: u32 = 330;
const DOT: i32 = 6;
/// Height of a bar, in rows.
const BAR: f64 = 0.16;

/// The plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dots {
    /// What it shows.
    pub title: String,
    /// What the axis shows, with its unit.
    pub axis: String,
    /// Names and their numbers, from the top; those without a number are left out.
    pub rows: Vec<(String, Vec<f64>)>,
}

impl Dots {
    /// The SVG.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn svg(&self) -> Result<String> {
        let rows: Vec<_> = self.rows.iter().filter(|(_, numbers)| numbers.iter().any(|n| *n > 0.0)).collect();
        let (least, most) = bounds(rows.iter().flat_map(|(_, numbers)| numbers.iter().copied()), true)?;
        let wrong = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw {}: {error}", self.title);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, (WIDTH, BESIDES + ROW * rows.len() as u32)).into_drawing_area();
        root.fill(&WHITE).map_err(wrong)?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, ("sans-serif", 18)).margin(10).margin_right(30);
        builder.x_label_area_size(40).y_label_area_size(NAMES);
        // Rows are at 0, -1, -2, ...: the first is at the top. The axis has room for the words behind the last dot.
        let across = (least / 1.5..most * 3.0).log_scale();
        let mut chart = builder.build_cartesian_2d(across, 0.5 - rows.len() as f64..0.5).map_err(wrong)?;
        let name = |at: &f64| match rows.get((-at).round() as usize) {
            Some((name, _)) if (at - at.round()).abs() < 1e-9 => name.clone(),
            _ => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(&self.axis).light_line_style(TRANSPARENT).max_light_lines(0).disable_y_mesh();
        mesh.y_labels(2 * rows.len() + 1)
            .x_labels(8)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&name);
        mesh.draw().map_err(wrong)?;
        let words = ("sans-serif", 14).into_font().into_text_style(&root).pos(Pos::new(HPos::Left, VPos::Center));
        for (index, (name, numbers)) in rows.iter().enumerate() {
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let (at, median) = (-(index as f64), sorted[sorted.len() / 2]);
            // The first row and those of the same one, by the first word of their names.
            let of_first = rows[0].0.split(' ').next() == name.split(' ').next();
            let colour = COLOURS[usize::from(!of_first)];
            let ends = [(sorted[0], at - BAR), (sorted[sorted.len() - 1], at + BAR)];
            chart.draw_series([Rectangle::new(ends, BAND.mix(0.5).filled())]).map_err(wrong)?;
            let dot = Circle::new((median, at), DOT, colour.filled());
            chart.draw_series([dot]).map_err(wrong)?;
            let beside = (sorted[sorted.len() - 1].max(median) * 1.12, at);
            chart.draw_series([Text::new(short(median), beside, words.clone())]).map_err(wrong)?;
        }
        drop(chart);
        root.present().map_err(wrong)?;
        drop(root);
        Ok(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_name_and_its_median_in_words() {
        let rows = vec![
            ("ours".to_owned(), vec![100.0, 1234.0, 1300.0]),
            ("theirs".to_owned(), vec![54_321.0]),
            ("not there".to_owned(), Vec::new()),
        ];
        let svg = Dots { title: "speed".to_owned(), axis: "a second".to_owned(), rows }.svg().unwrap();
        for text in ["speed", "a second", "ours", "theirs", "\n1.2k\n", "\n54.3k\n"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert!(!svg.contains("not there"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        assert!(Dots::default().svg().is_err());
    }
}
