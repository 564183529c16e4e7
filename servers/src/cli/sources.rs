//! Where a setting comes from: its flag, else its environment variable, else the file that
//! `--config` names, else its default.
//!
//! There is one list of settings, the flags, and one place where their values are checked, the
//! flags' own parsers: a file's value is put to them as if it were given as a flag, and then
//! becomes the flag's default.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::de::{DeTable, DeValue};

use super::EXIT_USAGE;
use crate::Model;

/// Many times what all settings and their comments take.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What all environment variables begin with: `--max-frame` is `QUINTET_MAX_FRAME`.
const ENVIRONMENT: &str = "QUINTET_";
/// Flags that are no settings of a server.
const NO_SETTINGS: [&str; 4] = ["config", "print_config", "help", "version"];

/// A setting that a file has, by the flag's name.
type FromFile = BTreeMap<String, Line>;

struct Line {
    text: String,
    /// `FILE:LINE`
    at: String,
}

/// Reads the settings of `model`'s binary; `A` flattens [`CommonArgs`](super::CommonArgs), and
/// `adjust` makes of the flags what the model has of its own. Leaves the process where they are
/// wrong (one line, exit code 2) or where something is to be shown.
pub fn parse<A: CommandFactory + FromArgMatches>(
    model: &Model,
    adjust: impl FnOnce(Command) -> Command,
) -> A {
    let flags = adjust(A::command())
        .name(model.name)
        .mut_arg("listen", |listen| listen.default_value(model.listen).required(false));
    let settled = settle(&flags).and_then(|(matches, file)| {
        if matches.get_flag("print_config") {
            print!("{}", printed(&flags, &matches, &file));
            std::process::exit(0);
        }
        A::from_arg_matches(&matches).map_err(|error| one_line(&error))
    });
    settled.unwrap_or_else(|message| {
        eprintln!("error: {message} (see {} --help)", model.name);
        std::process::exit(EXIT_USAGE.into());
    })
}

fn settle(flags: &Command) -> Result<(ArgMatches, FromFile), String> {
    let mut command = flags.clone().mut_args(|arg| {
        if arg.get_id() != "config" && NO_SETTINGS.contains(&arg.get_id().as_str()) {
            return arg;
        }
        let variable = variable(&arg);
        arg.env(variable).hide_env_values(true)
    });
    let mut matches = command.clone().try_get_matches().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => blamed(flags, &error),
    })?;
    let mut file = FromFile::new();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        file = read(flags, path)?;
        for (id, line) in &file {
            let text = line.text.clone();
            command = command.mut_arg(id, |arg| arg.default_value(text));
        }
        matches = command.try_get_matches().map_err(|error| one_line(&error))?;
    }
    fits_together(&matches)?;
    Ok((matches, file))
}

/// What no setting can know alone.
fn fits_together(matches: &ArgMatches) -> Result<(), String> {
    let address = |id| matches.get_one::<SocketAddr>(id).filter(|address| address.port() != 0);
    match (address("listen"), address("admin")) {
        (Some(listen), Some(admin)) if listen == admin => {
            Err(format!("--listen and --admin are both {admin}: give one of them another port"))
        }
        _ => Ok(()),
    }
}

fn variable(arg: &Arg) -> String {
    format!("{ENVIRONMENT}{}", arg.get_id().as_str().to_uppercase())
}

/// An error of clap's, which says whether the environment is to blame: without it, the same flags
/// are right.
fn blamed(flags: &Command, error: &clap::Error) -> String {
    match flags.clone().try_get_matches() {
        Ok(_) => format!("in the environment ({ENVIRONMENT}*): {}", one_line(error)),
        Err(_) => one_line(error),
    }
}

