//! One line a request. Never a token, a query string or a body.

use serde_json::{Value, json};

use crate::envoy::extension;
use crate::jwt;
use crate::settings::{AccessLog, AccessLogFormat};

const STANDARD_OUTPUT: &str = "/dev/stdout";
const PATH: &str = "%PATH(NQ:ORIG_OR_PATH)%";

/// The connection manager's access loggers.
pub(crate) fn loggers(settings: &AccessLog) -> Vec<Value> {
    let format = match settings.format {
        AccessLogFormat::Json => json!({ "json_format": json_line() }),
        AccessLogFormat::Text => json!({ "text_format_source": { "inline_string": text_line() } }),
        AccessLogFormat::Off => return Vec::new(),
    };
    let path = settings
        .path
        .as_ref()
        .map_or_else(|| STANDARD_OUTPUT.to_owned(), |path| path.display().to_string());
    vec![extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        json!({ "path": path, "log_format": format }),
    )]
}

fn subject() -> String {
    format!("%DYNAMIC_METADATA({}:{}:sub)%", jwt::NAME, jwt::PAYLOAD)
}

fn json_line() -> Value {
    json!({
        "time": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
        "path": PATH,
        "route": "%ROUTE_NAME%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "upstream_duration_ms": "%RESPONSE_DURATION%",
        "request_bytes": "%BYTES_RECEIVED%",
        "response_bytes": "%BYTES_SENT%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "subject": subject(),
        "traceparent": "%REQ(TRACEPARENT)%",
    })
}

fn text_line() -> String {
    format!(
        "%START_TIME% %RESPONSE_CODE% %GRPC_STATUS(SNAKE_STRING)% %DURATION%ms \
         %REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)% {PATH} {} %REQ(X-REQUEST-ID)%\n",
        subject()
    )
}
