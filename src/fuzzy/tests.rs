//! Tests fuzzy search against scores of `rapidfuzz` and against a slow, plain definition.

use std::time::Duration;

use super::*;

/// A deadline that no test reaches.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Pairs with the score that `rapidfuzz.fuzz.partial_ratio` 3.14.6 gives them.
#[rustfmt::skip]
#[allow(clippy::unreadable_literal, reason = "as Python prints them")]
const SCORES: &[(&[u8], &[u8], f64)] = &[
    // Empty strings.
    (b"", b"", 100.0),
    (b"", b"a", 0.0),
    (b"", b"\x00", 0.0),
    (b"", b"user:1:profile", 0.0),
    // One byte.
    (b"a", b"a", 100.0),
    (b"a", b"b", 0.0),
    (b"\x00", b"\x00", 100.0),
    (b"a", b"bab", 100.0),
    (b"a", b"xyz", 0.0),
    // One holds the other.
    (b"profile", b"user:123456:profile", 100.0),
    (b"user", b"user:1", 100.0),
    (b"3456", b"user:123456:x", 100.0),
    (b"user:1", b"user:12", 100.0),
    // The best window is whole.
    (b"profle", b"user:123456:profile", 83.33333333333334),
    (b"usr:12345", b"user:123456:profile", 88.88888888888889),
    (b"user:4242:pro", b"tenant:424242:profile", 69.23076923076923),
    (b"sesion:99", b"cart:session:998877", 88.88888888888889),
    (b"abcdef", b"xxabXdefxx", 83.33333333333334),
    (b"orders", b"red roses", 60.0),
    (b"colour", b"the color of it", 83.33333333333334),
    // The best window is short, at one end.
    (b"abcd", b"bcdxxxxx", 85.71428571428572),
    (b"abcd", b"xxxxxabc", 85.71428571428572),
    (b"xyzabc", b"abcmmmmm", 66.66666666666667),
    (b"abcxyz", b"mmmmmabc", 66.66666666666667),
    (b"profiles", b"user:profile", 93.33333333333333),
    (b"my:cart", b"cart:123456", 72.72727272727273),
    (b"abcdefgh", b"h1111111a", 22.22222222222222),
    (b"12345678", b"78000000012", 40.0),
    // Equally long: each is laid on the other.
    (b"ab", b"ba", 66.66666666666667),
    (b"abc", b"bca", 80.0),
    (b"abcd", b"dcba", 40.0),
    (b"abcd", b"bcda", 85.71428571428572),
    (b"kitten", b"mitten", 90.9090909090909),
    (b"abcdefgh", b"cdefghij", 85.71428571428572),
    (b"aXbXcX", b"YaYbYc", 54.54545454545454),
    (b"aabbc", b"bbcaa", 75.0),
    (b"abab", b"baba", 85.71428571428572),
    (b"user:12", b"12:user", 72.72727272727273),
    // Repeated bytes.
    (b"aaaa", b"aa", 100.0),
    (b"aaaa", b"baaab", 75.0),
    (b"aaaaaaaa", b"abababababab", 53.333333333333336),
    (b"abab", b"aabbaabb", 85.71428571428572),
    (b"aabb", b"bbaa", 66.66666666666667),
    (b"aaaaaaaab", b"baaaaaaaaa", 94.11764705882352),
    (b"mississippi", b"missisippi river", 95.23809523809523),
    (b"babababababababa", b"abababababababababababab", 100.0),
    // Any bytes.
    (b"\x00\x01\x02", b"\xff\x00\x02\xfe", 66.66666666666667),
    (b"\xff\xfe\xfd\xfc", b"\xfc\xfd\xfe\xff\x00", 40.0),
    (b"\xc3\xa9t\xc3\xa9", b"ete \xc3\xa9t\xc3\xa8 et", 80.0),
    (b"a\x00b", b"a\x00\x00b", 80.0),
    (b"\xfa\xfb\xfc\xfd\xfe\xff", b"\xff\xfa\xf5\xf0\xeb\xe6\xe1\xdc\xd7\xd2\xcd\xc8\xc3\xbe\xb9\xb4\xaf\xaa\xa5\xa0\x9b\x96\x91\x8c\x87\x82}xsnid_ZUPKFA<72-(#\x1e\x19\x14\x0f\x0a\x05\x00", 28.57142857142857),
    // Around the widths of a lane.
    (b"the quick brown?", b"xxthe quick brown yy", 93.75),
    (b"the quick brown ?", b"xxe quick brown fyy", 84.84848484848484),
    (b" quick brown fox jumps over th!!", b"the quick brown fox jumps over the lazy ", 93.75),
    (b" quick brown fox jumps over the !", b"the quick brown fox jumps over the lazy ", 96.96969696969697),
    (b"the quick brown fox jumps over _he lazy dog while seven wizards", b"he quick brown fox jumps over the lazy dog while seven wizards quietl", 97.6),
    (b"the quick brown fox jumps overthe lazy dog while seven wizards ", b"the quick brown fox jumps over the lazy dog while seven wizards quietly mix a bo", 98.41269841269842),
    (b"the quick brown fox jumps over the lazy dog while seven wizards #", b"uick brown fox jumps over the lazy dog while seven wizards quietly mix a bo", 95.16129032258065),
    (b"brown fox jumps over the lazy ", b" over the lazy dog while seven", 66.66666666666667),
    // Over one word.
    (b"the quick brown fox jumps over the lazy dog while seven wizards quietl", b"the quick brown fox jumps over the lazy dog while seven wizards quietly mix a box of jugs", 100.0),
    (b"the quick brown fox jumps over the lazy hile seven wizards quietly mix a bo", b"the quick brown fox jumps over the lazy dog while seven wizards quietly mix a box of jugs", 93.33333333333333),
    (b"sguj fo xob a xim ylteiuq sdraziw neves elihw god yzal eht revo spmuj xof nworb kciuq eht", b"the quick brown fox jumps over the lazy dog while seven wizards quietly mix a box of jugs", 39.26380368098159),
    (b"the quick brown fox jumps over the lazy dog while seven wizards quietly mix a box of jugs", b"k brown fox jumps over the lazy dog while seven wizards quietly mix a box of jugsthe quic", 95.29411764705881),
    (b"jumps over the lazy dog while seven wizards quietly mix a box of jugs", b"--the quick brown fox jumps over the lazy dog while seven wizards quiet--", 81.66666666666667),
    (b"abababababababababababababababababababababababababababababababababababababababab", b"babababababababababababababababababababababababababababababababababababababababababababababababababa", 100.0),
    (b"the quick brown fox jumps over the lazy dog while seven wizards qu0000000000", b"99999999999999999999the quick brown fox jumps over the lazy dog while seven wizards qu", 92.95774647887323),
    (b"\x00\x02\x04\x06\x08\x0a\x0c\x0e\x10\x12\x14\x16\x18\x1a\x1c\x1e \"$&(*,.02468:<>@BDFHJLNPRTVXZ\\^`bdfhjlnprtvxz|~\x80\x82\x84\x86\x88\x8a\x8c\x8e\x90\x92\x94\x96\x98\x9a\x9c\x9e\xa0\xa2\xa4\xa6\xa8\xaa\xac\xae\xb0\xb2\xb4\xb6\xb8\xba\xbc\xbe\xc0\xc2\xc4\xc6", b"\x00\x03\x06\x09\x0c\x0f\x12\x15\x18\x1b\x1e!$'*-0369<?BEHKNQTWZ]`cfilorux{~\x81\x84\x87\x8a\x8d\x90\x93\x96\x99\x9c\x9f\xa2\xa5\xa8\xab\xae\xb1\xb4\xb7\xba\xbd\xc0\xc3\xc6", 34.32835820895522),
];

