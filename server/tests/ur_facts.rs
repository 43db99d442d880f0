//! docs/ur-facts.md has an answer for every name of UR's documents, and its answers name files that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// The section of the tables, one a document.
const SECTION: &str = "## What tapgate does with each part of UR's documents";

/// By document and place.
type Names = BTreeMap<(String, String), BTreeSet<String>>;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> io::Result<String> {
    std::fs::read_to_string(Path::new(REPOSITORY).join(path))
}

/// `[document]`, and below it a line for each place: `place: name, name`.
fn listed() -> io::Result<Names> {
    let mut names = Names::new();
    let mut document = String::new();
    for line in read("server/tests/vectors/ur-names.txt")?.lines().filter(|line| !line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix('[') {
            heading.trim_end_matches(']').clone_into(&mut document);
        } else if let Some((place, of_place)) = line.split_once(": ") {
            let of_place = of_place.split(", ").map(str::to_owned).collect();
            let before = names.insert((document.clone(), place.to_owned()), of_place);
            assert_eq!(before, None, "{document}: {place} is listed twice");
        }
    }
    Ok(names)
}

/// The texts in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

struct Row {
    document: String,
    place: String,
    names: Vec<String>,
    answer: String,
    tests: String,
}

fn rows() -> io::Result<Vec<Row>> {
    let facts = read("docs/ur-facts.md")?;
    let section = facts.split_once(SECTION).and_then(|(_, section)| section.split("\n## ").next()).unwrap_or_default();
    let mut document = String::new();
    let mut rows = Vec::new();
    for line in section.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            heading.clone_into(&mut document);
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [place, names, answer, tests] = cells.as_slice() else { continue };
        let Some(place) = quoted(place).first().map(|place| (*place).to_owned()) else { continue };
        let names = quoted(names).into_iter().map(str::to_owned).collect();
        let (answer, tests) = ((*answer).to_owned(), (*tests).to_owned());
        rows.push(Row { document: document.clone(), place, names, answer, tests });
    }
    Ok(rows)
}

#[test]
fn every_name_of_urs_documents_has_an_answer() -> io::Result<()> {
    let listed = listed()?;
    let documents: BTreeSet<_> = listed.keys().map(|(document, _)| document.clone()).collect();
    assert_eq!(documents.len(), 4);
    let mut answered = Names::new();
    for row in rows()?.into_iter().filter(|row| documents.contains(&row.document)) {
        let place = (row.document, row.place);
        let known = answered.entry(place.clone()).or_default();
        for name in row.names {
            assert!(known.insert(name.clone()), "{name:?} of {place:?} has two answers");
        }
    }
    for place in listed.keys().chain(answered.keys()) {
        let empty = BTreeSet::new();
        let (listed, answered) = (listed.get(place).unwrap_or(&empty), answered.get(place).unwrap_or(&empty));
        assert_eq!(listed, answered, "{place:?}: what UR's documents name, and what has an answer");
    }
    Ok(())
}

#[test]
fn no_row_is_without_an_answer_and_every_file_that_one_names_exists() -> io::Result<()> {
    for row in rows()? {
        let of = format!("{}, {}: {:?}", row.document, row.place, row.names);
        assert!(!row.names.is_empty() && row.answer.len() > 10, "{of} has no answer");
        let is_path = |text: &&str| text.contains('/') && text.ends_with(".rs") || text.ends_with(".py");
        for file in quoted(&row.answer).into_iter().chain(quoted(&row.tests)).filter(is_path) {
            assert!(Path::new(REPOSITORY).join(file).is_file(), "{of}: there is no {file}");
        }
        let is_left_out = row.answer.starts_with("Not ");
        assert!(is_left_out || quoted(&row.tests).iter().any(is_path), "{of} is not tested");
    }
    Ok(())
}
