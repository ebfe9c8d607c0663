/* Runs conformance scripts over the cache that YC_TEST_URL names: see tests/conformance/README.md. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void stop(const runner *run, const char *why) {
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", run->file, run->line, why);
    exit(2);
}

/* ---- Cases ---- */

static void fail(runner *run, const statement *step, const tokens *came) {
    printf("FAILED %s:%d: case %s\n  wanted: ", run->file, step->line, run->name);
    tokens_print(step->wanted, step->n_wanted);
    printf("\n  came:   ");
    tokens_print(came->items, came->count);
    putchar('\n');
    run->state = STATE_FAILED;
}

static void check(runner *run, const statement *step, tokens *came) {
    if (run->state == STATE_RUNNING && !tokens_match(step->wanted, step->n_wanted, came->items, came->count)) {
        if (profile_allows(step, came)) run->state = STATE_UNSUPPORTED;
        else fail(run, step, came);
    }
    tokens_free(came);
}

static void run_step(runner *run, const statement *step) {
    tokens came = {NULL, 0};
    find_operation(run, step)(run, find_cache(run, step->cache), step, &came);
    check(run, step, &came);
}

/* Leaves nothing in a shared store. */
static void close_caches(runner *run) {
    while (run->n_caches) {
        open_cache *place = &run->caches[--run->n_caches];
        yc_flush(place->cache, NULL, NULL);
        yc_close(place->cache, -1, NULL);
        yc_cache_free(place->cache);
        if (place->root) yc_flush(place->root, NULL, NULL);
        yc_cache_free(place->root);
        place->root = NULL;
    }
}

static bool applies(runner *run) {
    uint64_t can = 0;
    if (run->of_case.wrong_scheme || (run->of_case.needs_root && run->caches[0].root)) return false;
    if (yc_capabilities(run->caches[0].cache, &can, NULL) != YC_OK) stop(run, "the cache does not say what it can do");
    if (!profile_has(can)) stop(run, "the cache has other capabilities than the profile says");
    return (can & run->of_case.needs) == run->of_case.needs && !(can & run->of_case.lacks);
}

static void fail_to_open(runner *run, yc_error *error) {
    printf("FAILED %s:%d: case %s\n  its cache did not open: %s\n", run->file, run->line, run->name, yc_error_message(error));
    yc_error_free(error);
    run->state = STATE_FAILED;
}

/* Opens the case's cache, at its first step. */
static void start_case(runner *run) {
    yc_error *error = NULL;
    run->state = STATE_RUNNING;
    if (run->of_case.wrong_scheme) run->state = STATE_PASSED_BY;
    else if (open_cache_as(run, "", "", "", &error) != YC_OK) fail_to_open(run, error);
    else if (!applies(run)) run->state = STATE_PASSED_BY;
}

static void end_case(runner *run) {
    if (run->state == STATE_FRESH) stop(run, "the case above has no step");
    run->of_files.cases += run->state != STATE_NONE;
    run->of_files.passed += run->state == STATE_RUNNING;
    run->of_files.failed += run->state == STATE_FAILED;
    run->of_files.not_applicable += run->state == STATE_PASSED_BY;
    run->of_files.unsupported += run->state == STATE_UNSUPPORTED;
    free_leases(run);
    free_subscriptions(run);
    free_events(run);
    close_caches(run);
    run->state = STATE_NONE;
}

static void begin_case(runner *run, const char *name) {
    end_case(run);
    run->state = STATE_FRESH;
    run->of_case = run->of_file;
    run->n_versions = 0;
    snprintf(run->name, sizeof run->name, "%.*s", (int)strcspn(name, "\r\n"), name);
    snprintf(run->prefix, sizeof run->prefix, "t%ld.%u.%lld-", (long)getpid(), run->of_files.cases, (long long)time(NULL));
}

/* ---- Batches ---- */

