//! The completion queue.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arguments::{UserData, yc_finalise_fn};
use super::arguments::{array_out, bytes, null, out, slices, yc_slice};
use super::batch::{list_of, places, read, yc_op};
use super::boundary;
use super::cache::{close_deadline, with_handle, yc_cache};
use super::channel::yc_subscription;
use super::completion::*;
use super::error::{YC_MISS, YC_OK, yc_error, yc_status};
use super::events::yc_events;
use super::keys::{page_limit, yc_cursor};
use super::many::entries;
use super::search::{read_options, yc_search_options};
use crate::cache::trace::EndedSpan;
use crate::cache::{Cache, CacheHandle, Request, SearchOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::queue::{Completion, Label, Queue, Submission};
use crate::ttl::Ttl;

/// A completion queue. A submission returns at once, and yc_queue_poll() or
/// yc_queue_wait() returns the completion later. If no other operation is in
/// flight, a submission of one operation, or of up to 64 gets, sets or deletes of
/// one kind for one server, may wait for the replies of a near server, for about
/// 0.2 ms; after replies that take longer, the next submissions do not wait.
///
/// Every accepted operation has exactly one completion, also if it fails, is
/// cancelled, or the queue or cache is closed. Operations of a queue run
/// concurrently and in no defined order: submit an operation that depends on
/// another after that one has completed.
///
/// Any thread may call any function on a queue at any time. yc_queue_free() must
/// be the last call. A child process gets YC_E_FORKED. Closing the cache closes
/// the queue; freeing the cache does not free it.
pub struct yc_queue {
    handle: Arc<CacheHandle>,
    queue: Arc<Queue>,
}

/// Reports that the queue has changed from empty to not empty: poll it. The
/// library calls the function on one of its own threads, never inside a call of
/// the program. One call may report several changes. The function may call the
/// library. It must not block, throw or call longjmp().
pub type yc_wake_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

impl yc_queue {
    /// Submits requests, which `add` reads one after another, and returns the number of those that were accepted.
    fn submit(
        &self,
        n: usize,
        tickets: &mut [MaybeUninit<yc_ticket>],
        add: impl FnOnce(&Cache, &mut Submission<'_>),
    ) -> Result<usize> {
        let cache = self.handle.cache()?;
        let mut submission = self.queue.submit(n)?;
        add(&cache, &mut submission);
        Ok(submission.commit(writer_of(tickets)))
    }

    /// Submits one request; a full queue is an error.
    unsafe fn submit_one<'a>(
        &self,
        label: Label,
        ticket: *mut yc_ticket,
        request: impl FnOnce(&Cache) -> Result<Request<'a>>,
    ) -> Result<yc_status> {
        // SAFETY: the caller's place, or NULL.
        let ticket = unsafe { array_out(ticket, 1, "ticket") }?;
        let add = |cache: &Cache, submission: &mut Submission<'_>| _ = submission.add(label, request(cache));
        if self.submit(1, ticket, add)? == 1 { Ok(YC_OK) } else { Err(full()) }
    }
}

/// Submits a request on many keys.
unsafe fn submit_keys(
    name: &'static str,
    queue: *mut yc_queue,
    (keys, n): (*const yc_slice, usize),
    label: Label,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
    operation: for<'a> fn(&'a [&'a [u8]]) -> Operation<'a>,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue(name, queue, err, |queue| {
            let keys = slices(keys, n, "keys");
            let keys = keys.as_deref().map_err(Clone::clone);
            queue.submit_one(label, ticket, |_| Ok(operation(keys?).into()))
        })
    }
}

/// Returns a function that writes tickets into the caller's places until they are used up.
fn writer_of(places: &mut [MaybeUninit<yc_ticket>]) -> impl FnMut(yc_ticket) {
    let mut places = places.iter_mut();
    move |ticket| {
        places.next().map(|place| place.write(ticket));
    }
}

#[cold]
fn full() -> Error {
    Error::new(ErrorKind::Busy, "the queue is full: take completions first")
}

/// Runs the body of the export `name` with the queue behind a handle.
unsafe fn with_queue(
    name: &'static str,
    queue: *const yc_queue,
    err: *mut *mut yc_error,
    body: impl FnOnce(&yc_queue) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live queue of ours.
        let queue = unsafe { queue.as_ref() }.ok_or_else(|| null("queue"))?;
        queue.handle.check_process()?;
        body(queue)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, checked) }
}

