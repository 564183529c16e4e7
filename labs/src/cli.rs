//! The command line: asks, runs, shows, keeps.
//!
//! 0: in shape. 1: not, or it failed. 2: the command line is wrong, or there is nobody to ask. 130:
//! interrupted.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use clap::Parser;
use loadtest::commands::{EXIT_INTERRUPTED, EXIT_USAGE};
use loadtest::compare::bench::build_servers;
use loadtest::environment::Environment;
use loadtest::share::Interrupt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::bench::{Bench, LabError};
use crate::lab::{Lab, Round, Setting};
use crate::labs::LABS;
use crate::outcome::{About, Outcome, judge};
use crate::results::Results;
use crate::show;

/// In place of a lab's name.
const ALL: &str = "all";

/// The book's labs: predict, run, explain, change one knob
#[derive(Debug, Parser)]
#[command(name = "cargo lab", version, after_help = "Without a name: the list of labs.")]
struct Args {
    /// A lab, or `all`, which asks nothing
    name: Option<String>,
    /// Your prediction, a letter; without it, you are asked
    #[arg(long, value_name = "LETTER")]
    answer: Option<char>,
    /// Another setting of the lab's knob
    #[arg(long, value_name = "VALUE")]
    knob: Option<String>,
    /// With `all`: every setting of every knob, in place of the first
    #[arg(long)]
    knobs: bool,
    /// Add the outcome to this file of results
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// ... as a part of the run with this number, of which the file may have several
    #[arg(long, value_name = "N", default_value_t = 1, requires = "json",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    run: u32,
    /// Where the servers' binaries are [default: where this program is, built anew by cargo]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// A command line that cannot be carried out, in one line.
struct Usage(String);

/// Does what the command line says.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => return usage(&Usage(one_line(&error))),
    };
    match chosen(&args) {
        Ok(Chosen::List) => {
            print(&show::list(&LABS));
            ExitCode::SUCCESS
        }
        Ok(Chosen::All) => finished(all(&args)),
        Ok(Chosen::One(lab, setting)) => match answer(&args, lab) {
            Ok(answer) => finished(one(&args, lab, setting, answer)),
            Err(wrong) => usage(&wrong),
        },
        Err(wrong) => usage(&wrong),
    }
}

enum Chosen {
    List,
    All,
    One(&'static Lab, &'static Setting),
}

/// What the command line asks for, checked before anything is built or run.
fn chosen(args: &Args) -> Result<Chosen, Usage> {
    let Some(name) = args.name.as_deref() else { return Ok(Chosen::List) };
    if let Some(path) = &args.json {
        Results::read(path).map_err(|error| Usage(format!("{error:#}")))?;
    }
    if name == ALL {
        let one = args.knob.is_some() || args.answer.is_some();
        let wrong =
            || Usage("`all` asks nothing, and turns knobs by --knobs: name a lab".to_owned());
        return if one { Err(wrong()) } else { Ok(Chosen::All) };
    }
    if args.knobs {
        return Err(Usage("--knobs is for `all`: give --knob VALUE".to_owned()));
    }
    let known = || LABS.each_ref().map(|lab| lab.name).join(", ");
    let lab = LABS
        .iter()
        .find(|lab| lab.name == name)
        .ok_or_else(|| Usage(format!("there is no lab `{name}`; there are {}", known())))?;
    let setting = lab.setting(args.knob.as_deref()).ok_or_else(|| {
        let values: Vec<&str> = lab.knob.settings.iter().map(|setting| setting.value).collect();
        Usage(format!("--knob of {name} ({}) is one of {}", lab.knob.what, values.join(", ")))
    })?;
    Ok(Chosen::One(lab, setting))
}

/// The prediction: given, or asked for. A knob is turned by somebody who has seen the answer.
fn answer(args: &Args, lab: &Lab) -> Result<Option<char>, Usage> {
    let letters = || lab.letters().map(String::from).collect::<Vec<_>>().join(", ");
    let is_choice = |letter: char| lab.letters().any(|known| known == letter);
    if let Some(letter) = args.answer {
        if is_choice(letter) {
            print(&show::question(lab));
            return Ok(Some(letter));
        }
        return Err(Usage(format!("--answer {letter} is no choice: {}", letters())));
    }
    if args.knob.is_some() {
        return Ok(None);
    }
    if !io::stdin().is_terminal() {
        let wanted =
            format!("{} wants your answer first: --answer, one of {}", lab.name, letters());
        return Err(Usage(wanted));
    }
    print(&show::question(lab));
    loop {
        print(&format!("\n  Your answer ({}): ", letters()));
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(1..) => {}
            _ => return Err(Usage("no answer".to_owned())),
        }
        let mut letters = line.trim().chars();
        if let (Some(letter), None) = (letters.next(), letters.next())
            && is_choice(letter.to_ascii_lowercase())
        {
            return Ok(Some(letter.to_ascii_lowercase()));
        }
    }
}

