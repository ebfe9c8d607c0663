/* Migrations and switches. Each has a thread of its own: it may take hours, and Node's pool has only four threads. */
#include "binding.h"

#include <signal.h>
#include <stdlib.h>

enum news { NEWS_NONE, NEWS_PROGRESS, NEWS_DONE };

/* A migration or switch in progress. The loop's thread owns it; the job's own thread uses it until it sends NEWS_DONE. */
typedef struct job {
    napi_env env;
    handle *cache, *target;     /* Held; no target: a switch. */
    char *config, *options;
    bool tells;                 /* True if JavaScript decides at each progress. */
    napi_ref tell;
    napi_async_context context;
    napi_async_cleanup_hook_handle teardown;
    bool ending;                /* True if the environment ends: no more calls of tell. */

    uv_thread_t thread;
    uv_async_t wake;
    atomic_int news;
    uv_sem_t answered;          /* The job's thread waits for it after each progress. */
    atomic_bool stopped;
    const yc_progress *progress;
    yc_value *report;
    yc_error *error;
} job;

/* ---- On its own thread ---- */

static void send_news(job *job, enum news news) {
    atomic_store(&job->news, news);
    uv_async_send(&job->wake);
}

static bool is_stopped(job *job) {
    return atomic_load(&job->stopped) || atomic_load(&job->cache->closing) || atomic_load(&job->target->closing);
}

static int32_t on_progress(void *data, const yc_progress *progress) {
    job *job = data;
    if (job->tells && !is_stopped(job)) {
        job->progress = progress;
        send_news(job, NEWS_PROGRESS);
        uv_sem_wait(&job->answered);
    }
    return is_stopped(job);
}

static void run_job(void *data) {
    job *job = data;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (job->target) {
        yc_migrate(job->cache->cache, job->target->cache, job->options, on_progress, job, NULL, &job->report, &job->error);
    } else {
        yc_switch(job->cache->cache, job->config, job->options, &job->report, &job->error);
    }
    send_news(job, NEWS_DONE);
}

/* ---- On the loop's thread ---- */

static void free_job(job *job) {
    if (job->tell) napi_delete_reference(job->env, job->tell);
    if (job->context) napi_async_destroy(job->env, job->context);
    if (job->teardown) napi_remove_async_cleanup_hook(job->teardown);
    yc_value_free(job->report);
    yc_error_free(job->error);
    if (job->target) let_go(job->target);
    let_go(job->cache);
    free(job->config);
    free(job->options);
    free(job);
}

static void on_closed(uv_handle_t *wake) {
    job *job = wake->data;
    napi_handle_scope scope;
    napi_env env = job->env;
    bool opened = napi_open_handle_scope(env, &scope) == napi_ok;
    uv_sem_destroy(&job->answered);
    free_job(job);
    if (opened) napi_close_handle_scope(env, scope);
}

/* Calls tell(done, what); returns its answer. An exception of it is reported as an uncaught one. */
static bool tell(job *job, bool done, napi_value what) {
    napi_env env = job->env;
    napi_value function = NULL, global, result, thrown, given[2];
    bool on = true;
    if (!what || napi_get_reference_value(env, job->tell, &function) != napi_ok || !function) return false;
    if (napi_get_global(env, &global) != napi_ok || napi_get_boolean(env, done, &given[0]) != napi_ok) return false;
    given[1] = what;
    napi_status status = napi_make_callback(env, job->context, global, function, 2, given, &result);
    if (status == napi_pending_exception && napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
        napi_fatal_exception(env, thrown);
    }
    return status == napi_ok && (done || (napi_get_value_bool(env, result, &on) == napi_ok && on));
}

/* Returns a progress as [examined, copied, skipped, failed, resume]. */
static napi_value progress_of(napi_env env, const yc_progress *progress) {
    const uint64_t counts[] = {progress->examined, progress->copied, progress->skipped, progress->failed};
    napi_value list = NULL, item;
    if (!check(env, napi_create_array_with_length(env, 5, &list))) return NULL;
    for (uint32_t at = 0; at < 4; at++) {
        if (!check(env, napi_create_double(env, (double)counts[at], &item)) || !check(env, napi_set_element(env, list, at, item))) return NULL;
    }
    if (!progress->resume) return list;
    bool told = check(env, napi_create_string_utf8(env, progress->resume, NAPI_AUTO_LENGTH, &item)) &&
                check(env, napi_set_element(env, list, 4, item));
    return told ? list : NULL;
}

