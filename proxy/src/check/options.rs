//! The command line of `tideover check`.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};
use tideover_protocol::rules::Kind;
use tideover_protocol::rules::model::Side;

use crate::config::{self, unhex};

/// What `tideover check` was told.
#[derive(Debug, Args)]
pub struct Options {
    /// As for serve.
    #[command(flatten)]
    pub(super) config: config::Args,
    /// The route whose rules the messages are tried with: its name, or its number from 1; not needed if there is one
    #[arg(long, value_name = "NAME", help_heading = "Samples")]
    pub(super) route: Option<String>,
    /// Whose messages these are
    #[arg(long, value_enum, default_value_t = From::Client, help_heading = "Samples")]
    pub(super) from: From,
    #[command(flatten)]
    pub(super) samples: Samples,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum From {
    /// The client.
    Client,
    /// A backend.
    Backend,
}

impl From {
    pub(super) fn side(self) -> Side {
        match self {
            Self::Client => Side::Client,
            Self::Backend => Side::Backend,
        }
    }
}

/// A message to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

/// The messages, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(pub(super) Vec<Sample>);

impl Args for Samples {
    fn augment_args(command: Command) -> Command {
        let arg = |name: &'static str, value: &'static str, help: &'static str| {
            let arg = Arg::new(name).long(name).value_name(value).action(ArgAction::Append);
            arg.allow_hyphen_values(true).help(help).help_heading("Samples")
        };
        let hex = arg("hex", "HEX", "A binary message, two hexadecimal digits a byte; repeatable");
        command.arg(arg("message", "TEXT", "A text message that the rules are tried with; repeatable")).arg(
            hex.value_parser(|text: &str| unhex(text).ok_or("not bytes of two hexadecimal digits each")),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Samples {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut samples = Self::default();
        samples.update_from_arg_matches(matches)?;
        Ok(samples)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        let texts = matches.get_many::<String>("message").into_iter().flatten();
        let texts = texts.map(|text| Sample { kind: Kind::Text, payload: text.clone().into_bytes() });
        let bytes = matches.get_many::<Vec<u8>>("hex").into_iter().flatten();
        let bytes = bytes.map(|payload| Sample { kind: Kind::Binary, payload: payload.clone() });
        let places = |name| matches.indices_of(name).into_iter().flatten();
        let mut all: Vec<_> = places("message").zip(texts).chain(places("hex").zip(bytes)).collect();
        all.sort_by_key(|(place, _)| *place);
        self.0.extend(all.into_iter().map(|(_, sample)| sample));
        Ok(())
    }
}
