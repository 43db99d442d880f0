//! The repository's rules of who may know whom, as code (ARCHITECTURE.md).
//!
//! The sources are read as text. Comments, and tests inside the sources, may name what they like: a rule is about what
//! runs in production.

use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One rule: within `scope`, none of `forbidden` may be named, except in `except`.
struct Rule {
    scope: &'static str,
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    reason: &'static str,
}

/// What no wing below HTTP may name: what handlers share, and what reads the time or the disk past what is injected.
const NOT_GIVEN: &[&str] = &["App", "Instant", "std::fs", "park_timeout"];

const RULES: &[Rule] = &[
    Rule {
        scope: "engine/src",
        except: &[],
        forbidden: &["tapgate::", "hyper", "axum", "tokio", "serde_json", "SystemTime"],
        reason: "the engine is a pure core: no server, network, JSON or wall clock, so that a seed replays it",
    },
    Rule {
        scope: "engine/src",
        except: &["engine/src/store/rocks.rs"],
        forbidden: &["rocksdb::"],
        reason: "one file knows the storage engine, so that every other one runs on any store",
    },
    Rule {
        scope: "server/src",
        except: &[],
        forbidden: &["rocksdb::"],
        reason: "the server reaches the storage engine through the engine's store only",
    },
    Rule {
        scope: "server/src/wire",
        except: &[],
        forbidden: &["hyper", "axum"],
        reason: "wire shapes are bytes in, types out: they can be fuzzed without a connection",
    },
    Rule {
        scope: "server/src/signature",
        except: &[],
        forbidden: &["std::fs", "fs::", "SystemTime", "tokio"],
        reason: "signatures are pure: whoever calls says what time it is",
    },
    Rule {
        scope: "server/src",
        except: &["server/src/clock.rs"],
        forbidden: &["SystemTime"],
        reason: "one file reads the wall clock, so that time can be injected everywhere else",
    },
    Rule {
        scope: "server/src",
        except: &["server/src/randomness.rs"],
        forbidden: &["rand::rng"],
        reason: "one file draws random numbers, so that a test brings its own",
    },
    Rule { scope: "server/src/treasury", except: &[], forbidden: NOT_GIVEN, reason: "a wing is given what it uses" },
    Rule { scope: "server/src/provider", except: &[], forbidden: NOT_GIVEN, reason: "a wing is given what it uses" },
    Rule { scope: "server/src/delivery", except: &[], forbidden: NOT_GIVEN, reason: "a wing is given what it uses" },
    Rule { scope: "server/src/alerting", except: &[], forbidden: NOT_GIVEN, reason: "a wing is given what it uses" },
    Rule { scope: "server/src/receipts", except: &[], forbidden: NOT_GIVEN, reason: "a wing is given what it uses" },
    Rule {
        scope: "server/src/receipts/verify",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock"],
        reason: "a receipt is checked by itself and what the checker knows: no journal is at hand",
    },
    Rule {
        scope: "server/src/program/jobs",
        except: &["server/src/program/jobs.rs"],
        forbidden: NOT_GIVEN,
        reason: "a job is given what it uses",
    },
    Rule {
        scope: "server/src/http",
        except: &[],
        forbidden: &["store::rocks", "rocks::", "RocksStore"],
        reason: "handlers speak to the ledger; where it is stored is the wiring's business",
    },
    Rule {
        scope: "server/src/http",
        except: &[],
        forbidden: &["provider::api", "UrApi", "feeds"],
        reason: "nobody who waits for an answer waits for UR: what is asked of UR is asked by the feeds",
    },
    Rule {
        scope: "server/src/delivery/tail",
        except: &[],
        forbidden: &["tokio", "Clock", "reqwest", "rand"],
        reason: "what is sent next is decided purely: time, chance and outcomes are told, so that every order of them can be a test",
    },
    Rule {
        scope: "server/src/delivery/schedule",
        except: &[],
        forbidden: &["tokio", "Clock", "reqwest", "rand"],
        reason: "pauses follow from what failed and a number drawn elsewhere",
    },
    Rule {
        scope: "server/src/delivery/channel/signing",
        except: &[],
        forbidden: &["tokio", "Clock", "reqwest", "fs::"],
        reason: "signatures are pure: whoever calls says what time it is",
    },
    Rule {
        scope: "server/src/delivery",
        except: &[
            "server/src/delivery/receivers.rs",
            "server/src/delivery/outbox/history.rs",
            "server/src/delivery/outbox/mod.rs",
        ],
        forbidden: &["Ledger", "crate::http"],
        reason: "deliveries are read from an outbox: what records mean, and where they are kept, is the wiring's business",
    },
    Rule {
        scope: "server/src/treasury",
        except: &["server/src/treasury/follow.rs"],
        forbidden: &["Ledger", "tokio", "Clock", "reqwest", "serde_json", "std::fs", "Timestamp::now", "Zoned::now"],
        reason: "forecasts are pure: years of traffic can be played through them, and a journal's forecast can be made again",
    },
    Rule {
        scope: "server/src/alerting/conditions",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "reqwest", "serde_json", "std::fs"],
        reason: "a condition is judged by what it is given, so that every case of it can be a test",
    },
    Rule {
        scope: "server/src/alerting/actions",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "reqwest", "serde_json", "std::fs"],
        reason: "what is raised, repeated and resolved follows from what stands and what is open",
    },
    Rule {
        scope: "server/src/provider/prefunding/plan",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "UrApi"],
        reason: "what is ordered next is decided purely, so that every case of it can be a test",
    },
    Rule {
        scope: "server/src/provider/prefunding/quote",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "UrApi"],
        reason: "what a quote may cost is arithmetic",
    },
    Rule {
        scope: "server/src/delivery/outbox/events",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "store"],
        reason: "what a record is told as follows from records alone, so that it is the same whenever it is told",
    },
    Rule {
        scope: "server/src/delivery/outbox/debits",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "store"],
        reason: "what a record is told as follows from records alone, so that it is the same whenever it is told",
    },
    Rule {
        scope: "server/src/delivery/outbox/notices",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "store"],
        reason: "what a record is told as follows from records alone, so that it is the same whenever it is told",
    },
    Rule {
        scope: "server/src/sandbox/ur",
        except: &[],
        forbidden: &["tapgate_engine"],
        reason: "UR's books judge the engine, so they share no arithmetic with it",
    },
    Rule {
        scope: "server/src/http",
        except: &[],
        forbidden: &["sandbox"],
        reason: "what serves real money knows nothing of the simulation",
    },
];

