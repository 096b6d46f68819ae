//! `docs/architecture.md` is true: modules import only from rows above their own, and every promise has its tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn architecture() -> String {
    fs::read_to_string(root().join("docs/architecture.md")).expect("the document is there")
}

/// All Rust files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The code of a file without comments and without what is compiled for tests only.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that `crate::a` and `use crate::{a::b, c::{d, e}}` name.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (i, c) in group.char_indices() {
            if depth == 0 && start && !c.is_whitespace() {
                found.insert(word(&group[i..]));
                start = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                _ => {}
            }
        }
    }
    found.into_iter().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn modules_import_only_from_rows_above_their_own() {
    let text = architecture();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|');
        let row: usize = cells.next()?.trim().parse().ok()?;
        Some((row, cells.next()?))
    });
    let rows: BTreeMap<&str, usize> =
        rows.flat_map(|(row, modules)| quoted(modules).map(move |module| (module, row))).collect();

    let src = root().join("src");
    for file in sources(&src) {
        let path = file.strip_prefix(&src).expect("below src").to_str().expect("UTF-8").to_owned();
        let module = path.split(['/', '.']).next().expect("a first part");
        if module == "lib" || path.contains("tests") || path.ends_with("model.rs") {
            continue;
        }
        let row = rows.get(module).unwrap_or_else(|| panic!("`{module}` stands in no row"));
        for import in imports(&code(&file)) {
            let above = rows.get(import.as_str()).is_some_and(|of| of < row);
            assert!(import == module || above, "src/{path} imports `{import}`, which is not above row {row}");
        }
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let directories = ["src", "tests"].map(|name| sources(&root().join(name)));
    let files = directories.iter().flatten().map(|file| fs::read_to_string(file).expect("a source file"));
    let everything = files.collect::<Vec<_>>().join("\n");

    let text = architecture();
    let promises = text.split("\n## ").find(|section| section.starts_with("Promises")).expect("the section");
    let mut count = 0;
    for line in promises.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        let tests = line.rsplit('|').nth(1).expect("a last column");
        assert!(quoted(tests).next().is_some(), "no test holds: {line}");
        for test in quoted(tests) {
            assert!(everything.contains(&format!("fn {test}(")), "there is no test `{test}`");
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} promises were found");
}

#[test]
fn imports_are_found_in_every_form() {
    let code =
        "use crate::{\n    alpha::{A, B},\n    beta,\n    gamma::C,\n};\nuse crate::delta::D; crate::Error";
    assert_eq!(imports(code), ["alpha", "beta", "delta", "gamma"].map(String::from).into());
}