/// Opens a queue. capacity is the largest number of operations that are in flight
/// or not yet taken, at most 1000000; 0 selects 1024. The arguments of all
/// operations may take 64 MiB. The library calls wake with user_data when a
/// completion is available; wake may be NULL. It calls finalise with user_data
/// when it will not call wake any more, unless this function fails; finalise may
/// be NULL.
///
/// On success *out is the queue. The caller closes it with yc_queue_close() and
/// frees it with yc_queue_free().
///
/// Errors: YC_E_INVALID for a capacity over the limit; YC_E_BUSY if the thread
/// that calls wake could not be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_open(
    cache: *mut yc_cache,
    capacity: usize,
    wake: yc_wake_fn,
    user_data: *mut c_void,
    finalise: yc_finalise_fn,
    out: *mut *mut yc_queue,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_queue_open", cache, err, |cache| {
            let place = self::out(out, "out")?;
            let queue = Arc::new(Queue::open(cache.handle.clone(), capacity)?);
            cache.add_queue(&queue)?;
            let data = || UserData::new(user_data, finalise);
            match wake {
                Some(wake) => queue.wake_by(|| waking(wake, data()))?,
                None => drop(data()),
            }
            place.write(Box::into_raw(Box::new(yc_queue { handle: cache.handle.clone(), queue })));
            Ok(YC_OK)
        })
    }
}

fn waking(wake: unsafe extern "C" fn(*mut c_void), data: UserData) -> crate::queue::Wake {
    // SAFETY: the host's own function with the host's own data, which lives as long as this.
    Arc::new(move || unsafe { wake(data.pointer()) })
}

/// Submits n operations. ops and stride: see yc_batch(). The library reads only
/// user_data and the fields that the kind needs, copies keys, values and tags,
/// and writes to no operation. tickets is an array of n elements, or NULL.
/// *accepted is the number of accepted operations, counted from the first; their
/// tickets are written before their completions can be taken. An invalid
/// operation (for example, with an empty key) is accepted and completes with its
/// error.
///
/// Returns:
/// - YC_OK: all n operations were accepted.
/// - YC_E_BUSY: the queue is full; the first *accepted operations were queued.
///   Take completions, then submit the rest again.
/// - Other errors: YC_E_CLOSED, YC_E_INVALID. No operation was accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_submit(
    queue: *mut yc_queue,
    ops: *const yc_op,
    n: usize,
    stride: usize,
    tickets: *mut yc_ticket,
    accepted: *mut usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_submit", queue, err, |queue| {
            let mut ops = places(ops.cast_mut(), n, stride, "ops", "sizeof(yc_op)")?;
            let (tickets, accepted) = (array_out(tickets, n, "tickets")?, self::out(accepted, "accepted")?);
            let submitted = queue.submit(n, tickets, |cache, submission| {
                ops.all(|op| {
                    let list = list_of(op);
                    let label = Label { user_data: (*op).user_data, kind: (*op).kind };
                    submission.add(label, read(&queue.handle, cache, op, &list))
                });
            })?;
            accepted.write(submitted);
            if submitted == n { Ok(YC_OK) } else { Err(full()) }
        })
    }
}

/// Submits yc_get_many(). The results of the completion contain a status and a
/// value for each key. The library copies the keys. ticket may be NULL.
///
/// Returns YC_OK if the operation was accepted. Errors: YC_E_BUSY, YC_E_CLOSED.
/// Invalid keys are reported in the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_get_many(
    queue: *mut yc_queue,
    keys: *const yc_slice,
    n: usize,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    let label = Label { user_data, kind: YC_OP_GET_MANY };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        submit_keys("yc_queue_get_many", queue, (keys, n), label, ticket, err, |keys| Operation::GetMany { keys })
    }
}