/* Returns the report as a text, or the error. */
static napi_value outcome_of(napi_env env, job *job) {
    napi_value text = NULL;
    size_t len;
    yc_error *error = job->error;
    job->error = NULL;
    if (error) return error_of(env, error);
    const char *data = yc_value_data(job->report, &len);
    check(env, napi_create_string_utf8(env, data, len, &text));
    return text;
}

static void answer_progress(job *job) {
    if (job->ending || !tell(job, false, progress_of(job->env, job->progress))) atomic_store(&job->stopped, true);
    uv_sem_post(&job->answered);
}

static void finish(job *job) {
    uv_thread_join(&job->thread);
    if (!job->ending) tell(job, true, outcome_of(job->env, job));
    uv_close((uv_handle_t *)&job->wake, on_closed);
}

static void on_wake(uv_async_t *wake) {
    job *job = wake->data;
    napi_handle_scope scope;
    napi_env env = job->env;
    enum news news = atomic_exchange(&job->news, NEWS_NONE);
    if (news == NEWS_NONE) return;
    bool opened = napi_open_handle_scope(env, &scope) == napi_ok;
    if (news == NEWS_PROGRESS) answer_progress(job);
    else finish(job);
    if (opened) napi_close_handle_scope(env, scope);
}

/* The environment ends. Closing its caches ends a job that waits for a server or for its rate. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data) {
    (void)hook;
    job *job = data;
    job->ending = true;
    atomic_store(&job->stopped, true);
    yc_close(job->cache->cache, 0, NULL);
    if (job->target) yc_close(job->target->cache, 0, NULL);
}

/* ---- Beginning ---- */

static bool prepare(napi_env env, job *job, napi_value function) {
    napi_value name;
    return check(env, napi_create_reference(env, function, 1, &job->tell)) &&
           check(env, napi_create_string_utf8(env, "yokedcache", NAPI_AUTO_LENGTH, &name)) &&
           check(env, napi_async_init(env, NULL, name, &job->context)) &&
           check(env, napi_add_async_cleanup_hook(env, on_teardown, job, &job->teardown));
}

static bool begin_wake(job *job) {
    uv_loop_t *loop = NULL;
    if (!check(job->env, napi_get_uv_event_loop(job->env, &loop)) || uv_sem_init(&job->answered, 0) != 0) return false;
    job->wake.data = job;
    if (uv_async_init(loop, &job->wake, on_wake) == 0) return true;
    uv_sem_destroy(&job->answered);
    return false;
}

static napi_value begin(napi_env env, job *job, napi_value function) {
    if (!job->options || (!job->target && !job->config) || !prepare(env, job, function) || !begin_wake(job)) {
        free_job(job);
        return throw_text(env, "the migration or switch cannot start: out of memory, or its arguments are wrong");
    }
    if (uv_thread_create(&job->thread, run_job, job) == 0) return NULL;
    uv_close((uv_handle_t *)&job->wake, on_closed);
    return throw_text(env, "the migration or switch cannot start: the system has no thread left");
}

static job *new_job(napi_env env, handle *cache, handle *target) {
    job *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->env = env;
    made->cache = cache;
    made->target = target;
    hold(cache);
    if (target) hold(target);
    return made;
}

/* migrate(handle, target, options, tells, tell) calls tell(false, progress), which returns false to stop it, and at the end
   tell(true, report or error). */
napi_value migrate(napi_env env, napi_callback_info info) {
    napi_value given[5];
    if (!arguments(env, info, 5, given)) return NULL;
    handle *cache = handle_of(env, given[0]), *target = cache ? handle_of(env, given[1]) : NULL;
    job *job = target ? new_job(env, cache, target) : NULL;
    if (!job) return NULL;
    job->options = text_of(env, given[2]);
    napi_get_value_bool(env, given[3], &job->tells);
    return begin(env, job, given[4]);
}

/* switchTo(handle, config, options, tell) calls tell(true, report or error) at the end. */
napi_value switch_to(napi_env env, napi_callback_info info) {
    napi_value given[4];
    if (!arguments(env, info, 4, given)) return NULL;
    handle *cache = handle_of(env, given[0]);
    job *job = cache ? new_job(env, cache, NULL) : NULL;
    if (!job) return NULL;
    job->config = text_of(env, given[1]);
    job->options = text_of(env, given[2]);
    return begin(env, job, given[3]);
}
