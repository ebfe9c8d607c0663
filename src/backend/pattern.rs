//! Removing the keys that match globs, for any backend that lists keys.

use super::{Backend, KeyFilter, Operation, Outcome, ScanCursor, page};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::util::glob::Glob;

/// The number of keys that are listed at once.
const PAGE: usize = 512;

/// Lists the keys that may match, once for all patterns, and removes those that do.
pub(super) async fn remove_matching(
    context: CallContext,
    backend: &dyn Backend,
    patterns: &[&[u8]],
) -> Result<Outcome> {
    let globs: Vec<Glob> = patterns.iter().map(|pattern| Glob::new(pattern)).collect();
    let literal_prefix = common_prefix(&globs);
    let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &[] };
    let (mut next, mut removed) = (Some(ScanCursor::default()), 0);
    while let Some(from) = next {
        let page = page(context, backend, filter, from, PAGE).await?;
        next = page.next;
        let keys: Vec<&[u8]> = page.keys.iter().filter(|key| globs.iter().any(|glob| glob.matches(key))).collect();
        for deleted in backend.call(context, Operation::DeleteMany { keys: &keys }).await?.each() {
            removed += u64::from(deleted?.is_hit());
        }
        yield_now().await;
    }
    Ok(Outcome::Removed(Some(removed)))
}

/// Returns the bytes that every match of any of the globs begins with.
fn common_prefix(globs: &[Glob]) -> Vec<u8> {
    let both = |one: Vec<u8>, other: Vec<u8>| {
        one.into_iter().zip(other).take_while(|(one, other)| one == other).map(|(byte, _)| byte).collect()
    };
    globs.iter().map(Glob::literal_prefix).reduce(both).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_for_many_patterns_begins_with_what_they_share() {
        let common = |patterns: &[&[u8]]| common_prefix(&patterns.iter().map(|it| Glob::new(it)).collect::<Vec<_>>());
        assert_eq!(common(&[b"user:1:*", b"user:2:?"]), b"user:");
        assert_eq!(common(&[b"user:*", b"*"]), b"");
        assert_eq!(common(&[b"key"]), b"key");
        assert_eq!(common(&[]), b"");
    }
}
