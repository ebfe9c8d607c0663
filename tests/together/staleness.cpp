// Reads numbered values through a near cache and writes some of them, from C++: see staleness.h. staleness URL FILE PROCESS MS

#include "staleness.h"

#include <yokedcache.hpp>

#include <array>
#include <chrono>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Error;

namespace {

table shared;

// ---- Reading ----

// Reads all keys once, and returns how many had a value.
template <typename Get> std::uint64_t read_keys(const char *call, Get get) {
    std::uint64_t found = 0;
    for (int key = 0; key < KEYS; ++key) {
        Error error;
        const place at = place_of(&shared, key);
        const yokedcache::OptionalValue value = get(std::string(at.name, at.name_len), error);
        if (value) {
            const std::string text = value->text();
            take_value(&shared, &at, text.data(), text.size(), call);
            ++found;
        } else {
            count(&shared, error ? ERRORS : MISSES, 1);
        }
    }
    count(&shared, READS, KEYS);
    return found;
}

// Reads copies only, and so never waits.
void look(const Cache &cache) {
    while (!is_ending(&shared)) {
        const auto get = [&](const std::string &name, Error &error) { return cache.get_near(name, error); };
        count(&shared, COPIES, read_keys("get_near", get));
        std::this_thread::sleep_for(200us);
    }
}

void ask(const Cache &cache) {
    while (!is_ending(&shared)) {
        read_keys("get", [&](const std::string &name, Error &error) { return cache.get(name, error); });
        std::this_thread::sleep_for(200us);
    }
}

// ---- Writing ----

std::array<std::uint64_t, KEYS> numbers, generations;

std::string name_of(int key) { return "key-" + std::to_string(key) + "." + std::to_string(generations[key]); }

std::string tag_of(int key) { return "tag-" + std::to_string(key / GROUP); }

bool has_written(const Error &error) {
    count(&shared, error ? FAILED_WRITES : WRITES, 1);
    return !error;
}

void store(Cache &cache, int key) {
    Error error;
    yokedcache::SetOptions options{1h, {}};
    if (is_tagged(key)) {
        options.tags = {tag_of(key)};
    }
    cache.set(name_of(key), std::to_string(++numbers[key]), options, error);
    if (!has_written(error)) {
        ++generations[key];
    }
    publish(&shared, key, generations[key], numbers[key]);
}

void remove(Cache &cache, int key) {
    Error error;
    cache.remove(name_of(key), error);
    if (has_written(error)) {
        publish(&shared, key, generations[key], ++numbers[key]);
    }
    store(cache, key);
}

// Leaves the keys without values: only the tag tells of the change.
void invalidate(Cache &cache, int key) {
    Error error;
    const int first = key - key % GROUP;
    cache.invalidate_tag(tag_of(key), yokedcache::Count::no, error);
    const bool is_written = has_written(error);
    for (int at = first; is_written && at < first + GROUP; ++at) {
        publish(&shared, at, generations[at], ++numbers[at]);
    }
}

void change(Cache &cache, int key, int kind) {
    if (kind < 2) {
        store(cache, key);
    } else if (kind == 2 && is_tagged(key)) {
        invalidate(cache, key);
    } else {
        remove(cache, key);
    }
    std::this_thread::sleep_for(5ms);
}

void write_keys(Cache &cache) {
    auto seed = static_cast<unsigned>(clock_ns());
    while (!is_ending(&shared)) {
        const int key = choose_key(&shared, &seed);
        for (int left = rand_r(&seed) % BURST; left >= 0; --left) {
            change(cache, key, rand_r(&seed) % 4);
        }
        std::this_thread::sleep_for(20ms);
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 5) {
        return 2;
    }
    shared = open_table(argv);
    Cache cache = Cache::open(argv[1]);
    std::thread looking([&] { look(cache); }), asking([&] { ask(cache); });
    write_keys(cache);
    looking.join();
    asking.join();
    return *counter(&shared, shared.process, FAILURES) != 0;
}
