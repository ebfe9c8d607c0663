/* The header alone, first and only, in every C and C++ it promises: each macro and struct is used once. */
#include <yokedcache.h>

static const yc_search_options options = YC_SEARCH_OPTIONS_INIT;
static const int64_t times[] = {YC_TTL_DEFAULT, YC_TTL_NEVER};
static const uint64_t numbers[] = {YC_COUNT_UNKNOWN, YC_CAN_LIST, YC_CAN_COUNT, YC_CAN_SHARE, YC_CAN_SIZE,
                                   YC_CAN_COMPARE, YC_CAN_COMMAND, YC_CAN_PUBLISH, YC_CAN_NEAR, YC_CAN_EVENTS, YC_EVENT_TAG, YC_EVENT_GAP, YC_EVENTS_OWN};
static const int32_t kinds[] = {YC_OP_GET,  YC_OP_SET,  YC_OP_DELETE, YC_OP_EXISTS, YC_OP_EXPIRE,
                                YC_OP_TTL,  YC_OP_INVALIDATE_TAGS, YC_OP_INVALIDATE_PATTERN, YC_OP_FLUSH, YC_OP_PING,
                                YC_OP_GET_VERSIONED, YC_OP_SET_IF, YC_OP_DELETE_IF, YC_OP_GET_AND_EXPIRE, YC_OP_COUNTER_ADD,
                                YC_OP_REDIS_COMMAND, YC_OP_PUBLISH, YC_OP_GET_INFO, YC_OP_SUBSCRIPTION_NEXT, YC_NO_KEY, YC_REPLY_NIL, YC_REPLY_STRING, YC_REPLY_STATUS,
                                YC_REPLY_INTEGER, YC_REPLY_ARRAY, YC_REPLY_ERROR, YC_IF_ABSENT, YC_IF_PRESENT, YC_IF_VERSION};
static const int32_t levels[] = {YC_LOG_OFF,  YC_LOG_ERROR, YC_LOG_WARN, YC_LOG_INFO, YC_LOG_DEBUG, YC_LOG_TRACE};
static const yc_status statuses[] = {
    YC_OK,       YC_MISS,      YC_END,          YC_UNMET,     YC_E_INVALID, YC_E_CONFIG, YC_E_TOO_LARGE,     YC_E_BUFFER_TOO_SMALL,
    YC_E_UNSUPPORTED,          YC_E_ABI_MISMATCH,             YC_E_CLOSED, YC_E_FORKED,        YC_E_CANCELLED,
    YC_E_BUSY,   YC_E_CONNECT, YC_E_AUTH,       YC_E_DENIED,  YC_E_TLS,    YC_E_TIMEOUT,       YC_E_SERVER_MEMORY,
    YC_E_PROTOCOL,             YC_E_SERVER,     YC_E_PANIC};

static const yc_lease_options lease_options = {sizeof(yc_lease_options), 0, 0, -1, NULL, 0, {0, 0, 0, 0}};
static const yc_fill fill = {sizeof(yc_fill), YC_FILL_ABSENT,       NULL, 0, YC_TTL_DEFAULT,
                             YC_STALE_FOR_DEFAULT, NULL, 0, {0, 0, 0, 0}};
static const int32_t loads[] = {YC_OP_GET_OR_LEASE, YC_OP_LEASE_FILL, YC_OP_LEASE_ABANDON};
static const yc_status load_statuses[] = {YC_STALE, YC_ABSENT, YC_LEASED, YC_SUPERSEDED};

/* Signatures are held here: a change of one does not compile. */
static yc_status (*const get)(yc_cache *, const void *, size_t, yc_value **, yc_error **) = yc_get;
static yc_status (*const set)(yc_cache *, const void *, size_t, const void *, size_t, int64_t, const yc_slice *, size_t,
                              yc_error **) = yc_set;
static yc_status (*const load)(yc_cache *, const void *, size_t, const yc_lease_options *, yc_value **, yc_lease **,
                               yc_error **) = yc_get_or_lease;
static yc_status (*const fill_in)(yc_lease *, const yc_fill *, yc_error **) = yc_lease_fill;
static yc_status (*const abandon)(yc_lease *, int64_t, yc_error **) = yc_lease_abandon;

int main(void) {
    yc_op op = {0, YC_OP_COUNT | YC_OP_IDEMPOTENT | YC_OP_FRESH | YC_OP_DRY_RUN, NULL, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, {0}};
    yc_match match = {{NULL, 0}, 0.0, {0, 0}};
    return options.struct_size == 0 || times[0] > times[1] || numbers[0] == 0 || kinds[0] == 0 || levels[0] != 0 ||
           statuses[0] != 0 || op.kind != 0 || match.score > 0.0 || get(NULL, "k", 1, NULL, NULL) ||
           set(NULL, "k", 1, "v", 1, 0, NULL, 0, NULL) || loads[0] == 0 || load_statuses[0] == 0 ||
           load(NULL, "k", 1, &lease_options, NULL, NULL, NULL) || fill_in(NULL, &fill, NULL) || abandon(NULL, 0, NULL);
}
