//! Compiles the contract: types, clients and servers, validation rules, the
//! descriptor set with every option kept, and the check that every RPC has a
//! whole policy.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

/// Packages that only carry options or types with Rust homes of their own.
const NOT_GENERATED: [&str; 2] = ["google.rpc", "buf.validate"];

fn main() -> Result<()> {
    let proto_root = Path::new("../../proto");
    let third_party = proto_root.join("third_party");
    println!("cargo:rerun-if-changed={}", proto_root.display());

    let mut files = proto_files(&proto_root.join("bursar"))?;
    // The gateway needs these to write error details as JSON.
    files.push(third_party.join("google/rpc/status.proto"));
    files.push(third_party.join("google/rpc/error_details.proto"));

    let mut compiler = protox::Compiler::new([proto_root, &third_party])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    // Encoding by protox keeps the options; prost would drop them.
    let encoded = compiler.encode_file_descriptor_set();
    let out_dir = PathBuf::from(std::env::var("OUT_DIR").context("cargo sets OUT_DIR")?);
    fs::write(out_dir.join("descriptors.binpb"), &encoded)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    check_policies(&pool)?;

    let secretive = messages_with_secrets(&pool)?;
    write_debug_impls(&secretive, &out_dir)?;

    let mut set = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    set.file
        .retain(|file| !NOT_GENERATED.contains(&file.package()));
    tonic_prost_build::configure()
        .codec_path("crate::codec::ContractCodec")
        .skip_debug(&secretive)
        .include_file("contract.rs")
        .compile_fds(set)?;

    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_bytes(encoded)
        .fail_on_runtime_only(true)
        .compile()?;
    write_checked_impls(&pool, &out_dir)?;
    write_reasons(&pool, &out_dir)
}

/// All `.proto` files below a folder, in a stable order.
fn proto_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("{}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "proto")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Fails the build for an RPC whose policy is absent or incomplete.
fn check_policies(pool: &DescriptorPool) -> Result<()> {
    let extension = pool
        .get_extension_by_name("bursar.options.v1.policy")
        .context("bursar.options.v1.policy is not defined")?;
    for service in pool.services() {
        for method in service.methods() {
            let options = method.options();
            ensure!(
                options.has_extension(&extension),
                "{} has no (bursar.options.v1.policy)",
                method.full_name()
            );
            let value = options.get_extension(&extension);
            let policy = value.as_message().context("the policy is a message")?;
            check_policy(&method, policy).with_context(|| method.full_name().to_owned())?;
        }
    }
    Ok(())
}

fn check_policy(method: &MethodDescriptor, policy: &DynamicMessage) -> Result<()> {
    let field = |name: &str| {
        policy
            .get_field_by_name(name)
            .map(|value| value.into_owned())
    };
    let set = |name: &str| policy.has_field_by_name(name);
    for name in ["rate_class", "idempotency", "audit"] {
        ensure!(set(name), "policy.{name} is not set");
    }
    let deadline_ms = field("deadline_ms")
        .and_then(|value| value.as_u32())
        .unwrap_or(0);
    ensure!(
        (1..=60_000).contains(&deadline_ms),
        "policy.deadline_ms is not 1 to 60000"
    );
    ensure!(
        field("cost").and_then(|value| value.as_u32()).unwrap_or(0) >= 1,
        "policy.cost is 0"
    );
    let is_true = |name: &str| field(name) == Some(Value::Bool(true));
    let has_route = method
        .options()
        .extensions()
        .any(|(extension, _)| extension.full_name() == "google.api.http");
    if set("permission") {
        let permission = field("permission");
        let text = permission
            .as_ref()
            .and_then(Value::as_str)
            .context("policy.permission is a string")?;
        let parts: Vec<&str> = text.split(':').collect();
        ensure!(
            parts.len() == 3 && parts.iter().all(|part| !part.is_empty()),
            "policy.permission `{text}` is not resource:action:target"
        );
        ensure!(
            matches!(parts[2], "own" | "any"),
            "policy.permission `{text}` has a target other than own and any"
        );
        ensure!(has_route, "a permitted RPC has no google.api.http route");
    } else if is_true("public") {
        ensure!(has_route, "a public RPC has no google.api.http route");
    } else if is_true("internal") {
        ensure!(!has_route, "an internal RPC has a google.api.http route");
    } else {
        bail!("policy.access is not set");
    }
    Ok(())
}

/// Writes `Checked` for every message that an RPC takes or returns: requests
/// are validated when they are decoded, responses are not.
fn write_checked_impls(pool: &DescriptorPool, out_dir: &Path) -> Result<()> {
    let generated = fs::read_to_string(out_dir.join("validate_impl.rs"))?;
    // The generator breaks its lines where it likes.
    let validated = generated.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut requests = BTreeSet::new();
    let mut responses = BTreeSet::new();
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        requests.insert(method.input().full_name().to_owned());
        responses.insert(method.output().full_name().to_owned());
    }
    let mut code = String::new();
    for name in requests.union(&responses) {
        let path = rust_path(name);
        let rules = validated.contains(&format!(" for {path} {{"));
        let message = pool
            .get_message_by_name(name)
            .context("the message comes from this pool")?;
        ensure!(
            rules || !has_rules(&message),
            "{name} has bounds, but nothing was generated that checks them"
        );
        let body = if requests.contains(name) && rules {
            "::prost_protovalidate::Validate::validate(self)"
        } else {
            "Ok(())"
        };
        code.push_str(&format!(
            "impl crate::codec::Checked for crate::{path} {{\n    fn check(&self) -> \
             ::core::result::Result<(), ::prost_protovalidate::ValidationError> {{\n        \
             {body}\n    }}\n}}\n"
        ));
    }
    fs::write(out_dir.join("checked_impl.rs"), code)?;
    Ok(())
}

