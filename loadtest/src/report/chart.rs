//! One chart: what is drawn, on which axes, and what a pointer reads. plotly draws it; colours,
//! fonts and sizes are the page's, for they depend on the reader's screen.

use plotly::common::{ErrorData, ErrorType, HoverInfo, Line, LineShape, Marker, Mode, Orientation};
use plotly::layout::{Axis as PlotlyAxis, AxisRange, AxisType, BarMode, RangeMode};
use plotly::{Bar as BarTrace, Layout, Plot, Scatter};
use serde_json::{Value, json};

use super::ticks::decades;
use crate::process::FLOOR;

/// Servers that have a colour of their own, the same in every chart.
const KEYS: [&str; 6] = ["threads", "pool", "tasks", "epoll", "grpc", FLOOR.name];
/// Room for a bar, and for what stands around them.
const BAR_PX: usize = 34;
const BARS_MARGIN_PX: usize = 92;
/// The same where there is a legend above them.
const STACKS_MARGIN_PX: usize = BARS_MARGIN_PX + 24;
/// A line chart that one can read tails from.
const LINES_PX: usize = 400;

/// A chart.
#[derive(Clone)]
pub struct Chart {
    /// Of its element.
    pub id: String,
    /// The part of its file that it is of: see `table::parts`.
    pub part: usize,
    /// The line above it.
    pub title: String,
    /// What else one must know to read it; may be empty.
    pub note: String,
    /// Whether it needs the whole width.
    pub wide: bool,
    /// Whether a reader may switch the y axis between logarithmic and linear.
    pub switch: bool,
    y_title: String,
    height_px: usize,
    traces: usize,
    plot: Plot,
}

/// An axis.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    title: String,
    /// None: linear.
    log_ticks: Option<Vec<(f64, String)>>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line through marked points.
    Marked,
    /// A line alone.
    Plain,
    /// A dotted line: the lesser of two of one colour.
    Dotted,
    /// A dashed line without points: a law, and not a measurement.
    Law,
    /// A line that keeps its value until the next.
    Stairs,
    /// Marks alone.
    Marks,
}

/// Points of one colour.
#[derive(Clone, Debug)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Decides its colour; series of one key are hidden together.
    pub key: String,
    /// How it is drawn.
    pub style: Style,
    /// Whether the legend has it.
    pub in_legend: bool,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point, or a gap where it has no `y`.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How high.
    pub y: Option<f64>,
    /// The ends of its interval.
    pub ends: Option<(f64, f64)>,
    /// What a pointer reads, in lines.
    pub says: Vec<String>,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Beside it.
    pub name: String,
    /// Decides its colour.
    pub key: String,
    /// How long; and what a pointer reads.
    pub point: Point,
}

/// One kind of what bars are made of.
#[derive(Clone, Debug)]
pub struct Part {
    /// In the legend.
    pub name: String,
    /// Decides its colour.
    pub key: String,
    /// Whose bars, the first on top, and how much of each it is.
    pub bars: Vec<(String, Point)>,
}

impl Part {
    fn is_nothing(&self) -> bool {
        self.bars.iter().all(|(_, point)| point.y.is_none_or(|y| y == 0.0))
    }
}

/// The colour of a server, or of the n-th of other things.
pub fn key(name: &str, n: usize) -> String {
    if KEYS.contains(&name) { name.to_owned() } else { (n % KEYS.len() + 1).to_string() }
}

impl Axis {
    /// From 0 up, or wherever the values are.
    pub fn linear(title: &str) -> Self {
        Self { title: text(title), log_ticks: None }
    }

    /// Logarithmic, for values above 0.
    pub fn log(title: &str, values: impl Iterator<Item = f64>) -> Self {
        Self { title: text(title), log_ticks: Some(decades(values)) }
    }

    /// Logarithmic, with these ticks.
    pub fn ticks(title: &str, ticks: Vec<(f64, String)>) -> Self {
        Self { title: text(title), log_ticks: Some(ticks) }
    }

