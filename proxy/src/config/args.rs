//! The flags of `tideover serve` for clap, built from the table.

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

use super::{Flag, Sources, THEMES, flags};

/// The flags as they were given on the command line. clap takes any text; what [`Args::sources`] gives judges it.
#[derive(Clone, Debug, Default)]
pub struct Args {
    pub(super) given: Vec<(&'static str, String)>,
}

impl Args {
    /// These flags and the process's environment; one of them may name a file.
    #[must_use]
    pub fn sources(self) -> Sources {
        Sources { flags: self.given, env: std::env::vars_os().collect() }
    }
}

impl clap::Args for Args {
    fn augment_args(mut command: Command) -> Command {
        for theme in &THEMES {
            command = command.args(theme.flags.iter().map(|flag| arg(flag).help_heading(theme.heading)));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(flag: &'static Flag) -> Arg {
    Arg::new(flag.name)
        .long(flag.name)
        .value_name(flag.kind.placeholder())
        .action(if flag.kind.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(format!("{} [{}]", flag.summary, flag.default))
        .long_help(flag.long_help())
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for flag in flags() {
            let values = matches.get_many::<String>(flag.name).into_iter().flatten();
            self.given.extend(values.map(|value| (flag.name, value.clone())));
        }
        Ok(())
    }
}
