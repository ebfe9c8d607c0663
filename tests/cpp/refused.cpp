// What must not compile: each line that ends with "refused: PATTERN" gives an error that the pattern matches, and no other line does.

#include <yokedcache.hpp>

using namespace std::chrono_literals;
using namespace yokedcache;

std::string plain(Fill &);
std::vector<std::pair<std::string, std::string>> rows(Fill &);
extern const std::atomic<bool> cancelled;

void use(Cache &cache, Queue &queue, Batch &batch, Error &error, const std::string &id) {
    // A view into a temporary.
    static_cast<void>(Value().view()); // refused: view
    static_cast<void>(Value().data()); // refused: data
    static_cast<void>(cache.get(id).value().view()); // refused: view
    static_cast<void>((*cache.get(id)).view()); // refused: view
    static_cast<void>(cache.get(id)->view()); // refused: view
    static_cast<void>(cache.get(id)->data()); // refused: data
    static_cast<void>(cache.get_and_expire(id, 1h)->view()); // refused: view
    static_cast<void>(cache.get_near(id)->view()); // refused: view
    static_cast<void>(cache.get_or_load(id, plain)->view()); // refused: view
    static_cast<void>(Lease().native()); // refused: native
    static_cast<void>(KeyPage()[0]); // refused: operator ?\[\]|\[\]
    static_cast<void>(KeyPage().begin()); // refused: begin
    static_cast<void>(KeyPage().end()); // refused: end
    static_cast<void>(cache.search("q")[0]); // refused: operator ?\[\]|\[\]
    static_cast<void>(cache.search("q").begin()); // refused: begin
    static_cast<void>(cache.search("q").end()); // refused: end
    static_cast<void>(cache.keys().begin()); // refused: begin
    static_cast<void>(cache.keys().end()); // refused: end
    static_cast<void>(cache.keys().native()); // refused: native
    static_cast<void>(Message().channel()); // refused: channel
    static_cast<void>(Message().data()); // refused: data
    static_cast<void>(cache.subscribe({{id}}).next().data()); // refused: data
    static_cast<void>(cache.subscribe({{id}}).begin()); // refused: begin
    static_cast<void>(cache.subscribe({{id}}).end()); // refused: end
    static_cast<void>(cache.subscribe({{id}}).native()); // refused: native
    static_cast<void>(Event().name()); // refused: name
    static_cast<void>(cache.events().begin()); // refused: begin
    static_cast<void>(cache.events().end()); // refused: end
    static_cast<void>(cache.events().native()); // refused: native
    static_cast<void>(Cache::open("memory://").native()); // refused: native
    static_cast<void>(Queue::open(cache).native()); // refused: native
    static_cast<void>(Value().text());
    static_cast<void>(Value().size());
    static_cast<void>(cache.get(id)->text());
    static_cast<void>(cache.get(id)->size());
    Value kept = cache.get(id)->clone();
    std::optional<Value> optional = cache.get(id);
    optional = cache.get(id, error);
    const auto found = cache.get(id);
    static_cast<void>(found && found->view() == kept.view() && found != std::nullopt);
    if (auto value = cache.get(id)) static_cast<void>(value->view().size() + (*value).size());
    Value moved = *cache.get(id);
    static_cast<void>(cache.get(id).value_or(Value()).text());
    static_cast<void>(cache.search("q").size());
    for (std::string_view key : cache.keys()) static_cast<void>(key);
    for (const Match &match : cache.search("q")) static_cast<void>(match);
    for (const Message &message : cache.subscribe({{id}})) static_cast<void>(message.data());
    static_cast<void>(cache.subscribe({{id}}).next().text());
    for (const Event &event : cache.events({{id}})) static_cast<void>(event.name());
    static_cast<void>(cache.events().next().text());

    // NULL.
    static_cast<void>(Cache::open(nullptr)); // refused: Text
    static_cast<void>(Cache::open(nullptr, error)); // refused: Text
    static_cast<void>(Cache::open_file(nullptr)); // refused: Text
    static_cast<void>(Cache::open_file("path", nullptr)); // refused: Text
    static_cast<void>(Cache::check_config(nullptr)); // refused: Text
    static_cast<void>(Cache::check_config_file(nullptr)); // refused: Text
    static_cast<void>(cache.switch_to(nullptr)); // refused: Text
    static_cast<void>(MigrateOptions{nullptr}); // refused: Text
    static_cast<void>(cache.get(nullptr)); // refused: Bytes
    static_cast<void>(cache.get(id, true)); // refused: get\(|get'
    static_cast<void>(cache.get_near(nullptr)); // refused: Bytes
    static_cast<void>(cache.publish(nullptr, "x")); // refused: Bytes
    static_cast<void>(cache.publish("news", nullptr)); // refused: Bytes
    static_cast<void>(cache.subscribe({{nullptr}})); // refused: Bytes|Filter|subscribe
    static_cast<void>(cache.events({{nullptr}})); // refused: Bytes|EventFilter|events
    static_cast<void>(cache.get(NULL)); // refused: Bytes
    cache.set(nullptr, "v"); // refused: Bytes
    cache.set("k", nullptr); // refused: Bytes
    cache.set("k", "v", {5min, {nullptr}}); // refused: Bytes|Tags|SetOptions
    cache.set("k", "v", {5min, nullptr}); // refused: Tags|SetOptions
    cache.set("k", "v", nullptr); // refused: set\(|set'
    static_cast<void>(cache.remove(nullptr)); // refused: Bytes
    static_cast<void>(cache.exists(nullptr)); // refused: Bytes
    static_cast<void>(cache.ttl(nullptr)); // refused: Bytes
    static_cast<void>(cache.expire(nullptr, 5min)); // refused: Bytes
    static_cast<void>(cache.get_versioned(nullptr)); // refused: Bytes
    static_cast<void>(cache.set_if(nullptr, "v", Condition::absent())); // refused: Bytes
    static_cast<void>(cache.set_if("k", nullptr, Condition::absent())); // refused: Bytes
    static_cast<void>(cache.remove_if(nullptr, 1)); // refused: Bytes
    static_cast<void>(cache.get_and_expire(nullptr, 5min)); // refused: Bytes
    static_cast<void>(cache.counter_add(nullptr, 1)); // refused: Bytes
    static_cast<void>(cache.get_or_lease(nullptr)); // refused: Bytes
    static_cast<void>(cache.get_or_load(nullptr, plain)); // refused: Bytes
    static_cast<void>(cache.get_or_load_many({"a", nullptr}, rows)); // refused: Bytes|BytesList|get_or_load_many
    static_cast<void>(Lease().fill(nullptr)); // refused: Bytes
    static_cast<void>(cache.invalidate_tag(nullptr)); // refused: Bytes
    static_cast<void>(cache.invalidate_tags({nullptr})); // refused: Bytes|BytesList|invalidate_tags
    static_cast<void>(cache.invalidate_tags(nullptr)); // refused: BytesList|invalidate_tags
    static_cast<void>(cache.invalidate_pattern(nullptr)); // refused: Bytes
    static_cast<void>(cache.keys(nullptr)); // refused: Bytes
    static_cast<void>(cache.search(nullptr)); // refused: Bytes
    static_cast<void>(cache.get_many({"a", nullptr})); // refused: Bytes|BytesList|get_many
    static_cast<void>(cache.get_many(nullptr)); // refused: BytesList|get_many
    static_cast<void>(queue.search(nullptr)); // refused: Bytes
    batch.set(nullptr, "v"); // refused: Bytes
    batch.get(nullptr); // refused: Bytes
    static_cast<void>(Entry{nullptr, "v"}); // refused: OwnedBytes
    static_cast<void>(cache.get_into("k", nullptr, 0));
    static_cast<void>(Queue::open(cache, 0, nullptr));
    set_log(YC_LOG_OFF, nullptr);
    cache.migrate(cache, {}, nullptr);

    // What stands for no bytes, and what is no time.
    static_cast<void>(cache.get(7)); // refused: Bytes
    static_cast<void>(cache.get(std::vector<int>{7})); // refused: Bytes
    cache.set("k", "v", 5); // refused: set\(|set'
    cache.set("k", "v", {5}); // refused: set|SetOptions
    static_cast<void>(Condition()); // refused: Condition
    static_cast<void>(cache.set_if("k", "v")); // refused: set_if
    static_cast<void>(cache.set_if("k", "v", 5min)); // refused: set_if|Condition
    static_cast<void>(cache.set_if("k", "v", 5)); // refused: set_if|Condition
    static_cast<void>(cache.counter_add("n", 1, 5)); // refused: counter_add
    static_cast<void>(cache.counter_add("n", 1, {5})); // refused: counter_add|CounterOptions|Ttl
    static_cast<void>(cache.get_or_load("k", plain, 5)); // refused: get_or_load
    static_cast<void>(cache.get_or_load("k", plain, {5})); // refused: get_or_load|LoadOptions
    static_cast<void>(cache.get_or_load("k")); // refused: get_or_load
    static_cast<void>(cache.get_or_lease("k", {{}, 5})); // refused: LeaseOptions|get_or_lease
    static_cast<void>(cache.get_many(std::string("a"))); // refused: get_many|BytesList
    static_cast<void>(cache.get_many(std::vector<int>{7})); // refused: get_many|BytesList

    // Everything that a caller may write.
    cache.set("k", "v");
    cache.set("k", "v", {});
    cache.set("k", "v", {}, error);
    cache.set("k", "v", {5min});
    cache.set("k", "v", {5min, {"users:" + id}});
    cache.set("k", "v", {{}, {id, "b", std::string_view("c")}});
    cache.set("k", "v", {Ttl::never(), std::vector<std::string>{"a"}}, error);
    cache.set("k", "v", 5min);
    cache.set("k", "v", 5min, error);
    cache.set("k", "v", error);
    cache.set({"k\0", 2}, {id.data(), id.size()});
    cache.set_many({{"a", "1"}, {"b", id}}, {5min, {"t" + id}});
    cache.set_many({{"a", "1"}}, error);
    cache.set_many(std::vector<Entry>{{"a" + id, "1"}});
    if (cache.set_if("k", "v", Condition::absent())) return;
    if (cache.set_if("k" + id, id, Condition::version(7), {5min, {"users:" + id}}, error)) return;
    static_cast<void>(cache.set_if("k", "v", Condition::present(), 5min));
    static_cast<void>(cache.set_if("k", "v", Condition::present(), 5min, error));
    static_cast<void>(cache.set_if("k", "v", Condition::present(), error));
    static_cast<void>(cache.get_versioned(id)->value.text());
    static_cast<void>(cache.counter_add("n", -1));
    static_cast<void>(cache.counter_add("n", 1, 5min));
    static_cast<void>(cache.counter_add("n", 1, {Ttl::never(), 100}, error));
    static_cast<void>(cache.counter_add("n", 1, {{}, 100}));
    static_cast<void>(cache.get_or_load("k" + id, plain)->text());
    static_cast<void>(cache.get_or_load("k", plain, 5min));
    static_cast<void>(cache.get_or_load("k", &plain, {5min, {"users:" + id}}, error));
    static_cast<void>(cache.get_or_load("k", [](Fill &) { return std::nullopt; }, error));
    static_cast<void>(cache.get_or_load("k", [](Fill &fill) { fill.tags = {"t"}; return std::optional(7) ? "v" : ""; }));
    static_cast<void>(cache.get_or_load("k", [id](Fill &) { return std::vector<std::byte>(id.size()); }, {}));
    static_cast<void>(cache.get_or_load_many({"a", id}, rows, {5min, {"t"}}));
    static_cast<void>(cache.get_or_load_many(std::vector<std::string>{id}, rows, error));
    if (cache.get_or_lease("k" + id, {{"t" + id}, 5s, 0ms}, error).lease->fill("v" + id, {5min, {"t"}, 1h}, error)) return;
    static_cast<void>(cache.get_many(std::vector<std::string>{id}));
    static_cast<void>(cache.get_many({"a", id}));
    static_cast<void>(cache.search("q", {50, 3, {"t" + id}}));
    static_cast<void>(metrics_of({{"a", cache}, {id, cache}}, error));
    static_cast<void>(metrics_of({{"a", Cache::open("memory://")}})); // refused: metrics_of
    batch.set("k" + id, "v" + id, {5min, {"t" + id}});
    batch.set("k" + id, "v" + id, 5min);
    batch.invalidate_tags({"t" + id});
    static_cast<void>(queue.set_many({{"a", "1"}}, {5min, {"t"}}, 7));
    static_cast<void>(queue.get_many(std::vector<std::string>{id}, 7));
}