#[test]
fn scores_are_those_of_rapidfuzz() {
    for (a, b, score) in SCORES {
        assert_same(a, b, partial_ratio(a, b), *score);
    }
}

#[test]
fn the_order_of_a_pair_does_not_matter() {
    for (a, b, score) in SCORES {
        assert_same(b, a, partial_ratio(b, a), *score);
    }
}

#[test]
fn short_random_pairs_score_as_defined() {
    let mut random = Random(1);
    for _ in 0..4000 {
        let (a, b) = random.pair(0, 30);
        assert_same(&a, &b, partial_ratio(&a, &b), plain_partial_ratio(&a, &b));
    }
}

#[test]
fn long_random_pairs_score_as_defined() {
    let mut random = Random(2);
    for _ in 0..40 {
        let (a, b) = random.pair(55, 100);
        assert_same(&a, &b, partial_ratio(&a, &b), plain_partial_ratio(&a, &b));
    }
}

#[test]
fn strings_of_many_words_score_as_in_rapidfuzz() {
    let text = |length: usize, step: usize| -> Vec<u8> { (0..length).map(|i| b"abcdefg"[i * i / step % 7]).collect() };
    for (a, b, score) in [(700, 900, 60.116_448_326_055_32), (600, 600, 60.978_147_762_747_135)] {
        let (a, b) = (text(a, 3), text(b, 5));
        assert_same(&a, &b, partial_ratio(&a, &b), score);
    }
}

