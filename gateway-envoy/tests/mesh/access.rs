//! Who may call what: every RPC of the contract, enumerated from its
//! descriptors, as nobody, as another user with the owner's ids, and as an
//! operator. The golden file holds the answers; an RPC without a row fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bursar_contracts::policy::{self, Access};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::{Value as Json, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::{Edge, Person, eur, eventually, new_key, text};

/// What belongs to somebody, and what an operator made for it.
struct Owned {
    wallet: String,
    transaction: String,
    ticket: String,
    session: String,
    hold: String,
    campaign: String,
    grant: String,
    rebuild: String,
    provider_account: String,
    posting: String,
    bulk_transfer: String,
    quote: String,
    schedule: String,
}

/// How many RPCs are tried with one owner's things: an owner may have so many wallets.
const RPCS_AN_OWNER: usize = 50;

/// Who takes part.
struct Cast {
    edge: Edge,
    bob: Person,
    bobs_wallet: String,
    operator: String,
    /// A posting of Ada's that has been signed.
    posting: String,
    /// An account of hers at the provider.
    provider_account: String,
}

impl Cast {
    async fn gather() -> Self {
        let edge = Edge::shared();
        let (ada, bob) = (edge.person().await, edge.person().await);
        let operator = edge.admin().await;
        let wallet = edge.funded(&ada, 1).await;
        let path = format!("/api/v1/wallet/wallets/{wallet}/entries");
        let entries = edge.get(&path, &ada.token).await.ok();
        let posting = text(&entries["entries"][0]["posting_id"]);
        let path = format!("/api/v1/wallet/ledger/postings/{posting}/proof");
        eventually("the signature", async || {
            let proof = edge.get(&path, &operator).await;
            (proof.status == 200).then_some(())
        })
        .await;
        Self {
            bobs_wallet: edge.wallet(&bob, "EUR").await,
            provider_account: provider_account(&edge, &ada).await,
            edge,
            bob,
            operator,
            posting,
        }
    }

    /// Things of an owner's, made for one RPC.
    async fn owned(&self, ada: &Person) -> Owned {
        let edge = &self.edge;
        let wallet = edge.funded(ada, 1_000).await;
        let deposit = json!({"wallet_id": wallet, "amount": eur(1), "provider": "sandbox"});
        let path = "/api/v1/transactions/deposits";
        let paid = edge.pay_until_answered(path, &ada.token, &deposit).await;
        let ticket = json!({"subject": "x"});
        let ticket = edge.post("/api/v1/admin/tickets", &ada.token, &ticket);
        let sessions = edge.get("/api/v1/identity/sessions", &ada.token).await.ok();
        // Before there is bonus money, which would pay for it.
        let item = json!({
            "item_key": "x", "from_wallet_id": wallet, "to_wallet_id": self.bobs_wallet,
            "amount": eur(1),
        });
        let bulk = json!({"mode": "BULK_TRANSFER_MODE_ATOMIC", "transfers": [item]});
        let path = "/api/v1/transactions/bulk-transfers";
        let bulk = edge.pay_until_answered(path, &ada.token, &bulk).await.ok();
        let quote = json!({
            "type": "TRANSACTION_TYPE_TRANSFER", "amount": eur(1), "from_wallet_id": wallet,
            "to_wallet_id": self.bobs_wallet,
        });
        let path = "/api/v1/transactions/quotes";
        let quote = edge.pay_until_answered(path, &ada.token, &quote).await.ok();
        let schedule = json!({
            "from_wallet_id": wallet, "to_wallet_id": self.bobs_wallet, "amount": eur(1),
            "start_at": tomorrow().format(&Rfc3339).expect("a time"),
        });
        let path = "/api/v1/transactions/schedules";
        let schedule = edge.pay_until_answered(path, &ada.token, &schedule);
        let schedule = schedule.await.ok();
        let campaign = json!({
            "name": "x", "currency_code": "EUR", "budget_minor": "10", "conversion": {},
        });
        let campaign = self.made("bonus-campaigns", &campaign).await;
        let campaign = text(&campaign["campaign"]["campaign_id"]);
        let grant = json!({"campaign_id": campaign, "amount": eur(1)});
        let grant = self
            .made(&format!("wallets/{wallet}/bonus-grants"), &grant)
            .await;
        let hold = json!({"amount": eur(10)});
        let hold = self.made(&format!("wallets/{wallet}/holds"), &hold).await;
        let rebuild = json!({"wallet_id": wallet, "dry_run": true});
        let rebuild = self.made("projections/rebuilds", &rebuild).await;
        Owned {
            transaction: text(&paid.ok()["transaction"]["transaction_id"]),
            ticket: text(&ticket.await.ok()["ticket"]["ticket_id"]),
            session: text(&sessions["sessions"][0]["session_id"]),
            hold: text(&hold["hold"]["hold_id"]),
            grant: text(&grant["grant"]["grant_id"]),
            rebuild: text(&rebuild["rebuild"]["rebuild_id"]),
            bulk_transfer: text(&bulk["bulk_transfer"]["bulk_transfer_id"]),
            quote: text(&quote["quote"]["quote_id"]),
            schedule: text(&schedule["schedule"]["schedule_id"]),
            provider_account: self.provider_account.clone(),
            posting: self.posting.clone(),
            campaign,
            wallet,
        }
    }

