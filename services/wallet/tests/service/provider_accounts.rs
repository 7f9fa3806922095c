//! Accounts at providers: the RPCs, the job that asks the provider, and both
//! providers over HTTP.

mod life;
mod providus;
mod recovery;
mod stage;
mod start;
