//! Charts of lines: one for each server, over a parameter that grows by factors.

use crate::bars::figure;
use crate::format::Format;
use crate::svg::{At, Svg, WIDTH};

const LEFT: f64 = 50.0;
/// Room for the names, which stand where their lines end.
const RIGHT: f64 = 56.0;
const TOP: f64 = 10.0;
const HEIGHT: f64 = 210.0;
const BELOW: f64 = 40.0;
/// From one name to the next.
const NAME: f64 = 13.0;
/// More values on an axis would run into each other.
const TICKS_MAX: usize = 7;

/// A line of points.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose, as it is shown.
    pub name: String,
    /// What it looks like, in any language: as a model, by its name, or as a level.
    pub class: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Where, above 0.
    pub x: f64,
    /// How much, from 0 on.
    pub y: f64,
    /// Where the true value is believed to be.
    pub interval: Option<(f64, f64)>,
}

/// Draws lines: x by factors, y from 0 on, written as `format` says.
pub fn lines(title: &str, note: &str, x_title: &str, format: Format, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let mut xs: Vec<_> = points().map(|point| point.x).filter(|x| *x > 0.0).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let high = |point: &Point| point.interval.map_or(point.y, |(_, high)| point.y.max(high));
    let step = step(points().map(high).fold(0.0, f64::max));
    let steps = points().map(|point| (high(point) / step).ceil()).fold(1.0, f64::max);
    let (first, last) = (xs.first().map_or(0.0, |x| x.ln()), xs.last().map_or(1.0, |x| x.ln()));
    let room = WIDTH - LEFT - RIGHT;
    let across = |x: f64| LEFT + (x.ln() - first) / (last - first).max(f64::MIN_POSITIVE) * room;
    let up = |y: f64| TOP + HEIGHT * (1.0 - y.max(0.0) / (step * steps));
    let mut svg = Svg::new();
    let mut tick = 0.0;
    while tick <= steps {
        let y = up(tick * step);
        svg.line((LEFT, y), (WIDTH - RIGHT, y), "grid");
        let text = format.write_number(tick * step);
        svg.text(LEFT - 5.0, y + 3.5, At::End, "tick", &text);
        tick += 1.0;
    }
    for x in xs.iter().rev().step_by(xs.len().div_ceil(TICKS_MAX).max(1)) {
        svg.line((across(*x), up(0.0)), (across(*x), up(0.0) + 4.0), "axis");
        let text = Format::default().write_number(*x);
        svg.text(across(*x), up(0.0) + 16.0, At::Middle, "tick", &text);
    }
    svg.text(LEFT + room / 2.0, up(0.0) + 33.0, At::Middle, "tick", x_title);
    for line in lines {
        let points = line.points.iter().filter(|point| point.x > 0.0);
        let at: Vec<_> = points.clone().map(|point| (across(point.x), up(point.y))).collect();
        for pair in at.windows(2) {
            svg.line(pair[0], pair[1], &format!("line {}", line.class));
        }
        for (point, (x, y)) in points.zip(&at) {
            if let Some((low, high)) = point.interval {
                svg.line((*x, up(low)), (*x, up(high)), &format!("line thin {}", line.class));
            }
            svg.circle(*x, *y, 2.6, &format!("bar {}", line.class));
        }
    }
    for (Line { name, class, .. }, y) in ends(lines, up) {
        svg.text(WIDTH - RIGHT + 6.0, y + 4.0, At::Start, &format!("name ends {class}"), name);
    }
    let said: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    let label = format!("{title}, by {x_title}: {}", said.join(", "));
    figure("plot", title, note, &svg.finish(TOP + HEIGHT + BELOW, &label))
}

/// Where each line's name stands: where it ends, or as near to it as the others let it.
fn ends(lines: &[Line], up: impl Fn(f64) -> f64) -> Vec<(&Line, f64)> {
    let ends = lines.iter().filter_map(|line| Some((line, up(line.points.last()?.y))));
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    // From the lowest one up, each above the one before it.
    let mut free_above = f64::INFINITY;
    for (_, y) in &mut ends {
        *y = y.min(free_above);
        free_above = *y - NAME;
    }
    ends
}

/// From one value of the axis to the next: 1, 2 or 5 of some decade, so that there are few.
fn step(most: f64) -> f64 {
    if !(most.is_finite() && most > 0.0) {
        return 1.0;
    }
    let decade = 10_f64.powf(most.log10().floor());
    let step = [0.2, 0.5, 1.0, 2.0].into_iter().find(|step| most / (step * decade) <= 6.0);
    step.unwrap_or(2.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        let point = |&(x, y): &(f64, f64)| Point { x, y, interval: Some((y * 0.9, y * 1.1)) };
        let points = points.iter().map(point).collect();
        Line { name: name.to_owned(), class: name.to_owned(), points }
    }

    #[test]
    fn lines_run_from_the_first_value_to_the_last_within_the_frame() {
        let drawn = lines(
            "t",
            "",
            "connections",
            Format::default(),
            &[line("epoll", &[(1.0, 50.0), (1000.0, 100.0)]), line("pool", &[(1.0, 10.0)])],
        );
        assert!(drawn.contains(r#"<line class="line epoll" x1="50""#), "{drawn}");
        assert!(drawn.contains(r#"x2="324""#));
        assert!(drawn.contains(">1,000</text>") && drawn.contains(">100</text>"), "{drawn}");
        assert!(!drawn.trim().contains("\n\n"));
    }

    #[test]
    fn names_keep_their_distance() {
        let lines = [50.0, 49.0, 48.0, 5.0].map(|y| line("x", &[(1.0, y)]));
        let heights: Vec<_> = ends(&lines, |y| 100.0 - y).into_iter().map(|(_, y)| y).collect();
        assert_eq!(heights, [95.0, 52.0, 39.0, 26.0]);
    }

    #[test]
    fn an_axis_has_few_round_values() {
        for (most, expected) in [(100.0, 20.0), (250.0, 50.0), (7.0, 2.0), (0.03, 0.005)] {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!((step(none) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_to_draw_is_no_reason_to_panic() {
        lines("t", "", "x", Format::default(), &[]);
        lines("t", "", "x", Format::default(), &[line("epoll", &[])]);
        lines("t", "", "x", Format::default(), &[line("epoll", &[(0.0, 0.0)])]);
    }
}
