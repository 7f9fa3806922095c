//! Named points at which a test can end the process.
//!
//! A program promises something about being killed between two steps. Only a
//! kill between these two steps can show that it keeps the promise, and waiting
//! for one by chance shows little. So the code names its steps:
//!
//! ```
//! # fn commit() {}
//! commit();
//! bursar_crash::crash_point!("ledger.after_commit");
//! ```
//!
//! Without the feature `crash-points` this is nothing: no code, no name in the
//! program. Releases are built so, and a build that has the feature but no debug
//! assertions does not compile. With the feature the environment decides, once
//! for the process:
//!
//! - `BURSAR_CRASH_POINT=<name>[:<nth>][:kill|stop|panic]` ends the process with
//!   SIGKILL when the point is reached for the nth time (the first when it does
//!   not say), stops it with SIGSTOP until somebody continues it, or panics.
//! - `BURSAR_CRASH_POINTS_LOG=<file>` appends each point's name to the file
//!   when it is first reached, a line each, so that a test can tell a point that
//!   was survived from one that was never reached.
//!
//! A name is `<part>.<step>` in lower case and belongs to one place in the code.
//! Each program's tests keep the list of its points and compare it with the
//! sources, so that no point is left without a kill.
//!
//! The same feature has the canaries: [`canary!`] is true where a rule is to be
//! broken on purpose, to see that a test notices. `BURSAR_CANARY=<name>` names the
//! one rule that this process breaks. Names have the same form as those of points.

#[cfg(all(feature = "crash-points", not(debug_assertions)))]
compile_error!("crash points are for tests: a release is built without the feature `crash-points`");

#[cfg(feature = "crash-points")]
mod canary;
#[cfg(feature = "crash-points")]
mod plan;
#[cfg(feature = "crash-points")]
mod process;

#[cfg(feature = "crash-points")]
pub use canary::{CANARY_VARIABLE, is_broken};
#[cfg(feature = "crash-points")]
pub use plan::{Action, InvalidPlan, Plan};
#[cfg(feature = "crash-points")]
pub use process::{LOG_VARIABLE, PLAN_VARIABLE, arm, reach};

/// A point at which a test can end the process; see the crate's documentation.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::reach($name)
    };
}

/// A point at which a test can end the process; nothing in this build.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}

/// Whether this process breaks the rule of that name; see the crate's documentation.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! canary {
    ($name:literal) => {
        $crate::is_broken($name)
    };
}

/// Whether this process breaks the rule of that name: this build breaks none.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! canary {
    ($name:literal) => {
        false
    };
}
