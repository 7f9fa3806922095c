//! The canonical encoding: fields in a fixed order, each of which tells where
//! it ends, so that no two different values have the same bytes.
//!
//! Numbers are big-endian. Text has its length in bytes before it. An absent
//! value is the byte 0; a present one is the byte 1 and the value. Every
//! encoding begins with a text that names its kind and version, so that bytes
//! of one kind are never taken for those of another.

use uuid::Uuid;

/// Collects the bytes of one value.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins an encoding of a kind and version.
    pub(crate) fn new(domain: &str, capacity: usize) -> Self {
        let mut encoder = Self(Vec::with_capacity(capacity));
        encoder.text(domain);
        encoder
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// How many of something follow. Lengths of 4 GiB and more, which nothing
    /// here comes near, would not be told from shorter ones and are refused.
    pub(crate) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("values are far shorter than 4 GiB");
        self.u32(count);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    /// Bytes whose number follows from the kind of the encoding.
    pub(crate) fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn uuid(&mut self, id: Uuid) {
        self.fixed(id.as_bytes());
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.0.push(0),
            Some(value) => {
                self.0.push(1);
                encode(self, value);
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}
