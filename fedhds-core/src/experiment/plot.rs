//! A picture of one selection: the records in two dimensions, their categories, the groups' centroids, the chosen records.

use crate::error::{Error, Result};
use crate::simulate::atomic_write;
use crate::types::{Matrix, RowId};
use plotters::prelude::{
    BLACK, Circle, Color as _, Cross, DrawingArea, EmptyElement, IntoDrawingArea as _, IntoFont as _, RGBColor,
    Rectangle, SVGBackend, Text, WHITE,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the picture shows. Both axes have the same scale, and no numbers: only nearness means anything.
#[derive(Debug, Clone, Copy)]
pub struct SelectionPlot<'a> {
    /// The line on top.
    pub title: &'a str,
    /// The records, `[n, 2]`.
    pub points: &'a Matrix,
    /// The category of each record, `[n]`. The 20 largest have a colour, the others are grey.
    pub categories: &'a [&'a str],
    /// The chosen records.
    pub chosen: &'a [RowId],
    /// The centroids of the groups in the same view, `[k, 2]`, where there are any.
    pub centroids: Option<&'a Matrix>,
}

/// Side of the square that holds the points, in pixels.
const SIDE: i32 = 640;
/// Space around it.
const MARGIN: i32 = 24;
/// Where the square begins below the title.
const TOP: i32 = 56;
/// Width of the legend.
const LEGEND: i32 = 240;
/// Records drawn at most, beside the chosen ones: more only make the file larger.
const MOST_POINTS: usize = 5_000;
/// Characters of a name in the legend.
const MOST_LETTERS: usize = 28;
/// Tableau's 20 colours, the strong ones first.
pub(super) const COLOURS: [(u8, u8, u8); 20] = [
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (188, 189, 34),
    (23, 190, 207),
    (82, 84, 163),
    (174, 199, 232),
    (255, 187, 120),
    (152, 223, 138),
    (255, 152, 150),
    (197, 176, 213),
    (196, 156, 148),
    (247, 182, 210),
    (219, 219, 141),
    (158, 218, 229),
    (206, 219, 156),
];
const GREY: RGBColor = RGBColor(170, 170, 170);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl SelectionPlot<'_> {
    /// The picture as the text of an SVG file; equal input gives equal text.
    ///
    /// # Errors
    /// [`Error::Input`] where shapes do not fit, a chosen record is not there, or there are no points;
    /// [`Error::NotFinite`].
    pub fn svg(&self) -> Result<String> {
        self.check()?;
        let legend = Legend::new(self.categories);
        let view = View::around(self.points, self.centroids);
        let mut text = String::new();
        let size = ((SIDE + 2 * MARGIN + LEGEND) as u32, (TOP + SIDE + MARGIN) as u32);
        {
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw(&area, &legend, &view).map_err(|e| Error::stage("plot", e.to_string()))?;
        }
        Ok(text)
    }

    /// Writes the picture; a file at `path` is replaced only by a whole one.
    ///
    /// # Errors
    /// As [`SelectionPlot::svg`], and [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic_write(path, self.svg()?.as_bytes())
    }

    fn check(&self) -> Result<()> {
        for (name, matrix) in [("points", Some(self.points)), ("centroids", self.centroids)] {
            if let Some(matrix) = matrix.filter(|matrix| matrix.rows() > 0) {
                if matrix.cols() != 2 {
                    return Err(Error::input(name, "2 columns", matrix.cols()));
                }
                matrix.check_finite(name)?;
            }
        }
        let n = self.points.rows();
        if n == 0 {
            return Err(Error::input("points", "at least one row", "none"));
        }
        if self.categories.len() != n {
            return Err(Error::input("categories", format!("{n}, one for each point"), self.categories.len()));
        }
        match self.chosen.iter().find(|row| row.index() >= n) {
            Some(row) => Err(Error::input("chosen record", format!("below {n}"), row)),
            None => Ok(()),
        }
    }

    fn draw(&self, area: &Area<'_>, legend: &Legend<'_>, view: &View) -> Drawn {
        area.fill(&WHITE)?;
        let title = ("sans-serif", 22).into_font().color(&BLACK);
        area.draw(&Text::new(readable(self.title, 80), (MARGIN, 20), title))?;
        area.draw(&Rectangle::new([(MARGIN, TOP), (MARGIN + SIDE, TOP + SIDE)], RGBColor(200, 200, 200)))?;
        let chosen: BTreeSet<usize> = self.chosen.iter().map(|row| row.index()).collect();
        let step = self.points.rows().div_ceil(MOST_POINTS);
        for (row, (point, category)) in self.points.iter_rows().zip(self.categories).enumerate() {
            if !chosen.contains(&row) && row % step == 0 {
                area.draw(&Circle::new(view.place(point), 3, legend.colour(category).mix(0.45).filled()))?;
            }
        }
        for centroid in self.centroids.iter().flat_map(|matrix| matrix.iter_rows()) {
            area.draw(&Cross::new(view.place(centroid), 4, RGBColor(60, 60, 60).stroke_width(1)))?;
        }
        for (point, category) in chosen.iter().map(|&row| (self.points.row(row), self.categories.get(row))) {
            draw_chosen(area, view.place(point), category.map_or(GREY, |category| legend.colour(category)))?;
        }
        legend.draw(area, self, step)?;
        area.present()?;
        Ok(())
    }
}

