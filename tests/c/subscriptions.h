/* Subscriptions as the tests use them. */
#ifndef SUBSCRIPTIONS_H
#define SUBSCRIPTIONS_H

#include "calls.h"

/* A filter of one channel, or of one pattern; what is NULL is not selected. Valid until the next call. */
static inline const yc_filter *filter_of(const char *channel, const char *pattern) {
    static yc_slice channels[1], patterns[1];
    static yc_filter filter;
    filter = (yc_filter){.struct_size = sizeof filter, .channels = channels, .n_channels = channel != NULL, .patterns = patterns, .n_patterns = pattern != NULL};
    if (channel) channels[0] = slice(channel);
    if (pattern) patterns[0] = slice(pattern);
    return &filter;
}

/* A subscription, or the end of the test. */
static inline yc_subscription *subscribe(yc_cache *cache, const yc_filter *filter) {
    yc_subscription *subscription = NULL;
    yc_error *error = NULL;
    if (!CHECK_STATUS(yc_subscribe(cache, filter, &subscription, &error), YC_OK)) {
        printf("  %s\n", yc_error_message(error));
        exit(check_result());
    }
    return subscription;
}

static inline yc_status publish(yc_cache *cache, const char *channel, const char *text) {
    return yc_publish(cache, channel, strlen(channel), text, strlen(text), NULL, NULL);
}

static inline bool is_message(const yc_message *message, const char *channel, const char *text) {
    size_t channel_len, len;
    const void *name = yc_message_channel(message, &channel_len), *data = yc_message_data(message, &len);
    return !yc_message_lost(message) && name && data && channel_len == strlen(channel) && memcmp(name, channel, channel_len) == 0 &&
           len == strlen(text) && memcmp(data, text, len) == 0;
}

/* The next message within ten seconds; NULL after a failed check. */
static inline yc_message *next_message(yc_subscription *subscription) {
    yc_message *message = NULL;
    CHECK_STATUS(yc_subscription_next(subscription, 10000, &message, NULL), YC_OK);
    return message;
}

static inline bool next_is(yc_subscription *subscription, const char *channel, const char *text) {
    yc_message *message = next_message(subscription);
    bool is = is_message(message, channel, text);
    yc_message_free(message);
    return is;
}

/* Whether the next one is a gap of so many messages. */
static inline bool next_is_gap(yc_subscription *subscription, uint64_t lost) {
    yc_message *message = next_message(subscription);
    bool is = yc_message_lost(message) == lost && !yc_message_data(message, NULL) && !yc_message_channel(message, NULL);
    yc_message_free(message);
    return is;
}

#endif
