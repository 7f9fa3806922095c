//! Reading through: a miss is loaded from the source, once for all who ask.
//!
//! A load first leaves a mark in Redis and is known in this process. An update
//! that commits while the source is being read finds the key present for that
//! reason and is stored, and the load's value is refused as the older one.

use std::fmt::Display;
use std::sync::Arc;

use prost::Message;

use crate::cache::{Cache, Cached};
use crate::flight::{Flight, Ticket, landing};
use crate::level::Raw;

/// Why a value could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// The loader failed.
    #[error("the loader failed")]
    Loader(#[source] E),
    /// The loader of another caller, whose result this one waited for, failed.
    #[error("the load that was joined failed: {0}")]
    Joined(String),
}

impl<V: Message + Default + 'static> Cache<V> {
    /// The value, from either level or from the loader, which answers with a
    /// version and a value, or none when there is no such thing. Concurrent
    /// misses of a key share one load.
    ///
    /// # Errors
    /// When the loader fails. Redis is never the reason.
    pub async fn load<E: Display>(
        &self,
        key: &str,
        loader: impl AsyncFnOnce() -> Result<Option<(u64, V)>, E>,
    ) -> Result<Option<Cached<V>>, LoadError<E>> {
        self.load_at_least(key, 0, loader).await
    }

    /// The same for a caller that has seen `min_version`: what is cached with an
    /// older version is loaded again. What the loader answers is taken as it is,
    /// so the version may still be older when the source lags.
    ///
    /// # Errors
    /// As [`Cache::load`].
    pub async fn load_at_least<E: Display>(
        &self,
        key: &str,
        min_version: u64,
        loader: impl AsyncFnOnce() -> Result<Option<(u64, V)>, E>,
    ) -> Result<Option<Cached<V>>, LoadError<E>> {
        loop {
            if let Some(fresh) = self.memory_hit(key, min_version) {
                return Ok(Some(fresh));
            }
            match self.flights.board(key) {
                Ticket::Lead(flight) => return self.lead(flight, key, min_version, loader).await,
                Ticket::Join(waiting) => {
                    self.counters.coalesced.one();
                    match landing(waiting).await {
                        Some(Ok(Some(found))) if found.version >= min_version => {
                            return Ok(Some(found));
                        }
                        Some(Ok(None)) if min_version == 0 => return Ok(None),
                        Some(Err(reason)) => return Err(LoadError::Joined(reason)),
                        // Given up, or too old for this caller: somebody loads anew.
                        Some(Ok(_)) | None => {}
                    }
                }
            }
        }
    }

    async fn lead<E: Display>(
        &self,
        flight: Flight<'_, Cached<V>>,
        key: &str,
        min_version: u64,
        loader: impl AsyncFnOnce() -> Result<Option<(u64, V)>, E>,
    ) -> Result<Option<Cached<V>>, LoadError<E>> {
        let marked = match &self.redis {
            Some(redis) => redis.read_or_mark(key, &self.counters).await,
            None => None,
        };
        let cached = marked.and_then(|raw: Raw| self.accept(key, raw));
        if let Some(cached) = cached.filter(|cached| cached.version >= min_version) {
            self.counters.redis_hits.one();
            flight.land(Ok(Some(cached.clone())));
            return Ok(Some(cached));
        }
        self.counters.misses.one();
        let loaded = match loader().await {
            Ok(Some((version, value))) => Cached {
                version,
                value: Arc::new(value),
            },
            Ok(None) => {
                flight.land(Ok(None));
                return Ok(None);
            }
            Err(error) => {
                flight.land(Err(error.to_string()));
                return Err(LoadError::Loader(error));
            }
        };
        self.store(key, &loaded).await;
        let newest = self
            .memory
            .fresh(key)
            .filter(|known| known.version > loaded.version)
            .unwrap_or(loaded);
        flight.land(Ok(Some(newest.clone())));
        Ok(Some(newest))
    }
}
