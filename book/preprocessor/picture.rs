//! Pictures of a request's way: lanes from left to right, time from top to bottom, numbered steps.
//! What each step means stands below, as text.

use std::fmt::Write as _;

use crate::Cause;
use crate::bars::figure;
use crate::language::Language;
use crate::pictures::PICTURES;
use crate::svg::{At, Svg, WIDTH};

/// A picture.
#[derive(Debug)]
pub struct Picture {
    /// By which the text names it.
    pub name: &'static str,
    /// The line above it.
    pub title: &'static str,
    /// Who takes part: a name, and what there is of it.
    pub lanes: &'static [(&'static str, &'static str)],
    /// What happens, in order.
    pub steps: &'static [Step],
}

/// A step: what is drawn, and what is said of it.
#[derive(Debug)]
pub struct Step {
    /// What happens.
    pub what: What,
    /// On one line or two.
    pub label: &'static str,
    /// A sentence or two of HTML.
    pub says: &'static str,
}

/// What happens; lanes count from 0.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Something goes from one lane to another.
    Goes(usize, usize),
    /// The same, of a plan that takes time.
    MayGo(usize, usize),
    /// Work is done.
    Works(usize),
    /// A thread or a task waits.
    Waits(usize),
}

/// From one step to the next.
const ROW: f64 = 37.0;
/// Above the first step: the names of the lanes.
const HEAD: f64 = 36.0;
/// From a lane to where an arrow begins.
const GAP: f64 = 3.0;

/// The names of all pictures.
pub fn names() -> String {
    PICTURES.iter().map(|picture| picture.name).collect::<Vec<_>>().join(", ")
}

/// The picture of that name, and the text of its steps.
///
/// # Errors
/// If there is none, or what it says is not said in this language.
pub fn named(language: Language, name: &str) -> Result<String, Cause> {
    let picture = PICTURES.iter().find(|picture| picture.name == name);
    let picture = picture.ok_or_else(|| Cause::Name {
        kind: "picture",
        name: name.to_owned(),
        known: names(),
    })?;
    picture.drawn(language)
}

impl Picture {
    /// As HTML.
    ///
    /// # Errors
    /// If what it says is not said in this language.
    pub fn drawn(&self, language: Language) -> Result<String, Cause> {
        let mut svg = Svg::new();
        let width = WIDTH / self.lanes.len() as f64;
        let height = HEAD + self.steps.len() as f64 * ROW + 4.0;
        let x = |lane: usize| (lane as f64 + 0.5) * width;
        for (lane, (name, note)) in self.lanes.iter().enumerate() {
            svg.text(x(lane), 13.0, At::Middle, "lane-name", language.say(name)?);
            if !note.is_empty() {
                svg.text(x(lane), 27.0, At::Middle, "lane-note", language.say(note)?);
            }
            svg.line((x(lane), HEAD - 2.0), (x(lane), height), "lane");
        }
        for (index, step) in self.steps.iter().enumerate() {
            let y = HEAD + (index as f64 + 0.5) * ROW;
            let label = language.say(step.label)?;
            match step.what {
                What::Goes(from, to) => {
                    way(&mut svg, (x(from), x(to)), y, "way", index, label);
                }
                What::MayGo(from, to) => {
                    way(&mut svg, (x(from), x(to)), y, "way may", index, label);
                }
                What::Works(lane) => place(&mut svg, x(lane), y, width, "works", index, label),
                What::Waits(lane) => place(&mut svg, x(lane), y, width, "waits", index, label),
            }
        }
        let mut said = String::from("<ol class=\"steps\">\n");
        for step in self.steps {
            let _ = writeln!(said, "<li>{}</li>", language.say(step.says)?);
        }
        said.push_str("</ol>\n");
        let title = language.say(self.title)?;
        let drawn = svg.finish(height, &language.fill("{}; the steps are in the list", &[title])?);
        Ok(figure("picture", title, "", &format!("{drawn}{said}")))
    }
}

fn way(svg: &mut Svg, (from, to): (f64, f64), y: f64, class: &str, index: usize, label: &str) {
    let side = (to - from).signum();
    svg.arrow(from + side * GAP, to - side * GAP, y + 5.0, class);
    svg.text(f64::midpoint(from, to), y - 4.0, At::Middle, "label", label);
    svg.number(from + side * 11.0, y + 5.0, index + 1);
}

fn place(svg: &mut Svg, x: f64, y: f64, width: f64, class: &str, index: usize, label: &str) {
    let (width, height) = (width - 4.0, 29.0);
    svg.rect(x - width / 2.0, y - height / 2.0, width, height, class);
    let lines: Vec<_> = label.lines().collect();
    let first = y + 3.5 - (lines.len() as f64 - 1.0) * 6.0;
    for (line, text) in lines.iter().enumerate() {
        svg.text(x + 4.0, first + line as f64 * 12.0, At::Middle, "label", text);
    }
    svg.number(x - width / 2.0, y - height / 2.0 + 3.0, index + 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MODELS;

    fn all() -> impl Iterator<Item = (&'static Picture, Language)> {
        let languages = [Language::English, Language::Chinese];
        PICTURES.iter().flat_map(move |picture| languages.map(|language| (picture, language)))
    }

    #[test]
    fn every_model_has_a_picture_that_is_whole() {
        for model in MODELS {
            named(Language::English, model).unwrap();
        }
        for (picture, language) in all() {
            let drawn = picture.drawn(language).unwrap();
            assert_eq!(drawn.matches("class=\"number\"").count(), picture.steps.len());
            assert_eq!(drawn.matches("<li>").count(), picture.steps.len());
            assert!(!drawn.trim().contains("\n\n"), "a blank line would end the element");
        }
    }

    /// What fits: measured in a browser, 5.6 of the drawing's units a character at the widest; one of
    /// Chinese is as wide as it is high.
    #[test]
    fn labels_fit_into_their_lanes() {
        let wide = |character: char| if character.is_ascii() { 5.6 } else { 10.5 };
        for (picture, language) in all() {
            let lane = WIDTH / picture.lanes.len() as f64;
            for step in picture.steps {
                let room = match step.what {
                    What::Works(_) | What::Waits(_) => lane - 10.0,
                    What::Goes(a, b) | What::MayGo(a, b) => lane * a.abs_diff(b) as f64,
                };
                for line in language.say(step.label).unwrap().lines() {
                    let wide: f64 = line.chars().map(wide).sum();
                    assert!(wide <= room, "{}: {line:?} is {wide} of {room}", picture.name);
                }
            }
        }
    }

    #[test]
    fn a_lane_that_is_none_is_in_no_step() {
        for picture in PICTURES {
            for step in picture.steps {
                let lanes = match step.what {
                    What::Goes(from, to) | What::MayGo(from, to) => {
                        assert_ne!(from, to, "{}", step.label);
                        from.max(to)
                    }
                    What::Works(lane) | What::Waits(lane) => lane,
                };
                assert!(lanes < picture.lanes.len(), "{}: {}", picture.name, step.label);
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let error = named(Language::English, "fibers").unwrap_err().to_string();
        assert_eq!(error, "no picture \"fibers\": there are threads, pool, tasks, epoll, grpc");
    }
}