    fn plotly(&self, from_zero: bool) -> PlotlyAxis {
        let Some(ticks) = &self.log_ticks else {
            let mode = if from_zero { RangeMode::ToZero } else { RangeMode::Normal };
            return PlotlyAxis::new().range_mode(mode);
        };
        let (values, texts) = ticks.iter().cloned().unzip();
        PlotlyAxis::new().type_(AxisType::Log).tick_values(values).tick_text(texts)
    }
}

impl Chart {
    /// Lines over a common axis.
    pub fn lines(id: String, title: &str, x: &Axis, y: &Axis, series: Vec<Series>) -> Self {
        let mut plot = Plot::new();
        let traces = series.len();
        for series in series {
            plot.add_trace(trace(series));
        }
        let x_axis = x.plotly(false).title(x.title.clone());
        plot.set_layout(Layout::new().x_axis(x_axis).y_axis(y.plotly(true)));
        Self {
            id,
            part: 0,
            title: title.to_owned(),
            note: String::new(),
            wide: true,
            switch: y.log_ticks.is_some(),
            y_title: y.title.clone(),
            height_px: LINES_PX,
            traces,
            plot,
        }
    }

    /// Horizontal bars, the first on top.
    pub fn bars(id: String, title: &str, x_title: &str, bars: Vec<Bar>) -> Self {
        let mut plot = Plot::new();
        let traces = bars.len();
        let height_px = BARS_MARGIN_PX + BAR_PX * traces;
        for Bar { name, key, point } in bars.into_iter().rev() {
            let trace = BarTrace::new(vec![point.y], vec![text(&name)])
                .name(text(&name))
                .orientation(Orientation::Horizontal)
                .legend_group(key)
                .show_legend(false)
                .hover_info(HoverInfo::Text)
                .hover_text_array(vec![says(&point)])
                .error_x(whiskers(&[point]));
            plot.add_trace(trace);
        }
        let x_axis = PlotlyAxis::new().title(text(x_title)).range_mode(RangeMode::ToZero);
        plot.set_layout(Layout::new().x_axis(x_axis).y_axis(PlotlyAxis::new()));
        Self {
            id,
            part: 0,
            title: title.to_owned(),
            note: String::new(),
            wide: false,
            switch: false,
            y_title: String::new(),
            height_px,
            traces,
            plot,
        }
    }

    /// Horizontal bars, the first on top, each of the same parts.
    pub fn stacked(id: String, title: &str, x_title: &str, mut parts: Vec<Part>) -> Self {
        parts.retain(|part| !part.is_nothing());
        let height_px = parts.first().map_or(0, |part| BAR_PX * part.bars.len());
        let mut plot = Plot::new();
        let traces = parts.len();
        for Part { name, key, bars } in parts {
            let (names, points): (Vec<String>, Vec<Point>) = bars.into_iter().rev().unzip();
            let lengths = points.iter().map(|point| point.y).collect();
            let trace = BarTrace::new(lengths, names.iter().map(|name| text(name)).collect())
                .name(text(&name))
                .orientation(Orientation::Horizontal)
                .legend_group(key)
                .show_legend(true)
                .hover_info(HoverInfo::Text)
                .hover_text_array(points.iter().map(says).collect::<Vec<_>>());
            plot.add_trace(trace);
        }
        let x_axis = PlotlyAxis::new().title(text(x_title)).range_mode(RangeMode::ToZero);
        let layout = Layout::new().x_axis(x_axis).y_axis(PlotlyAxis::new());
        plot.set_layout(layout.bar_mode(BarMode::Stack));
        Self {
            id,
            part: 0,
            title: title.to_owned(),
            note: String::new(),
            wide: false,
            switch: false,
            y_title: String::new(),
            height_px: STACKS_MARGIN_PX + height_px,
            traces,
            plot,
        }
    }

    /// Says what else one must know to read it.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    /// Puts it into a part of its file.
    #[must_use]
    pub fn part(mut self, part: usize) -> Self {
        self.part = part;
        self
    }

    /// Beside another where the screen is wide enough.
    #[must_use]
    pub fn half(mut self) -> Self {
        self.wide = false;
        self
    }

