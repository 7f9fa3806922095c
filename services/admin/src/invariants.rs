//! The rules that `bursar-admin verify` holds against its database, as queries
//! that return the rows that break them.
//!
//! They use no function of the database but PostgreSQL's own: whoever could
//! alter the audit trail could alter a function as well.

use bursar_server::Invariant;

/// All rules.
pub const INVARIANTS: [Invariant; 5] = [
    EVENT_VERSIONS,
    EVENTS_PUBLISHED,
    AUDIT_ORDER,
    TICKET_EVENTS,
    AUDIT_CHAIN,
];

/// The events of a ticket have the versions 1, 2, 3, … without a gap.
pub const EVENT_VERSIONS: Invariant = Invariant {
    number: 8,
    name: "event versions run from 1 without a gap",
    sql: bursar_events::VERSION_GAPS_SQL,
};

/// Events reach their stream.
pub const EVENTS_PUBLISHED: Invariant = Invariant {
    number: 10,
    name: "no event is unpublished for over 30 s",
    sql: bursar_events::UNPUBLISHED_EVENTS_SQL,
};

/// The lines of the audit trail are as they were written, none is missing and
/// none was added. Names the first line after a gap, every line whose content
/// is not what its hash says, and the line after one whose hash was rewritten.
/// The encoding is the one of `domain::audit`.
///
/// What it cannot see is a chain that was rewritten as a whole, from some line
/// to its end and in `audit_chains`: that takes a hash kept elsewhere.
pub const AUDIT_CHAIN: Invariant = Invariant {
    number: 14,
    name: "the audit chain verifies",
    sql: r"
WITH lines AS (
    SELECT tenant_id, position, event_id, previous_hash, hash,
           lag(position, 1, 0::bigint) OVER chain AS position_before,
           lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER chain AS hash_before,
           sha256((
               SELECT string_agg(int8send(octet_length(part)) || part, ''::bytea ORDER BY place)
               FROM unnest(ARRAY[
                   convert_to('bursar.audit.v1', 'UTF8'),
                   previous_hash,
                   int8send(position),
                   convert_to(tenant_id, 'UTF8'),
                   uuid_send(event_id),
                   convert_to(source, 'UTF8'),
                   convert_to(type, 'UTF8'),
                   convert_to(subject, 'UTF8'),
                   int8send(subject_version),
                   convert_to(actor, 'UTF8'),
                   convert_to(correlation_id, 'UTF8'),
                   int8send((extract(epoch FROM occurred_at) * 1000000)::bigint),
                   int8send((extract(epoch FROM recorded_at) * 1000000)::bigint),
                   convert_to(data, 'UTF8')
               ]) WITH ORDINALITY AS parts (part, place)
           )) AS hash_of_content
    FROM audit_events
    WINDOW chain AS (PARTITION BY tenant_id ORDER BY position)
), ends AS (
    SELECT DISTINCT ON (tenant_id) tenant_id, position, hash
    FROM audit_events
    ORDER BY tenant_id, position DESC
)
SELECT tenant_id, position, event_id,
       CASE
           WHEN hash <> hash_of_content THEN 'the line is not what its hash says'
           WHEN position <> position_before + 1 THEN 'lines before this one are missing'
           ELSE 'the line before is not the one this one was chained to'
       END AS fault
FROM lines
WHERE hash <> hash_of_content
   OR position <> position_before + 1
   OR previous_hash <> hash_before
UNION ALL
SELECT coalesce(chains.tenant_id, ends.tenant_id), coalesce(chains.position, ends.position), NULL,
       'the chain does not end where it was last extended'
FROM audit_chains AS chains
FULL JOIN ends ON ends.tenant_id = chains.tenant_id
WHERE (coalesce(chains.position, 0), coalesce(chains.hash, decode(repeat('00', 32), 'hex')))
   IS DISTINCT FROM
      (coalesce(ends.position, 0), coalesce(ends.hash, decode(repeat('00', 32), 'hex')))
ORDER BY 1, 2",
};

/// The audit trail has the events of each subject in their order. Where a
/// source is audited whole, it has them from the first and without a gap;
/// wallet's movements of money are left out, so its events have gaps. A subject
/// of which an operator discarded a dead letter lacks that event for good, which
/// the dead letter itself shows.
pub const AUDIT_ORDER: Invariant = Invariant {
    number: 11,
    name: "the audit trail has each subject's events in order",
    sql: r"
SELECT tenant_id, position, event_id, source, subject, subject_version
FROM (
    SELECT tenant_id, position, event_id, source, subject, subject_version,
           lag(subject_version, 1, 0::bigint) OVER (
               PARTITION BY tenant_id, source, subject ORDER BY position
           ) AS version_before
    FROM audit_events
) AS lines
WHERE subject_version <= version_before
   OR (
       source <> 'bursar.wallet'
       AND subject_version <> version_before + 1
       AND NOT EXISTS (
           SELECT FROM dead_letters
           WHERE dead_letters.consumer_group = 'admin-audit'
             AND dead_letters.discarded
             AND dead_letters.source = lines.source
             AND dead_letters.subject = lines.subject
       )
   )
ORDER BY tenant_id, position",
};

/// Every change of a ticket has its event and every event its change.
pub const TICKET_EVENTS: Invariant = Invariant {
    number: 12,
    name: "tickets have as many events as versions",
    sql: r"
SELECT tickets.ticket_id, tickets.version, count(events.event_id) AS events
FROM tickets
LEFT JOIN events ON events.aggregate_id = tickets.ticket_id
GROUP BY tickets.ticket_id, tickets.version
HAVING tickets.version <> count(events.event_id)",
};