fn one(
    args: &Args,
    lab: &Lab,
    setting: &Setting,
    answer: Option<char>,
) -> anyhow::Result<ExitCode> {
    let runner = Runner::new(args)?;
    let outcome = runner.run(lab, setting)?;
    match &outcome {
        Some(outcome) => print(&show::outcome(lab, setting, outcome, answer)),
        None => eprintln!("lab: interrupted before a round was measured whole"),
    }
    Ok(runner.ended(outcome.is_some_and(|outcome| outcome.in_shape)))
}

fn all(args: &Args) -> anyhow::Result<ExitCode> {
    let runner = Runner::new(args)?;
    let mut outcomes = Vec::new();
    let settings = |lab: &'static Lab| {
        let first = lab.knob.settings.iter().take(if args.knobs { usize::MAX } else { 1 });
        first.map(move |setting| (lab, setting))
    };
    let planned: Vec<_> = LABS.iter().flat_map(settings).collect();
    for (lab, setting) in &planned {
        print(&format!("\n{} --knob {}: {}\n", lab.name, setting.value, lab.title));
        match runner.run(lab, setting) {
            Ok(outcome) => {
                outcomes.extend(outcome.inspect(|outcome| print(&show::short(lab, outcome))));
            }
            // The others may well be measured.
            Err(error) => eprintln!("lab: {}: {error:#}", lab.name),
        }
        if runner.interrupt.is_triggered() {
            break;
        }
    }
    print(&format!("\n{}", show::summary(&outcomes, planned.len())));
    let in_shape = outcomes.iter().filter(|outcome| outcome.in_shape).count();
    Ok(runner.ended(in_shape == planned.len()))
}

/// Runs labs, and keeps what comes of them.
struct Runner<'a> {
    args: &'a Args,
    bin_dir: PathBuf,
    interrupt: Interrupt,
    environment: Environment,
}

impl<'a> Runner<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        build_servers(args.bin_dir.as_deref())?;
        raise_descriptor_limit();
        let beside = || Ok::<_, io::Error>(std::env::current_exe()?.with_file_name(""));
        let bin_dir = match &args.bin_dir {
            Some(directory) => directory.clone(),
            None => beside().context("cannot tell where this program is: give --bin-dir")?,
        };
        // From now on the first signal ends what is under way, and the second the program.
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_default(signal, interrupt.flag())
                .and_then(|_| signal_hook::flag::register(signal, interrupt.flag()))
                .context("cannot handle signals")?;
        }
        Ok(Self { args, bin_dir, interrupt, environment: Environment::look() })
    }

    /// What came of the rounds that were measured whole; nothing where there is none.
    fn run(&self, lab: &Lab, setting: &Setting) -> anyhow::Result<Option<Outcome>> {
        let (began, now) = (Instant::now(), SystemTime::now());
        let (mut rounds, mut warnings): (Vec<Round>, Vec<String>) = Default::default();
        for number in 1..=lab.rounds {
            eprintln!("  round {number} of {}", lab.rounds);
            let bench = Bench::new(self.bin_dir.clone(), &self.interrupt, number.into());
            match (lab.experiment)(&bench, setting.value) {
                Ok(round) => rounds.push(round),
                Err(LabError::Interrupted) => break,
                Err(error) => return Err(error.into()),
            }
            let doubts = bench.into_warnings().into_iter();
            warnings.extend(doubts.map(|doubt| format!("round {number}: {doubt}")));
        }
        let about = About {
            date: humantime::format_rfc3339_seconds(now).to_string(),
            took_s: began.elapsed().as_secs_f64(),
            warnings,
        };
        let outcome = judge(lab, setting, &rounds, about);
        if let (Some(path), Some(outcome)) = (&self.args.json, &outcome) {
            Results::keep(path, self.args.run, &self.environment, outcome.clone())?;
        }
        Ok(outcome)
    }

    fn ended(&self, in_shape: bool) -> ExitCode {
        match (self.interrupt.is_triggered(), in_shape) {
            (true, _) => ExitCode::from(EXIT_INTERRUPTED),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::FAILURE,
        }
    }
}

/// A thousand connections are more open files than a shell commonly allows, and no more than it may
/// allow. Where they are too many even so, the lab says it.
fn raise_descriptor_limit() {
    const ENOUGH: u64 = 4096;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < ENOUGH) {
        let raised = maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
}

fn finished(ended: anyhow::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        eprintln!("lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn usage(wrong: &Usage) -> ExitCode {
    eprintln!("lab: {} (see cargo lab --help)", wrong.0);
    ExitCode::from(EXIT_USAGE)
}

/// Of clap's message: what is wrong, and what would be right.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// To standard output; a reader that went away is no error.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
