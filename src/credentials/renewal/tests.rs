//! Tests of credentials that an application supplies.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use super::super::Secret;
use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A password with the time for which it is valid, or the reason why there is none.
type Answer = std::result::Result<(String, Option<Duration>), String>;

/// Hands over its requests, and counts.
#[derive(Default)]
struct Tested {
    asked: AtomicU32,
    requests: Mutex<Vec<CredentialRequest>>,
    /// The answer at once; `None`: the request is kept.
    answer: Mutex<Option<Answer>>,
    _alive: Arc<()>,
}

impl Tested {
    fn answering(password: &str, valid: Option<Duration>) -> Self {
        Self { answer: Mutex::new(Some(Ok((password.into(), valid)))), ..Self::default() }
    }

    fn failing(reason: &str) -> Self {
        Self { answer: Mutex::new(Some(Err(reason.into()))), ..Self::default() }
    }

    fn asked(&self) -> u32 {
        self.asked.load(SeqCst)
    }

    fn now_answers(&self, password: &str, valid: Option<Duration>) {
        *lock(&self.answer) = Some(Ok((password.into(), valid)));
    }

    /// Waits for the request that is kept.
    fn request(&self) -> CredentialRequest {
        loop {
            if let Some(request) = lock(&self.requests).pop() {
                return request;
            }
            thread::yield_now();
        }
    }
}

impl Issuer for Tested {
    fn ask(&self, request: CredentialRequest) {
        self.asked.fetch_add(1, SeqCst);
        match lock(&self.answer).clone() {
            Some(Ok((password, valid))) => request.give(credentials(&password), valid),
            Some(Err(reason)) => request.fail(&reason),
            None => lock(&self.requests).push(request),
        }
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: Some("app".into()), password: Secret::new(password) }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn get(renewal: &Renewal) -> Result<Arc<Credentials>> {
    run(renewal.get(LONG))
}

fn password_of(renewal: &Renewal) -> String {
    get(renewal).unwrap().password.expose().to_owned()
}

fn set(renewal: &Renewal, tested: Tested) -> Arc<Tested> {
    let tested = Arc::new(tested);
    renewal.set(Some(tested.clone()));
    tested
}

#[test]
fn all_connections_share_one_request() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::default());
    let got: Vec<_> = thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&renewal).unwrap())).collect();
        tested.request().give(credentials("token"), None);
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(got.iter().all(|it| Arc::ptr_eq(it, &got[0])));
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&get(&renewal).unwrap(), &got[0]));
    }
    assert_eq!(tested.asked(), 1);
}

#[test]
fn new_ones_are_asked_for_before_the_old_ones_expire() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::answering("one", Some(Duration::from_secs(3))));
    assert_eq!(password_of(&renewal), "one");
    tested.now_answers("two", None);
    let (begun, mut last) = (Instant::now(), None);
    while renewal.newest().unwrap().password.expose() == "one" {
        last = Some(begun.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(last.unwrap() < Duration::from_secs(3) && tested.asked() == 2);
    assert_eq!(password_of(&renewal), "two");
    // A fifth of the time is left, and no more than the margin.
    let given = Given { credentials: Arc::new(credentials("x")), times: None, is_refused: false };
    assert!(given.is_valid(Instant::now() + LONG) && !given.is_due(Instant::now() + LONG));
}

#[test]
fn equal_credentials_stay_the_same() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::answering("one", Some(Duration::from_secs(1))));
    let first = get(&renewal).unwrap();
    while tested.asked() < 3 {
        assert!(Arc::ptr_eq(&get(&renewal).unwrap(), &first));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn after_a_refusal_it_is_asked_once_in_each_pause() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::answering("old", None));
    let begun = Instant::now();
    let mut steps = 0;
    while begun.elapsed() < Duration::from_millis(1800) {
        let used = get(&renewal).unwrap();
        renewal.refused(&used);
        assert!(renewal.newest().is_none());
        steps += 1;
        thread::sleep(Duration::from_millis(2));
    }
    // At once, after 0.5 s and after another second; a slow machine asks less often.
    assert!(steps > 3 && (2..=4).contains(&tested.asked()), "{steps} {}", tested.asked());
    tested.now_answers("new", None);
    while password_of(&renewal) == "old" {
        thread::sleep(Duration::from_millis(5));
        renewal.refused(&get(&renewal).unwrap());
    }
    renewal.accepted(&get(&renewal).unwrap());
    assert_eq!(renewal.newest().unwrap().password.expose(), "new");
}

#[test]
fn a_failure_has_its_cause_and_is_tried_again() {
    let renewal = Renewal::default();
    assert!(get(&renewal).err().unwrap().message().contains("yc_set_credentials"));
    let tested = set(&renewal, Tested::failing("the identity service\nis away"));
    let error = get(&renewal).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.message().ends_with("the callback failed: the identity serviceis away"), "{error}");
    for _ in 0..50 {
        assert!(get(&renewal).is_err());
    }
    assert_eq!(tested.asked(), 1);
    tested.now_answers("token", None);
    while get(&renewal).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(tested.asked(), 2);
}

#[test]
fn a_valid_answer_outlives_a_failed_renewal() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::answering("token", Some(Duration::from_secs(3))));
    let first = get(&renewal).unwrap();
    *lock(&tested.answer) = Some(Err("away".into()));
    while tested.asked() < 2 {
        assert!(Arc::ptr_eq(&get(&renewal).unwrap(), &first));
        thread::sleep(Duration::from_millis(5));
    }
    assert!(get(&renewal).is_ok());
    while get(&renewal).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(get(&renewal).err().unwrap().message().contains("away"));
}

#[test]
fn without_an_answer_the_wait_ends_with_an_error() {
    let renewal = Renewal::default();
    let tested = set(&renewal, Tested::default());
    let error = run(renewal.get(Duration::from_millis(30))).err().unwrap();
    assert!(error.kind() == ErrorKind::Auth && error.message().contains("has not answered"), "{error}");
    let request = tested.request();
    drop(request);
    assert!(get(&renewal).err().unwrap().message().contains("gave no answer"));
}

#[test]
fn an_answer_to_another_issuer_is_ignored() {
    let renewal = Renewal::default();
    let first = set(&renewal, Tested::default());
    let _ = run(renewal.get(Duration::from_millis(10)));
    let late = first.request();
    set(&renewal, Tested::answering("second", None));
    late.give(credentials("first"), None);
    assert_eq!(password_of(&renewal), "second");
}

#[test]
fn an_issuer_is_dropped_once_when_it_is_replaced_or_at_the_close() {
    let renewal = Renewal::default();
    let alive = Arc::new(());
    let set = || {
        renewal.set(Some(Arc::new(Tested { _alive: alive.clone(), ..Tested::answering("token", None) })));
        get(&renewal)
    };
    let are_left = |count: usize| {
        run(renewal.has_ended(CallContext::task(), Instant::now() + LONG)) && Arc::strong_count(&alive) == count + 1
    };
    set().unwrap();
    set().unwrap();
    assert!(are_left(1));
    renewal.close();
    assert!(are_left(0));
    assert!(set().is_err() && are_left(0) && !renewal.is_set());
}
