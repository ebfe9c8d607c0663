// quickstart.cpp - the steps of quickstart.c with the C++ wrapper.
//
//   c++ -std=c++17 quickstart.cpp $(pkg-config --cflags --libs yokedcache) -o quickstart

#include <yokedcache.hpp>

#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Count;
using yokedcache::Ttl;

namespace {

void step(const char *title) {
    std::cout << '\n' << title << '\n';
}

// Begins a line: the operation and its argument. The caller prints the result.
std::ostream &asked(const std::string &verb, const std::string &what) {
    return std::cout << std::left << std::setw(29) << verb + ' ' + what << " -> " << std::right;
}

void set(Cache &cache, const std::string &key, const std::string &value, Ttl ttl = {}) {
    cache.set(key, value, {ttl});
    asked("set", key) << "stored \"" << value << "\"\n";
}

void set_tagged(Cache &cache, const std::string &key, const std::string &value, const std::string &tag) {
    cache.set(key, value, {{}, {tag}});
    asked("set", key) << "stored \"" << value << "\", tag " << tag << '\n';
}

void get(const Cache &cache, const std::string &key) {
    if (auto value = cache.get(key)) {
        asked("get", key) << "hit  \"" << value->view() << "\"\n";
    } else {
        asked("get", key) << "miss\n";
    }
}

void print_removed(std::optional<std::uint64_t> removed) {
    if (removed) {
        std::cout << *removed << " removed\n";
    } else {
        std::cout << "done (this backend cannot count)\n";
    }
}

void invalidate_tag(Cache &cache, const std::string &tag) {
    asked("invalidate tag", tag);
    print_removed(cache.invalidate_tag(tag, Count::yes));
}

void invalidate_pattern(Cache &cache, const std::string &pattern) {
    asked("invalidate pattern", pattern);
    print_removed(cache.invalidate_pattern(pattern, Count::yes));
}

void search(const Cache &cache, const std::string &query) {
    for (yokedcache::Match match : cache.search(query, {60})) {
        asked("search", query) << std::fixed << std::setprecision(1) << std::setw(5) << match.score << "  "
                               << match.key << '\n';
    }
}

void wait(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
    std::cout << "wait " << time.count() << " ms\n";
}

void run(Cache &cache) {
    cache.flush();
    std::cout << "YokedCache " << yokedcache::version() << '\n';

    step("Set and get: a miss is an outcome, not an error");
    set(cache, "user:1", "Ada");
    get(cache, "user:1");
    get(cache, "user:2");

    step("Expiry: this entry expires after 300 ms");
    set(cache, "code:7", "4711", 300ms);
    get(cache, "code:7");
    wait(350ms);
    get(cache, "code:7");

    step("Tags: one call invalidates all entries that depend on one object");
    set_tagged(cache, "page:home", "<h1>Hello Ada</h1>", "users");
    set_tagged(cache, "page:team", "<ul>Ada, Grace</ul>", "users");
    set_tagged(cache, "page:help", "<p>Read this</p>", "texts");
    invalidate_tag(cache, "users");
    get(cache, "page:home");
    get(cache, "page:team");
    get(cache, "page:help");

    step("Patterns: one call removes all keys that match a glob");
    set(cache, "order:17:total", "99", Ttl::never());
    set(cache, "order:17:items", "3", Ttl::never());
    set(cache, "order:18:total", "12", Ttl::never());
    invalidate_pattern(cache, "order:17:*");
    get(cache, "order:17:total");
    get(cache, "order:18:total");

    step("Fuzzy search: the keys most similar to a query, scored from 0 to 100");
    set(cache, "person:grace hopper", "rear admiral");
    set(cache, "person:grace kelly", "princess");
    search(cache, "grace hoper");

    step("Statistics");
    std::cout << "stats " << cache.stats() << '\n';
}

} // namespace

int main(int argc, char **argv) try {
    Cache cache = Cache::open(argc > 1 ? argv[1] : "memory://?max_size=10000&key_prefix=quickstart");
    run(cache);
    cache.close();
    return EXIT_SUCCESS;
} catch (const yokedcache::Error &error) {
    std::cerr << yokedcache::status_name(error.status()) << ": " << error.what() << '\n';
    return EXIT_FAILURE;
}
