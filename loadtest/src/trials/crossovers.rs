//! The crossovers: at how many connections, at which share of blocking work, from which size on one
//! model becomes the better choice, or the choice ceases to matter.
//!
//! Two contenders are put side by side at a few points of one parameter. Their ratio is measured at
//! each; where it passes the level of the question lies in between, and is sought on a logarithmic
//! scale, on which the points are spread evenly. Points further out than the last one on this side of
//! the level do not speak for it: noise around the level moves the crossing out, never in.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::report::{Figure, Measured, Ratio};
use super::{Cores, Trial};
use crate::compare::grid::{Grid, NOTHING, Row, Tone, ratio};
use crate::compare::table::mark;
use crate::process::{Contender, EPOLL, GRPC, POOL, TASKS, THREADS};
use crate::statistics::random::Random;
use crate::statistics::{CONFIDENCE, Interval, bootstrap, median};

/// Name and version of the schema.
pub const CROSSOVERS_SCHEMA: &str = "quintet/crossovers/1";

/// As many as make the bounds' own randomness small beside their width.
const RESAMPLES: usize = 4_000;
/// One for all: an interval is a function of what was measured.
const SEED: u64 = 0x5eed;

/// On which side of the level the ratio begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// Above it, and it falls below.
    Falls,
    /// Below it, and it rises above.
    Rises,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What the parameter is, and in which unit.
    pub parameter: &'static str,
    /// What is asked, in one sentence that the crossing completes.
    pub asks: &'static str,
    /// Of the second contender's requests per second, as a part of the first one's.
    pub level: f64,
    /// From where the ratio comes.
    pub course: Course,
    /// The parameter, growing, and the load; the contenders are the same two at each.
    pub points: &'static [(f64, Trial)],
}

/// The points of a question, each with a name of its own.
macro_rules! along {
    ($question:literal: $($x:literal => $trial:expr),+ $(,)?) => {
        &[$(($x as f64, Trial { name: concat!($question, ", ", $x), ..$trial })),+]
    };
}

/// With one core for the server, so that neither contender has more of them than the other.
const fn work(work: &'static str, connections: usize, contenders: &'static [Contender]) -> Trial {
    Trial { work, cores: Cores::Apart, ..Trial::echo("", connections, 1, contenders) }
}

const fn echo(connections: usize, contenders: &'static [Contender]) -> Trial {
    work("echo:64", connections, contenders)
}

/// It carries out on itself what takes time.
const BLOCKING_LOOP: Contender = EPOLL.with("epoll, offload off", &["--offload=off"]);
const POOL_16: Contender = POOL.with("pool, 16 workers", &["--workers=16"]);

const LOOP_AND_THREADS: &[Contender] = &[EPOLL, THREADS];
const BLOCKING_LOOP_AND_THREADS: &[Contender] = &[BLOCKING_LOOP, THREADS];
const POOL_AND_BLOCKING_LOOP: &[Contender] = &[POOL_16, BLOCKING_LOOP];
const TASKS_AND_POOL: &[Contender] = &[TASKS, POOL_16];
const INLINE_AND_OFFLOAD: &[Contender] = &[BLOCKING_LOOP, EPOLL];
const FRAMED_AND_GRPC: &[Contender] = &[EPOLL, GRPC];

