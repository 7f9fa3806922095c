//! The program `bursar-verify`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bursar_proof::{InclusionProof, merkle};

use crate::history::{Chain, fixed, signer};

/// The exit code, and everything that was said.
fn run(arguments: &[&str], input: &[u8]) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bursar-verify"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that was called wrongly ends without reading.
    let _ = child.stdin.take().expect("input").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("a code");
    (code, String::from_utf8(said).expect("text"))
}

fn key() -> String {
    signer().verifying_key().to_string()
}

/// A good export gives 0 and a summary, an altered one 1 and the row, and what
/// cannot be read 2.
#[test]
fn exports_are_judged() {
    let chain = Chain::seal(fixed(6), 2, |place| place == 1);
    let export = chain.export();
    let key = key();
    let (code, said) = run(&["--public-key", &key, "-"], &export);
    assert_eq!(code, 0, "{said}");
    for part in [
        "blocks      3 (1 to 3)",
        "postings    6",
        "EUR USD",
        "NOT SIGNED",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = run(&["--public-key", &key, "--require-signed", "-"], &export);
    assert_eq!(code, 1, "{said}");

    let text = String::from_utf8(export.clone()).expect("text");
    let altered = text.replacen("\"kind\":\"hold\"", "\"kind\":\"bold\"", 1);
    let (code, said) = run(&["--public-key", &key, "-"], altered.as_bytes());
    assert_eq!(code, 1, "{said}");
    let id = chain.postings[0][1].posting_id.to_string();
    assert!(said.contains("line 4") && said.contains(&id), "{said}");

    let hash = chain.blocks[2].0.hash.to_string();
    let expect = [
        "--public-key",
        &key,
        "--expect-height",
        "3",
        "--expect-hash",
    ];
    let (code, said) = run(&[&expect[..], &[&hash, "-"]].concat(), &export);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("NOT SIGNED"), "{said}");
    let other = chain.blocks[1].0.hash.to_string();
    let (code, _) = run(&[&expect[..], &[&other, "-"]].concat(), &export);
    assert_eq!(code, 1);

    for wrong in [
        &["-"][..],
        &["--public-key", "no key", "-"],
        &["--public-key", &key, "/no/such/export"],
        &["--public-key", &key, "--expect-height", "1", "-"],
        &["--public-key", &key],
    ] {
        assert_eq!(run(wrong, &export).0, 2, "{wrong:?}");
    }
}

/// A proof is judged in the form in which the API gives it, with zeros and
/// empty lists missing, by a key in a file.
#[test]
fn proofs_are_judged() {
    let chain = Chain::seal(fixed(1), 2, |_| true);
    let (block, leaves) = chain.blocks[0].clone();
    let proof = InclusionProof {
        posting: chain.postings[0][0].clone(),
        leaf_index: 0,
        path: merkle::path(&leaves, 0).expect("a path"),
        block,
        following: Vec::new(),
        checkpoint: chain.checkpoints[&0].clone(),
    };
    let mut value = serde_json::to_value(&proof).expect("JSON");
    let fields = value.as_object_mut().expect("an object");
    for default in ["leaf_index", "path", "following"] {
        fields.remove(default).expect("it is there");
    }
    let answer = serde_json::json!({ "proof": value }).to_string();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("proof-key");
    std::fs::write(&file, format!("{}\n", key())).expect("a file");
    let file = file.to_str().expect("a path");
    let arguments = ["inclusion", "--public-key", file, "-"];
    let (code, said) = run(&arguments, answer.as_bytes());
    assert_eq!(code, 0, "{said}");
    let altered = answer.replacen("\"default\"", "\"defautl\"", 1);
    assert_ne!(altered, answer);
    assert_eq!(run(&arguments, altered.as_bytes()).0, 1);
    assert_eq!(run(&arguments, b"nothing").0, 1);
}
