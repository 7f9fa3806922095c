//! A REST caller.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Client, Method, RequestBuilder};
use serde_json::Value;

use super::upstream::SEEN;

pub(crate) struct Rest {
    client: Client,
    base: String,
}

/// A request under construction.
pub(crate) struct Call(RequestBuilder);

/// A body whose length is not told beforehand.
pub(crate) fn chunked(text: String) -> Body {
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(text)))];
    Body::wrap(StreamBody::new(tokio_stream::iter(frames)))
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Rest {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<Body>) -> Call {
        let call = self.call("POST", path);
        Call(call.0.body(body)).header("content-type", "application/json")
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Call(self.client.request(method, format!("{}{path}", self.base)))
    }
}

impl Call {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("the gateway answers")
    }

    /// `None` when the connection fails.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        let response = self.0.send().await.ok()?;
        Some(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.ok()?,
        })
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A header as it reached the service.
    pub(crate) fn seen(&self, name: &str) -> Option<&str> {
        self.header(&format!("{SEEN}{name}"))
    }

    /// The detail of this kind, of google.rpc.
    pub(crate) fn detail(&self, kind: &str) -> Option<Value> {
        let url = format!("type.googleapis.com/google.rpc.{kind}");
        let json = self.json();
        let details = json["details"].as_array().expect("details are a list");
        details
            .iter()
            .find(|detail| detail["@type"] == *url)
            .cloned()
    }

    /// Checks the one error form, and returns the reason.
    pub(crate) fn error(&self, status: u16, code: i32) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["code"], code, "{self:?}");
        assert!(!json["message"].as_str().unwrap().is_empty(), "{self:?}");
        let info = self.detail("ErrorInfo").expect("every error has a reason");
        assert!(
            info["domain"].as_str().unwrap().starts_with("bursar."),
            "{self:?}"
        );
        info["reason"].as_str().unwrap().to_owned()
    }

    /// The fields at fault, with what is wrong with them.
    pub(crate) fn violations(&self) -> Vec<(String, String)> {
        let Some(detail) = self.detail("BadRequest") else {
            return Vec::new();
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let violations = detail["field_violations"].as_array().unwrap().iter();
        violations
            .map(|violation| (text(&violation["field"]), text(&violation["description"])))
            .collect()
    }
}
