//! The profiles that the program has in it: rule files, as anybody could write them. And `tideover profile`, which shows
//! them.

use std::process::ExitCode;

use clap::Subcommand;
use toml::de::DeTable;

/// A profile.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What `--profile` calls it.
    pub name: &'static str,
    /// Its rule file, TOML.
    pub text: &'static str,
}

macro_rules! profiles {
    ($($name:literal),*) => {
        [$(Profile { name: $name, text: include_str!(concat!("../profiles/", $name, ".toml")) }),*]
    };
}

/// All of them, by name.
pub static PROFILES: [Profile; 6] =
    profiles!["eth-subscribe", "graphql-transport-ws", "json-rpc", "mqtt", "ocpp", "socket.io"];

/// The profile of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The names of all, for a message.
#[must_use]
pub fn names() -> String {
    PROFILES.map(|profile| profile.name).join(", ")
}

impl Profile {
    /// What its file says of itself, in a line.
    #[must_use]
    pub fn description(&self) -> String {
        let table = DeTable::parse(self.text).ok();
        let description = table.as_ref().and_then(|table| table.get_ref().get("description"));
        description.and_then(|value| value.get_ref().as_str()).unwrap_or_default().to_owned()
    }
}

/// `tideover profile`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Name them all, each with a line about it
    List,
    /// Print the rule file of one, to be read, or changed and given to --profile as a path
    Show {
        /// Its name
        name: String,
    },
}

/// Obeys. The exit code is 2 if there is no such profile.
#[must_use]
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::List => {
            for profile in &PROFILES {
                println!("{:22}{}", profile.name, profile.description());
            }
            ExitCode::SUCCESS
        }
        Command::Show { name } => match named(name) {
            Some(profile) => {
                print!("{}", profile.text);
                ExitCode::SUCCESS
            }
            None => {
                eprintln!("tideover profile: there is no profile {name:?}, only {}", names());
                ExitCode::from(2)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_stand_in_the_order_of_their_names_and_say_what_they_are_for() {
        assert!(PROFILES.is_sorted_by_key(|profile| profile.name));
        for profile in &PROFILES {
            assert!((10..120).contains(&profile.description().len()), "{}", profile.name);
        }
    }
}
