//! The page in a browser: drawn, alive, alone, and readable at every width and in both themes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::browser::Chromium;
use crate::fixtures::{self, Files};
use crate::report;

const WIDTHS_PX: [u32; 2] = [1280, 400];
const THEMES: [&str; 2] = ["light", "dark"];
/// Smaller letters are hard to read on a phone.
const LETTERS_PX_MIN: f64 = 11.0;
/// Of text against what is behind it (WCAG 2.2, level AA).
const CONTRAST_MIN: f64 = 4.5;

const DRAWN: &str = "document.documentElement.dataset.drawn === 'yes'";

/// Every kind of file in one report.
fn everything(files: &Files) -> PathBuf {
    let made = [
        files.write("monday.json", &fixtures::rich_run(180.0)),
        files.write("tuesday.json", &fixtures::rich_run(140.0)),
        files.write("closed.json", &fixtures::run(None)),
        files.write("compare.json", &fixtures::comparison_with_ledger()),
        files.write("connections.json", &fixtures::sweep_connections()),
        files.write("rate.json", &fixtures::sweep_rate()),
        files.write("capacity.json", &fixtures::capacity()),
        files.write("memory.json", &fixtures::memory()),
    ];
    let page = files.path("report.html");
    report(&made.each_ref().map(PathBuf::as_path), &page);
    page
}

#[test]
fn the_page_is_drawn_alive_alone_and_readable() {
    let files = Files::new();
    let page = everything(&files);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../report-screenshots");
    fs::create_dir_all(&pictures).unwrap();
    let mut chromium = Chromium::start();
    for width in WIDTHS_PX {
        for theme in THEMES {
            chromium.open(&page, width, theme);
            chromium.wait_until(DRAWN);
            is_drawn(&mut chromium);
            is_readable(&mut chromium, width);
            chromium.screenshot(&pictures.join(format!("{theme}-{width}.png")), true);
            hover_shows_a_label(&mut chromium);
            chromium.screenshot(&pictures.join(format!("{theme}-{width}-hover.png")), false);
            the_legend_hides_a_series(&mut chromium);
            the_axis_can_be_switched(&mut chromium);
            the_theme_can_be_switched(&mut chromium, theme);
            is_alone(&chromium, &page);
        }
    }
}

#[test]
fn nothing_in_a_file_becomes_a_part_of_the_page() {
    let files = Files::new();
    let made = files.write("a<b>'&.json", &fixtures::hostile());
    let page = files.path("report.html");
    report(&[&made], &page);
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("<img"), "markup of a file reached the page");
    let mut chromium = Chromium::start();
    chromium.open(&page, 1280, "light");
    chromium.wait_until(DRAWN);
    is_drawn(&mut chromium);
    assert_eq!(chromium.value("typeof window.pwned"), "undefined");
    assert_eq!(chromium.value("document.querySelectorAll('img, table b, svg image').length"), 0);
    let named = chromium.value(
        "[...document.querySelectorAll('.legendtext')].some((e) => \
         e.textContent.startsWith('</script><img src=x'))",
    );
    assert_eq!(named, true, "the name is not shown as it is");
    is_alone(&chromium, &page);
}

/// Every chart has all of its series.
#[track_caller]
fn is_drawn(chromium: &mut Chromium) {
    let drawn = chromium.value(
        "JSON.parse(document.getElementById('charts').textContent).map((chart) => { \
         const e = document.getElementById(chart.id); return { id: chart.id, \
         wanted: chart.plot.data.length, svg: e.querySelectorAll('svg.main-svg').length, \
         series: e.querySelectorAll('.scatterlayer .trace, .barlayer .trace').length, \
         marks: e.querySelectorAll('.scatterlayer path, .barlayer path').length, \
         ticks: e.querySelectorAll('.xtick text').length }; })",
    );
    let charts = drawn.as_array().unwrap();
    let places = chromium.value("document.querySelectorAll('.plot').length");
    assert_eq!(json!(charts.len()), places);
    assert!(!charts.is_empty());
    for chart in charts {
        assert_eq!(chart["series"], chart["wanted"], "{chart}");
        let count = |field: &str| chart[field].as_u64().unwrap();
        assert!(count("svg") > 0 && count("marks") >= count("wanted"), "{chart}");
        assert!(count("ticks") >= 2, "{chart}");
    }
}

