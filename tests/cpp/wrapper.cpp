// Checks every function of yokedcache.hpp on the memory backend; exits 1 when a check fails.

#include "check.hpp"

#include <yokedcache.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#if __cplusplus >= 202002L
#include <span>
#endif

#include <poll.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Batch;
using yokedcache::Bytes;
using yokedcache::Cache;
using yokedcache::Completion;
using yokedcache::Condition;
using yokedcache::Count;
using yokedcache::Error;
using yokedcache::Keys;
using yokedcache::Queue;
using yokedcache::Status;
using yokedcache::Ticket;
using yokedcache::Ttl;
using yokedcache::Value;
using yokedcache::ViewOptions;

namespace {

Cache memory() {
    return Cache::open("memory://?max_size=100000");
}

static_assert(!std::is_copy_constructible_v<Cache> && std::is_nothrow_move_constructible_v<Cache>);
static_assert(!std::is_copy_constructible_v<Value> && std::is_nothrow_move_constructible_v<Value>);
static_assert(!std::is_copy_constructible_v<Keys> && !std::is_copy_constructible_v<yokedcache::Matches>);
static_assert(std::is_base_of_v<std::runtime_error, Error>);
static_assert(!std::is_convertible_v<std::chrono::microseconds, std::chrono::milliseconds>);

void a_value_comes_back_as_it_went_in() {
    Cache cache = memory();
    const std::string bytes("a\0\xff" "b", 4);
    cache.set(std::string("k\0ey", 4), bytes);
    CHECK(cache.get({"k\0ey", 4})->text() == bytes);
    CHECK(!cache.get("k"));
    cache.set("empty", "");
    CHECK(cache.get("empty") && cache.get("empty")->size() == 0);
    cache.set(std::string_view("view"), {bytes.data(), 1});
    CHECK(cache.get("view")->text() == "a");
}

void a_value_outlives_its_entry_and_its_cache() {
    Cache cache = memory();
    cache.set("a", "first");
    Value value = std::move(*cache.get("a"));
    cache.set("a", "second");
    Value second = value.clone();
    cache = Cache();
    Value moved = std::move(value);
    CHECK(moved.view() == "first" && second.view() == "first");
    CHECK(moved.data() == second.data());
    CHECK(moved && !value && value.view().empty() && !value.clone());
}

void a_miss_is_empty_and_no_error() {
    Cache cache = memory();
    Error error;
    char buffer[4];
    CHECK(!cache.get("a", error) && !error);
    CHECK(!cache.get_into("a", buffer, sizeof buffer, error) && !error);
    CHECK(!cache.ttl("a", error) && !error);
    CHECK(!cache.exists("a") && !cache.remove("a") && !cache.expire("a", 1s));
    CHECK(!cache.get("a") && !cache.get_into("a", buffer, sizeof buffer) && !cache.ttl("a"));
}

// Longer than what a std::string keeps in itself.
std::string long_text(const std::string &text) {
    return text + std::string(100, '-');
}

void options_own_their_tags() {
    Cache cache = memory();
    yokedcache::SetOptions options{5min, {long_text("users:"), std::string("short")}};
    const std::string other = long_text("other:");
    cache.set("a", "1", options);
    options = {5min, {long_text("users:") + "2", std::string_view(other)}};
    cache.set("b", "2", options);
    CHECK(cache.invalidate_tag(long_text("users:"), Count::yes) == 1u && !cache.exists("a") && cache.exists("b"));
    CHECK(cache.invalidate_tag(other, Count::yes) == 1u && !cache.exists("b"));

    cache.set("user:alice", "1", {5min, {long_text("people:")}});
    cache.set("user:alicf", "1", {5min, {long_text("others:")}});
    const yokedcache::SearchOptions search{50, 10, {long_text("people:")}};
    const yokedcache::Matches matches = cache.search("user:alice", search);
    CHECK(matches.size() == 1 && matches[0].key == "user:alice");
}

void many_tags_all_count() {
    Cache cache = memory();
    std::vector<std::string> tags;
    for (int at = 0; at < 40; ++at) {
        tags.push_back(long_text(std::to_string(at)));
    }
    for (const std::string &tag : tags) {
        cache.set("a", "1", {5min, tags});
        CHECK(cache.invalidate_tag(tag, Count::yes) == 1u && !cache.exists("a"));
    }
}

void a_batch_owns_what_it_was_given() {
    Cache cache = memory();
    Batch batch;
    batch.set(long_text("key"), long_text("value"), {5min, {long_text("tag")}});
    batch.set("short", std::string("v"), 5min);
    batch.get(long_text("key"));
    batch.invalidate_tags({long_text("tag")}, Count::yes);
    Batch moved = std::move(batch);
    const std::vector<yokedcache::Outcome> outcomes = cache.run(moved);
    CHECK(outcomes.size() == 4 && outcomes[2].value && outcomes[2].value->view() == long_text("value"));
    CHECK(outcomes[3].removed == 1u && cache.get("short")->text() == "v");

    std::vector<yokedcache::Entry> entries;
    entries.push_back({long_text("many"), long_text("one")});
    entries.push_back({"many", std::string_view("two")});
    cache.set_many(entries);
    CHECK(cache.get(long_text("many"))->text() == long_text("one") && cache.get("many")->text() == "two");

    Queue queue = Queue::open(cache);
    CHECK(queue.submit(moved).size() == 4);
    CHECK(queue.set_many({{long_text("queued"), long_text("one")}}, {5min, {long_text("tag")}}).has_value());
    CHECK(queue.get_many({long_text("queued")}).has_value());
    queue.close();
}

void a_null_pointer_is_refused() {
    Cache cache = memory();
    const char *const null = nullptr;
    CHECK(thrown_by([&] { cache.set("a", null); }) == YC_E_INVALID && !cache.exists("a"));
    CHECK(thrown_by([&] { cache.get(null); }) == YC_E_INVALID);
    bool thrown = false;
    try {
        cache.set("a", "1", {5min, {null}});
    } catch (const std::invalid_argument &) {
        thrown = true;
    }
    CHECK(thrown && !cache.exists("a"));
}

// A key, tag and value of one type.
template <class Type>
void check_round_trip(const Type &given, std::string_view wanted) {
    Cache cache = memory();
    cache.set(given, given, {5min, {given}});
    CHECK(cache.get(given)->text() == wanted && cache.get(wanted)->text() == wanted);
    CHECK(cache.get_many({given})[0]->text() == wanted);
    CHECK(cache.invalidate_tag(given, Count::yes) == 1u && !cache.exists(given));
    const yokedcache::Entry entry{given, given};
    cache.set_many({entry});
    CHECK(cache.remove_many({given}) == 1);
}

void keys_and_values_are_any_bytes() {
    const unsigned char plain[] = {1, 0, 255};
    const std::string_view wanted("\x01\0\xff", 3);
    check_round_trip(std::string(wanted), wanted);
    check_round_trip(wanted, wanted);
    check_round_trip("literal", "literal");
    check_round_trip(std::vector<std::byte>{std::byte{1}, std::byte{0}, std::byte{255}}, wanted);
    check_round_trip(std::vector<unsigned char>{1, 0, 255}, wanted);
    check_round_trip(std::vector<char>{1, 0, '\xff'}, wanted);
    check_round_trip(std::array<std::uint8_t, 3>{1, 0, 255}, wanted);
    check_round_trip(plain, wanted);
#if __cplusplus >= 202002L
    check_round_trip(std::as_bytes(std::span(plain)), wanted);
    check_round_trip(std::span<const std::uint8_t>(plain), wanted);
    check_round_trip(std::u8string(u8"text"), "text");
#endif
    Cache cache = memory();
    cache.set("empty", std::vector<std::byte>{});
    CHECK(cache.get("empty") && cache.get("empty")->size() == 0);
}

void set_takes_a_time_or_an_error_in_place_of_options() {
    Cache cache = memory();
    Error error;
    cache.set("a", "1", 5min);
    CHECK(cache.ttl("a")->time() > 4min && cache.ttl("a")->time() <= 5min);
    cache.set("a", "1", 1s, error);
    CHECK(!error && cache.ttl("a")->time() <= 1s);
    cache.set("a", "1", Ttl::never());
    CHECK(cache.ttl("a")->is_never());
    cache.set("a", "2", error);
    CHECK(!error && cache.get("a")->text() == "2" && !cache.ttl("a")->is_never());
    cache.set("", "1", error);
    CHECK(error.status() == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.set("a", "1", 0s); }) == YC_E_INVALID);
    cache.set_many({{"a", "1"}}, 1h);
    CHECK(cache.ttl("a")->time() > 59min);
    cache.set_many({{"a", "1"}, {"b", "2"}}, error);
    CHECK(!error && cache.get("b")->text() == "2");
}