    /// What an operator makes with the wallet service.
    async fn made(&self, path: &str, body: &Json) -> Json {
        let path = format!("/api/v1/wallet/{path}");
        let (edge, key) = (&self.edge, new_key());
        edge.pay(&path, &self.operator, &key, body).await.ok()
    }
}

/// An account at the provider, of another wallet than those that are called
/// with: each has one at most.
async fn provider_account(edge: &Edge, ada: &Person) -> String {
    let wallet = edge.wallet(ada, "EUR").await;
    let path = format!("/api/v1/wallet/wallets/{wallet}/provider-accounts");
    let holder = json!({"account_holder": {
        "first_name": "Ada", "last_name": "Lovelace", "phone_number": "08012345678",
    }});
    let asked = edge.post(&path, &ada.token, &holder).await.ok();
    text(&asked["provider_account"]["provider_account_id"])
}

/// A request of any RPC that keeps its bounds and names the owner's things.
fn request(descriptor: &MessageDescriptor, owned: &Owned, own_wallet: &str) -> Vec<u8> {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if let Some(value) = other_than_text(&field, owned, own_wallet) {
            message.set_field(&field, value);
            continue;
        }
        // Other filters may stay as they are.
        if field.kind() != Kind::String || field.is_list() {
            continue;
        }
        let value = match field.name() {
            "wallet_id" | "from_wallet_id" => &owned.wallet,
            "to_wallet_id" => own_wallet,
            "transaction_id" => &owned.transaction,
            "ticket_id" => &owned.ticket,
            "session_id" => &owned.session,
            "hold_id" => &owned.hold,
            "campaign_id" => &owned.campaign,
            "grant_id" => &owned.grant,
            "rebuild_id" => &owned.rebuild,
            "provider_account_id" => &owned.provider_account,
            "posting_id" => &owned.posting,
            "bulk_transfer_id" => &owned.bulk_transfer,
            "quote_id" => &owned.quote,
            "schedule_id" => &owned.schedule,
            // Operators' alone, so that it does not matter that there are none.
            "settlement_file_id" if descriptor.get_field_by_name("provider").is_none() => {
                "stf_01890a5d-ac96-774b-bcce-b302099a8057"
            }
            "break_id" => "brk_01890a5d-ac96-774b-bcce-b302099a8057",
            "fee_rule_id" => "fee_01890a5d-ac96-774b-bcce-b302099a8057",
            "limit_rule_id" => "lim_01890a5d-ac96-774b-bcce-b302099a8057",
            "case_id" => "fcs_01890a5d-ac96-774b-bcce-b302099a8057",
            // Nobody has one here, where no provider pays to bank accounts.
            "payout_account_id" if descriptor.get_field_by_name("wallet_id").is_none() => {
                "poa_01890a5d-ac96-774b-bcce-b302099a8057"
            }
            "sort_code" => "000013",
            "account_number" => "0167421242",
            "settlement_date" => "2026-01-01",
            "item_key" => "x",
            "currency_code" => "EUR",
            "provider" => "sandbox",
            "subject" | "resolution" | "name" | "reason" | "note" | "description" => "some text",
            "first_name" | "last_name" => "Ada",
            "phone_number" => "08012345678",
            "from_day" | "to_day" => "2026-01-01",
            "from_month" | "to_month" => "2026-01",
            // Filters, pages and notes may stay empty; credentials are public RPCs'.
            _ => continue,
        };
        message.set_field(&field, Value::String(value.to_owned()));
    }
    message.encode_to_vec()
}

/// A value of a field that is no text, where one is needed.
fn other_than_text(field: &FieldDescriptor, owned: &Owned, own_wallet: &str) -> Option<Value> {
    let kind = field.kind();
    let message = || DynamicMessage::new(kind.as_message().expect("a message").clone());
    let instant = |seconds| {
        let mut instant = message();
        instant.set_field_by_name("seconds", Value::I64(seconds));
        Some(Value::Message(instant))
    };
    match field.name() {
        "amount" => {
            let mut money = message();
            money.set_field_by_name("currency_code", Value::String("EUR".to_owned()));
            money.set_field_by_name("minor_units", Value::I64(1));
            Some(Value::Message(money))
        }
        "account_holder" => Some(filled(
            kind.as_message().expect("a message"),
            owned,
            own_wallet,
        )),
        "transfers" => {
            let item = filled(kind.as_message().expect("a message"), owned, own_wallet);
            Some(Value::List(vec![item]))
        }
        "mode" | "resolution" | "decision" if kind.as_enum().is_some() => {
            Some(Value::EnumNumber(2))
        }
        "type" | "direction" | "reason" if kind.as_enum().is_some() => Some(Value::EnumNumber(1)),
        "budget_minor" | "from_height" | "to_height" => Some(Value::I64(1)),
        // 2026-01-01 and the day after it.
        "at" | "from" => instant(1_767_225_600),
        "to" => instant(1_767_312_000),
        "start_at" => instant(tomorrow().unix_timestamp()),
        _ => None,
    }
}

