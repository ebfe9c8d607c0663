// Checks the events of yokedcache.hpp; exits 1 when a check fails. On the cache of YC_TEST_URL, or else on memory;
// YC_TEST_OPTIONS are options added to the URL.

#include "check.hpp"

#include <yokedcache.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <poll.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Completion;
using yokedcache::Error;
using yokedcache::Event;
using yokedcache::EventFilter;
using yokedcache::Events;
using yokedcache::Queue;

namespace {

int number_of_prefix = 0;

// A cache with the prefix of the last fresh one.
Cache same() {
    const char *given = std::getenv("YC_TEST_URL");
    const char *options = std::getenv("YC_TEST_OPTIONS");
    std::string url = given == nullptr ? "memory://" : given;
    url += url.find('?') == std::string::npos ? "?" : "&";
    url += "key_prefix=cppev" + std::to_string(getpid()) + "." + std::to_string(number_of_prefix);
    url += url.rfind("memory:", 0) == 0 ? "" : "&socket_timeout=10s";
    url += options == nullptr ? "" : "&" + std::string(options);
    return Cache::open(url);
}

// A cache with a prefix of its own.
Cache fresh() {
    ++number_of_prefix;
    return same();
}

EventFilter own() {
    EventFilter filter;
    filter.own = true;
    return filter;
}

bool is(const std::optional<Event> &event, std::uint64_t kind, std::string_view name) {
    return event && event->kind() == kind && event->name() == name;
}

static_assert(std::is_nothrow_move_constructible_v<Events> && std::is_nothrow_move_assignable_v<Events>);
static_assert(!std::is_copy_constructible_v<Events> && !std::is_copy_constructible_v<Event>);
static_assert(std::is_copy_constructible_v<Events::Iterator>);

void a_cache_without_events_says_so() {
    Cache cache = fresh();
    Error error;
    CHECK(thrown_by([&] { cache.events(); }) == YC_E_UNSUPPORTED);
    CHECK(!cache.events({}, error) && error.status() == YC_E_UNSUPPORTED);
}

void each_removal_is_an_event() {
    Cache cache = fresh();
    Error error;
    const Events events = cache.events(own(), error);
    CHECK(events && !error);
    const auto before = std::chrono::system_clock::now() - 1s;
    cache.set("user:1", "Ada", {5min, {"users"}});
    cache.invalidate_tags({"users", std::string_view("\0\xff", 2)});
    cache.invalidate_pattern("user:*");
    cache.remove("user:1");
    cache.flush();
    const Event tag = events.next();
    CHECK(tag && tag.kind() == YC_EVENT_TAG && tag.name() == "users" && tag.text() == "users");
    CHECK(tag.is_own() && !tag.is_gap() && tag.lost() == 0 && tag.origin() != 0 && tag.sequence() > 0);
    CHECK(tag.time() > before && tag.time() < std::chrono::system_clock::now() + 1s);
    const std::optional<Event> bytes = events.next(20s);
    CHECK(is(bytes, YC_EVENT_TAG, std::string_view("\0\xff", 2)));
    CHECK(bytes && bytes->origin() == tag.origin() && bytes->sequence() == tag.sequence() + 1);
    CHECK(is(events.next(20s, error), YC_EVENT_PATTERN, "user:*") && !error);
    CHECK(is(events.next(20s), YC_EVENT_DELETE, "user:1"));
    const Event flush = events.next(error);
    CHECK(!error && flush.kind() == YC_EVENT_FLUSH && flush.name().empty());
    CHECK(!events.next(0ms) && !events.next(20ms, error) && !error);
}

void a_filter_selects() {
    Cache cache = fresh();
    EventFilter filter;
    filter.own = true;
    filter.tags = {"a", std::string("b")};
    const Events tags = cache.events(filter);
    filter.keys = std::vector<std::string>{"user:*", "x"};
    filter.kinds = YC_EVENT_DELETE;
    const Events keys = cache.events(filter);
    const Events none = cache.events({{"a"}});
    cache.remove("other");
    cache.remove("user:1");
    cache.invalidate_tags({"c", "b"});
    cache.flush();
    CHECK(tags.next().text() == "b" && tags.next().kind() == YC_EVENT_FLUSH);
    CHECK(is(keys.next(20s), YC_EVENT_DELETE, "user:1") && !keys.next(20ms));
    CHECK(!none.next(20ms));
}

void another_cache_reads_them() {
    Cache cache = fresh();
    Cache other = same();
    const Events events = cache.events();
    const Events theirs = other.events(own());
    other.invalidate_tag("a");
    cache.invalidate_tag("b");
    other.invalidate_tag("c");
    const Event a = events.next();
    CHECK(a.name() == "a" && !a.is_own());
    CHECK(is(events.next(20s), YC_EVENT_TAG, "c"));
    const Event mine = theirs.next();
    CHECK(mine.name() == "a" && mine.is_own() && mine.origin() == a.origin() && mine.sequence() == a.sequence());
    CHECK(mine.time() == a.time());
    const std::optional<Event> next = theirs.next(20s);
    CHECK(is(next, YC_EVENT_TAG, "b") && next && !next->is_own() && next->origin() != a.origin());
}

void a_loop_ends_with_the_reader() {
    Cache cache = fresh();
    const Events events = cache.events(own());
    std::thread writer([&cache] {
        for (int number = 0; number < 500; ++number) {
            cache.remove(std::to_string(number));
        }
        cache.flush();
    });
    int next = 0;
    for (const Event &event : events) {
        if (event.kind() == YC_EVENT_FLUSH) {
            events.close();
            continue;
        }
        CHECK(event.name() == std::to_string(next));
        ++next;
    }
    writer.join();
    CHECK(next == 500);
    // Those of a closed reader can still be taken.
    const Events waiting = cache.events(own());
    cache.remove("1");
    cache.remove("2");
    auto at = waiting.begin();
    const auto copy = at;
    CHECK(at->name() == "1" && copy == at && copy != waiting.end());
    ++at;
    CHECK(at->name() == "2" && (*copy).name() == "1" && at != copy);
    waiting.close();
    waiting.close();
    at++;
    CHECK(at == waiting.end() && waiting.begin() == waiting.end());
    Error error;
    CHECK(!waiting.next(error) && error.status() == YC_E_CLOSED);
    CHECK(thrown_by([&] { waiting.next(1s); }) == YC_E_CLOSED && thrown_by([&] { waiting.next(); }) == YC_E_CLOSED);
}

void a_closed_cache_ends_a_loop_of_another_thread() {
    Cache cache = fresh();
    const Events events = cache.events();
    std::thread reader([&events] {
        CHECK(std::distance(events.begin(), events.end()) == 0);
    });
    cache.close();
    reader.join();
    Error error;
    CHECK(thrown_by([&] { cache.events(); }) == YC_E_CLOSED);
    cache = Cache();
    CHECK(!events.next(1s, error) && error.status() == YC_E_CLOSED);
    events.close(error);
    CHECK(!error);
}

// On memory an event has arrived when its change returns.
void what_finds_no_room_is_a_gap() {
    Cache cache = fresh();
    EventFilter filter = own();
    filter.max_bytes = 1000;
    const Events events = cache.events(filter);
    for (const char letter : {'a', 'b', 'c'}) {
        cache.remove(std::string(600, letter));
    }
    CHECK(events.next().text() == std::string(600, 'a'));
    const Event gap = events.next();
    CHECK(gap && gap.is_gap() && gap.kind() == YC_EVENT_GAP && gap.lost() == 2 && gap.name().empty());
    CHECK(gap.origin() == 0 && gap.sequence() == 0 && gap.time() == std::chrono::system_clock::time_point());
    CHECK(!gap.is_own());
}

void a_switch_is_an_event_and_leaves_a_gap() {
    Cache cache = fresh();
    const Events events = cache.events();
    cache.switch_to("memory://?max_size=5");
    CHECK(is(events.next(20s), YC_EVENT_SWITCH, "memory"));
    const std::optional<Event> gap = events.next(20s);
    CHECK(gap && gap->is_gap() && !gap->lost());
}

void a_descriptor_tells_of_events() {
    Cache cache = fresh();
    const Events events = cache.events(own());
    Error error;
    pollfd watched = {events.fd(), POLLIN, 0};
    CHECK(watched.fd >= 0 && events.fd(error) == watched.fd && !error && poll(&watched, 1, 0) == 0);
    cache.remove("a");
    CHECK(poll(&watched, 1, 20000) == 1);
    CHECK(is(events.next(0ms), YC_EVENT_DELETE, "a") && poll(&watched, 1, 0) == 0);
    events.close();
    CHECK(poll(&watched, 1, 0) == 1);
}

void a_queue_receives() {
    Cache cache = fresh();
    Events events = cache.events(own());
    Queue queue = Queue::open(cache);
    Error error;
    CHECK(queue.next_event(events, 7) && queue.next_event(events, 8, error) && !error);
    cache.remove("a");
    cache.invalidate_tag("b");
    std::vector<std::string> names;
    while (names.size() < 2) {
        for (const Completion &completion : queue.wait(20s)) {
            CHECK(completion.status == YC_OK && completion.kind == YC_OP_EVENTS_NEXT && !completion.message);
            CHECK((completion.user_data == 7 || completion.user_data == 8) && completion.event);
            names.push_back(completion.event ? completion.event->text() : "none");
        }
    }
    std::sort(names.begin(), names.end());
    CHECK(names[0] == "a" && names[1] == "b");
    CHECK(queue.next_event(events).has_value());
    events = Events();
    const std::vector<Completion> ended = queue.wait(20s);
    CHECK(ended.size() == 1 && ended[0].status == YC_E_CLOSED && ended[0].error && !ended[0].event);
    CHECK(!queue.next_event(events, 0, error) && error.status() == YC_E_INVALID);
}

void mistakes_are_refused() {
    Cache cache = fresh();
    EventFilter filter;
    filter.kinds = YC_EVENT_GAP;
    CHECK(thrown_by([&] { cache.events(filter); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.events({{""}}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.events({std::vector<std::string>(1025, "x")}); }) == YC_E_TOO_LARGE);
    const Events none;
    Error error;
    CHECK(!none && !none.next(error) && error.status() == YC_E_INVALID && none.fd(error) == -1);
    CHECK(thrown_by([&] { none.close(); }) == YC_E_INVALID && thrown_by([&] { none.begin(); }) == YC_E_INVALID);
    const Event nothing;
    CHECK(!nothing && nothing.kind() == 0 && nothing.name().empty() && !nothing.is_gap() && nothing.lost() == 0);
    const Events real = cache.events();
    CHECK(thrown_by([&] { real.next(-2ms); }) == YC_E_INVALID);
}

} // namespace

int main() {
    const std::uint64_t can = fresh().capabilities();
    const bool is_shared = (can & YC_CAN_SHARE) != 0;
    if ((can & YC_CAN_EVENTS) == 0) {
        a_cache_without_events_says_so();
    } else {
        each_removal_is_an_event();
        a_filter_selects();
        a_loop_ends_with_the_reader();
        a_closed_cache_ends_a_loop_of_another_thread();
        a_switch_is_an_event_and_leaves_a_gap();
        a_descriptor_tells_of_events();
        a_queue_receives();
        mistakes_are_refused();
        is_shared ? another_cache_reads_them() : what_finds_no_room_is_a_gap();
    }
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