void many_keys_are_any_range() {
    Cache cache = memory();
    const std::vector<std::string> keys{"a", "b"};
    const std::set<std::string_view> ordered{"a", "b"};
    const std::map<std::string, std::string> entries{{"a", "1"}, {"b", "2"}};
    const std::vector<std::pair<std::string_view, std::vector<std::byte>>> pairs{{"c", {std::byte{'3'}}}};
    Error error;
    std::vector<Status> statuses;
    cache.set_many(entries, {5min, keys});
    cache.set_many(pairs);
    CHECK(cache.get_many(keys)[1]->text() == "2" && cache.get_many(ordered)[0]->text() == "1");
    CHECK(cache.get_many(keys, statuses, error).size() == 2 && statuses == std::vector<Status>(2, YC_OK));
    CHECK(cache.get_many(std::vector<Bytes>{"c"})[0]->text() == "3" && cache.get_many({}).empty());
    CHECK(cache.remove_many(std::array<const char *, 2>{"c", "d"}) == 1);
    CHECK(cache.invalidate_tags(keys, Count::yes) == 2u);
}

void get_into_says_the_length_it_needs() {
    Cache cache = memory();
    cache.set("a", "four");
    char buffer[4] = {};
    CHECK(cache.get_into("a", buffer, 3) == 4u && buffer[0] == '\0');
    CHECK(cache.get_into("a", nullptr, 0) == 4u);
    CHECK(cache.get_into("a", buffer, 4) == 4u && std::string_view(buffer, 4) == "four");
    Error error;
    CHECK(cache.get_into("a", buffer, 3, error) == 4u && !error && error.status() == YC_OK);
}