/// One part of the server, and which of those below it it may name.
struct Wing {
    name: &'static str,
    knows: &'static [&'static str],
}

/// The server's wings, from the ground up.
const WINGS: &[Wing] = &[
    Wing { name: "stopping", knows: &[] },
    Wing { name: "randomness", knows: &[] },
    Wing { name: "beside", knows: &[] },
    Wing { name: "error_chain", knows: &[] },
    Wing { name: "outgoing", knows: &["error_chain"] },
    Wing { name: "health", knows: &[] },
    Wing { name: "trace", knows: &[] },
    Wing { name: "clock", knows: &["stopping"] },
    Wing { name: "signature", knows: &[] },
    Wing { name: "wire", knows: &[] },
    Wing { name: "receipts", knows: &["stopping", "beside", "health", "clock", "signature", "wire"] },
    Wing { name: "treasury", knows: &["stopping", "clock", "wire"] },
    Wing {
        name: "provider",
        knows: &["randomness", "beside", "outgoing", "health", "clock", "signature", "wire", "treasury"],
    },
    Wing { name: "delivery", knows: &["stopping", "randomness", "beside", "error_chain", "outgoing", "clock", "wire"] },
    Wing { name: "alerting", knows: &["stopping", "health", "clock", "wire", "treasury", "provider", "delivery"] },
    Wing {
        name: "http",
        knows: &[
            "stopping",
            "randomness",
            "health",
            "trace",
            "clock",
            "signature",
            "wire",
            "receipts",
            "treasury",
            "provider",
            "delivery",
        ],
    },
    Wing {
        name: "config",
        knows: &["signature", "wire", "receipts", "treasury", "provider", "delivery", "alerting", "http"],
    },
    Wing {
        name: "program",
        knows: &[
            "stopping",
            "randomness",
            "beside",
            "health",
            "trace",
            "clock",
            "signature",
            "wire",
            "receipts",
            "treasury",
            "provider",
            "delivery",
            "alerting",
            "config",
            "http",
        ],
    },
    Wing {
        name: "sandbox",
        knows: &["stopping", "randomness", "clock", "signature", "provider", "config", "http", "program"],
    },
    Wing {
        name: "cli",
        knows: &["clock", "signature", "wire", "receipts", "provider", "config", "program", "sandbox"],
    },
];