fn tomorrow() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::DAY
}

/// A message inside a request.
fn filled(descriptor: &MessageDescriptor, owned: &Owned, own_wallet: &str) -> Value {
    let bytes = request(descriptor, owned, own_wallet);
    let message = DynamicMessage::decode(descriptor.clone(), bytes.as_slice());
    Value::Message(message.expect("made from its descriptor"))
}

/// One line a permitted RPC: what nobody, another user and an operator are answered.
#[tokio::test]
async fn access_is_as_the_golden_file_says() {
    let cast = Cast::gather().await;
    let edge = &cast.edge;
    let mut lines = BTreeMap::new();
    let mut owner = edge.person().await;
    for method in policy::pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let path = policy::path_of(&method);
        let access = policy::of(&path).and_then(|policy| policy.access.as_ref());
        if !matches!(access, Some(Access::Permission(_))) {
            continue;
        }
        if lines.len() % RPCS_AN_OWNER == RPCS_AN_OWNER - 1 {
            owner = edge.person().await;
        }
        // Fresh for each RPC: an operator's call may use a thing up.
        let owned = cast.owned(&owner).await;
        let bytes = request(&method.input(), &owned, &cast.bobs_wallet);
        let mut line = String::new();
        for (who, token) in [
            ("nobody", None),
            ("other", Some(&cast.bob.token)),
            ("operator", Some(&cast.operator)),
        ] {
            // A user's own session ends when it logs out, so a fresh one is used up.
            let token = match (who, method.name()) {
                ("other", "Logout") => Some(edge.person().await.token),
                ("operator", "Logout") => Some(edge.admin().await),
                _ => token.cloned(),
            };
            let code = call(edge, &path, &bytes, token.as_deref()).await;
            write!(line, " {who}={code:?}").expect("text grows");
        }
        lines.insert(path, line);
    }
    let seen: String = lines
        .iter()
        .map(|(path, line)| format!("{path}{line}\n"))
        .collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/access.txt");
    if std::env::var_os("BURSAR_UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &seen).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(
        seen, expected,
        "review the change, then set BURSAR_UPDATE_GOLDEN=1"
    );
}

/// Whatever bytes an RPC is sent, the answer is never that something broke
/// inside.
#[tokio::test]
async fn random_bytes_break_nothing() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let samples: [&[u8]; 6] = [
        &[],
        &[0],
        &[0xff; 40],
        &[0x0a, 0xff, 0x01],
        b"\x0a\x03abc\x10\x05",
        &[0x0a, 0x02, 0xc3, 0x28],
    ];
    for (path, policy) in policy::all() {
        if matches!(policy.access, Some(Access::Internal(_))) {
            continue;
        }
        for bytes in samples {
            let code = call(&edge, path, bytes, Some(&ada.token)).await;
            let broken = matches!(code, Code::Internal | Code::Unknown | Code::DataLoss);
            assert!(!broken, "{path} answered {code:?} to {bytes:?}");
            // An empty Logout is a true one.
            if path.ends_with("/Logout") {
                break;
            }
        }
    }
}

/// Internal RPCs cannot be reached from outside, whoever asks.
#[tokio::test]
async fn internal_rpcs_are_not_routed() {
    let edge = Edge::shared();
    let admin = edge.admin().await;
    for (path, policy) in policy::all() {
        if matches!(policy.access, Some(Access::Internal(_))) {
            assert_eq!(
                call(&edge, path, &[], Some(&admin)).await,
                Code::Unimplemented,
                "{path}"
            );
        }
    }
}

/// How often a call is tried again that nobody could answer, and the pause between.
const MAX_TRIES: usize = 50;
const REST: std::time::Duration = std::time::Duration::from_millis(100);

/// Calls any RPC with any bytes, again with the same key while a service is busy or the
/// first try still runs. Of a stream the first message counts.
async fn call(edge: &Edge, path: &str, bytes: &[u8], token: Option<&str>) -> Code {
    let key = new_key();
    for _ in 1..MAX_TRIES {
        let code = call_once(edge, path, bytes, token, &key).await;
        if !matches!(code, Code::Unavailable | Code::Aborted) {
            return code;
        }
        tokio::time::sleep(REST).await;
    }
    call_once(edge, path, bytes, token, &key).await
}

async fn call_once(edge: &Edge, path: &str, bytes: &[u8], token: Option<&str>, key: &str) -> Code {
    let mut client = tonic::client::Grpc::new(edge.channel());
    client.ready().await.expect("the gateway can be reached");
    let mut request = Request::new(bytes.to_vec());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("visible ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    let key = key.parse().expect("visible ASCII");
    request.metadata_mut().insert("idempotency-key", key);
    let path = path.parse().expect("a path");
    let answered = async {
        let answer = client.server_streaming(request, path, Bytes).await?;
        answer.into_inner().message().await
    };
    match answered.await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// Messages as the bytes they are.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
