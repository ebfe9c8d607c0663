// Reads the rows that race.c changes, with get_or_load().

#include <yokedcache.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::Fill;
using yokedcache::LoadOptions;

namespace {

std::atomic<int> failures{0}, calls{0}, loads{0};

void check(bool holds, const std::string &text) {
    if (!holds) {
        std::fprintf(stderr, "FAILED race.cpp: %s\n", text.c_str());
        ++failures;
    }
}

std::int64_t add(Cache &cache, const std::string &row, const char *counter, std::int64_t delta) {
    for (;;) {
        Error error;
        const std::int64_t value = cache.counter_add(row + ':' + counter, delta, {yokedcache::Ttl::never()}, error);
        if (error.status() != YC_E_BUSY) {
            check(!error, error.what());
            return value;
        }
    }
}

std::string load(Cache &cache, const std::string &row, Fill &fill) {
    static std::map<std::string, std::atomic<int>> running = [] {
        std::map<std::string, std::atomic<int>> counters;
        counters["calm"] = counters["wild"] = 0;
        return counters;
    }();
    check(++running[row] == 1, row + ": two loaders run in this process");
    check(add(cache, row, "running", 1) == 1 || row != "calm", row + ": two loaders run");
    if (row == "wild") {
        fill.tags = {row};
    }
    const std::int64_t version = add(cache, row, "version", 0);
    std::this_thread::sleep_for(2ms);
    add(cache, row, "running", -1);
    add(cache, row, "loads", 1);
    --running[row];
    ++loads;
    return std::to_string(version);
}

void read_rows(Cache &cache) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    LoadOptions options = {1h};
    options.wait = 20s;
    while (std::chrono::steady_clock::now() < end && add(cache, "all", "stop", 0) == 0) {
        for (const std::string row : {"calm", "wild"}) {
            options.tags = row == "calm" ? yokedcache::Tags{row} : yokedcache::Tags{};
            const std::int64_t least = add(cache, row, "known", 0);
            const auto seen = cache.get_or_load(row, [&](Fill &fill) { return load(cache, row, fill); }, options);
            check(seen && std::stoll(seen->text()) >= least, row + ": an old version was returned");
            ++calls;
        }
    }
}

} // namespace

int main() {
    Cache cache = Cache::open(std::getenv("YC_TEST_URL"));
    add(cache, "all", "ready", 1);
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index) {
        threads.emplace_back([&cache] {
            try {
                read_rows(cache);
            } catch (const Error &error) {
                check(false, error.what());
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    std::printf("c++: %d calls, %d loads\n", calls.load(), loads.load());
    check(calls > 0, "no calls");
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
