//! From blocks to medians, intervals and verdicts.
//!
//! Nothing here measures: the same blocks always give the same figures.

use super::beside::{Beside, Limited, bound};
use super::report::{Block, Bounds, Entry, Intervals, Medians};
use crate::cost::ServerCost;
use crate::process::FLOOR;
use crate::statistics::{Better, CONFIDENCE, bootstrap, median};

/// Fills in what follows from the blocks of servers that were measured side by side. `is_open`:
/// the rate was given, and the best is not the one with the highest throughput but the one with the
/// lowest p99.
pub fn evaluate(entries: &mut [Entry], is_open: bool) {
    for entry in entries.iter_mut() {
        entry.doubtful = !entry.blocks.iter().any(Block::is_trusted);
        alone(entry);
    }
    let floor = entries.iter().find(|entry| entry.server == FLOOR.name).cloned();
    let best = ranked(entries, is_open).first().copied().cloned();
    for entry in entries.iter_mut() {
        if let Some(floor) = &floor {
            let beside = Beside::of(entry, floor, throughput);
            entry.medians.of_floor = beside.ratio;
            entry.intervals.of_floor = beside.difference.ratio;
            entry.bounds.of_floor = beside.bound;
        }
        let Some(best) = best.as_ref().filter(|best| best.server != FLOOR.name) else { continue };
        let beside = Beside::of(entry, best, throughput);
        entry.medians.of_best = beside.ratio;
        entry.intervals.of_best = beside.difference.ratio;
        entry.bounds.of_best = beside.bound;
        let p99 = Beside::of(entry, best, p99);
        entry.intervals.latency_p99_of_best = p99.difference.ratio.filter(|_| is_open);
        let verdict =
            if is_open { p99.verdict(Better::Lower) } else { beside.verdict(Better::Higher) };
        let is_beside = entry.server != best.server && entry.server != FLOOR.name;
        entry.against_best = Some(verdict).filter(|_| is_beside);
    }
}

/// Those with blocks, the best first and the floor last; what is doubtful comes after what is not.
pub(crate) fn ranked(entries: &[Entry], is_open: bool) -> Vec<&Entry> {
    let place = |entry: &Entry| (entry.server == FLOOR.name, entry.doubtful);
    let figure = |entry: &Entry| {
        if is_open { entry.medians.latency_p99_us } else { -entry.medians.throughput_rps }
    };
    let mut ranked: Vec<&Entry> = entries.iter().filter(|entry| !entry.blocks.is_empty()).collect();
    ranked.sort_by(|a, b| place(a).cmp(&place(b)).then(figure(a).total_cmp(&figure(b))));
    ranked
}

/// What follows from the blocks of an entry by themselves.
fn alone(entry: &mut Entry) {
    let blocks = usable(&entry.blocks);
    let values = |value: &dyn Fn(&Block) -> Option<f64>| -> Vec<f64> {
        blocks.iter().copied().filter_map(value).collect()
    };
    let of = |value: &dyn Fn(&Block) -> Option<f64>| median(values(value));
    let server = |value: fn(&ServerCost) -> f64| of(&|block| block.run.server.as_ref().map(value));
    let cpu = |block: &Block| block.run.server.map(|cost| cost.cpu_us_per_request);
    let interval =
        |value: &dyn Fn(&Block) -> Option<f64>| bootstrap::of_median(&values(value), CONFIDENCE);
    let p50 = |block: &Block| Some(block.run.latency_us.p50);
    let rates = values(&|block| Some(throughput(block)));
    let throughput_rps = median(rates.iter().copied()).unwrap_or(0.0);
    let range = rates.iter().copied().fold(0.0, f64::max)
        - rates.iter().copied().fold(f64::INFINITY, f64::min);
    entry.intervals = Intervals {
        throughput_rps: interval(&|block| Some(throughput(block))),
        cpu_us_per_request: interval(&cpu),
        latency_p50_us: interval(&p50),
        latency_p99_us: interval(&|block| Some(p99(block))),
        ..Intervals::default()
    };
    let limited = blocks.iter().map(|block| Limited {
        value: throughput(block),
        may_be_more: block.is_tester_limited(),
        may_be_less: false,
    });
    entry.bounds =
        Bounds { throughput_rps: bound(&limited.collect::<Vec<_>>()), ..Bounds::default() };
    entry.medians = Medians {
        throughput_rps,
        throughput_spread: if throughput_rps > 0.0 { range / 2.0 / throughput_rps } else { 0.0 },
        of_floor: None,
        of_best: None,
        cpu_us_per_request: of(&cpu),
        cpu_user_us_per_request: server(|cost| cost.cpu_user_us_per_request),
        cpu_system_us_per_request: server(|cost| cost.cpu_system_us_per_request),
        rss_anon_bytes: server(|cost| cost.rss_anon_bytes as f64),
        pss_bytes: server(|cost| cost.pss_bytes as f64),
        threads: server(|cost| cost.threads as f64),
        context_switches_per_request: server(|cost| cost.context_switches_per_request),
        voluntary_switches_per_request: server(|cost| cost.voluntary_switches_per_request),
        involuntary_switches_per_request: server(|cost| cost.involuntary_switches_per_request),
        system_calls_per_request: of(&|block| block.system_calls_per_request),
        latency_p50_us: of(&p50).unwrap_or(0.0),
        latency_p99_us: of(&|block| Some(p99(block))).unwrap_or(0.0),
    };
}

