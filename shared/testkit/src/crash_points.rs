//! The crash points of a program, found in its sources.

use std::fs;
use std::path::Path;

const CALL: &str = "crash_point!(";

/// The names of all crash points below a source directory, sorted, with
/// repetitions: a test compares them with the points at which it kills.
pub fn crash_points(sources: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(sources, &mut names);
    names.sort();
    names
}

fn collect(directory: &Path, names: &mut Vec<String>) {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory's entry can be read").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).expect("a source file is text");
            names.extend(named(&code));
        }
    }
}

/// The names in a file. Comments and spaces inside the call are not looked for:
/// the formatter leaves a short call on one line.
fn named(code: &str) -> Vec<String> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split(CALL).skip(1))
        .map(|call| {
            let name = call
                .strip_prefix('"')
                .and_then(|rest| rest.split_once("\")"));
            name.unwrap_or_else(|| panic!("no name in {CALL}{call}"))
                .0
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_code_only() {
        // Whatever path the macro is called by; not in comments.
        let code = "
            bursar_server::crash_point!(\"ledger.after_commit\");
            //! crash_point!(\"ledger.in_a_comment\")
            if x { crash_point!(\"a.b\"); crash_point!(\"a.c\") }
        ";
        assert_eq!(named(code), ["ledger.after_commit", "a.b", "a.c"]);
    }
}
