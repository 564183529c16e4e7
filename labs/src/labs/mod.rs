//! The labs, one file each, in the order in which the book has them.

mod blocked_loop;
mod churn;
mod fairness;
mod head_of_line;
mod hot_thread;
mod http2_frames;
mod idle_memory;
mod inline_compute;
mod missed_stall;
mod nagle;
mod overload;
mod pool_starvation;
mod slow_reader;

use crate::lab::Lab;

/// All of them.
pub static LABS: [Lab; 13] = [
    idle_memory::LAB,
    blocked_loop::LAB,
    pool_starvation::LAB,
    nagle::LAB,
    slow_reader::LAB,
    head_of_line::LAB,
    overload::LAB,
    missed_stall::LAB,
    inline_compute::LAB,
    churn::LAB,
    fairness::LAB,
    hot_thread::LAB,
    http2_frames::LAB,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Those of the book's chapter, and the one of its chapter on HTTP/2.
    const NAMES: [&str; 13] = [
        "idle-memory",
        "blocked-loop",
        "pool-starvation",
        "nagle",
        "slow-reader",
        "head-of-line",
        "overload",
        "missed-stall",
        "inline-compute",
        "churn",
        "fairness",
        "hot-thread",
        "http2-frames",
    ];

    #[test]
    fn all_are_there() {
        assert_eq!(LABS.each_ref().map(|lab| lab.name), NAMES);
    }

    #[test]
    fn each_is_whole() {
        for lab in &LABS {
            let name = lab.name;
            assert!((2..=5).contains(&lab.choices.len()), "{name}");
            assert!(lab.letters().any(|letter| letter == lab.right), "{name}");
            assert!(lab.question.ends_with('?') && lab.knob.ask.contains('?'), "{name}");
            assert!(!lab.why.is_empty() && !lab.varies.is_empty() && lab.rounds > 0, "{name}");
            assert!(lab.knob.settings.len() > 1, "{name}: nothing to turn");
            let values: BTreeSet<&str> =
                lab.knob.settings.iter().map(|setting| setting.value).collect();
            assert_eq!(values.len(), lab.knob.settings.len(), "{name}: a setting twice");
            assert!(lab.setting(Some("no such setting")).is_none());
        }
    }

    #[test]
    fn each_shape_is_one_of_ratios_that_are_explained() {
        for lab in &LABS {
            for setting in lab.knob.settings {
                assert!(!setting.shape.is_empty(), "{} {}", lab.name, setting.value);
                for expected in setting.shape {
                    let known = lab.ratio(expected.ratio).is_some();
                    assert!(known, "{}: {}", lab.name, expected.ratio);
                    assert!(0.0 <= expected.low && expected.low < expected.high, "{}", lab.name);
                }
            }
        }
    }

    /// The texts are of one paragraph: a break in the source is none in them.
    #[test]
    fn texts_are_words_with_one_space_between() {
        for lab in &LABS {
            let texts = [lab.question, lab.why, lab.varies, lab.knob.ask, lab.knob.what];
            for text in texts.into_iter().chain(lab.choices.iter().copied()) {
                assert!(!text.contains("  ") && !text.contains('\n'), "{}: {text}", lab.name);
                assert_eq!(text.trim(), text, "{}", lab.name);
            }
        }
    }
}
