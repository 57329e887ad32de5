//! A picture of a grid: in each condition each method's difference to `random`, with its interval over seeds.

use super::super::plot::{Area, COLOURS, Drawn, readable};
use super::{Grid, GridComparison};
use crate::error::{Error, Result};
use crate::method::Preset;
use plotters::prelude::{
    BLACK, Circle, Color as _, IntoDrawingArea as _, IntoFont as _, PathElement, RGBColor, SVGBackend, Text, WHITE,
};
use std::collections::BTreeMap;

/// Width of the names, of the plot and of the numbers behind it, in pixels.
const NAMES: i32 = 240;
const PLOT: i32 = 520;
const NUMBERS: i32 = 190;
const MARGIN: i32 = 16;
/// Where the first row begins, below title and scale.
const TOP: i32 = 74;
const ROW: i32 = 20;
/// Characters of a name.
const MOST_LETTERS: usize = 32;
const GREY: RGBColor = RGBColor(200, 200, 200);

/// The picture as the text of an SVG file; equal input gives equal text.
///
/// # Errors
/// [`Error::Stage`] where it cannot be drawn.
pub(in crate::experiment) fn svg(grid: &Grid) -> Result<String> {
    let shown: Vec<&GridComparison> = grid.comparisons.iter().filter(|c| c.baseline == Preset::Random.name()).collect();
    let mut groups: Vec<(String, Vec<&GridComparison>)> = Vec::new();
    let several = shown.iter().any(|c| shown.iter().any(|other| other.experiment != c.experiment));
    for comparison in shown {
        let condition = comparison.condition.as_deref();
        let name = match (several, condition) {
            (true, Some(condition)) => format!("{}: {condition}", comparison.experiment),
            (_, None) => comparison.experiment.clone(),
            (false, Some(condition)) => condition.to_owned(),
        };
        match groups.last_mut() {
            Some((last, members)) if *last == name => members.push(comparison),
            _ => groups.push((name, vec![comparison])),
        }
    }
    let rows: usize = groups.iter().map(|(_, members)| members.len() + 1).sum();
    let height = TOP + ROW * i32::try_from(rows).unwrap_or(i32::MAX / (2 * ROW)) + MARGIN;
    let size = ((2 * MARGIN + NAMES + PLOT + NUMBERS) as u32, height.unsigned_abs());
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area, &groups, height - MARGIN).map_err(|e| Error::stage("plot", e.to_string()))?;
    }
    Ok(text)
}

fn draw(area: &Area<'_>, groups: &[(String, Vec<&GridComparison>)], bottom: i32) -> Drawn {
    area.fill(&WHITE)?;
    let write = |text: String, at: (i32, i32), size: i32| -> Drawn {
        area.draw(&Text::new(text, at, ("sans-serif", size).into_font().color(&BLACK)))?;
        Ok(())
    };
    write("loss minus that of random, 95% over seeds (left: better)".into(), (MARGIN, 16), 18)?;
    if groups.is_empty() {
        write("no method was compared with random".into(), (MARGIN, TOP), 14)?;
    }
    let scale = Scale::over(groups.iter().flat_map(|(_, members)| members));
    for tick in scale.ticks() {
        let x = scale.place(tick);
        let width = if tick == 0.0 { 2 } else { 1 };
        area.draw(&PathElement::new([(x, TOP - 8), (x, bottom)], GREY.stroke_width(width)))?;
        let digits = if scale.step() < 0.01 { 3 } else { 2 };
        write(format!("{tick:+.digits$}"), (x - 16, TOP - 26), 13)?;
    }
    let mut colours = BTreeMap::<&str, RGBColor>::new();
    let mut y = TOP + ROW / 2;
    for (name, members) in groups {
        write(readable(name, MOST_LETTERS), (MARGIN, y - 8), 15)?;
        y += ROW;
        for comparison in members {
            let (r, g, b) = COLOURS[colours.len() % COLOURS.len()];
            let colour = *colours.entry(&comparison.method).or_insert(RGBColor(r, g, b));
            let difference = &comparison.over_seeds.difference;
            write(readable(&comparison.method, MOST_LETTERS), (MARGIN + 14, y - 7), 13)?;
            if let Some([low, high]) = difference.interval {
                let line = [(scale.place(low), y), (scale.place(high), y)];
                area.draw(&PathElement::new(line, colour.stroke_width(3)))?;
            }
            area.draw(&Circle::new((scale.place(difference.mean), y), 4, colour.filled()))?;
            let interval = difference.interval.map_or(String::new(), |[low, high]| format!(" [{low:+.2}, {high:+.2}]"));
            let numbers = format!("{:+.2}{interval} n={}", difference.mean, difference.seeds);
            write(numbers, (MARGIN + NAMES + PLOT + 10, y - 7), 13)?;
            y += ROW;
        }
    }
    area.present()?;
    Ok(())
}

/// Where a difference lies in the picture.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// Over all differences and 0. An interval of two seeds can be wider than everything else: ends count up to four times the farthest
    /// mean.
    fn over<'a>(comparisons: impl Iterator<Item = &'a &'a GridComparison> + Clone) -> Self {
        let means = comparisons.clone().map(|c| c.over_seeds.difference.mean.abs());
        let most = 4.0 * means.fold(0.01, f64::max);
        let ends = comparisons.flat_map(|c| {
            let difference = &c.over_seeds.difference;
            difference.interval.unwrap_or([difference.mean; 2])
        });
        let (low, high) = ends.fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
        let (low, high) = (low.max(-most), high.min(most));
        let room = 0.05 * (high - low).max(0.01);
        Self { low: low - room, high: high + room }
    }

    fn place(&self, value: f64) -> i32 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        MARGIN + NAMES + (share * f64::from(PLOT)).round() as i32
    }

    /// A round number, about a sixth of the width.
    fn step(&self) -> f64 {
        let rough = (self.high - self.low) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(rough)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = self.step();
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|n| n as f64 * step).collect()
    }
}
