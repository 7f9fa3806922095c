//! The rules that always hold, for `bursar-wallet verify`.
//!
//! Each query returns the rows that break its rule. They read whole tables and
//! take no locks; on a service at work each sees one consistent snapshot.

mod chain;

use bursar_server::Invariant;

pub use chain::CHAIN;

/// The rules, by their numbers in the platform's list.
pub const INVARIANTS: [Invariant; 21] = [
    Invariant {
        number: 1,
        name: "all entries sum to zero in each currency",
        sql: "SELECT tenant_id, currency, sum(amount) AS sum
              FROM entries
              GROUP BY tenant_id, currency
              HAVING sum(amount) <> 0",
    },
    Invariant {
        number: 2,
        name: "the entries of every posting are at least two and sum to zero in each currency",
        sql: "SELECT posting_id, currency, sum(amount) AS sum, count(*) AS entries
              FROM entries
              GROUP BY posting_id, currency
              HAVING sum(amount) <> 0 OR count(*) < 2",
    },
    Invariant {
        number: 2,
        name: "every posting has exactly the entries that it names",
        sql: "SELECT postings.id, leg.wallet_id, leg.version
              FROM postings
              CROSS JOIN UNNEST(leg_wallet_ids, leg_versions) AS leg (wallet_id, version)
              LEFT JOIN entries
                  ON entries.wallet_id = leg.wallet_id AND entries.version = leg.version
              WHERE entries.posting_id IS DISTINCT FROM postings.id
              UNION ALL
              SELECT entries.posting_id, entries.wallet_id, entries.version
              FROM entries JOIN postings ON postings.id = entries.posting_id
              WHERE NOT EXISTS (
                  SELECT FROM UNNEST(leg_wallet_ids, leg_versions) AS leg (wallet_id, version)
                  WHERE leg.wallet_id = entries.wallet_id AND leg.version = entries.version
              )",
    },
    Invariant {
        number: 3,
        name: "every balance is the sum of its entries",
        sql: "SELECT wallets.id
              FROM wallets
              LEFT JOIN (
                  SELECT wallet_id,
                      sum(amount) FILTER (WHERE bucket = 'available') AS available,
                      sum(amount) FILTER (WHERE bucket = 'held') AS held,
                      sum(amount) FILTER (WHERE bucket = 'bonus') AS bonus
                  FROM entries
                  GROUP BY wallet_id
              ) AS sums ON sums.wallet_id = wallets.id
              WHERE wallets.available <> coalesce(sums.available, 0)
                  OR wallets.held <> coalesce(sums.held, 0)
                  OR wallets.bonus <> coalesce(sums.bonus, 0)",
    },
    Invariant {
        number: 3,
        name: "every entry is in a wallet of its currency and tenant",
        sql: "SELECT entries.wallet_id, entries.version
              FROM entries
              LEFT JOIN wallets ON wallets.id = entries.wallet_id
              WHERE wallets.id IS NULL
                  OR wallets.currency <> entries.currency
                  OR wallets.tenant_id <> entries.tenant_id",
    },
    Invariant {
        number: 3,
        name: "what a campaign was funded is what is left and what was granted, less what expired",
        sql: "SELECT bonus_campaigns.id, wallets.available, moved.funded, moved.given,
                  moved.taken_back, grants.granted, grants.expired
              FROM bonus_campaigns
              JOIN wallets ON wallets.id = bonus_campaigns.budget_wallet_id
              LEFT JOIN (
                  SELECT entries.wallet_id,
                      sum(amount) FILTER (WHERE kind = 'bonus_funding') AS funded,
                      -sum(amount) FILTER (WHERE kind = 'bonus_grant') AS given,
                      sum(amount) FILTER (WHERE kind = 'bonus_expiry') AS taken_back
                  FROM entries JOIN postings ON postings.id = entries.posting_id
                  WHERE entries.wallet_id IN (SELECT budget_wallet_id FROM bonus_campaigns)
                  GROUP BY entries.wallet_id
              ) AS moved ON moved.wallet_id = wallets.id
              LEFT JOIN (
                  SELECT campaign_id, sum(amount) AS granted,
                      sum(returned) FILTER (WHERE status = 'expired') AS expired
                  FROM bonus_grants
                  GROUP BY campaign_id
              ) AS grants ON grants.campaign_id = bonus_campaigns.id
              WHERE coalesce(moved.funded, 0) <> wallets.available
                      + coalesce(grants.granted, 0) - coalesce(grants.expired, 0)
                  OR coalesce(moved.given, 0) <> coalesce(grants.granted, 0)
                  OR coalesce(moved.taken_back, 0) <> coalesce(grants.expired, 0)",
    },
    Invariant {
        number: 4,
        name: "no user's wallet is below its floor, and no held or bonus money is negative",
        sql: "SELECT id, available, held, bonus
              FROM wallets
              WHERE available < min_available OR held < 0 OR bonus < 0",
    },
    Invariant {
        number: 4,
        name: "no user's wallet was ever below zero in held or bonus money",
        sql: "SELECT wallet_id, version, balance_after
              FROM entries
              WHERE bucket IN ('held', 'bonus') AND balance_after < 0",
    },
    Invariant {
        number: 4,
        name: "no campaign's budget is overdrawn, or may be",
        sql: "SELECT bonus_campaigns.id, wallets.available, wallets.min_available
              FROM bonus_campaigns
              LEFT JOIN wallets ON wallets.id = bonus_campaigns.budget_wallet_id
              WHERE wallets.available IS NULL
                  OR wallets.available < 0
                  OR wallets.min_available <> 0",
    },
    Invariant {
        number: 4,
        name: "no user was granted more than a campaign's cap",
        sql: "SELECT bonus_grants.campaign_id, owner_user_id, sum(amount) AS granted
              FROM bonus_grants
              JOIN bonus_campaigns ON bonus_campaigns.id = bonus_grants.campaign_id
              WHERE user_cap IS NOT NULL
              GROUP BY bonus_grants.campaign_id, owner_user_id, user_cap
              HAVING sum(amount) > user_cap",
    },
    Invariant {
        number: 5,
        name: "held money is the sum of the active holds",
        sql: "SELECT wallets.id, wallets.held, sums.held AS holds
              FROM wallets
              LEFT JOIN (
                  SELECT wallet_id, sum(amount - captured_minor) AS held
                  FROM holds
                  WHERE status = 'active'
                  GROUP BY wallet_id
              ) AS sums ON sums.wallet_id = wallets.id
              WHERE wallets.held <> coalesce(sums.held, 0)",
    },
    Invariant {
        number: 5,
        name: "bonus money is the sum of what remains of the active grants",
        sql: "SELECT wallets.id, wallets.bonus, sums.bonus AS grants
              FROM wallets
              LEFT JOIN (
                  SELECT wallet_id, sum(remaining) AS bonus
                  FROM bonus_grants
                  WHERE status = 'active'
                  GROUP BY wallet_id
              ) AS sums ON sums.wallet_id = wallets.id
              WHERE wallets.bonus <> coalesce(sums.bonus, 0)",
    },
    Invariant {
        number: 5,
        name: "every grant is of its campaign's budget and currency, and of its wallet's owner",
        sql: "SELECT bonus_grants.id
              FROM bonus_grants
              LEFT JOIN bonus_campaigns ON bonus_campaigns.id = bonus_grants.campaign_id
              LEFT JOIN wallets ON wallets.id = bonus_grants.wallet_id
              WHERE bonus_campaigns.budget_wallet_id IS DISTINCT FROM bonus_grants.budget_wallet_id
                  OR bonus_campaigns.tenant_id IS DISTINCT FROM bonus_grants.tenant_id
                  OR bonus_campaigns.currency IS DISTINCT FROM wallets.currency
                  OR wallets.owner_user_id IS DISTINCT FROM bonus_grants.owner_user_id
                  OR wallets.tenant_id IS DISTINCT FROM bonus_grants.tenant_id",
    },
    Invariant {
        number: 6,
        name: "every entry belongs to one posting",
        sql: "SELECT entries.wallet_id, entries.version, entries.posting_id
              FROM entries
              LEFT JOIN postings ON postings.id = entries.posting_id
              WHERE postings.id IS NULL OR postings.tenant_id <> entries.tenant_id",
    },
    Invariant {
        number: 8,
        name: "the versions of every wallet's entries run 1..n without a gap",
        sql: "SELECT wallets.id, wallets.version, counted.entries, counted.latest
              FROM wallets
              LEFT JOIN (
                  SELECT wallet_id, count(*) AS entries, max(version) AS latest
                  FROM entries
                  GROUP BY wallet_id
              ) AS counted ON counted.wallet_id = wallets.id
              WHERE wallets.version <> coalesce(counted.entries, 0)
                  OR wallets.version <> coalesce(counted.latest, 0)",
    },
    Invariant {
        number: 8,
        name: "every wallet has as many events as it counts",
        sql: "SELECT wallets.id, wallets.event_version, counted.latest
              FROM wallets
              LEFT JOIN (
                  SELECT aggregate_id, max(version) AS latest
                  FROM event_log
                  WHERE aggregate_kind = 'wallet'
                  GROUP BY aggregate_id
              ) AS counted ON counted.aggregate_id = wallets.id
              WHERE wallets.event_version <> coalesce(counted.latest, 0)",
    },
    Invariant {
        number: 8,
        name: "event versions run 1..n without a gap",
        sql: bursar_events::VERSION_GAPS_SQL,
    },
    Invariant {
        number: 9,
        name: "every balance after an entry is the one before it and the amount",
        sql: "SELECT wallet_id, version
              FROM (
                  SELECT wallet_id, version, amount, balance_after,
                      lag(balance_after, 1, 0::bigint) OVER (
                          PARTITION BY wallet_id, bucket ORDER BY version
                      ) AS balance_before
                  FROM entries
              ) AS chained
              WHERE balance_after <> balance_before + amount",
    },
    Invariant {
        number: 10,
        name: "no event waits longer than 30 s to be published",
        sql: bursar_events::UNPUBLISHED_EVENTS_SQL,
    },
    Invariant {
        number: 14,
        name: "every posting older than a minute is in a block or waits for one",
        sql: "SELECT id, recorded_at
              FROM postings
              WHERE recorded_at < now() - interval '1 minute'
                  AND NOT EXISTS (
                      SELECT FROM (
                          SELECT unnest(posting_ids) AS id FROM ledger_blocks
                          UNION ALL
                          SELECT unnest(posting_ids) FROM ledger_unsealed
                      ) AS known
                      WHERE known.id = postings.id
                  )",
    },
    Invariant {
        number: 14,
        name: "no posting is in two blocks, or sealed and waiting to be sealed",
        sql: "SELECT id, count(*) AS times
              FROM (
                  SELECT unnest(posting_ids) AS id FROM ledger_blocks
                  UNION ALL
                  SELECT unnest(posting_ids) FROM ledger_unsealed
              ) AS known
              GROUP BY id
              HAVING count(*) > 1",
    },
];