/// No scrolling sideways, no letter too small or too faint, no tick on another.
#[track_caller]
fn is_readable(chromium: &mut Chromium, width: u32) {
    let reach = chromium.value("document.documentElement.scrollWidth");
    assert!(reach.as_u64().unwrap() <= u64::from(width), "{reach} px wide at {width}");
    let smallest = chromium.value(
        "Math.min(...[...document.querySelectorAll('svg text, main *, nav a')]\
         .filter((e) => e.textContent.trim()) \
         .map((e) => parseFloat(getComputedStyle(e).fontSize)))",
    );
    assert!(smallest.as_f64().unwrap() >= LETTERS_PX_MIN, "letters of {smallest} px");
    let crowded = chromium.value(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => { \
         const boxes = [...plot.querySelectorAll('.xtick text')] \
         .map((e) => e.getBoundingClientRect()); \
         return boxes.flatMap((a, n) => boxes.slice(n + 1).filter((b) => a.left < b.right && \
         b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(() => plot.id)); })",
    );
    assert_eq!(crowded, json!([]), "ticks stand on each other at {width} px");
    let outside = chromium.value(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => { \
         const frame = plot.getBoundingClientRect(); \
         return [...plot.querySelectorAll('svg text')].filter((e) => e.textContent) \
         .filter((e) => { const box = e.getBoundingClientRect(); \
         return box.left < frame.left - 1 || box.right > frame.right + 1 \
         || box.bottom > frame.bottom + 1; }) \
         .map((e) => plot.id + ': ' + e.textContent); })",
    );
    assert_eq!(outside, json!([]), "texts reach out of their charts at {width} px");
    for (what, contrast) in contrasts(chromium) {
        assert!(contrast >= CONTRAST_MIN, "{what}: contrast {contrast:.2}");
    }
}

/// Of the colours of texts against the page's.
fn contrasts(chromium: &mut Chromium) -> Vec<(String, f64)> {
    let colours = chromium.value(
        "['body', 'nav a', 'figcaption p', 'dt', 'td small', '.badge', '.xtick text', '.caution'] \
         .flatMap((s) => { const e = document.querySelector(s); if (!e) return []; \
         const style = getComputedStyle(e); \
         return [[s, e instanceof SVGElement ? style.fill : style.color, \
         getComputedStyle(document.body).backgroundColor]]; })",
    );
    let luminance = |colour: &Value| {
        let numbers = colour.as_str().unwrap().split(|c: char| !c.is_ascii_digit());
        let parts: Vec<f64> = numbers.filter_map(|part| part.parse().ok()).take(3).collect();
        let linear = |part: f64| {
            let part = part / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055_f64).powf(2.4) }
        };
        0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2])
    };
    let of = |each: &Value| {
        let (a, b) = (luminance(&each[1]), luminance(&each[2]));
        (each[0].to_string(), (a.max(b) + 0.05) / (a.min(b) + 0.05))
    };
    colours.as_array().unwrap().iter().map(of).collect()
}

/// The middle of an element, once it is in the window.
#[track_caller]
fn middle(chromium: &mut Chromium, element: &str) -> (f64, f64) {
    let at = chromium.value(&format!(
        "(async () => {{ const e = {element}; \
         (e.closest('.plot') ?? e).scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
         await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); \
         const box = e.getBoundingClientRect(); \
         return [box.left + box.width / 2, box.top + box.height / 2]; }})()"
    ));
    (at[0].as_f64().unwrap(), at[1].as_f64().unwrap())
}

