//! Who may call what: every RPC of the contract, enumerated from its
//! descriptors, as nobody, as another user with the owner's ids, and as an
//! operator. The golden file holds the answers; an RPC without a row fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bursar_contracts::policy::{self, Access};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use serde_json::json;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::support::{Edge, Person, eur, new_key, text};

/// What belongs to somebody.
struct Owned {
    wallet: String,
    transaction: String,
    ticket: String,
    session: String,
}

async fn owned_by(edge: &Edge, person: &Person) -> Owned {
    let wallet = edge.funded(person, 1_000).await;
    let body = json!({"wallet_id": wallet, "amount": eur(1), "provider": "sandbox"});
    let paid = edge
        .pay(
            "/api/v1/transactions/deposits",
            &person.token,
            &new_key(),
            &body,
        )
        .await
        .ok();
    let ticket = edge
        .post(
            "/api/v1/admin/tickets",
            &person.token,
            &json!({"subject": "x"}),
        )
        .await
        .ok();
    let sessions = edge
        .get("/api/v1/identity/sessions", &person.token)
        .await
        .ok();
    Owned {
        wallet,
        transaction: text(&paid["transaction"]["transaction_id"]),
        ticket: text(&ticket["ticket"]["ticket_id"]),
        session: text(&sessions["sessions"][0]["session_id"]),
    }
}

/// A request of any RPC that keeps its bounds and names the owner's things.
fn request(descriptor: &MessageDescriptor, owned: &Owned, own_wallet: &str) -> Vec<u8> {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match field.name() {
            "wallet_id" | "from_wallet_id" => owned.wallet.clone(),
            "to_wallet_id" => own_wallet.to_owned(),
            "transaction_id" => owned.transaction.clone(),
            "ticket_id" => owned.ticket.clone(),
            "session_id" => owned.session.clone(),
            "currency_code" => "EUR".to_owned(),
            "provider" => "sandbox".to_owned(),
            "subject" | "resolution" => "text".to_owned(),
            "amount" => {
                message.set_field(&field, Value::Message(amount(&field)));
                continue;
            }
            // Filters, pages and notes may stay empty; credentials are public RPCs'.
            _ => continue,
        };
        message.set_field(&field, Value::String(value));
    }
    message.encode_to_vec()
}

fn amount(field: &prost_reflect::FieldDescriptor) -> DynamicMessage {
    let kind = field.kind();
    let mut money = DynamicMessage::new(kind.as_message().expect("Money").clone());
    money.set_field_by_name("currency_code", Value::String("EUR".to_owned()));
    money.set_field_by_name("minor_units", Value::I64(1));
    money
}

/// One line a permitted RPC: what nobody, another user and an operator are answered.
#[tokio::test]
async fn access_is_as_the_golden_file_says() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let admin = edge.admin().await;
    let bobs_wallet = edge.wallet(&bob, "EUR").await;
    let mut lines = BTreeMap::new();
    for method in policy::pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let path = policy::path_of(&method);
        let access = policy::of(&path).and_then(|policy| policy.access.as_ref());
        if !matches!(access, Some(Access::Permission(_))) {
            continue;
        }
        // Fresh for each RPC: an operator's call may use a thing up.
        let owned = owned_by(&edge, &ada).await;
        let bytes = request(&method.input(), &owned, &bobs_wallet);
        let mut line = String::new();
        for (who, token) in [
            ("nobody", None),
            ("other", Some(&bob.token)),
            ("operator", Some(&admin)),
        ] {
            // A user's own session ends when it logs out, so a fresh one is used up.
            let token = match (who, method.name()) {
                ("other", "Logout") => Some(edge.person().await.token),
                ("operator", "Logout") => Some(edge.admin().await),
                _ => token.cloned(),
            };
            let code = call(&edge, &path, &bytes, token.as_deref()).await;
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

/// Calls any RPC with any bytes.
async fn call(edge: &Edge, path: &str, bytes: &[u8], token: Option<&str>) -> Code {
    let mut client = tonic::client::Grpc::new(edge.channel());
    client.ready().await.expect("the gateway can be reached");
    let mut request = Request::new(bytes.to_vec());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("visible ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    let key = new_key().parse().expect("visible ASCII");
    request.metadata_mut().insert("idempotency-key", key);
    let path = path.parse().expect("a path");
    match client.unary(request, path, Bytes).await {
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