void entries_are_there_until_they_are_removed() {
    Cache cache = memory();
    cache.set("a", "1");
    CHECK(cache.exists("a") && cache.remove("a") && !cache.exists("a"));
    Error error;
    cache.set("a", "1", {}, error);
    CHECK(!error && cache.exists("a", error) && cache.remove("a", error) && !error);
}

void a_ttl_is_default_never_or_exact() {
    static_assert(Ttl().ttl_ms() == YC_TTL_DEFAULT && Ttl().is_default());
    static_assert(Ttl::never().ttl_ms() == YC_TTL_NEVER && Ttl::never().is_never());
    static_assert(Ttl(2s).ttl_ms() == 2000 && Ttl(2s).time() == 2s && !Ttl(0s).is_never());
    Cache cache = memory();
    cache.set("a", "1", {Ttl::never()});
    CHECK(cache.ttl("a")->is_never());
    CHECK(cache.expire("a", 1h) && cache.ttl("a")->time() > 59min && cache.ttl("a")->time() <= 1h);
    Error error;
    CHECK(cache.expire("a", Ttl(), error) && !error && cache.ttl("a", error)->time() <= 300s && !error);
    cache.set("b", "1", {20ms});
    std::this_thread::sleep_for(40ms);
    CHECK(!cache.get("b"));
}