static const struct {
    const char *name;
    int32_t kind;
} KINDS[] = {
    {"get", YC_OP_GET},
    {"set", YC_OP_SET},
    {"delete", YC_OP_DELETE},
    {"exists", YC_OP_EXISTS},
    {"expire", YC_OP_EXPIRE},
    {"ttl", YC_OP_TTL},
    {"invalidate_tags", YC_OP_INVALIDATE_TAGS},
    {"invalidate_pattern", YC_OP_INVALIDATE_PATTERN},
    {"clear", YC_OP_CLEAR},
    {"flush", YC_OP_FLUSH},
    {"ping", YC_OP_PING},
    {"get_info", YC_OP_GET_INFO},
    {"get_versioned", YC_OP_GET_VERSIONED},
    {"set_if", YC_OP_SET_IF},
    {"delete_if", YC_OP_DELETE_IF},
    {"get_and_expire", YC_OP_GET_AND_EXPIRE},
    {"counter_add", YC_OP_COUNTER_ADD},
    {"publish", YC_OP_PUBLISH},
};

static int32_t find_kind(const runner *run, const statement *step) {
    for (size_t at = 0; at < sizeof KINDS / sizeof *KINDS; at++) {
        if (bytes_are(step->operation, KINDS[at].name)) return KINDS[at].kind;
    }
    stop(run, "a batch has no such operation");
    return 0;
}

static void fill_key(yc_op *op, const bytes *key) {
    op->key = key->data;
    op->key_len = key->len;
}

static void fill_value(yc_op *op, const bytes *value) {
    op->value = value->data;
    op->value_len = value->len;
}

static yc_slice *fill_operation(const runner *run, const statement *step, yc_op *op) {
    yc_slice *tags = NULL;
    op->kind = find_kind(run, step);
    op->ttl_ms = ttl_option(step);
    op->flags = wants_ok(step) ? 0 : op->kind == YC_OP_INVALIDATE_TAGS || op->kind == YC_OP_FLUSH ? YC_OP_COUNT : 0;
    if (statement_option(step, "dry_run")) op->flags = YC_OP_DRY_RUN;
    bool has_key = op->kind <= YC_OP_TTL || op->kind == YC_OP_INVALIDATE_PATTERN || (op->kind >= YC_OP_GET_VERSIONED && op->kind != YC_OP_CLEAR);
    if (has_key) fill_key(op, argument(run, step, 0));
    if (op->kind == YC_OP_SET_IF || op->kind == YC_OP_DELETE_IF) {
        op->condition = read_set_condition(run, step, &op->version);
    }
    if (op->kind == YC_OP_COUNTER_ADD) {
        op->number = strtoll(argument(run, step, 1)->data, NULL, 10);
        op->initial = signed_option(step, "initial", 0);
    }
    if (op->kind == YC_OP_GET_INFO) op->number = signed_option(step, "max_age", 0);
    if (op->kind == YC_OP_PUBLISH) fill_value(op, argument(run, step, 1));
    if (op->kind == YC_OP_SET || op->kind == YC_OP_SET_IF) {
        fill_value(op, argument(run, step, 1));
        tags = tags_option(step, &op->n_tags);
    }
    if (op->kind == YC_OP_EXPIRE || op->kind == YC_OP_GET_AND_EXPIRE) op->ttl_ms = read_ttl(argument(run, step, 1));
    if (op->kind == YC_OP_INVALIDATE_TAGS) {
        op->n_tags = step->n_arguments;
        tags = new_slices(step->arguments, step->n_arguments, 1);
    }
    op->tags = tags;
    return tags;
}

static bool counts(const yc_op *op, const statement *step) {
    return op->kind >= YC_OP_INVALIDATE_TAGS && op->kind <= YC_OP_FLUSH && !wants_ok(step);
}

static void check_operation(runner *run, const statement *step, yc_op *op) {
    tokens came = {NULL, 0};
    bool has_value = op->kind == YC_OP_GET || op->kind == YC_OP_GET_VERSIONED || op->kind == YC_OP_GET_AND_EXPIRE;
    bool has_version = op->kind == YC_OP_GET_VERSIONED || op->kind == YC_OP_GET_INFO || op->kind == YC_OP_SET_IF;
    if (op->status == YC_OK && has_version) remember(run, step, op->version);
    if (op->status != YC_OK) add_outcome(&came, op->status, op->error);
    else if (op->kind == YC_OP_GET_INFO) add_info(&came, op->result, &(yc_entry_info){.age_ms = op->number, .remaining_ms = op->remaining_ms, .tag_count = op->tag_count});
    else if (has_value) add_value(&came, op->result);
    else if (op->kind == YC_OP_COUNTER_ADD) add_text(&came, "%" PRId64, op->number);
    else if (op->kind == YC_OP_TTL) add_text(&came, "%" PRId64, op->remaining_ms);
    else if (counts(op, step)) add_count(&came, op->removed);
    else add_outcome(&came, op->status, op->error);
    check(run, step, &came);
}

