//! The policy of every RPC, read from the descriptor set.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};

pub use crate::options::v1::method_policy::Access;
pub use crate::options::v1::{AuditClass, Idempotency, MethodPolicy, RateClass};

/// The encoded `FileDescriptorSet` of the whole contract, options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTOR_SET).expect("the build made and read this descriptor set")
});

static POLICIES: LazyLock<HashMap<String, MethodPolicy>> = LazyLock::new(|| {
    let services = POOL.services();
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| (path_of(&method), read(&method)))
        .collect()
});

/// The descriptors of the whole contract, for reflection.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The policy of the RPC with this HTTP/2 path, such as
/// `/bursar.wallet.v1.WalletService/GetWallet`; `None` for no RPC of ours.
pub fn of(path: &str) -> Option<&'static MethodPolicy> {
    POLICIES.get(path)
}

/// As [`of`], with the path as text that lives as long as the program.
pub fn lookup(path: &str) -> Option<(&'static str, &'static MethodPolicy)> {
    POLICIES
        .get_key_value(path)
        .map(|(path, policy)| (path.as_str(), policy))
}

/// Every RPC's path and policy, in no particular order.
pub fn all() -> impl Iterator<Item = (&'static str, &'static MethodPolicy)> {
    POLICIES
        .iter()
        .map(|(path, policy)| (path.as_str(), policy))
}

/// The HTTP/2 path of an RPC.
pub fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn read(method: &MethodDescriptor) -> MethodPolicy {
    let extension = POOL
        .get_extension_by_name("bursar.options.v1.policy")
        .expect("the build checked that the option exists");
    let options = method.options();
    let value = options.get_extension(&extension);
    let policy = value
        .as_message()
        .expect("the build checked that every RPC has a policy");
    MethodPolicy::decode(policy.encode_to_vec().as_slice())
        .expect("a policy encodes and decodes as itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table has every RPC of the contract, with the options as written.
    #[test]
    fn policies_are_read_as_written() {
        let transfer =
            of("/bursar.transaction.v1.TransactionService/CreateTransfer").expect("the RPC exists");
        assert_eq!(
            transfer.access,
            Some(Access::Permission("transfer:create:own".to_owned()))
        );
        assert_eq!(transfer.idempotency(), Idempotency::Required);
        assert_eq!(transfer.deadline_ms, 5000);
        let post = of("/bursar.wallet.v1.LedgerService/PostBatch").expect("the RPC exists");
        assert_eq!(post.access, Some(Access::Internal(true)));
        assert_eq!(of("/bursar.wallet.v1.WalletService/Nothing"), None);
        let methods: usize = pool()
            .services()
            .map(|service| service.methods().len())
            .sum();
        assert_eq!(all().count(), methods);
    }
}