#[test]
fn a_common_subsequence_goes_on_from_word_to_word() {
    let mut random = Random(4);
    for _ in 0..200 {
        let (a, b) = random.pair(55, 200);
        let distance = a.len() + b.len() - 2 * lcs::lcs_length(&a, &b);
        assert_eq!(distance, plain_distance(&a, &b) as usize, "{a:?} and {b:?}");
    }
}

#[test]
fn no_bound_hides_a_key_that_scores_the_threshold() {
    let mut random = Random(5);
    for (least, most) in [(1, 40), (55, 300)].repeat(400) {
        let (query, key) = random.pair(least, most);
        let mut search = Search::new(&query, partial_ratio(&query, &key), 1);
        search.offer(&key, later()).unwrap();
        assert_eq!(search.finish().len(), 1, "{query:?} and {key:?}");
    }
}

#[test]
fn the_best_come_first_and_equals_by_key() {
    let keys = ["user:2", "cart:1", "user:1", "uses", "user"];
    assert_eq!(found("user", 60.0, 9, &keys), ["user", "user:1", "user:2", "uses"]);
}

#[test]
fn a_key_under_the_threshold_is_no_match() {
    assert_eq!(found("abcd", 75.0, 9, &["xabcx", "abXd", "aXXd"]), ["abXd", "xabcx"]);
    assert_eq!(found("abcd", 75.1, 9, &["xxabXdxx", "aXXd"]), [""; 0]);
}

#[test]
fn at_threshold_zero_every_key_matches() {
    assert_eq!(found("abc", 0.0, 9, &["xyz", "", "abc"]), ["abc", "", "xyz"]);
}

#[test]
fn over_a_hundred_or_no_number_nothing_matches() {
    assert_eq!(found("abc", 100.1, 9, &["abc"]), [""; 0]);
    assert_eq!(found("abc", f64::NAN, 9, &["abc"]), [""; 0]);
}

#[test]
fn an_empty_query_is_like_an_empty_key_only() {
    assert_eq!(found("", 1.0, 9, &["abc", "", "a"]), [""]);
    assert_eq!(found("", 0.0, 9, &["abc", "", "a"]), ["", "a", "abc"]);
}

#[test]
fn an_equal_score_with_a_smaller_key_displaces() {
    assert_eq!(found("user", 80.0, 2, &["user:3", "user:2", "user:4", "user:1"]), ["user:1", "user:2"]);
    assert_eq!(found("abcd", 0.0, 1, &["zabXdz", "yabXdy", "zabXdz"]), ["yabXdy"]);
}

#[test]
fn a_limit_of_zero_keeps_nothing() {
    assert_eq!(found("a", 0.0, 0, &["a"]), [""; 0]);
}

#[test]
fn the_greatest_limit_reserves_nothing() {
    assert_eq!(found("a", 0.0, usize::MAX, &["a"]), ["a"]);
}

#[test]
fn the_best_of_random_keys_are_those_of_a_full_sort() {
    let mut random = Random(3);
    for _ in 0..150 {
        let query = random.bytes(0, 20);
        let mut keys: Vec<_> = (0..40).map(|_| random.bytes(0, 30)).collect();
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        for (threshold, limit) in [(0.0, 1), (0.0, 7), (50.0, 3), (80.0, 50)] {
            let mut search = Search::new(&query, threshold, limit);
            for key in &keys {
                search.offer(key, later()).unwrap();
            }
            assert_eq!(search.finish(), sorted(&query, threshold, limit, &keys));
        }
    }
}

fn found(query: &str, threshold: f64, limit: usize, keys: &[&str]) -> Vec<String> {
    let mut search = Search::new(query.as_bytes(), threshold, limit);
    for key in keys {
        search.offer(key.as_bytes(), later()).unwrap();
    }
    let found = search.finish().into_iter();
    found.map(|found| String::from_utf8(found.key.into_vec()).unwrap()).collect()
}

fn sorted(query: &[u8], threshold: f64, limit: usize, keys: &[Vec<u8>]) -> Vec<Match> {
    let score = |key: &Vec<u8>| Match { key: key.as_slice().into(), score: partial_ratio(query, key) };
    let mut matches: Vec<_> = keys.iter().map(score).filter(|found| found.score >= threshold).collect();
    matches.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
    matches.truncate(limit);
    matches
}

