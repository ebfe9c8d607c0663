//! The size of a prefix: counted if the server has few names, else estimated from a sample.

use super::{Remote, Store};
use crate::backend::Usage;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::util::byte_strings::ByteStrings;

/// The most names of a sample: each is read, since no name tells whether its entry is over or invalidated.
pub const SAMPLE: usize = 1000;

/// Names of entries on one server.
#[derive(Default)]
pub struct Sample {
    /// The names.
    pub names: ByteStrings,
    /// The bytes that each takes.
    pub sizes: Vec<u64>,
    /// The ratio of the server's entries to the names here; `None`: these are all.
    pub scale: Option<f64>,
}

impl<S: Store> Remote<S> {
    /// An exact count is the number of keys that a listing returns.
    pub(super) async fn size(&self, context: CallContext) -> Result<Usage> {
        let mut usage = Usage::default();
        for sample in self.store.sample(context, &self.prefix).await? {
            let (keys, bytes) = self.readable_of(context, &sample).await?;
            let scaled = |number: u64| sample.scale.map_or(number, |scale| scale_up(number, scale));
            usage.keys += scaled(keys);
            usage.bytes += scaled(bytes);
            usage.estimated |= sample.scale.is_some();
        }
        Ok(usage)
    }

    /// Returns the number of entries of a sample that can be read, and their bytes.
    async fn readable_of(&self, context: CallContext, sample: &Sample) -> Result<(u64, u64)> {
        let mut sized: Vec<(&[u8], u64)> = sample.names.iter().zip(sample.sizes.iter().copied()).collect();
        sized.sort_unstable();
        // A server may list a name twice while it resizes its table.
        sized.dedup_by(|second, first| second.0 == first.0);
        let names: Vec<&[u8]> = sized.iter().map(|it| it.0).collect();
        let readable = self.readable(context, &names, &[]).await?;
        let is_readable = |it: &&(&[u8], u64)| readable.binary_search(&it.0).is_ok();
        Ok((readable.len() as u64, sized.iter().filter(is_readable).map(|it| it.1).sum()))
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // An estimate.
fn scale_up(number: u64, scale: f64) -> u64 {
    (number as f64 * scale) as u64
}
