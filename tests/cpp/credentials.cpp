// Checks Cache::set_credentials() of yokedcache.hpp; exits 1 when a check fails. Memory alone, and with YC_TEST_URL of a Redis
// also its users.

#include "check.hpp"

#include <yokedcache.hpp>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
using yokedcache::Cache;
using yokedcache::Credentials;
using yokedcache::Error;

namespace {

void check_memory() {
    const Cache memory = Cache::open("memory://");
    auto alive = std::make_shared<int>(1);
    Error error;
    memory.set_credentials([alive] { return Credentials{"app", "p", 0ms}; }, error);
    CHECK(error.status() == YC_E_UNSUPPORTED);
    CHECK(alive.use_count() == 1);
    memory.set_credentials(nullptr, error);
    CHECK(error.status() == YC_E_UNSUPPORTED);
}

void check_redis(const std::string &url) {
    Cache admin = Cache::open(url);
    admin.redis_command({"ACL", "SETUSER", "cpp", "on", "resetpass", ">c4n4ry", "~*", "&*", "+@all"});
    const std::string with_callback = url + (url.find('?') == std::string::npos ? "?" : "&") + "credentials=callback";
    auto alive = std::make_shared<std::atomic<int>>(0);
    Cache cache = Cache::open(with_callback);
    cache.set_credentials([alive] {
        ++*alive;
        return Credentials{"cpp", "c4n4ry", 1h};
    });
    cache.set("credentials", "value");
    CHECK(*alive == 1 && alive.use_count() == 2);
    cache.close();
    CHECK(alive.use_count() == 1);

    Cache failing = Cache::open(with_callback);
    Error error;
    failing.set_credentials([]() -> Credentials { throw std::runtime_error("the identity service is away"); }, error);
    CHECK(error.status() == YC_E_AUTH);
    CHECK(std::string(error.what()).find("the identity service is away") != std::string::npos);
    failing.set_credentials([]() -> Credentials { throw 1; }, error);
    CHECK(std::string(error.what()).find("unknown type") != std::string::npos);
    failing.set_credentials([] { return Credentials{"cpp", "c4n4ry-wrong", 0ms}; }, error);
    CHECK(error.status() == YC_E_AUTH && std::string(error.what()).find("c4n4ry") == std::string::npos);
    failing.close();
    admin.redis_command({"ACL", "DELUSER", "cpp"});
}

} // namespace

int main() {
    check_memory();
    const char *url = std::getenv("YC_TEST_URL");
    if (url != nullptr && std::string(url).rfind("redis", 0) == 0) {
        check_redis(url);
    }
    return failures == 0 ? 0 : 1;
}