fn assert_same(a: &[u8], b: &[u8], score: f64, expected: f64) {
    assert!((score - expected).abs() < 1e-9, "{a:?} and {b:?}: {score}, not {expected}");
}

/// The definition: every window, each by an edit distance of insertions and deletions.
fn plain_partial_ratio(a: &[u8], b: &[u8]) -> f64 {
    let (needle, haystack) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    match (needle.len(), haystack.len()) {
        (0, 0) => 100.0,
        (0, _) => 0.0,
        (m, n) if m == n => plain_best(needle, haystack).max(plain_best(haystack, needle)),
        _ => plain_best(needle, haystack),
    }
}

fn plain_best(needle: &[u8], haystack: &[u8]) -> f64 {
    let ends = 1..needle.len() + haystack.len();
    let windows = ends.map(|end| &haystack[end.saturating_sub(needle.len())..end.min(haystack.len())]);
    windows.map(|window| plain_ratio(needle, window)).fold(0.0, f64::max)
}

fn plain_ratio(a: &[u8], b: &[u8]) -> f64 {
    let total = f64::from(u32::try_from(a.len() + b.len()).unwrap());
    100.0 * (1.0 - f64::from(plain_distance(a, b)) / total)
}

fn plain_distance(a: &[u8], b: &[u8]) -> u32 {
    let mut row: Vec<u32> = (0..).take(b.len() + 1).collect();
    for &byte in a {
        let mut diagonal = row[0];
        row[0] += 1;
        for column in 0..b.len() {
            let edit = 1 + row[column].min(row[column + 1]);
            let best = if byte == b[column] { diagonal } else { edit };
            diagonal = std::mem::replace(&mut row[column + 1], best);
        }
    }
    row[b.len()]
}

/// Marsaglia's xorshift: the same bytes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn bytes(&mut self, least: usize, most: usize) -> Vec<u8> {
        let kinds = [1, 2, 4, 26, 256][self.below(5)];
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| u8::try_from(self.below(kinds)).unwrap()).collect()
    }

    /// Two strings: unrelated, or one a changed part of the other, or a turned copy of it.
    fn pair(&mut self, least: usize, most: usize) -> (Vec<u8>, Vec<u8>) {
        let a = self.bytes(least, most);
        let mut b = a.clone();
        match self.below(3) {
            0 => b = self.bytes(least, most),
            1 => b.rotate_left(self.below(a.len() + 1)),
            _ => b.truncate(self.below(a.len() + 1)),
        }
        let changes = self.below(4).min(b.len());
        for _ in 0..changes {
            let place = self.below(b.len());
            b[place] = b'!';
        }
        (a, b)
    }
}

#[test]
fn a_key_offered_twice_comes_out_once() {
    let mut search = Search::new(b"ab", 0.0, 10);
    [&b"ab"[..], b"xab", b"ab", b"b", b"xab"].iter().for_each(|key| search.offer(key, later()).unwrap());
    let keys: Vec<_> = search.finish().into_iter().map(|found| found.key).collect();
    assert_eq!(keys, [&b"ab"[..], b"b", b"xab"].map(Box::from));
}

#[test]
fn a_long_key_is_not_scored_beyond_the_time_that_there_is() {
    let (query, key) = (vec![b'q'; 1024], vec![b'k'; 65536]);
    let mut search = Search::new(&query, 0.0, 10);
    assert_eq!(search.offer(&key, Instant::now()), Err(OutOfTime), "within one key");
    search.offer(&key[..2048], later()).unwrap();
    assert_eq!(search.finish().len(), 1);
}

#[test]
fn many_short_keys_are_not_scored_beyond_the_time_that_there_is() {
    let mut search = Search::new(b"query", 0.0, 10);
    let over = Instant::now();
    let outcomes: Vec<_> = (0..100_000).map(|_| search.offer(b"a short key", over)).collect();
    assert!(outcomes.contains(&Err(OutOfTime)));
}

#[test]
fn a_key_offered_again_takes_no_other_place_once_keys_may_come_again() {
    let keys = [&b"ab"[..], b"xab", b"yab", b"ab1", b"b"];
    let mut search = Search::new(b"ab", 0.0, 3);
    keys.iter().for_each(|key| search.offer(key, later()).unwrap());
    search.begin_again();
    keys.iter().for_each(|key| search.offer(key, later()).unwrap());
    let found: Vec<_> = search.finish().into_iter().map(|found| found.key).collect();
    assert_eq!(found, [&b"ab"[..], b"ab1", b"b"].map(Box::from));
}