void a_ttl_that_has_run_out_is_refused_and_not_for_ever() {
    Cache cache = memory();
    CHECK(thrown_by([&] { cache.set("a", "1", {0ms}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.set("a", "1", {-1ms}); }) == YC_E_INVALID);
    CHECK(!cache.exists("a"));
}

std::set<std::string> all(Keys keys) {
    std::set<std::string> found;
    for (std::string_view key : keys) {
        CHECK(found.insert(std::string(key)).second);
    }
    return found;
}

void tags_and_patterns_invalidate() {
    Cache cache = memory();
    cache.set("a", "1", {{}, {"red", "round"}});
    cache.set("b", "2", {1min, {"red"}});
    cache.set("c", "3");
    CHECK(cache.invalidate_tag("red", Count::yes) == 2u);
    CHECK(!cache.get("a") && !cache.get("b") && cache.get("c"));
    CHECK(!cache.invalidate_tag("red"));
    cache.set("a", "1", {{}, {"red"}});
    cache.set("b", "1", {{}, {"blue"}});
    CHECK(cache.invalidate_tags({"red", "blue"}, Count::dry_run) == 2u && cache.invalidate_tag("red", Count::dry_run) == 1u);
    CHECK(all(cache.keys("*", {"blue", "none"})) == std::set<std::string>{"b"} && all(cache.keys("?", std::vector<std::string>())).size() == 3);
    CHECK(cache.invalidate_pattern("?", Count::dry_run) == 3u && cache.flush(Count::dry_run) == 3u);
    CHECK(cache.invalidate_tags({"red", "blue"}, Count::yes) == 2u);
    CHECK(cache.invalidate_pattern("x*", Count::yes) == 0u && cache.invalidate_pattern("?", Count::yes) == 1u);
    cache.set("a", "1");
    CHECK(cache.flush(Count::yes) == 1u && !cache.exists("a"));
}

void removals_without_exceptions() {
    Cache cache = memory();
    Error error;
    cache.set("a", "1", {{}, {"t"}});
    CHECK(cache.invalidate_tag("t", Count::yes, error) == 1u && !error);
    CHECK(cache.invalidate_tags({"t"}, Count::yes, error) == 0u && !error);
    CHECK(cache.invalidate_pattern("*", Count::yes, error) == 0u && !error);
    CHECK(!cache.flush(Count::no, error) && !error);
    CHECK(!cache.invalidate_tag("", Count::yes, error) && error.status() == YC_E_INVALID);
    CHECK(!cache.invalidate_tag("", Count::dry_run, error) && error.status() == YC_E_INVALID);
    CHECK(cache.flush(Count::dry_run, error) == 0u && !error);
    CHECK(!Cache().flush(Count::dry_run, error) && error.status() == YC_E_INVALID);
}

void keys_are_listed_once_over_all_pages() {
    Cache cache = memory();
    CHECK(all(cache.keys()).empty());
    for (int number = 0; number < 2000; ++number) {
        cache.set("key:" + std::to_string(number), "v");
    }
    cache.set("other", "v");
    CHECK(all(cache.keys()).size() == 2001 && all(cache.keys("key:*")).size() == 2000);
    CHECK(all(cache.keys("oth*")) == std::set<std::string>{"other"});
}

void keys_are_listed_page_by_page() {
    Cache cache = memory();
    cache.set("a", "v");
    cache.set("b", "v");
    Error error;
    Keys keys = cache.keys("*", error);
    std::set<std::string_view> found;
    while (std::optional<yokedcache::KeyPage> page = keys.next_page(1, error)) {
        CHECK(page->size() == 1 && *page->begin() == (*page)[0]);
        found.insert((*page)[0] == "a" ? "a" : "b");
    }
    CHECK(found.size() == 2 && !error);
    Keys rest = cache.keys();
    cache.close();
    CHECK(!rest.next_page(0, error) && error.status() == YC_E_CLOSED);
    CHECK(thrown_by([&] { all(std::move(rest)); }) == YC_E_CLOSED);
}

void a_search_finds_the_most_similar_first() {
    Cache cache = memory();
    cache.set("user:alice", "1", {{}, {"red"}});
    cache.set("user:alicia", "1");
    cache.set("order:9", "1");
    yokedcache::Matches matches = cache.search("alice");
    CHECK(matches.size() == 2 && !matches.empty());
    CHECK(matches[0].key == "user:alice" && matches[0].score > 99.9 && matches[1].score < matches[0].score);
    std::size_t seen = 0;
    for (yokedcache::Match match : matches) {
        seen += match.score >= YC_SEARCH_THRESHOLD ? 1 : 0;
    }
    CHECK(seen == 2);
    CHECK(cache.search("alice", {0, 1}).size() == 1);
    CHECK(cache.search("alice", {0, 10, {"red"}}).size() == 1);
    Error error;
    CHECK(cache.search("alice", {101}, error).empty() && error.status() == YC_E_INVALID);
}

void many_entries_in_one_call() {
    Cache cache = memory();
    cache.set_many({{"a", "1"}, {"b", "2"}, {"c", "3"}}, {1min, {"t"}});
    auto values = cache.get_many({"a", "missing", "c"});
    CHECK(values.size() == 3 && values[0]->view() == "1" && !values[1] && values[2]->view() == "3");
    CHECK(cache.ttl("b")->time() <= 1min);
    CHECK(cache.remove_many({"a", "missing", "c"}) == 2);
    CHECK(cache.invalidate_tag("t", Count::yes) == 1u);
    CHECK(cache.get_many({}).empty());
}

void many_entries_tell_each_key_apart() {
    Cache cache = memory();
    Error error;
    std::vector<Status> statuses;
    cache.set_many({{"a", "1"}, {"b", "2"}}, {}, statuses, error);
    CHECK((statuses == std::vector<Status>{YC_OK, YC_OK}) && !error);
    CHECK(cache.get_many({"a", "x"}, statuses, error).size() == 2);
    CHECK((statuses == std::vector<Status>{YC_OK, YC_MISS}) && !error);
    CHECK(cache.remove_many({"x", "b"}, statuses, error) == 1);
    CHECK((statuses == std::vector<Status>{YC_MISS, YC_OK}) && !error);
    cache.get_many({"a", ""}, statuses, error);
    CHECK((statuses == std::vector<Status>{YC_E_INVALID, YC_E_INVALID}) && error.status() == YC_E_INVALID);
    CHECK(cache.get_many({"a"}, error).size() == 1 && !error);
    cache.set_many({{"a", "1"}}, {}, error);
    CHECK(!error && cache.remove_many({"a"}, error) == 1);
}

// The tags and the batch are gone or moved when it runs: it keeps what it needs.
Batch one_of_each() {
    Batch first;
    first.set("a", "1", {1min, {"t"}});
    first.get("a");
    first.ttl("a");
    first.expire("a", Ttl::never());
    first.ttl("a");
    first.exists("missing");
    first.remove("missing");
    first.get("");
    first.invalidate_tags({"t"}, Count::yes);
    first.invalidate_pattern("*");
    first.flush(Count::yes);
    first.ping();
    Batch batch = std::move(first);
    return batch;
}

void a_batch_gives_each_operation_its_outcome() {
    Cache cache = memory();
    Batch batch = one_of_each();
    std::vector<yokedcache::Outcome> outcomes = cache.run(batch);
    CHECK(batch.size() == 12 && outcomes.size() == 12);
    CHECK(outcomes[0].status == YC_OK && !outcomes[0].value && !outcomes[0].removed);
    CHECK(outcomes[1].value->view() == "1" && !outcomes[1].error);
    CHECK(outcomes[2].ttl->time() > 59s && outcomes[4].ttl->is_never());
    CHECK(outcomes[3].status == YC_OK);
    CHECK(outcomes[5].status == YC_MISS && outcomes[6].status == YC_MISS);
    CHECK(outcomes[7].status == YC_E_INVALID && outcomes[7].error.status() == YC_E_INVALID);
    CHECK(outcomes[8].removed == 1u && outcomes[9].removed == 0u && outcomes[10].removed == 0u);
    CHECK(outcomes[11].status == YC_OK);
    CHECK(cache.run(Batch()).empty());
}

void a_cache_tells_of_itself() {
    Cache cache = memory();
    cache.set("a", "1");
    cache.get("a");
    CHECK(cache.stats().find("\"hits\":1") != std::string::npos);
    CHECK(cache.health().find("\"healthy\"") != std::string::npos);
    CHECK(cache.metrics().find("\nyokedcache_hits_total{backend=\"memory\",key_prefix=\"yokedcache\"} 1\n") != std::string::npos);
    cache.set("b", "1", {5min, {"t", "u"}});
    cache.invalidate_tag("t");
    CHECK(cache.explain("a").find("\"exists\":true") != std::string::npos);
    CHECK(cache.explain("b", {"t"}).find("\"name\":\"t\",\"status\":\"invalidated\"") != std::string::npos);
    CHECK(cache.explain("b").find("\"name\":\"t\"") == std::string::npos);
    Error refused;
    CHECK(cache.explain("", {}, refused).empty() && refused.status() == YC_E_INVALID);
    CHECK(cache.size().keys == 1 && cache.size().bytes > 0);
    CHECK((cache.capabilities() & YC_CAN_LIST) != 0 && (cache.capabilities() & YC_CAN_SHARE) == 0);
    cache.ping();
    yc_status status = yc_exists(cache.native(), "a", 1, nullptr);
    CHECK(status == YC_OK);
}

void errors_have_a_status_and_a_sentence() {
    Error error;
    CHECK(!error && error.status() == YC_OK && !error.retryable());
    Cache cache = Cache::open("memory://?max_sise=1", error);
    CHECK(!cache && error && error.status() == YC_E_CONFIG && !error.retryable());
    CHECK(std::string(error.what()).find("max_size") != std::string::npos);
    Error copy = error;
    cache = Cache::open("memory://", error);
    CHECK(cache && !error && copy.status() == YC_E_CONFIG);
    CHECK(thrown_by([] { Cache::open("nonsense://"); }) == YC_E_CONFIG);
    CHECK(yokedcache::status_name(YC_E_TIMEOUT) == "YC_E_TIMEOUT");
}

// A file with two environments, gone when the test is over.
class ConfigFile {
public:
    ConfigFile() {
        int descriptor = mkstemp(path_.data());
        std::ofstream(path_) << "cache:\n"
                                "  development: {backend: memory, memory: {key_prefix: dev}}\n"
                                "  production: {backend: memory, memory: {key_prefix: prod}}\n";
        close(descriptor);
    }
    ConfigFile(const ConfigFile &) = delete;
    ConfigFile &operator=(const ConfigFile &) = delete;
    ~ConfigFile() { std::remove(path_.c_str()); }

    const std::string &path() const { return path_; }

private:
    std::string path_ = "/tmp/yokedcache-wrapper-XXXXXX";
};

bool has_prefix(const Cache &cache, const std::string &prefix) {
    return cache.stats().find("\"key_prefix\":\"" + prefix + "\"") != std::string::npos;
}

void caches_open_from_files() {
    ConfigFile file;
    Error error;
    unsetenv("ENVIRONMENT");
    CHECK(has_prefix(Cache::open_file(file.path()), "dev"));
    CHECK(has_prefix(Cache::open_file(file.path(), "production"), "prod"));
    CHECK(has_prefix(Cache::open_file(file.path(), "production", error), "prod") && !error);
    CHECK(!Cache::open_file(file.path(), "staging", error) && error.status() == YC_E_CONFIG);
    CHECK(thrown_by([] { Cache::open_file("/nowhere/at/all.yaml"); }) == YC_E_CONFIG);
}

void caches_open_from_variables() {
    Error error;
    unsetenv("YOKEDCACHE_CONFIG");
    unsetenv("REDIS_URL");
    unsetenv("YOKEDCACHE_URL");
    CHECK(!Cache::open_env(error) && error.status() == YC_E_CONFIG);
    setenv("YOKEDCACHE_URL", "memory://?key_prefix=env", 1);
    CHECK(has_prefix(Cache::open_env(), "env"));
    CHECK(Cache::open_env(error) && !error);
    unsetenv("YOKEDCACHE_URL");
}

// Every function of a cache; each must answer with the same error.
void every_function_fails_with(Cache &cache, Status expected) {
    char byte = 0;
    CHECK(thrown_by([&] { cache.get("a"); }) == expected);
    CHECK(thrown_by([&] { cache.get_into("a", &byte, 1); }) == expected);
    CHECK(thrown_by([&] { cache.get("a", yokedcache::Fresh::yes); }) == expected);
    CHECK(thrown_by([&] { cache.get_near("a"); }) == expected);
    CHECK(thrown_by([&] { cache.get_near_into("a", &byte, 1); }) == expected);
    CHECK(thrown_by([&] { cache.set("a", "1"); }) == expected);
    CHECK(thrown_by([&] { cache.remove("a"); }) == expected);
    CHECK(thrown_by([&] { cache.exists("a"); }) == expected);
    CHECK(thrown_by([&] { cache.expire("a", 1s); }) == expected);
    CHECK(thrown_by([&] { cache.ttl("a"); }) == expected);
    CHECK(thrown_by([&] { cache.get_versioned("a"); }) == expected);
    CHECK(thrown_by([&] { cache.set_if("a", "1", Condition::absent()); }) == expected);
    CHECK(thrown_by([&] { cache.remove_if("a", 1); }) == expected);
    CHECK(thrown_by([&] { cache.get_and_expire("a", 1s); }) == expected);
    CHECK(thrown_by([&] { cache.counter_add("a", 1); }) == expected);
    CHECK(thrown_by([&] { cache.invalidate_tag("t"); }) == expected);
    CHECK(thrown_by([&] { cache.invalidate_tags({"t"}); }) == expected);
    CHECK(thrown_by([&] { cache.invalidate_pattern("*"); }) == expected);
    CHECK(thrown_by([&] { cache.flush(); }) == expected);
    CHECK(thrown_by([&] { all(cache.keys()); }) == expected);
    CHECK(thrown_by([&] { cache.search("a"); }) == expected);
    CHECK(thrown_by([&] { cache.get_many({"a"}); }) == expected);
    CHECK(thrown_by([&] { cache.set_many({{"a", "1"}}); }) == expected);
    CHECK(thrown_by([&] { cache.remove_many({"a"}); }) == expected);
    CHECK(thrown_by([&] { cache.run(one_of_each()); }) == expected);
    CHECK(thrown_by([&] { cache.stats(); }) == expected);
    CHECK(thrown_by([&] { cache.health(); }) == expected);
    CHECK(thrown_by([&] { cache.metrics(); }) == expected);
    CHECK(thrown_by([&] { cache.size(); }) == expected);
    CHECK(thrown_by([&] { cache.ping(); }) == expected);
    CHECK(thrown_by([&] { cache.capabilities(); }) == expected);
}

// The same, where nothing is thrown.
void every_function_reports(Cache &cache, Status expected) {
    Error error;
    const auto failed = [&] { return std::exchange(error, Error()).status() == expected; };
    char byte = 0;
    CHECK((cache.get("a", error), failed()));
    CHECK((cache.get_into("a", &byte, 1, error), failed()));
    CHECK((cache.get("a", yokedcache::Fresh::yes, error), failed()));
    CHECK((cache.get_near("a", error), failed()));
    CHECK((cache.get_near_into("a", &byte, 1, error), failed()));
    CHECK((cache.set("a", "1", {}, error), failed()));
    CHECK((cache.remove("a", error), failed()));
    CHECK((cache.exists("a", error), failed()));
    CHECK((cache.expire("a", 1s, error), failed()));
    CHECK((cache.ttl("a", error), failed()));
    CHECK((cache.get_versioned("a", error), failed()));
    CHECK((cache.set_if("a", "1", Condition::absent(), error), failed()));
    CHECK((cache.remove_if("a", 1, error), failed()));
    CHECK((cache.get_and_expire("a", 1s, error), failed()));
    CHECK((cache.counter_add("a", 1, error), failed()));
    CHECK((cache.invalidate_tag("t", Count::no, error), failed()));
    CHECK((cache.invalidate_tags({"t"}, Count::no, error), failed()));
    CHECK((cache.invalidate_pattern("*", Count::no, error), failed()));
    CHECK((cache.flush(Count::no, error), failed()));
    CHECK((cache.search("a", {}, error), failed()));
    CHECK((cache.get_many({"a"}, error), failed()));
    CHECK((cache.set_many({{"a", "1"}}, {}, error), failed()));
    CHECK((cache.remove_many({"a"}, error), failed()));
    CHECK((cache.run(one_of_each(), error), failed()));
    CHECK((cache.stats(error), failed()));
    CHECK((cache.health(error), failed()));
    CHECK((cache.metrics(error), failed()));
    CHECK((cache.size(error), failed()));
    CHECK((cache.ping(error), failed()));
    CHECK((cache.capabilities(error), failed()));
}

void a_closed_cache_gives_an_error() {
    Cache cache = memory();
    Error error;
    cache.close();
    cache.close(100ms);
    cache.close(100ms, error);
    CHECK(!error && cache);
    every_function_fails_with(cache, YC_E_CLOSED);
    every_function_reports(cache, YC_E_CLOSED);
}

void an_empty_cache_gives_an_error() {
    Cache cache = memory();
    Cache other = std::move(cache);
    CHECK(!cache && other && !Cache());
    every_function_fails_with(cache, YC_E_INVALID);
    every_function_reports(cache, YC_E_INVALID);
    CHECK(thrown_by([&] { cache.close(); }) == YC_E_INVALID);
    other.ping();
    cache = std::move(other);
    cache.ping();
}

void other_empty_handles_are_empty() {
    const Value value;
    const yokedcache::KeyPage page;
    const yokedcache::Matches matches;
    CHECK(value.size() == 0 && value.view().empty() && Value().text().empty());
    CHECK(page.size() == 0 && page[0].empty() && matches.empty() && matches[0].key.empty());
    CHECK(thrown_by([] { Keys().next_page(); }) == YC_E_INVALID);
}

// The one completion that comes next.
Completion next(Queue &queue) {
    std::vector<Completion> came = queue.wait(20s, 1);
    CHECK(came.size() == 1);
    return came.empty() ? Completion() : std::move(came[0]);
}

void a_queue_completes_what_was_submitted() {
    Cache cache = memory();
    Queue queue = Queue::open(cache);
    Batch batch;
    batch.set("a", "1", {5min, {"t"}});
    batch.get("a");
    batch.user_data(7);
    batch.ttl("a");
    batch.stats();
    batch.metrics();
    batch.get("");
    batch.explain("a", {"t"});
    std::vector<Ticket> tickets = queue.submit(batch);
    std::vector<Completion> came = queue.poll();
    CHECK(tickets.size() == 7 && came.size() == 7);
    for (std::size_t index = 0; index < came.size(); ++index) {
        CHECK(came[index].ticket == tickets[index] && came[index].user_data == (index == 1 ? 7u : 0u));
    }
    CHECK(came[0].status == YC_OK && came[0].kind == YC_OP_SET);
    CHECK(came[1].value->view() == "1" && came[1].statuses.empty() && !came[1].keys && !came[1].matches);
    CHECK(came[2].ttl->time() > 4min);
    CHECK(came[3].value->view().substr(0, 1) == "{");
    CHECK(came[4].value->view().substr(0, 6) == "# HELP");
    CHECK(came[5].status == YC_E_INVALID && came[5].error.status() == YC_E_INVALID);
    CHECK(came[6].kind == YC_OP_EXPLAIN && came[6].value->view().find("\"name\":\"t\"") != std::string_view::npos);
    CHECK(queue.poll().empty() && queue.wait(1ms).empty());
}

void a_queue_takes_many_keys_pages_and_searches() {
    Cache cache = memory();
    Queue queue = Queue::open(cache, 10);
    CHECK(queue.set_many({{"k1", "one"}, {"k2", ""}}, {5min, {"t"}}, 3).has_value());
    Completion stored = next(queue);
    CHECK(stored.user_data == 3 && stored.statuses == std::vector<Status>({YC_OK, YC_OK}) && stored.values.empty());
    CHECK(queue.get_many({"k1", "none", "k2"}).has_value());
    Completion found = next(queue);
    CHECK(found.statuses == std::vector<Status>({YC_OK, YC_MISS, YC_OK}));
    CHECK(found.values[0]->view() == "one" && !found.values[1] && found.values[2]->size() == 0);
    Keys keys = cache.keys("k*");
    CHECK(queue.next_page(keys).has_value());
    CHECK(next(queue).keys->size() == 2);
    CHECK(queue.next_page(keys).has_value());
    Completion end = next(queue);
    CHECK(end.status == YC_END && !end.keys && !end.error);
    CHECK(queue.search("k1", {50, 5, {"t"}}).has_value());
    const Completion searched = next(queue);
    CHECK((*searched.matches)[0].key == "k1");
    CHECK(queue.remove_many({"k1", "none"}).has_value());
    CHECK(next(queue).statuses == std::vector<Status>({YC_OK, YC_MISS}));
}

void a_full_queue_accepts_what_it_has_room_for() {
    Cache cache = memory();
    Queue queue = Queue::open(cache, 2);
    Batch batch;
    batch.get("a"), batch.get("b"), batch.get("c");
    CHECK(queue.submit(batch).size() == 2 && queue.submit(batch, 2).empty() && !queue.get_many({"a"}));
    CHECK(queue.poll(1).size() == 1 && queue.submit(batch, 2).size() == 1 && queue.poll().size() == 2);
    CHECK(queue.submit(batch, 99).empty());
}

void a_queue_has_a_descriptor_or_wakes() {
    Cache cache = memory();
    Queue queue = Queue::open(cache);
    Batch batch;
    batch.ping();
    queue.submit(batch);
    pollfd watched = {queue.fd(), POLLIN, 0};
    CHECK(::poll(&watched, 1, 0) == 1);
    queue.poll();
    CHECK(::poll(&watched, 1, 0) == 0);
    auto wakes = std::make_shared<std::atomic<int>>(0);
    Queue woken = Queue::open(cache, 0, [wakes] {
        ++*wakes;
        throw std::runtime_error("a throwing wake-up is harmless");
    });
    woken.submit(batch);
    woken.close();
    CHECK(*wakes == 1 && wakes.use_count() == 1 && woken.poll().size() == 1);
    Error error;
    CHECK(!Queue::open(Cache(), 0, [wakes] {}, error) && error.status() == YC_E_INVALID && wakes.use_count() == 1);
}

void a_queue_cancels_and_closes() {
    Cache cache = memory();
    Queue queue = Queue::open(cache);
    Batch batch;
    batch.invalidate_pattern("*");
    std::vector<Ticket> tickets = queue.submit(batch);
    bool cancelled = queue.cancel(tickets[0]);
    CHECK(!queue.cancel(tickets[0]) && !queue.cancel(0));
    CHECK(next(queue).status == (cancelled ? YC_E_CANCELLED : YC_OK));
    queue.submit(batch);
    queue.close();
    CHECK(next(queue).status == YC_OK);
    CHECK(thrown_by([&] { queue.poll(); }) == YC_E_CLOSED && thrown_by([&] { queue.wait(); }) == YC_E_CLOSED);
    CHECK(thrown_by([&] { queue.submit(batch); }) == YC_E_CLOSED);
    CHECK(thrown_by([&] { queue.get_many({}); }) == YC_E_CLOSED);
    Queue other = Queue::open(cache);
    cache.close();
    CHECK(thrown_by([&] { other.poll(); }) == YC_E_CLOSED && thrown_by([&] { Queue::open(cache); }) == YC_E_CLOSED);
    CHECK(!Queue() && thrown_by([] { Queue().poll(); }) == YC_E_INVALID && thrown_by([] { Queue().fd(); }) == YC_E_INVALID);
}

void log_lines_reach_a_function_that_is_released() {
    auto lines = std::make_shared<std::vector<std::string>>();
    yokedcache::set_log(YC_LOG_INFO, [lines](std::int32_t level, std::string_view line) {
        CHECK(level >= YC_LOG_ERROR && level <= YC_LOG_INFO);
        lines->emplace_back(line);
        throw std::runtime_error("a throwing log is harmless");
    });
    memory().close();
    CHECK(!lines->empty() && lines.use_count() == 2);
    Error error;
    yokedcache::set_log(99, [lines](std::int32_t, std::string_view) {}, error);
    CHECK(error.status() == YC_E_INVALID && lines.use_count() == 2);
    yokedcache::set_log(YC_LOG_OFF, nullptr);
    CHECK(lines.use_count() == 1);
    yokedcache::set_log(YC_LOG_OFF, [lines](std::int32_t, std::string_view) {});
    CHECK(lines.use_count() == 1);
}

void the_metrics_of_many_caches_are_one_text() {
    Cache one = memory();
    Cache two = Cache::open("memory://?key_prefix=two");
    two.set("a", "1");
    const std::string text = yokedcache::metrics_of({{"one", one}, {"t\"wo", two}});
    CHECK(text.find("\nyokedcache_sets_total{cache=\"one\",backend=\"memory\",key_prefix=\"yokedcache\"} 0\n"
                    "yokedcache_sets_total{cache=\"t\\\"wo\",backend=\"memory\",key_prefix=\"two\"} 1\n# ") != std::string::npos);
    CHECK(text.find("# TYPE yokedcache_sets_total") == text.rfind("# TYPE yokedcache_sets_total"));
    CHECK(yokedcache::metrics_of({}).empty());
    Error error;
    for (const std::string &name : {std::string(), std::string("one"), std::string("o\0ne", 4), std::string("\xff"), std::string(257, 'n')}) {
        CHECK(yokedcache::metrics_of({{"one", one}, {name, two}}, error).empty() && error.status() == YC_E_INVALID);
    }
    const Cache none;
    CHECK(thrown_by([&] { yokedcache::metrics_of({{"one", one}, {"none", none}}); }) == YC_E_INVALID);
    two.close();
    CHECK(yokedcache::metrics_of({{"two", two}}, error).empty() && !error);
    const std::vector<yokedcache::NamedCache> both = {{"one", one}, {"two", two}};
    CHECK(yokedcache::metrics_of(both).find("cache=\"two\"") == std::string::npos);
}

void the_library_is_of_this_headers_version() {
    Error error;
    yokedcache::check_abi();
    yokedcache::check_abi(error);
    CHECK(!error && yokedcache::version() == EXPECTED_VERSION);
}

} // namespace