/// All of them.
pub const QUESTIONS: &[Question] = &[
    Question {
        name: "threads",
        parameter: "connections",
        asks: "a thread per connection answers a fifth less than an event loop",
        level: 0.8,
        course: Course::Falls,
        points: along!("threads":
            1 => echo(1, LOOP_AND_THREADS),
            2 => echo(2, LOOP_AND_THREADS),
            4 => echo(4, LOOP_AND_THREADS),
            8 => echo(8, LOOP_AND_THREADS),
            16 => echo(16, LOOP_AND_THREADS),
            64 => echo(64, LOOP_AND_THREADS),
            256 => echo(256, LOOP_AND_THREADS),
            1024 => echo(1_024, LOOP_AND_THREADS),
        ),
    },
    Question {
        name: "blocking-share",
        parameter: "% of requests that block for 1 ms",
        asks: "a loop that blocks answers less than a pool of 16 workers",
        level: 1.0,
        course: Course::Falls,
        points: along!("blocking-share":
            0.03 => work("echo:64=9997,block:1ms=3", 64, POOL_AND_BLOCKING_LOOP),
            0.1 => work("echo:64=999,block:1ms=1", 64, POOL_AND_BLOCKING_LOOP),
            0.3 => work("echo:64=997,block:1ms=3", 64, POOL_AND_BLOCKING_LOOP),
            1 => work("echo:64=99,block:1ms=1", 64, POOL_AND_BLOCKING_LOOP),
            3 => work("echo:64=97,block:1ms=3", 64, POOL_AND_BLOCKING_LOOP),
            10 => work("echo:64=9,block:1ms=1", 64, POOL_AND_BLOCKING_LOOP),
        ),
    },
    Question {
        name: "workers",
        parameter: "clients that each wait for 10 ms",
        asks: "a pool of 16 workers answers a fifth less than tasks, which have no such number",
        level: 0.8,
        course: Course::Falls,
        points: along!("workers":
            4 => work("wait:10ms", 4, TASKS_AND_POOL),
            8 => work("wait:10ms", 8, TASKS_AND_POOL),
            16 => work("wait:10ms", 16, TASKS_AND_POOL),
            24 => work("wait:10ms", 24, TASKS_AND_POOL),
            32 => work("wait:10ms", 32, TASKS_AND_POOL),
            64 => work("wait:10ms", 64, TASKS_AND_POOL),
        ),
    },
    Question {
        name: "offload",
        parameter: "hashes of a request",
        asks: "to hand the work to another thread costs less than a fifth",
        level: 0.8,
        course: Course::Rises,
        points: along!("offload":
            10 => work("compute:10", 64, INLINE_AND_OFFLOAD),
            30 => work("compute:30", 64, INLINE_AND_OFFLOAD),
            100 => work("compute:100", 64, INLINE_AND_OFFLOAD),
            300 => work("compute:300", 64, INLINE_AND_OFFLOAD),
            1000 => work("compute:1000", 64, INLINE_AND_OFFLOAD),
            3000 => work("compute:3000", 64, INLINE_AND_OFFLOAD),
        ),
    },
    Question {
        name: "no-matter",
        parameter: "hashes of a request",
        asks: "threads and an event loop are within a tenth of each other",
        level: 0.9,
        course: Course::Rises,
        points: along!("no-matter":
            1 => work("compute:1", 64, BLOCKING_LOOP_AND_THREADS),
            10 => work("compute:10", 64, BLOCKING_LOOP_AND_THREADS),
            30 => work("compute:30", 64, BLOCKING_LOOP_AND_THREADS),
            100 => work("compute:100", 64, BLOCKING_LOOP_AND_THREADS),
            300 => work("compute:300", 64, BLOCKING_LOOP_AND_THREADS),
            1000 => work("compute:1000", 64, BLOCKING_LOOP_AND_THREADS),
            3000 => work("compute:3000", 64, BLOCKING_LOOP_AND_THREADS),
        ),
    },
    Question {
        name: "http2",
        parameter: "bytes of an echo",
        asks: "gRPC answers at least half as much as the framed event loop",
        level: 0.5,
        course: Course::Rises,
        points: along!("http2":
            64 => work("echo:64", 64, FRAMED_AND_GRPC),
            1024 => work("echo:1024", 64, FRAMED_AND_GRPC),
            4096 => work("echo:4096", 64, FRAMED_AND_GRPC),
            16384 => work("echo:16384", 64, FRAMED_AND_GRPC),
            65536 => work("echo:65536", 64, FRAMED_AND_GRPC),
            262_144 => work("echo:262144", 16, FRAMED_AND_GRPC),
        ),
    },
];

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrossoversResult {
    /// [`CROSSOVERS_SCHEMA`].
    pub schema: String,
    /// The answers.
    pub crossovers: Vec<Crossover>,
    /// What was measured, and on what.
    #[serde(flatten)]
    pub measured: Measured,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossover {
    /// The question's name.
    pub name: String,
    /// What the parameter is.
    pub parameter: String,
    /// What is so beyond the crossing.
    pub asks: String,
    /// The ratio at the crossing.
    pub level: f64,
    /// From where the ratio comes.
    pub course: Course,
    /// Who, and against whom.
    pub contenders: [String; 2],
    /// Where it lies.
    pub place: Place,
    /// The parameter at the crossing, clamped to what was measured. A bound that is an end of what was
    /// measured may lie beyond it.
    pub at: Interval,
    /// The ratio at each point.
    pub points: Vec<Point>,
}

/// Where a crossing lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before the first point: it was so at all of them.
    Before,
    /// Between two points.
    Between,
    /// Beyond the last point: it was so at none.
    Beyond,
}

