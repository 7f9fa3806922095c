//! Points are not for releases.

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

/// Without the feature a point is nothing, not even an unknown name's error.
#[cfg(not(feature = "crash-points"))]
#[test]
fn a_point_is_nothing_without_the_feature() {
    bursar_crash::crash_point!("test.before");
}