/// Where the rule is broken in one source: line number and the name found.
fn violations(rule: &Rule, source: &str) -> Vec<(usize, &'static str)> {
    production_lines(source)
        .flat_map(|(number, code)| {
            rule.forbidden.iter().filter(move |name| names(code, name)).map(move |name| (number, *name))
        })
        .collect()
}

/// The lines up to the source's own tests, without comments. A module of tests is the last item of its file here.
fn production_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests_begin = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let production = source.get(..tests_begin).unwrap_or(source);
    production.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
}

/// A URL's `//` is no comment: a comment begins a line or follows a space.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or(line) }
}

/// Whether the code names this as a whole word: `tapgate::` is not in `other_tapgate::`, nor `tokio` in `tokio_like`.
fn names(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && (name.ends_with("::") || !after.is_some_and(is_word))
    })
}

/// The Rust sources of a scope, a directory or a module's file; files that hold tests only are left out.
fn sources(root: &Path, scope: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![root.join(scope), root.join(format!("{scope}.rs"))];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else if path.is_file() && path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
    // It is compiled for tests only, and plays every part outside of the server.
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "simulation"));
    found.sort();
    Ok(found)
}

#[test]
fn everybody_knows_only_whom_they_may() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut broken = Vec::new();
    for rule in RULES {
        let files = sources(&root, rule.scope)?;
        assert!(!files.is_empty(), "{} holds no source: the rule guards nothing", rule.scope);
        for file in files {
            if rule.except.iter().any(|except| file == root.join(except)) {
                continue;
            }
            for (line, name) in violations(rule, &std::fs::read_to_string(&file)?) {
                let file = file.strip_prefix(&root).unwrap_or(&file).display();
                broken.push(format!("{file}:{line} names `{name}`: {}", rule.reason));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    Ok(())
}

/// The first names after `crate::` in a source, with their lines.
fn wings_named(source: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let mut in_group = false;
    for (number, code) in production_lines(source) {
        if in_group {
            // Only `use crate::{…}` spreads over lines; each of its wings begins one.
            in_group = !code.trim_start().starts_with('}');
            named.extend(first_name(code.trim_start()).map(|name| (number, name)));
        }
        for (at, path) in code.match_indices("crate::") {
            let rest = code.get(at + path.len()..).unwrap_or_default();
            match rest.strip_prefix('{') {
                Some(group) => {
                    in_group = !group.contains('}');
                    let items = group.split('}').next().unwrap_or_default().split(',');
                    named.extend(items.filter_map(|item| first_name(item.trim())).map(|name| (number, name)));
                }
                None => named.extend(first_name(rest).map(|name| (number, name))),
            }
        }
    }
    named
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
    Some(name).filter(|name| !name.is_empty())
}

#[test]
fn every_arrow_between_wings_points_down() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for (floor, wing) in WINGS.iter().enumerate() {
        let below = |name: &&str| WINGS.iter().take(floor).any(|other| other.name == *name);
        assert!(wing.knows.iter().all(below), "{} knows a wing that is not below it", wing.name);
        for file in sources(&root, wing.name)? {
            for (line, named) in wings_named(&std::fs::read_to_string(&file)?) {
                let is_known = named == wing.name || wing.knows.contains(&named.as_str());
                if !is_known {
                    let file = file.strip_prefix(&root).unwrap_or(&file).display();
                    broken.push(format!("{file}:{line}: {} may not name {named}", wing.name));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn every_wing_has_its_floor() -> io::Result<()> {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let is_known = ["lib", "main"].contains(&name) || WINGS.iter().any(|wing| wing.name == name);
        assert!(is_known, "server/src/{name} has no floor among the wings");
    }
    Ok(())
}

#[test]
fn every_wing_named_is_seen() {
    let check = |source: &str, expected: &[(usize, &str)]| {
        let named = wings_named(source);
        let named: Vec<_> = named.iter().map(|(line, name)| (*line, name.as_str())).collect();
        assert_eq!(named, expected, "{source}");
    };
    check(
        "use crate::clock::Clock;\nlet x = crate::wire::read(crate::http::y);",
        &[(1, "clock"), (2, "wire"), (2, "http")],
    );
    check("use crate::{health, wire::ur};\n", &[(1, "health"), (1, "wire")]);
    check("use crate::{\n    health,\n    wire::ur,\n};\nuse std::fmt;", &[(2, "health"), (3, "wire")]);
    check("// crate::http\nuse tapgate_engine::ids;\n#[cfg(test)]\nmod tests {\n    use crate::http;\n}", &[]);
}

/// Where several branches are ready, tokio draws lots, unless it is told to take the first.
#[test]
fn what_is_selected_is_no_chance() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // Signals and people at a terminal: no simulation has them.
    let left_out = ["program/start.rs", "sandbox", "cli"].map(|path| root.join(path));
    let mut drawn = Vec::new();
    for file in sources(&root, "")?.into_iter().filter(|file| !left_out.iter().any(|out| file.starts_with(out))) {
        let source = std::fs::read_to_string(&file)?;
        let lines: Vec<_> = source.lines().collect();
        for (number, lines) in (1..).zip(lines.windows(2)) {
            if lines[0].contains("select! {") && lines[1].trim() != "biased;" {
                drawn.push(format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(drawn.is_empty(), "`biased;` is missing after\n{}", drawn.join("\n"));
    Ok(())
}

#[test]
fn every_exception_is_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for except in RULES.iter().flat_map(|rule| rule.except) {
        assert!(root.join(except).is_file(), "{except} is excepted from a rule and does not exist");
    }
}

#[test]
fn a_broken_rule_is_seen() {
    let rule = Rule {
        scope: "",
        except: &[],
        forbidden: &["tapgate::", "tokio", "SystemTime", "std::fs"],
        reason: "an example",
    };
    let check = |source: &str, expected: &[(usize, &str)]| assert_eq!(violations(&rule, source), expected, "{source}");

    check("use std::collections::BTreeMap;\n\nuse tokio::sync::Notify;\n", &[(3, "tokio")]);
    check("let now = std::time::SystemTime::now(); // the time", &[(1, "SystemTime")]);
    check("let server = tapgate::run(std::fs::read(path)?);", &[(1, "tapgate::"), (1, "std::fs")]);

    check("use tapgate_engine::ledger; use my_tapgate::x; struct SystemTimer; let tokio_like = 1;", &[]);
    check("//! Without tokio and SystemTime.\n    /// As tokio::spawn does.\nlet x = 1; // not tokio", &[]);
    check("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", &[]);
    check("#[cfg(test)]\nuse std::fs;\nfn f() { tokio::spawn(g()); }", &[(2, "std::fs"), (3, "tokio")]);
}

/// The first cells of the threat model's tables.
fn threats(model: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_threats = false;
    for line in model.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", "threat", ..] => is_threats = true,
            ["", first, ..] if is_threats && !first.starts_with("---") => found.push(first),
            ["", ..] if cells.len() > 1 => {}
            _ => is_threats = false,
        }
    }
    found
}

#[test]
fn every_threat_has_a_defence_that_can_be_switched_off() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let listed = read("server/tests/defences/defences.toml")?;
    let listed = DeTable::parse(&listed)?;
    let Some(DeValue::Array(defences)) = listed.get_ref().get("defence").map(|defences| defences.get_ref()) else {
        return Err("a list of defences".into());
    };
    let mut guarded = Vec::new();
    for defence in defences {
        let text = |key: &str| {
            let of = defence.get_ref().as_table().and_then(|defence| defence.get(key)?.get_ref().as_str());
            of.ok_or_else(|| format!("a defence without {key}"))
        };
        let (threat, file, with) = (text("threat")?, text("file")?, text("with")?);
        assert_eq!(read(file)?.matches(with).count(), 1, "{threat}: {file} has once: {with}");
        guarded.push(threat);
    }
    let model = read("docs/threat-model.md")?;
    assert_eq!(threats(&model), guarded, "docs/threat-model.md and defences.toml name the same threats in one order");
    Ok(())
}
