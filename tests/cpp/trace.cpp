// Checks Cache::set_trace() and TraceContext of yokedcache.hpp; exits 1 when a check fails.

#include "check.hpp"

#include <yokedcache.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::TraceContext;
using yokedcache::TraceOptions;

namespace {

// The ends of spans on this thread.
struct Journal {
    std::vector<yc_span> ends;
    std::vector<std::string> keys;

    yokedcache::Trace trace() {
        return [this](std::int32_t phase, const yc_span &span) {
            if (phase == YC_SPAN_END) {
                ends.push_back(span);
                keys.emplace_back(static_cast<const char *>(span.key.data), span.key.len);
            }
        };
    }
};

void spans_have_results_and_contexts() {
    Cache cache = Cache::open("memory://");
    Journal journal;
    cache.set_trace(journal.trace(), TraceOptions{1, true});
    cache.set("a", "value");
    {
        const TraceContext outer(1);
        const TraceContext inner(2);
        CHECK(cache.get("a").has_value());
    }
    CHECK(!cache.get("b"));
    CHECK(journal.ends.size() == 3);
    CHECK(journal.ends[0].kind == YC_OP_SET && journal.ends[0].bytes == 5 && journal.ends[0].context == 0);
    CHECK(journal.ends[1].status == YC_OK && journal.ends[1].context == 2);
    CHECK(journal.ends[2].status == YC_MISS && journal.ends[2].context == 0);
    CHECK(journal.keys == (std::vector<std::string>{"a", "a", "b"}));
    cache.set_trace(nullptr);
    cache.get("a");
    CHECK(journal.ends.size() == 3);
}

void a_function_is_destroyed_with_the_trace() {
    auto owned = std::make_shared<int>(1);
    const std::weak_ptr<int> watched = owned;
    Cache cache = Cache::open("memory://");
    cache.set_trace([owned](std::int32_t, const yc_span &) {});
    owned.reset();
    CHECK(!watched.expired());
    cache.set_trace(nullptr);
    CHECK(watched.expired());
    owned = std::make_shared<int>(2);
    const std::weak_ptr<int> second = owned;
    cache.set_trace([owned](std::int32_t, const yc_span &) {});
    owned.reset();
    cache.close();
    cache = Cache();
    CHECK(second.expired());
}

void a_function_may_throw_and_call_the_library() {
    Cache cache = Cache::open("memory://");
    int calls = 0;
    cache.set_trace([&](std::int32_t, const yc_span &) {
        ++calls;
        cache.set("by the trace", "v");
        throw std::runtime_error("ignored");
    });
    CHECK(!cache.get("a"));
    CHECK(calls == 2);
    cache.set_trace(nullptr);
}

void an_empty_cache_refuses_a_trace() {
    auto owned = std::make_shared<int>(1);
    const std::weak_ptr<int> watched = owned;
    Cache none;
    Error error;
    none.set_trace([owned](std::int32_t, const yc_span &) {}, {}, error);
    owned.reset();
    CHECK(error.status() == YC_E_INVALID && watched.expired());
    CHECK(thrown_by([&] { none.set_trace(nullptr); }) == YC_E_INVALID);
}

}  // namespace

int main() {
    spans_have_results_and_contexts();
    a_function_is_destroyed_with_the_trace();
    a_function_may_throw_and_call_the_library();
    an_empty_cache_refuses_a_trace();
    return failures == 0 ? 0 : 1;
}
