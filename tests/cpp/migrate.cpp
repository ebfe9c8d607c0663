// Checks switch_to(), migrate() and a fallback of yokedcache.hpp; exits 1 when a check fails. Memory alone, and with
// YC_TEST_REDIS_URL and YC_TEST_MEMCACHED_URL also these servers and a Redis server of its own.

#include "check.hpp"

#include <yokedcache.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include <arpa/inet.h>
#include <csignal>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::MigrateProgress;
using yokedcache::Status;
using yokedcache::Ttl;

namespace {

// Until something holds, ten seconds at most.
template <class Condition>
bool becomes(Condition condition) {
    for (int turn = 0; turn < 1000 && !condition(); ++turn) {
        std::this_thread::sleep_for(10ms);
    }
    return condition();
}

bool has(const std::string &json, std::string_view member) {
    return json.find(member) != std::string::npos;
}

// ---- Entries ----

constexpr int count = 2000;

// The URL with a prefix of its own, and time enough for a machine that is busy: a call that is lost fails all the same.
std::string with_prefix(const std::string &url) {
    static int number = 0;
    const std::string patience = url == "memory://" ? "" : "&socket_timeout=10s";
    return url + "?key_prefix=cpp" + std::to_string(getpid()) + "." + std::to_string(number++) + patience;
}

std::string key_at(int at) {
    return "key:" + std::to_string(at);
}

std::string value_at(int at) {
    return std::string("\0\xff", 2) + std::to_string(at) + std::string(static_cast<std::size_t>(at % 300), 'v');
}

Ttl ttl_at(int at) {
    return at % 3 == 0 ? Ttl::never() : Ttl(600s + std::chrono::milliseconds(at * 100));
}

void fill(Cache &cache) {
    for (int at = 0; at < count; ++at) {
        const std::string tag = "tag" + std::to_string(at % 10);
        cache.set(key_at(at), value_at(at), {ttl_at(at), at % 2 == 0 ? std::vector<yokedcache::Bytes>{tag, "even"}
                                                                     : std::vector<yokedcache::Bytes>{}});
    }
}

bool is_there(const Cache &cache, int at) {
    const auto value = cache.get(key_at(at));
    const auto left = cache.ttl(key_at(at));
    const Ttl wanted = ttl_at(at);
    if (!value || !left || value->view() != value_at(at) || left->is_never() != wanted.is_never()) {
        return false;
    }
    return wanted.is_never() || (left->time() <= wanted.time() && left->time() > wanted.time() - 120s);
}

bool all_are_there(const Cache &cache) {
    for (int at = 0; at < count; ++at) {
        if (!is_there(cache, at)) {
            std::fprintf(stderr, "%s is not as it was\n", key_at(at).c_str());
            return false;
        }
    }
    return true;
}

// ---- Memory alone ----

void a_switch_goes_on_under_the_same_handle() {
    Cache cache = Cache::open("memory://?max_size=10000");
    fill(cache);
    CHECK(has(cache.switch_to(with_prefix("memory://"), {true}), "\"copied\":2000"));
    CHECK(all_are_there(cache));
    Error error;
    const std::string report = cache.switch_to("memory://?key_prefix=empty", {}, error);
    CHECK(!error && has(report, "\"backend\":\"memory\"") && has(report, "\"copied\":null"));
    CHECK(cache.size().keys == 0 && has(cache.stats(), "\"key_prefix\":\"empty\""));
}

void a_migration_tells_stops_and_goes_on() {
    Cache source = Cache::open("memory://");
    Cache target = Cache::open("memory://");
    fill(source);
    CHECK(has(source.migrate(target, {{}, 0, true}), "\"copied\":2000") && target.size().keys == 0);
    int calls = 0;
    std::string resume;
    const std::string stopped = source.migrate(target, {}, [&](const MigrateProgress &progress) {
        CHECK(progress.examined == progress.copied && progress.skipped == 0 && progress.failed == 0);
        resume = progress.resume;
        return ++calls < 2;
    });
    const auto copied = target.size().keys;
    CHECK(calls == 2 && has(stopped, "\"complete\":false") && has(stopped, "\"resume\":\"" + resume + "\""));
    CHECK(copied > 0 && copied < count);
    Error error;
    const std::string rest = source.migrate(target, {{}, 0, false, resume}, nullptr, error);
    CHECK(!error && has(rest, "\"complete\":true") && all_are_there(target));
    Cache part = Cache::open("memory://");
    source.set("a \"key\" \\ of marks\n", "v");
    CHECK(has(source.migrate(part, {"key:1?"}), "\"copied\":10"));
    CHECK(has(source.migrate(part, {"a \"key\"*\n"}), "\"copied\":1,"));
}

void what_the_progress_throws_goes_around_the_library() {
    Cache source = Cache::open("memory://");
    Cache target = Cache::open("memory://");
    fill(source);
    struct Mine {};
    int caught = 0;
    try {
        source.migrate(target, {}, [](const MigrateProgress &) -> bool { throw Mine(); });
    } catch (const Mine &) {
        ++caught;
    }
    Error error;
    try {
        source.migrate(target, {}, [](const MigrateProgress &) -> bool { throw Mine(); }, error);
    } catch (const Mine &) {
        ++caught;
    }
    CHECK(caught == 2 && target.size().keys < count);
    source.migrate(target);
    CHECK(all_are_there(target));
}

void what_cannot_be_changes_nothing() {
    Cache cache = Cache::open("memory://");
    Cache other = Cache::open("memory://");
    Cache none;
    cache.set("a", "v");
    CHECK(thrown_by([&] { cache.migrate(cache); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.migrate(none); }) == YC_E_INVALID && thrown_by([&] { none.migrate(cache); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.migrate(other, {{}, 0, false, "x"}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.migrate(other, {"\xff"}); }) == YC_E_CONFIG);
    CHECK(thrown_by([&] { cache.migrate(other, {std::string("a\0b", 3)}); }) == YC_E_CONFIG);
    CHECK(thrown_by([&] { cache.switch_to("memory://?max_sise=3"); }) == YC_E_CONFIG);
    CHECK(thrown_by([&] { none.switch_to("memory://"); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.switch_to("redis://127.0.0.1:1"); }) == YC_E_CONNECT);
    Error error;
    CHECK(cache.switch_to("redis://127.0.0.1:1", {true}, error).empty() && error.status() == YC_E_CONNECT);
    CHECK(cache.get("a")->text() == "v" && other.size().keys == 0);
    cache.close();
    CHECK(thrown_by([&] { cache.switch_to("memory://"); }) == YC_E_CLOSED);
    CHECK(thrown_by([&] { cache.migrate(other); }) == YC_E_CLOSED && thrown_by([&] { other.migrate(cache); }) == YC_E_CLOSED);
}

// ---- Servers ----

void every_entry_goes_from_backend_to_backend(const std::string &redis, const std::string &memcached) {
    std::vector<Cache> caches;
    for (const std::string &url : {std::string("memory://"), redis, memcached, std::string("memory://")}) {
        caches.push_back(Cache::open(with_prefix(url)));
    }
    fill(caches[0]);
    for (std::size_t at = 0; at + 1 < caches.size(); ++at) {
        const std::string report = caches[at].migrate(caches[at + 1]);
        CHECK(has(report, "\"copied\":2000") && has(report, "\"failed\":0") && has(report, "\"complete\":true"));
        CHECK(all_are_there(caches[at + 1]));
    }
    for (Cache &cache : caches) {
        cache.invalidate_tag("tag4");
        CHECK(!cache.exists(key_at(4)) && cache.exists(key_at(6)));
        cache.invalidate_tag("even");
        CHECK(!cache.exists(key_at(6)) && cache.exists(key_at(7)));
        cache.flush();
        cache.close();
    }
}

// A thread that sets and reads until it is stopped; each call has to succeed.
void call(Cache &cache, int number, const std::atomic<bool> &ended, std::atomic<int> &calls) {
    for (int turn = 0; !ended; ++turn) {
        Error error;
        const std::string key = "own:" + std::to_string(number) + ":" + std::to_string(turn % 50);
        cache.set(key, std::to_string(turn), {{}, {"own"}}, error);
        CHECK(!error);
        const auto own = cache.get(key, error);
        CHECK(!error && own && own->view() == std::to_string(turn));
        const auto value = cache.get(key_at(turn % count), error);
        CHECK(!error && value && value->view() == value_at(turn % count));
        calls += 3;
        std::this_thread::sleep_for(100us);
    }
}

void a_switch_under_load_fails_no_call(const std::string &redis) {
    Cache cache = Cache::open("memory://");
    fill(cache);
    std::atomic<bool> ended{false};
    std::atomic<int> calls{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number) {
        threads.emplace_back([&, number] { call(cache, number, ended, calls); });
    }
    for (const std::string &url : {redis, std::string("memory://")}) {
        std::this_thread::sleep_for(20ms);
        CHECK(has(cache.switch_to(with_prefix(url), {true}), "\"complete\":true"));
    }
    ended = true;
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(calls > 100 && all_are_there(cache) && cache.exists("own:0:0"));
    cache.invalidate_tag("own");
    CHECK(!cache.exists("own:0:0"));
}

std::string free_port() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(bind(listener, reinterpret_cast<sockaddr *>(&address), size) == 0);
    CHECK(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &size) == 0);
    ::close(listener);
    return std::to_string(ntohs(address.sin_port));
}

