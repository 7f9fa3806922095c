//! Keys of many requests at once, for effects that are made together.

use std::collections::{HashMap, HashSet};

use bursar_crash::canary;
use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::answer::Answer;
use super::store::{Claim, Found};
use super::{Scope, TTL};

/// A request whose answer is known with its claim.
#[derive(Clone, Debug)]
pub struct Answered<'a> {
    /// What the key is bound to.
    pub scope: Scope<'a>,
    /// What tells the request from another one with its key.
    pub fingerprint: [u8; 32],
    /// What it is answered.
    pub answer: Answer,
}

/// Claims the keys of requests and records their answers, in one statement.
/// Says of each request whether its key was free; a key that was not is left as
/// it is, and its request must be settled by [`super::claim`].
///
/// `conn` must be inside the transaction of the effects. No key may be there
/// twice. While another transaction holds an uncommitted claim on one of the
/// keys, this waits for its end: keys are taken in their order, so that two
/// callers do not wait in a circle.
pub async fn answer_all(
    conn: &mut PgConnection,
    requests: &[Answered<'_>],
    now: OffsetDateTime,
) -> Result<Vec<bool>, sqlx::Error> {
    let scopes = Scopes::of(requests.iter().map(|request| request.scope));
    let fingerprints: Vec<&[u8]> = requests
        .iter()
        .map(|request| request.fingerprint.as_slice())
        .collect();
    let (mut codes, mut messages, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        let (code, message, body) = request.answer.columns();
        codes.push(code);
        messages.push(message);
        bodies.push(body);
    }
    let rows = query!(
        "INSERT INTO idempotency_keys
             (tenant_id, principal, method, key, fingerprint, answer_code, answer_message,
              answer_body, created_at, expires_at)
         SELECT tenant_id, principal, method, key, fingerprint, answer_code, answer_message,
             answer_body, $9, $10
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[],
                 $6::smallint[], $7::bytea[], $8::bytea[])
             AS answered (tenant_id, principal, method, key, fingerprint, answer_code,
                 answer_message, answer_body)
         ORDER BY tenant_id, principal, method, key
         ON CONFLICT (tenant_id, principal, method, key) DO NOTHING
         RETURNING tenant_id, principal, method, key",
        &scopes.tenants as &[&str],
        &scopes.principals as &[&str],
        &scopes.methods as &[&str],
        &scopes.keys as &[&str],
        &fingerprints as &[&[u8]],
        &codes,
        &messages as &[Option<&[u8]>],
        &bodies as &[&[u8]],
        now,
        now + TTL,
    )
    .fetch_all(conn)
    .await?;
    let found = rows
        .into_iter()
        .map(|row| (row.tenant_id, row.principal, row.method, row.key));
    Ok(scopes.which(found.collect()))
}

/// A request whose answer is not known yet.
#[derive(Clone, Copy, Debug)]
pub struct Claiming<'a> {
    /// What the key is bound to.
    pub scope: Scope<'a>,
    /// What tells the request from another one with its key.
    pub fingerprint: [u8; 32],
    /// What the request is about to make, for whoever finds the claim unanswered.
    pub resource: Option<Uuid>,
}

/// Claims the keys of requests together, as [`super::claim`] does one. `None` for a key
/// that has expired, or that was let go of meanwhile: its request must be settled by
/// [`super::claim`]. Otherwise [`answer_all`]'s rules hold.
pub async fn claim_all(
    conn: &mut PgConnection,
    requests: &[Claiming<'_>],
    now: OffsetDateTime,
) -> Result<Vec<Option<Claim>>, sqlx::Error> {
    let free = insert_all(conn, requests, now).await?;
    let taken = requests.iter().zip(&free).filter(|(_, is_free)| !**is_free);
    let taken: Vec<&Claiming<'_>> = taken.map(|(request, _)| request).collect();
    let mut found = find_all(conn, &taken).await?.into_iter();
    let settled = |(request, is_free): (&Claiming<'_>, bool)| {
        if is_free {
            return Some(Claim::Claimed);
        }
        let found = found.next().flatten();
        if canary!("idempotency.claims_ignored") {
            return Some(Claim::Claimed);
        }
        let found = found.filter(|found| found.expires_at > now)?;
        Some(found.against(&request.fingerprint))
    };
    Ok(requests.iter().zip(free).map(settled).collect())
}

/// Inserts the claims whose keys have no rows, and says which these are.
async fn insert_all(
    conn: &mut PgConnection,
    requests: &[Claiming<'_>],
    now: OffsetDateTime,
) -> Result<Vec<bool>, sqlx::Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let scopes = Scopes::of(requests.iter().map(|request| request.scope));
    let fingerprints: Vec<&[u8]> = requests
        .iter()
        .map(|request| request.fingerprint.as_slice())
        .collect();
    let resources: Vec<Option<Uuid>> = requests.iter().map(|request| request.resource).collect();
    let rows = query!(
        "INSERT INTO idempotency_keys
             (tenant_id, principal, method, key, fingerprint, resource, created_at, expires_at)
         SELECT tenant_id, principal, method, key, fingerprint, resource, $7, $8
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[])
             AS claimed (tenant_id, principal, method, key, fingerprint, resource)
         ORDER BY tenant_id, principal, method, key
         ON CONFLICT (tenant_id, principal, method, key) DO NOTHING
         RETURNING tenant_id, principal, method, key",
        &scopes.tenants as &[&str],
        &scopes.principals as &[&str],
        &scopes.methods as &[&str],
        &scopes.keys as &[&str],
        &fingerprints as &[&[u8]],
        &resources as &[Option<Uuid>],
        now,
        now + TTL,
    )
    .fetch_all(conn)
    .await?;
    let found = rows
        .into_iter()
        .map(|row| (row.tenant_id, row.principal, row.method, row.key));
    Ok(scopes.which(found.collect()))
}

