//! The local mesh: everything `make` starts, checks and shows.
//!
//! The only crate that knows the whole mesh. Services never depend on it; tests
//! that need a mesh of their own may.
//!
//! - [`plan`] says which processes there are and what each is started from;
//! - [`supervisor`] keeps them running, and the [`guardian`] keeps it running;
//! - [`process`] has the rules by which nothing runs twice or is killed by mistake;
//! - [`mesh`] is a mesh as a test holds it;
//! - [`bench`] measures how fast it is;
//! - [`demo`] and [`verify`] show and prove that it works;
//! - [`canaries`] breaks rules on purpose, to see that the tests notice;
//! - [`directions`] checks who may use whom;
//! - [`commands`] are what people ask for.

pub mod bench;
pub mod canaries;
pub mod checkout;
pub mod commands;
pub mod demo;
pub mod directions;
pub mod guardian;
pub mod home;
pub mod intent;
pub mod mesh;
pub mod plan;
pub mod ports;
pub mod process;
pub mod program;
pub mod secrets;
pub mod servers;
pub mod supervisor;
pub mod verify;
pub mod workspace;

pub use mesh::{Mesh, MeshOptions};
pub use verify::verify_blocking as verify;
