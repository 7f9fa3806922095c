//! `bursar-verify`: checks an export of the ledger, or the proof of one
//! posting, with nothing but the ledger's public key.
//!
//! It exits with 0 when nothing was altered, with 1 when something was, and
//! with 2 when it was called wrongly or could not read what it was given.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bursar_proof::verify::{self, Expected, Options, Summary, VerifyError};
use bursar_proof::{Hash, InclusionProof, TrustedKeys, VerifyingKey};
use clap::{Args, Parser, Subcommand};

const ALTERED: u8 = 1;
const FAILED: u8 = 2;
/// The longest proof that is read; one over the most blocks takes about 200 kB.
const MAX_PROOF_BYTES: u64 = 16 << 20;

/// Checks an export of the ledger and names the first altered row.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    export: Option<ExportArguments>,
}

#[derive(Args)]
struct ExportArguments {
    /// The public key: base64 of its 32 bytes, or a file with that. Several
    /// times after a change of the key.
    #[arg(long = "public-key", required = true)]
    public_keys: Vec<String>,
    /// A height at which the chain must have the block of --expect-hash.
    #[arg(long, requires = "expect_hash")]
    expect_height: Option<u64>,
    /// The hash of that block, known from an earlier checkpoint.
    #[arg(long, requires = "expect_height")]
    expect_hash: Option<Hash>,
    /// Refuse blocks behind the last signature.
    #[arg(long)]
    require_signed: bool,
    /// The export; `-` is the standard input.
    export: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the proof of one posting.
    Inclusion {
        /// The public key: base64 of its 32 bytes, or a file with that. Several
        /// times after a change of the key.
        #[arg(long = "public-key", required = true)]
        public_keys: Vec<String>,
        /// The proof as JSON, as the API returns it; `-` is the standard input.
        proof: PathBuf,
    },
}

/// What the API returns.
#[derive(serde::Deserialize)]
struct ProofAnswer {
    proof: InclusionProof,
}

/// What the program says, and whether that is good.
struct Answer {
    text: String,
    exit: u8,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a person or a script"
)]
fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(answer) if answer.exit == 0 => {
            print!("{}", answer.text);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            eprint!("{}", answer.text);
            ExitCode::from(answer.exit)
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: Arguments) -> Result<Answer, String> {
    match (arguments.command, arguments.export) {
        (Some(Command::Inclusion { public_keys, proof }), _) => {
            inclusion(&read_keys(&public_keys)?, &proof)
        }
        (None, Some(arguments)) => export(&arguments),
        (None, None) => Err("name an export; --help tells more".to_owned()),
    }
}

fn export(arguments: &ExportArguments) -> Result<Answer, String> {
    let expected = match (arguments.expect_height, arguments.expect_hash) {
        (Some(height), Some(hash)) => Some(Expected { height, hash }),
        _ => None,
    };
    let options = Options {
        keys: read_keys(&arguments.public_keys)?,
        expected,
        is_unsigned_refused: arguments.require_signed,
    };
    match verify::verify(open(&arguments.export)?, &options) {
        Ok(summary) => Ok(Answer {
            text: tell(&summary),
            exit: 0,
        }),
        Err(VerifyError::Altered(alteration)) => Ok(Answer {
            text: format!("ALTERED: {alteration}\n"),
            exit: ALTERED,
        }),
        Err(error @ VerifyError::Io(_)) => Err(error.to_string()),
    }
}

fn inclusion(keys: &TrustedKeys, path: &Path) -> Result<Answer, String> {
    let mut text = String::new();
    let mut source = open(path)?.take(MAX_PROOF_BYTES);
    let read = source.read_to_string(&mut text);
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    let ProofAnswer { proof } = match serde_json::from_str(&text) {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(Answer {
                text: format!("ALTERED: it is no proof: {error}\n"),
                exit: ALTERED,
            });
        }
    };
    let posting = proof.posting.posting_id;
    Ok(match proof.check(keys) {
        Ok(()) => Answer {
            text: format!(
                "OK: posting {posting} is in block {}, signed at block {} by key {}\n",
                proof.block.height, proof.checkpoint.height, proof.checkpoint.key_id
            ),
            exit: 0,
        },
        Err(fault) => Answer {
            text: format!("ALTERED: posting {posting}: {fault}\n"),
            exit: ALTERED,
        },
    })
}

fn read_keys(given: &[String]) -> Result<TrustedKeys, String> {
    given.iter().map(|given| key(given)).collect()
}

fn key(given: &str) -> Result<VerifyingKey, String> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let text = std::fs::read_to_string(given)
        .map_err(|error| format!("--public-key is neither a key nor a file: {given}: {error}"))?;
    text.parse().map_err(|error| format!("{given}: {error}"))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, String> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn tell(summary: &Summary) -> String {
    let mut text = String::from("OK: nothing was altered\n");
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<11} {value}");
    };
    let counts = &summary.counts;
    let heights = summary.heights;
    let range = heights.map_or(String::new(), |(first, last)| {
        format!(" ({first} to {last})")
    });
    line("blocks", format!("{}{range}", counts.blocks));
    line("postings", counts.postings.to_string());
    line("entries", counts.entries.to_string());
    line("wallets", summary.wallets.to_string());
    let currencies: Vec<_> = summary.currencies.iter().map(String::as_str).collect();
    line("currencies", currencies.join(" "));
    line(
        "signed",
        match &summary.checkpoint {
            None => "nothing".to_owned(),
            Some(last) => format!(
                "up to block {} with hash {} by key {}",
                last.height, last.block_hash, last.key_id
            ),
        },
    );
    if heights.is_some_and(|(first, _)| first > 1) {
        line(
            "begins",
            "later than the ledger: what was before it is not checked".to_owned(),
        );
    }
    let unsigned = summary.unsigned;
    if unsigned.blocks > 0 {
        line(
            "NOT SIGNED",
            format!(
                "the last {} blocks with {} postings: no checkpoint vouches for them yet",
                unsigned.blocks, unsigned.postings
            ),
        );
    }
    text
}
