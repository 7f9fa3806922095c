//! Verification of access tokens against identity's key set.
//!
//! Every route needs a token unless it says otherwise: the one rule matches
//! everything, and only public routes are exempt. The key set is fetched in the
//! background, so no request waits for it. The token travels on, because each
//! service verifies it again.

use serde_json::{Value, json};

use crate::clusters;
use crate::envoy::{duration, extension, seconds, typed};
use crate::settings::Jwt;

/// The filter's name in the chain and in routes.
pub(crate) const NAME: &str = "envoy.filters.http.jwt_authn";

/// Where the verified claims are found in the filter's dynamic metadata.
pub(crate) const PAYLOAD: &str = "jwt";

const PROVIDER: &str = "bursar";
const CLOCK_SKEW_SECONDS: u32 = 30;
const CACHED_TOKENS: u32 = 10_000;
const FETCH_TIMEOUT_SECONDS: u64 = 2;
const REFETCH_AFTER_FAILURE_SECONDS: u64 = 1;

/// The filter.
pub(crate) fn filter(settings: &Jwt) -> Value {
    extension(
        NAME,
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": { PROVIDER: provider(settings) },
            "rules": [{
                "match": { "prefix": "/" },
                "requires": { "provider_name": PROVIDER },
            }],
        }),
    )
}

/// What the route of a public call adds to its per-filter configuration.
pub(crate) fn not_required() -> Value {
    typed(
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
        json!({ "disabled": true }),
    )
}

fn provider(settings: &Jwt) -> Value {
    let cache = u64::from(settings.jwks_cache_seconds.get());
    json!({
        "issuer": settings.issuer,
        "audiences": [settings.audience],
        "require_expiration": true,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
        "forward": true,
        // Only the header: a token in a URL ends up in logs.
        "from_headers": [{ "name": "authorization", "value_prefix": "Bearer " }],
        "payload_in_metadata": PAYLOAD,
        "jwt_cache_config": { "jwt_cache_size": CACHED_TOKENS },
        "claim_to_headers": [
            { "header_name": "x-bursar-subject", "claim_name": "sub" },
            { "header_name": "x-bursar-session", "claim_name": "sid" },
        ],
        "remote_jwks": {
            "http_uri": {
                "uri": format!("http://identity{}", settings.jwks_path),
                "cluster": clusters::http_name("identity"),
                "timeout": seconds(FETCH_TIMEOUT_SECONDS),
            },
            "cache_duration": seconds(cache),
            "async_fetch": {
                "fast_listener": false,
                "failed_refetch_duration": duration(std::time::Duration::from_secs(REFETCH_AFTER_FAILURE_SECONDS)),
            },
            "retry_policy": { "num_retries": 2 },
        },
    })
}