    /// Names for places on the y axis, from below.
    #[must_use]
    pub fn rows(mut self, names: &[String]) -> Self {
        let places = (0..names.len()).map(|n| n as f64).collect();
        let axis = PlotlyAxis::new()
            .tick_values(places)
            .tick_text(names.iter().map(|name| text(name)).collect())
            .range(AxisRange::new(-0.5, names.len() as f64 - 0.5));
        let layout = self.plot.layout().clone().y_axis(axis);
        self.plot.set_layout(layout);
        self.height_px = BARS_MARGIN_PX + BAR_PX * (names.len() + 1);
        self
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.traces == 0
    }

    /// What the page's script takes.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "title": self.title,
            "height": self.height_px,
            "yTitle": self.y_title,
            "plot": self.plot,
        })
    }
}

fn trace(series: Series) -> Box<Scatter<f64, Option<f64>>> {
    let Series { name, key, style, in_legend, points } = series;
    let line = match style {
        Style::Dotted => Line::new().dash(plotly::common::DashType::Dot),
        Style::Law => Line::new().dash(plotly::common::DashType::Dash).width(1.0),
        Style::Stairs => Line::new().shape(LineShape::Hv),
        Style::Marked | Style::Plain | Style::Marks => Line::new(),
    };
    let mode = match style {
        Style::Marked | Style::Dotted => Mode::LinesMarkers,
        Style::Plain | Style::Law | Style::Stairs => Mode::Lines,
        Style::Marks => Mode::Markers,
    };
    let hover = if style == Style::Law { HoverInfo::Skip } else { HoverInfo::Text };
    let size = if style == Style::Marks { 9 } else { 7 };
    Scatter::new(
        points.iter().map(|point| point.x).collect(),
        points.iter().map(|point| point.y).collect(),
    )
    .name(text(&name))
    .mode(mode)
    .line(line)
    .marker(Marker::new().size(size))
    .legend_group(key)
    .show_legend(in_legend)
    .hover_info(hover)
    .hover_text_array(points.iter().map(says).collect::<Vec<_>>())
    .error_y(whiskers(&points))
}

/// From each point to the ends of its interval.
fn whiskers(points: &[Point]) -> ErrorData {
    let reach = |side: fn(f64, (f64, f64)) -> f64| {
        points.iter().map(|p| p.y.zip(p.ends).map_or(0.0, |(y, ends)| side(y, ends))).collect()
    };
    ErrorData::new(ErrorType::Data)
        .symmetric(false)
        .visible(points.iter().any(|point| point.ends.is_some()))
        .array(reach(|y, (_, high)| (high - y).max(0.0)))
        .array_minus(reach(|y, (low, _)| (y - low).max(0.0)))
}

fn says(point: &Point) -> String {
    let lines = point.says.iter().map(|line| text(line));
    let mut lines = lines.enumerate().map(|(n, line)| match n {
        0 => format!("<b>{line}</b>"),
        _ => line,
    });
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |all, line| all + "<br>" + &line)
}

/// plotly reads some HTML in its texts; names from files are none.
fn text(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiskers_reach_to_the_ends_and_names_are_no_markup() {
        let point =
            Point { x: 1.0, y: Some(5.0), ends: Some((4.0, 7.0)), says: vec!["<i>".into()] };
        let series = Series {
            name: "a<b".into(),
            key: key("epoll", 0),
            style: Style::Marked,
            in_legend: true,
            points: vec![point],
        };
        let axis = Axis::linear("y");
        let json = Chart::lines("c".into(), "t", &axis, &axis, vec![series]).json();
        let trace = &json["plot"]["data"][0];
        assert_eq!(trace["error_y"]["array"], json!([2.0]));
        assert_eq!(trace["error_y"]["arrayminus"], json!([1.0]));
        assert_eq!((&trace["name"], &trace["legendgroup"]), (&json!("a&lt;b"), &json!("epoll")));
        assert_eq!(trace["hovertext"], json!(["<b>&lt;i&gt;</b>"]));
        assert_eq!([key("floor", 3), key("another", 7)], ["floor", "2"]);
    }
}
