//! Just as much SVG as the book's drawings need. Colours are the page's: shapes have classes, and
//! `theme/book.css` has a colour for each class and theme. There are no ids, so that a drawing may
//! stand twice on a page (as it does on the one for printing).

use std::fmt::Write as _;

/// Drawings are as wide as the text of a narrow phone, so that their writing stays legible there;
/// where there is more room they are scaled up.
pub const WIDTH: f64 = 380.0;

/// A drawing.
#[derive(Debug)]
pub struct Svg {
    body: String,
}

/// A place of text: where it begins, where it ends, or where its middle is.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// It begins here.
    Start,
    /// It is centred here.
    Middle,
    /// It ends here.
    End,
}

impl Svg {
    /// An empty one.
    #[allow(clippy::new_without_default)] // an empty drawing is no default of anything
    pub fn new() -> Self {
        Self { body: String::new() }
    }

    /// A rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let (x, y, width, height) = (n(x), n(y), n(width), n(height));
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"></rect>"#
        );
    }

    /// A line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (n(from.0), n(from.1), n(to.0), n(to.1));
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"></line>"#
        );
    }

    /// A level line with a head at its end.
    pub fn arrow(&mut self, from_x: f64, to_x: f64, y: f64, class: &str) {
        let back = if to_x > from_x { -6.0 } else { 6.0 };
        self.line((from_x, y), (to_x + back, y), class);
        let (tip, base) = (n(to_x), n(to_x + back));
        let (above, below, y) = (n(y - 3.5), n(y + 3.5), n(y));
        let _ = writeln!(
            self.body,
            r#"<polygon class="head" points="{tip},{y} {base},{above} {base},{below}"></polygon>"#
        );
    }

    /// A circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        let (x, y, radius) = (n(x), n(y), n(radius));
        let _ = writeln!(
            self.body,
            r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"></circle>"#
        );
    }

    /// A number in a circle.
    pub fn number(&mut self, x: f64, y: f64, number: usize) {
        self.circle(x, y, 7.5, "number");
        self.text(x, y + 3.4, At::Middle, "number-text", &number.to_string());
    }

    /// A line of text.
    pub fn text(&mut self, x: f64, y: f64, at: At, class: &str, text: &str) {
        let anchor = match at {
            At::Start => "start",
            At::Middle => "middle",
            At::End => "end",
        };
        let text = escaped(text);
        let (x, y) = (n(x), n(y));
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// The drawing as an element, of that height; `label` is read to who does not see it.
    pub fn finish(self, height: f64, label: &str) -> String {
        let (label, height, body) = (escaped(label), n(height), self.body);
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n{body}</svg>\n"
        )
    }
}

/// A number as a drawing needs it: to a tenth.
fn n(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Text as HTML has it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_neither_ids_nor_colours_nor_blank_lines() {
        let mut svg = Svg::new();
        svg.rect(1.0, 2.25, 3.0, 4.0, "bar");
        svg.arrow(10.0, 20.0, 5.0, "way");
        svg.number(1.0, 2.0, 3);
        svg.text(0.0, 0.0, At::End, "name", "a < b & c");
        let drawn = svg.finish(50.0, "a \"label\"");
        assert!(drawn.contains("<rect class=\"bar\" x=\"1\" y=\"2.2\""), "{drawn}");
        assert!(drawn.contains(">a &lt; b &amp; c</text>"));
        assert!(drawn.contains("aria-label=\"a &quot;label&quot;\""));
        for absent in [" id=", "fill=", "stroke=", "style=", "\n\n"] {
            assert!(!drawn.contains(absent), "{absent}");
        }
    }
}