pub(super) type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// A chosen record: larger, ringed in white and black, so that it stands out among points of its own colour.
fn draw_chosen(area: &Area<'_>, at: (i32, i32), colour: RGBColor) -> Drawn {
    let mark = EmptyElement::at(at)
        + Circle::new((0, 0), 8, WHITE.filled())
        + Circle::new((0, 0), 6, colour.filled())
        + Circle::new((0, 0), 7, BLACK.stroke_width(2));
    Ok(area.draw(&mark)?)
}

/// Where a point lies in the picture: the same scale for both axes, the middle in the middle.
struct View {
    middle: [f64; 2],
    scale: f64,
}

impl View {
    fn around(points: &Matrix, centroids: Option<&Matrix>) -> Self {
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for row in points.iter_rows().chain(centroids.iter().flat_map(|matrix| matrix.iter_rows())) {
            for ((low, high), value) in low.iter_mut().zip(&mut high).zip(row) {
                *low = low.min(f64::from(*value));
                *high = high.max(f64::from(*value));
            }
        }
        let [x, y] = [0, 1].map(|axis: usize| (low[axis], high[axis]));
        let width = (x.1 - x.0).max(y.1 - y.0);
        let room = f64::from(SIDE - 24);
        Self { middle: [(x.0 + x.1) / 2.0, (y.0 + y.1) / 2.0], scale: if width > 0.0 { room / width } else { 0.0 } }
    }

    fn place(&self, point: &[f32]) -> (i32, i32) {
        let from_middle = |axis: usize| {
            let value = point.get(axis).copied().map_or(0.0, f64::from);
            ((value - self.middle[axis]) * self.scale).round() as i32
        };
        (MARGIN + SIDE / 2 + from_middle(0), TOP + SIDE / 2 - from_middle(1))
    }
}

/// The categories' colours: the largest first, by name among equals.
struct Legend<'a> {
    named: Vec<(&'a str, usize, RGBColor)>,
    colours: BTreeMap<&'a str, RGBColor>,
    others: usize,
}

impl<'a> Legend<'a> {
    fn new(categories: &[&'a str]) -> Self {
        let mut counts = BTreeMap::<&str, usize>::new();
        for category in categories {
            *counts.entry(category).or_default() += 1;
        }
        let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let others = order.len().saturating_sub(COLOURS.len());
        let named: Vec<_> =
            order.into_iter().zip(COLOURS).map(|((name, count), (r, g, b))| (name, count, RGBColor(r, g, b))).collect();
        let colours = named.iter().map(|(name, _, colour)| (*name, *colour)).collect();
        Self { named, colours, others }
    }

    fn colour(&self, category: &str) -> RGBColor {
        self.colours.get(category).copied().unwrap_or(GREY)
    }

    fn draw(&self, area: &Area<'_>, plot: &SelectionPlot<'_>, step: usize) -> Drawn {
        let left = 2 * MARGIN + SIDE;
        let mut y = TOP + 10;
        let mut line = |text: String, mark: &dyn Fn(&Area<'_>, (i32, i32)) -> Drawn| -> Drawn {
            mark(area, (left, y))?;
            area.draw(&Text::new(text, (left + 16, y - 7), ("sans-serif", 15).into_font().color(&BLACK)))?;
            y += 24;
            Ok(())
        };
        let distinct = plot.chosen.iter().collect::<BTreeSet<_>>().len();
        line(format!("chosen ({distinct} of {})", plot.points.rows()), &|area, at| draw_chosen(area, at, WHITE_GREY))?;
        if let Some(centroids) = plot.centroids.filter(|matrix| matrix.rows() > 0) {
            line(format!("centroid of a group ({})", centroids.rows()), &|area, at| {
                Ok(area.draw(&Cross::new(at, 4, RGBColor(60, 60, 60).stroke_width(1)))?)
            })?;
        }
        if step > 1 {
            line(format!("1 record of {step} is drawn"), &|_, _| Ok(()))?;
        }
        for (name, count, colour) in &self.named {
            line(format!("{} ({count})", readable(name, MOST_LETTERS)), &|area, at| {
                Ok(area.draw(&Circle::new(at, 5, colour.filled()))?)
            })?;
        }
        if self.others > 0 {
            line(format!("{} more categories", self.others), &|area, at| {
                Ok(area.draw(&Circle::new(at, 5, GREY.filled()))?)
            })?;
        }
        Ok(())
    }
}

const WHITE_GREY: RGBColor = RGBColor(235, 235, 235);

/// The text without characters that XML forbids, cut to so many characters. (The backend escapes the marks of XML.)
pub(super) fn readable(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) { ' ' } else { c };
    let mut out: String = text.chars().map(clean).take(most).collect();
    if text.chars().nth(most).is_some() {
        out.pop();
        out.push('…');
    }
    if out.trim().is_empty() { "(no name)".into() } else { out }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand_distr::{Distribution, Normal};

