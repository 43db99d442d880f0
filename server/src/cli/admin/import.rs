//! `tapgate users import`: imports a file of any length in bounded parts; each is durable before the next is read.

use std::io::{BufReader, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::api::input;
use super::client::{Answer, ApiCall, Client, ClientError};
use super::lines::{Batch, Batches, LINE_BYTES_MAX};
use crate::cli::Failed;
use crate::cli::print;
use crate::cli::ui::screen::{clean, clean_json};

/// Attempts per part while the server sheds load: half a minute in all.
const ATTEMPTS_MAX: u32 = 30;
/// The pause between two attempts: the server's `Retry-After`.
const PAUSE: Duration = Duration::from_secs(1);
/// The interval of redraws of the live line.
const TICK: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize, Serialize)]
struct Rejected {
    line: u64,
    error: String,
}

#[derive(Debug, Deserialize)]
struct Imported {
    imported: u64,
    rejected: Vec<Rejected>,
}

/// The import's progress, and its output.
struct Import<'a> {
    file: &'a str,
    json: bool,
    bar: ProgressBar,
    imported: u64,
    rejected: u64,
}

/// Imports a file, or stdin for `-`.
///
/// # Errors
/// A line was rejected, the file cannot be read, or the server did not answer.
pub(in crate::cli) fn run(client: &Client, file: &str, json: bool) -> Result<(), Failed> {
    let reader = BufReader::new(input(file)?);
    let name = if file == "-" { "stdin" } else { file };
    let mut import = Import { file: name, json, bar: bar(file)?, imported: 0, rejected: 0 };
    if json {
        print("{\"rejected\":[")?;
    }
    let sent = import.send_all(client, Batches::new(reader));
    import.bar.finish_and_clear();
    // Closed even after an error, so that the output is valid JSON.
    if json {
        print(&format!("],\"imported\":{}}}\n", import.imported))?;
    } else {
        print(&format!("{} imported, {} rejected\n", import.imported, import.rejected))?;
    }
    sent?;
    if import.rejected == 0 {
        return Ok(());
    }
    let lines = if import.rejected == 1 { "line was" } else { "lines were" };
    Err(Failed(format!("{name}: {} {lines} rejected; the others are imported", import.rejected)))
}

/// A live line on stderr, if stderr is a terminal: the progress through a file, or the count so far of a stream.
fn bar(file: &str) -> Result<ProgressBar, Failed> {
    let size = std::fs::metadata(file).ok().filter(|meta| file != "-" && meta.is_file()).map(|meta| meta.len());
    let (bar, form) = match size {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {bytes}/{total_bytes}, {eta} left  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(form)?);
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    Ok(bar)
}

impl Import<'_> {
    fn send_all<R: std::io::BufRead>(&mut self, client: &Client, mut batches: Batches<R>) -> Result<(), Failed> {
        loop {
            let batch = batches.next().map_err(|error| Failed(format!("{}: {error}", self.file)))?;
            let Some(batch) = batch else { return Ok(()) };
            let lines_before = batch.lines_before;
            self.send(client, &batch).map_err(|Failed(message)| {
                let place = format!("{}: after line {lines_before}", self.file);
                Failed(format!("{place}: {message} (importing again replaces, so the whole file can be sent again)"))
            })?;
        }
    }

    fn send(&mut self, client: &Client, batch: &Batch) -> Result<(), Failed> {
        let Imported { imported, rejected } = attempt(client, &batch.body)?.read()?;
        let mut rejected: Vec<_> = rejected
            .into_iter()
            .map(|bad| Rejected { line: batch.lines_before.saturating_add(bad.line), ..bad })
            .collect();
        let error = format!("the line is longer than {LINE_BYTES_MAX} bytes");
        rejected.extend(batch.too_long.iter().map(|line| Rejected { line: *line, error: error.clone() }));
        rejected.sort_by_key(|bad| bad.line);
        self.imported += imported;
        for bad in &rejected {
            self.tell(bad)?;
        }
        self.bar.inc(batch.bytes_read);
        self.bar.set_message(format!("{} imported, {} rejected", self.imported, self.rejected));
        Ok(())
    }

    fn tell(&mut self, bad: &Rejected) -> Result<(), Failed> {
        let separator = if self.rejected == 0 { "" } else { "," };
        self.rejected += 1;
        if self.json {
            return print(&format!("{separator}{}", clean_json(&serde_json::to_string(bad)?)));
        }
        let line = format!("{}:{}: {}", self.file, bad.line, clean(&bad.error));
        Ok(self.bar.suspend(|| writeln!(std::io::stderr(), "{line}"))?)
    }
}

/// Sends a part, and retries while the server is overloaded: importing again replaces, so a repeat is harmless.
#[expect(clippy::disallowed_methods, reason = "a command, in a process of its own")]
fn attempt(client: &Client, body: &[u8]) -> Result<Answer, Failed> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match client.send(ApiCall::post_lines(&["users", "import"], body.to_vec())) {
            Err(ClientError::Refused { code, .. }) if code.as_str() == "overloaded" && attempts < ATTEMPTS_MAX => {
                std::thread::sleep(PAUSE);
            }
            answer => return Ok(answer?),
        }
    }
}