/// Whether a message itself has bounds; what it contains is checked with it.
fn has_rules(message: &prost_reflect::MessageDescriptor) -> bool {
    message.fields().any(|field| {
        let options = field.options();
        options
            .extensions()
            .any(|(extension, _)| extension.full_name() == "buf.validate.field")
    })
}

/// The messages that have a field marked as a secret.
fn messages_with_secrets(pool: &DescriptorPool) -> Result<Vec<String>> {
    let extension = pool
        .get_extension_by_name("bursar.options.v1.field")
        .context("bursar.options.v1.field is not defined")?;
    let is_secret = |field: prost_reflect::FieldDescriptor| {
        let options = field.options();
        let value = options.get_extension(&extension);
        let policy = value.as_message();
        let secret = policy.and_then(|policy| policy.get_field_by_name("secret"));
        secret.is_some_and(|secret| *secret == Value::Bool(true))
    };
    Ok(pool
        .all_messages()
        .filter(|message| message.fields().any(is_secret))
        .map(|message| message.full_name().to_owned())
        .collect())
}

/// Writes a `Debug` that shows nothing for messages with secrets, so that no log
/// can.
fn write_debug_impls(messages: &[String], out_dir: &Path) -> Result<()> {
    let mut code = String::new();
    for message in messages {
        let path = rust_path(message);
        let name = message.rsplit('.').next().unwrap_or(message);
        code.push_str(&format!(
            "impl ::core::fmt::Debug for crate::{path} {{\n    fn fmt(&self, formatter: &mut \
             ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
             formatter.debug_struct(\"{name}\").finish_non_exhaustive()\n    }}\n}}\n"
        ));
    }
    fs::write(out_dir.join("debug_impl.rs"), code)?;
    Ok(())
}

/// Writes `Reason` for every enum called `ErrorReason`.
fn write_reasons(pool: &DescriptorPool, out_dir: &Path) -> Result<()> {
    let mut code = String::new();
    for reason in pool
        .all_enums()
        .filter(|reason| reason.name() == "ErrorReason")
    {
        let path = rust_path(reason.full_name());
        code.push_str(&format!(
            "impl ::bursar_status::Reason for crate::{path} {{\n    const DOMAIN: &'static str = \
             \"{}\";\n    fn name(self) -> &'static str {{\n        \
             self.as_str_name().trim_start_matches(\"ERROR_REASON_\")\n    }}\n}}\n",
            reason.parent_file().package_name()
        ));
    }
    fs::write(out_dir.join("reasons.rs"), code)?;
    Ok(())
}

/// `bursar.wallet.v1.Entry` as the generated module path `bursar::wallet::v1::Entry`.
fn rust_path(full_name: &str) -> String {
    full_name
        .split('.')
        .map(|part| if part == "type" { "r#type" } else { part })
        .collect::<Vec<_>>()
        .join("::")
}
