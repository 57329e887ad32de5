//! Lines over an axis as inline SVG, with a legend that needs no colour: each series has its own mark and dashes.

use super::text::{escaped, short};

/// A line.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    /// Which colour, mark and dashes it has: the same for a method all over the page.
    pub(super) look: usize,
    pub(super) points: Vec<Point>,
}

/// A point of a line, and how far single seeds lie from it.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) ends: Option<[f64; 2]>,
}

/// Colours and marks that there are.
pub(super) const LOOKS: usize = 8;
/// Points of a line that are drawn, at most.
const MOST_POINTS: usize = 200;
/// The plot's edges: left, right, top, bottom.
const BOX: [f64; 4] = [46.0, 322.0, 10.0, 178.0];

/// The chart as a figure; nothing where no line has a point.
pub(super) fn figure(title: &str, x: &str, y: &str, series: &[Series<'_>]) -> String {
    let thin: Vec<(&Series<'_>, Vec<&Point>)> = series.iter().map(|series| (series, thinned(&series.points))).collect();
    let points = || thin.iter().flat_map(|(_, points)| points.iter());
    if points().next().is_none() {
        return String::new();
    }
    let mut xs = Axis::of(points().map(|point| point.x), BOX[0], BOX[1]);
    // Between two rounds there is none.
    xs.whole = points().all(|point| point.x.fract() == 0.0);
    let heights = points().flat_map(|point| std::iter::once(point.y).chain(point.ends.into_iter().flatten()));
    let ys = Axis::of(heights, BOX[3], BOX[2]);
    let last = |points: &[&Point]| points.last().map_or(String::new(), |point| short(point.y));
    let said: Vec<String> = thin
        .iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(series, points)| format!("{} ends at {}", series.name, last(points)))
        .collect();
    let mut svg = format!(
        "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 330 212\" role=\"img\" aria-label=\"{0}: {1} over {2}. {3}.\">",
        escaped(title),
        escaped(y),
        escaped(x),
        escaped(&said.join("; "))
    );
    for (at, label) in xs.ticks() {
        svg += &format!("<path class=\"grid\" d=\"M{at:.1} {}V{}\"/>", BOX[2], BOX[3]);
        svg += &format!(
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            BOX[3] + 14.0
        );
    }
    for (at, label) in ys.ticks() {
        svg += &format!("<path class=\"grid\" d=\"M{} {at:.1}H{}\"/>", BOX[0], BOX[1]);
        svg += &format!(
            "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            BOX[0] - 5.0,
            at + 3.5
        );
    }
    let middle = (BOX[0] + BOX[1]) / 2.0;
    svg += &format!("<text class=\"tick\" x=\"{middle}\" y=\"208\" text-anchor=\"middle\">{}</text>", escaped(x));
    for (series, points) in &thin {
        svg += &line(series, points, &xs, &ys, x, y);
    }
    svg + "</svg></figure>\n"
}

fn line(series: &Series<'_>, points: &[&Point], xs: &Axis, ys: &Axis, x: &str, y: &str) -> String {
    let look = series.look % LOOKS;
    let mut svg = format!("<g class=\"s s{look}\" data-s=\"{}\">", series.look);
    let banded: Vec<(f64, [f64; 2])> = points.iter().filter_map(|point| Some((point.x, point.ends?))).collect();
    if banded.len() > 1 {
        let low = banded.iter().map(|(at, ends)| (*at, ends[0]));
        let high = banded.iter().rev().map(|(at, ends)| (*at, ends[1]));
        let corners: Vec<String> =
            low.chain(high).map(|(at, value)| format!("{:.1} {:.1}", xs.place(at), ys.place(value))).collect();
        svg += &format!("<path class=\"band\" d=\"M{}Z\"/>", corners.join("L"));
    }
    let places: Vec<String> =
        points.iter().map(|point| format!("{:.1} {:.1}", xs.place(point.x), ys.place(point.y))).collect();
    if places.len() > 1 {
        svg += &format!("<path class=\"line\" d=\"M{}\"/>", places.join("L"));
    }
    let step = points.len().div_ceil(12).max(1);
    for (at, point) in points.iter().enumerate() {
        if at % step == 0 || at + 1 == points.len() {
            let [left, top] = [xs.place(point.x), ys.place(point.y)];
            let title = format!("{}: {y} {} at {x} {}", series.name, short(point.y), short(point.x));
            svg += &mark(look, left, top, &format!("<title>{}</title>", escaped(&title)));
        }
    }
    svg + "</g>"
}

/// The mark of a look around a point.
fn mark(look: usize, x: f64, y: f64, inside: &str) -> String {
    let d = match look % 4 {
        0 => "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
        1 => "m-3 -3h6v6h-6z",
        2 => "m0 -4l4 7h-8z",
        _ => "m0 -4.5l4 4.5l-4 4.5l-4 -4.5z",
    };
    format!("<path class=\"mark\" d=\"M{x:.1} {y:.1}{d}\">{inside}</path>")
}

/// The legend of these names with their looks.
pub(super) fn legend(names: &[(&str, usize)]) -> String {
    let item = |(name, look): &(&str, usize)| {
        format!(
            "<li data-s=\"{look}\"><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\" class=\"s s{}\"><path class=\"line\" d=\"M1 6H25\"/>{}</svg>{}</li>",
            look % LOOKS,
            mark(*look, 13.0, 6.0, ""),
            escaped(name)
        )
    };
    format!("<ul class=\"legend lines\">{}</ul>\n", names.iter().map(item).collect::<String>())
}

/// Every so-manyth point, and the last; those that are no numbers are left out.
fn thinned(points: &[Point]) -> Vec<&Point> {
    let finite = |point: &&Point| {
        point.x.is_finite() && point.y.is_finite() && point.ends.is_none_or(|e| e.iter().all(|v| v.is_finite()))
    };
    let points: Vec<&Point> = points.iter().filter(finite).collect();
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, point)| point).collect()
}

