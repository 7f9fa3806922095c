//! The routes.
//!
//! A REST call passes two of them. Before it is transcoded it matches a route
//! of its path and method, which switches the strict check on and nothing else;
//! afterwards it matches, like every gRPC call, the route of its RPC. So
//! deadline, token, rate class and retries are said once.
//!
//! What matches nothing is answered 404 without asking for a token: an
//! anonymous caller learns of a misspelt path, and of nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clusters::{grpc_name, http_name};
use crate::contract::{Binding, Rpc};
use crate::envoy::{METADATA, duration, typed};
use crate::plain_http::{PLAIN_ROUTES, PlainAccess, PlainBody, PlainRoute};
use crate::settings::Settings;
use crate::template::{PathPattern, Template};
use crate::{body_limit, cors, jwt, rate_limits, strict_json, transcoder};

/// The service that answers reflection; each knows the whole contract.
const REFLECTING_SERVICE: &str = "identity";

/// gRPC's own services, which a development gateway routes.
const DEVELOPMENT_SERVICES: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// What the gateway waits beyond an RPC's deadline, so that the service, which
/// knows more, answers first.
const MARGIN: Duration = Duration::from_millis(500);

/// How long a stream may be silent. Services say something at least every 15 s.
const STREAM_IDLE: Duration = Duration::from_secs(30);

/// Only failures after which the service cannot have seen the request.
const RETRY_UNSENT: &str = "connect-failure,refused-stream,reset-before-request";
/// For reads, whose repetition does no harm, also those where it may have.
const RETRY_READ: &str = "connect-failure,refused-stream,reset,unavailable";
const RETRIES: u32 = 3;
const BACKOFF_BASE: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// All routes, in the order in which they are tried.
pub(crate) fn routes(settings: &Settings, rpcs: &[Rpc]) -> Vec<Value> {
    let routed: Vec<&Rpc> = rpcs.iter().filter(|rpc| rpc.is_routed()).collect();
    let development = DEVELOPMENT_SERVICES
        .iter()
        .map(|prefix| development_route(prefix));
    routed
        .iter()
        .map(|rpc| rpc_route(rpc))
        .chain(cors::preflight_route(&settings.cors))
        .chain(
            PLAIN_ROUTES
                .iter()
                .map(|route| plain_route(route, settings)),
        )
        .chain(rest_routes(&routed))
        .chain(development.filter(|_| settings.reflection))
        .chain(wrong_method_routes(&routed))
        .chain([nothing_route()])
        .collect()
}

/// The route of an RPC, for gRPC and for what was transcoded into it.
fn rpc_route(rpc: &Rpc) -> Value {
    let mut per_filter = Map::new();
    per_filter.insert(transcoder::NAME.to_owned(), disabled());
    if rpc.is_public() {
        per_filter.insert(jwt::NAME.to_owned(), jwt::not_required());
    }
    if rpc.takes_stream {
        per_filter.insert(body_limit::NAME.to_owned(), disabled());
    }
    json!({
        "name": rpc.path,
        "match": {
            "path": rpc.path,
            "headers": [content_type_is_grpc(true)],
        },
        "metadata": metadata(rpc.rate_class(), rpc.policy.cost),
        "route": rpc_action(rpc),
        "typed_per_filter_config": per_filter,
    })
}

/// Where an RPC goes, and how long it may take. A stream lasts as long as
/// something comes: its deadline is that of its first message, which is its
/// service's to keep.
fn rpc_action(rpc: &Rpc) -> Value {
    let mut action = json!({
        "cluster": grpc_name(&rpc.upstream),
        "timeout": duration(timeout_of(rpc).unwrap_or_default()),
        "retry_policy": retry_policy(rpc.is_read()),
    });
    if rpc.answers_stream {
        action["idle_timeout"] = json!(duration(STREAM_IDLE));
    }
    action
}

/// How long the gateway waits for an RPC; `None` for a stream.
fn timeout_of(rpc: &Rpc) -> Option<Duration> {
    let deadline = Duration::from_millis(u64::from(rpc.policy.deadline_ms));
    (!rpc.answers_stream).then(|| deadline + MARGIN)
}

fn retry_policy(is_read: bool) -> Value {
    json!({
        "retry_on": if is_read { RETRY_READ } else { RETRY_UNSENT },
        "num_retries": RETRIES,
        "retry_back_off": {
            "base_interval": duration(BACKOFF_BASE),
            "max_interval": duration(BACKOFF_MAX),
        },
    })
}