pid_t start_redis(const std::string &port) {
    const pid_t server = fork();
    if (server == 0) {
        std::fclose(stdout);
        execlp("redis-server", "redis-server", "--port", port.c_str(), "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", nullptr);
        _exit(127);
    }
    CHECK(becomes([&] { return thrown_by([&] { Cache::open("redis://127.0.0.1:" + port); }) == YC_OK; }));
    return server;
}

void stop(pid_t server) {
    kill(server, SIGKILL);
    waitpid(server, nullptr, 0);
}

void a_fallback_serves_while_the_server_is_down() {
    const std::string port = free_port();
    pid_t server = start_redis(port);
    Cache cache = Cache::open("{backend: redis, redis: {url: 'redis://127.0.0.1:" + port +
                              "', socket_timeout: 500ms}, fallback: memory}");
    const auto is_active = [&] { return has(cache.stats(), "\"active\":true"); };
    std::atomic<bool> ended{false};
    std::thread caller([&] {
        for (int turn = 0; !ended; ++turn) {
            Error error;
            cache.set("k", std::to_string(turn), {{}, {"t"}}, error);
            CHECK(!error);
            const auto value = cache.get("k", error);
            // Who takes over begins empty: a miss is no failure, and what is old is not served.
            CHECK(!error && (!value || value->view() == std::to_string(turn)));
            std::this_thread::sleep_for(100us);
        }
    });
    CHECK(!is_active());
    stop(server);
    CHECK(becomes(is_active) && has(cache.health(), "\"status\":\"degraded\""));
    server = start_redis(port);
    CHECK(becomes([&] { return !is_active(); }) && has(cache.health(), "\"status\":\"healthy\""));
    std::this_thread::sleep_for(50ms);
    ended = true;
    caller.join();
    CHECK(has(cache.stats(), "\"outages\":1"));
    cache.close();
    stop(server);
}

} // namespace

int main() {
    a_switch_goes_on_under_the_same_handle();
    a_migration_tells_stops_and_goes_on();
    what_the_progress_throws_goes_around_the_library();
    what_cannot_be_changes_nothing();
    const char *redis = std::getenv("YC_TEST_REDIS_URL");
    const char *memcached = std::getenv("YC_TEST_MEMCACHED_URL");
    if (redis != nullptr && memcached != nullptr) {
        every_entry_goes_from_backend_to_backend(redis, memcached);
        a_switch_under_load_fails_no_call(redis);
        a_fallback_serves_while_the_server_is_down();
    }
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