/// Submits yc_set_many(). The results of the completion contain a status for each
/// key. The library copies all arguments. Otherwise as yc_queue_get_many().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_set_many(
    queue: *mut yc_queue,
    keys: *const yc_slice,
    values: *const yc_slice,
    n: usize,
    ttl_ms: i64,
    tags: *const yc_slice,
    n_tags: usize,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_set_many", queue, err, |queue| {
            let lists = [(keys, n, "keys"), (values, n, "values"), (tags, n_tags, "tags")]
                .map(|(list, len, name)| slices(list, len, name));
            let [keys, values, tags] = lists.each_ref().map(|list| list.as_deref().map_err(Clone::clone));
            let cache = queue.handle.cache()?;
            let read = || Ok(entries(&cache, keys?, values?, Ttl::from_millis(ttl_ms)?, tags?));
            let entries = read();
            let entries = entries.as_deref().map_err(Error::clone);
            let label = Label { user_data, kind: YC_OP_SET_MANY };
            queue.submit_one(label, ticket, |_| Ok(Operation::SetMany { entries: entries? }.into()))
        })
    }
}

/// Submits yc_delete_many(). The results of the completion contain a status for
/// each key. Otherwise as yc_queue_get_many().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_delete_many(
    queue: *mut yc_queue,
    keys: *const yc_slice,
    n: usize,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    let label = Label { user_data, kind: YC_OP_DELETE_MANY };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        submit_keys("yc_queue_delete_many", queue, (keys, n), label, ticket, err, |keys| Operation::DeleteMany { keys })
    }
}

/// Submits yc_keys_next() on a cursor of the same cache. The completion contains
/// the page, or has the status YC_END at the end of the listing. The caller may
/// free the cursor at once. If the operation is cancelled, its page may be lost:
/// start a new listing. ticket may be NULL.
///
/// Returns YC_OK if the operation was accepted. Errors: YC_E_INVALID if cursor is
/// NULL or belongs to another cache; YC_E_BUSY; YC_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_keys_next(
    queue: *mut yc_queue,
    cursor: *mut yc_cursor,
    limit: usize,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_keys_next", queue, err, |queue| {
            let cursor = cursor.as_ref().ok_or_else(|| null("cursor"))?;
            if !Arc::ptr_eq(&cursor.handle, &queue.handle) {
                return Err(Error::new(ErrorKind::Invalid, "the cursor belongs to another cache than the queue"));
            }
            let request = Request::NextKeys { cursor: cursor.cursor.clone(), limit: page_limit(limit) };
            queue.submit_one(Label { user_data, kind: YC_OP_KEYS_NEXT }, ticket, |_| Ok(request))
        })
    }
}

/// Submits yc_subscription_next() without a limit of time, on a subscription of
/// the same cache. The completion contains the message. If the operation is
/// cancelled, its message goes to the next one. The operation ends only with a
/// message or with the subscription: cancel it, or close the subscription, before
/// yc_queue_close(), which otherwise waits for it. The caller may free the
/// subscription: the operation then completes with YC_E_CLOSED. ticket may be
/// NULL.
///
/// Returns YC_OK if the operation was accepted. Errors: YC_E_INVALID if
/// subscription is NULL or belongs to another cache; YC_E_BUSY; YC_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_subscription_next(
    queue: *mut yc_queue,
    subscription: *mut yc_subscription,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_subscription_next", queue, err, |queue| {
            let subscription = &subscription.as_ref().ok_or_else(|| null("subscription"))?.subscription;
            if !Arc::ptr_eq(subscription.handle(), &queue.handle) {
                return Err(Error::new(ErrorKind::Invalid, "the subscription belongs to another cache than the queue"));
            }
            let request = Request::NextMessage { subscription: subscription.clone() };
            queue.submit_one(Label { user_data, kind: YC_OP_SUBSCRIPTION_NEXT }, ticket, |_| Ok(request))
        })
    }
}