/// The routes that REST calls match before they are transcoded.
fn rest_routes(rpcs: &[&Rpc]) -> Vec<Value> {
    let mut bindings: Vec<(&Rpc, usize, &Binding)> = rpcs
        .iter()
        .flat_map(|rpc| {
            let bindings = rpc.bindings.iter().enumerate();
            bindings.map(|(index, binding)| (*rpc, index, binding))
        })
        .collect();
    bindings.sort_by(|(.., left), (.., right)| {
        left.template.precedence().cmp(&right.template.precedence())
    });
    bindings
        .into_iter()
        .map(|(rpc, index, binding)| {
            json!({
                "name": format!("{} {}", binding.method, binding.template.text()),
                "match": path_match(&binding.template, Some(binding.method)),
                "metadata": { "filter_metadata": {
                    strict_json::NAME: strict_json::route_metadata(rpc, index),
                } },
                // Never used, because the transcoder refuses what it does not
                // transcode; but the CORS filter does not look at routes that
                // lead nowhere.
                "route": { "cluster": grpc_name(&rpc.upstream) },
                "typed_per_filter_config": { strict_json::NAME: strict_json::per_route() },
            })
        })
        .collect()
}

/// A REST path with a method it does not take: 405, and which it takes.
fn wrong_method_routes(rpcs: &[&Rpc]) -> Vec<Value> {
    let mut methods: BTreeMap<String, (Template, Vec<&str>)> = BTreeMap::new();
    let plain = PLAIN_ROUTES
        .iter()
        .map(|route| (template_of(route), route.method));
    let bindings = rpcs.iter().flat_map(|rpc| &rpc.bindings);
    for (template, method) in bindings
        .map(|binding| (binding.template.clone(), binding.method))
        .chain(plain)
    {
        let entry = methods.entry(format!("{:?}", template.pattern()));
        entry.or_insert((template, Vec::new())).1.push(method);
    }
    let mut methods: Vec<_> = methods.into_values().collect();
    methods.sort_by(|(left, _), (right, _)| left.precedence().cmp(&right.precedence()));
    methods
        .into_iter()
        .map(|(template, mut methods)| {
            methods.sort_unstable();
            json!({
                "name": format!("other methods {}", template.text()),
                "match": path_match(&template, None),
                "direct_response": { "status": 405 },
                "response_headers_to_add": [
                    { "header": { "key": "allow", "value": methods.join(", ") } },
                ],
                "typed_per_filter_config": only_answered(),
            })
        })
        .collect()
}

fn plain_route(route: &PlainRoute, settings: &Settings) -> Value {
    let template = template_of(route);
    let mut per_filter = only_answered();
    if route.access == PlainAccess::Token {
        per_filter.remove(jwt::NAME);
    }
    match route.body {
        PlainBody::AnyRequest => None,
        PlainBody::Callback => per_filter.insert(
            body_limit::PER_ROUTE_NAME.to_owned(),
            body_limit::per_route(settings.limits.callback_bytes),
        ),
        PlainBody::Stream => per_filter.insert(body_limit::NAME.to_owned(), disabled()),
    };
    json!({
        "name": format!("{} {}", route.method, route.template),
        "match": path_match(&template, Some(route.method)),
        "metadata": metadata(rate_limits::PLAIN_HTTP, 1),
        "route": {
            "cluster": http_name(route.upstream),
            "timeout": duration(route.deadline + MARGIN),
            "retry_policy": retry_policy(route.method == "GET"),
        },
        "typed_per_filter_config": per_filter,
    })
}

fn development_route(prefix: &str) -> Value {
    json!({
        "name": prefix,
        "match": { "prefix": prefix },
        // Streams that last as long as their callers want.
        "route": { "cluster": grpc_name(REFLECTING_SERVICE), "timeout": "0s" },
        "typed_per_filter_config": only_answered(),
    })
}

fn nothing_route() -> Value {
    json!({
        "name": "nothing",
        "match": { "prefix": "/" },
        "direct_response": { "status": 404 },
        "typed_per_filter_config": only_answered(),
    })
}

/// Neither transcoded nor asked for a token.
fn only_answered() -> Map<String, Value> {
    Map::from_iter([
        (transcoder::NAME.to_owned(), disabled()),
        (jwt::NAME.to_owned(), jwt::not_required()),
    ])
}

/// Takes a filter out of the chain of the requests that match a route at first.
fn disabled() -> Value {
    typed(
        "envoy.config.route.v3.FilterConfig",
        json!({ "disabled": true }),
    )
}

fn metadata(class: &str, cost: u32) -> Value {
    json!({ "filter_metadata": { METADATA: { "class": class, "cost": cost } } })
}

fn path_match(template: &Template, method: Option<&str>) -> Value {
    let (key, value) = match template.pattern() {
        PathPattern::Exact(path) => ("path", json!(path)),
        PathPattern::Regex(regex) => ("safe_regex", json!({ "regex": regex })),
    };
    let method =
        method.map(|method| json!({ "name": ":method", "string_match": { "exact": method } }));
    let headers: Vec<Value> = method
        .into_iter()
        .chain([content_type_is_grpc(false)])
        .collect();
    json!({ key: value, "headers": headers })
}

