//! Providers' own lists of what they did.
//!
//! A list is the same movements as the settlement files, told at once: it finds
//! what differs without waiting for a file. One page is in memory at a time.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bursar_aip::id::SettlementFileId;
use bursar_money::Currency;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Line, LineId, LineType};

/// The most movements that are asked for at once.
const PAGE: &str = "500";
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The longest reference, in bytes.
const MAX_REFERENCE: usize = 128;

/// A page of what a provider did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// What it did, in no particular order.
    pub movements: Vec<Listed>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// Something that a provider did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Our reference.
    pub reference: String,
    /// The provider's own.
    pub provider_reference: String,
    /// The provider's word for what it was.
    pub type_word: String,
    /// What it was.
    pub kind: LineType,
    /// The currency.
    pub currency: Currency,
    /// How much, never below zero.
    pub amount_minor: i64,
    /// The fee.
    pub fee_minor: i64,
    /// When it was done.
    pub occurred_at: OffsetDateTime,
}

impl Listed {
    /// The line of it, as a settlement file would have it: what goes out is below
    /// zero. `None` when the fee leaves the range of numbers.
    pub fn line(self, file: SettlementFileId, number: i64) -> Option<Line> {
        let gross_minor = match self.kind {
            LineType::Charge => self.amount_minor,
            LineType::Payout | LineType::Refund => -self.amount_minor,
        };
        Some(Line {
            id: LineId { file, number },
            reference: self.reference,
            provider_reference: self.provider_reference,
            batch_reference: String::new(),
            type_word: self.type_word,
            kind: self.kind,
            currency: self.currency,
            gross_minor,
            fee_minor: self.fee_minor,
            net_minor: gross_minor.checked_sub(self.fee_minor)?,
            occurred_at: self.occurred_at,
        })
    }
}

/// Why a page cannot be had.
#[derive(Debug, Error)]
pub enum ListFailed {
    /// There was no answer.
    #[error("the provider does not answer")]
    Unanswered(#[from] reqwest::Error),
    /// The answer was an error.
    #[error("the provider answers {0}")]
    Status(StatusCode),
    /// The answer is not what the provider documents.
    #[error("the provider's list is not what it documents")]
    Malformed,
}

/// A provider that lists what it did.
#[async_trait]
pub trait MovementList: Send + Sync {
    /// A page of what it finished, at `from` or later and before `to`.
    async fn page(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        cursor: Option<&str>,
    ) -> Result<ListPage, ListFailed>;
}

/// What of the sandbox provider's books a list is about. As an account provider and as
/// a card acquirer it may be two providers of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxProduct {
    /// Charges, payouts, and the refunds of charges.
    Accounts,
    /// Captures, and the refunds of captures.
    Cards,
}

/// The list of the sandbox provider.
pub struct SandboxList {
    client: reqwest::Client,
    address: Url,
    api_key: SecretString,
    product: SandboxProduct,
}

#[derive(Deserialize)]
struct PageForm {
    data: Vec<MovementForm>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct MovementForm {
    id: String,
    object: String,
    reference: String,
    /// The capture that a refund gives back.
    capture_reference: Option<String>,
    amount_minor: i64,
    currency: String,
    status: String,
    #[serde(default)]
    fee_minor: i64,
    #[serde(default, with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl SandboxList {
    /// A client of the provider at this address.
    pub fn new(
        base: &Url,
        api_key: SecretString,
        product: SandboxProduct,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the client of a provider's list")?;
        let base = base.as_str().trim_end_matches('/');
        let address = Url::parse(&format!("{base}/v1/movements"))?;
        Ok(Self {
            client,
            address,
            api_key,
            product,
        })
    }
}

#[async_trait]
impl MovementList for SandboxList {
    async fn page(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        cursor: Option<&str>,
    ) -> Result<ListPage, ListFailed> {
        let text = |at: OffsetDateTime| at.format(&Rfc3339).map_err(|_| ListFailed::Malformed);
        let mut address = self.address.clone();
        address
            .query_pairs_mut()
            .append_pair("from", &text(from)?)
            .append_pair("to", &text(to)?)
            .append_pair("status", "succeeded")
            .append_pair("limit", PAGE)
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        let mut response = self
            .client
            .get(address)
            .bearer_auth(self.api_key.expose_secret())
            .send()
            .await?;
        if response.status() != StatusCode::OK {
            return Err(ListFailed::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ListFailed::Malformed);
            }
            body.extend_from_slice(&chunk);
        }
        let page: PageForm = serde_json::from_slice(&body).map_err(|_| ListFailed::Malformed)?;
        let movements: Option<Vec<_>> = page
            .data
            .into_iter()
            .filter(|movement| movement.status == "succeeded" && movement.product() == self.product)
            .map(listed)
            .collect();
        Ok(ListPage {
            movements: movements.ok_or(ListFailed::Malformed)?,
            next: page.next_cursor,
        })
    }
}

impl MovementForm {
    fn product(&self) -> SandboxProduct {
        if self.object == "capture" || self.capture_reference.is_some() {
            SandboxProduct::Cards
        } else {
            SandboxProduct::Accounts
        }
    }
}

/// `None` when it is not what the provider documents.
fn listed(movement: MovementForm) -> Option<Listed> {
    let is_text = |text: &str| text.len() <= MAX_REFERENCE && !text.chars().any(char::is_control);
    let fits = is_text(&movement.id)
        && is_text(&movement.reference)
        && movement.amount_minor >= 0
        && movement.fee_minor >= 0;
    if !fits {
        return None;
    }
    let kind = match &*movement.object {
        "charge" | "capture" => LineType::Charge,
        "payout" => LineType::Payout,
        "refund" => LineType::Refund,
        _ => return None,
    };
    let finished_at = movement.finished_at?;
    let micros = finished_at.nanosecond() / 1_000 * 1_000;
    Some(Listed {
        reference: movement.reference,
        provider_reference: movement.id,
        type_word: movement.object,
        kind,
        currency: Currency::parse(&movement.currency).ok()?,
        amount_minor: movement.amount_minor,
        fee_minor: movement.fee_minor,
        occurred_at: finished_at.replace_nanosecond(micros).ok()?,
    })
}
