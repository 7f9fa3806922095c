//! What the service rests on.

/// The rules of the environment. The service rests on all of them; a test takes
/// one away and sees what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The ledger posts an id once.
    pub(crate) ledger_remembers: bool,
    /// The provider acts once for a reference.
    pub(crate) provider_remembers: bool,
    /// The provider, and a run, do nothing with an order that has grown old.
    pub(crate) orders_expire: bool,
    /// A look is answered within half of the provider's window, or not at all.
    pub(crate) looks_expire: bool,
    /// A run writes only while the lease's epoch and the version are its own.
    pub(crate) fenced: bool,
    /// A run knows when it may not be the only one that has posted.
    pub(crate) sees_loose_ends: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        ledger_remembers: true,
        provider_remembers: true,
        orders_expire: true,
        looks_expire: true,
        fenced: true,
        sees_loose_ends: true,
    };
}
