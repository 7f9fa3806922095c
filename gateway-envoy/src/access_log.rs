//! One line a request, health checks aside. Never a token, a query string or
//! a body.

use serde_json::{Value, json};

use crate::envoy::extension;
use crate::jwt;
use crate::settings::{AccessLog, AccessLogFormat};

const PATH: &str = "%PATH(NQ:ORIG_OR_PATH)%";

/// The connection manager's access loggers.
pub(crate) fn loggers(settings: &AccessLog) -> Vec<Value> {
    let format = match settings.format {
        AccessLogFormat::Json => json!({ "json_format": json_line() }),
        AccessLogFormat::Text => json!({ "text_format_source": { "inline_string": text_line() } }),
        AccessLogFormat::Off => return Vec::new(),
    };
    let mut logger = match &settings.path {
        Some(path) => extension(
            "envoy.access_loggers.file",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            json!({ "path": path.display().to_string(), "log_format": format }),
        ),
        None => extension(
            "envoy.access_loggers.stdout",
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            json!({ "log_format": format }),
        ),
    };
    logger["filter"] = json!({ "not_health_check_filter": {} });
    vec![logger]
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