void a_view_has_names_and_defaults_of_its_own() {
    Cache cache = memory();
    ViewOptions options;
    options.name_space = "users";
    options.timeout = 10s;
    options.default_ttl = 20s;
    options.tags = {"all", "a \"b\""};
    Cache users = cache.view(options);
    users.set("k", "user");
    cache.set("k", "plain");
    CHECK(users.get("k")->text() == "user" && cache.get("k")->text() == "plain");
    const auto left = users.ttl("k");
    CHECK(left && left->time() <= 20s);
    users.invalidate_tag("a \"b\"");
    CHECK(!users.get("k") && cache.get("k"));
    Cache plain = cache.view({});
    CHECK(plain.get("k")->text() == "plain");
    plain.close();
    CHECK(cache.exists("k"));
    ViewOptions limits;
    limits.max_age = 1ms;
    cache.set("k", "plain", 10s);
    std::this_thread::sleep_for(5ms);
    CHECK(!cache.view(limits).get("k"));
    limits.max_age = 10s;
    CHECK(cache.view(limits).get("k")->text() == "plain");
    CHECK(thrown_by([&] { cache.view({"a:b"}); }) == YC_E_CONFIG);
    CHECK(thrown_by([&] { users.view({"b"}); }) == YC_E_INVALID);
    Error error;
    CHECK(!users.view({"b"}, error) && error.status() == YC_E_INVALID);
    cache.flush();
    cache.close();
    CHECK(thrown_by([&] { users.get("k"); }) == YC_E_CLOSED);
}

