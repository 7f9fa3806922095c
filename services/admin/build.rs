//! Builds again when a migration is added: the migrator embeds them all.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
