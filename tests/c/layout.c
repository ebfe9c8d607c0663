/* The offset of each field of the plain structs on 64 bits: compiled programs rely on it. */
#include "calls.h"

#define AT(type, field, place) _Static_assert(offsetof(type, field) == (place), #type "." #field " moved")
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " has another size")

SIZE(yc_status, 4);
SIZE(void *, 8);

SIZE(yc_slice, 16);
AT(yc_slice, data, 0);
AT(yc_slice, len, 8);

SIZE(yc_progress, 80);
AT(yc_progress, struct_size, 0);
AT(yc_progress, examined, 8);
AT(yc_progress, copied, 16);
AT(yc_progress, skipped, 24);
AT(yc_progress, failed, 32);
AT(yc_progress, resume, 40);
AT(yc_progress, reserved, 48);

SIZE(yc_entry_info, 72);
AT(yc_entry_info, struct_size, 0);
AT(yc_entry_info, version, 8);
AT(yc_entry_info, age_ms, 16);
AT(yc_entry_info, remaining_ms, 24);
AT(yc_entry_info, tag_count, 32);
AT(yc_entry_info, reserved, 40);

SIZE(yc_search_options, 72);
AT(yc_search_options, struct_size, 0);
AT(yc_search_options, threshold, 8);
AT(yc_search_options, limit, 16);
AT(yc_search_options, tags, 24);
AT(yc_search_options, n_tags, 32);
AT(yc_search_options, reserved, 40);

SIZE(yc_lease_options, 72);
AT(yc_lease_options, struct_size, 0);
AT(yc_lease_options, flags, 4);
AT(yc_lease_options, lease_ms, 8);
AT(yc_lease_options, wait_ms, 16);
AT(yc_lease_options, tags, 24);
AT(yc_lease_options, n_tags, 32);
AT(yc_lease_options, reserved, 40);

SIZE(yc_trace_options, 48);
AT(yc_trace_options, struct_size, 0);
AT(yc_trace_options, flags, 4);
AT(yc_trace_options, interval, 8);
AT(yc_trace_options, reserved, 16);

SIZE(yc_span, 176);
AT(yc_span, struct_size, 0);
AT(yc_span, kind, 4);
AT(yc_span, id, 8);
AT(yc_span, context, 16);
AT(yc_span, user_data, 24);
AT(yc_span, backend, 32);
AT(yc_span, server, 48);
AT(yc_span, key_prefix, 64);
AT(yc_span, name_space, 80);
AT(yc_span, key, 96);
AT(yc_span, keys, 112);
AT(yc_span, status, 120);
AT(yc_span, flags, 124);
AT(yc_span, bytes, 128);
AT(yc_span, duration_ns, 136);
AT(yc_span, reserved, 144);

SIZE(yc_fill, 88);
AT(yc_fill, struct_size, 0);
AT(yc_fill, flags, 4);
AT(yc_fill, value, 8);
AT(yc_fill, value_len, 16);
AT(yc_fill, ttl_ms, 24);
AT(yc_fill, stale_for_ms, 32);
AT(yc_fill, tags, 40);
AT(yc_fill, n_tags, 48);
AT(yc_fill, reserved, 56);

SIZE(yc_filter, 80);
AT(yc_filter, struct_size, 0);
AT(yc_filter, flags, 4);
AT(yc_filter, channels, 8);
AT(yc_filter, n_channels, 16);
AT(yc_filter, patterns, 24);
AT(yc_filter, n_patterns, 32);
AT(yc_filter, max_bytes, 40);
AT(yc_filter, reserved, 48);

SIZE(yc_events_filter, 88);
AT(yc_events_filter, struct_size, 0);
AT(yc_events_filter, flags, 4);
AT(yc_events_filter, kinds, 8);
AT(yc_events_filter, tags, 16);
AT(yc_events_filter, n_tags, 24);
AT(yc_events_filter, keys, 32);
AT(yc_events_filter, n_keys, 40);
AT(yc_events_filter, max_bytes, 48);
AT(yc_events_filter, reserved, 56);

SIZE(yc_match, 40);
AT(yc_match, key, 0);
AT(yc_match, score, 16);
AT(yc_match, reserved, 24);

SIZE(yc_op, 176);
AT(yc_op, kind, 0);
AT(yc_op, flags, 4);
AT(yc_op, key, 8);
AT(yc_op, key_len, 16);
AT(yc_op, value, 24);
AT(yc_op, value_len, 32);
AT(yc_op, tags, 40);
AT(yc_op, n_tags, 48);
AT(yc_op, ttl_ms, 56);
AT(yc_op, user_data, 64);
AT(yc_op, status, 72);
AT(yc_op, condition, 76);
AT(yc_op, result, 80);
AT(yc_op, error, 88);
AT(yc_op, remaining_ms, 96);
AT(yc_op, removed, 104);
AT(yc_op, version, 112);
AT(yc_op, number, 120);
AT(yc_op, initial, 128);
AT(yc_op, lease, 136);
AT(yc_op, reply, 144);
AT(yc_op, tag_count, 152);
AT(yc_op, timeout_ms, 160);
AT(yc_op, reserved, 168);

SIZE(yc_ticket, 8);

SIZE(yc_completion, 136);
AT(yc_completion, ticket, 0);
AT(yc_completion, user_data, 8);
AT(yc_completion, status, 16);
AT(yc_completion, kind, 20);
AT(yc_completion, result, 24);
AT(yc_completion, error, 32);
AT(yc_completion, remaining_ms, 40);
AT(yc_completion, removed, 48);
AT(yc_completion, results, 56);
AT(yc_completion, keys, 64);
AT(yc_completion, matches, 72);
AT(yc_completion, version, 80);
AT(yc_completion, number, 88);
AT(yc_completion, lease, 96);
AT(yc_completion, reply, 104);
AT(yc_completion, message, 112);
AT(yc_completion, event, 120);
AT(yc_completion, tag_count, 128);

/* The library agrees: it writes and reads where the header says. */
int main(void) {
    yc_cache *cache = open_cache(test_url());
    _Alignas(yc_op) unsigned char after[sizeof(yc_op) + 8];
    yc_op op = {.kind = YC_OP_TTL, .key = "none", .key_len = 4, .status = 77, .condition = 78, .initial = 79, .reserved = {80}};
    memset(after, 0xAB, sizeof after);
    memcpy(after, &op, sizeof op);
    CHECK_STATUS(yc_batch(cache, (yc_op *)(void *)after, 1, sizeof op, NULL), YC_OK);
    memcpy(&op, after, sizeof op);
    CHECK(op.status == YC_MISS && op.condition == 78 && op.initial == 79 && op.reserved[0] == 80);
    CHECK(after[sizeof op] == 0xAB && after[sizeof op + 7] == 0xAB);
    close_cache(cache);
    return check_result();
}
