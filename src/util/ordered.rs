//! A set that remembers in which order its elements were last added.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

use lru::LruCache;

/// Elements, each once, in the order in which they were last added. The caller bounds their number.
pub struct OrderedSet<T: Hash + Eq>(LruCache<T, ()>);

impl<T: Hash + Eq> OrderedSet<T> {
    /// Adds an element at the end, or moves it there. Returns true if it is new.
    pub fn insert(&mut self, element: T) -> bool {
        self.0.put(element, ()).is_none()
    }

    /// Moves an element to the end. Returns false if it is not in the set.
    pub fn renew<Q: Hash + Eq + ?Sized>(&mut self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.get(element).is_some()
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().rev().map(|(element, ())| element)
    }
}

impl<T: Hash + Eq> Default for OrderedSet<T> {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl<T: Hash + Eq + fmt::Debug> fmt::Debug for OrderedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Hash + Eq> Extend<T> for OrderedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            self.insert(element);
        }
    }
}

impl<T: Hash + Eq> IntoIterator for OrderedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(mut self) -> Self::IntoIter {
        let elements: Vec<T> = std::iter::from_fn(|| self.0.pop_lru().map(|(element, ())| element)).collect();
        elements.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_in_the_order_in_which_they_were_last_added() {
        let mut set = OrderedSet::<Vec<u8>>::default();
        set.extend([b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        assert!(!set.insert(b"a".to_vec()) && set.renew(&b"b"[..]) && !set.renew(&b"z"[..]));
        assert_eq!(
            format!("{:?}", set.iter().collect::<Vec<_>>()),
            format!("{:?}", [b"c", b"a", b"b"].map(|it| it.to_vec()))
        );
        assert_eq!((set.len(), set.is_empty()), (3, false));
        assert_eq!(set.into_iter().collect::<Vec<_>>().concat(), b"cab");
    }
}