/// Submits yc_events_next() without a limit of time, on a reader of the same cache.
/// The completion contains the event. Otherwise as yc_queue_subscription_next().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_events_next(
    queue: *mut yc_queue,
    events: *mut yc_events,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_events_next", queue, err, |queue| {
            let subscription = &events.as_ref().ok_or_else(|| null("events"))?.subscription;
            if !Arc::ptr_eq(subscription.handle(), &queue.handle) {
                return Err(Error::new(ErrorKind::Invalid, "the reader belongs to another cache than the queue"));
            }
            let request = Request::NextMessage { subscription: subscription.clone() };
            queue.submit_one(Label { user_data, kind: YC_OP_EVENTS_NEXT }, ticket, |_| Ok(request))
        })
    }
}

/// Submits yc_search(). The completion contains the matches. The library copies
/// the query and the options. Otherwise as yc_queue_get_many().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_search(
    queue: *mut yc_queue,
    query: *const c_void,
    query_len: usize,
    options: *const yc_search_options,
    user_data: u64,
    ticket: *mut yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_search", queue, err, |queue| {
            let options = read_options(options);
            let options = options.as_ref().map_err(Clone::clone);
            queue.submit_one(Label { user_data, kind: YC_OP_SEARCH }, ticket, |_| {
                let (threshold, limit, tags) = options?;
                let options = SearchOptions { threshold: *threshold, limit: *limit, tags };
                Ok(Request::Search { query: bytes(query, query_len, "query")?, options })
            })
        })
    }
}

/// Takes up to max completions in the order of their arrival. Returns at once.
/// completions is an array of max structs of stride bytes each; stride is
/// sizeof(yc_completion). With the stride, a program that was compiled against a
/// later, longer struct works with this library.
///
/// Returns YC_OK: *count completions were taken, possibly 0. Errors: YC_E_CLOSED
/// if the queue is closed and its last completion has been taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_poll(
    queue: *mut yc_queue,
    completions: *mut yc_completion,
    max: usize,
    stride: usize,
    count: *mut usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_poll", queue, err, |queue| {
            let places = places(completions, max, stride, "completions", "sizeof(yc_completion)")?;
            let count = out(count, "count")?;
            let mut ends = Ends::new();
            let taken = queue.queue.take(max, writer(places, stride, &queue.handle, &mut ends));
            report(&queue.handle, ends);
            count.write(taken?);
            Ok(YC_OK)
        })
    }
}

/// Takes completions as yc_queue_poll() does, but waits for the first one, at most
/// timeout_ms milliseconds; -1 waits without a limit. max is at least 1. Several
/// threads may wait; each completion is returned to one of them.
///
/// Errors: YC_E_TIMEOUT if no completion arrived in time; those of
/// yc_queue_poll(), also for a thread that waits while the queue is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_wait(
    queue: *mut yc_queue,
    completions: *mut yc_completion,
    max: usize,
    stride: usize,
    timeout_ms: i64,
    count: *mut usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_wait", queue, err, |queue| {
            let places = places(completions, max, stride, "completions", "sizeof(yc_completion)")?;
            let (count, deadline) = (out(count, "count")?, wait_deadline(timeout_ms)?);
            if max == 0 {
                return Err(Error::new(ErrorKind::Invalid, "max is 0; it must be 1 or more"));
            }
            let mut ends = Ends::new();
            let taken = queue.queue.wait(max, deadline, writer(places, stride, &queue.handle, &mut ends));
            report(&queue.handle, ends);
            let taken = taken?;
            if taken == 0 {
                return Err(Error::new(ErrorKind::Timeout, format!("no completion came in {timeout_ms} ms")));
            }
            count.write(taken);
            Ok(YC_OK)
        })
    }
}

