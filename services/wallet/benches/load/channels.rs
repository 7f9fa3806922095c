//! Connections to the service: a few, each with many calls under way, as the
//! services have them among themselves.

use tonic::transport::{Channel, Endpoint};

const CHANNELS: usize = 4;

pub(crate) async fn open(address: &str) -> anyhow::Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let mut channels = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// The channel of a caller.
pub(crate) fn of(channels: &[Channel], caller: usize) -> Channel {
    channels[caller % channels.len()].clone()
}