static void run_batch(runner *run) {
    size_t count = run->n_batch;
    yc_op *ops = calloc(count + 1, sizeof *ops);
    yc_slice **tags = calloc(count + 1, sizeof *tags);
    tokens came = {NULL, 0};
    yc_error *error;
    for (size_t at = 0; at < count; at++) tags[at] = fill_operation(run, &run->batch[at], &ops[at]);
    yc_status status = yc_batch(find_cache(run, run->batch_step.cache), ops, count, sizeof *ops, &error);
    add_outcome(&came, status, error);
    check(run, &run->batch_step, &came);
    for (size_t at = 0; at < count; at++) {
        if (status == YC_OK) check_operation(run, &run->batch[at], &ops[at]);
        free(tags[at]);
    }
    free(tags);
    free(ops);
}

/* A batch ends before the first line that is not one of its operations. */
static void end_batch(runner *run) {
    if (!run->in_batch) return;
    if (run->state == STATE_RUNNING) run_batch(run);
    for (size_t at = 0; at < run->n_batch; at++) statement_free(&run->batch[at]);
    statement_free(&run->batch_step);
    free(run->batch);
    run->batch = NULL;
    run->n_batch = 0;
    run->in_batch = false;
}

static void add_to_batch(runner *run, statement step) {
    if (!run->in_batch) stop(run, "no batch stands above this");
    run->batch = realloc(run->batch, (run->n_batch + 1) * sizeof *run->batch);
    run->batch[run->n_batch++] = step;
}

/* ---- Lines ---- */

static uint64_t capability(const runner *run, const bytes *name) {
    if (bytes_are(name, "list")) return YC_CAN_LIST;
    if (bytes_are(name, "count")) return YC_CAN_COUNT;
    if (bytes_are(name, "share")) return YC_CAN_SHARE;
    if (bytes_are(name, "command")) return YC_CAN_COMMAND;
    if (bytes_are(name, "publish")) return YC_CAN_PUBLISH;
    if (bytes_are(name, "near")) return YC_CAN_NEAR;
    if (bytes_are(name, "events")) return YC_CAN_EVENTS;
    if (!bytes_are(name, "size")) stop(run, "there is no such capability");
    return YC_CAN_SIZE;
}

static bool is_scheme(const runner *run, const bytes *name) {
    return strncmp(run->url, name->data, name->len) == 0 && run->url[name->len] == ':';
}

/* Applies a line `with`, `needs`, `lacks` or `only`. Returns false for any other line. */
static bool read_condition(runner *run, const statement *step) {
    conditions *on = run->state == STATE_NONE ? &run->of_file : &run->of_case;
    bool with = bytes_are(step->operation, "with"), needs = bytes_are(step->operation, "needs");
    bool lacks = bytes_are(step->operation, "lacks"), only = bytes_are(step->operation, "only"), fits = false;
    if (!(with || needs || lacks || only)) return false;
    if (run->state != STATE_NONE && run->state != STATE_FRESH) stop(run, "this stands behind a step of its case");
    if (with) append_options(on->options, sizeof on->options, step);
    for (size_t at = 0; at < step->n_arguments; at++) {
        if (needs && bytes_are(&step->arguments[at], "root")) on->needs_root = true;
        else if (needs) on->needs |= capability(run, &step->arguments[at]);
        if (lacks) on->lacks |= capability(run, &step->arguments[at]);
        fits |= only && is_scheme(run, &step->arguments[at]);
    }
    on->wrong_scheme |= only && !fits;
    return true;
}

/* Runs a step, or keeps it for its batch. Returns true if it is to be freed now. */
static bool take_step(runner *run, statement *step, bool of_batch) {
    if (of_batch) {
        add_to_batch(run, *step);
        return false;
    }
    if (read_condition(run, step)) return true;
    if (run->state == STATE_NONE) stop(run, "this step belongs to no case");
    if (run->state == STATE_FRESH) start_case(run);
    if (bytes_are(step->operation, "batch")) {
        run->in_batch = true;
        run->batch_step = *step;
        return false;
    }
    if (run->state == STATE_RUNNING) run_step(run, step);
    return true;
}

