//! The ledger that the postings of an export add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::fault::Check;
use crate::posting::{EntryRecord, PostingRecord};

/// Where every wallet stands, and which postings there were.
pub(super) struct Ledger {
    /// Whether the export begins with the first block, so that every wallet
    /// begins with nothing.
    is_whole: bool,
    wallets: HashMap<Uuid, Wallet>,
    postings: HashSet<Uuid>,
    words: Words,
    currencies: BTreeSet<u32>,
}

/// A wallet after its latest entry.
struct Wallet {
    version: i64,
    currency: u32,
    tenant: u32,
    /// Whether all its entries were seen.
    is_whole: bool,
    balances: Vec<(u32, i64)>,
}

/// The few words of an export (buckets, currencies, tenants), each kept once.
#[derive(Default)]
struct Words(HashMap<String, u32>);

impl Words {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.0.get(word) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).expect("words are few");
        self.0.insert(word.to_owned(), number);
        number
    }
}

impl Ledger {
    /// A ledger without postings. If not whole, wallets may have had entries
    /// before.
    pub(super) fn new(is_whole: bool) -> Self {
        Self {
            is_whole,
            wallets: HashMap::new(),
            postings: HashSet::new(),
            words: Words::default(),
            currencies: BTreeSet::new(),
        }
    }

    pub(super) fn wallets(&self) -> usize {
        self.wallets.len()
    }

    pub(super) fn currencies(&self) -> BTreeSet<String> {
        let words = self.words.0.iter();
        words
            .filter(|(_, number)| self.currencies.contains(number))
            .map(|(word, _)| word.clone())
            .collect()
    }

    /// Adds a posting, or says which rule it breaks.
    pub(super) fn post(&mut self, posting: &PostingRecord<'_>) -> Result<(), Check> {
        if !self.postings.insert(posting.posting_id) {
            return Err(Check::Duplicate);
        }
        balance(posting)?;
        let tenant = self.words.number(&posting.tenant);
        for entry in &posting.entries {
            self.enter(entry, tenant)?;
        }
        Ok(())
    }

    fn enter(&mut self, entry: &EntryRecord<'_>, tenant: u32) -> Result<(), Check> {
        let wallet_id = entry.wallet_id;
        let currency = self.words.number(&entry.currency);
        let bucket = self.words.number(&entry.bucket);
        self.currencies.insert(currency);
        let is_first = entry.version == 1;
        let begins_before = !self.is_whole && !is_first;
        let wallet = self.wallets.entry(wallet_id).or_insert_with(|| Wallet {
            version: if begins_before {
                entry.version.saturating_sub(1)
            } else {
                0
            },
            currency,
            tenant,
            is_whole: !begins_before,
            balances: Vec::with_capacity(1),
        });
        if wallet.currency != currency || wallet.tenant != tenant {
            return Err(Check::Wallet { wallet_id });
        }
        let expected = wallet.version.saturating_add(1);
        if entry.version != expected || entry.version < 1 {
            return Err(Check::Version {
                wallet_id,
                version: entry.version,
                expected,
            });
        }
        wallet.version = entry.version;
        let place = wallet.balances.iter().position(|(name, _)| *name == bucket);
        let before = match place {
            Some(place) => Some(wallet.balances[place].1),
            None if wallet.is_whole => Some(0),
            None => None,
        };
        if let Some(before) = before
            && before.checked_add(entry.amount) != Some(entry.balance_after)
        {
            return Err(Check::Balance {
                wallet_id,
                version: entry.version,
                bucket: entry.bucket.clone().into_owned(),
                before,
                stated: entry.balance_after,
            });
        }
        match place {
            Some(place) => wallet.balances[place].1 = entry.balance_after,
            None => wallet.balances.push((bucket, entry.balance_after)),
        }
        Ok(())
    }
}

/// Checks that the entries are at least two and sum to zero in each currency.
fn balance(posting: &PostingRecord<'_>) -> Result<(), Check> {
    let entries = posting.entries.len();
    if entries < 2 {
        return Err(Check::Entries { entries });
    }
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for entry in &posting.entries {
        *sums.entry(&entry.currency).or_default() += i128::from(entry.amount);
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        None => Ok(()),
        Some((currency, sum)) => Err(Check::Sum {
            sum,
            currency: currency.to_owned(),
        }),
    }
}
