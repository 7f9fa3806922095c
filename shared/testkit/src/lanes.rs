//! Trials side by side, each with a thread and a runtime of its own.
//!
//! Making and dropping a server or a database holds a thread up for as long as some
//! connection to the server has not got through. Trials that share a thread would wait
//! there for their own connections.

use std::thread;

use tokio::runtime;

/// Runs the trials, and fails when one of them does, after all have ended.
///
/// # Panics
/// When a trial panics, or no runtime can be made.
pub fn side_by_side<F: Future<Output = ()>>(
    trials: impl IntoIterator<Item = impl FnOnce() -> F + Send>,
) {
    thread::scope(|scope| {
        for trial in trials {
            scope.spawn(|| {
                let runtime = runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build();
                runtime.expect("a runtime").block_on(trial());
            });
        }
    });
}
