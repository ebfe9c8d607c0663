// Checks the conditional writes, counters and commands of yokedcache.hpp; exits 1 when a check fails. On the cache of YC_TEST_URL, or
// else on memory.

#include "check.hpp"

#include <yokedcache.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>
#include <thread>

#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Batch;
using yokedcache::Cache;
using yokedcache::Completion;
using yokedcache::Condition;
using yokedcache::EntryInfo;
using yokedcache::Error;
using yokedcache::Idempotent;
using yokedcache::Outcome;
using yokedcache::Queue;
using yokedcache::Reply;
using yokedcache::ReplyView;
using yokedcache::Status;
using yokedcache::Ttl;
using yokedcache::Version;

namespace {

constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();

// An empty cache with a prefix of its own.
Cache fresh() {
    static int number = 0;
    const char *given = std::getenv("YC_TEST_URL");
    std::string url = given == nullptr ? "memory://" : given;
    url += url.find('?') == std::string::npos ? "?" : "&";
    url += "key_prefix=cpp" + std::to_string(getpid()) + "." + std::to_string(++number);
    url += url.rfind("memory:", 0) == 0 ? "" : "&socket_timeout=10s";
    Cache cache = Cache::open(url);
    cache.flush();
    return cache;
}

void a_read_tells_the_properties_of_an_entry() {
    Cache cache = fresh();
    cache.set("a", "v", {1h, {"t", "u"}});
    const EntryInfo info = cache.get_info("a").value();
    CHECK(info.value.text() == "v" && info.tag_count == 2 && info.ttl.time() > 59min && info.ttl.time() <= 1h);
    CHECK(info.age && *info.age >= 0ms && *info.age < 10min && info.version == cache.get_versioned("a")->version);
    CHECK(cache.get_info("a", 1h) && !cache.get_info("none") && !cache.get_info("none", 1h));
    cache.set("b", "v", Ttl::never());
    CHECK(cache.get_info("b")->ttl.is_never());
    CHECK(info.value.tags().empty() && yokedcache::Value().tags().empty());
    Cache naming = Cache::open("memory://?tag_names=true");
    naming.set("a", "v", {1h, {"users", "admins"}});
    CHECK((naming.get_info("a")->value.tags() == std::vector<std::string>{"users", "admins"}));
    CHECK(naming.get("a").value().tags().empty());
    Error error;
    CHECK(!cache.get_info("a", -1ms, error) && error.status() == YC_E_INVALID);
    CHECK(cache.get_info("a", 1h, error) && !error);
    std::this_thread::sleep_for(1100ms);
    CHECK(!cache.get_info("a", 1s, error) && !error && cache.get("a"));

    Batch batch;
    batch.get_info("a");
    batch.get_info("a", 1s);
    batch.get_info("none");
    const std::vector<Outcome> outcomes = cache.run(batch);
    CHECK(outcomes[0].value->text() == "v" && outcomes[0].tag_count == 2u && outcomes[0].version == info.version);
    CHECK(outcomes[0].age >= 1s && outcomes[0].ttl->time() > 59min);
    CHECK(outcomes[1].status == YC_MISS && !outcomes[1].value && !outcomes[1].age && outcomes[2].status == YC_MISS);
}

void a_version_is_of_one_set() {
    Cache cache = fresh();
    std::set<Version> seen;
    for (int at = 0; at < 100; ++at) {
        cache.set("a", "same");
        CHECK(seen.insert(cache.get_versioned("a")->version).second);
    }
    const Version version = cache.get_versioned("a")->version;
    CHECK(cache.get_and_expire("a", 1h)->text() == "same");
    CHECK(cache.ttl("a")->time() > 59min && cache.ttl("a")->time() <= 1h);
    CHECK(cache.expire("a", Ttl::never()) && cache.get_versioned("a")->version == version);
    Error error;
    CHECK(cache.get_versioned("a", error)->value.view() == "same" && !error);
    CHECK(!cache.get_versioned("b", error) && !error && !cache.get_and_expire("b", 1h, error) && !error);
}

void a_set_depends_on_its_condition() {
    Cache cache = fresh();
    CHECK(!cache.set_if("a", "0", Condition::present()) && !cache.exists("a"));
    const std::optional<Version> first = cache.set_if("a", "1", Condition::absent(), {1h, {"t"}});
    CHECK(first && cache.get_versioned("a")->version == *first && cache.ttl("a")->time() > 59min);
    CHECK(!cache.set_if("a", "2", Condition::absent()) && cache.get("a")->text() == "1");
    const std::optional<Version> second = cache.set_if("a", "3", Condition::version(*first), 1h);
    CHECK(second && *second != *first && cache.get("a")->text() == "3");
    Error error;
    CHECK(!cache.set_if("a", "4", Condition::version(*first), error) && !error);
    CHECK(cache.set_if("a", "5", Condition::present(), {1h, {"t"}}, error) && !error);
    cache.invalidate_tag("t");
    CHECK(!cache.set_if("a", "6", Condition::present(), 1h, error) && !error);
    CHECK(cache.set_if("a", "7", Condition::absent()) && cache.get("a")->text() == "7");
    cache.set("b", "1", 20ms);
    std::this_thread::sleep_for(1100ms);
    CHECK(cache.set_if("b", "2", Condition::absent()).has_value());
}

void a_removal_depends_on_its_version() {
    Cache cache = fresh();
    const Version version = *cache.set_if("a", "1", Condition::absent());
    cache.set("a", "1");
    CHECK(!cache.remove_if("a", version) && cache.exists("a"));
    Error error;
    CHECK(cache.remove_if("a", cache.get_versioned("a")->version, error) && !error && !cache.exists("a"));
    CHECK(!cache.remove_if("a", version, error) && !error);
}

void a_counter_is_a_number_with_a_deadline() {
    Cache cache = fresh();
    CHECK(cache.counter_add("n", 1, {1h, 100}) == 101 && cache.counter_add("n", -201, 2h) == -100);
    CHECK(cache.ttl("n")->time() <= 1h && cache.ttl("n")->time() > 59min && cache.get("n")->text() == "-100");
    cache.set("n", "41");
    CHECK(cache.counter_add("n", 1) == 42);
    CHECK(cache.counter_add("high", highest) == highest && cache.counter_add("low", lowest) == lowest);
    Error error;
    CHECK(cache.counter_add("high", 1, error) == 0 && error.status() == YC_E_INVALID);
    CHECK(cache.counter_add("low", -1, 1h, error) == 0 && error.status() == YC_E_INVALID);
    CHECK(cache.get("high")->text() == std::to_string(highest) && cache.counter_add("low", 0) == lowest);
    cache.set("text", "1 ");
    CHECK(thrown_by([&] { cache.counter_add("text", 1); }) == YC_E_INVALID && cache.get("text")->text() == "1 ");
    CHECK(cache.counter_add("never", 1, {Ttl::never()}, error) == 1 && !error && cache.ttl("never")->is_never());
}

void mistakes_are_refused() {
    Cache cache = fresh();
    CHECK(thrown_by([&] { cache.set_if("", "1", Condition::absent()); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.set_if("a", "1", Condition::absent(), 0s); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.set_if("a", "1", Condition::absent(), {{}, {""}}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_versioned(""); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.remove_if("", 1); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_and_expire("a", 0s); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.counter_add("a", 1, -1s); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.counter_add("a", 1, {{}, highest}); }) == YC_E_INVALID && !cache.exists("a"));
}

void commands_run_on_redis_only() {
    Cache cache = fresh();
    Error error;
    if ((cache.capabilities() & YC_CAN_COMMAND) == 0) {
        CHECK(thrown_by([&] { cache.redis_command({"PING"}); }) == YC_E_UNSUPPORTED);
        CHECK(cache.redis_name("a", error).empty() && error.status() == YC_E_UNSUPPORTED);
        return;
    }
    const std::string hash = cache.redis_name("hash");
    CHECK(cache.redis_command({"HSET", hash, "name", "Ada", "born", "1815"}, 1).integer() == 2);
    const Reply all = cache.redis_command({"HGETALL", hash}, 1);
    std::string joined;
    for (const ReplyView field : all.view()) {
        joined += std::string(field.string()) + ' ';
    }
    CHECK(joined == "name Ada born 1815 " && all.view()[9].is_nil());
    CHECK(cache.redis_command({"HGET", hash, "none"}, 1, error).is_nil() && !error);
    CHECK(cache.redis_command({"PING"}, error).text() == "PONG" && !error);
    CHECK(thrown_by([&] { cache.redis_command({"SELECT", "1"}); }) == YC_E_INVALID);
    CHECK(cache.redis_command({"GET"}, error).is_nil() && error.status() == YC_E_SERVER);
    Batch batch;
    batch.redis_command({"HLEN", std::string(hash)}, 1, Idempotent::yes);
    batch.redis_command({"DEL", hash}, 1);
    const auto outcomes = cache.run(batch);
    CHECK(outcomes[0].reply->integer() == 2 && outcomes[1].reply->integer() == 1 && !outcomes[0].value);
    Queue queue = Queue::open(cache);
    queue.submit(batch);
    for (std::size_t done = 0; done < 2;) {
        const std::vector<Completion> came = queue.wait(20s);
        done += came.empty() ? 2 : came.size();
        for (const Completion &completion : came) {
            CHECK(completion.reply && completion.reply->integer() == 0);
        }
    }
}

// The versions of two entries.
struct Versions {
    Version read;
    Version changed;
};

// Stores what the operations of one_of_each() find.
Versions prepare(Cache &cache) {
    cache.set("removed", "1");
    cache.set("expired", "text", 1h);
    cache.set("text", "text");
    return {*cache.set_if("read", "1", Condition::absent()), *cache.set_if("changed", "1", Condition::absent())};
}

// Each has a key of its own: a queue runs them in no order. The arguments are gone when they run.
Batch one_of_each(const Versions &versions) {
    Batch batch;
    batch.get_versioned(std::string("read"));
    batch.set_if(std::string("absent"), std::string(100, 'v'), Condition::absent(), {1h, {std::string("tag")}});
    batch.set_if("changed", "2", Condition::version(versions.changed), 1h);
    batch.set_if("none", "1", Condition::present());
    batch.remove_if("removed", versions.changed);
    batch.get_and_expire("expired", Ttl::never());
    batch.counter_add("counter", -3, {1h, 1});
    batch.counter_add("counter of an hour", 5, 1h);
    batch.counter_add("text", 1);
    batch.get_versioned("nothing");
    return batch;
}

// The outcomes in the order of the batch.
template <class Outcomes>
void check_outcomes(const Outcomes &outcomes, const Versions &versions) {
    CHECK(outcomes.size() == 10);
    CHECK(outcomes[0].value->view() == "1" && outcomes[0].version == versions.read && !outcomes[0].counter);
    CHECK(outcomes[1].version && !outcomes[1].value);
    CHECK(outcomes[2].version && outcomes[2].version != versions.changed);
    CHECK(outcomes[3].status == YC_UNMET && !outcomes[3].version && !outcomes[3].error);
    CHECK(outcomes[4].status == YC_UNMET && !outcomes[4].error);
    CHECK(outcomes[5].value->view() == "text" && !outcomes[5].version);
    CHECK(outcomes[6].counter == -2 && outcomes[7].counter == 5 && !outcomes[7].version);
    CHECK(outcomes[8].status == YC_E_INVALID && outcomes[8].error && !outcomes[8].counter);
    CHECK(outcomes[9].status == YC_MISS && !outcomes[9].version && !outcomes[9].value);
}

void check_entries(Cache &cache) {
    CHECK(cache.get("absent")->size() == 100 && cache.get("changed")->text() == "2" && cache.exists("removed"));
    CHECK(!cache.exists("none") && cache.get("text")->text() == "text");
    CHECK(cache.ttl("expired")->is_never() && cache.ttl("counter of an hour")->time() > 59min);
    cache.invalidate_tag("tag");
    CHECK(!cache.exists("absent"));
}

void a_batch_has_conditions_and_counters() {
    Cache cache = fresh();
    const Versions versions = prepare(cache);
    check_outcomes(cache.run(one_of_each(versions)), versions);
    check_entries(cache);
}

void a_queue_has_conditions_and_counters() {
    Cache cache = fresh();
    Queue queue = Queue::open(cache);
    const Versions versions = prepare(cache);
    const std::size_t count = queue.submit(one_of_each(versions)).size();
    std::vector<Completion> completions;
    while (completions.size() < count) {
        std::vector<Completion> came = queue.wait(20s);
        CHECK(!came.empty());
        std::move(came.begin(), came.end(), std::back_inserter(completions));
    }
    std::sort(completions.begin(), completions.end(),
              [](const Completion &one, const Completion &other) { return one.ticket < other.ticket; });
    CHECK(completions[6].kind == YC_OP_COUNTER_ADD);
    check_outcomes(completions, versions);
    check_entries(cache);
}

// Repeats an operation while other threads change its key at each attempt.
template <class Operation>
auto unless_busy(Operation operation) {
    for (;;) {
        Error error;
        auto result = operation(error);
        if (error.status() != YC_E_BUSY) {
            CHECK(!error);
            return result;
        }
    }
}

void replace_once(Cache &cache) {
    for (;;) {
        const std::optional<yokedcache::Versioned> found = cache.get_versioned("number");
        const std::string next = std::to_string(std::stoi(found->value.text()) + 1);
        const auto set = [&](Error &error) { return cache.set_if("number", next, Condition::version(found->version), error); };
        if (unless_busy(set)) {
            return;
        }
    }
}

void threads_lose_no_update() {
    Cache cache = fresh();
    cache.set("number", "0");
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&cache] {
            for (int turn = 0; turn < 25; ++turn) {
                unless_busy([&](Error &error) { return cache.counter_add("counter", 1, error); });
                replace_once(cache);
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(cache.get("counter")->text() == "100" && cache.get("number")->text() == "100");
}

} // namespace

int main() {
    a_read_tells_the_properties_of_an_entry();
    a_version_is_of_one_set();
    a_set_depends_on_its_condition();
    a_removal_depends_on_its_version();
    a_counter_is_a_number_with_a_deadline();
    mistakes_are_refused();
    commands_run_on_redis_only();
    a_batch_has_conditions_and_counters();
    a_queue_has_conditions_and_counters();
    threads_lose_no_update();
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
