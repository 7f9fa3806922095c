//! Writes `EventData` for every message of the contract's `events.proto` files,
//! so that an event's schema is its message's full name and nobody repeats it.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=sqlx.toml");
    let proto_root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", proto_root.display());

    let mut files = Vec::new();
    for area in fs::read_dir(proto_root.join("bursar"))? {
        let file = area?.path().join("v1/events.proto");
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let set = protox::compile(&files, [proto_root, &proto_root.join("third_party")])?;

    let mut code = String::new();
    for file in set
        .file
        .iter()
        .filter(|file| file.name().ends_with("/events.proto"))
    {
        let package = file.package();
        let module = package
            .strip_prefix("bursar.")
            .ok_or("events.proto is not in a bursar package")?
            .replace('.', "::");
        for message in &file.message_type {
            let name = message.name();
            writeln!(
                code,
                "impl EventData for ::bursar_contracts::{module}::{name} {{\n    const SCHEMA: \
                 &'static str = \"{package}.{name}\";\n}}"
            )?;
        }
    }
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out_dir.join("event_data.rs"), code)?;
    Ok(())
}
