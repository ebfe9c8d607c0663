// Checks set_log() of yokedcache.hpp; exits 1 when a check fails. Memory alone, and with YC_TEST_URL of a Redis also a
// server of its own that goes away.

#include "check.hpp"

#include <yokedcache.hpp>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <csignal>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Error;
using yokedcache::set_log;

namespace {

// The lines of a log function, which any thread may call.
class Journal {
public:
    void add(std::int32_t level, std::string_view line) {
        const std::lock_guard<std::mutex> guard(lock_);
        lines_.push_back(std::to_string(level) + " " + std::string(line));
    }

    // The number of lines that have a text.
    std::size_t count(std::string_view part) {
        const std::lock_guard<std::mutex> guard(lock_);
        std::size_t found = 0;
        for (const std::string &line : lines_) {
            if (line.find(part) != std::string::npos) {
                ++found;
            }
        }
        return found;
    }

    // Until a line has a text, twenty seconds at most.
    bool awaits(std::string_view part) {
        for (int turn = 0; turn < 2000 && count(part) == 0; ++turn) {
            std::this_thread::sleep_for(10ms);
        }
        return count(part) > 0;
    }

    yokedcache::Log log() {
        return [this](std::int32_t level, std::string_view line) { add(level, line); };
    }

private:
    std::mutex lock_;
    std::vector<std::string> lines_;
};

void open_and_close(const std::string &prefix) {
    Cache::open(std::string("memory://?key_prefix=" + prefix)).close();
}

void end_logging() {
    set_log(YC_LOG_OFF, nullptr);
}

int free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(bind(fd, reinterpret_cast<sockaddr *>(&address), size) == 0);
    CHECK(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

void lines_have_levels_and_end() {
    Journal all, warnings;
    set_log(YC_LOG_TRACE, all.log());
    open_and_close("seen");
    set_log(YC_LOG_WARN, warnings.log());
    open_and_close("quiet");
    Cache::open("redis://127.0.0.1:1?connect=lazy").close();
    end_logging();
    open_and_close("unseen");
    CHECK(all.count("3 opened backend=memory key_prefix=seen") == 1 && all.count("3 closed backend=memory key_prefix=seen") == 1);
    CHECK(all.count("quiet") == 0 && warnings.count("quiet") == 0 && all.count("unseen") == 0 && warnings.count("unseen") == 0);
    CHECK(warnings.count("2 ") >= 1 && warnings.count("key_prefix is not set") == 1);
}

void a_server_that_is_down_is_told_without_the_password() {
    const std::string port = std::to_string(free_port());
    Journal journal;
    set_log(YC_LOG_TRACE, journal.log());
    for (const char *scheme : {"redis", "memcached"}) {
        Cache cache = Cache::open(std::string(scheme) + "://user:hunter2@127.0.0.1:" + port + "?connect=lazy&key_prefix=down");
        CHECK(thrown_by([&] { cache.get("k"); }) < 0);
        cache.close();
    }
    CHECK(journal.awaits("127.0.0.1:" + port));
    CHECK(thrown_by([&] { Cache::open("redis://:hunter2@127.0.0.1:" + port); }) < 0);
    CHECK(thrown_by([&] { Cache::open("redis://:hunter2@127.0.0.1:port"); }) == YC_E_CONFIG);
    end_logging();
    CHECK(journal.count(port) > 0 && journal.count("hunter2") == 0);
}

// Starts a Redis server; returns its process.
pid_t start_redis(int port) {
    const std::string number = std::to_string(port);
    const pid_t process = fork();
    if (process == 0) {
        execlp("redis-server", "redis-server", "--port", number.c_str(), "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", "--logfile", "/dev/null", static_cast<char *>(nullptr));
        _exit(1);
    }
    return process;
}

void end_process(pid_t process) {
    kill(process, SIGKILL);
    waitpid(process, nullptr, 0);
}

void a_connection_that_is_lost_is_told() {
    const char *url = std::getenv("YC_TEST_URL");
    if (url == nullptr || std::string_view(url).substr(0, 5) != "redis") {
        return;
    }
    const int port = free_port();
    Journal journal;
    set_log(YC_LOG_INFO, journal.log());
    pid_t server = start_redis(port);
    Cache cache = Cache::open("redis://127.0.0.1:" + std::to_string(port) + "?connect=lazy&key_prefix=lost");
    CHECK(journal.awaits("3 connected"));
    end_process(server);
    CHECK(journal.awaits("2 a connection was lost"));
    server = start_redis(port);
    CHECK(journal.awaits("3 connected again"));
    cache.close();
    end_process(server);
    end_logging();
}

// The function refers to what ends before the next one is set.
void a_function_is_not_called_after_it_was_replaced() {
    std::atomic<bool> stop{false};
    std::vector<std::thread> traffic;
    for (int number = 0; number < 4; ++number) {
        traffic.emplace_back([&] {
            while (!stop) {
                open_and_close("traffic");
            }
        });
    }
    std::atomic<int> calls{0};
    for (int turn = 0; turn < 100; ++turn) {
        auto over = std::make_unique<std::atomic<bool>>(false);
        set_log(YC_LOG_INFO, [&calls, over = over.get()](std::int32_t, std::string_view) {
            CHECK(!*over);
            ++calls;
            std::this_thread::yield();
            CHECK(!*over);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(turn % 3));
        if (turn % 2 == 0) {
            end_logging();
        } else {
            set_log(YC_LOG_INFO, [&calls](std::int32_t, std::string_view) { ++calls; });
        }
        *over = true;
        over.reset();
    }
    end_logging();
    const int before = calls;
    std::this_thread::sleep_for(20ms);
    CHECK(calls == before && before > 0);
    stop = true;
    for (std::thread &thread : traffic) {
        thread.join();
    }
}

void threads_set_the_log_at_the_same_time() {
    std::atomic<int> alive{0};
    struct Counted {
        explicit Counted(std::atomic<int> &count) : number(count) { ++number; }
        ~Counted() { --number; }
        std::atomic<int> &number;
    };
    std::vector<std::thread> threads;
    for (int number = 0; number < 8; ++number) {
        threads.emplace_back([&alive, number] {
            for (int turn = 0; turn < 50; ++turn) {
                if ((turn + number) % 3 == 0) {
                    end_logging();
                } else {
                    set_log(YC_LOG_INFO, [kept = std::make_shared<Counted>(alive)](std::int32_t, std::string_view) { CHECK(kept->number > 0); });
                }
                open_and_close("many");
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    end_logging();
    CHECK(alive == 0);
}

void a_function_may_throw_call_the_library_and_set_the_log() {
    Cache cache = Cache::open("memory://?key_prefix=used");
    Journal journal;
    set_log(YC_LOG_TRACE, [&](std::int32_t level, std::string_view line) {
        journal.add(level, line);
        open_and_close("inner");
        cache.set("line", line);
        throw std::runtime_error("a log that throws");
    });
    open_and_close("outer");
    end_logging();
    CHECK(journal.count("outer") == 2 && journal.count("inner") == 0);
    CHECK(cache.get("line").value().text() == "closed backend=memory key_prefix=outer");

    Journal next;
    std::atomic<int> calls{0};
    set_log(YC_LOG_TRACE, [&](std::int32_t, std::string_view) {
        ++calls;
        set_log(YC_LOG_TRACE, next.log());
    });
    open_and_close("replaced");
    end_logging();
    CHECK(calls == 1 && next.count("closed backend=memory key_prefix=replaced") == 1);
}

// A function whose destruction sets a log.
void destruction_may_set_the_log() {
    Journal journal;
    struct Setter {
        explicit Setter(Journal &target) : next(target) {}
        ~Setter() { set_log(YC_LOG_INFO, next.log()); }
        Journal &next;
    };
    auto setter = std::make_shared<Setter>(journal);
    set_log(YC_LOG_INFO, [setter = std::move(setter)](std::int32_t, std::string_view) { CHECK(setter != nullptr); });
    end_logging();
    open_and_close("destroyed");
    end_logging();
    CHECK(journal.count("destroyed") == 2);
}

void a_wrong_level_changes_nothing() {
    Journal journal;
    Error error;
    set_log(YC_LOG_INFO, journal.log());
    set_log(6, [](std::int32_t, std::string_view) {}, error);
    CHECK(error.status() == YC_E_INVALID && thrown_by([] { set_log(-1, nullptr); }) == YC_E_INVALID);
    open_and_close("kept");
    end_logging();
    CHECK(journal.count("kept") == 2);
    set_log(YC_LOG_OFF, journal.log(), error);
    open_and_close("off");
    CHECK(!error && journal.count("off") == 0);
    end_logging();
}

}  // namespace

int main() {
    lines_have_levels_and_end();
    a_server_that_is_down_is_told_without_the_password();
    a_connection_that_is_lost_is_told();
    a_function_is_not_called_after_it_was_replaced();
    threads_set_the_log_at_the_same_time();
    a_function_may_throw_call_the_library_and_set_the_log();
    destruction_may_set_the_log();
    a_wrong_level_changes_nothing();
    return failures == 0 ? 0 : 1;
}