/// From values to pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Whether ticks are whole numbers.
    whole: bool,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        // One value alone stands in the middle.
        if high - low <= f64::EPSILON * high.abs().max(low.abs()).max(1e-9) {
            let room = (high.abs() * 0.1).max(1e-6);
            (low, high) = (low - room, high + room);
        }
        Self { low, high, from, to, whole: false }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0) * (self.to - self.from)
    }

    /// About four round values, with their places.
    fn ticks(&self) -> Vec<(f64, String)> {
        let raw = (self.high - self.low) / 4.0;
        if !raw.is_finite() || raw <= 0.0 {
            return Vec::new();
        }
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|unit| unit * power).find(|step| *step >= raw).unwrap_or(raw);
        let step = if self.whole { step.max(1.0) } else { step };
        let first = (self.low / step).ceil();
        let values =
            (0..8).map(|at| (first + f64::from(at)) * step).take_while(|value| *value <= self.high + step * 1e-9);
        values.map(|value| (self.place(value), short(if value.abs() < step * 1e-9 { 0.0 } else { value }))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let said = |low: f64, high: f64| -> Vec<String> {
            Axis::of([low, high].into_iter(), 0.0, 100.0).ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(said(1.0, 10.0), ["5", "10"]);
        assert_eq!(said(0.0, 2e9), ["0", "500M", "1G", "1.5G", "2G"]);
        assert!(said(f64::MIN, f64::MAX).len() < 9, "nothing overflows into endless ticks");
        assert!(!said(3.0, 3.0).is_empty());
    }

    #[test]
    fn a_chart_without_points_is_none_and_names_are_text() {
        let points = |y| vec![Point { x: 1.0, y, ends: None }, Point { x: 2.0, y: 0.5, ends: Some([0.4, 0.6]) }];
        let series = |y| [Series { name: "<b>", look: 9, points: points(y) }];
        let svg = figure("t", "x", "y", &series(1.0));
        assert!(svg.contains("&lt;b&gt; ends at 0.5") && !svg.contains("<b>"), "{svg}");
        assert_eq!(figure("t", "x", "y", &series(f64::NAN)).matches("class=\"mark\"").count(), 1);
        assert_eq!(figure("t", "x", "y", &[]), "");
    }
}
