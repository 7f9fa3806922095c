//! Whether a server drops keys when its memory is full. Every policy but
//! `noeviction` does, also those that take only keys with a time to live, since
//! counters and sessions have one.

use redis::aio::ConnectionLike;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, RedisResult, Value};

use crate::connection::Link;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Keeps,
    Evicts(String),
    /// The server may not be asked, or does not say.
    Unknown,
}

const FIELD: &str = "maxmemory_policy:";
const SETTING: &str = "maxmemory-policy";

/// The policy of the server, or the worst of a cluster's primaries. `INFO` is
/// asked first, since more users may; then the setting.
pub(crate) async fn policy(link: &mut Link) -> RedisResult<Policy> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let told = judge(&ask(link, info).await?);
    if told != Policy::Unknown {
        return Ok(told);
    }
    let mut setting = redis::cmd("CONFIG");
    setting.arg("GET").arg(SETTING);
    Ok(judge(&ask(link, setting).await?))
}

/// What the server answers, or nothing when it refuses to.
async fn ask(link: &mut Link, command: Cmd) -> RedisResult<Value> {
    let answer = match link {
        Link::Node(node) => node.req_packed_command(&command).await,
        Link::Cluster(cluster) => {
            let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            cluster.route_command(command, everywhere).await
        }
    };
    match answer {
        Err(error) if error.code().is_some() => Ok(Value::Nil),
        answer => answer,
    }
}

fn judge(answer: &Value) -> Policy {
    let mut texts = Vec::new();
    collect(answer, &mut texts);
    let told = texts.iter().flat_map(|text| {
        text.lines()
            .filter_map(|line| line.strip_prefix(FIELD))
            .map(|policy| policy.trim().to_owned())
    });
    let set = texts
        .windows(2)
        .filter(|pair| pair[0] == SETTING)
        .map(|pair| pair[1].clone());
    let mut policies = told.chain(set).peekable();
    if policies.peek().is_none() {
        return Policy::Unknown;
    }
    policies
        .find(|policy| policy != "noeviction")
        .map_or(Policy::Keeps, Policy::Evicts)
}

/// All texts in an answer, in order; a cluster's is a map of the nodes' answers.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text.clone()),
        Value::Array(values) => {
            for value in values {
                collect(value, texts);
            }
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                collect(key, texts);
                collect(value, texts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// One evicting node of a cluster is enough, and silence is not consent.
    #[test]
    fn the_worst_node_decides() {
        let keeps = text("# Memory\r\nmaxmemory_policy:noeviction\r\n");
        let evicts = text("maxmemory_policy:volatile-lru\r\n");
        assert_eq!(judge(&keeps), Policy::Keeps);
        assert_eq!(judge(&Value::Nil), Policy::Unknown);
        let cluster = Value::Map(vec![(text("a:1"), keeps), (text("b:1"), evicts)]);
        assert_eq!(judge(&cluster), Policy::Evicts("volatile-lru".to_owned()));
        let setting = Value::Array(vec![text(SETTING), text("allkeys-lru")]);
        assert_eq!(judge(&setting), Policy::Evicts("allkeys-lru".to_owned()));
    }
}
