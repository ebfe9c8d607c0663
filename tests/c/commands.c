/* Steps that run commands of Redis. */
#include "runner.h"

#include <inttypes.h>
#include <stdlib.h>

static void add_reply(tokens *result, const yc_reply *reply) {
    size_t len;
    const void *text = yc_reply_string(reply, &len);
    switch (yc_reply_kind(reply)) {
    case YC_REPLY_NIL: add_word(result, "miss"); break;
    case YC_REPLY_INTEGER: add_text(result, "%" PRId64, yc_reply_integer(reply)); break;
    case YC_REPLY_ARRAY:
        add_mark(result, "[");
        for (size_t at = 0; at < yc_reply_count(reply); at++) add_reply(result, yc_reply_at(reply, at));
        add_mark(result, "]");
        break;
    default: tokens_add(result, TOKEN_QUOTED, text, len);
    }
}

/* Puts a key under the prefix of the case. Returns the name, which the caller frees, or NULL if the backend has no names. */
static yc_value *name_key(yc_cache *cache, yc_slice *key) {
    yc_value *name = NULL;
    if (yc_redis_name(cache, key->data, key->len, &name, NULL) == YC_OK) key->data = yc_value_data(name, &key->len);
    return name;
}

void run_redis(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)run;
    size_t count = step->n_arguments;
    yc_slice *args = new_slices(step->arguments, count, 1);
    int64_t key = signed_option(step, "key", YC_NO_KEY);
    yc_value *name = key > 0 && (size_t)key < count ? name_key(cache, &args[key]) : NULL;
    yc_reply *reply = NULL;
    yc_error *error;
    yc_status status = yc_redis_command(cache, args, count, (int32_t)key, &reply, &error);
    if (status == YC_OK) add_reply(result, reply);
    else add_outcome(result, status, error);
    yc_reply_free(reply);
    yc_value_free(name);
    free(args);
}