/// The rows of the requests' keys, in their order.
async fn find_all(
    conn: &mut PgConnection,
    requests: &[&Claiming<'_>],
) -> Result<Vec<Option<Found>>, sqlx::Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let scopes = Scopes::of(requests.iter().map(|request| request.scope));
    let rows = query!(
        r#"SELECT wanted.number AS "number!", keys.fingerprint, keys.resource,
             keys.answer_code, keys.answer_message, keys.answer_body, keys.expires_at
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[])
             WITH ORDINALITY AS wanted (tenant_id, principal, method, key, number)
         JOIN idempotency_keys AS keys USING (tenant_id, principal, method, key)"#,
        &scopes.tenants as &[&str],
        &scopes.principals as &[&str],
        &scopes.methods as &[&str],
        &scopes.keys as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<i64, Found> = rows
        .into_iter()
        .map(|row| {
            let found = Found {
                fingerprint: row.fingerprint,
                resource: row.resource,
                answer_code: row.answer_code,
                answer_message: row.answer_message,
                answer_body: row.answer_body,
                expires_at: row.expires_at,
            };
            (row.number, found)
        })
        .collect();
    Ok((1..)
        .take(requests.len())
        .map(|number| found.remove(&number))
        .collect())
}

/// Records the answers to claimed requests in one statement, as [`super::complete`]
/// does one. Says of each whether its claim was still there and unanswered.
pub async fn complete_all(
    conn: &mut PgConnection,
    answers: &[(Scope<'_>, &Answer)],
) -> Result<Vec<bool>, sqlx::Error> {
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    let scopes = Scopes::of(answers.iter().map(|(scope, _)| *scope));
    let (mut codes, mut messages, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (_, answer) in answers {
        let (code, message, body) = answer.columns();
        codes.push(code);
        messages.push(message);
        bodies.push(body);
    }
    let rows = query!(
        "UPDATE idempotency_keys AS keys
         SET answer_code = answered.answer_code, answer_message = answered.answer_message,
             answer_body = answered.answer_body
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[],
                 $6::bytea[], $7::bytea[])
             AS answered (tenant_id, principal, method, key, answer_code, answer_message,
                 answer_body)
         WHERE keys.tenant_id = answered.tenant_id AND keys.principal = answered.principal
           AND keys.method = answered.method AND keys.key = answered.key
           AND keys.answer_code IS NULL
         RETURNING keys.tenant_id, keys.principal, keys.method, keys.key",
        &scopes.tenants as &[&str],
        &scopes.principals as &[&str],
        &scopes.methods as &[&str],
        &scopes.keys as &[&str],
        &codes,
        &messages as &[Option<&[u8]>],
        &bodies as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    let found = rows
        .into_iter()
        .map(|row| (row.tenant_id, row.principal, row.method, row.key));
    Ok(scopes.which(found.collect()))
}

/// The primary keys of some requests as columns.
struct Scopes<'a> {
    tenants: Vec<&'a str>,
    principals: Vec<&'a str>,
    methods: Vec<&'a str>,
    keys: Vec<&'a str>,
}

impl<'a> Scopes<'a> {
    fn of(scopes: impl Iterator<Item = Scope<'a>>) -> Self {
        let (tenants, principals, methods, keys) = scopes
            .map(|scope| {
                let (tenant, key) = (scope.tenant.as_str(), scope.key.as_str());
                (tenant, scope.principal, scope.method, key)
            })
            .collect();
        Self {
            tenants,
            principals,
            methods,
            keys,
        }
    }

    /// Says of each, in order, whether it is among the rows that a statement found.
    fn which(&self, found: HashSet<(String, String, String, String)>) -> Vec<bool> {
        if found.len() == self.keys.len() {
            return vec![true; self.keys.len()];
        }
        let row = |index: usize| {
            let [tenant, principal, method, key] =
                [&self.tenants, &self.principals, &self.methods, &self.keys]
                    .map(|column| column[index].to_owned());
            (tenant, principal, method, key)
        };
        (0..self.keys.len())
            .map(|index| found.contains(&row(index)))
            .collect()
    }
}
