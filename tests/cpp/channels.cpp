// Checks the channels of yokedcache.hpp; exits 1 when a check fails. On the cache of YC_TEST_URL, or else on memory.

#include "check.hpp"

#include <yokedcache.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <poll.h>
#include <unistd.h>

using namespace std::chrono_literals;
using yokedcache::Batch;
using yokedcache::Bytes;
using yokedcache::Cache;
using yokedcache::Completion;
using yokedcache::Error;
using yokedcache::Filter;
using yokedcache::Message;
using yokedcache::Outcome;
using yokedcache::Queue;
using yokedcache::Status;
using yokedcache::Subscription;

namespace {

// A cache with a prefix of its own.
Cache fresh() {
    static int number = 0;
    const char *given = std::getenv("YC_TEST_URL");
    std::string url = given == nullptr ? "memory://" : given;
    url += url.find('?') == std::string::npos ? "?" : "&";
    url += "key_prefix=cpp" + std::to_string(getpid()) + "." + std::to_string(++number);
    url += url.rfind("memory:", 0) == 0 ? "" : "&socket_timeout=10s";
    return Cache::open(url);
}

static_assert(std::is_nothrow_move_constructible_v<Subscription> && std::is_nothrow_move_assignable_v<Subscription>);
static_assert(!std::is_copy_constructible_v<Subscription> && !std::is_copy_constructible_v<Message>);
static_assert(std::is_copy_constructible_v<Subscription::Iterator>);

void a_backend_without_channels_says_so() {
    Cache cache = fresh();
    Error error;
    CHECK(thrown_by([&] { cache.publish("news", "hello"); }) == YC_E_UNSUPPORTED);
    CHECK(thrown_by([&] { cache.subscribe({{"news"}}); }) == YC_E_UNSUPPORTED);
    CHECK(!cache.publish("news", "hello", error) && error.status() == YC_E_UNSUPPORTED);
    CHECK(!cache.subscribe({{"news"}}, error) && error.status() == YC_E_UNSUPPORTED);
}

void a_message_comes_to_those_who_select_it() {
    Cache cache = fresh();
    const Subscription news = cache.subscribe({{"news", std::string("sport")}});
    Filter filter;
    filter.patterns = std::vector<std::string>{"n*", "order:[0-9]"};
    Error error;
    const Subscription patterns = cache.subscribe(filter, error);
    CHECK(patterns && !error);
    CHECK(cache.publish("news", "one").value_or(2) == 2);
    CHECK(cache.publish("order:7", Bytes("\0\xff", 2), error).value_or(1) == 1 && !error);
    CHECK(cache.publish("nobody", "", error).value_or(1) == 1 && cache.publish("other", "x").value_or(0) == 0);
    const Message message = news.next();
    CHECK(message.channel() == "news" && message.data() == "one" && message.text() == "one");
    CHECK(!message.is_gap() && message.lost() == 0 && message);
    CHECK(!news.next(0ms) && !news.next(20ms, error) && !error);
    CHECK(patterns.next(20s)->text() == "one");
    const std::optional<Message> bytes = patterns.next(20s, error);
    CHECK(bytes && !error && bytes->channel() == "order:7" && bytes->data() == std::string_view("\0\xff", 2));
    const Message empty = patterns.next(error);
    CHECK(!error && empty && empty.channel() == "nobody" && empty.data().empty() && !empty.is_gap());
}

void a_loop_ends_with_the_subscription() {
    Cache cache = fresh();
    const Subscription subscription = cache.subscribe({{"news"}, {"end*"}});
    std::thread publisher([&cache] {
        for (int number = 0; number < 1000; ++number) {
            cache.publish("news", std::to_string(number));
        }
        cache.publish("end", "");
    });
    int next = 0;
    for (const Message &message : subscription) {
        if (message.channel() == "end") {
            subscription.close();
            continue;
        }
        CHECK(message.text() == std::to_string(next));
        ++next;
    }
    publisher.join();
    CHECK(next == 1000);
    // Those of a closed subscription can still be taken.
    const Subscription waiting = cache.subscribe({{"news"}});
    cache.publish("news", "1");
    cache.publish("news", "2");
    auto at = waiting.begin();
    const auto copy = at;
    CHECK(at->text() == "1" && copy == at && copy != waiting.end());
    ++at;
    CHECK(at->text() == "2" && (*copy).text() == "1" && at != copy);
    waiting.close();
    waiting.close();
    at++;
    CHECK(at == waiting.end() && waiting.begin() == waiting.end());
    Error error;
    CHECK(!waiting.next(error) && error.status() == YC_E_CLOSED);
    CHECK(thrown_by([&] { waiting.next(1s); }) == YC_E_CLOSED && thrown_by([&] { waiting.next(); }) == YC_E_CLOSED);
}

void a_closed_cache_ends_a_loop_of_another_thread() {
    Cache cache = fresh();
    const Subscription subscription = cache.subscribe({{}, {"*"}});
    std::thread reader([&subscription] {
        CHECK(std::distance(subscription.begin(), subscription.end()) == 0);
    });
    cache.close();
    reader.join();
    Error error;
    CHECK(thrown_by([&] { cache.subscribe({{"news"}}); }) == YC_E_CLOSED);
    cache = Cache();
    CHECK(!subscription.next(1s, error) && error.status() == YC_E_CLOSED);
    subscription.close(error);
    CHECK(!error);
}

void what_finds_no_room_is_a_gap() {
    Cache cache = fresh();
    Filter filter;
    filter.channels = {"news"};
    filter.max_bytes = 1000;
    const Subscription subscription = cache.subscribe(filter);
    for (const char *data : {"a", "b", "c"}) {
        CHECK(cache.publish("news", std::string(600, *data)) == 1);
    }
    CHECK(subscription.next().text() == std::string(600, 'a'));
    const Message gap = subscription.next();
    CHECK(gap && gap.is_gap() && gap.lost() == 2 && gap.channel().empty() && gap.data().empty());
    cache.switch_to("memory://?max_size=5");
    CHECK(subscription.next().is_gap() && cache.publish("news", "d") == 1 && subscription.next().text() == "d");
    cache.switch_to("memory://?max_size=6");
    CHECK(!subscription.next().lost());
}

void a_descriptor_tells_of_messages() {
    Cache cache = fresh();
    const Subscription subscription = cache.subscribe({{"news"}});
    Error error;
    pollfd watched = {subscription.fd(), POLLIN, 0};
    CHECK(watched.fd >= 0 && subscription.fd(error) == watched.fd && !error && poll(&watched, 1, 0) == 0);
    cache.publish("news", "hello");
    CHECK(poll(&watched, 1, 20000) == 1);
    CHECK(subscription.next(0ms)->text() == "hello" && poll(&watched, 1, 0) == 0);
    subscription.close();
    CHECK(poll(&watched, 1, 0) == 1);
}

void a_batch_publishes_and_a_queue_receives() {
    Cache cache = fresh();
    Subscription subscription = cache.subscribe({{"news"}});
    Batch batch;
    batch.publish(std::string("news"), std::string(100, 'x'));
    batch.publish("news", "");
    batch.publish("", "no channel");
    const std::vector<Outcome> outcomes = cache.run(batch);
    CHECK(outcomes[0].status == YC_OK && outcomes[0].receivers.value_or(1) == 1 && !outcomes[0].counter);
    CHECK(outcomes[1].status == YC_OK && outcomes[2].status == YC_E_INVALID && !outcomes[2].receivers);
    Queue queue = Queue::open(cache);
    Error error;
    CHECK(queue.next_message(subscription, 7) && queue.next_message(subscription, 8, error) && !error);
    std::vector<std::string> texts;
    while (texts.size() < 2) {
        for (const Completion &completion : queue.wait(20s)) {
            CHECK(completion.status == YC_OK && completion.kind == YC_OP_SUBSCRIPTION_NEXT);
            CHECK((completion.user_data == 7 || completion.user_data == 8) && completion.message);
            texts.push_back(completion.message ? completion.message->text() : "none");
        }
    }
    std::sort(texts.begin(), texts.end());
    CHECK(texts[0].empty() && texts[1] == std::string(100, 'x'));
    CHECK(queue.next_message(subscription).has_value());
    subscription = Subscription();
    const std::vector<Completion> ended = queue.wait(20s);
    CHECK(ended.size() == 1 && ended[0].status == YC_E_CLOSED && ended[0].error && !ended[0].message);
    CHECK(!queue.next_message(subscription, 0, error) && error.status() == YC_E_INVALID);
}

void mistakes_are_refused() {
    Cache cache = fresh();
    CHECK(thrown_by([&] { cache.publish("", "x"); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.publish(std::string(65537, 'x'), "x"); }) == YC_E_TOO_LARGE);
    CHECK(thrown_by([&] { cache.subscribe({}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.subscribe({{""}}); }) == YC_E_INVALID);
    CHECK(thrown_by([&] { cache.subscribe({{}, std::vector<std::string>(1025, "x")}); }) == YC_E_TOO_LARGE);
    const Subscription none;
    Error error;
    CHECK(!none && !none.next(error) && error.status() == YC_E_INVALID && none.fd(error) == -1);
    CHECK(thrown_by([&] { none.close(); }) == YC_E_INVALID && thrown_by([&] { none.begin(); }) == YC_E_INVALID);
    const Message nothing;
    CHECK(!nothing && nothing.channel().empty() && nothing.data().empty() && !nothing.is_gap() && nothing.lost() == 0);
    const Subscription real = cache.subscribe({{"news"}});
    CHECK(thrown_by([&] { real.next(-2ms); }) == YC_E_INVALID);
}

} // namespace

int main() {
    const Cache cache = fresh();
    const std::uint64_t can = cache.capabilities();
    if ((can & YC_CAN_PUBLISH) == 0) {
        a_backend_without_channels_says_so();
    } else {
        a_message_comes_to_those_who_select_it();
        a_loop_ends_with_the_subscription();
        a_closed_cache_ends_a_loop_of_another_thread();
        a_descriptor_tells_of_messages();
        a_batch_publishes_and_a_queue_receives();
        mistakes_are_refused();
    }
    // Here a message has arrived when its publication returns.
    if ((can & YC_CAN_PUBLISH) != 0 && (can & YC_CAN_SHARE) == 0) {
        what_finds_no_room_is_a_gap();
    }
    std::printf("%d checks failed\n", failures.load());
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
