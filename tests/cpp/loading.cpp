// Checks leases, get_or_load() and get_or_load_many() of yokedcache.hpp; exits 1 when a check fails. On the cache of
// YC_TEST_URL, or else on memory.

#include "check.hpp"

#include <yokedcache.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Bytes;
using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::Fill;
using yokedcache::LoadOptions;
using yokedcache::Lookup;
using yokedcache::OptionalValue;
using yokedcache::Status;
using yokedcache::Ttl;
using yokedcache::Value;
using Clock = std::chrono::steady_clock;

namespace {

std::string given_url() {
    const char *given = std::getenv("YC_TEST_URL");
    return given == nullptr ? "memory://" : given;
}

bool on_memory() {
    return given_url().rfind("memory:", 0) == 0;
}

// A URL with a prefix of its own.
std::string fresh_url(const std::string &timeout = "10s") {
    static int number = 0;
    std::string url = given_url();
    url += url.find('?') == std::string::npos ? "?" : "&";
    url += "key_prefix=cpp-load" + std::to_string(getpid()) + "." + std::to_string(++number);
    return url + (on_memory() ? "" : "&socket_timeout=" + timeout);
}

Cache fresh() {
    return Cache::open(fresh_url());
}

LoadOptions patient(Ttl ttl = 1h, const yokedcache::Tags &tags = {}) {
    LoadOptions options = {ttl, tags};
    options.wait = 20s;
    return options;
}

// Waits until a condition holds, at most 20 s.
template <class Condition>
bool eventually(Condition condition) {
    const Clock::time_point end = Clock::now() + 20s;
    while (!condition() && Clock::now() < end) {
        std::this_thread::sleep_for(1ms);
    }
    return condition();
}

std::string text_of(const OptionalValue &value) {
    return value ? std::string(value->view()) : "absent";
}

// A source of rows that counts loads, and how many of them run at once.
struct Source {
    std::atomic<int> row{1}, loads{0}, running{0}, most{0};
    std::chrono::milliseconds takes{0};

    std::string load() {
        const int now = ++running;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        ++loads;
        const std::string read = std::to_string(row);
        std::this_thread::sleep_for(takes);
        --running;
        return read;
    }

    auto loader() {
        return [this](Fill &) { return load(); };
    }
};

// A load that has begun and waits for permission to end.
struct Held {
    std::atomic<bool> begun{false}, released{false};

    void wait() {
        begun = true;
        CHECK(eventually([&] { return released.load(); }));
    }