/// Returns the deadline of a wait. `None` is no limit, also for times beyond the range of the clock.
pub(super) fn wait_deadline(timeout_ms: i64) -> Result<Option<Instant>> {
    match u64::try_from(timeout_ms) {
        Ok(millis) => Ok(Instant::now().checked_add(Duration::from_millis(millis))),
        Err(_) if timeout_ms == -1 => Ok(None),
        Err(_) => {
            Err(Error::new(ErrorKind::Invalid, format!("timeout_ms is {timeout_ms}; it must be 0 or more, or -1")))
        }
    }
}

/// The spans of completions that were taken, with their ends. They are reported without the lock of the queue.
type Ends = Vec<EndedSpan>;

fn report(handle: &CacheHandle, ends: Ends) {
    if !ends.is_empty() {
        let cache = handle.load();
        ends.into_iter().for_each(|ended| ended.report(&cache));
    }
}

/// Writes completions into the caller's places, in order.
unsafe fn writer(
    mut places: impl Iterator<Item = *mut yc_completion>,
    stride: usize,
    handle: &Arc<CacheHandle>,
    ends: &mut Ends,
) -> impl FnMut(Completion) {
    move |mut done| {
        ends.extend(done.ended_span());
        let Label { user_data, kind } = done.label;
        let completion =
            yc_completion { ticket: done.ticket, user_data, kind, ..yc_completion::of(done.result, handle) };
        if let Some(place) = places.next() {
            // SAFETY: one of the caller's places of stride bytes; what a longer struct has more is zero.
            unsafe {
                place.cast::<u8>().write_bytes(0, stride);
                place.write(completion);
            }
        }
    }
}

/// Returns in *fd a file descriptor that is readable while completions are
/// available, for epoll, poll or libuv. It becomes readable once for each change
/// from empty to not empty, and stays readable until a poll or wait takes the
/// last completion. The queue owns the descriptor until yc_queue_free(). Watch
/// it; do not read, write or close it.
///
/// Errors: YC_E_BUSY if the process cannot open another file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_fd(queue: *mut yc_queue, fd: *mut c_int, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_fd", queue, err, |queue| {
            let place = out(fd, "fd")?;
            place.write(queue.queue.fd()?);
            Ok(YC_OK)
        })
    }
}

/// Cancels an operation. It completes with YC_E_CANCELLED at once, but a server
/// may still execute it.
///
/// Returns YC_OK if the operation was in flight, or YC_MISS if it has completed
/// or the ticket does not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_cancel(
    queue: *mut yc_queue,
    ticket: yc_ticket,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_cancel", queue, err, |queue| Ok(if queue.queue.cancel(ticket) { YC_OK } else { YC_MISS }))
    }
}

/// Closes a queue. The queue accepts no more operations. Operations in flight may
/// finish within timeout_ms milliseconds (-1 selects 5000, 0 does not wait); the
/// others complete with YC_E_CANCELLED. All completions can still be taken. The
/// library does not call wake after this function has returned, unless wake
/// itself calls it. A second close returns YC_OK and has no effect. yc_close()
/// closes the queues of its cache in the same way, but completes the remaining
/// operations with YC_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_close(queue: *mut yc_queue, timeout_ms: i64, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_queue("yc_queue_close", queue, err, |queue| {
            let deadline = close_deadline(timeout_ms)?;
            let closed = Error::new(ErrorKind::Closed, "the queue was closed");
            let rest = Error::new(ErrorKind::Cancelled, "the queue was closed before the operation was done");
            queue.queue.close(closed, &rest, deadline);
            Ok(YC_OK)
        })
    }
}

/// Frees a queue and the completions that were not taken. No other thread may use
/// the handle any more. A queue that is not closed is closed without waiting, and
/// its operations in flight are dropped. Never blocks. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_queue_free(queue: *mut yc_queue) {
    // SAFETY: the caller hands NULL or a live queue of ours.
    let foreign = unsafe { queue.as_ref() }.is_some_and(|queue| queue.handle.check_process().is_err());
    // In the child of a fork it is the parent's: leaked, as yc_cache_free() leaks the cache.
    if !foreign {
        // SAFETY: the caller hands NULL or a queue of ours, once.
        unsafe { boundary::free(queue) }
    }
}