    fn cloud(n: usize, groups: usize) -> (Matrix, Vec<String>, Matrix) {
        let mut rng = Seed(3).rng();
        let normal = Normal::new(0.0_f32, 1.0).unwrap();
        let centre = |group: usize| [(group % 5) as f32 * 6.0, (group / 5) as f32 * 6.0];
        let rows: Vec<[f32; 2]> =
            (0..n).map(|i| centre(i % groups).map(|middle| middle + normal.sample(&mut rng))).collect();
        let names = (0..n).map(|i| format!("category number {}", i % groups)).collect();
        (
            Matrix::from_rows(&rows).unwrap(),
            names,
            Matrix::from_rows(&(0..groups).map(centre).collect::<Vec<_>>()).unwrap(),
        )
    }

    #[test]
    fn everything_is_drawn_and_the_same_each_time() {
        let (points, names, centroids) = cloud(600, 24);
        let categories: Vec<&str> = names.iter().map(String::as_str).collect();
        let chosen: Vec<RowId> = (0..24).map(|i| RowId(i * 25)).collect();
        let plot = SelectionPlot {
            title: "A <b>bold</b> & \"quoted\" title",
            points: &points,
            categories: &categories,
            chosen: &chosen,
            centroids: Some(&centroids),
        };
        let svg = plot.svg().unwrap();
        assert_eq!(svg, plot.svg().unwrap());
        assert!(svg.contains("A &lt;b&gt;bold&lt;/b&gt; &amp; &quot;quoted&quot; title"));
        assert!(
            svg.contains("chosen (24 of 600)")
                && svg.contains("4 more categories")
                && svg.contains("category number 19 (25)")
        );
        // Points, three circles for each chosen record and the legend's sample, 21 legend dots.
        assert_eq!(svg.matches("<circle").count(), 600 - 24 + 3 * 25 + 21);
        assert!(svg.trim_end().ends_with("</svg>"));
        if let Ok(path) = std::env::var("FEDHDS_PLOT") {
            plot.save(path).unwrap();
        }
    }

    #[test]
    fn odd_input_is_drawn_or_named() {
        let one = Matrix::from_rows(&[[1e30_f32, -1e30]]).unwrap();
        let plot =
            SelectionPlot { title: "\u{1b}", points: &one, categories: &["\0\u{ffff}"], chosen: &[], centroids: None };
        let svg = plot.svg().unwrap();
        assert!(svg.contains("(no name)") && !svg.contains('\u{1b}') && !svg.contains('\0'));
        let wide = Matrix::from_rows(&[[f32::MAX, 0.0], [f32::MIN, 0.0]]).unwrap();
        SelectionPlot { points: &wide, categories: &["a", "b"], ..plot }.svg().unwrap();
        let error = |plot: SelectionPlot<'_>| plot.svg().unwrap_err().to_string();
        assert!(
            error(SelectionPlot { points: &Matrix::zeros(0, 2), categories: &[], ..plot }).contains("at least one row")
        );
        assert!(error(SelectionPlot { points: &Matrix::zeros(1, 3), ..plot }).contains("2 columns"));
        assert!(error(SelectionPlot { categories: &[], ..plot }).contains("one for each point"));
        assert!(error(SelectionPlot { chosen: &[RowId(1)], ..plot }).contains("below 1"));
        let nan = Matrix::from_rows(&[[f32::NAN, 0.0]]).unwrap();
        assert!(error(SelectionPlot { points: &nan, ..plot }).contains("finite"));
        assert!(error(SelectionPlot { centroids: Some(&nan), ..plot }).contains("centroids"));
    }

    #[test]
    fn many_records_are_thinned() {
        let (points, names, _) = cloud(12_000, 3);
        let categories: Vec<&str> = names.iter().map(String::as_str).collect();
        let svg = SelectionPlot {
            title: "t",
            points: &points,
            categories: &categories,
            chosen: &[RowId(1)],
            centroids: None,
        }
        .svg()
        .unwrap();
        assert!(svg.contains("1 record of 3") && svg.matches("<circle").count() < 5_000);
    }
}
