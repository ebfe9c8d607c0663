// Checks yokedcache.hpp on values in the memory of the process; exits 1 when a check fails. On the cache of YC_TEST_URL with a
// near cache, or else on memory.

#include "check.hpp"

#include <yokedcache.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Batch;
using yokedcache::Bytes;
using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::Fresh;
using yokedcache::LeaseOptions;
using yokedcache::Lookup;
using yokedcache::OptionalValue;
using yokedcache::Queue;
using yokedcache::Status;

namespace {

// Two caches of one prefix, each with copies of its own. On memory they are one.
struct Caches {
    Caches() {
        static int number = 0;
        const char *given = std::getenv("YC_TEST_URL");
        std::string url = given == nullptr ? "memory://" : given;
        url += url.find('?') == std::string::npos ? "?" : "&";
        url += "key_prefix=cppnear" + std::to_string(getpid()) + "." + std::to_string(++number);
        url += given == nullptr ? "" : "&socket_timeout=10s&near=1h";
        cache = Cache::open(url);
        own_other = given == nullptr ? Cache() : Cache::open(url);
    }

    Cache &other() { return own_other ? own_other : cache; }

    Cache cache;
    Cache own_other;
};

// Reads a key until there is a copy: Redis tells also of the changes of the process itself, which removes a copy once more.
OptionalValue copy_of(const Cache &cache, Bytes key) {
    for (int attempt = 0; attempt < 2000; ++attempt) {
        CHECK(cache.get(key).has_value());
        if (OptionalValue copy = cache.get_near(key)) {
            return copy;
        }
        std::this_thread::sleep_for(5ms);
    }
    return OptionalValue();
}

void what_is_in_the_process_is_read_without_a_request() {
    Caches caches;
    Cache &cache = caches.cache;
    Error error;
    CHECK(!cache.get_near("a") && !cache.get_near("a", error) && !error);
    for (const std::string &value : {std::string("four"), std::string(), std::string(256, 'x'), std::string(100000, 'y')}) {
        cache.set("a", value);
        OptionalValue copy = copy_of(cache, "a");
        CHECK(copy && copy->view() == value && copy->size() == value.size() && copy->clone().text() == value);
    }
    CHECK(cache.remove("a") && !cache.get_near("a") && !cache.get_near("a", error) && !error);
    CHECK(thrown_by([&] { cache.get_near(""); }) == YC_E_INVALID);
    CHECK(!cache.get_near("", error) && error.status() == YC_E_INVALID);
}

void a_buffer_takes_what_is_in_the_process() {
    Caches caches;
    Cache &cache = caches.cache;
    Error error;
    char buffer[4] = {};
    CHECK(!cache.get_near_into("a", buffer, sizeof buffer) && !cache.get_near_into("a", buffer, 4, error) && !error);
    cache.set("a", "four");
    const auto read = [&](std::size_t capacity) {
        std::optional<std::size_t> length;
        for (int attempt = 0; attempt < 100 && !length; ++attempt) {
            copy_of(cache, "a");
            length = cache.get_near_into("a", buffer, capacity, error);
            CHECK(!error);
        }
        return length;
    };
    CHECK(read(3) == 4u && buffer[0] == '\0');
    CHECK(read(4) == 4u && std::string_view(buffer, 4) == "four");
    CHECK(thrown_by([&] { cache.get_near_into("", buffer, 4); }) == YC_E_INVALID);
}

void a_fresh_read_is_that_of_the_servers() {
    Caches caches;
    Cache &cache = caches.cache, &other = caches.other();
    Error error;
    CHECK(!cache.get("a", Fresh::yes) && !cache.get("a", Fresh::yes, error) && !error);
    cache.set("a", "old");
    CHECK(copy_of(cache, "a").has_value());
    other.set("a", "new");
    if ((cache.capabilities() & YC_CAN_SHARE) != 0 && (cache.capabilities() & YC_CAN_COMMAND) == 0) {
        // Memcached does not tell of the change.
        CHECK(cache.get("a")->text() == "old" && cache.get("a", Fresh::no)->text() == "old");
        Batch copies;
        copies.get("a");
        CHECK(cache.run(copies).front().value->view() == "old");
        CHECK(cache.get_or_lease("a").value->view() == "old");
    }
    const Lookup found = cache.get_or_lease("a", LeaseOptions{{}, {}, {}, Fresh::yes});
    CHECK(found.value && found.value->view() == "new" && !found.lease);
    other.set("a", "newer");
    Batch batch;
    batch.get("a", Fresh::yes);
    CHECK(cache.run(batch).front().value->view() == "newer");
    other.set("a", "newest");
    CHECK(cache.get("a", Fresh::yes)->text() == "newest" && cache.get("a", Fresh::yes, error)->text() == "newest" && !error);
}

void a_fresh_read_gives_leases_and_errors() {
    Caches caches;
    Cache &cache = caches.cache;
    Error error;
    LeaseOptions options;
    options.fresh = Fresh::yes;
    Lookup found = cache.get_or_lease("a", options);
    CHECK(found.lease && !found.value);
    found.lease->fill("loaded");
    CHECK(cache.get("a", Fresh::yes)->text() == "loaded");
    CHECK(thrown_by([&] { cache.get("", Fresh::yes); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.get_or_lease("", options); }) == YC_E_INVALID);
    CHECK(!cache.get("", Fresh::yes, error) && error.status() == YC_E_INVALID);
    CHECK(cache.get("a", Fresh::yes, error)->text() == "loaded" && !error);
    cache.close();
    CHECK(thrown_by([&] { cache.get("a", Fresh::yes); }) == YC_E_CLOSED);
    CHECK(thrown_by([&] { cache.get_or_lease("a", options); }) == YC_E_CLOSED);
    CHECK(thrown_by([&] { cache.get_near("a"); }) == YC_E_CLOSED);
    const Cache none;
    CHECK(thrown_by([&] { none.get("a", Fresh::yes); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { none.get_near("a"); }) == YC_E_INVALID);
}

void a_queue_reads_fresh_values_too() {
    Caches caches;
    Cache &cache = caches.cache;
    cache.set("a", "old");
    CHECK(copy_of(cache, "a").has_value());
    caches.other().set("a", "new");
    Queue queue = Queue::open(cache);
    Batch batch;
    batch.get("a", Fresh::yes);
    CHECK(queue.submit(batch).size() == 1);
    const auto completions = queue.wait();
    CHECK(completions.size() == 1 && completions.front().value && completions.front().value->view() == "new");
}

} // namespace

int main() {
    CHECK((Caches().cache.capabilities() & YC_CAN_NEAR) != 0);
    what_is_in_the_process_is_read_without_a_request();
    a_buffer_takes_what_is_in_the_process();
    a_fresh_read_is_that_of_the_servers();
    a_fresh_read_gives_leases_and_errors();
    a_queue_reads_fresh_values_too();
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
