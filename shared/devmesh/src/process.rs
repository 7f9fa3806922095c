//! Processes as the mesh sees them: who one is, how it is started, and how it
//! is stopped.
//!
//! The mesh must never start a process twice, never signal a stranger, and must
//! outlive the death of any of its own parts, `kill -9` included. Three rules
//! carry that:
//!
//! 1. A process is named by pid, start time and boot, never by pid alone or by
//!    name, so a reused pid is a stranger ([`identity`]).
//! 2. A process records itself, under a lock that it holds for as long as it
//!    lives, before it becomes the program it is meant to be ([`launch`]). A
//!    supervisor that is killed at any moment leaves either a record or nothing.
//! 3. Whoever stops a process asks first and waits ([`stop`]).

pub mod identity;
pub mod launch;
pub mod stop;