int main() {
    a_value_comes_back_as_it_went_in();
    a_value_outlives_its_entry_and_its_cache();
    options_own_their_tags();
    many_tags_all_count();
    a_batch_owns_what_it_was_given();
    a_null_pointer_is_refused();
    keys_and_values_are_any_bytes();
    set_takes_a_time_or_an_error_in_place_of_options();
    many_keys_are_any_range();
    a_miss_is_empty_and_no_error();
    get_into_says_the_length_it_needs();
    entries_are_there_until_they_are_removed();
    a_ttl_is_default_never_or_exact();
    a_ttl_that_has_run_out_is_refused_and_not_for_ever();
    tags_and_patterns_invalidate();
    removals_without_exceptions();
    keys_are_listed_once_over_all_pages();
    keys_are_listed_page_by_page();
    a_search_finds_the_most_similar_first();
    many_entries_in_one_call();
    many_entries_tell_each_key_apart();
    a_batch_gives_each_operation_its_outcome();
    a_cache_tells_of_itself();
    errors_have_a_status_and_a_sentence();
    caches_open_from_files();
    caches_open_from_variables();
    a_closed_cache_gives_an_error();
    an_empty_cache_gives_an_error();
    other_empty_handles_are_empty();
    a_queue_completes_what_was_submitted();
    a_queue_takes_many_keys_pages_and_searches();
    a_full_queue_accepts_what_it_has_room_for();
    a_queue_has_a_descriptor_or_wakes();
    a_queue_cancels_and_closes();
    log_lines_reach_a_function_that_is_released();
    the_metrics_of_many_caches_are_one_text();
    a_view_has_names_and_defaults_of_its_own();
    the_library_is_of_this_headers_version();
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
