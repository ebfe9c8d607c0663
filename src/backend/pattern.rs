//! Removing the keys that match a glob, for any backend that lists keys.

use super::{Backend, Position, Removed, Wanted, page};
use crate::error::Result;
use crate::glob::Glob;
use crate::runtime::let_others_run;

/// How many keys are asked for at once.
const PAGE: usize = 512;

/// Lists what may match and removes what does.
pub(super) async fn remove_matching<B: Backend + ?Sized>(backend: &B, pattern: &[u8]) -> Result<Removed> {
    let glob = Glob::new(pattern);
    let literal_prefix = glob.literal_prefix();
    let wanted = Wanted { literal_prefix: &literal_prefix, tags: &[] };
    let (mut next, mut removed) = (Some(Position::default()), 0);
    while let Some(from) = next {
        let page = page(backend, wanted, from, PAGE).await?;
        next = page.next;
        let keys: Vec<&[u8]> = page.keys.iter().filter(|key| glob.matches(key)).collect();
        for was_there in backend.delete_many(&keys).await? {
            removed += u64::from(was_there?);
        }
        let_others_run().await;
    }
    Ok(Some(removed))
}