/// The first paragraph of clap's message: what is wrong, and what would be right.
fn one_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let paragraph = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = paragraph.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn read(flags: &Command, path: &Path) -> Result<FromFile, String> {
    let shown = path.display();
    let mut text = String::new();
    let opened = File::open(path).map(|file| file.take(FILE_BYTES_MAX + 1));
    opened
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| format!("--config: cannot read {shown}: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("--config: {shown} has more than {FILE_BYTES_MAX} bytes"));
    }
    let at = |offset: usize| {
        let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{shown}:{line}")
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        format!("{}: {}", at(offset), error.message().replace('\n', ", "))
    })?;
    let mut file = FromFile::new();
    for (key, value) in table.get_ref() {
        let line = at(key.span().start);
        let (arg, text) = checked(flags, key.get_ref(), value.get_ref())
            .map_err(|why| format!("{line}: {why}"))?;
        if let Some(first) = file.insert(arg.get_id().to_string(), Line { text, at: line.clone() })
        {
            return Err(format!("{line}: {} is set at {} already", key.get_ref(), first.at));
        }
    }
    Ok(file)
}

/// The setting that `key` names, and its value as a flag would give it.
fn checked<'a>(
    flags: &'a Command,
    key: &str,
    value: &DeValue<'_>,
) -> Result<(&'a Arg, String), String> {
    let arg = settings(flags).find(|arg| names(arg).contains(&key)).ok_or_else(|| {
        let known: Vec<_> = settings(flags).flat_map(names).collect();
        format!("{key} is no setting of {}; there are {}", flags.get_name(), known.join(", "))
    })?;
    let text = match value {
        DeValue::Integer(number) if is_number(arg) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            number.map_err(|error| format!("{key}: {error}"))?.to_string()
        }
        DeValue::String(text) if !is_number(arg) => text.to_string(),
        other => {
            let right = if is_number(arg) { "a number" } else { "a string, in quotes" };
            return Err(format!("{key}: it takes {right}, and this is {}", kind(other)));
        }
    };
    let flag = OsString::from(format!("--{key}={text}"));
    let given = flags.clone().try_get_matches_from([flags.get_name().into(), flag]);
    given.map_err(|error| one_line(&error).replace(&as_flag(flags, arg), key))?;
    Ok((arg, text))
}

/// The setting as clap's messages name it.
fn as_flag(flags: &Command, arg: &Arg) -> String {
    let mut built = flags.clone();
    built.build(); // without which clap does not know how many values a flag takes
    let shown = built.get_arguments().find(|built| built.get_id() == arg.get_id());
    shown.map_or_else(String::new, |shown| format!("'{shown}'"))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn settings(flags: &Command) -> impl Iterator<Item = &Arg> {
    flags.get_arguments().filter(|arg| !NO_SETTINGS.contains(&arg.get_id().as_str()))
}

fn names(arg: &Arg) -> Vec<&str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default()).collect()
}

/// Whether a file gives the setting without quotes.
fn is_number(arg: &Arg) -> bool {
    let value = arg.get_value_parser().type_id();
    let numbers = [TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<NonZeroUsize>()];
    numbers.iter().any(|number| value == *number)
}

/// The settings as they would be used, as a file that `--config` takes.
fn printed(flags: &Command, matches: &ArgMatches, file: &FromFile) -> String {
    let mut text = String::new();
    let by_name: BTreeMap<_, _> = settings(flags).map(|arg| (arg.get_long(), arg)).collect();
    for arg in by_name.into_values() {
        let id = arg.get_id().as_str();
        let key = arg.get_long().unwrap_or(id);
        let raw = matches.get_raw(id).and_then(|mut values| values.next());
        let Some(raw) = raw.map(|raw| raw.to_string_lossy()) else {
            let _ = writeln!(text, "# {key} is not set");
            continue;
        };
        let value = match raw.parse::<u64>() {
            Ok(number) if is_number(arg) => number.to_string(),
            _ => toml::Value::String(raw.into_owned()).to_string(),
        };
        let source = match (matches.value_source(id), file.get(id)) {
            (Some(ValueSource::CommandLine), _) => format!("--{key}"),
            (Some(ValueSource::EnvVariable), _) => variable(arg),
            (_, Some(line)) => line.at.clone(),
            (_, None) => "default".to_owned(),
        };
        let setting = format!("{key} = {value}");
        let _ = writeln!(text, "{setting:<40} # {source}");
    }
    text
}
