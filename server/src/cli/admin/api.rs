//! The part that all commands of the admin API share: its address, and whether people or programs read the answer.

use std::fs::File;
use std::io::{Read, stdin};

use clap::Args;
use serde::Deserialize;

use super::client::{Answer, Client, Connection};
use crate::cli::Failed;
use crate::cli::print;
use crate::cli::ui::screen::{Screen, clean_json};

/// The admin API's bound for the body of any request but an import.
const BODY_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct Api {
    #[command(flatten)]
    connection: Connection,
    /// Print the API's answer as JSON, for programs; pages of a list are joined into one of the same form.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

impl Api {
    pub(in crate::cli) fn open(&self) -> Result<Client, Failed> {
        Client::open(&self.connection)
    }

    pub(in crate::cli) fn json(&self) -> bool {
        self.json
    }

    /// Prints an answer: unchanged for programs, rendered for people.
    pub(in crate::cli) fn show<T, R>(&self, answer: &Answer, render: R) -> Result<(), Failed>
    where
        T: for<'de> Deserialize<'de>,
        R: FnOnce(&T, Screen) -> String,
    {
        if self.json {
            return print(&format!("{}\n", clean_json(answer.text())));
        }
        print(&render(&answer.read()?, Screen::of_stdout()))
    }
}

/// Opens a file, or stdin for `-`. Errors name the file.
pub(in crate::cli) fn input(file: &str) -> Result<Box<dyn Read>, Failed> {
    if file == "-" {
        return Ok(Box::new(stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| Failed(format!("{file}: {error}")))?;
    Ok(Box::new(opened))
}

pub(in crate::cli) fn body(file: &str) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    let read = input(file)?.take(BODY_BYTES_MAX + 1).read_to_end(&mut body);
    read.map_err(|error| Failed(format!("{file}: {error}")))?;
    if body.len() as u64 > BODY_BYTES_MAX {
        return Err(Failed(format!("{file}: more than {BODY_BYTES_MAX} bytes")));
    }
    Ok(body)
}
