//! Every point, in every way in which a process or its database may let go: the
//! longer variant of the kills, which `make chaos` runs and `make test` does not.
//!
//! Nothing here knows a list of its own: the cases are those of the kills. What
//! fails does not end the run; it is told at its line, and all of it at the end.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bursar_testkit::side_by_side;
use futures::FutureExt;

use crate::cases::{Case, all, every_minute};
use crate::street::Street;

/// How many cases are tried at the same time. Most of a freeze is waiting.
const LANES: usize = 3;
/// Chooses points by the beginnings of their names, with commas between.
const POINTS_VARIABLE: &str = "CHAOS_POINTS";
/// Chooses ways by their names, with commas between.
const WAYS_VARIABLE: &str = "CHAOS_WAYS";

/// What happens at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The process is killed.
    Kill,
    /// The process stands still while another takes over, and goes on then.
    Freeze,
    /// PostgreSQL is killed while the process stands there.
    Database,
}

impl Blow {
    const ALL: [Self; 3] = [Self::Kill, Self::Freeze, Self::Database];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Database => "database",
        }
    }

    async fn street(self) -> Street {
        match self {
            Self::Kill | Self::Freeze => Street::open().await,
            Self::Database => Street::open_on_own_server().await,
        }
    }

    /// Carries it out and checks everything; what is to be told of it.
    async fn strike(self, street: &mut Street, case: Case) -> &'static str {
        match self {
            Self::Kill => {
                street.survive(case).await;
                "held"
            }
            Self::Freeze if street.survive_freeze(case).await => "held, finished by the other",
            Self::Freeze => "held, finished afterwards",
            Self::Database => {
                street.survive_database(case).await;
                "held"
            }
        }
    }
}

/// What is still to be tried, and what came of the rest.
struct Trial {
    waiting: Mutex<VecDeque<(Blow, Case)>>,
    results: Mutex<Vec<Tried>>,
    started: Instant,
}

struct Tried {
    blow: Blow,
    case: Case,
    held: bool,
}

/// No kill, no freeze and no loss of the database, at any point of any flow, loses,
/// doubles or strands anything; and every point is come by.
#[test]
#[ignore = "takes many minutes; `make chaos` runs it"]
fn at_every_point() {
    let trial = Trial::chosen();
    let chosen = trial.waiting.lock().map_or(0, |waiting| waiting.len());
    assert!(
        chosen > 0,
        "{POINTS_VARIABLE} or {WAYS_VARIABLE} chooses nothing"
    );
    side_by_side((0..LANES).map(|_| || trial.lane()));
    trial.close(chosen);
}

impl Trial {
    fn chosen() -> Self {
        let points = Choice::of(POINTS_VARIABLE);
        let ways = Choice::of(WAYS_VARIABLE);
        // What takes a minute to come is begun first.
        let cases: Vec<Case> = every_minute().into_iter().chain(all()).collect();
        let mut waiting = VecDeque::new();
        for blow in Blow::ALL.into_iter().filter(|blow| ways.has(blow.name())) {
            let chosen = cases.iter().filter(|case| points.has(case.point));
            waiting.extend(chosen.map(|case| (blow, *case)));
        }
        Self {
            waiting: Mutex::new(waiting),
            results: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Tries one after the other, in the same house while nothing goes wrong in it.
    async fn lane(&self) {
        let mut home: Option<(Blow, Street)> = None;
        while let Some((blow, case)) = self.next() {
            let started = Instant::now();
            let trying = async {
                let mut street = match home.take() {
                    Some((for_blow, street)) if for_blow == blow => street,
                    _ => blow.street().await,
                };
                let outcome = blow.strike(&mut street, case).await;
                (street, outcome)
            };
            let tried = AssertUnwindSafe(trying).catch_unwind().await;
            let outcome = tried.as_ref().map_or("FAILED", |(_, outcome)| outcome);
            tell(format_args!(
                "{:<8}  {:<30} {:<13} {:<62} {:>3} s  {outcome}",
                blow.name(),
                case.point,
                format!("{:?}", case.flow),
                format!("{:?}", case.way),
                started.elapsed().as_secs(),
            ));
            let held = tried.is_ok();
            home = tried.ok().map(|(street, _)| (blow, street));
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push(Tried { blow, case, held });
        }
    }

    fn next(&self) -> Option<(Blow, Case)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }

    /// Tells the counts, and fails when anything did.
    fn close(&self, chosen: usize) {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Blow::ALL.map(|blow| {
            let of_it = || results.iter().filter(|tried| tried.blow == blow);
            let held = of_it().filter(|tried| tried.held).count();
            format!("{} {held} of {}", blow.name(), of_it().count())
        });
        let points: BTreeSet<&str> = results.iter().map(|tried| tried.case.point).collect();
        tell(format_args!(
            "chaos: {} point(s), held: {}; {} s",
            points.len(),
            counts.join(", "),
            self.started.elapsed().as_secs()
        ));
        assert_eq!(results.len(), chosen, "some were not tried");
        let failed: Vec<String> = results
            .iter()
            .filter(|tried| !tried.held)
            .map(|tried| format!("{} {:?}", tried.blow.name(), tried.case))
            .collect();
        assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
    }
}

/// What a variable chooses: everything when it is not there.
struct Choice(Vec<String>);

impl Choice {
    fn of(variable: &str) -> Self {
        let text = std::env::var(variable).unwrap_or_default();
        let beginnings = text.split(',').map(str::trim);
        Self(
            beginnings
                .filter(|beginning| !beginning.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|beginning| name.starts_with(beginning))
    }
}

/// A line for whoever runs this, while it runs.
fn tell(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Nobody may be there to read it.
    let _ = writeln!(out, "{line}");
}
