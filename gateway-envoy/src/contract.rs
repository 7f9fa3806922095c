//! What the gateway needs of the contract: every RPC with its policy and its
//! HTTP bindings, in a stable order.

use bursar_contracts::google::api::HttpRule;
use bursar_contracts::google::api::http_rule::Pattern;
use bursar_contracts::policy::{self, Access, Idempotency, MethodPolicy, RateClass};
use prost::Message;
use prost_reflect::{MessageDescriptor, MethodDescriptor};

use crate::template::{Template, TemplateInvalid};

/// One RPC.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    /// Its HTTP/2 path, such as `/bursar.wallet.v1.WalletService/GetWallet`.
    pub path: String,
    /// The full name of its protobuf service.
    pub service_name: String,
    /// The service of ours that answers it, such as `wallet`.
    pub upstream: String,
    /// What the contract says of it.
    pub policy: &'static MethodPolicy,
    /// Its request message.
    pub input: MessageDescriptor,
    /// Whether its caller sends a stream of them.
    pub takes_stream: bool,
    /// Whether it answers with a stream of messages.
    pub answers_stream: bool,
    /// How it is called by REST; none for an internal RPC.
    pub bindings: Vec<Binding>,
}

/// One way to call an RPC by REST.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The HTTP method.
    pub method: &'static str,
    /// The path.
    pub template: Template,
    /// What the body holds.
    pub body: Body,
}

/// What the body of a REST call holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    /// Nothing; fields are in the path and the query.
    None,
    /// The request message, less the fields in the path.
    Whole,
    /// One field of the request message.
    Field(String),
}

/// Something in the contract that the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// A path template is not of the form that google.api.http describes.
    #[error("{rpc}: {source}")]
    Template {
        /// The RPC.
        rpc: String,
        /// Why.
        source: TemplateInvalid,
    },
    /// A binding has no method, or one of its own making.
    #[error("{0}: only get, put, post, delete and patch bindings are served")]
    Method(String),
    /// The package is not `bursar.<service>.v<n>`.
    #[error("{0}: the package names no service")]
    Package(String),
}

impl Rpc {
    /// Whether the gateway routes it.
    pub(crate) fn is_routed(&self) -> bool {
        match &self.policy.access {
            Some(Access::Permission(_)) => true,
            Some(Access::Public(public)) => *public,
            Some(Access::Internal(_)) | None => false,
        }
    }

    /// Whether it is called without a token.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.policy.access, Some(Access::Public(true)))
    }

    /// Whether it only reads, so that trying it again does no harm.
    pub(crate) fn is_read(&self) -> bool {
        let is_get = |binding: &Binding| binding.method == "GET";
        self.policy.idempotency() == Idempotency::None
            && !self.bindings.is_empty()
            && self.bindings.iter().all(is_get)
    }

    /// The name of its rate limit bucket.
    pub(crate) fn rate_class(&self) -> &'static str {
        class_name(self.policy.rate_class())
    }
}

/// The name of a rate class in routes, descriptors and settings.
pub(crate) fn class_name(class: RateClass) -> &'static str {
    match class {
        RateClass::Public => "public",
        RateClass::Protected => "protected",
        RateClass::Admin => "admin",
        RateClass::Withdrawal => "withdrawal",
        RateClass::Internal => "internal",
        RateClass::Unspecified => "unspecified",
    }
}

/// Every RPC of the contract by path, internal ones included.
///
/// # Errors
/// When a binding or a package is not of the form the gateway serves.
pub(crate) fn rpcs() -> Result<Vec<Rpc>, ContractError> {
    let mut rpcs = policy::pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| rpc(&method))
        .collect::<Result<Vec<_>, _>>()?;
    rpcs.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(rpcs)
}

fn rpc(method: &MethodDescriptor) -> Result<Rpc, ContractError> {
    let path = policy::path_of(method);
    let service = method.parent_service();
    let package = service.parent_file().package_name().to_owned();
    let upstream = package
        .split('.')
        .nth(1)
        .ok_or_else(|| ContractError::Package(path.clone()))?;
    Ok(Rpc {
        service_name: service.full_name().to_owned(),
        upstream: upstream.to_owned(),
        policy: policy::of(&path).expect("the table is made from the same descriptors"),
        input: method.input(),
        takes_stream: method.is_client_streaming(),
        answers_stream: method.is_server_streaming(),
        bindings: bindings(method, &path)?,
        path,
    })
}

/// The binding of `google.api.http` and its additional ones.
fn bindings(method: &MethodDescriptor, path: &str) -> Result<Vec<Binding>, ContractError> {
    let options = method.options();
    let Some((_, value)) = options
        .extensions()
        .find(|(extension, _)| extension.full_name() == "google.api.http")
    else {
        return Ok(Vec::new());
    };
    let message = value.as_message().expect("google.api.http is a message");
    let rule = HttpRule::decode(message.encode_to_vec().as_slice())
        .expect("a rule encodes and decodes as itself");
    let additional = rule.additional_bindings.clone();
    std::iter::once(&rule)
        .chain(&additional)
        .map(|rule| binding(rule, path))
        .collect()
}

fn binding(rule: &HttpRule, path: &str) -> Result<Binding, ContractError> {
    let (method, template) = match &rule.pattern {
        Some(Pattern::Get(template)) => ("GET", template),
        Some(Pattern::Put(template)) => ("PUT", template),
        Some(Pattern::Post(template)) => ("POST", template),
        Some(Pattern::Delete(template)) => ("DELETE", template),
        Some(Pattern::Patch(template)) => ("PATCH", template),
        Some(Pattern::Custom(_)) | None => return Err(ContractError::Method(path.to_owned())),
    };
    let template = Template::parse(template).map_err(|source| ContractError::Template {
        rpc: path.to_owned(),
        source,
    })?;
    let body = match rule.body.as_str() {
        "" => Body::None,
        "*" => Body::Whole,
        field => Body::Field(field.to_owned()),
    };
    Ok(Binding {
        method,
        template,
        body,
    })
}