#[track_caller]
fn hover_shows_a_label(chromium: &mut Chromium) {
    let best = best_server();
    let charts = [
        ("file-3", ".barlayer .point path", best.as_str()),
        ("file-4", ".scatterlayer .trace .point", "% interval: "),
        ("file-5", ".scatterlayer .trace .point", "rate 5,000"),
        ("file-7", ".scatterlayer .trace .point", "250 idle"),
    ];
    for (section, mark, says) in charts {
        let marks = format!("document.querySelectorAll('#{section} {mark}')");
        // Bars are drawn from below: the last of the first chart is the best server's.
        let element = match section {
            "file-3" => {
                format!("[...{marks}[0].closest('.barlayer').querySelectorAll('path')].at(-1)")
            }
            _ => format!("{marks}[0]"),
        };
        let (x, y) = middle(chromium, &element);
        chromium.pointer("mouseMoved", x - 1.0, y);
        chromium.pointer("mouseMoved", x, y);
        chromium.wait_until(&format!(
            "[...document.querySelectorAll('#{section} .hoverlayer .hovertext')]\
             .some((e) => e.textContent.includes({}))",
            json!(says)
        ));
    }
}

/// Of the comparison's first scenario.
fn best_server() -> String {
    let text = fs::read(fixtures::comparison()).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let entries = file["scenarios"][0]["entries"].as_array().unwrap();
    let rate = |entry: &&Value| entry["medians"]["throughput_rps"].as_f64().unwrap();
    let servers = entries.iter().filter(|entry| entry["server"] != "floor");
    let best = servers.max_by(|one, two| rate(one).total_cmp(&rate(two))).unwrap();
    best["server"].as_str().unwrap().to_owned()
}

#[track_caller]
fn the_legend_hides_a_series(chromium: &mut Chromium) {
    let plot = "document.getElementById('f4-throughput')";
    let shown = format!("{plot}.querySelectorAll('.scatterlayer .trace').length");
    let before = chromium.value(&shown).as_u64().unwrap();
    let (x, y) = middle(chromium, &format!("{plot}.querySelector('.legendtoggle')"));
    for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
        chromium.pointer(kind, x, y);
    }
    // Its line, and the law that was fitted to it.
    chromium.wait_until(&format!("{shown} === {}", before - 2));
    let hidden = chromium.value(&format!(
        "{plot}.data.filter((t) => t.visible === 'legendonly').map((t) => t.name)"
    ));
    assert_eq!(hidden, json!(["threads", "threads"]));
}

#[track_caller]
fn the_axis_can_be_switched(chromium: &mut Chromium) {
    let button = "document.querySelector('[data-switch=\"f0-latency\"]')";
    let axis = "document.getElementById('f0-latency').layout.yaxis.type";
    assert_eq!(chromium.value(axis), "log");
    chromium.value(&format!("{button}.click()"));
    chromium.wait_until(&format!("{axis} === 'linear'"));
    chromium.value(&format!("{button}.click()"));
    chromium.wait_until(&format!("{axis} === 'log'"));
}

/// The page and its charts change, and what was hidden stays hidden.
#[track_caller]
fn the_theme_can_be_switched(chromium: &mut Chromium, from: &str) {
    let colours = "[getComputedStyle(document.body).backgroundColor, \
                   document.getElementById('f4-throughput').data[1].line.color].join()";
    let before = chromium.value(colours);
    let expected = if from == "dark" { "rgb(18, 22, 28)" } else { "rgb(255, 255, 255)" };
    assert!(before.as_str().unwrap().starts_with(expected), "{before} in {from}");
    chromium.value("document.getElementById('theme').click()");
    chromium.wait_until(&format!(
        "({colours}).split('#').every((part, n) => part !== {before}.split('#')[n])"
    ));
    let hidden = "document.getElementById('f4-throughput').data.filter((t) => \
                  t.visible === 'legendonly').length";
    assert_eq!(chromium.value(hidden), 2);
}

/// It asked for itself, for nothing else, and nobody complained.
#[track_caller]
fn is_alone(chromium: &Chromium, page: &Path) {
    let asked: Vec<String> =
        chromium.requested().into_iter().filter(|url| !url.starts_with("data:")).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("file://"), "{asked:?}");
    assert!(asked[0].ends_with(page.file_name().unwrap().to_str().unwrap()), "{asked:?}");
    assert!(chromium.complaints().is_empty(), "{:#?}", chromium.complaints());
}
