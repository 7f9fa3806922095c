//! Keys of many requests at once, for effects that are made together.

use std::collections::HashSet;

use sqlx::{PgConnection, query};
use time::OffsetDateTime;

use super::answer::Answer;
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
    let of_scope = |part: for<'a> fn(&'a Scope<'a>) -> &'a str| -> Vec<&str> {
        requests
            .iter()
            .map(|request| part(&request.scope))
            .collect()
    };
    let tenants = of_scope(|scope| scope.tenant.as_str());
    let principals = of_scope(|scope| scope.principal);
    let methods = of_scope(|scope| scope.method);
    let keys = of_scope(|scope| scope.key.as_str());
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
    let claimed: HashSet<(String, String, String, String)> = query!(
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
        &tenants as &[&str],
        &principals as &[&str],
        &methods as &[&str],
        &keys as &[&str],
        &fingerprints as &[&[u8]],
        &codes,
        &messages as &[Option<&[u8]>],
        &bodies as &[&[u8]],
        now,
        now + TTL,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| (row.tenant_id, row.principal, row.method, row.key))
    .collect();
    if claimed.len() == requests.len() {
        return Ok(vec![true; requests.len()]);
    }
    let was_free = |request: &Answered<'_>| {
        let scope = &request.scope;
        claimed.contains(&(
            scope.tenant.as_str().to_owned(),
            scope.principal.to_owned(),
            scope.method.to_owned(),
            scope.key.as_str().to_owned(),
        ))
    };
    Ok(requests.iter().map(was_free).collect())
}