/// One point of the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The parameter.
    pub x: f64,
    /// The second contender's requests per second, as a part of the first one's.
    pub ratio: Ratio,
}

impl CrossoversResult {
    /// The answers that `measured` allows: a question of which a point is missing has none.
    pub fn of(measured: Measured) -> Self {
        let crossovers = QUESTIONS.iter().filter_map(|asked| answer(asked, &measured)).collect();
        Self { schema: CROSSOVERS_SCHEMA.to_owned(), crossovers, measured }
    }

    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

/// The ratios of one point, block by block.
struct Ratios {
    x: f64,
    values: Vec<f64>,
}

fn answer(question: &Question, measured: &Measured) -> Option<Crossover> {
    let (mut points, mut all, mut names) = (Vec::new(), Vec::new(), None);
    for (x, trial) in question.points {
        let [first, second] = measured.trial(trial.name)?.entries.as_slice() else { return None };
        let ratio = Ratio::of(Figure::Throughput, second, first)?;
        points.push(Point { x: *x, ratio });
        all.push(Ratios { x: *x, values: Ratio::each(Figure::Throughput, second, first) });
        names = Some([first.server.clone(), second.server.clone()]);
    }
    let (place, at) = crossing(&all, question.level, question.course)?;
    Some(Crossover {
        name: question.name.to_owned(),
        parameter: question.parameter.to_owned(),
        asks: question.asks.to_owned(),
        level: question.level,
        course: question.course,
        contenders: names?,
        place,
        at,
        points,
    })
}

/// Where the medians cross, and the bootstrap interval of that; nothing without any values.
fn crossing(points: &[Ratios], level: f64, course: Course) -> Option<(Place, Interval)> {
    let middles: Option<Vec<_>> =
        points.iter().map(|point| Some((point.x, median(point.values.iter().copied())?))).collect();
    let (place, estimate) = cross(&middles?, level, course)?;
    let mut random = Random::new(SEED);
    let mut resample = || {
        let mut of = |point: &Ratios| {
            let values =
                (0..point.values.len()).map(|_| point.values[random.below(point.values.len())]);
            (point.x, median(values).unwrap_or(f64::NAN))
        };
        let middles: Vec<_> = points.iter().map(&mut of).collect();
        cross(&middles, level, course).map(|(_, at)| (at, 1))
    };
    let resampled: Vec<_> = (0..RESAMPLES).filter_map(|_| resample()).collect();
    let fewest = points.iter().map(|point| point.values.len()).min()?;
    let interval = bootstrap::interval(estimate, resampled.into_iter(), fewest, CONFIDENCE)?;
    Some((place, interval))
}

/// Between the last point on this side of the level and the next.
fn cross(points: &[(f64, f64)], level: f64, course: Course) -> Option<(Place, f64)> {
    let distance = |ratio: f64| match course {
        Course::Falls => ratio - level,
        Course::Rises => level - ratio,
    };
    let Some(last) = points.iter().rposition(|(_, ratio)| distance(*ratio) > 0.0) else {
        return Some((Place::Before, points.first()?.0));
    };
    let (x, ratio) = points[last];
    let Some((next_x, next_ratio)) = points.get(last + 1) else {
        return Some((Place::Beyond, x));
    };
    let (here, there) = (distance(ratio), distance(*next_ratio));
    let part = here / (here - there);
    Some((Place::Between, (x.ln() + part * (next_x.ln() - x.ln())).exp()))
}

const LEGEND: &str = "The first point beyond which it is so at all points measured, by the medians of \
    ratios of interleaved blocks, between the points on a logarithmic scale, with its 95 % bootstrap \
    interval; a bound that is the first or last point may lie beyond it.";

fn grid(result: &CrossoversResult) -> Grid {
    let mut grid = Grid::new("from where on", &["parameter", "crossing", "interval"]);
    grid.rows.extend(result.crossovers.iter().map(|found| Row {
        name: found.asks.clone(),
        cells: vec![found.parameter.clone(), found.crossing(), found.interval()],
        tone: Tone::Plain,
    }));
    grid
}

fn points(found: &Crossover) -> Grid {
    let [first, second] = &found.contenders;
    let mut grid = Grid::new("", &[&found.parameter, &format!("{second} of {first}, requests/s")]);
    grid.rows.extend(found.points.iter().map(|Point { x, ratio: of }| Row {
        name: found.name.clone(),
        cells: vec![shown(*x), format!("{}{}", mark(of.bound), ratio(Some(of.value), of.interval))],
        tone: Tone::Faint,
    }));
    grid
}

impl Crossover {
    /// The crossing, as a table shows it.
    pub fn crossing(&self) -> String {
        match self.place {
            Place::Before => format!("below {}", shown(self.at.estimate)),
            Place::Between => shown(self.at.estimate),
            Place::Beyond => format!("above {}", shown(self.at.estimate)),
        }
    }

