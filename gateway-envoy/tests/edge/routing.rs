//! Every RPC of the contract is where the contract says.

use bursar_contracts::policy::{self, Access};
use tonic::Code;

use crate::support::{Edge, call_grpc_web};

/// Every RPC asks for a token unless it is public, and none of the internal
/// ones is there, whatever the protocol.
#[tokio::test]
async fn access_is_as_the_contract_says() {
    let edge = Edge::start().await;
    for (path, policy) in policy::all() {
        let answer = call_grpc_web(&edge, path, &(), None).await;
        let expected = match policy.access {
            Some(Access::Internal(_)) | None => Code::Unimplemented,
            Some(Access::Permission(_)) => Code::Unauthenticated,
            // It reached the service.
            Some(Access::Public(_)) => Code::Ok,
        };
        assert_eq!(answer.code, expected, "{path}");
        if matches!(policy.access, Some(Access::Internal(_))) {
            let token = edge.token("usr_1");
            let answer = call_grpc_web(&edge, path, &(), Some(&token)).await;
            assert_eq!(answer.code, Code::Unimplemented, "{path}");
        }
    }
}

/// Every line of the route table leads to its RPC.
#[tokio::test]
async fn rest_routes_lead_to_their_rpcs() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let table = bursar_gateway::route_table().unwrap();
    let rows = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    for row in rows.filter(|row| row[1] != "gRPC") {
        let (template, method, access) = (row[0], row[1], row[3]);
        let path = template
            .split('/')
            .map(|part| match part.split_once('}') {
                Some((_, verb)) => format!("some{verb}"),
                None => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("/");
        let call = || edge.rest.call(method, &path);
        if access == "token" {
            assert_eq!(
                call().send().await.error(401, 16),
                "UNAUTHENTICATED",
                "{path}"
            );
        }
        let answer = call().token(&token).send().await;
        // Whatever the service says to an empty request, it was the service.
        let reached = answer
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("seen-"))
            || answer.header("grpc-status").is_some()
            || template == "/.well-known/jwks.json"
            || ["INVALID_FIELD", "WALLET_NOT_FOUND"]
                .contains(&answer.error(answer.status, 3).as_str());
        assert!(reached, "{method} {path}: {answer:?}");
    }
}

/// Reflection and health answer in development, and are not there otherwise.
#[tokio::test]
async fn reflection_is_for_development() {
    let paths = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
    ];
    let production = Edge::start().await;
    for path in paths {
        let answer = call_grpc_web(&production, path, &(), None).await;
        assert_eq!(answer.code, Code::Unimplemented, "{path}");
    }
    let development = Edge::start_with(|settings| settings.reflection = true).await;
    for path in paths {
        let answer = call_grpc_web(&development, path, &(), None).await;
        assert_eq!(answer.code, Code::Ok, "{path}");
    }
}