/// gRPC, gRPC-Web included, is for the paths of RPCs, and all else is not.
fn content_type_is_grpc(is_grpc: bool) -> Value {
    json!({
        "name": "content-type",
        "string_match": { "prefix": "application/grpc" },
        "treat_missing_header_as_empty": true,
        "invert_match": !is_grpc,
    })
}

fn template_of(route: &PlainRoute) -> Template {
    Template::parse(route.template).expect("the table of plain routes has valid templates")
}

/// The routes as a table for people: path, method, class, who may call, and
/// how long the gateway waits.
pub(crate) fn table(rpcs: &[Rpc]) -> String {
    let mut lines: Vec<[String; 5]> = Vec::new();
    for rpc in rpcs {
        let access = match rpc {
            rpc if rpc.is_public() => "public",
            rpc if rpc.is_routed() => "token",
            _ => "not-routed",
        };
        let timeout = timeout_of(rpc).map_or_else(
            || "stream".to_owned(),
            |timeout| format!("{}ms", timeout.as_millis()),
        );
        let line = |path: &str, method: &str| {
            [
                path.to_owned(),
                method.to_owned(),
                rpc.rate_class().to_owned(),
                access.to_owned(),
                timeout.clone(),
            ]
        };
        lines.push(line(&rpc.path, "gRPC"));
        let bindings = rpc.bindings.iter();
        lines.extend(bindings.map(|binding| line(binding.template.text(), binding.method)));
    }
    for route in &PLAIN_ROUTES {
        lines.push([
            route.template.to_owned(),
            route.method.to_owned(),
            rate_limits::PLAIN_HTTP.to_owned(),
            match route.access {
                PlainAccess::Everybody => "public",
                PlainAccess::Token => "token",
            }
            .to_owned(),
            format!("{}ms", (route.deadline + MARGIN).as_millis()),
        ]);
    }
    lines.sort();
    lines.iter().fold(String::new(), |mut table, line| {
        writeln!(table, "{}", line.join(" ")).expect("writing to a string never fails");
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    fn all() -> (Vec<Rpc>, Vec<Value>) {
        let rpcs = contract::rpcs().unwrap();
        let settings = Settings::read(std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/settings.toml"
        )));
        let routes = routes(&settings.unwrap(), &rpcs);
        (rpcs, routes)
    }

    /// Every RPC has one route, or none when it is internal; public ones, and
    /// only those, are exempt from tokens.
    #[test]
    fn every_rpc_has_one_route() {
        let (rpcs, routes) = all();
        for rpc in &rpcs {
            let is_its = |route: &&Value| route["match"]["path"] == *rpc.path;
            let own: Vec<&Value> = routes.iter().filter(is_its).collect();
            assert_eq!(own.len(), usize::from(rpc.is_routed()), "{}", rpc.path);
            for route in own {
                let exempt = &route["typed_per_filter_config"][jwt::NAME]["disabled"];
                assert_eq!(
                    exempt.as_bool().unwrap_or(false),
                    rpc.is_public(),
                    "{}",
                    rpc.path
                );
                assert_eq!(
                    route["metadata"]["filter_metadata"][METADATA]["class"],
                    rpc.rate_class()
                );
            }
        }
    }

    /// Only reads are sent again when a service may have seen them.
    #[test]
    fn writes_are_not_repeated() {
        let (rpcs, routes) = all();
        for rpc in rpcs.iter().filter(|rpc| rpc.is_routed()) {
            let route = routes
                .iter()
                .find(|route| route["name"] == *rpc.path)
                .unwrap();
            let retry_on = route["route"]["retry_policy"]["retry_on"].as_str().unwrap();
            let is_get = rpc.bindings.iter().all(|binding| binding.method == "GET");
            assert_eq!(retry_on == RETRY_READ, is_get, "{}", rpc.path);
        }
    }

    /// Nothing is asked for a token before it is known what it is, and nothing
    /// else is exempt.
    #[test]
    fn exemptions_are_few() {
        let (rpcs, routes) = all();
        let exempt =
            |route: &&Value| route["typed_per_filter_config"][jwt::NAME]["disabled"] == true;
        for route in routes.iter().filter(exempt) {
            let name = route["name"].as_str().unwrap();
            let is_public = rpcs.iter().any(|rpc| rpc.path == name && rpc.is_public());
            let is_plain = PLAIN_ROUTES.iter().any(|plain| {
                plain.access == PlainAccess::Everybody && name.ends_with(plain.template)
            });
            let is_development = DEVELOPMENT_SERVICES.contains(&name);
            let leads_nowhere = route.get("direct_response").is_some();
            assert!(
                is_public || is_plain || is_development || leads_nowhere,
                "{name}"
            );
        }
    }
}