    /// Its bounds.
    pub fn interval(&self) -> String {
        if self.at.low < self.at.high {
            return format!("{}–{}", shown(self.at.low), shown(self.at.high));
        }
        NOTHING.to_owned()
    }
}

/// Two digits say all that is known, and whole numbers have no point.
fn shown(x: f64) -> String {
    match x {
        x if x < 1.0 => format!("{x:.2}"),
        x if x < 10.0 && x.fract() != 0.0 => format!("{x:.1}"),
        _ => format!("{x:.0}"),
    }
}

/// For a terminal.
pub fn terminal(result: &CrossoversResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, result);
    out
}

fn write_terminal(out: &mut String, result: &CrossoversResult) -> std::fmt::Result {
    for found in &result.crossovers {
        points(found).terminal(out)?;
        writeln!(out)?;
    }
    grid(result).terminal(out)?;
    writeln!(out, "\n{LEGEND}")?;
    result.measured.end_terminal(out)
}

/// As Markdown, with what it was measured on.
pub fn markdown(result: &CrossoversResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, result);
    out
}

fn write_markdown(out: &mut String, result: &CrossoversResult) -> std::fmt::Result {
    grid(result).markdown(out)?;
    for found in &result.crossovers {
        points(found).markdown(out)?;
    }
    writeln!(out, "{LEGEND}\n")?;
    result.measured.end_markdown(out)
}