static void read_step(runner *run, const char *line) {
    tokens words = {NULL, 0};
    statement step;
    const char *wrong = tokens_read(line, &words);
    if (wrong) stop(run, wrong);
    if (!words.count) {
        tokens_free(&words);
        return;
    }
    bool of_batch = words.items[0].kind == TOKEN_MARK && token_is(&words.items[0], "|");
    if (!of_batch) end_batch(run);
    wrong = statement_read(words, of_batch ? 1 : 0, run->line, &step);
    if (wrong) stop(run, wrong);
    if (take_step(run, &step, of_batch)) statement_free(&step);
}

static void read_line(runner *run, const char *line) {
    line += strspn(line, " \t");
    if (strncmp(line, "case ", 5) != 0) {
        read_step(run, line);
        return;
    }
    end_batch(run);
    begin_case(run, line + 5);
}

static void run_file(runner *run, const char *path) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    run->file = path;
    run->of_file = (conditions){.options = ""};
    unsigned before = run->of_files.unsupported, wanted = profile_unsupported(path);
    if (!file) stop(run, "cannot be read");
    for (run->line = 1; getline(&line, &room, file) >= 0; run->line++) read_line(run, line);
    end_batch(run);
    end_case(run);
    if (run->of_files.unsupported - before != wanted) {
        printf("FAILED %s: the profile says that %u cases are unsupported, %u are\n", path, wanted, run->of_files.unsupported - before);
        run->of_files.failed++;
    }
    free(line);
    fclose(file);
}

/* ---- Processes ---- */

/* Most cases wait for the end of a time to live, so that several processes run the files: YC_TEST_PROCESSES of them. */
static int process_count(void) {
    const char *given = getenv("YC_TEST_PROCESSES");
    int count = given ? atoi(given) : 4;
    return count > 0 ? count : 1;
}

/* Runs the files whose numbers come from a pipe, and writes the totals to another. */
static void run_some(runner *run, char **files, int numbers, int ends) {
    int at;
    while (read(numbers, &at, sizeof at) == sizeof at) run_file(run, files[at]);
    if (fflush(stdout) || write(ends, &run->of_files, sizeof run->of_files) != sizeof run->of_files) exit(2);
    exit(0);
}

static void open_pipe(runner *run, int ends[2]) {
    if (pipe(ends)) stop(run, "a pipe cannot be made");
}

static void add_totals(totals *sum, const totals *of) {
    sum->cases += of->cases;
    sum->passed += of->passed;
    sum->failed += of->failed;
    sum->not_applicable += of->not_applicable;
    sum->unsupported += of->unsupported;
}

/* Returns false if a process did not end well. */
static bool run_files(runner *run, char **files, int count) {
    int numbers[2], ends[2], status;
    totals of;
    bool ended_well = true;
    open_pipe(run, numbers);
    open_pipe(run, ends);
    for (int at = 0; at < count; at++) {
        if (write(numbers[1], &at, sizeof at) != sizeof at) stop(run, "the files cannot be handed out");
    }
    close(numbers[1]);
    for (int at = process_count(); at > 0; at--) {
        pid_t child = fork();
        if (child < 0) stop(run, "a process cannot be started");
        if (child == 0) run_some(run, files, numbers[0], ends[1]);
    }
    close(numbers[0]);
    close(ends[1]);
    while (read(ends[0], &of, sizeof of) == sizeof of) add_totals(&run->of_files, &of);
    close(ends[0]);
    while (wait(&status) > 0) ended_well &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return ended_well;
}

int main(int count, char **files) {
    const char *url = getenv("YC_TEST_URL");
    runner run = {.file = "conformance", .url = url ? url : "memory://"};
    profile_read();
    if (!run_files(&run, files + 1, count - 1)) return 2;
    printf("conformance: %u cases, %u passed, %u failed, %u not applicable", run.of_files.cases, run.of_files.passed, run.of_files.failed, run.of_files.not_applicable);
    if (run.of_files.unsupported) printf(", %u unsupported", run.of_files.unsupported);
    putchar('\n');
    return run.of_files.failed || !run.of_files.cases;
}
