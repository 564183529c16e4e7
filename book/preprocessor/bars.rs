//! Charts of level bars: one for each server, with its interval, or made of parts.

use crate::svg::{At, Svg, WIDTH, escaped};

/// From one bar to the next: its name above it, and room below.
const ROW: f64 = 38.0;
/// How thick a bar is.
const BAR: f64 = 12.0;
const MARGIN: f64 = 2.0;

/// A figure as a bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose.
    pub name: String,
    /// How long.
    pub value: f64,
    /// Where the true value is believed to be.
    pub interval: Option<(f64, f64)>,
    /// The figure, as it is read.
    pub text: String,
}

/// A whole in parts.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Whose.
    pub name: String,
    /// Its parts, of 1.
    pub parts: Vec<f64>,
    /// The figure, as it is read.
    pub text: String,
}

/// Draws bars from 0 on.
pub fn bars(title: &str, note: &str, bars: &[Bar]) -> String {
    let end = |bar: &Bar| bar.interval.map_or(bar.value, |(_, high)| bar.value.max(high));
    let most = bars.iter().map(end).fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - 2.0 * MARGIN;
    let length = |value: f64| value.max(0.0) / most * room;
    let mut svg = Svg::new();
    for (index, bar) in bars.iter().enumerate() {
        let top = index as f64 * ROW;
        head(&mut svg, top, &bar.name, &bar.text);
        let y = top + 19.0;
        svg.rect(MARGIN, y, room, BAR, "track");
        svg.rect(MARGIN, y, length(bar.value).max(1.0), BAR, &format!("bar {}", bar.name));
        if let Some((low, high)) = bar.interval {
            let (low, high, middle) = (MARGIN + length(low), MARGIN + length(high), y + BAR / 2.0);
            svg.line((low, middle), (high, middle), "interval");
            for end in [low, high] {
                svg.line((end, middle - 4.0), (end, middle + 4.0), "interval");
            }
        }
    }
    let said: Vec<_> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.text)).collect();
    let label = format!("{title}: {}", said.join(", "));
    figure("plot", title, note, &svg.finish(bars.len() as f64 * ROW, &label))
}

/// Draws stacks, all of one length, and says what colour each part has.
pub fn stacks(title: &str, note: &str, parts: &[&str], stacks: &[Stack]) -> String {
    let room = WIDTH - 2.0 * MARGIN;
    let mut svg = Svg::new();
    for (index, stack) in stacks.iter().enumerate() {
        let top = index as f64 * ROW;
        head(&mut svg, top, &stack.name, &stack.text);
        let mut x = MARGIN;
        for (part, share) in stack.parts.iter().enumerate() {
            let width = share.max(0.0) * room;
            svg.rect(x, top + 19.0, width, BAR, &format!("part part-{part}"));
            x += width;
        }
    }
    let said = stacks.iter().map(|stack| {
        let shares = parts.iter().zip(&stack.parts);
        let shares: Vec<_> = shares.map(|(n, s)| format!("{n} {:.0} %", s * 100.0)).collect();
        format!("{}: {}", stack.name, shares.join(", "))
    });
    let label = format!("{title}. {}", said.collect::<Vec<_>>().join(". "));
    let drawn = svg.finish(stacks.len() as f64 * ROW, &label);
    let key = |(part, name): (usize, &&str)| {
        format!("<li><span class=\"key part-{part}\"></span>{}</li>", escaped(name))
    };
    let keys: String = parts.iter().enumerate().map(key).collect();
    figure("plot", title, note, &format!("<ul class=\"keys\">{keys}</ul>\n{drawn}"))
}

fn head(svg: &mut Svg, top: f64, name: &str, text: &str) {
    svg.text(MARGIN, top + 13.0, At::Start, "name", name);
    svg.text(WIDTH - MARGIN, top + 13.0, At::End, "value", text);
}

/// A figure of HTML: without blank lines, which would end it for Markdown.
pub fn figure(class: &str, title: &str, note: &str, inside: &str) -> String {
    let (title, note) = (escaped(title), escaped(note).replace('`', ""));
    let note = if note.is_empty() { note } else { format!("<small>{note}</small>\n") };
    format!(
        "\n<figure class=\"{class}\">\n<figcaption>{title}</figcaption>\n{inside}{note}</figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64, interval: Option<(f64, f64)>) -> Bar {
        Bar { name: name.to_owned(), value, interval, text: format!("{value} /s") }
    }

    #[test]
    fn the_longest_fills_the_width_and_an_interval_stays_within() {
        let drawn =
            bars("t", "n", &[bar("epoll", 50.0, Some((40.0, 100.0))), bar("pool", 25.0, None)]);
        assert!(drawn.contains(r#"<rect class="bar epoll" x="2" y="19" width="188""#), "{drawn}");
        assert!(drawn.contains(r#"<rect class="bar pool" x="2" y="57" width="94""#));
        assert!(drawn.contains(r#"x2="378" y2="25""#), "the interval ends at the margin");
        assert!(drawn.contains("t: epoll 50 /s, pool 25 /s"), "read to who does not see it");
        assert!(!drawn.trim().contains("\n\n"), "a blank line would end the element");
    }

    #[test]
    fn nothing_to_draw_is_no_reason_to_panic() {
        bars("t", "", &[]);
        bars("t", "", &[bar("epoll", 0.0, Some((0.0, 0.0))), bar("pool", f64::NAN, None)]);
        stacks("t", "", &[], &[]);
    }

    #[test]
    fn parts_follow_each_other() {
        let stack = Stack { name: "epoll".to_owned(), parts: vec![0.5, 0.25], text: String::new() };
        let drawn = stacks("t", "", &["kernel", "rest"], &[stack]);
        assert!(drawn.contains(r#"part-0" x="2" y="19" width="188""#), "{drawn}");
        assert!(drawn.contains(r#"part-1" x="190" y="19" width="94""#));
        assert!(drawn.contains("epoll: kernel 50 %, rest 25 %"));
    }
}
