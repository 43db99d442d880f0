//! The floors of the engine, as code (ARCHITECTURE, "Code map"): a module names only modules on floors below its own.
//!
//! The sources are read as text. Comments, and tests inside the sources, may name anything.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// From the ground up. Modules on one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["bytes", "country", "ids", "money", "sync", "text", "time", "tree"],
    &["contract", "person", "store"],
    &["journal"],
    &["fact"],
    &["rows"],
    &["rules"],
    &["ledger"],
    &["recovery"],
    &["testing"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// The modules that a source names by `crate::`, with the line.
fn named(source: &str) -> Vec<(usize, String)> {
    let production = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let code = production.lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or(line),
    });
    let mut found = Vec::new();
    for (index, line) in code.enumerate() {
        for (at, path) in line.match_indices("crate::") {
            let is_other_crate = line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if is_other_crate {
                continue;
            }
            let rest = &line[at + path.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(group) => group.split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push((index + 1, name));
            }
        }
    }
    found
}

/// The arrows of a module's source that do not point down.
fn upward(module: &str, source: &str) -> Vec<(usize, String)> {
    let own = floor(module);
    let is_upward = |name: &str| name != module && floor(name).is_none_or(|other| Some(other) >= own);
    named(source).into_iter().filter(|(_, name)| is_upward(name)).collect()
}

/// Every source with the top module it belongs to.
fn sources() -> io::Result<Vec<(String, PathBuf)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut pending) = (Vec::new(), vec![root.clone()]);
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else if let Some(top) = path.strip_prefix(&root).ok().and_then(|inside| inside.iter().next()) {
            let module = top.to_string_lossy().trim_end_matches(".rs").to_owned();
            if module != "lib" {
                found.push((module, path));
            }
        }
    }
    Ok(found)
}

#[test]
fn every_arrow_points_down() -> io::Result<()> {
    let mut broken = Vec::new();
    for (module, path) in sources()? {
        for (line, name) in upward(&module, &std::fs::read_to_string(&path)?) {
            broken.push(format!("{}:{line}: {module} names {name}, which is not on a floor below", path.display()));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn every_module_has_its_floor() -> io::Result<()> {
    let modules: BTreeSet<_> = sources()?.into_iter().map(|(module, _)| module).collect();
    let floors: BTreeSet<_> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(modules, floors);
    Ok(())
}

#[test]
fn an_upward_arrow_is_seen() {
    let check = |module: &str, source: &str, expected: &[(usize, &str)]| {
        let found = upward(module, source);
        let found: Vec<_> = found.iter().map(|(line, name)| (*line, name.as_str())).collect();
        assert_eq!(found, expected, "{module}: {source}");
    };
    check("rows", "use crate::fact::Fact;\nuse crate::ledger::Ledger;", &[(2, "ledger")]);
    check("rows", "fn f() { crate::rules::judge(); }", &[(1, "rules")]);
    check("fact", "use crate::{ids, rows};", &[(1, "rows")]);
    check("store", "use crate::contract::limit;", &[(1, "contract")]);
    check("ledger", "use crate::elsewhere::Thing;", &[(1, "elsewhere")]);

    check("rows", "use crate::rows::User;\nuse super::spends;\nuse other_crate::ledger;", &[]);
    check("fact", "//! As crate::ledger does.\nlet x = 1; // crate::rows", &[]);
    check("fact", "#[cfg(test)]\nmod tests {\n    use crate::rows::User;\n}\n", &[]);
}
