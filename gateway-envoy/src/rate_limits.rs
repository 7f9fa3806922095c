//! Rate limits by class.
//!
//! A route carries its class and its RPC's cost in metadata; one filter reads
//! them, so that all routes of a class draw from the same bucket of the same
//! user or address. A bucket refills continuously. The buckets are this
//! process's own: with several replicas each grants the whole number.

use std::time::Duration;

use serde_json::{Value, json};

use crate::contract::Rpc;
use crate::envoy::{METADATA, extension, seconds};
use crate::jwt;
use crate::settings::RateLimits;

/// The class of routes that are no RPCs.
pub(crate) const PLAIN_HTTP: &str = "plain_http";

const NAME: &str = "envoy.filters.http.local_ratelimit";
const MINUTE_SECONDS: u64 = 60;
/// Buckets kept at once; beyond that the one longest unused is forgotten.
const MAX_BUCKETS: u32 = 100_000;

/// What a bucket belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holder {
    /// The client's address, an IPv6 one by its /64 network.
    Address,
    /// The token's subject.
    User,
}

impl Holder {
    fn descriptor_key(self) -> &'static str {
        match self {
            Self::Address => "masked_remote_address",
            Self::User => "user",
        }
    }

    fn action(self) -> Value {
        match self {
            Self::Address => json!({
                "masked_remote_address": { "v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64 },
            }),
            Self::User => json!({
                "metadata": {
                    "descriptor_key": self.descriptor_key(),
                    "source": "DYNAMIC",
                    "metadata_key": {
                        "key": jwt::NAME,
                        "path": [{ "key": jwt::PAYLOAD }, { "key": "sub" }],
                    },
                },
            }),
        }
    }
}

/// The filter, or nothing when limits are switched off.
pub(crate) fn filter(settings: &RateLimits) -> Option<Value> {
    if !settings.enabled {
        return None;
    }
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    Some(extension(
        NAME,
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        json!({
            "stat_prefix": "class",
            "filter_enabled": always,
            "filter_enforced": always,
            "rate_limited_as_resource_exhausted": true,
            "enable_retry_after_header": true,
            "max_dynamic_descriptors": MAX_BUCKETS,
            // The filter demands a bucket for calls that no descriptor matches;
            // this one never empties.
            "token_bucket": bucket(u32::MAX),
            "always_consume_default_token_bucket": false,
            "rate_limits": [limit(Holder::User), limit(Holder::Address)],
            "descriptors": classes(settings)
                .into_iter()
                .map(|(class, holder, per_minute)| descriptor(class, holder, per_minute))
                .collect::<Vec<_>>(),
        }),
    ))
}

/// Every class with whom it limits and to how much, the scale applied.
fn classes(settings: &RateLimits) -> [(&'static str, Holder, u32); 5] {
    [
        ("public", Holder::Address, settings.public_per_minute),
        ("protected", Holder::User, settings.protected_per_minute),
        ("admin", Holder::User, settings.admin_per_minute),
        ("withdrawal", Holder::User, settings.withdrawal_per_minute),
        (PLAIN_HTTP, Holder::Address, settings.plain_http_per_minute),
    ]
    .map(|(class, holder, number)| {
        let scaled = number.get().saturating_mul(settings.scale.get());
        (class, holder, scaled)
    })
}

/// The paths of each class's RPCs, and how long an empty bucket of that class
/// takes to hold a token again, in whole seconds.
pub(crate) fn refill_by_path(rpcs: &[Rpc], settings: &RateLimits) -> Vec<(Vec<String>, Duration)> {
    classes(settings)
        .into_iter()
        .filter_map(|(class, _, per_minute)| {
            let paths: Vec<String> = rpcs
                .iter()
                .filter(|rpc| rpc.is_routed() && rpc.rate_class() == class)
                .map(|rpc| rpc.path.clone())
                .collect();
            let refill = MINUTE_SECONDS.div_ceil(u64::from(per_minute));
            (!paths.is_empty()).then(|| (paths, Duration::from_secs(refill)))
        })
        .collect()
}

/// How a request is described: its route's class, and who makes it.
fn limit(holder: Holder) -> Value {
    let class = json!({
        "metadata": {
            "descriptor_key": "class",
            "source": "ROUTE_ENTRY",
            "metadata_key": { "key": METADATA, "path": [{ "key": "class" }] },
        },
    });
    json!({
        "actions": [class, holder.action()],
        "x_ratelimit_option": "DRAFT_VERSION_03",
        "hits_addend": { "format": format!("%METADATA(ROUTE:{METADATA}:cost)%") },
    })
}

fn descriptor(class: &str, holder: Holder, per_minute: u32) -> Value {
    json!({
        "entries": [{ "key": "class", "value": class }, { "key": holder.descriptor_key() }],
        "token_bucket": bucket(per_minute),
    })
}

fn bucket(per_minute: u32) -> Value {
    json!({
        "max_tokens": per_minute,
        "tokens_per_fill": per_minute,
        "fill_interval": seconds(MINUTE_SECONDS),
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bursar_contracts::policy::{self, RateClass};

    use super::*;
    use crate::contract::class_name;

    /// Every class that a routed RPC may have has a bucket.
    #[test]
    fn no_routed_class_goes_without_a_limit() {
        let classes = classes(&RateLimits::default());
        for (path, policy) in policy::all() {
            if policy.rate_class() != RateClass::Internal {
                let name = class_name(policy.rate_class());
                assert!(classes.iter().any(|(class, ..)| *class == name), "{path}");
            }
        }
    }

    /// The scale multiplies, without running over.
    #[test]
    fn the_scale_applies_to_every_class() {
        let settings = RateLimits {
            scale: NonZeroU32::new(1_000_000_000).unwrap(),
            ..RateLimits::default()
        };
        assert!(
            classes(&settings)
                .iter()
                .all(|(_, _, number)| *number == u32::MAX)
        );
    }

    /// Off means that the filter is not there at all.
    #[test]
    fn limits_can_be_switched_off() {
        let settings = RateLimits {
            enabled: false,
            ..RateLimits::default()
        };
        assert_eq!(filter(&settings), None);
    }
}
