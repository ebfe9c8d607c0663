/* Runs the steps of channels. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t receivers_of(uint64_t receivers) { return receivers == YC_COUNT_UNKNOWN ? -1 : (int64_t)receivers; }

void run_publish(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    const bytes *channel = argument(run, step, 0), *message = argument(run, step, 1);
    uint64_t receivers = 0;
    yc_error *error;
    yc_status status = yc_publish(cache, channel->data, channel->len, message->data, message->len, &receivers, &error);
    if (status == YC_OK && !wants_ok(step)) add_text(result, "%" PRId64, receivers_of(receivers));
    else add_outcome(result, status, error);
}

/* The slices of an option, which the caller frees. */
static yc_slice *list_option(const statement *step, const char *name, size_t *count) {
    const named *option = statement_option(step, name);
    *count = option ? option->count : 0;
    return option ? new_slices(option->values, option->count, 1) : NULL;
}

void run_subscribe(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    yc_filter filter = {.struct_size = sizeof filter, .max_bytes = (uint64_t)signed_option(step, "max_bytes", 0)};
    yc_slice *channels = list_option(step, "channels", &filter.n_channels), *patterns = list_option(step, "patterns", &filter.n_patterns);
    filter.channels = channels, filter.patterns = patterns;
    yc_subscription *subscription = NULL;
    yc_error *error;
    yc_status status = yc_subscribe(cache, &filter, &subscription, &error);
    add_outcome(result, status, error);
    if (status == YC_OK) {
        if (run->n_subscriptions == MAX_SUBSCRIPTIONS) stop(run, "too many subscriptions in one case");
        named_subscription *place = &run->subscriptions[run->n_subscriptions++];
        snprintf(place->name, sizeof place->name, "%s", argument(run, step, 0)->data);
        place->subscription = subscription;
    }
    free(channels);
    free(patterns);
}

static named_subscription *find_subscription(runner *run, const bytes *name) {
    for (size_t at = run->n_subscriptions; at; at--) {
        if (bytes_are(name, run->subscriptions[at - 1].name)) return &run->subscriptions[at - 1];
    }
    stop(run, "there is no subscription of this name");
    return NULL;
}

static void add_message(tokens *result, const yc_message *message) {
    size_t channel_len, len;
    const void *channel = yc_message_channel(message, &channel_len), *data = yc_message_data(message, &len);
    uint64_t lost = yc_message_lost(message);
    add_mark(result, "[");
    if (lost) {
        add_word(result, "lost");
        add_text(result, "%" PRId64, receivers_of(lost));
    } else {
        tokens_add(result, TOKEN_BARE, channel, channel_len);
        tokens_add(result, TOKEN_QUOTED, data, len);
    }
    add_mark(result, "]");
}

void run_next(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    yc_message *message = NULL;
    yc_error *error;
    yc_subscription *subscription = find_subscription(run, argument(run, step, 0))->subscription;
    yc_status status = yc_subscription_next(subscription, signed_option(step, "wait", 10000), &message, &error);
    if (status == YC_OK) add_message(result, message);
    else add_outcome(result, status, error);
    yc_message_free(message);
}

void run_unsubscribe(runner *run, yc_cache *cache, const statement *step, tokens *result) {
    (void)cache;
    named_subscription *found = find_subscription(run, argument(run, step, 0));
    yc_subscription_free(found->subscription);
    *found = run->subscriptions[--run->n_subscriptions];
    add_word(result, "ok");
}

void free_subscriptions(runner *run) {
    while (run->n_subscriptions) yc_subscription_free(run->subscriptions[--run->n_subscriptions].subscription);
}
