//! The repository's rules of who may know whom, as code (ARCHITECTURE.md).
//!
//! The sources are read as text. Comments, and tests inside the sources, may name what they like: a rule is about what
//! runs in production.

use std::io;
use std::path::{Path, PathBuf};

/// One rule: within `scope`, none of `forbidden` may be named, except in `except`.
struct Rule {
    scope: &'static str,
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    reason: &'static str,
}

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
        scope: "server/src/provider/reconciliation/matching",
        except: &[],
        forbidden: &["Ledger", "tokio", "Clock", "reqwest"],
        reason: "matching is pure: it is given what is known, so that every case of it can be a test",
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