    bool has_begun() {
        return eventually([&] { return begun.load(); });
    }
};

// Runs a function on many threads at once.
template <class Function>
void at_once(int count, Function function) {
    std::vector<std::thread> threads;
    for (int index = 0; index < count; ++index) {
        threads.emplace_back([function, index] { function(index); });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
}

// Gives threads that were just started the time to wait for a load.
void let_join() {
    std::this_thread::sleep_for(100ms);
}

// ---- Leases ----

void a_lease_is_the_right_to_load() {
    Cache cache = fresh();
    Lookup found = cache.get_or_lease("a", {{"t"}});
    CHECK(found.status == YC_LEASED && !found.value && found.lease && *found.lease);
    Error error;
    const Lookup other = cache.get_or_lease("a", {{}, 0ms, 0ms}, error);
    CHECK(other.status == YC_E_BUSY && error.retryable() && !other.lease);
    CHECK(found.lease->fill("1", {1h, {"u"}}));
    found = cache.get_or_lease("a");
    CHECK(found.status == YC_OK && found.value->view() == "1" && !found.lease);
    cache.invalidate_tag("u");
    found = cache.get_or_lease("a");
    cache.set("a", "2");
    CHECK(found.status == YC_LEASED && !found.lease->fill("1") && cache.get("a")->text() == "2");
    CHECK(thrown_by([&] { found.lease->fill("1"); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { yokedcache::Lease().fill("1"); }) == YC_E_INVALID);
    found = cache.get_or_lease("b");
    CHECK(found.lease->fill_absent({1h}) && cache.get_or_lease("b").status == YC_ABSENT);
    found = cache.get_or_lease("c");
    yokedcache::Lease moved = std::move(*found.lease);
    moved.abandon(1h);
    CHECK(cache.get_or_lease("c", {}, error).status == YC_E_BUSY && error);
    CHECK(thrown_by([&] { cache.get_or_lease("d", {{}, -1ms}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_or_lease("d", {{}, 0ms, -1ms}); }) == YC_E_INVALID);
}

// ---- One key ----

void a_value_is_loaded_once() {
    Cache cache = fresh();
    Source source;
    CHECK(cache.get_or_load("a", source.loader(), {1h, {"t"}})->text() == "1");
    CHECK(cache.get_or_load("a", source.loader())->text() == "1" && source.loads == 1);
    CHECK(cache.ttl("a")->time() > 59min && cache.get("a")->text() == "1");
    cache.invalidate_tag("t");
    source.row = 2;
    Error error;
    CHECK(text_of(cache.get_or_load("a", source.loader(), error)) == "2" && !error && source.loads == 2);
    CHECK(cache.get_or_load("b", [](Fill &) { return "literal"; }, 5min)->text() == "literal");
    const std::vector<std::byte> bytes(3, std::byte{0});
    CHECK(cache.get_or_load("c", [&](Fill &) { return bytes; })->text() == std::string(3, '\0'));
    OptionalValue value = cache.get_or_load("d", [](Fill &fill) { return std::string(fill.key()) + fill.keys()[0].data(); });
    const Value clone = value->clone();
    CHECK(value->view() == "dd" && value->size() == 2 && clone.view() == "dd" && bool(clone));
}

void an_absence_is_remembered() {
    Cache cache = fresh();
    int loads = 0;
    const auto nothing = [&](Fill &) -> std::optional<std::string> {
        ++loads;
        return std::nullopt;
    };
    CHECK(!cache.get_or_load("a", nothing) && !cache.get_or_load("a", nothing) && loads == 1);
    CHECK(!cache.get("a") && cache.get_or_lease("a").status == YC_ABSENT);
    cache.set("a", "1");
    CHECK(cache.get_or_load("a", nothing)->text() == "1");
    LoadOptions brief;
    brief.absent_ttl = 50ms;
    CHECK(!cache.get_or_load("b", [](Fill &) { return std::nullopt; }, brief));
    std::this_thread::sleep_for(1200ms);
    CHECK(cache.get_or_load("b", [](Fill &) { return std::optional<std::string>("2"); })->text() == "2");
}

void a_loader_sets_times_and_tags() {
    Cache cache = fresh();
    const auto loader = [](Fill &fill) {
        fill.ttl = 2h;
        fill.tags = {"a", "b"};
        fill.for_key("k").tags = {"c"};
        return std::string("1");
    };
    for (const char *tag : {"a", "b", "c", "t"}) {
        CHECK(cache.get_or_load("k", loader, {1h, {"t"}})->text() == "1" && cache.ttl("k")->time() > 1h);
        cache.invalidate_tag(tag);
        CHECK(!cache.exists("k"));
    }
}

// ---- Loads that race with changes ----

using Change = std::function<void(Cache &)>;

std::vector<Change> changes(const Cache &cache) {
    std::vector<Change> all = {[](Cache &other) { other.invalidate_tag("t"); }, [](Cache &other) { other.remove("a"); },
                               [](Cache &other) { other.set("a", "2"); }};
    if (cache.capabilities() & YC_CAN_LIST) {
        all.push_back([](Cache &other) { other.invalidate_pattern("a*"); });
        all.push_back([](Cache &other) { other.flush(); });
    }
    return all;
}

// The caller that began before the change gets its value; no later one does, and none that waited.
void a_change_ends_a_load(const Change &change, bool named) {
    Cache cache = fresh();
    Source source;
    Held held;
    const LoadOptions options = patient(1h, named ? yokedcache::Tags{"t"} : yokedcache::Tags{});
    const auto load = [&](Fill &fill, bool holds) {
        if (!named) {
            fill.tags = {"t"};
        }
        const std::string row = source.load();
        if (holds) {
            held.wait();
        }
        return row;
    };
    std::string first, joined, later;
    std::thread leader([&] { first = text_of(cache.get_or_load("a", [&](Fill &fill) { return load(fill, true); }, options)); });
    CHECK(held.has_begun());
    const auto reader = [&](std::string &into) {
        into = text_of(cache.get_or_load("a", [&](Fill &fill) { return load(fill, false); }, options));
    };
    std::thread waiter([&] { reader(joined); });
    let_join();
    source.row = 2;
    change(cache);
    std::thread late([&] { reader(later); });
    let_join();
    CHECK(source.loads == 1);
    held.released = true;
    leader.join();
    waiter.join();
    late.join();
    CHECK(first == "1" && joined == "2" && later == "2" && cache.get("a")->text() == "2");
    CHECK(source.loads <= 2);
}

void no_value_is_older_than_a_change() {
    for (const Change &change : changes(fresh())) {
        a_change_ends_a_load(change, true);
        a_change_ends_a_load(change, false);
    }
}

void readers_see_each_change() {
    Cache cache = fresh();
    Source source;
    std::atomic<int> known{1};
    std::atomic<bool> over{false};
    at_once(5, [&](int thread) {
        if (thread == 0) {
            for (int row = 2; row < 150; ++row) {
                source.row = row;
                row % 3 == 0 ? static_cast<void>(cache.remove("a")) : static_cast<void>(cache.invalidate_tag("t"));
                known = row;
                std::this_thread::sleep_for(std::chrono::milliseconds(row % 4));
            }
            over = true;
        }
        while (!over) {
            const int least = known;
            CHECK(std::stoi(cache.get_or_load("a", source.loader(), patient(1h, {"t"}))->text()) >= least);
        }
    });
    CHECK(source.most == 1 && source.loads > 3);
}

// ---- Callers that share a load ----

void callers_share_a_load() {
    Cache cache = fresh();
    Source source;
    source.takes = 200ms;
    at_once(20, [&](int) { CHECK(text_of(cache.get_or_load("a", source.loader(), patient())) == "1"); });
    CHECK(source.loads == 1);
    Source nothing;
    nothing.takes = 200ms;
    const auto load = [&](Fill &) -> std::optional<std::string> {
        nothing.load();
        return std::nullopt;
    };
    at_once(20, [&](int) { CHECK(!cache.get_or_load("b", load, patient())); });
    CHECK(nothing.loads == 1);
}

// Cache objects of one store see each other as processes do.
void caches_share_a_load() {
    if (on_memory()) {
        return;
    }
    const std::string url = fresh_url();
    Source source;
    source.takes = 200ms;
    at_once(6, [&](int) {
        Cache cache = Cache::open(url);
        CHECK(text_of(cache.get_or_load("a", source.loader(), patient())) == "1");
    });
    CHECK(source.loads == 1);
}

void a_wait_has_an_end() {
    Cache cache = fresh();
    Held held;
    const auto slow = [&](Fill &) {
        held.wait();
        return std::string("1");
    };
    std::thread leader([&] { CHECK(cache.get_or_load("a", slow, patient())->text() == "1"); });
    CHECK(held.has_begun());
    LoadOptions options;
    for (const auto wait : {0ms, 100ms}) {
        options.wait = wait;
        Error error;
        const Clock::time_point begun = Clock::now();
        CHECK(!cache.get_or_load("a", slow, options, error) && error.status() == YC_E_BUSY && error.retryable());
        CHECK(Clock::now() - begun >= wait && Clock::now() - begun < wait + 2s);
    }
    held.released = true;
    leader.join();
    CHECK(cache.get("a")->text() == "1");
}

// Without a time of its own, a call waits for the deadline of the configuration.
void a_wait_is_that_of_the_configuration() {
    if (on_memory()) {
        return;
    }
    Cache cache = Cache::open(fresh_url("300ms"));
    Held held;
    std::thread leader([&] { cache.get_or_load("a", [&](Fill &) { held.wait(); return "1"; }); });
    CHECK(held.has_begun());
    const Clock::time_point begun = Clock::now();
    CHECK(thrown_by([&] { cache.get_or_load("a", [](Fill &) { return "2"; }); }) == YC_E_BUSY);
    CHECK(Clock::now() - begun >= 300ms && Clock::now() - begun < 5s);
    held.released = true;
    leader.join();
}

using OwnedLease = yokedcache::detail::Handle<yc_lease, yc_lease_free>;
using yokedcache::detail::Joined;
using yokedcache::detail::Joining;
using yokedcache::detail::LoadEnd;
using yokedcache::detail::Loads;

OwnedLease lease_of(Cache &cache, const std::string &key) {
    OwnedLease lease;
    yc_value *value = nullptr;
    yc_lease *taken = nullptr;
    yc_get_or_lease(cache.native(), key.data(), key.size(), nullptr, &value, &taken, nullptr);
    yc_value_free(value);
    lease.reset(taken);
    CHECK(lease != nullptr);
    return lease;
}

LoadEnd ended_with(const char *text, bool is_stored) {
    return {std::make_shared<const std::string>(text), is_stored, nullptr, {}};
}

// The result of a load is not shared with a caller that comes while it is being stored: an invalidation may have returned
// after it was stored, and before that caller began. A load that began after the caller is shared with it nevertheless.
void a_value_that_is_being_stored_is_not_shared() {
    Cache cache = fresh();
    for (const bool comes_late : {false, true}) {
        for (const bool is_younger : {false, true}) {
            for (const bool is_stored : {false, true}) {
                Loads loads({});
                OwnedLease lease = lease_of(cache, "a"), none;
                const auto flight = loads.begin("a", 0ms, lease);
                CHECK(flight && !lease && !loads.begin("a", 0ms, none));
                lease = comes_late ? loads.store(*flight) : nullptr;
                Joined joined = {Joined::Kind::late};
                const Joining joining = {true, true, is_younger ? 0 : loads.begun()};
                std::thread waiter([&] { joined = loads.join("a", Clock::now() + 20s, joining); });
                // The flight belongs to two tables, to this function, and to the caller that waits.
                CHECK(eventually([&] { return flight.use_count() == 4; }));
                lease = comes_late ? std::move(lease) : loads.store(*flight);
                CHECK(lease != nullptr);
                loads.end("a", flight, ended_with("1", is_stored));
                waiter.join();
                const bool shares = is_younger || (is_stored && !comes_late);
                CHECK(joined.kind == (shares ? Joined::Kind::shared : Joined::Kind::again));
                CHECK(loads.join("a", Clock::now(), joining).kind == Joined::Kind::missing);
            }
        }
    }
}

// A load that began without a lease, as the store was down, does not see changes that end after the store came back: only
// callers that found the store down, too, share it. A caller with a lease loads.
void a_load_without_a_lease_is_not_shared_with_who_reached_the_store() {
    Cache cache = fresh();
    Loads loads({});
    OwnedLease none, lease = lease_of(cache, "a");
    const auto flight = loads.begin("a", 0ms, none);
    CHECK(flight && !loads.has("a"));
    CHECK(loads.join("a", Clock::now() + 20s, {true, true, 0}).kind == Joined::Kind::missing);
    Joined joined = {Joined::Kind::late};
    std::thread waiter([&] { joined = loads.join("a", Clock::now() + 20s, {true, false, loads.begun()}); });
    CHECK(eventually([&] { return flight.use_count() == 4; }));
    const auto second = loads.begin("a", 0ms, lease);
    CHECK(second && !lease && loads.has("a"));
    loads.end("a", flight, ended_with("old", true));
    waiter.join();
    CHECK(joined.kind == Joined::Kind::shared && loads.has("a"));
    loads.take_lease(*second).reset();
    loads.end("a", second, {});
    CHECK(!loads.has("a"));
}

// A close wakes the callers that wait for a load without a lease, also after it gave way to one with a lease.
void a_close_wakes_who_waits_for_a_load_that_gave_way() {
    Cache cache = fresh();
    Loads loads({});
    OwnedLease none, lease = lease_of(cache, "a");
    const auto flight = loads.begin("a", 0ms, none);
    Joined joined = {Joined::Kind::late};
    const Clock::time_point begun = Clock::now();
    std::thread waiter([&] { joined = loads.join("a", begun + 8s, {true, false, loads.begun()}); });
    CHECK(eventually([&] { return flight.use_count() == 4; }));
    let_join();
    const auto second = loads.begin("a", 0ms, lease);
    loads.close();
    waiter.join();
    CHECK(second && joined.kind == Joined::Kind::closed && Clock::now() - begun < 5s);
    loads.end("a", flight, {});
    loads.end("a", second, {});
    CHECK(flight.use_count() == 1 && second.use_count() == 1);
}

// A value that cannot be stored costs no more than two loads in a row: those that waited for the first one share the
// second, which began after their calls did.
void callers_share_a_value_that_cannot_be_stored() {
    Cache cache = Cache::open(fresh_url() + "&max_value_bytes=4");
    Source source;
    source.takes = 200ms;
    source.row = 10000;
    at_once(12, [&](int) { CHECK(text_of(cache.get_or_load("a", source.loader(), patient())) == "10000"); });
    CHECK(source.most == 1 && source.loads <= 4);
    if (source.loads > 4) {
        std::fprintf(stderr, "%d loads\n", source.loads.load());
    }
}

// One call leads a load that two more wait for.
template <class Call>
void run_three(Held &held, const Call &call) {
    std::thread leader(call);
    CHECK(held.has_begun());
    std::thread waiter(call), another(call);
    let_join();
    held.released = true;
    leader.join();
    waiter.join();
    another.join();
}

// Terms that are not allowed are an error of all that wait, after one load.
void a_mistake_of_a_loader_reaches_all_that_wait() {
    Cache cache = fresh();
    Held held;
    std::atomic<int> loads{0}, refused{0};
    const auto call = [&] {
        Error error;
        cache.get_or_load("a", [&](Fill &fill) {
            ++loads;
            fill.tags = {""};
            held.wait();
            return "1";
        }, patient(), error);
        refused += error.status() == YC_E_INVALID;
    };
    run_three(held, call);
    CHECK(refused == 3 && loads == 1);
}

// The holder of a lease that does nothing blocks its key for its lease.
void a_holder_that_does_nothing_is_followed() {
    Cache cache = fresh();
    Source source;
    const Lookup held = cache.get_or_lease("a", {{}, 1500ms});
    const Clock::time_point begun = Clock::now();
    LoadOptions brief;
    brief.wait = 50ms;
    CHECK(thrown_by([&] { cache.get_or_load("a", source.loader(), brief); }) == YC_E_BUSY && source.loads == 0);
    CHECK(cache.get_or_load("a", source.loader(), patient())->text() == "1" && source.loads == 1);
    CHECK(Clock::now() - begun >= 1s && Clock::now() - begun < 10s);
}

// A loader that does not return blocks its key for its lease, also in its own process.
void a_loader_that_does_not_return_is_replaced() {
    Cache cache = fresh();
    Held held;
    LoadOptions options = patient();
    options.lease = 1500ms;
    const Clock::time_point begun = Clock::now();
    std::thread leader([&] {
        const auto slow = [&](Fill &) { held.wait(); return "late"; };
        CHECK(cache.get_or_load("a", slow, options)->text() == "late");
    });
    CHECK(held.has_begun());
    Source source;
    at_once(4, [&](int) { CHECK(text_of(cache.get_or_load("a", source.loader(), patient())) == "1"); });
    CHECK(source.loads == 1 && Clock::now() - begun >= 1400ms && Clock::now() - begun < 10s);
    CHECK(!held.released);
    held.released = true;
    leader.join();
    CHECK(cache.get("a")->text() == "1");
}

// ---- Loads that fail ----

void an_exception_reaches_all_that_wait() {
    Cache cache = fresh();
    Held held;
    std::atomic<int> caught{0};
    const auto call = [&] {
        try {
            Error error;
            cache.get_or_load("a", [&](Fill &) -> std::string {
                held.wait();
                throw std::out_of_range("row");
            }, patient(), error);
        } catch (const std::out_of_range &error) {
            caught += error.what() == std::string("row");
        }
    };
    run_three(held, call);
    CHECK(caught == 3);
    CHECK(cache.get_or_load("a", [](Fill &) { return "2"; })->text() == "2");
}

void a_failure_holds_a_key_back() {
    Cache cache = fresh();
    LoadOptions options = patient();
    options.retry_after = 600ms;
    const auto failing = [](Fill &) -> std::string { throw 7; };
    try {
        cache.get_or_load("a", failing, options);
        CHECK(false);
    } catch (int thrown) {
        CHECK(thrown == 7);
    }
    Error error;
    CHECK(!cache.get_or_load("a", failing, options, error) && error.status() == YC_E_BUSY && error.retryable());
    CHECK(std::string(error.what()).find("failed") != std::string::npos);
    std::this_thread::sleep_for(900ms);
    CHECK(cache.get_or_load("a", [](Fill &) { return "1"; })->text() == "1");
}

void mistakes_are_refused() {
    Cache cache = fresh();
    Source source;
    const auto load = source.loader();
    CHECK(thrown_by([&] { cache.get_or_load("", load); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_or_load("a", load, {{}, {""}}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_or_load_many({"a", ""}, [](Fill &) { return std::map<std::string, std::string>(); }); }) ==
          YC_E_INVALID);
    CHECK(thrown_by([&] { Cache().get_or_load("a", load); }) == YC_E_INVALID && source.loads == 0);
    // The loader runs before the library sees these.
    CHECK(thrown_by([&] { cache.get_or_load("a", load, 0s); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_or_load("a", [](Fill &fill) { fill.tags = {""}; return "1"; }); }) == YC_E_INVALID);
    CHECK(!cache.exists("a") && cache.get_or_load("a", load)->text() == "1");
    const auto own = [&](Fill &) { return cache.get_or_load("b", load)->text(); };
    CHECK(thrown_by([&] { cache.get_or_load("b", own); }) == YC_E_INVALID);
    const auto other = [&](Fill &) { return cache.get_or_load("c", load)->text(); };
    CHECK(cache.get_or_load("b", other)->text() == "1");
    Cache closed = fresh();
    closed.close();
    const int before = source.loads;
    CHECK(thrown_by([&] { closed.get_or_load("a", load); }) == YC_E_CLOSED && source.loads == before);
}

// A value that the store refuses is returned to those that need it now.
void a_value_too_large_is_returned() {
    Cache cache = Cache::open(fresh_url() + "&max_value_bytes=10");
    Error error;
    CHECK(cache.get_or_load("a", [](Fill &) { return std::string(100, 'x'); }, error)->size() == 100 && !error);
    CHECK(!cache.exists("a"));
    CHECK(cache.get_or_load("a", [](Fill &) { return "1"; })->text() == "1");
}

void without_a_store_callers_share_a_load(const std::string &url) {
    Cache cache = Cache::open(url);
    Source source;
    source.takes = 1500ms;
    at_once(12, [&](int) { CHECK(text_of(cache.get_or_load("a", source.loader(), patient())) == "1"); });
    if (source.loads != 1) {
        std::fprintf(stderr, "%s: %d loads\n", url.c_str(), source.loads.load());
    }
    CHECK(source.loads == 1 && source.most == 1);
    CHECK(thrown_by([&] { cache.get_or_load("", source.loader()); }) == YC_E_INVALID);
    const auto both = [](Fill &fill) {
        return std::map<std::string, std::string>{{std::string(fill.key()), "1"}};
    };
    const auto values = cache.get_or_load_many({"x", "y"}, both);
    CHECK(values[0]->view() == "1" && !values[1]);
}

// The errors that mean that the store is down, and those that are returned without a load.
void some_errors_mean_that_the_store_is_down() {
    const std::vector<Status> down = {YC_E_CONNECT, YC_E_AUTH, YC_E_TLS, YC_E_TIMEOUT, YC_E_SERVER_MEMORY};
    const std::vector<Status> others = {YC_E_INVALID,  YC_E_CONFIG, YC_E_TOO_LARGE, YC_E_CLOSED,   YC_E_FORKED, YC_E_CANCELLED,
                                        YC_E_UNSUPPORTED, YC_E_DENIED, YC_E_SERVER,    YC_E_PROTOCOL, YC_E_PANIC,  YC_E_BUSY};
    const auto is_down = [](Status status, bool retryable) {
        yokedcache::detail::Read read;
        read.status = status;
        read.error = Error(status, "an error", retryable);
        return read.is_down();
    };
    for (const Status status : down) {
        CHECK(is_down(status, false) && is_down(status, true));
    }
    for (const Status status : others) {
        CHECK(!is_down(status, false) && is_down(status, true) == (status != YC_E_BUSY));
    }
}

void a_store_that_is_down_is_loaded_around() {
    if (on_memory()) {
        return;
    }
    const std::string scheme = given_url().substr(0, given_url().find(':'));
    const std::string down = scheme + "://127.0.0.1:1?key_prefix=down&connect=lazy&socket_timeout=1s";
    without_a_store_callers_share_a_load(down);
    without_a_store_callers_share_a_load(down + "&fallback=memory");
}

// ---- Stale values ----

LoadOptions stale(std::chrono::milliseconds ttl = 20ms, std::chrono::milliseconds stale_for = 1h) {
    LoadOptions options = patient(ttl, {"t"});
    options.stale_for = stale_for;
    return options;
}

// The time after which an entry with a short time to live has expired on all backends.
void expire() {
    std::this_thread::sleep_for(on_memory() ? 40ms : 60ms);
}

void a_stale_value_is_refreshed_in_the_background() {
    Cache cache = fresh();
    Source source;
    Held held;
    CHECK(cache.get_or_load("a", source.loader(), stale())->text() == "1");
    expire();
    source.row = 2;
    const std::thread::id here = std::this_thread::get_id();
    const auto load = [&](Fill &fill) {
        CHECK(std::this_thread::get_id() != here && fill.key() == "a");
        fill.ttl = 1h;
        held.wait();
        return source.load();
    };
    CHECK(cache.get_or_load("a", load, stale())->text() == "1" && held.has_begun());
    CHECK(cache.get_or_load("a", load, stale())->text() == "1" && source.loads == 1);
    held.released = true;
    CHECK(eventually([&] { return cache.exists("a"); }) && cache.get("a")->text() == "2" && source.loads == 2);
}

void an_invalidated_value_is_not_stale() {
    Cache cache = fresh();
    for (const Change &change : changes(cache)) {
        Source source;
        CHECK(cache.get_or_load("a", source.loader(), stale())->text() == "1");
        expire();
        source.row = 2;
        change(cache);
        CHECK(cache.get_or_load("a", source.loader(), stale())->text() == "2");
        cache.remove("a");
    }
    Source source;
    CHECK(cache.get_or_load("b", source.loader(), stale(20ms, 20ms))->text() == "1");
    std::this_thread::sleep_for(2200ms);
    source.row = 2;
    CHECK(cache.get_or_load("b", source.loader(), stale())->text() == "2");
}

void a_failed_refresh_returns_the_stale_value() {
    Cache cache = fresh();
    Source source;
    std::atomic<int> failed{0};
    cache.get_or_load("a", source.loader(), stale());
    expire();
    const auto failing = [&](Fill &) -> std::string {
        ++failed;
        throw 7;
    };
    LoadOptions options = stale();
    options.retry_after = 1h;
    CHECK(cache.get_or_load("a", failing, options)->text() == "1" && eventually([&] { return failed == 1; }));
    let_join();
    CHECK(cache.get_or_load("a", failing, options)->text() == "1");
    let_join();
    CHECK(failed == 1);
}

void a_stale_value_replaces_an_error() {
    Cache cache = fresh();
    Source source;
    LoadOptions options = stale(20ms);
    options.stale_if_error = true;
    CHECK(cache.get_or_load("a", source.loader(), options)->text() == "1");
    expire();
    Held held;
    const auto failing = [&](Fill &) -> std::string {
        held.wait();
        throw 7;
    };
    std::thread leader([&] { CHECK(cache.get_or_load("a", failing, options)->text() == "1"); });
    CHECK(held.has_begun());
    std::thread waiter([&] { CHECK(cache.get_or_load("a", failing, options)->text() == "1"); });
    let_join();
    held.released = true;
    leader.join();
    waiter.join();
    source.row = 2;
    CHECK(cache.get_or_load("a", source.loader(), options)->text() == "2");
}

// A caller that waits for a load with a stale value in its hand reads again after an invalidation. The value is gone then,
// also for a load that fails, and while another caller holds the key back.
void an_invalidated_value_does_not_replace_an_error() {
    for (const bool is_held : {false, true}) {
        Cache cache = fresh();
        LoadOptions options = stale(20ms);
        options.tags = {"t"};
        options.stale_if_error = true;
        options.wait = 20s;
        cache.get_or_load("a", [](Fill &) { return "old"; }, options);
        expire();
        Held held;
        std::thread leader([&] {
            const auto slow = [&](Fill &) { held.wait(); return "old, too"; };
            CHECK(cache.get_or_load("a", slow, options)->text() == "old, too");
        });
        CHECK(held.has_begun());
        int thrown = 0;
        Status status = YC_OK;
        std::thread waiter([&] {
            try {
                const auto failing = [&](Fill &) -> std::string { throw 7; };
                status = thrown_by([&] { cache.get_or_load("a", failing, options); });
            } catch (int number) {
                thrown = number;
            }
        });
        let_join();
        cache.invalidate_tag("t");
        if (is_held) {
            Lookup found = cache.get_or_lease("a", {{}, 0ms, 0ms});
            CHECK(found.lease.has_value());
            found.lease->abandon(1h);
        }
        held.released = true;
        leader.join();
        waiter.join();
        CHECK(is_held ? status == YC_E_BUSY : thrown == 7);
    }
}

void an_executor_runs_refreshes() {
    Cache cache = fresh();
    Source source;
    std::vector<std::function<void()>> tasks;
    LoadOptions options = stale();
    options.executor = [&](std::function<void()> task) { tasks.push_back(std::move(task)); };
    const auto renew = [&](const char *key) {
        CHECK(cache.get_or_load(key, source.loader(), options)->text() == "1");
        expire();
        CHECK(cache.get_or_load(key, source.loader(), options)->text() == "1");
    };
    renew("a");
    CHECK(tasks.size() == 1 && source.loads == 1);
    // A task that is dropped leaves its key to another caller.
    tasks.clear();
    CHECK(eventually([&] { return cache.get_or_load("a", source.loader(), options) && !tasks.empty(); }));
    options.executor = [](std::function<void()>) { throw 7; };
    renew("b");
    // A task that begins after its cache was destroyed does not load.
    cache = Cache();
    for (const std::function<void()> &task : tasks) {
        task();
    }
    CHECK(source.loads == 2);
}

// A refresh that begins after its lease is over, or after its cache was closed, could not store its value: it does not load.
void a_refresh_that_is_late_does_not_load() {
    for (const bool is_closed : {false, true}) {
        Cache cache = fresh();
        Source source;
        std::vector<std::function<void()>> tasks;
        LoadOptions options = stale();
        options.executor = [&](std::function<void()> task) { tasks.push_back(std::move(task)); };
        options.lease = is_closed ? 1h : 50ms;
        cache.get_or_load("a", source.loader(), options);
        expire();
        CHECK(cache.get_or_load("a", source.loader(), options)->text() == "1" && tasks.size() == 1);
        is_closed ? cache.close() : std::this_thread::sleep_for(100ms);
        tasks.front()();
        CHECK(source.loads == 1);
    }
}

// Refreshes that wait for a thread are limited in number: one too many gives its lease back.
void the_refreshes_that_wait_are_limited() {
    yokedcache::detail::Workers workers;
    Held held;
    std::atomic<int> run{0};
    const auto kept = std::make_shared<int>(0);
    const std::size_t most = yokedcache::detail::Workers::most_tasks;
    for (std::size_t number = 0; number < 2 * most; ++number) {
        workers.run([&run, &held, kept] {
            held.wait();
            ++run;
        }, nullptr);
    }
    // At most four of them run.
    CHECK(kept.use_count() <= static_cast<long>(most) + 5);
    held.released = true;
    CHECK(eventually([&] { return kept.use_count() == 1; }) && run >= static_cast<int>(most));
    workers.end();
}

// ---- The end of a cache, and one that moves ----

void a_close_ends_waits() {
    Cache cache = fresh();
    Held held;
    const auto slow = [&](Fill &fill) {
        CHECK(!fill.cancelled());
        held.wait();
        CHECK(fill.cancelled());
        return std::string("1");
    };
    Status leader_got = YC_OK;
    std::thread leader([&] { leader_got = thrown_by([&] { cache.get_or_load("a", slow, patient()); }); });
    CHECK(held.has_begun());
    Status waiter_got = YC_OK;
    std::thread waiter([&] { waiter_got = thrown_by([&] { cache.get_or_load("a", slow, patient()); }); });
    let_join();
    cache.close();
    waiter.join();
    CHECK(waiter_got == YC_E_CLOSED);
    held.released = true;
    leader.join();
    CHECK(leader_got == YC_E_CLOSED);
}

// A close gives the leases of running loads, and of refreshes that have not begun, to other caches at once.
void a_close_gives_leases_back() {
    if (on_memory()) {
        return;
    }
    const std::string url = fresh_url() + "&lease=60s";
    Cache cache = Cache::open(url), other = Cache::open(url);
    Source source;
    std::vector<std::function<void()>> tasks;
    LoadOptions queued = stale();
    queued.executor = [&](std::function<void()> task) { tasks.push_back(std::move(task)); };
    cache.get_or_load("running", source.loader(), stale());
    cache.get_or_load("queued", source.loader(), stale());
    expire();
    Held held, background;
    std::thread leader([&] {
        const auto slow = [&](Fill &) { held.wait(); return "late"; };
        CHECK(thrown_by([&] { cache.get_or_load("vacant", slow, patient()); }) == YC_E_CLOSED);
    });
    cache.get_or_load("running", [&](Fill &) { background.wait(); return "late"; }, stale());
    cache.get_or_load("queued", source.loader(), queued);
    CHECK(held.has_begun() && background.has_begun() && tasks.size() == 1);
    cache.close();
    for (const char *key : {"vacant", "running", "queued"}) {
        Error error;
        const Lookup found = other.get_or_lease(key, {{}, 0ms, 0ms}, error);
        CHECK(found.lease && !error);
    }
    held.released = background.released = true;
    leader.join();
}

// So does the end of a cache that was not closed, for refreshes that wait in an executor of the program.
void the_destructor_gives_leases_back() {
    if (on_memory()) {
        return;
    }
    const std::string url = fresh_url() + "&lease=60s";
    Cache other = Cache::open(url);
    std::vector<std::function<void()>> tasks;
    Source source;
    {
        Cache cache = Cache::open(url);
        LoadOptions queued = stale();
        queued.executor = [&](std::function<void()> task) { tasks.push_back(std::move(task)); };
        cache.get_or_load("a", source.loader(), queued);
        expire();
        cache.get_or_load("a", source.loader(), queued);
        CHECK(tasks.size() == 1);
    }
    Lookup found = {};
    CHECK(eventually([&] {
        if (!found.lease) {
            found = other.get_or_lease("a", {{}, 0ms, 0ms});
        }
        return found.lease.has_value();
    }));
    tasks.front()();
    CHECK(source.loads == 1);
}

// Starts a refresh that runs until it is cancelled.
void start_refresh(Cache &cache, std::atomic<int> &stage) {
    Source source;
    cache.get_or_load("a", source.loader(), stale());
    expire();
    cache.get_or_load("a", [&stage](Fill &fill) {
        stage = 1;
        CHECK(eventually([&] { return stage == 3 || fill.cancelled(); }));
        stage = 2;
        return std::string("2");
    }, stale());
    CHECK(eventually([&] { return stage == 1; }));
}

void the_destructor_waits_for_a_refresh() {
    std::atomic<int> stage{0};
    {
        Cache cache = fresh();
        start_refresh(cache, stage);
    }
    CHECK(stage == 2);
    stage = 0;
    Cache cache = fresh();
    start_refresh(cache, stage);
    cache = fresh();
    CHECK(stage == 2);
}

void a_moved_cache_keeps_its_loads() {
    std::atomic<int> stage{0};
    Cache cache = fresh();
    start_refresh(cache, stage);
    Cache moved = std::move(cache);
    CHECK(stage == 1 && moved.get_or_load("a", [](Fill &) { return "3"; }, stale())->text() == "1");
    stage = 3;
    CHECK(eventually([&] { return stage == 2; }));
    CHECK(eventually([&] { return moved.get_or_lease("a").value->view() == "2"; }));
    Cache &same = moved;
    moved = std::move(same);
    CHECK(moved.get_or_load("b", [](Fill &) { return "4"; })->text() == "4");
}

// A refresh may own the cache, and end it.
void a_refresh_may_end_its_cache() {
    auto cache = std::make_shared<Cache>(fresh());
    const std::weak_ptr<Cache> watched = cache;
    Source source;
    cache->get_or_load("a", source.loader(), stale());
    expire();
    const auto held = std::make_shared<Held>();
    cache->get_or_load("a", [cache, held](Fill &) {
        held->wait();
        return std::string("2");
    }, stale());
    CHECK(held->has_begun());
    cache.reset();
    held->released = true;
    CHECK(eventually([&] { return watched.expired(); }));
}

void a_forked_child_can_end() {
    auto cache = std::make_unique<Cache>(fresh());
    Source source;
    cache->get_or_load("a", source.loader(), stale());
    expire();
    cache->get_or_load("a", source.loader(), stale());
    CHECK(eventually([&] { return source.loads == 2; }));
    const pid_t child = fork();
    if (child == 0) {
        const Status status = thrown_by([&] { cache->get_or_load("a", source.loader()); });
        cache.reset();
        _exit(status == YC_E_FORKED ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

// ---- Many keys ----

using Rows = std::map<std::string, std::string>;

// Loads key by key, and remembers which keys.
auto loads_rows(std::vector<std::string> &loaded) {
    return [&loaded](Fill &fill) {
        Rows rows;
        for (const std::string_view key : fill.keys()) {
            loaded.emplace_back(key);
            if (key != "none") {
                rows[std::string(key)] = "of " + std::string(key);
            }
        }
        return rows;
    };
}

void many_keys_are_loaded_in_one_call() {
    Cache cache = fresh();
    cache.set("b", "known");
    std::vector<std::string> loaded;
    int calls = 0;
    const auto load = [&](Fill &fill) {
        ++calls;
        fill.tags = {"all"};
        fill.for_key("c").tags = {"only-c"};
        fill.for_key("c").ttl = 2h;
        return loads_rows(loaded)(fill);
    };
    auto values = cache.get_or_load_many({"a", "b", "none", "c", "a"}, load, {1h, {"t"}});
    CHECK(calls == 1 && loaded == std::vector<std::string>({"a", "none", "c"}));
    CHECK(values.size() == 5 && values[0]->view() == "of a" && values[1]->view() == "known" && !values[2]);
    CHECK(values[3]->view() == "of c" && values[4]->view() == "of a");
    Error error;
    values = cache.get_or_load_many({"c", "none", "a"}, load, {1h, {"t"}}, error);
    CHECK(!error && calls == 1 && values[0]->view() == "of c" && !values[1] && values[2]->view() == "of a");
    CHECK(cache.ttl("c")->time() > 1h && cache.ttl("a")->time() <= 1h);
    cache.invalidate_tag("only-c");
    CHECK(cache.exists("a") && !cache.exists("c"));
    cache.invalidate_tag("all");
    CHECK(!cache.exists("a") && cache.exists("b"));
    CHECK(cache.get_or_load_many({}, load).empty() && calls == 1);
    const std::vector<std::string> none;
    CHECK(cache.get_or_load_many(none, load, 5min).empty());
    const std::vector<std::pair<std::string, std::string>> other = {{"x", "1"}};
    CHECK(!cache.get_or_load_many({"y"}, [&](Fill &) { return other; })[0] && !cache.exists("x"));
}

void callers_with_crossed_keys_do_not_block() {
    Cache cache = fresh();
    std::atomic<int> loads{0}, calls{0};
    std::vector<std::string> keys;
    for (int number = 0; number < 20; ++number) {
        keys.push_back("k" + std::to_string(number));
    }
    at_once(8, [&](int thread) {
        std::vector<std::string> mine = keys;
        std::rotate(mine.begin(), mine.begin() + thread * 2, mine.end());
        thread % 2 == 1 ? std::reverse(mine.begin(), mine.end()) : void();
        const auto load = [&](Fill &fill) {
            std::this_thread::sleep_for(50ms);
            ++calls;
            loads += static_cast<int>(fill.keys().size());
            CHECK(!fill.keys().empty());
            std::vector<std::string> ignored;
            return loads_rows(ignored)(fill);
        };
        const auto values = cache.get_or_load_many(mine, load, patient());
        for (std::size_t index = 0; index < mine.size(); ++index) {
            CHECK(values[index] && values[index]->view() == "of " + mine[index]);
        }
    });
    CHECK(loads == 20 && calls <= 8);
}

void many_keys_meet_one() {
    Cache cache = fresh();
    Held held;
    std::thread leader([&] {
        CHECK(cache.get_or_load("b", [&](Fill &) { held.wait(); return "slow"; }, patient())->text() == "slow");
    });
    CHECK(held.has_begun());
    std::vector<std::string> loaded;
    std::thread many([&] {
        const auto values = cache.get_or_load_many({"a", "b", "c"}, loads_rows(loaded), patient());
        CHECK(values[0]->view() == "of a" && values[1]->view() == "slow" && values[2]->view() == "of c");
    });
    CHECK(eventually([&] { return cache.exists("a") && cache.exists("c"); }));
    held.released = true;
    leader.join();
    many.join();
    CHECK(loaded == std::vector<std::string>({"a", "c"}));
}

// A key that another holder gives up is loaded by another call of the loader.
void a_key_that_is_given_up_is_loaded() {
    Cache cache = fresh();
    Lookup held = cache.get_or_lease("b");
    std::vector<std::string> loaded;
    std::thread many([&] {
        const auto values = cache.get_or_load_many({"a", "b"}, loads_rows(loaded), patient());
        CHECK(values[0]->view() == "of a" && values[1]->view() == "of b");
    });
    CHECK(eventually([&] { return cache.exists("a"); }));
    let_join();
    held.lease->abandon();
    many.join();
    CHECK(loaded == std::vector<std::string>({"a", "b"}));
}

void many_stale_values_are_refreshed() {
    Cache cache = fresh();
    std::vector<std::string> loaded;
    cache.get_or_load_many({"a", "b"}, loads_rows(loaded), stale());
    expire();
    std::atomic<int> refreshed{0};
    const auto load = [&](Fill &fill) {
        Rows rows;
        fill.ttl = 1h;
        for (const std::string_view key : fill.keys()) {
            rows[std::string(key)] = "new";
        }
        refreshed += static_cast<int>(fill.keys().size());
        return rows;
    };
    const auto values = cache.get_or_load_many({"a", "b", "c"}, load, stale());
    CHECK(values[0]->view() == "of a" && values[1]->view() == "of b" && values[2]->view() == "new");
    CHECK(eventually([&] { return cache.exists("a") && cache.exists("b"); }) && refreshed == 3);
}

void an_exception_ends_a_load_of_many() {
    Cache cache = fresh();
    const auto failing = [](Fill &) -> Rows { throw std::runtime_error("rows"); };
    try {
        cache.get_or_load_many({"a", "b"}, failing);
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK(error.what() == std::string("rows"));
    }
    std::vector<std::string> loaded;
    CHECK(cache.get_or_load_many({"a", "b"}, loads_rows(loaded))[1]->view() == "of b" && loaded.size() == 2);
}

} // namespace

int main() {
    const auto begun = Clock::now();
    for (const auto test :
         {a_lease_is_the_right_to_load, a_value_is_loaded_once, an_absence_is_remembered, a_loader_sets_times_and_tags,
          no_value_is_older_than_a_change, readers_see_each_change, callers_share_a_load, caches_share_a_load,
          a_loader_that_does_not_return_is_replaced, a_wait_has_an_end, a_wait_is_that_of_the_configuration, a_value_that_is_being_stored_is_not_shared,
          a_load_without_a_lease_is_not_shared_with_who_reached_the_store,
          a_close_wakes_who_waits_for_a_load_that_gave_way, callers_share_a_value_that_cannot_be_stored,
          a_mistake_of_a_loader_reaches_all_that_wait, some_errors_mean_that_the_store_is_down, a_holder_that_does_nothing_is_followed, an_exception_reaches_all_that_wait,
          a_failure_holds_a_key_back, mistakes_are_refused, a_value_too_large_is_returned,
          a_store_that_is_down_is_loaded_around, a_stale_value_is_refreshed_in_the_background,
          an_invalidated_value_is_not_stale, a_failed_refresh_returns_the_stale_value, a_stale_value_replaces_an_error,
          an_invalidated_value_does_not_replace_an_error, an_executor_runs_refreshes, a_refresh_that_is_late_does_not_load, the_refreshes_that_wait_are_limited,
          a_close_ends_waits, a_close_gives_leases_back, the_destructor_gives_leases_back, the_destructor_waits_for_a_refresh,
          a_moved_cache_keeps_its_loads, a_refresh_may_end_its_cache, a_forked_child_can_end,
          many_keys_are_loaded_in_one_call, callers_with_crossed_keys_do_not_block, many_keys_meet_one,
          a_key_that_is_given_up_is_loaded, many_stale_values_are_refreshed, an_exception_ends_a_load_of_many}) {
        test();
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
    std::printf("%d checks failed after %lld ms\n", failures.load(), static_cast<long long>(took));
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