/// Whether each server passes before it is measured is asked of these.
pub fn servers() -> impl Iterator<Item = Contender> {
    let trials = QUESTIONS.iter().flat_map(|question| question.points).map(|(_, trial)| trial);
    let mut all: Vec<Contender> = trials.flat_map(|trial| trial.contenders).copied().collect();
    all.sort_by_key(|contender| contender.name);
    all.dedup();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured(points: &[(f64, &[f64])]) -> Vec<Ratios> {
        points.iter().map(|(x, values)| Ratios { x: *x, values: values.to_vec() }).collect()
    }

    #[test]
    fn the_questions_are_well_formed() {
        for Question { name, points, .. } in QUESTIONS {
            assert!(points.len() > 3, "{name}");
            assert!(points.windows(2).all(|two| two[0].0 < two[1].0), "{name}: grows");
            assert!(points.iter().all(|(x, _)| *x > 0.0), "{name}: has a logarithm");
            let two = points[0].1.contenders;
            assert!(points.iter().all(|(_, trial)| trial.contenders == two), "{name}");
            assert_eq!(two.len(), 2, "{name}");
        }
        let mut names: Vec<_> =
            QUESTIONS.iter().flat_map(|asked| asked.points).map(|(_, trial)| trial.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "a name twice");
    }

    #[test]
    fn it_lies_between_the_points_on_a_logarithmic_scale() {
        let points = [(1.0, 1.0), (10.0, 0.9), (1_000.0, 0.7)];
        let (place, at) = cross(&points, 0.8, Course::Falls).unwrap();
        assert_eq!(place, Place::Between);
        assert!((at - 100.0).abs() < 1e-9, "{at}");
        let risen = points.map(|(x, ratio)| (x, 1.6 - ratio));
        assert_eq!(cross(&risen, 0.8, Course::Rises).unwrap().0, Place::Between);
    }

    #[test]
    fn outside_what_was_measured_it_is_not_guessed() {
        let points = [(2.0, 0.7), (4.0, 0.6)];
        assert_eq!(cross(&points, 0.8, Course::Falls), Some((Place::Before, 2.0)));
        assert_eq!(cross(&points, 0.5, Course::Falls), Some((Place::Beyond, 4.0)));
        assert_eq!(cross(&points, 0.5, Course::Rises), Some((Place::Before, 2.0)));
        assert_eq!(cross(&[], 0.5, Course::Rises), None);
    }

    #[test]
    fn what_comes_back_to_this_side_has_not_crossed_yet() {
        let points = [(1.0, 1.0), (2.0, 0.7), (4.0, 0.9), (8.0, 0.7)];
        let (_, at) = cross(&points, 0.8, Course::Falls).unwrap();
        assert!((4.0..8.0).contains(&at), "{at}");
    }

    #[test]
    fn noise_around_the_level_widens_the_interval() {
        let quiet = [(1.0, &[1.0; 7][..]), (10.0, &[0.9; 7]), (100.0, &[0.5; 7])];
        let (_, quiet) = crossing(&measured(&quiet), 0.8, Course::Falls).unwrap();
        assert!(quiet.high - quiet.low < 1e-9, "{quiet:?}");
        let spread = [0.7, 0.75, 0.85, 0.9, 0.95, 1.0, 1.1];
        let noisy = [(1.0, &[1.0; 7][..]), (10.0, &spread), (100.0, &[0.5; 7])];
        let (_, noisy) = crossing(&measured(&noisy), 0.8, Course::Falls).unwrap();
        assert!(noisy.low < noisy.estimate && noisy.estimate < noisy.high, "{noisy:?}");
    }

    proptest! {
        #[test]
        fn it_is_always_within_what_was_measured(
            ratios in prop::collection::vec(0.01_f64..3.0, 1..8),
            level in 0.1_f64..2.0,
            falls in any::<bool>(),
        ) {
            let points: Vec<_> =
                ratios.iter().zip(0..).map(|(ratio, at)| (f64::powi(2.0, at), *ratio)).collect();
            let course = if falls { Course::Falls } else { Course::Rises };
            let (_, at) = cross(&points, level, course).unwrap();
            prop_assert!((1.0 - 1e-9..=points.last().unwrap().0 * (1.0 + 1e-9)).contains(&at));
        }
    }
}
