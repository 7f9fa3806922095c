//! Points and canaries are not for releases.

use std::fs;
use std::path::Path;
use std::process::Command;

const REFUSAL: &str = "crash points are for tests";

/// What the compiler says to this crate alone, with these options.
fn compile(options: &[&str]) -> String {
    let compiler = Path::new(env!("CARGO")).with_file_name("rustc");
    let output = Command::new(compiler)
        .args([
            "--crate-type",
            "lib",
            "--edition",
            "2024",
            "--emit=metadata",
        ])
        .args(["--crate-name", "bursar_crash", "--out-dir"])
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .args(options)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"))
        .output()
        .expect("the compiler runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The compiler refuses the feature without debug assertions, and only then.
#[test]
fn a_release_with_points_is_refused() {
    let points = ["--cfg", "feature=\"crash-points\""];
    let release = ["-C", "debug-assertions=off"];
    let debug = ["-C", "debug-assertions=on"];
    assert!(compile(&[points, release].concat()).contains(REFUSAL));
    assert!(!compile(&[points, debug].concat()).contains(REFUSAL));
    // Without the feature the crate stands alone and compiles.
    assert_eq!(compile(&release), "");
}

/// Without the feature a point is nothing, not even an unknown name's error, and no
/// rule is broken.
#[cfg(not(feature = "crash-points"))]
#[test]
fn nothing_is_left_without_the_feature() {
    bursar_crash::crash_point!("test.before");
    assert!(!bursar_crash::canary!("test.broken"));
}

/// A program with a point and a canary that is built as releases are built, without
/// the feature, has neither's name in it, and does not look for the broken rule's.
#[test]
fn a_release_has_no_trace_of_either() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("released");
    fs::create_dir_all(&directory).expect("a directory is made");
    let source = directory.join("released.rs");
    let program = "fn main() {
        bursar_crash::crash_point!(\"test.leaves_a_trace\");
        if bursar_crash::canary!(\"test.leaves_a_feather\") { println!(\"it sang\"); }
    }";
    fs::write(&source, program).expect("a program is written");
    let library = directory.join("libbursar_crash.rlib");
    let linked = format!("bursar_crash={}", library.display());
    let crate_itself = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    rustc(
        &directory,
        &["--crate-type", "rlib", "--crate-name", "bursar_crash"],
        &crate_itself,
    );
    rustc(&directory, &["--extern", &linked], &source);
    let built = fs::read(directory.join("released")).expect("the program is built");
    for trace in [
        "leaves_a_trace",
        "leaves_a_feather",
        "it sang",
        "BURSAR_CANARY",
    ] {
        let trace = trace.as_bytes();
        assert!(!built.windows(trace.len()).any(|bytes| bytes == trace));
    }
}

/// Compiles something as in a release.
fn rustc(directory: &Path, options: &[&str], source: &Path) {
    let compiler = Path::new(env!("CARGO")).with_file_name("rustc");
    let output = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "-C",
            "debug-assertions=off",
            "-O",
            "--out-dir",
        ])
        .arg(directory)
        .args(options)
        .arg(source)
        .output()
        .expect("the compiler runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// No program has points unless it is asked for them, and releases do not ask.
#[test]
fn no_program_has_points_by_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut with_points = 0;
    for entry in fs::read_dir(root.join("services")).expect("the services are there") {
        let manifest = entry.expect("an entry is read").path().join("Cargo.toml");
        let Ok(manifest) = fs::read_to_string(manifest) else {
            continue;
        };
        let features = manifest.split("[features]").nth(1).unwrap_or_default();
        let features = features.split("\n[").next().unwrap_or_default();
        with_points += usize::from(features.contains("\ncrash-points ="));
        assert!(!features.contains("\ndefault ="), "{features}");
    }
    assert!(
        with_points >= 2,
        "the wallet and the transaction service have points"
    );
    let recipe = fs::read_to_string(root.join("Dockerfile")).expect("the recipe of releases");
    assert!(recipe.contains("--release"));
    assert!(!recipe.contains("--features") && !recipe.contains("--all-features"));
}