pub(crate) fn throughput(block: &Block) -> f64 {
    block.run.throughput_rps
}

pub(crate) fn p99(block: &Block) -> f64 {
    block.run.latency_us.p99
}

/// The blocks that may be believed, or all where there are none.
pub(crate) fn usable(blocks: &[Block]) -> Vec<&Block> {
    let trusted: Vec<&Block> = blocks.iter().filter(|block| block.is_trusted()).collect();
    if trusted.is_empty() { blocks.iter().collect() } else { trusted }
}

/// What a reader of the figures of these entries should know.
pub fn warnings(name: &str, entries: &[Entry]) -> Vec<String> {
    let blocks_that = |is: &dyn Fn(&Block) -> bool| {
        let count = |entry: &Entry| match entry.blocks.iter().filter(|block| is(block)).count() {
            0 => None,
            count => Some(format!("{} {count}/{}", entry.server, entry.blocks.len())),
        };
        let counts: Vec<String> = entries.iter().filter_map(count).collect();
        (!counts.is_empty()).then(|| counts.join(", "))
    };
    let is_invalid = |block: &Block| !block.run.valid && !block.is_tester_limited();
    let mut warnings = Vec::new();
    if let Some(counts) = blocks_that(&|block| block.noisy) {
        warnings.push(format!("{name}: blocks in which other processes were busy: {counts}"));
    }
    if let Some(counts) = blocks_that(&Block::is_tester_limited) {
        warnings.push(format!(
            "{name}: blocks in which the load tester was the limit, so that the server could have \
             done more: {counts}; if cores are free, use more --threads"
        ));
    }
    if let Some(counts) = blocks_that(&is_invalid) {
        let first = entries.iter().flat_map(|entry| &entry.blocks).find(|block| is_invalid(block));
        let why = first.and_then(|block| block.run.warnings.first()).map_or("", String::as_str);
        warnings.push(format!("{name}: invalid blocks: {counts}; the first: {why}"));
    }
    if let Some(counts) = blocks_that(&|block| block.run.ok < block.run.planned) {
        warnings.push(format!("{name}: blocks in which requests failed: {counts}"));
    }
    let is_doubtful = |entry: &&Entry| entry.doubtful && !entry.blocks.is_empty();
    let doubtful: Vec<&str> =
        entries.iter().filter(is_doubtful).map(|entry| entry.server.as_str()).collect();
    if !doubtful.is_empty() {
        warnings.push(format!(
            "{name}: no block may be believed where figures have a !: {}",
            doubtful.join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compare::report::Bound;
    use crate::result::{ClientCost, Quantiles};
    use crate::statistics::Verdict;

    pub(crate) fn block(number: u64, throughput_rps: f64, noisy: bool) -> Block {
        let run = serde_json::json!({
            "schema": "", "target": "", "planned": 1, "ok": 1, "errors": {}, "timed_out": 0,
            "unsent": 0, "elapsed_s": 1.0, "throughput_rps": throughput_rps,
            "latency_us": Quantiles::default(), "service_us": Quantiles::default(),
            "send_lag_us": Quantiles::default(), "server": null,
            "client": ClientCost::default(), "valid": true, "warnings": [],
            "settings": { "connections": 1, "depth": 1, "rate_rps": null, "work": "",
                          "warmup_s": 0.0, "timeout_s": 1.0, "seed": 1 },
        });
        let run = serde_json::from_value(run).unwrap();
        Block { number, run, system_calls_per_request: None, noise_cores: 0.0, noisy }
    }

    /// In which the load tester was the limit.
    pub(crate) fn limited(number: u64, throughput_rps: f64) -> Block {
        let mut block = block(number, throughput_rps, false);
        block.run.valid = false;
        block.run.client.busy = 0.99;
        block
    }

    fn invalid(number: u64, throughput_rps: f64) -> Block {
        let mut block = block(number, throughput_rps, false);
        block.run.valid = false;
        block.run.warnings = vec!["the load tester stood still".to_owned()];
        block
    }

    pub(crate) fn entry(server: &str, rates: &[f64]) -> Entry {
        let blocks = (0..).zip(rates).map(|(number, rate)| block(number, *rate, false));
        Entry::new(server.to_owned(), blocks.collect())
    }

    fn evaluated(mut entries: Vec<Entry>, is_open: bool) -> Vec<Entry> {
        evaluate(&mut entries, is_open);
        entries
    }

    #[test]
    fn noise_stays_out_of_the_medians_and_of_the_pairs() {
        let blocks = vec![block(0, 50.0, false), block(1, 60.0, false), block(2, 1.0, true)];
        let floor = vec![block(0, 100.0, false), block(1, 10.0, true), block(2, 10.0, false)];
        let one = Entry::new("epoll".to_owned(), blocks.clone());
        let all = evaluated(vec![one.clone(), Entry::new(FLOOR.name.to_owned(), floor)], false);
        assert_eq!((all[0].medians.throughput_rps, all[0].medians.of_floor), (55.0, Some(0.5)));
        let floor = Entry::new(FLOOR.name.to_owned(), vec![block(4, 110.0, false)]);
        let unpaired = evaluated(vec![one.clone(), floor], false);
        assert_eq!(
            (unpaired[0].medians.of_floor, unpaired[0].intervals.of_floor),
            (Some(0.5), None)
        );
        let alone = evaluated(vec![one], false);
        assert_eq!((alone[0].medians.of_floor, alone[0].medians.of_best), (None, Some(1.0)));
    }

    #[test]
    fn invalid_blocks_stay_out_where_there_are_others() {
        let some = Entry::new("epoll".to_owned(), vec![block(0, 50.0, false), invalid(1, 9.0)]);
        let none = Entry::new("tasks".to_owned(), vec![invalid(0, 70.0), invalid(1, 90.0)]);
        let all = evaluated(vec![some, none], false);
        assert_eq!((all[0].medians.throughput_rps, all[0].doubtful), (50.0, false));
        assert_eq!((all[1].medians.throughput_rps, all[1].doubtful), (80.0, true));
        assert_eq!(ranked(&all, false)[0].server, "epoll", "what is doubtful is not the best");
        let doubted = |number, rps| {
            let mut block = invalid(number, rps);
            block.noisy = number % 2 == 0;
            block
        };
        let many = |name: &str, rps| {
            Entry::new(name.to_owned(), (0..7).map(|number| doubted(number, rps)).collect())
        };
        let none = evaluated(vec![many("epoll", 50.0), many("tasks", 90.0)], false);
        assert_eq!(none[0].against_best, Some(Verdict::TooFew), "bad blocks make no verdict");
        let warnings = warnings("echo", &all).join("\n");
        assert!(warnings.contains("invalid blocks: epoll 1/2, tasks 2/2; the first: the load"));
        assert!(warnings.contains("where figures have a !: tasks"), "{warnings}");
    }

    /// A tester that was the limit makes a lower bound, and is no reason to leave out the blocks in
    /// which the server was fast.
    #[test]
    fn a_limited_block_counts_as_a_lower_bound() {
        let mostly = vec![limited(0, 90.0), limited(1, 91.0), block(2, 80.0, false)];
        let seldom = vec![limited(0, 70.0), block(1, 60.0, false), block(2, 50.0, false)];
        let floor = Entry::new(FLOOR.name.to_owned(), mostly);
        let all = evaluated(vec![Entry::new("epoll".to_owned(), seldom), floor], false);
        assert_eq!((all[1].medians.throughput_rps, all[1].doubtful), (90.0, false));
        assert_eq!(all[1].bounds.throughput_rps, Bound::AtLeast);
        // The fast block is above the median anyway: whatever it might have been, 60 it is.
        assert_eq!(
            (all[0].medians.throughput_rps, all[0].bounds.throughput_rps),
            (60.0, Bound::Exact)
        );
        // 0.625 of a floor that is exact, 0.66 of one that is not, and both limited in the first.
        assert_eq!(all[0].bounds.of_floor, Bound::AtMost);
        let warnings = warnings("pipelined", &all).join("\n");
        assert!(warnings.contains("the load tester was the limit"), "{warnings}");
        assert!(warnings.contains("epoll 1/3, floor 2/3") && !warnings.contains("invalid"));
    }

    #[test]
    fn the_best_is_told_from_the_others_where_it_can_be() {
        let rates = [100.0, 103.0, 98.0, 101.0, 99.0, 102.0, 97.0];
        let times = |factor: f64| rates.map(|rate| rate * factor);
        let mut near = rates;
        near.rotate_left(1);
        let near = near.map(|rate| rate * 0.999);
        let entries = vec![
            entry("slow", &times(0.8)),
            entry("near", &near),
            entry("best", &rates),
            entry(FLOOR.name, &times(2.0)),
        ];
        let all = evaluated(entries.clone(), false);
        let verdicts: Vec<_> = all.iter().map(|entry| entry.against_best).collect();
        assert_eq!(verdicts, [Some(Verdict::Slower), Some(Verdict::Tie), None, None]);
        let of_floor = all[0].intervals.of_floor.unwrap();
        assert!((of_floor.estimate - 0.4).abs() < 1e-9 && of_floor.high - of_floor.low < 1e-9);
        let few: Vec<Entry> = entries
            .into_iter()
            .map(|entry| Entry::new(entry.server, entry.blocks[..3].to_vec()))
            .collect();
        assert_eq!(evaluated(few, false)[0].against_best, Some(Verdict::TooFew));
    }

    #[test]
    fn the_limit_of_the_tester_makes_no_difference_between_servers() {
        let all = |of_best: fn(u64) -> Block, of_other: fn(u64) -> Block| {
            let entry = |name: &str, of: fn(u64) -> Block| {
                Entry::new(name.to_owned(), (0..7).map(of).collect())
            };
            evaluated(vec![entry("other", of_other), entry("best", of_best)], false)[0].against_best
        };
        let (fast, slow) = (|n| block(n, 100.0, false), |n| block(n, 80.0, false));
        assert_eq!(all(fast, slow), Some(Verdict::Slower));
        assert_eq!(all(|n| limited(n, 100.0), slow), Some(Verdict::Slower));
        assert_eq!(all(fast, |n| limited(n, 80.0)), Some(Verdict::Tie));
    }

    #[test]
    fn in_the_open_loop_the_best_has_the_lowest_tail() {
        let with_p99 = |server: &str, us: f64| {
            let mut entry = entry(server, &[100.0; 7]);
            entry.blocks.iter_mut().for_each(|block| block.run.latency_us.p99 = us);
            entry
        };
        let all = evaluated(vec![with_p99("slow", 300.0), with_p99("fast", 200.0)], true);
        assert_eq!(all[0].intervals.latency_p99_of_best.map(|ratio| ratio.estimate), Some(1.5));
        assert_eq!(all[0].against_best, Some(Verdict::Slower));
        assert_eq!(all[0].medians.of_best, Some(1.0));
    }
}
