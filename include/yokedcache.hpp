/*
 * yokedcache.hpp - the C++17 wrapper of yokedcache.h, with handles that free
 * themselves.
 *
 *   using namespace std::chrono_literals;
 *
 *   auto cache = yokedcache::Cache::open("memory://?max_size=10000");
 *   cache.set("user:1", "Ada", {5min, {"users"}});
 *   if (auto value = cache.get("user:1"))
 *       std::cout << value->view() << '\n';
 *   auto load = [](yokedcache::Fill &) { return std::string("Grace"); };
 *   auto user = cache.get_or_load("user:2", load, {5min, {"users"}});
 *   cache.invalidate_tag("users");
 *
 * Conventions that hold for every function (yokedcache.h documents the
 * semantics of each operation):
 *
 * - A miss is an empty std::optional or false, never an error.
 * - Every operation has two overloads, as in std::filesystem. One throws
 *   yokedcache::Error. The other has Error & as its last parameter and does
 *   not throw; on success it clears the error. If memory runs out, the second
 *   one ends the process, as the library does. migrate() throws the exceptions
 *   of its progress function, and get_or_load() those of its loader, in both.
 * - Keys, tags, patterns and values are Bytes: any text, any contiguous range
 *   of bytes (std::vector<std::byte>, std::array, std::span), or a pointer and
 *   a length. The functions read them only during the call. Types that store
 *   bytes (SetOptions, SearchOptions, Filter, EventFilter, Entry, Batch) own a
 *   copy.
 * - A returned std::string_view is valid as long as the Value, KeyPage, Keys,
 *   Matches, Message or Event that owns its bytes. These objects outlive the
 *   cache. A view into a temporary does not compile; text() returns a copy.
 * - Handles are movable and not copyable. A handle that is empty (default,
 *   moved-from, failed to open) or closed results in an error, never in a crash.
 * - Any thread may call any function on a Cache, but not while another thread
 *   moves, assigns or destroys the object.
 *
 * The examples use an open `Cache cache` and `using namespace yokedcache` and
 * `std::chrono_literals`.
 *
 * Link with the library as a C program does. The wrapper needs no other library.
 */

#ifndef YOKEDCACHE_HPP
#define YOKEDCACHE_HPP

#include "yokedcache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace yokedcache {

// The status of an operation: YC_OK, YC_MISS, YC_END, or a negative YC_E_ number.
using Status = yc_status;

// An error of an operation, or no error. Converts to true if it is an error.
//
//     Error error;
//     auto value = cache.get("user:1", error);
//     if (error && error.retryable())
//         std::cerr << status_name(error.status()) << ": " << error.what() << '\n';
class Error : public std::runtime_error {
public:
    // Creates an object without an error.
    Error() : std::runtime_error("") {}

    // Copies an error of the C API. NULL results in an object without an error.
    explicit Error(const yc_error *error)
        : std::runtime_error(yc_error_message(error)),
          status_(yc_error_status(error)),
          retryable_(yc_error_retryable(error) != 0) {}

    // Creates an error that does not come from the C API.
    Error(Status status, const std::string &message, bool retryable)
        : std::runtime_error(message), status_(status), retryable_(retryable) {}

    // Returns a YC_E_ number, or YC_OK without an error. what() returns the message.
    Status status() const noexcept { return status_; }

    // Returns true if the same call may succeed later without a change.
    bool retryable() const noexcept { return retryable_; }

    // Returns true if the object is an error.
    explicit operator bool() const noexcept { return status_ != YC_OK; }

private:
    Status status_ = YC_OK;
    bool retryable_ = false;
};

// Implementation details of this header; not part of its interface.
namespace detail {

template <class Type>
constexpr bool is_byte =
    std::is_same_v<Type, std::byte> || std::is_same_v<Type, unsigned char> || std::is_same_v<Type, signed char> ||
    std::is_same_v<Type, char>
#ifdef __cpp_char8_t
    || std::is_same_v<Type, char8_t>
#endif
    ;

template <class Source>
constexpr bool is_text = std::is_convertible_v<const Source &, std::string_view>;

// True if a type is a contiguous range of bytes for std::data().
template <class Source, class = void>
constexpr bool is_byte_range = false;

template <class Source>
constexpr bool is_byte_range<Source, std::void_t<decltype(std::data(std::declval<const Source &>())),
                                                 decltype(std::size(std::declval<const Source &>()))>> =
    !is_text<Source> && std::is_pointer_v<decltype(std::data(std::declval<const Source &>()))> &&
    is_byte<std::remove_cv_t<std::remove_pointer_t<decltype(std::data(std::declval<const Source &>()))>>>;

} // namespace detail

// A view of bytes for the duration of a call: a key, a tag, a pattern or a value.
// The caller owns the bytes.
//
//     std::vector<std::byte> image(16);
//     cache.set("image:1", image);
//     cache.set(Bytes("a\0b", 3), std::string("text"));
struct Bytes : yc_slice {
    // Views no bytes.
    Bytes() noexcept : yc_slice{nullptr, 0} {}

    // Views `length` bytes. The pointer may be null if the length is 0.
    Bytes(const void *first, std::size_t length) noexcept : yc_slice{first, length} {}

    // Views a std::string, a std::string_view or a literal (up to its NUL). The
    // operation rejects a pointer that is NULL at run time with YC_E_INVALID.
    template <class Text, std::enable_if_t<detail::is_text<Text>, int> = 0>
    Bytes(const Text &text) noexcept : yc_slice{nullptr, 1} {
        if constexpr (std::is_pointer_v<Text>) {
            if (text == nullptr) {
                return;
            }
        }
        const std::string_view view = text;
        data = view.data();
        len = view.size();
    }

    // Views a contiguous range of bytes, such as std::vector<std::byte>.
    template <class Range, std::enable_if_t<detail::is_byte_range<Range>, unsigned> = 0>
    Bytes(const Range &range) noexcept : yc_slice{std::data(range), std::size(range)} {}

    Bytes(std::nullptr_t) = delete;
};

static_assert(sizeof(Bytes) == sizeof(yc_slice), "an array of Bytes is handed to C as one of yc_slice");

// The time to live of an entry. Ttl() uses the default_ttl of the cache, Ttl(5min)
// is exact, and Ttl::never() does not expire.
//
//     cache.set("session", "data", 30min);
//     cache.expire("session", Ttl::never());
//     if (auto ttl = cache.ttl("session"); ttl && !ttl->is_never())
//         std::cout << ttl->time().count() << " ms\n";
class Ttl {
public:
    constexpr Ttl() noexcept = default;

    // Sets an exact time. The operation rejects a time of zero or less: a time that
    // has run out must not become "never expires".
    template <class Number, class Unit>
    constexpr Ttl(std::chrono::duration<Number, Unit> time) noexcept : kind_(Kind::exactly), time_(time) {}

    // Creates a time to live without an end.
    static constexpr Ttl never() noexcept { return Ttl(Kind::never); }

    constexpr bool is_default() const noexcept { return kind_ == Kind::by_cache; }
    constexpr bool is_never() const noexcept { return kind_ == Kind::never; }

    // Returns the exact time, or 0 for the default and for never.
    constexpr std::chrono::milliseconds time() const noexcept { return time_; }

    // Returns the ttl_ms argument of the C API.
    constexpr std::int64_t ttl_ms() const noexcept {
        if (kind_ != Kind::exactly) {
            return is_never() ? YC_TTL_NEVER : YC_TTL_DEFAULT;
        }
        return time_.count() > 0 ? time_.count() : refused;
    }

private:
    enum class Kind { by_cache, never, exactly };

    // A number that the library rejects with YC_E_INVALID.
    static constexpr std::int64_t refused = -2;

    explicit constexpr Ttl(Kind kind) noexcept : kind_(kind) {}

    Kind kind_ = Kind::by_cache;
    std::chrono::milliseconds time_{0};
};

// A string argument of the C API that must not be NULL, such as a configuration.
//
//     Text config = "memory://?max_size=100";
//     Cache small = Cache::open(config);
struct Text : std::string {
    using std::string::string;
    Text() = default;
    Text(const std::string &text) : std::string(text) {}
    Text(std::string &&text) noexcept : std::string(std::move(text)) {}
    explicit Text(std::string_view text) : std::string(text) {}
    Text(std::nullptr_t) = delete;
};

// An owned copy of bytes.
//
//     OwnedBytes key = std::vector<unsigned char>{0, 1, 2};
//     cache.set(key, "value");
struct OwnedBytes : std::string {
    OwnedBytes() = default;
    OwnedBytes(std::string bytes) noexcept : std::string(std::move(bytes)) {}
    OwnedBytes(const void *first, std::size_t length) : std::string(static_cast<const char *>(first), length) {}

    // Copies any type that converts to Bytes. Throws std::invalid_argument for NULL.
    template <class Source, std::enable_if_t<std::is_convertible_v<const Source &, Bytes>, int> = 0>
    OwnedBytes(const Source &source) : std::string(copy(source)) {}

    OwnedBytes(std::nullptr_t) = delete;

private:
    static std::string copy(const Bytes &bytes) {
        if (bytes.data == nullptr && bytes.len != 0) {
            throw std::invalid_argument("a NULL pointer stands for no bytes");
        }
        return bytes.len == 0 ? std::string() : std::string(static_cast<const char *>(bytes.data), bytes.len);
    }
};

namespace detail {

template <class Range, class = void>
constexpr bool is_list_of_bytes = false;

template <class Range>
constexpr bool is_list_of_bytes<Range, std::void_t<decltype(std::begin(std::declval<const Range &>()))>> =
    std::is_convertible_v<decltype(*std::begin(std::declval<const Range &>())), Bytes>;

} // namespace detail

// Owned copies of tags: from {"a", b}, or from any range of types that convert to
// Bytes.
//
//     Tags tags = {"users", "eu"};
//     cache.set("user:1", "Ada", {5min, tags});
struct Tags : std::vector<std::string> {
    Tags() = default;
    Tags(std::vector<std::string> tags) noexcept : std::vector<std::string>(std::move(tags)) {}

    Tags(std::initializer_list<Bytes> tags) { assign_all(tags); }

    template <class Range, std::enable_if_t<detail::is_list_of_bytes<Range>, int> = 0>
    Tags(const Range &tags) {
        assign_all(tags);
    }

private:
    template <class Range>
    void assign_all(const Range &tags) {
        for (const auto &tag : tags) {
            push_back(OwnedBytes(tag));
        }
    }
};

// A view of many keys or tags for the duration of a call: from {"a", b}, or from
// any range of types that convert to Bytes. The caller owns the bytes.
//
//     std::vector<std::string> keys = {"user:1", "user:2"};
//     cache.remove_many(keys);
//     cache.invalidate_tags({"users", "eu"});
class BytesList {
public:
    BytesList() = default;
    BytesList(std::initializer_list<Bytes> list) : slices_(list) {}
    BytesList(std::vector<Bytes> list) noexcept : slices_(std::move(list)) {}

    template <class Range, std::enable_if_t<detail::is_list_of_bytes<Range>, int> = 0>
    BytesList(const Range &range) {
        for (const auto &bytes : range) {
            slices_.push_back(bytes);
        }
    }

    // Returns an array of size() elements for the C API.
    const yc_slice *data() const noexcept { return slices_.data(); }
    std::size_t size() const noexcept { return slices_.size(); }
    std::vector<Bytes>::const_iterator begin() const noexcept { return slices_.begin(); }
    std::vector<Bytes>::const_iterator end() const noexcept { return slices_.end(); }

private:
    std::vector<Bytes> slices_;
};

// The time to live and the tags of cache.set(): {}, {5min}, {5min, {"tag"}} or
// {{}, {"tag"}}. The tags replace the previous tags of the key.
//
//     cache.set("user:1", "Ada", {5min, {"users"}});
//     cache.set("user:2", "Grace", {{}, {"users"}});
struct SetOptions {
    Ttl ttl = {};
    Tags tags = {};
};

// Identifies the state of an entry. Each set gives the entry a version that it had never
// before, also if the value is equal. Versions have no order. expire() and
// get_and_expire() keep the version; after a switch or a migration the entry has another.
using Version = std::uint64_t;

// The condition of cache.set_if(): the key does not exist, it exists, or its entry has a
// version.
//
//     if (cache.set_if("lock", "worker 1", Condition::absent(), 30s))
//         std::cout << "locked\n";
//     if (auto found = cache.get_versioned("user:1"))
//         cache.set_if("user:1", "Ada", Condition::version(found->version));
class Condition {
public:
    // The key does not exist: a get would miss.
    static constexpr Condition absent() noexcept { return Condition(YC_IF_ABSENT, 0); }

    // The key exists.
    static constexpr Condition present() noexcept { return Condition(YC_IF_PRESENT, 0); }

    // The key exists, and its entry has this version.
    static constexpr Condition version(Version version) noexcept { return Condition(YC_IF_VERSION, version); }

    // Return the arguments of the C API.
    constexpr std::int32_t kind() const noexcept { return kind_; }
    constexpr Version expected() const noexcept { return expected_; }

private:
    constexpr Condition(std::int32_t kind, Version expected) noexcept : kind_(kind), expected_(expected) {}

    std::int32_t kind_;
    Version expected_;
};

// The options of a counter that cache.counter_add() creates: {}, {1min} or {1min, 100}.
//
//     cache.counter_add("requests", 1, {1min});
//     cache.counter_add("tickets", -2, {Ttl::never(), 1000});
struct CounterOptions {
    // The time to live, which starts when the counter is created.
    Ttl ttl = {};
    // The value before the first addition.
    std::int64_t initial = 0;
};

// Selects whether a read goes to the servers also if the near cache has a copy. Without a
// near cache it makes no difference.
enum class Fresh { no, yes };

// The options of cache.get_or_lease().
//
//     Lookup found = cache.get_or_lease("user:1", {{"users"}});
struct LeaseOptions {
    // The tags of the value to be loaded, as far as they are known before the load.
    Tags tags = {};
    // The time for which the lease is valid if its holder does nothing. 0: the option
    // `lease` of the cache.
    std::chrono::milliseconds lease{0};
    // The time to wait for the load of another caller; 0 does not wait. Empty: until the
    // deadline of a call.
    std::optional<std::chrono::milliseconds> wait = {};
    Fresh fresh = Fresh::no;
};

// The options of lease.fill(): {}, {5min}, or {5min, {"tag"}}.
//
//     if (Lookup found = cache.get_or_lease("user:1"); found.lease)
//         found.lease->fill("Ada", {5min, {"users"}});
struct FillOptions {
    // The time to live. For an absence, the default is the option `negative_ttl`.
    Ttl ttl = {};
    // Tags in addition to those of the lease, known only after the load.
    Tags tags = {};
    // The time after ttl in which the value may be served as stale. Empty: the option
    // `stale_for` of the cache.
    std::optional<std::chrono::milliseconds> stale_for = {};
};

// Runs a task later, on a thread of the program.
using Executor = std::function<void(std::function<void()> task)>;

// The options of cache.get_or_load() and cache.get_or_load_many(): {}, {5min} or
// {5min, {"tag"}}. The loader can change the times and add tags; see Fill.
//
//     LoadOptions options;
//     options.ttl = 5min;
//     options.stale_for = 1h;
//     auto user = cache.get_or_load("user:1", [](Fill &) { return std::string("Ada"); }, options);
struct LoadOptions {
    // The time to live of a loaded value.
    Ttl ttl = {};
    // The tags of a loaded value, as far as they are known before the load.
    Tags tags = {};
    // The time after ttl in which a value may be served as stale. Empty: the option
    // `stale_for` of the cache.
    std::optional<std::chrono::milliseconds> stale_for = {};
    // The time for which the cache remembers that a load found nothing. The default is
    // the option `negative_ttl` of the cache.
    Ttl absent_ttl = {};
    // The time for which the lease is valid: longer than the slowest load. 0: the option
    // `lease` of the cache.
    std::chrono::milliseconds lease{0};
    // The time to wait for the load of another caller, after which the call gets YC_E_BUSY; 0
    // does not wait. Empty: the deadline of a call (`socket_timeout`, or 1 s on the memory
    // backend). The loader of the call itself has no time limit.
    std::optional<std::chrono::milliseconds> wait = {};
    // The time for which no caller loads a key after its load has failed.
    std::chrono::milliseconds retry_after{0};
    // Wait for the load of a stale value, and return the stale value only if the load fails.
    bool stale_if_error = false;
    // Runs background loads. Empty: threads of the cache run them.
    Executor executor = {};
};

// An entry of cache.set_many(). It owns its key and value.
//
//     std::vector<Entry> entries = {{"user:1", "Ada"}, {"user:2", "Grace"}};
//     cache.set_many(entries, 5min);
struct Entry {
    OwnedBytes key;
    OwnedBytes value;
};

namespace detail {

// A view of a key and a value for the duration of a call.
struct Pair {
    Pair(Bytes its_key, Bytes its_value) noexcept : key(its_key), value(its_value) {}
    Pair(const Entry &entry) noexcept : key(entry.key), value(entry.value) {}

    template <class First, class Second>
    Pair(const std::pair<First, Second> &pair) noexcept : key(pair.first), value(pair.second) {}

    Bytes key;
    Bytes value;
};

} // namespace detail

// A view of many entries for the duration of a call: from {{"key", "value"}, ...}, or
// from any range of Entry or std::pair, such as a std::map. The caller owns the bytes.
//
//     std::map<std::string, std::string> users = {{"user:1", "Ada"}, {"user:2", "Grace"}};
//     cache.set_many(users);
class EntryList {
public:
    EntryList() = default;
    EntryList(std::initializer_list<detail::Pair> list) { add_all(list); }

    template <class Range, std::enable_if_t<std::is_convertible_v<
                               decltype(*std::begin(std::declval<const Range &>())), detail::Pair>, int> = 0>
    EntryList(const Range &range) {
        add_all(range);
    }

    // Return arrays of size() elements for the C API.
    const yc_slice *keys() const noexcept { return keys_.data(); }
    const yc_slice *values() const noexcept { return values_.data(); }
    std::size_t size() const noexcept { return keys_.size(); }

private:
    template <class Range>
    void add_all(const Range &range) {
        for (const auto &entry : range) {
            const detail::Pair pair(entry);
            keys_.push_back(pair.key);
            values_.push_back(pair.value);
        }
    }

    std::vector<yc_slice> keys_;
    std::vector<yc_slice> values_;
};

// The options of a search. With tags, the search considers only entries that have at
// least one of them.
//
//     SearchOptions options;
//     options.threshold = 70;
//     options.tags = {"users"};
//     Matches matches = cache.search("usr:1", options);
struct SearchOptions {
    double threshold = YC_SEARCH_THRESHOLD;
    std::size_t limit = YC_SEARCH_LIMIT;
    Tags tags = {};
};

// Owned copies of names or of patterns of channels, made as Tags are.
using Names = Tags;

// The channels of a subscription: those of the given names, and those that match a
// pattern. At least one is needed; the limit is 1024 together.
//
//     Subscription news = cache.subscribe({{"news", "sport"}});
//     Filter filter;
//     filter.patterns = {"orders:*"};
//     Subscription orders = cache.subscribe(filter);
struct Filter {
    Names channels = {};
    // Globs, as those of invalidate_pattern().
    Names patterns = {};
    // The most bytes of the messages that wait to be taken. 0: 8 MiB.
    std::uint64_t max_bytes = 0;
};

// The events that a reader wants; by default all events of other caches.
//
//     Events prices = cache.events({{"prices"}});
//     EventFilter filter;
//     filter.keys = {"user:*"};
//     filter.kinds = YC_EVENT_DELETE | YC_EVENT_FLUSH;
//     Events deletes = cache.events(filter);
struct EventFilter {
    // Of invalidations of tags, only those of these tags. Empty: of all tags. With tags and
    // without keys and kinds, no deletes are wanted.
    Tags tags = {};
    // Of deletes, only those of keys that match one of these globs, which are those of
    // invalidate_pattern(). Empty: of all keys. With keys and without tags and kinds, no
    // invalidations of tags are wanted. Tags and keys are 1024 together at most.
    Names keys = {};
    // The sum of the YC_EVENT_ numbers of the wanted kinds. 0: all kinds. Gaps are always
    // returned.
    std::uint64_t kinds = 0;
    // Return the events of the cache that the reader belongs to as well.
    bool own = false;
    // The most bytes of the events that wait to be taken. 0: 8 MiB.
    std::uint64_t max_bytes = 0;
};

// The options of cache.view(). An option that is not given is that of the cache.
//
//     ViewOptions options;
//     options.name_space = "users";
//     options.timeout = 20ms;
//     Cache users = cache.view(options);
struct ViewOptions {
    // The namespace of the keys and the tags of the view: 1 to 64 of A-Z a-z 0-9 _ . -
    // Empty: those of the cache.
    Text name_space = {};
    // The time limit of a call, in place of socket_timeout: shorter or longer.
    std::optional<std::chrono::milliseconds> timeout = {};
    // The time to live of an entry that is set without one. 0: it never expires.
    std::optional<std::chrono::milliseconds> default_ttl = {};
    // Tags that each entry gets in addition to those of the call, in UTF-8.
    Tags tags = {};
    // Sliding expiry: a get, also of many keys or for loading, gives its entry the default
    // time to live of the view again.
    std::optional<bool> touch_on_get = {};
    // The largest age of an entry that reads accept: an older entry is a miss for the view, and
    // stays, as described at Cache::get_info(). Such a view does not load.
    std::optional<std::chrono::milliseconds> max_age = {};
    // "walk" lists the keys that a pattern invalidates and counts them; "barrier" makes misses of
    // the older entries that match in one step, and needs generations.
    std::string patterns = {};
};

// The options of cache.switch_to().
//
//     SwitchOptions options;
//     options.copy = true;
//     cache.switch_to("memory://?max_size=50000", options);
struct SwitchOptions {
    // Copy the entries of the cache before the new backend serves calls.
    bool copy = false;
    // Largest number of entries copied per second. 0: no limit.
    std::uint64_t rate = 0;
};

// The options of cache.migrate().
//
//     MigrateOptions options;
//     options.pattern = "user:*";
//     options.dry_run = true;
//     Cache target = Cache::open("memory://?key_prefix=copy");
//     std::cout << cache.migrate(target, options) << '\n';
struct MigrateOptions {
    // Copy only keys that match this glob, in UTF-8. Empty: all keys.
    Text pattern = {};
    // Largest number of entries copied per second. 0: no limit.
    std::uint64_t rate = 0;
    // Count the entries that would be copied, and store nothing.
    bool dry_run = false;
    // Continue an earlier migration: the last MigrateProgress::resume of it.
    Text resume = {};
};

// The progress of a migration.
//
//     Cache target = Cache::open("memory://?key_prefix=copy");
//     cache.migrate(target, {}, [](const MigrateProgress &progress) {
//         std::cout << progress.copied << " copied\n";
//         return progress.failed < 100;
//     });
struct MigrateProgress {
    // Number of keys that were examined.
    std::uint64_t examined = 0;
    // Number of entries that were stored in the target. In a dry run: that would be.
    std::uint64_t copied = 0;
    // Number of entries that were skipped without a failure.
    std::uint64_t skipped = 0;
    // Number of entries that could not be copied.
    std::uint64_t failed = 0;
    // Value for MigrateOptions::resume that continues here or slightly earlier. Empty
    // at the end. Valid during the call.
    std::string_view resume = {};
};

// Receives the progress of a migration every few hundred keys, on the thread that
// called migrate(). Return true to continue, false to stop. The function may call the
// library. An exception stops the migration, and migrate() throws it.
using OnProgress = std::function<bool(const MigrateProgress &)>;

// Selects whether an invalidation counts the entries that it removes. The memory
// backend needs time for each counted entry, and the same time for any number of
// uncounted ones. With dry_run it counts the entries that it would remove, and removes
// nothing.
enum class Count { no, yes, dry_run };

// The size of a cache: the number of entries, and the bytes of keys, values and
// bookkeeping.
//
//     Size size = cache.size();
//     std::cout << size.keys << " keys, " << size.bytes << " bytes\n";
struct Size {
    std::uint64_t keys = 0;
    std::uint64_t bytes = 0;
};

namespace detail {

// Receives the error of a C function. The destructor, at the end of the statement,
// moves it into the Error.
class ErrorPlace {
public:
    explicit ErrorPlace(Error &error) noexcept : error_(error) {}
    ErrorPlace(const ErrorPlace &) = delete;
    ErrorPlace &operator=(const ErrorPlace &) = delete;

    ~ErrorPlace() {
        if (written_ != nullptr || error_) {
            error_ = Error(written_);
        }
        yc_error_free(written_);
    }

    operator yc_error **() noexcept { return &written_; }

private:
    Error &error_;
    yc_error *written_ = nullptr;
};

// Returns a count of the C API, or nothing if it is not known.
inline std::optional<std::uint64_t> known(std::uint64_t count) noexcept {
    return count == YC_COUNT_UNKNOWN ? std::nullopt : std::optional(count);
}

// Receives the number of removed entries from a C function if it is wanted.
class RemovedPlace {
public:
    explicit RemovedPlace(Count count) noexcept : wanted_(count == Count::yes) {}

    operator std::uint64_t *() noexcept { return wanted_ ? &written_ : nullptr; }

    std::optional<std::uint64_t> known() const noexcept { return detail::known(written_); }

private:
    bool wanted_;
    std::uint64_t written_ = YC_COUNT_UNKNOWN;
};

// Returns the flags of an operation that reads.
inline std::uint32_t flags(Fresh fresh) noexcept {
    return fresh == Fresh::yes ? YC_OP_FRESH : 0;
}

// Calls an operation that takes an Error & and throws the error.
template <class Operation>
auto or_throw(Operation operation) {
    Error error;
    if constexpr (std::is_void_v<decltype(operation(error))>) {
        operation(error);
        if (error) {
            throw error;
        }
    } else {
        auto answer = operation(error);
        if (error) {
            throw error;
        }
        return answer;
    }
}

template <auto release>
struct Release {
    template <class Raw>
    void operator()(Raw *raw) const noexcept {
        release(raw);
    }
};

template <class Raw, auto release>
using Handle = std::unique_ptr<Raw, Release<release>>;

inline std::string_view view(const yc_slice &slice) noexcept {
    return {static_cast<const char *>(slice.data), slice.len};
}

// Returns an age of the C API, or nothing if it is not known.
inline std::optional<std::chrono::milliseconds> age_of(std::int64_t age_ms) noexcept {
    return age_ms == YC_AGE_UNKNOWN ? std::nullopt : std::optional(std::chrono::milliseconds(age_ms));
}

inline Ttl remaining(std::int64_t ttl_ms) noexcept {
    return ttl_ms < 0 ? Ttl::never() : Ttl(std::chrono::milliseconds(ttl_ms));
}

// A view of tags as the C API takes them.
class TagSlices {
public:
    explicit TagSlices(const Tags &tags) : size_(tags.size()) {
        if (size_ > few_.size()) {
            many_.resize(size_);
        }
        std::transform(tags.begin(), tags.end(), first(), [](const std::string &tag) { return Bytes(tag); });
    }

    const yc_slice *data() const noexcept { return many_.empty() ? few_.data() : many_.data(); }
    std::size_t size() const noexcept { return size_; }

private:
    yc_slice *first() noexcept { return many_.empty() ? few_.data() : many_.data(); }

    // Most entries have few tags: these need no memory of their own.
    std::array<yc_slice, 8> few_ = {};
    std::vector<yc_slice> many_;
    std::size_t size_;
};

// Enables functions that take a time in place of SetOptions; {} is SetOptions.
template <class Time>
using if_time = std::enable_if_t<std::is_convertible_v<const Time &, Ttl>>;

// Converts options for the C API. The caller owns the tags.
inline yc_search_options search_options(const SearchOptions &options, const TagSlices &tags) noexcept {
    yc_search_options raw = YC_SEARCH_OPTIONS_INIT;
    raw.threshold = options.threshold;
    raw.limit = options.limit;
    raw.tags = tags.data();
    raw.n_tags = tags.size();
    return raw;
}

// Quotes a text for JSON. Invalid UTF-8 is kept: the library reports it.
inline std::string quoted(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string json = "\"";
    for (const char letter : text) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte < 0x20 || byte == 0x7f) {
            json.append("\\u00").append({digits[byte / 16], digits[byte % 16]});
        } else {
            json.append(letter == '"' || letter == '\\' ? "\\" : "").append({letter});
        }
    }
    return json + '"';
}

inline std::string text_of(const SwitchOptions &options) {
    return std::string("{copy: ") + (options.copy ? "true" : "false") + ", rate: " + std::to_string(options.rate) + "}";
}

inline std::string text_of(const ViewOptions &options) {
    std::string text = "{";
    const auto add = [&](const char *name, const std::string &value) {
        text += std::string(text.size() > 1 ? ", " : "") + name + ": " + value;
    };
    if (!options.name_space.empty()) {
        add("namespace", quoted(options.name_space));
    }
    if (options.timeout) {
        add("timeout", std::to_string(options.timeout->count()) + "ms");
    }
    if (options.default_ttl) {
        add("default_ttl", std::to_string(options.default_ttl->count()) + "ms");
    }
    std::string tags;
    for (const std::string_view tag : options.tags) {
        tags += (tags.empty() ? "" : ", ") + quoted(tag);
    }
    if (!tags.empty()) {
        add("tags", "[" + tags + "]");
    }
    if (options.touch_on_get) {
        add("touch_on_get", *options.touch_on_get ? "true" : "false");
    }
    if (options.max_age) {
        add("max_age", std::to_string(options.max_age->count()) + "ms");
    }
    if (!options.patterns.empty()) {
        add("patterns", quoted(options.patterns));
    }
    return text + "}";
}

inline std::string text_of(const MigrateOptions &options) {
    std::string text = std::string("{dry_run: ") + (options.dry_run ? "true" : "false");
    text += ", rate: " + std::to_string(options.rate);
    text += options.pattern.empty() ? "" : ", pattern: " + quoted(options.pattern);
    text += options.resume.empty() ? "" : ", resume: " + quoted(options.resume);
    return text + "}";
}

// The progress function of a migration and the exception that it threw.
struct ProgressCall {
    const OnProgress &function;
    std::exception_ptr thrown = {};
};

inline std::int32_t report_progress(void *data, const yc_progress *raw) noexcept {
    ProgressCall &call = *static_cast<ProgressCall *>(data);
    try {
        const std::string_view resume = raw->resume == nullptr ? std::string_view() : std::string_view(raw->resume);
        return call.function({raw->examined, raw->copied, raw->skipped, raw->failed, resume}) ? 0 : 1;
    } catch (...) {
        // No exception may cross the library: migrate() throws it again.
        call.thrown = std::current_exception();
        return 1;
    }
}

// An iterator over an object with operator[].
template <class Owner>
class Position {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = decltype(std::declval<const Owner &>()[0]);
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type *;
    using reference = value_type;

    Position(const Owner *owner, std::size_t index) noexcept : owner_(owner), index_(index) {}

    value_type operator*() const noexcept { return (*owner_)[index_]; }

    Position &operator++() noexcept {
        ++index_;
        return *this;
    }

    Position operator++(int) noexcept {
        Position here = *this;
        ++index_;
        return here;
    }

    bool operator==(const Position &other) const noexcept { return index_ == other.index_; }
    bool operator!=(const Position &other) const noexcept { return index_ != other.index_; }

private:
    const Owner *owner_;
    std::size_t index_;
};

} // namespace detail

// A value that the library returned, without a copy, or that a loader returned. It is
// immutable and remains valid if its entry is replaced or removed.
//
//     if (std::optional<Value> value = cache.get("user:1"))
//         std::cout << value->view() << ", " << value->size() << " bytes\n";
class Value {
public:
    // Creates an empty handle without bytes.
    Value() noexcept = default;

    // Takes ownership of a value of the C API.
    explicit Value(yc_value *owned) noexcept : handle_(owned) {}

    // Shares bytes that a loader returned.
    explicit Value(std::shared_ptr<const std::string> loaded) noexcept : loaded_(std::move(loaded)) {}

    // Returns a view of the bytes, which this object owns. For a temporary use text().
    std::string_view view() const & noexcept {
        if (loaded_ != nullptr) {
            return *loaded_;
        }
        std::size_t length = 0;
        const void *first = yc_value_data(handle_.get(), &length);
        return {static_cast<const char *>(first), length};
    }
    std::string_view view() const && = delete;

    // Returns the first byte, which this object owns.
    const void *data() const & noexcept { return view().data(); }
    const void *data() const && = delete;

    // Returns the number of bytes.
    std::size_t size() const noexcept { return view().size(); }

    // Returns a copy of the bytes.
    std::string text() const { return std::string(view()); }

    // Returns copies of the names of the tags of the entry that get_info() has read, in the
    // order of the set and without the namespace of a view. Empty for a value of another
    // function, and for an entry that does not store them: see yc_value_tag().
    std::vector<std::string> tags() const {
        std::vector<std::string> names;
        std::size_t length = 0;
        while (const void *name = yc_value_tag(handle_.get(), names.size(), &length)) {
            names.emplace_back(static_cast<const char *>(name), length);
        }
        return names;
    }

    // Returns a second handle on the same bytes.
    Value clone() const noexcept { return loaded_ != nullptr ? Value(loaded_) : Value(yc_value_clone(handle_.get())); }

    explicit operator bool() const noexcept { return handle_ != nullptr || loaded_ != nullptr; }

private:
    detail::Handle<yc_value, yc_value_free> handle_;
    std::shared_ptr<const std::string> loaded_;
};

// The result of Cache::get(), get_near(), get_and_expire() and get_or_load(): a
// std::optional<Value>. A temporary result does not lend its bytes, because the view would
// outlive them: cache.get(key)->view() does not compile.
//
//     auto value = cache.get("user:1");
//     if (value)
//         std::cout << value->view() << '\n'; // valid as long as value
//     std::string name = cache.get("user:1")->text();
class OptionalValue : public std::optional<Value> {
public:
    OptionalValue() noexcept = default;
    OptionalValue(std::optional<Value> value) noexcept : std::optional<Value>(std::move(value)) {}
    OptionalValue(std::nullopt_t) noexcept {}

    // The functions of a temporary value: those that copy its bytes.
    class Temporary {
    public:
        explicit Temporary(const Value &value) noexcept : value_(value) {}

        std::size_t size() const noexcept { return value_.size(); }
        std::string text() const { return value_.text(); }
        Value clone() const noexcept { return value_.clone(); }
        std::string_view view() const = delete;
        const void *data() const = delete;

        const Temporary *operator->() const noexcept { return this; }

    private:
        const Value &value_;
    };

    // Returns the value, which must be present.
    Value *operator->() & noexcept { return &**this; }
    const Value *operator->() const & noexcept { return &**this; }
    Temporary operator->() && noexcept { return Temporary(**this); }
    Temporary operator->() const && noexcept { return Temporary(**this); }
};

// A value with the version of its entry.
//
//     if (std::optional<Versioned> found = cache.get_versioned("user:1"))
//         cache.remove_if("user:1", found->version);
struct Versioned {
    Value value;
    Version version = 0;
};

// A value with the properties of its entry; see yc_get_info().
//
//     if (std::optional<EntryInfo> found = cache.get_info("user:1"))
//         if (found->age && *found->age > 1min)
//             std::cout << "older than a minute\n";
struct EntryInfo {
    Value value;
    Version version = 0;
    // The time since the set: never too short, and up to 2200 ms too long. Empty if it is not
    // stored: in memory with an entry that was set without a time to live, on Redis with a
    // counter.
    std::optional<std::chrono::milliseconds> age = {};
    // The remaining time to live, or Ttl::never().
    Ttl ttl = {};
    // The number of tags. value.tags() returns their names if the entry stores them, with the
    // option tag_names.
    std::uint64_t tag_count = 0;
};

namespace detail {

// Converts the result of a load for the C API. The caller owns the value and the tags.
inline yc_fill raw_fill(Bytes value, Ttl ttl, std::optional<std::chrono::milliseconds> stale_for,
                        const TagSlices &tags) noexcept {
    yc_fill raw = {};
    raw.struct_size = sizeof raw;
    raw.value = value.data;
    raw.value_len = value.len;
    raw.ttl_ms = ttl.ttl_ms();
    raw.stale_for_ms = stale_for ? stale_for->count() : YC_STALE_FOR_DEFAULT;
    raw.tags = tags.data();
    raw.n_tags = tags.size();
    return raw;
}

// Converts options for the C API. The caller owns the tags.
inline yc_lease_options raw_lease(std::chrono::milliseconds lease, std::int64_t wait_ms, const TagSlices &tags) noexcept {
    yc_lease_options raw = {};
    raw.struct_size = sizeof raw;
    raw.lease_ms = lease.count();
    raw.wait_ms = wait_ms;
    raw.tags = tags.data();
    raw.n_tags = tags.size();
    return raw;
}

// The wait_ms of the C API that does not wait.
constexpr std::int64_t no_wait = -1;

// Returns wait_ms of the C API, where 0 has another meaning. A negative time is refused there.
inline std::int64_t wait_ms(std::chrono::milliseconds wait) noexcept {
    constexpr std::int64_t refused = -2;
    return wait.count() > 0 ? wait.count() : wait.count() == 0 ? no_wait : refused;
}

} // namespace detail

// The right to load one key; see Cache::get_or_lease(). It is used once. The destructor
// abandons a lease that was not used.
//
//     Lookup found = cache.get_or_lease("user:1", {{"users"}});
//     if (found.lease && !found.lease->fill("Ada", {5min}))
//         std::cout << "the user was changed during the load\n";
class Lease {
public:
    // Creates an empty handle.
    Lease() noexcept = default;

    // Takes ownership of a lease of the C API.
    explicit Lease(yc_lease *owned) noexcept : handle_(owned) {}

    // Returns the handle for the C API. This object owns it.
    yc_lease *native() const & noexcept { return handle_.get(); }
    yc_lease *native() const && = delete;
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Stores the loaded value. Returns false if nothing was stored, because the key or one
    // of its tags changed since the lease was taken, or the lease expired. After an error
    // the lease is unused.
    bool fill(Bytes value, const FillOptions &options, Error &error) noexcept { return fill(value, 0, options, error); }

    bool fill(Bytes value, const FillOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return fill(value, options, error); });
    }

    // Stores the fact that the load found nothing, as fill() stores a value.
    bool fill_absent(const FillOptions &options, Error &error) noexcept {
        return fill({}, YC_FILL_ABSENT, options, error);
    }

    bool fill_absent(const FillOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return fill_absent(options, error); });
    }

    // Ends the lease without a result: the load failed. No caller gets a lease for the key
    // for this time; 0: another caller may load the key at once.
    void abandon(std::chrono::milliseconds retry_after, Error &error) noexcept {
        yc_lease_abandon(native(), retry_after.count(), detail::ErrorPlace(error));
    }

    void abandon(std::chrono::milliseconds retry_after = {}) {
        detail::or_throw([&](Error &error) { abandon(retry_after, error); });
    }

private:
    bool fill(Bytes value, std::uint32_t flags, const FillOptions &options, Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        yc_fill raw = detail::raw_fill(value, options.ttl, options.stale_for, tags);
        raw.flags = flags;
        return yc_lease_fill(native(), &raw, detail::ErrorPlace(error)) == YC_OK;
    }

    detail::Handle<yc_lease, yc_lease_free> handle_;
};

// The result of cache.get_or_lease().
//
//     Lookup found = cache.get_or_lease("user:1");
//     if (found.value)
//         std::cout << found.value->view() << '\n';
//     if (found.lease)
//         found.lease->fill("Ada");
struct Lookup {
    // YC_OK: the value is fresh. YC_STALE: it is past its time to live. YC_ABSENT: an
    // earlier load found nothing. YC_LEASED: there is no value. Or a failure.
    Status status = YC_E_INVALID;
    std::optional<Value> value = {};
    // If present, the caller must load the key, and then fill or abandon the lease.
    std::optional<Lease> lease = {};
};

// The times and the tags of a loaded value. The loader may change them.
//
//     auto load = [](Fill &fill) {
//         FillTerms &terms = fill;
//         terms.ttl = 10min;
//         return std::string("Ada");
//     };
//     auto user = cache.get_or_load("user:1", load);
struct FillTerms {
    Ttl ttl = {};
    std::optional<std::chrono::milliseconds> stale_for = {};
    // Tags in addition to LoadOptions::tags, which only the load tells.
    Tags tags = {};
    // The time to live of an absence.
    Ttl absent_ttl = {};
};

// The load of a key or of several keys, for its loader. Its times are those of LoadOptions
// at first.
//
//     auto user = cache.get_or_load("user:1", [](Fill &fill) {
//         fill.ttl = 10min;
//         fill.tags = {"team:7"};
//         return std::string("Ada");
//     });
class Fill : public FillTerms {
public:
    Fill(std::vector<std::string_view> keys, const FillTerms &terms, const std::atomic<bool> &cancelled)
        : FillTerms(terms), keys_(std::move(keys)), cancelled_(cancelled) {}
    Fill(const Fill &) = delete;
    Fill &operator=(const Fill &) = delete;

    // Returns the key, or the first of several keys. It is valid until the loader returns.
    std::string_view key() const noexcept { return keys_.front(); }

    // Returns the keys to load. They are valid until the loader returns.
    const std::vector<std::string_view> &keys() const noexcept { return keys_; }

    // Returns the terms of one key of get_or_load_many(). They begin with the times of all
    // keys; its tags are in addition to those of all keys.
    FillTerms &for_key(std::string_view key) {
        return terms_of_.try_emplace(std::string(key), FillTerms{ttl, stale_for, {}, absent_ttl}).first->second;
    }

    // Returns the terms that the loader has set for a key.
    FillTerms terms_for(std::string_view key) const {
        const auto place = terms_of_.find(key);
        if (place == terms_of_.end()) {
            return *this;
        }
        FillTerms terms = place->second;
        terms.tags.insert(terms.tags.end(), tags.begin(), tags.end());
        return terms;
    }

    // Returns true if the cache was closed or is being destroyed: a long load can end early.
    bool cancelled() const noexcept { return cancelled_; }

private:
    std::vector<std::string_view> keys_;
    std::map<std::string, FillTerms, std::less<>> terms_of_ = {};
    const std::atomic<bool> &cancelled_;
};

// A page of keys of a listing.
//
//     Keys keys = cache.keys("user:*");
//     while (std::optional<KeyPage> page = keys.next_page(100))
//         for (std::string_view key : *page)
//             std::cout << key << '\n';
class KeyPage {
public:
    KeyPage() noexcept = default;
    explicit KeyPage(yc_keys *owned) noexcept : handle_(owned) {}

    std::size_t size() const noexcept {
        std::size_t count = 0;
        yc_keys_data(handle_.get(), &count);
        return count;
    }

    // Returns the key at an index, or an empty view if index is not below size().
    std::string_view operator[](std::size_t index) const & noexcept {
        std::size_t count = 0;
        const yc_slice *keys = yc_keys_data(handle_.get(), &count);
        return index < count ? detail::view(keys[index]) : std::string_view();
    }
    std::string_view operator[](std::size_t) const && = delete;

    detail::Position<KeyPage> begin() const & noexcept { return {this, 0}; }
    detail::Position<KeyPage> begin() const && = delete;
    detail::Position<KeyPage> end() const & noexcept { return {this, size()}; }
    detail::Position<KeyPage> end() const && = delete;

private:
    detail::Handle<yc_keys, yc_keys_free> handle_;
};

// A listing of keys, for one iteration: with a range-for, which reads page after page
// and throws Error, or with next_page().
//
//     Keys keys = cache.keys("user:*");
//     for (std::string_view key : keys)
//         std::cout << key << '\n';
class Keys {
public:
    class Iterator;

    Keys() noexcept = default;
    explicit Keys(yc_cursor *owned) noexcept : handle_(owned) {}

    // Returns the handle for the C API. This object owns it.
    yc_cursor *native() const & noexcept { return handle_.get(); }
    yc_cursor *native() const && = delete;

    // Reads the next page of at most `limit` keys (0: 512). Empty at the end.
    std::optional<KeyPage> next_page(std::size_t limit, Error &error) noexcept {
        yc_keys *page = nullptr;
        yc_keys_next(handle_.get(), limit, &page, detail::ErrorPlace(error));
        return page == nullptr ? std::nullopt : std::optional<KeyPage>(page);
    }

    std::optional<KeyPage> next_page(std::size_t limit = 0) {
        return detail::or_throw([&](Error &error) { return next_page(limit, error); });
    }

    // A key is valid until the iterator is incremented.
    Iterator begin() &;
    Iterator begin() && = delete;
    Iterator end() & noexcept;
    Iterator end() && = delete;

private:
    // Moves to the next key. Returns false at the end.
    bool advance() {
        if (++index_ >= page_.size()) {
            page_ = next_page().value_or(KeyPage());
            index_ = 0;
        }
        return index_ < page_.size();
    }

    detail::Handle<yc_cursor, yc_cursor_free> handle_;
    KeyPage page_;
    std::size_t index_ = 0;
};

class Keys::Iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string_view *;
    using reference = std::string_view;

    // NULL creates the end iterator.
    explicit Iterator(Keys *keys) noexcept : keys_(keys) {}

    std::string_view operator*() const noexcept { return keys_->page_[keys_->index_]; }

    Iterator &operator++() {
        if (!keys_->advance()) {
            keys_ = nullptr;
        }
        return *this;
    }

    void operator++(int) { ++*this; }

    bool operator==(const Iterator &other) const noexcept { return keys_ == other.keys_; }
    bool operator!=(const Iterator &other) const noexcept { return keys_ != other.keys_; }

private:
    Keys *keys_;
};

inline Keys::Iterator Keys::begin() & {
    return Iterator(advance() ? this : nullptr);
}

inline Keys::Iterator Keys::end() & noexcept {
    return Iterator(nullptr);
}

// A match of a search: a key, and its similarity to the query from 0 to 100. The
// Matches object owns the key.
//
//     Matches matches = cache.search("usr:1");
//     for (Match match : matches)
//         std::cout << match.key << ": " << match.score << '\n';
struct Match {
    std::string_view key;
    double score;
};

// The matches of a search, best first.
//
//     Matches matches = cache.search("usr:1", {90, 3});
//     if (!matches.empty())
//         std::cout << "best match: " << matches[0].key << '\n';
class Matches {
public:
    Matches() noexcept = default;
    explicit Matches(yc_matches *owned) noexcept : handle_(owned) {}

    std::size_t size() const noexcept { return yc_matches_count(handle_.get()); }
    bool empty() const noexcept { return size() == 0; }

    // Returns the match of a rank, best first, or an empty key if rank is not below size().
    Match operator[](std::size_t rank) const & noexcept {
        const yc_match *match = yc_matches_at(handle_.get(), rank);
        return match == nullptr ? Match{{}, 0} : Match{detail::view(match->key), match->score};
    }
    Match operator[](std::size_t) const && = delete;

    detail::Position<Matches> begin() const & noexcept { return {this, 0}; }
    detail::Position<Matches> begin() const && = delete;
    detail::Position<Matches> end() const & noexcept { return {this, size()}; }
    detail::Position<Matches> end() const && = delete;

private:
    detail::Handle<yc_matches, yc_matches_free> handle_;
};

// A reply to a command of Redis, or an element of one. It is valid while its Reply is.
//
//     Reply reply = cache.redis_command({"LRANGE", cache.redis_name("queue"), "0", "-1"}, 1);
//     ReplyView all = reply.view();
//     if (all.size() > 0)
//         std::cout << "first of " << all.size() << ": " << all[0].string() << '\n';
class ReplyView {
public:
    enum class Kind {
        nil = YC_REPLY_NIL,
        string = YC_REPLY_STRING,
        status = YC_REPLY_STATUS,
        integer = YC_REPLY_INTEGER,
        array = YC_REPLY_ARRAY,
        // An element of an array only.
        error = YC_REPLY_ERROR,
    };

    explicit ReplyView(const yc_reply *reply) noexcept : reply_(reply) {}

    Kind kind() const noexcept { return static_cast<Kind>(yc_reply_kind(reply_)); }
    bool is_nil() const noexcept { return kind() == Kind::nil; }

    // Returns the bytes of a string, a status or an error; else nothing.
    std::string_view string() const noexcept {
        std::size_t len = 0;
        const void *data = yc_reply_string(reply_, &len);
        return {static_cast<const char *>(data), len};
    }

    // Returns the number of an integer; else 0.
    std::int64_t integer() const noexcept { return yc_reply_integer(reply_); }

    // Returns the number of elements of an array; else 0.
    std::size_t size() const noexcept { return yc_reply_count(reply_); }

    // Returns an element of an array, or nil if index is not below size().
    ReplyView operator[](std::size_t index) const noexcept { return ReplyView(yc_reply_at(reply_, index)); }

    detail::Position<ReplyView> begin() const noexcept { return {this, 0}; }
    detail::Position<ReplyView> end() const noexcept { return {this, size()}; }

private:
    const yc_reply *reply_;
};

// The reply to a command of Redis. It owns the reply that view() shows.
//
//     Reply reply = cache.redis_command({"HGETALL", cache.redis_name("profile:1")}, 1);
//     for (ReplyView field : reply.view())
//         std::cout << field.string() << '\n';
class Reply {
public:
    Reply() noexcept = default;
    explicit Reply(yc_reply *owned) noexcept : handle_(owned) {}

    ReplyView view() const & noexcept { return ReplyView(handle_.get()); }
    ReplyView view() const && = delete;

    // These are those of the view, also for a temporary. text() is a copy of string().
    ReplyView::Kind kind() const noexcept { return view().kind(); }
    bool is_nil() const noexcept { return view().is_nil(); }
    std::int64_t integer() const noexcept { return view().integer(); }
    std::size_t size() const noexcept { return view().size(); }
    std::string text() const { return std::string(view().string()); }

private:
    detail::Handle<yc_reply, yc_reply_free> handle_;
};

// Tells whether a command may be sent again when its reply was lost.
enum class Idempotent { no, yes };

// A message of a channel, or a gap: messages may have been lost at this place. After a gap,
// read what the messages describe from its source again.
//
//     Subscription orders = cache.subscribe({{"orders"}});
//     if (std::optional<Message> message = orders.next(1s); message && !message->is_gap())
//         std::cout << message->channel() << ": " << message->data() << '\n';
class Message {
public:
    // Creates an empty handle without a channel and without bytes.
    Message() noexcept = default;

    // Takes ownership of a message of the C API.
    explicit Message(yc_message *owned) noexcept : handle_(owned) {}

    // Returns the channel, which this object owns. Empty for a gap.
    std::string_view channel() const & noexcept { return part(yc_message_channel); }
    std::string_view channel() const && = delete;

    // Returns a view of the bytes, which this object owns. Empty for a gap. For a temporary
    // use text().
    std::string_view data() const & noexcept { return part(yc_message_data); }
    std::string_view data() const && = delete;

    // Returns a copy of the bytes.
    std::string text() const { return std::string(data()); }

    // Returns true for a gap.
    bool is_gap() const noexcept { return yc_message_lost(handle_.get()) != 0; }

    // Returns the number of messages that were lost: 0 for a message that was published.
    // Empty for a gap where the number is not known, or not whether any was lost.
    std::optional<std::uint64_t> lost() const noexcept { return detail::known(yc_message_lost(handle_.get())); }

    explicit operator bool() const noexcept { return handle_ != nullptr; }

private:
    template <class Part>
    std::string_view part(Part read) const noexcept {
        std::size_t length = 0;
        const void *first = read(handle_.get(), &length);
        return {static_cast<const char *>(first), length};
    }

    detail::Handle<yc_message, yc_message_free> handle_;
};

namespace detail {

// Takes what a reader receives, until the reader or its cache is closed. An item is valid
// until the iterator and its copies are incremented or destroyed.
template <class Reader, class Item>
class TakingIterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = const Item *;
    using reference = const Item &;

    // Takes the first item. NULL creates the end iterator.
    explicit TakingIterator(const Reader *reader) : reader_(reader) { advance(); }

    const Item &operator*() const noexcept { return *item_; }
    const Item *operator->() const noexcept { return item_.get(); }

    TakingIterator &operator++() {
        advance();
        return *this;
    }

    void operator++(int) { ++*this; }

    bool operator==(const TakingIterator &other) const noexcept { return item_ == other.item_; }
    bool operator!=(const TakingIterator &other) const noexcept { return item_ != other.item_; }

private:
    void advance() {
        item_.reset();
        if (reader_ == nullptr) {
            return;
        }
        Error error;
        Item item = reader_->next(error);
        if (error && error.status() != YC_E_CLOSED) {
            throw error;
        }
        if (!error) {
            item_ = std::make_shared<const Item>(std::move(item));
        }
    }

    const Reader *reader_;
    // Shared by the copies of the iterator. NULL at the end.
    std::shared_ptr<const Item> item_;
};

} // namespace detail

// A subscription to channels; see Cache::subscribe(). The destructor ends it. Any thread may
// call any function; each message is returned to one caller. A range-for takes messages
// until the subscription or its cache is closed, and throws other errors.
//
//     Subscription subscription = cache.subscribe({{"news"}, {"orders:*"}});
//     for (const Message &message : subscription)
//         if (message.is_gap())
//             std::cout << "messages may be missing here\n";
//         else
//             std::cout << message.channel() << ": " << message.data() << '\n';
class Subscription {
public:
    using Iterator = detail::TakingIterator<Subscription, Message>;

    // Creates an empty handle.
    Subscription() noexcept = default;

    // Takes ownership of a subscription of the C API.
    explicit Subscription(yc_subscription *owned) noexcept : handle_(owned) {}

    // Returns the handle for the C API. This object owns it.
    yc_subscription *native() const & noexcept { return handle_.get(); }
    yc_subscription *native() const && = delete;
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Takes the next message and waits for it, for at most this time. Empty if none came. A
    // connection error reports that none came and that the subscription is interrupted at
    // present; it continues by itself, with a gap. YC_E_CLOSED: the subscription or its cache
    // was closed, and its last message has been taken.
    std::optional<Message> next(std::chrono::milliseconds timeout, Error &error) const noexcept {
        Message message = take(timeout.count(), error);
        return message ? std::optional(std::move(message)) : std::nullopt;
    }

    std::optional<Message> next(std::chrono::milliseconds timeout) const {
        return detail::or_throw([&](Error &error) { return next(timeout, error); });
    }

    // Takes the next message and waits for it without a limit. Returns an empty handle after
    // an error.
    Message next(Error &error) const noexcept { return take(no_limit, error); }

    Message next() const {
        return detail::or_throw([&](Error &error) { return next(error); });
    }

    // A message is valid until the iterator and its copies are incremented or destroyed.
    Iterator begin() const & { return Iterator(this); }
    Iterator begin() const && = delete;
    Iterator end() const & noexcept { return Iterator(nullptr); }
    Iterator end() const && = delete;

    // Returns a file descriptor that is readable while messages wait and after the end, or -1
    // after an error. Watch it; do not read or close it. When it is readable, call next(0ms)
    // until it returns nothing.
    int fd(Error &error) const noexcept {
        int fd = -1;
        yc_subscription_fd(native(), &fd, detail::ErrorPlace(error));
        return fd;
    }

    int fd() const {
        return detail::or_throw([&](Error &error) { return fd(error); });
    }

    // Ends the subscription. The messages that wait can still be taken. A second close has no
    // effect.
    void close(Error &error) const noexcept { yc_subscription_close(native(), detail::ErrorPlace(error)); }

    void close() const {
        detail::or_throw([&](Error &error) { close(error); });
    }

private:
    static constexpr std::int64_t no_limit = -1;

    Message take(std::int64_t timeout_ms, Error &error) const noexcept {
        yc_message *message = nullptr;
        yc_subscription_next(native(), timeout_ms, &message, detail::ErrorPlace(error));
        return Message(message);
    }

    detail::Handle<yc_subscription, yc_subscription_free> handle_;
};

// An event, or a gap: events may have been lost at this place. At a gap, and at a kind that
// the program does not know, treat every copy as changed.
//
//     Events events = cache.events();
//     if (std::optional<Event> event = events.next(1s); event && event->kind() == YC_EVENT_TAG)
//         std::cout << event->name() << " was invalidated\n";
class Event {
public:
    // Creates an empty handle of kind 0.
    Event() noexcept = default;

    // Takes ownership of an event of the C API.
    explicit Event(yc_event *owned) noexcept : handle_(owned) {}

    // Returns a YC_EVENT_ number.
    std::uint64_t kind() const noexcept { return yc_event_kind(handle_.get()); }

    // Returns the tag, the pattern, the key or the name of the backend, which this object
    // owns. Empty for a flush and for a gap. For a temporary use text().
    std::string_view name() const & noexcept {
        std::size_t length = 0;
        const void *first = yc_event_name(handle_.get(), &length);
        return {static_cast<const char *>(first), length};
    }

    std::string_view name() const && = delete;

    // Returns a copy of the name.
    std::string text() const { return std::string(name()); }

    // Returns the random number of the opened cache that the event comes from; 0 for a gap.
    std::uint64_t origin() const noexcept { return yc_event_origin(handle_.get()); }

    // Returns the number of the event among those of its origin; 0 for a gap. Numbers increase;
    // events of calls at the same time may come in another order.
    std::uint64_t sequence() const noexcept { return yc_event_sequence(handle_.get()); }

    // Returns the time at which the change began, by the clock of its origin. The time of a gap
    // is the beginning of 1970.
    std::chrono::system_clock::time_point time() const noexcept {
        return std::chrono::system_clock::time_point(std::chrono::milliseconds(yc_event_time_ms(handle_.get())));
    }

    // Returns true if the event comes from the cache of its reader.
    bool is_own() const noexcept { return yc_event_is_own(handle_.get()) != 0; }

    // Returns true for a gap.
    bool is_gap() const noexcept { return kind() == YC_EVENT_GAP; }

    // Returns the number of events that the reader dropped at a gap: 0 for another event. Empty
    // if it is not known how many are missing, or whether any is.
    std::optional<std::uint64_t> lost() const noexcept { return detail::known(yc_event_lost(handle_.get())); }

    explicit operator bool() const noexcept { return handle_ != nullptr; }

private:
    detail::Handle<yc_event, yc_event_free> handle_;
};

// A reader of events; see Cache::events(). The destructor ends it. Any thread may call any
// function; each event is returned to one caller. A range-for takes events until the reader
// or its cache is closed, and throws other errors.
//
//     for (const Event &event : cache.events({{"prices"}}))
//         if (event.kind() == YC_EVENT_TAG)
//             std::cout << event.name() << " was invalidated\n";
//         else
//             std::cout << "anything may have changed\n"; // a flush, a pattern, a gap
class Events {
public:
    using Iterator = detail::TakingIterator<Events, Event>;

    // Creates an empty handle.
    Events() noexcept = default;

    // Takes ownership of a reader of the C API.
    explicit Events(yc_events *owned) noexcept : handle_(owned) {}

    // Returns the handle for the C API. This object owns it.
    yc_events *native() const & noexcept { return handle_.get(); }
    yc_events *native() const && = delete;
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Takes the next event and waits for it, for at most this time. Empty if none came. A
    // connection error reports that none came and that the reader is interrupted at present; it
    // continues by itself. YC_E_CLOSED: the reader or its cache was closed, and its last event
    // has been taken.
    std::optional<Event> next(std::chrono::milliseconds timeout, Error &error) const noexcept {
        Event event = take(timeout.count(), error);
        return event ? std::optional(std::move(event)) : std::nullopt;
    }

    std::optional<Event> next(std::chrono::milliseconds timeout) const {
        return detail::or_throw([&](Error &error) { return next(timeout, error); });
    }

    // Takes the next event and waits for it without a limit. Returns an empty handle after an
    // error.
    Event next(Error &error) const noexcept { return take(no_limit, error); }

    Event next() const {
        return detail::or_throw([&](Error &error) { return next(error); });
    }

    // An event is valid until the iterator and its copies are incremented or destroyed.
    Iterator begin() const & { return Iterator(this); }
    Iterator begin() const && = delete;
    Iterator end() const & noexcept { return Iterator(nullptr); }
    Iterator end() const && = delete;

    // Returns a file descriptor that is readable while events wait and after the end, or -1
    // after an error. Watch it; do not read or close it. When it is readable, call next(0ms)
    // until it returns nothing.
    int fd(Error &error) const noexcept {
        int fd = -1;
        yc_events_fd(native(), &fd, detail::ErrorPlace(error));
        return fd;
    }

    int fd() const {
        return detail::or_throw([&](Error &error) { return fd(error); });
    }

    // Ends the reader. The events that wait can still be taken. A second close has no effect.
    void close(Error &error) const noexcept { yc_events_close(native(), detail::ErrorPlace(error)); }

    void close() const {
        detail::or_throw([&](Error &error) { close(error); });
    }

private:
    static constexpr std::int64_t no_limit = -1;

    Event take(std::int64_t timeout_ms, Error &error) const noexcept {
        yc_event *event = nullptr;
        yc_events_next(native(), timeout_ms, &event, detail::ErrorPlace(error));
        return Event(event);
    }

    detail::Handle<yc_events, yc_events_free> handle_;
};

// Operations of different kinds for one call; see Cache::run(). They are run in order.
// The batch owns a copy of all keys, values and tags.
//
//     Batch batch;
//     batch.set("hits", "1", 5min);
//     batch.get("user:1");
//     std::vector<Outcome> outcomes = cache.run(batch);
class Batch {
public:
    Batch() = default;
    Batch(Batch &&) = default;
    Batch &operator=(Batch &&) = default;

    // Each of these functions adds the operation of the same name of Cache.
    void get(Bytes key, Fresh fresh = Fresh::no) { add(YC_OP_GET, key).flags = detail::flags(fresh); }
    void remove(Bytes key) { add(YC_OP_DELETE, key); }
    void exists(Bytes key) { add(YC_OP_EXISTS, key); }
    void ttl(Bytes key) { add(YC_OP_TTL, key); }
    void expire(Bytes key, Ttl ttl) { add(YC_OP_EXPIRE, key).ttl_ms = ttl.ttl_ms(); }
    void get_info(Bytes key, std::chrono::milliseconds max_age = {}) { add(YC_OP_GET_INFO, key).number = max_age.count(); }
    void get_versioned(Bytes key) { add(YC_OP_GET_VERSIONED, key); }
    void remove_if(Bytes key, Version version) { add(YC_OP_DELETE_IF, key).version = version; }
    void get_and_expire(Bytes key, Ttl ttl) { add(YC_OP_GET_AND_EXPIRE, key).ttl_ms = ttl.ttl_ms(); }
    void invalidate_pattern(Bytes pattern, Count count = Count::no) {
        add(YC_OP_INVALIDATE_PATTERN, pattern).flags = flags(count);
    }
    void clear(Count count = Count::no) { add(YC_OP_CLEAR, {}).flags = flags(count); }
    void flush(Count count = Count::no) { add(YC_OP_FLUSH, {}).flags = flags(count); }
    void ping() { add(YC_OP_PING, {}); }
    void stats() { add(YC_OP_STATS, {}); }
    void health() { add(YC_OP_HEALTH, {}); }
    void metrics() { add(YC_OP_METRICS, {}); }
    void explain(Bytes key, const Tags &tags = {}) { keep(add(YC_OP_EXPLAIN, key), tags); }

    void set(Bytes key, Bytes value, const SetOptions &options = {}) { add_entry(YC_OP_SET, key, value, options); }

    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl) {
        set(key, value, SetOptions{ttl, {}});
    }

    void set_if(Bytes key, Bytes value, Condition condition, const SetOptions &options = {}) {
        yc_op &op = add_entry(YC_OP_SET_IF, key, value, options);
        op.condition = condition.kind();
        op.version = condition.expected();
    }

    template <class Time, class = detail::if_time<Time>>
    void set_if(Bytes key, Bytes value, Condition condition, Time ttl) {
        set_if(key, value, condition, SetOptions{ttl, {}});
    }

    void counter_add(Bytes key, std::int64_t delta, const CounterOptions &options = {}) {
        yc_op &op = add(YC_OP_COUNTER_ADD, key);
        op.number = delta;
        op.initial = options.initial;
        op.ttl_ms = options.ttl.ttl_ms();
    }

    template <class Time, class = detail::if_time<Time>>
    void counter_add(Bytes key, std::int64_t delta, Time ttl) {
        counter_add(key, delta, CounterOptions{ttl});
    }

    void redis_command(const BytesList &args, int key_index = YC_NO_KEY, Idempotent idempotent = Idempotent::no) {
        yc_op &op = add(YC_OP_REDIS_COMMAND, {});
        op.number = key_index;
        op.flags = idempotent == Idempotent::yes ? YC_OP_IDEMPOTENT : 0;
        keep(op, args);
    }

    void publish(Bytes channel, Bytes message) {
        yc_op &op = add(YC_OP_PUBLISH, channel);
        const Bytes kept = keep(message);
        op.value = kept.data;
        op.value_len = kept.len;
    }

    void invalidate_tags(const BytesList &tags, Count count = Count::no) {
        yc_op &op = add(YC_OP_INVALIDATE_TAGS, {});
        op.flags = flags(count);
        keep(op, tags);
    }

    // Sets the user_data of the operation that was added last. Its completion returns
    // them; see Queue::submit().
    void user_data(std::uint64_t data) noexcept {
        if (!ops_.empty()) {
            ops_.back().user_data = data;
        }
    }

    // Returns the number of operations.
    std::size_t size() const noexcept { return ops_.size(); }

private:
    friend class Cache;
    friend class Queue;

    static std::uint32_t flags(Count count) noexcept {
        return count == Count::dry_run ? YC_OP_DRY_RUN : count == Count::yes ? YC_OP_COUNT : 0;
    }

    yc_op &add(std::int32_t kind, Bytes key) {
        const Bytes kept = keep(key);
        yc_op op = {};
        op.kind = kind;
        op.key = kept.data;
        op.key_len = kept.len;
        ops_.push_back(op);
        return ops_.back();
    }

    yc_op &add_entry(std::int32_t kind, Bytes key, Bytes value, const SetOptions &options) {
        yc_op &op = add(kind, key);
        const Bytes kept = keep(value);
        op.value = kept.data;
        op.value_len = kept.len;
        op.ttl_ms = options.ttl.ttl_ms();
        keep(op, options.tags);
        return op;
    }

    // Returns a copy that lives as long as the batch. NULL stays NULL: the library refuses it.
    Bytes keep(const Bytes &bytes) {
        if (bytes.data == nullptr || bytes.len == 0) {
            return bytes;
        }
        return kept_.emplace_back(static_cast<const char *>(bytes.data), bytes.len);
    }

    template <class Range>
    void keep(yc_op &op, const Range &tags) {
        std::vector<Bytes> &slices = tags_.emplace_back();
        for (const auto &tag : tags) {
            slices.push_back(keep(Bytes(tag)));
        }
        op.tags = slices.data();
        op.n_tags = slices.size();
    }

    std::vector<yc_op> ops_;
    // A deque, whose strings do not move when it grows.
    std::deque<std::string> kept_;
    std::vector<std::vector<Bytes>> tags_;
};

// The result of an operation of a batch.
//
//     Batch batch;
//     batch.get("user:1");
//     for (const Outcome &outcome : cache.run(batch))
//         if (outcome.value)
//             std::cout << outcome.value->view() << '\n';
//         else
//             std::cout << status_name(outcome.status) << '\n';
struct Outcome {
    // The status that the C function of the operation returns. If it is a failure,
    // error describes it.
    Status status = YC_OK;
    Error error = {};
    // The value of a get, get_info, get_versioned or get_and_expire that hit, or the text of stats,
    // health, metrics or explain.
    std::optional<Value> value = {};
    // The remaining time of a ttl or get_info that hit.
    std::optional<Ttl> ttl = {};
    // The number of entries that an operation removed, if it counted them.
    std::optional<std::uint64_t> removed = {};
    // The version of the entry that a get_versioned or get_info read or a set_if stored.
    std::optional<Version> version = {};
    // The value of the counter after a counter_add.
    std::optional<std::int64_t> counter = {};
    // The reply to a redis_command.
    std::optional<Reply> reply = {};
    // The number of subscriptions that a publish was sent to, if it is known.
    std::optional<std::uint64_t> receivers = {};
    // The age of the entry that a get_info read, if it is known.
    std::optional<std::chrono::milliseconds> age = {};
    // The number of tags of the entry that a get_info read.
    std::optional<std::uint64_t> tag_count = {};
};

namespace detail {

// Fills an outcome from a yc_op or yc_completion, whose fields have the same names.
// Takes ownership of the value and the error.
template <class Raw>
void adopt(Outcome &outcome, const Raw &raw) {
    outcome.status = raw.status;
    outcome.error = Error(raw.error);
    yc_error_free(raw.error);
    if (raw.result != nullptr) {
        outcome.value.emplace(raw.result);
    }
    outcome.removed = known(raw.removed);
    if (raw.status != YC_OK) {
        return;
    }
    if (raw.kind == YC_OP_TTL) {
        outcome.ttl = remaining(raw.remaining_ms);
    } else if (raw.kind == YC_OP_GET_INFO) {
        outcome.version = raw.version;
        outcome.ttl = remaining(raw.remaining_ms);
        outcome.age = age_of(raw.number);
        outcome.tag_count = raw.tag_count;
    } else if (raw.kind == YC_OP_GET_VERSIONED || raw.kind == YC_OP_SET_IF) {
        outcome.version = raw.version;
    } else if (raw.kind == YC_OP_COUNTER_ADD) {
        outcome.counter = raw.number;
    } else if (raw.kind == YC_OP_REDIS_COMMAND) {
        outcome.reply.emplace(raw.reply);
    } else if (raw.kind == YC_OP_PUBLISH && raw.number >= 0) {
        outcome.receivers = static_cast<std::uint64_t>(raw.number);
    }
}

} // namespace detail

// Returns the version of the linked library, such as "0.1.0".
inline std::string_view version() noexcept {
    return yc_version();
}

// Checks that the library supports programs that were compiled against this header.
// Opening a cache does the same. Fails with YC_E_ABI_MISMATCH.
inline void check_abi(Error &error) noexcept {
    yc_check_abi(YC_VERSION_NUMBER, detail::ErrorPlace(error));
}

inline void check_abi() {
    detail::or_throw([](Error &error) { check_abi(error); });
}

// Returns the name of a status, such as "YC_E_TIMEOUT".
inline std::string_view status_name(Status status) noexcept {
    return yc_status_name(status);
}

// The loads of a process: callers of one cache object share them.
namespace detail {

using Clock = std::chrono::steady_clock;

// The bytes that a loader returned. Null: the loader found nothing.
using LoadedBytes = std::shared_ptr<const std::string>;

// The end of a load: its value, or how it failed. Without either, it was given up.
struct LoadEnd {
    std::optional<LoadedBytes> value = {};
    // The value was stored, or no store can be reached.
    bool is_stored = false;
    std::exception_ptr thrown = {};
    // The loader set terms that are not allowed.
    Error error = {};
};

// A load that runs. Other callers that need its key wait for its end.
struct Flight {
    // loading: a caller that joins now may share the result. storing: the result is being
    // stored, and may be older than an invalidation that precedes a later call: only those
    // that joined before share it.
    enum class State { loading, storing, ended };

    // Returns true if the result is current for a caller: it was stored, and the caller joined
    // before that; or, stored or not, the load began after the call did.
    bool is_for(bool joined_before, bool is_younger) const noexcept {
        const bool failed = end.thrown || end.error;
        return failed ? joined_before || is_younger : end.value && ((joined_before && end.is_stored) || is_younger);
    }

    // The end of its lease: a loader that has not returned then holds up no other caller.
    Clock::time_point expires;
    // False if the store cannot be reached: the load does not see changes of its key.
    bool has_lease = false;
    // The number of flights that began before, and this one.
    std::uint64_t number = 0;
    State state = State::loading;
    // Null without a lease, while the result is stored, and after close().
    Handle<yc_lease, yc_lease_free> lease = {};
    // The thread of the loader, which must not wait for itself.
    std::thread::id thread = {};
    LoadEnd end = {};
    std::condition_variable ended = {};
};

// A caller that may wait for a flight.
struct Joining {
    // Its read of the key does not show that the load that runs is older than a change.
    bool may_share = true;
    // Its read reached the store.
    bool has_reached = true;
    // The number of flights that had begun when its call did.
    std::uint64_t before = 0;
};

// The result of a wait for a flight.
struct Joined {
    enum class Kind { shared, again, missing, late, closed, own };

    Kind kind;
    LoadEnd end = {};
};

// Threads that run tasks. They start when they are needed, and end with the cache.
class Workers {
public:
    // Runs a task, or drops it after end() and if too many wait. `keep` lives as long as the
    // thread.
    void run(std::function<void()> task, std::shared_ptr<void> keep) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (has_ended_ || tasks_.size() >= most_tasks) {
            return;
        }
        if (tasks_.size() >= idle_ && threads_.size() < most) {
            start(std::move(keep));
        }
        tasks_.push_back(std::move(task));
        wake_.notify_one();
    }

    // Drops the tasks that have not begun, and waits for the others. The thread of a task
    // that ends the cache itself cannot wait for itself: it ends after its task.
    void end() {
        std::deque<std::function<void()>> dropped;
        std::vector<std::thread> threads;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            has_ended_ = true;
            dropped.swap(tasks_);
            threads.swap(threads_);
        }
        wake_.notify_all();
        for (std::thread &thread : threads) {
            if (thread.get_id() == std::this_thread::get_id()) {
                thread.detach();
            } else {
                thread.join();
            }
        }
    }

    // The number of tasks that may wait for a thread.
    static constexpr std::size_t most_tasks = 256;

private:
    static constexpr std::size_t most = 4;

    // Starts another thread. Without one, those that run take the task.
    void start(std::shared_ptr<void> keep) {
        try {
            threads_.emplace_back([this, kept = std::move(keep)] { work(); });
        } catch (const std::system_error &) {
            if (threads_.empty()) {
                throw;
            }
        }
    }

    void work() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!has_ended_) {
            if (tasks_.empty()) {
                ++idle_;
                wake_.wait(lock);
                --idle_;
                continue;
            }
            std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            task = nullptr;
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool has_ended_ = false;
};

// The times of a configuration that loads need: the deadline of a call, and the time for
// which a lease is valid.
struct LoadTimes {
    std::chrono::milliseconds call = std::chrono::seconds(1);
    std::chrono::milliseconds lease = std::chrono::seconds(10);
};

// The flights of a cache object, and the threads of its background loads. Outlives the
// cache while a load runs.
class Loads {
public:
    explicit Loads(LoadTimes times) noexcept : times_(times) {}

    LoadTimes times() const noexcept { return times_; }

    // Registers a flight for the time of a lease (0: that of the configuration), and takes the
    // lease if there is one. Returns null if another flight of the key runs, or after close().
    // A flight without a lease gives way to one with a lease.
    std::shared_ptr<Flight> begin(const std::string &key, std::chrono::milliseconds time,
                                  Handle<yc_lease, yc_lease_free> &lease) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const std::shared_ptr<Flight> current = find(key);
        const bool gives_way = current && !current->has_lease && lease && current->thread != std::this_thread::get_id();
        if (is_closed_ || (current && !gives_way)) {
            return nullptr;
        }
        const auto flight = std::make_shared<Flight>();
        flight->expires = Clock::now() + (time.count() > 0 ? time : times_.lease);
        running_.insert(flight);
        flights_[key] = flight;
        flight->has_lease = lease != nullptr;
        flight->lease = std::move(lease);
        flight->number = ++begun_;
        return flight;
    }

    // Returns the number of flights that have begun.
    std::uint64_t begun() const noexcept { return begun_; }

    // Names the calling thread as that of the loader.
    void start(Flight &flight) {
        const std::lock_guard<std::mutex> lock(mutex_);
        flight.thread = std::this_thread::get_id();
    }

    // Returns the lease of a flight, whose result will be stored: null without one, and after
    // close().
    Handle<yc_lease, yc_lease_free> store(Flight &flight) {
        const std::lock_guard<std::mutex> lock(mutex_);
        flight.state = Flight::State::storing;
        return std::move(flight.lease);
    }

    // Returns the lease of a flight that will not be stored.
    Handle<yc_lease, yc_lease_free> take_lease(Flight &flight) {
        const std::lock_guard<std::mutex> lock(mutex_);
        return std::move(flight.lease);
    }

    void end(const std::string &key, const std::shared_ptr<Flight> &flight, LoadEnd end) {
        const std::lock_guard<std::mutex> lock(mutex_);
        flight->end = std::move(end);
        flight->state = Flight::State::ended;
        running_.erase(flight);
        const auto place = flights_.find(key);
        if (place != flights_.end() && place->second == flight) {
            flights_.erase(place);
        }
        flight->ended.notify_all();
    }

    // Returns true if a load of the key runs that a caller may join whose read reached the
    // store.
    bool has(std::string_view key) const {
        const std::lock_guard<std::mutex> lock(mutex_);
        const std::shared_ptr<Flight> flight = find(key);
        return flight != nullptr && flight->has_lease;
    }

    // Waits for the end of the flight of a key. A load without a lease does not see changes:
    // only callers that found the store down, too, join it.
    Joined join(std::string_view key, Clock::time_point end, const Joining &joining) {
        std::unique_lock<std::mutex> lock(mutex_);
        const std::shared_ptr<Flight> flight = find(key);
        if (is_closed_ || flight == nullptr) {
            return {is_closed_ ? Joined::Kind::closed : Joined::Kind::missing};
        }
        if (flight->thread == std::this_thread::get_id()) {
            return {Joined::Kind::own};
        }
        if (joining.has_reached && !flight->has_lease) {
            return {Joined::Kind::missing};
        }
        const bool joined_before = joining.may_share && flight->state == Flight::State::loading;
        const auto has_ended = [&] { return flight->state == Flight::State::ended; };
        flight->ended.wait_until(lock, std::min(end, flight->expires), [&] { return is_closed_ || has_ended(); });
        if (has_ended() && flight->is_for(joined_before, flight->number > joining.before)) {
            return {Joined::Kind::shared, flight->end};
        }
        if (is_closed_) {
            return {Joined::Kind::closed};
        }
        return {has_ended() || Clock::now() < end ? Joined::Kind::again : Joined::Kind::late};
    }

    // Wakes all callers that wait, refuses new flights, and gives the leases back: those of
    // loaders that run, and of loads that wait for a thread.
    void close() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        refuse();
        for (const std::shared_ptr<Flight> &flight : running_) {
            // Does not wait for a server.
            flight->lease.reset();
        }
    }

    // Ends the background loads. Waits for those that run on threads of the cache. Gives back
    // the leases of those that have not begun: an executor may keep them for long.
    void end() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            refuse();
            for (const std::shared_ptr<Flight> &flight : running_) {
                if (flight->thread == std::thread::id()) {
                    flight->lease.reset();
                }
            }
        }
        workers_.end();
    }

    std::chrono::milliseconds call_deadline() const noexcept { return times_.call; }
    const std::atomic<bool> &is_closed() const noexcept { return is_closed_; }
    Workers &workers() noexcept { return workers_; }

private:
    void refuse() noexcept {
        is_closed_ = true;
        for (const std::shared_ptr<Flight> &flight : running_) {
            flight->ended.notify_all();
        }
    }

    // Returns the flight of a key, unless it has expired.
    std::shared_ptr<Flight> find(std::string_view key) const {
        const auto place = flights_.find(key);
        return place != flights_.end() && Clock::now() < place->second->expires ? place->second : nullptr;
    }

    const LoadTimes times_;
    mutable std::mutex mutex_;
    // The newest flight of each key.
    std::map<std::string, std::shared_ptr<Flight>, std::less<>> flights_;
    // All flights, also those that gave way to a newer one of their key.
    std::set<std::shared_ptr<Flight>> running_;
    std::atomic<std::uint64_t> begun_{0};
    std::atomic<bool> is_closed_{false};
    Workers workers_;
};

// A loader of any number of keys: writes the value of each key of the Fill.
using AnyLoader = std::function<void(Fill &fill, std::vector<LoadedBytes> &values)>;

template <class Type>
constexpr bool is_optional = false;

template <class Type>
constexpr bool is_optional<std::optional<Type>> = true;

// Takes ownership of what a loader returned.
template <class Result>
LoadedBytes loaded_bytes(Result &&result) {
    using Type = std::decay_t<Result>;
    if constexpr (std::is_same_v<Type, std::nullopt_t>) {
        return nullptr;
    } else if constexpr (is_optional<Type>) {
        return result ? loaded_bytes(*std::forward<Result>(result)) : nullptr;
    } else if constexpr (std::is_same_v<Type, std::string>) {
        return std::make_shared<const std::string>(std::forward<Result>(result));
    } else {
        static_assert(std::is_convertible_v<const Type &, Bytes>,
                      "a loader returns a type that converts to Bytes, an optional of one, or std::nullopt");
        return std::make_shared<const std::string>(OwnedBytes(result));
    }
}

// A loader of one key as AnyLoader. Loader may be a reference.
template <class Loader>
struct LoaderOfOne {
    void operator()(Fill &fill, std::vector<LoadedBytes> &values) { values.front() = loaded_bytes(loader(fill)); }

    Loader loader;
};

// A loader of many keys as AnyLoader. It returns a range of pairs of a key and a value.
template <class Loader>
struct LoaderOfMany {
    void operator()(Fill &fill, std::vector<LoadedBytes> &values) {
        std::map<std::string_view, std::size_t> places;
        for (const std::string_view key : fill.keys()) {
            places.emplace(key, places.size());
        }
        auto &&answer = loader(fill);
        for (auto &&entry : answer) {
            const Pair pair(entry);
            if (const auto place = places.find(view(pair.key)); place != places.end()) {
                values[place->second] = std::make_shared<const std::string>(OwnedBytes(pair.value));
            }
        }
    }

    Loader loader;
};

// The loader of a call: itself for loads of the call, and a copy for a background load.
struct Loaders {
    AnyLoader here;
    std::function<AnyLoader()> copy;
};

template <template <class> class Of, class Loader>
Loaders loaders(Loader &loader) {
    using Plain = std::decay_t<Loader>;
    static_assert(std::is_copy_constructible_v<Plain>, "a background load needs a copy of the loader");
    return {Of<Loader &>{loader}, [&loader] { return AnyLoader(Of<Plain>{loader}); }};
}

// The result of yc_get_or_lease() for a key, by its place among the keys of the call.
struct Read {
    bool is_busy() const noexcept { return status == YC_E_BUSY; }

    // Returns true if the error means that the store is down, see get_or_load(): a load is
    // the only source of the value then. The bindings of other languages have the same list.
    bool is_down() const noexcept {
        switch (status) {
        case YC_E_CONNECT:
        case YC_E_AUTH:
        case YC_E_TLS:
        case YC_E_TIMEOUT:
        case YC_E_SERVER_MEMORY: return true;
        default: return status < 0 && error.retryable() && !is_busy();
        }
    }

    std::size_t place = 0;
    Status status = YC_E_INVALID;
    Value value = {};
    Handle<yc_lease, yc_lease_free> lease = {};
    Error error = {};
};

// One call of a loader: its keys with their leases and flights. The destructor ends the
// flights that have not ended, and abandons their leases.
class Load {
public:
    Load(std::shared_ptr<Loads> loads, yc_cache *cache, const LoadOptions &options)
        : loads_(std::move(loads)), cache_(cache), terms_{options.ttl, options.stale_for, {}, options.absent_ttl},
          lease_(options.lease), retry_after_(options.retry_after) {}
    Load(Load &&) = default;
    Load(const Load &) = delete;
    Load &operator=(const Load &) = delete;

    ~Load() {
        for (Part &part : parts_) {
            if (part.flight != nullptr) {
                loads_->take_lease(*part.flight).reset();
                end(part, {});
            }
        }
    }

    // Adds a key that the caller has read. Returns false if a flight of the key runs: then
    // the lease is abandoned, since a holder of a lease never waits for another load.
    bool add(std::string_view key, Read &read) {
        Part part = {read.place, std::string(key), nullptr, nullptr};
        part.flight = loads_->begin(part.key, lease_, read.lease);
        if (part.flight == nullptr) {
            abandon(read.lease, std::chrono::milliseconds(0));
            return false;
        }
        parts_.push_back(std::move(part));
        return true;
    }

    bool empty() const noexcept { return parts_.empty(); }
    std::size_t size() const noexcept { return parts_.size(); }
    std::size_t place(std::size_t index) const noexcept { return parts_[index].place; }

    // Returns false if the result could not be stored any more: the lease is over, or the cache
    // is closed. A load that begins later than it was added asks for this.
    bool may_begin() const { return !loads_->is_closed() && Clock::now() < parts_.front().flight->expires; }

    // Runs the loader and stores its values. Throws its exception. Error is set if the
    // values cannot be stored because of a mistake of the caller or a closed cache.
    std::vector<LoadedBytes> run(const AnyLoader &loader, Error &error) {
        Fill fill(keys(), terms_, loads_->is_closed());
        std::vector<LoadedBytes> values(parts_.size());
        for (Part &part : parts_) {
            loads_->start(*part.flight);
        }
        try {
            loader(fill, values);
        } catch (...) {
            fail(std::current_exception());
            throw;
        }
        store(fill, values, error);
        return values;
    }

private:
    struct Part {
        std::size_t place;
        std::string key;
        // The lease while the result is stored; before, the flight has it. Null if the store
        // cannot be reached, or if the cache was closed: nothing is stored then.
        Handle<yc_lease, yc_lease_free> lease;
        // Null after its end.
        std::shared_ptr<Flight> flight;
    };

    std::vector<std::string_view> keys() const {
        std::vector<std::string_view> keys;
        for (const Part &part : parts_) {
            keys.push_back(part.key);
        }
        return keys;
    }

    void end(Part &part, LoadEnd result) {
        if (const std::shared_ptr<Flight> flight = std::move(part.flight)) {
            loads_->end(part.key, flight, std::move(result));
        }
    }

    static void abandon(Handle<yc_lease, yc_lease_free> &lease, std::chrono::milliseconds retry_after) {
        if (lease != nullptr) {
            yc_lease_abandon(lease.get(), retry_after.count(), nullptr);
            lease.reset();
        }
    }

    void fail(const std::exception_ptr &thrown) {
        for (Part &part : parts_) {
            part.lease = loads_->take_lease(*part.flight);
            abandon(part.lease, retry_after_);
            end(part, {std::nullopt, false, thrown, {}});
        }
    }

    void store(const Fill &fill, const std::vector<LoadedBytes> &values, Error &error) {
        for (Part &part : parts_) {
            if (part.flight->has_lease) {
                part.lease = loads_->store(*part.flight);
            }
        }
        const std::vector<Filled> filled = fill_leases(fill, values);
        for (std::size_t index = 0; index < parts_.size(); ++index) {
            const Filled &one = filled[index];
            parts_[index].lease.reset();
            note(one, error);
            // The callers that wait get the error of a mistake of the loader, too.
            end(parts_[index], one.status == YC_E_INVALID ? LoadEnd{std::nullopt, false, nullptr, one.error}
                                                          : LoadEnd{values[index], one.status == YC_OK, nullptr, {}});
        }
    }

    // The result of a fill: YC_OK for a key without a lease.
    struct Filled {
        Status status = YC_OK;
        Error error = {};
    };

    std::vector<Filled> fill_leases(const Fill &fill, const std::vector<LoadedBytes> &values) {
        std::vector<Filled> filled(parts_.size());
        std::vector<std::size_t> leased;
        // Deques, whose elements do not move when they grow.
        std::deque<FillTerms> terms;
        std::deque<TagSlices> slices;
        std::vector<yc_fill> fills;
        for (std::size_t index = 0; index < parts_.size(); ++index) {
            if (parts_[index].lease != nullptr) {
                leased.push_back(index);
                terms.push_back(fill.terms_for(parts_[index].key));
                slices.emplace_back(terms.back().tags);
                fills.push_back(raw(terms.back(), values[index], slices.back()));
            } else if (parts_[index].flight->has_lease) {
                filled[index] = {YC_E_CLOSED, Error(YC_E_CLOSED, "the cache was closed", false)};
            }
        }
        fill_all(leased, fills, filled);
        return filled;
    }

    static yc_fill raw(const FillTerms &terms, const LoadedBytes &value, const TagSlices &tags) {
        const Ttl ttl = value ? terms.ttl : terms.absent_ttl;
        yc_fill raw = raw_fill(value ? Bytes(*value) : Bytes(), ttl, terms.stale_for, tags);
        raw.flags = value ? 0 : YC_FILL_ABSENT;
        return raw;
    }

    void fill_all(const std::vector<std::size_t> &leased, const std::vector<yc_fill> &fills, std::vector<Filled> &filled) {
        if (cache_ != nullptr && fills.size() > 1) {
            fill_batch(leased, fills, filled);
            return;
        }
        for (std::size_t index = 0; index < fills.size(); ++index) {
            Filled &one = filled[leased[index]];
            one.status = yc_lease_fill(parts_[leased[index]].lease.get(), &fills[index], ErrorPlace(one.error));
        }
    }

    void fill_batch(const std::vector<std::size_t> &leased, const std::vector<yc_fill> &fills, std::vector<Filled> &filled) {
        std::vector<yc_op> ops(fills.size());
        for (std::size_t index = 0; index < ops.size(); ++index) {
            ops[index].kind = YC_OP_LEASE_FILL;
            ops[index].lease = parts_[leased[index]].lease.get();
            ops[index].value = &fills[index];
            ops[index].value_len = sizeof fills[index];
        }
        Error failure;
        const Status status = yc_batch(cache_, ops.data(), ops.size(), sizeof(yc_op), ErrorPlace(failure));
        for (std::size_t index = 0; index < ops.size(); ++index) {
            const yc_op &op = ops[index];
            filled[leased[index]] = failure ? Filled{status, failure} : Filled{op.status, Error(op.error)};
            yc_error_free(op.error);
        }
    }

    // Keeps the first failure that the caller has to know. Other failures cost only the
    // entry: the caller gets its value.
    static void note(const Filled &filled, Error &error) {
        const Status status = filled.status;
        if (!error && (status == YC_E_INVALID || status == YC_E_CLOSED || status == YC_E_FORKED)) {
            error = filled.error;
        }
    }

    std::shared_ptr<Loads> loads_;
    // Null for a background load, which may outlive the cache.
    yc_cache *cache_;
    FillTerms terms_;
    std::chrono::milliseconds lease_;
    std::chrono::milliseconds retry_after_;
    std::vector<Part> parts_ = {};
};

// A call of get_or_load() or get_or_load_many(): reads the keys, loads those that it must,
// then waits for those that others load. Holding a lease, it never waits: two callers with
// the same keys in another order do not block each other.
class LoadCall {
public:
    LoadCall(yc_cache *cache, const std::shared_ptr<Loads> &loads, const LoadOptions &options,
             const yc_lease_options &lease, Error &error)
        : cache_(cache), loads_(loads), options_(options), lease_(lease), error_(error) {}

    // Reads and loads keys that differ from each other. The values have their order.
    // Sets the error, or throws the exception of a loader.
    std::vector<std::optional<Value>> run(const std::vector<std::string_view> &keys, std::vector<Read> reads,
                                          const Loaders &loaders) {
        before_ = loads_ == nullptr ? 0 : loads_->begun();
        keys_ = keys;
        values_.resize(keys.size());
        stale_.resize(keys.size());
        for (;;) {
            settle(reads, loaders);
            if (error_ || waiting_.empty()) {
                return std::move(values_);
            }
            reads = next();
        }
    }

    // Reads the keys at these places in one call. Does not wait for the load of another.
    std::vector<Read> read(const std::vector<std::string_view> &keys, const std::vector<std::size_t> &places) {
        std::vector<Read> reads(places.size());
        if (places.size() == 1) {
            reads.front() = read_one(keys[places.front()], places.front(), lease_);
            return reads;
        }
        std::vector<yc_op> ops(places.size());
        for (std::size_t index = 0; index < ops.size(); ++index) {
            const std::string_view key = keys[places[index]];
            ops[index].kind = YC_OP_GET_OR_LEASE;
            ops[index].key = key.data();
            ops[index].key_len = key.size();
            ops[index].value = &lease_;
            ops[index].value_len = sizeof lease_;
        }
        if (!ops.empty()) {
            yc_batch(cache_, ops.data(), ops.size(), sizeof(yc_op), ErrorPlace(error_));
        }
        for (std::size_t index = 0; index < ops.size() && !error_; ++index) {
            const yc_op &op = ops[index];
            reads[index] = {places[index], op.status, Value(op.result), Handle<yc_lease, yc_lease_free>(op.lease),
                            Error(op.error)};
            yc_error_free(op.error);
        }
        return reads;
    }

private:
    // A key that another caller loads.
    struct Waiting {
        std::size_t place;
        Joining joining;
    };

    Read read_one(std::string_view key, std::size_t place, const yc_lease_options &lease) const {
        Read read;
        read.place = place;
        yc_value *value = nullptr;
        yc_lease *taken = nullptr;
        read.status = yc_get_or_lease(cache_, key.data(), key.size(), &lease, &value, &taken, ErrorPlace(read.error));
        read.value = Value(value);
        read.lease.reset(taken);
        return read;
    }

    // Takes the values that were read, and loads the keys that this call must load.
    void settle(std::vector<Read> &reads, const Loaders &loaders) {
        waiting_.clear();
        Load now(loads_, cache_, options_), later(loads_, nullptr, options_);
        for (Read &read : reads) {
            sort(read, now, later);
        }
        if (error_) {
            return;
        }
        if (!later.empty()) {
            load_later(std::move(later), loaders);
        }
        if (!now.empty()) {
            load(now, loaders);
        }
    }

    void sort(Read &read, Load &now, Load &later) {
        if (!read.is_down()) {
            // The value of an earlier read may have been invalidated.
            stale_[read.place].reset();
        }
        if (read.is_busy()) {
            waiting_.push_back({read.place, {true, true, before_}});
        } else if (read.status < 0 && !read.is_down()) {
            error_ = error_ ? error_ : read.error;
        } else if (read.value && !waits_for_fresh(read)) {
            if (read.lease != nullptr) {
                later.add(keys_[read.place], read);
            }
            values_[read.place] = std::move(read.value);
        } else if (read.status != YC_ABSENT) {
            begin(read, now);
        }
    }

    // Returns true for a stale value that the call returns only if a load of this process fails.
    bool waits_for_fresh(const Read &read) const {
        return options_.stale_if_error && read.status == YC_STALE &&
               (read.lease != nullptr || loads_->has(keys_[read.place]));
    }

    void begin(Read &read, Load &now) {
        // A lease proves that the load that runs is older than a change of the key.
        const bool shares = read.lease == nullptr;
        const bool waits = read.value && shares;
        if (read.value) {
            stale_[read.place] = std::move(read.value);
        }
        if (waits || !now.add(keys_[read.place], read)) {
            waiting_.push_back({read.place, {shares, !read.is_down(), before_}});
        }
    }

    void load(Load &now, const Loaders &loaders) {
        std::vector<LoadedBytes> values;
        try {
            values = now.run(loaders.here, error_);
        } catch (...) {
            for (std::size_t index = 0; index < now.size(); ++index) {
                if (!serve_stale(now.place(index))) {
                    throw;
                }
            }
            return;
        }
        for (std::size_t index = 0; index < values.size(); ++index) {
            take(now.place(index), values[index]);
        }
    }

    // Refreshes keys whose values the call returns already. If no thread can be had, or too
    // many refreshes wait, the leases are given back, and a later call refreshes them.
    void load_later(Load later, const Loaders &loaders) {
        const auto load = std::make_shared<Load>(std::move(later));
        std::function<void()> task = [load, loader = loaders.copy()] {
            try {
                Error ignored;
                if (load->may_begin()) {
                    load->run(loader, ignored);
                }
            } catch (...) {
                // No caller waits for it: those that have joined got the exception.
            }
        };
        try {
            if (options_.executor) {
                options_.executor(std::move(task));
            } else {
                loads_->workers().run(std::move(task), loads_);
            }
        } catch (...) {
        }
    }

    void take(std::size_t place, const LoadedBytes &value) {
        values_[place] = value ? std::optional(Value(value)) : std::nullopt;
    }

    bool serve_stale(std::size_t place) {
        if (!stale_[place]) {
            return false;
        }
        values_[place] = std::move(*stale_[place]);
        return true;
    }

    // Waits for the first key that another caller loads, and reads the others again.
    std::vector<Read> next() {
        if (end_ == Clock::time_point()) {
            const std::chrono::milliseconds wait = options_.wait.value_or(loads_->call_deadline());
            end_ = Clock::now() + std::min<std::chrono::milliseconds>(wait, std::chrono::hours(24));
        }
        const Waiting first = waiting_.front();
        const Joined joined = loads_->join(keys_[first.place], end_, first.joining);
        switch (joined.kind) {
        case Joined::Kind::again: return read_waiting(0);
        case Joined::Kind::missing: return wait_for_store(first.place);
        case Joined::Kind::closed: error_ = Error(YC_E_CLOSED, "the cache was closed", false); break;
        case Joined::Kind::own: error_ = Error(YC_E_INVALID, "the loader of the key loads the same key", false); break;
        case Joined::Kind::late:
            if (!serve_stale(first.place)) {
                error_ = still_loading();
            }
            break;
        case Joined::Kind::shared:
            if (joined.end.value) {
                take(first.place, *joined.end.value);
            } else if (!serve_stale(first.place)) {
                fail(joined.end);
            }
        }
        return error_ ? std::vector<Read>() : read_waiting(1);
    }

    void fail(const LoadEnd &end) {
        if (end.thrown) {
            std::rethrow_exception(end.thrown);
        }
        error_ = end.error;
    }

    // Reads the keys that others load, except the first ones.
    std::vector<Read> read_waiting(std::size_t skipped) {
        std::vector<std::size_t> places;
        for (std::size_t index = skipped; index < waiting_.size(); ++index) {
            places.push_back(waiting_[index].place);
        }
        return read(keys_, places);
    }

    // Waits for the load of another process, or of another cache object. The wait has parts, in
    // between which the call looks for a load of this process. The first one is short: another
    // thread may have the lease and not have begun.
    std::vector<Read> wait_for_store(std::size_t place) {
        const std::chrono::milliseconds most(has_waited_ ? 500 : 10);
        has_waited_ = true;
        const auto begun = Clock::now();
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - begun);
        const auto part = std::clamp(left, std::chrono::milliseconds(0), most);
        yc_lease_options lease = lease_;
        lease.wait_ms = wait_ms(part);
        Read first = read_one(keys_[place], place, lease);
        // A read that is busy before its time is over does not wait: the key is held back. There is
        // no stale value then.
        const auto now = Clock::now();
        if (first.is_busy() && (now - begun < part || now >= end_)) {
            error_ = first.error;
            return {};
        }
        std::vector<Read> reads = read_waiting(1);
        reads.push_back(std::move(first));
        return reads;
    }

    static Error still_loading() {
        return Error(YC_E_BUSY, "another caller is still loading the key: try again, or wait longer (LoadOptions::wait)",
                     true);
    }

    yc_cache *cache_;
    const std::shared_ptr<Loads> &loads_;
    const LoadOptions &options_;
    yc_lease_options lease_;
    Error &error_;
    // Set when the first wait begins.
    Clock::time_point end_ = {};
    // True after a wait for another process.
    bool has_waited_ = false;
    // The number of flights that had begun before this call.
    std::uint64_t before_ = 0;
    std::vector<std::string_view> keys_ = {};
    std::vector<std::optional<Value>> values_ = {};
    // The values to return if a load fails. Empty once a read of the store finds no stale value.
    std::vector<std::optional<Value>> stale_ = {};
    std::vector<Waiting> waiting_ = {};
};

// The keys of a call, each once.
struct DistinctKeys {
    explicit DistinctKeys(const BytesList &all) {
        std::map<std::string_view, std::size_t> known;
        for (const Bytes &key : all) {
            // The library refuses NULL, which has no bytes to compare.
            const bool is_new = key.data == nullptr || known.emplace(view(key), keys.size()).second;
            place_of.push_back(is_new ? keys.size() : known.find(view(key))->second);
            if (is_new) {
                places.push_back(keys.size());
                keys.push_back(view(key));
            }
        }
    }

    // Returns the value of each key of the call.
    std::vector<std::optional<Value>> spread(const std::vector<std::optional<Value>> &values) const {
        std::vector<std::optional<Value>> all(place_of.size());
        std::transform(place_of.begin(), place_of.end(), all.begin(), [&](std::size_t place) {
            return values[place] ? std::optional<Value>(values[place]->clone()) : std::nullopt;
        });
        return all;
    }

    std::vector<std::string_view> keys = {};
    std::vector<std::size_t> places = {};
    std::vector<std::size_t> place_of = {};
};

} // namespace detail

// Receives the beginning (phase YC_SPAN_BEGIN) and the end (YC_SPAN_END) of a call; see
// yc_trace_fn, also for its threads. Several threads may call it at the same time. It must not
// block for long, and must not close, switch or migrate a cache. Its exceptions are ignored.
using Trace = std::function<void(std::int32_t phase, const yc_span &span)>;

// The options of Cache::set_trace().
//
//     TraceOptions rarely;
//     rarely.interval = 1000;
//     cache.set_trace([](std::int32_t, const yc_span &) {}, rarely);
struct TraceOptions {
    // One call in so many has a span, selected at random.
    std::uint64_t interval = 1;
    // True if spans have the keys of their calls.
    bool keys = false;
};

namespace detail {

inline void write_span(void *owned, std::int32_t phase, const yc_span *span) noexcept {
    try {
        (*static_cast<Trace *>(owned))(phase, *span);
    } catch (...) {
        // No exception may cross the library, and a trace cannot report one.
    }
}

inline void release_trace(void *owned) noexcept { delete static_cast<Trace *>(owned); }

} // namespace detail

// Sets the context of the spans that begin on this thread, for all caches, until it is
// destroyed: for example the number of a parent span. Then the previous one holds again.
//
//     TraceContext request(42);
//     cache.remove("user:1");
class TraceContext {
public:
    explicit TraceContext(std::uint64_t context) noexcept : before_(yc_set_trace_context(context)) {}
    TraceContext(const TraceContext &) = delete;
    TraceContext &operator=(const TraceContext &) = delete;
    ~TraceContext() { yc_set_trace_context(before_); }

private:
    std::uint64_t before_;
};

// Holds the credentials with which the connections of a cache log in.
//
//     Credentials credentials{"app", "token", 15min};
struct Credentials {
    // The user; empty: the default user of Redis.
    std::string username;
    // The password or the token of the user.
    std::string password;
    // The time from now for which a server accepts them; 0: they do not expire.
    std::chrono::milliseconds valid_for{0};
};

// Supplies credentials, on a thread of the library that may block. It must not use the
// cache. The text of an exception is part of the error of calls that need a new connection:
// it must not contain a secret.
using CredentialsSupplier = std::function<Credentials()>;

namespace detail {

inline void supply_credentials(void *supplier, yc_credentials_request *request) noexcept {
    std::string reason = "an exception of an unknown type";
    try {
        const Credentials given = (*static_cast<const CredentialsSupplier *>(supplier))();
        yc_credentials_request *const answered = std::exchange(request, nullptr);
        // Wrong credentials fail the request.
        yc_credentials_give(answered, given.username.data(), given.username.size(), given.password.data(),
                            given.password.size(), given.valid_for.count(), nullptr);
    } catch (const std::exception &exception) {
        try {
            reason = exception.what();
        } catch (...) {
            reason.clear();
        }
    } catch (...) {
    }
    if (request != nullptr) {
        yc_credentials_fail(request, reason.data(), reason.size(), nullptr);
    }
}

inline void release_supplier(void *supplier) noexcept {
    delete static_cast<CredentialsSupplier *>(supplier);
}

} // namespace detail

// A cache over memory, Redis or Memcached. The destructor closes it without waiting, except
// for background loads that run; close() waits.
//
//     Cache users = Cache::open("memory://?max_size=10000");
//     users.set("user:1", "Ada", {5min, {"users"}});
//     if (auto value = users.get("user:1"))
//         std::cout << value->view() << '\n';
//     users.invalidate_tag("users");
//     users.close();
class Cache {
public:
    // Creates an empty handle.
    Cache() noexcept = default;

    // Takes ownership of a cache of the C API. get_or_load() waits for 1 s by default then.
    explicit Cache(yc_cache *owned) noexcept : Cache(owned, detail::LoadTimes()) {}

    Cache(Cache &&) noexcept = default;

    Cache &operator=(Cache &&other) noexcept {
        Cache taken(std::move(other));
        std::swap(handle_, taken.handle_);
        std::swap(loads_, taken.loads_);
        return *this;
    }

    ~Cache() {
        if (loads_ == nullptr) {
            return;
        }
        if (!is_forked()) {
            loads_->end();
        } else {
            // The threads of the parent do not exist here: nothing may wait for them.
            static_cast<void>(new std::shared_ptr<detail::Loads>(std::move(loads_)));
        }
    }

    // Returns the handle for functions of the C API. This object owns it.
    yc_cache *native() const & noexcept { return handle_.get(); }
    yc_cache *native() const && = delete;

    // Returns true if the object owns a cache, even if the cache is closed.
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // ---- Opening and closing ----

    // Opens a cache from a URL or from a YAML or JSON text.
    static Cache open(const Text &config, Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            yc_open(config.c_str(), &cache, detail::ErrorPlace(error));
        }
        return opened(cache, [&](Error &ignored) { return check_config(config, ignored); });
    }

    static Cache open(const Text &config) {
        return detail::or_throw([&](Error &error) { return open(config, error); });
    }

    // Opens a cache from a YAML or JSON file. If environment is empty, the variable
    // ENVIRONMENT selects it.
    static Cache open_file(const Text &path, const Text &environment, Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            const char *name = environment.empty() ? nullptr : environment.c_str();
            yc_open_file(path.c_str(), name, &cache, detail::ErrorPlace(error));
        }
        return opened(cache, [&](Error &ignored) { return check_config_file(path, environment, ignored); });
    }

    static Cache open_file(const Text &path, const Text &environment = "") {
        return detail::or_throw([&](Error &error) { return open_file(path, environment, error); });
    }

    // Opens a cache from environment variables; see yc_open_env().
    static Cache open_env(Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            yc_open_env(&cache, detail::ErrorPlace(error));
        }
        return opened(cache, check_env);
    }

    static Cache open_env() {
        return detail::or_throw([](Error &error) { return open_env(error); });
    }

    // Checks a configuration without opening a cache. Returns the resulting
    // configuration as a JSON object without passwords.
    static std::string check_config(const Text &config, Error &error) noexcept {
        yc_value *json = nullptr;
        if (fits(error)) {
            yc_config_check(config.c_str(), &json, detail::ErrorPlace(error));
        }
        return Value(json).text();
    }

    static std::string check_config(const Text &config) {
        return detail::or_throw([&](Error &error) { return check_config(config, error); });
    }

    // Checks a configuration file without opening a cache; see check_config().
    static std::string check_config_file(const Text &path, const Text &environment, Error &error) noexcept {
        yc_value *json = nullptr;
        if (fits(error)) {
            const char *name = environment.empty() ? nullptr : environment.c_str();
            yc_config_check_file(path.c_str(), name, &json, detail::ErrorPlace(error));
        }
        return Value(json).text();
    }

    static std::string check_config_file(const Text &path, const Text &environment = "") {
        return detail::or_throw([&](Error &error) { return check_config_file(path, environment, error); });
    }

    // The default timeout of close(): 5 s.
    static constexpr std::chrono::milliseconds default_timeout{-1};

    // Closes the cache. Later calls fail with YC_E_CLOSED, and so do calls that load or wait for
    // a load, at once. The leases of loads that run, or wait for a thread, go to other
    // processes at once. A lease that arrives while the cache is being closed ends by itself
    // when it expires. A second close has no effect.
    void close(std::chrono::milliseconds timeout, Error &error) noexcept {
        if (loads_ != nullptr && timeout >= default_timeout && !is_forked()) {
            loads_->close();
        }
        yc_close(native(), timeout.count(), detail::ErrorPlace(error));
    }

    void close(std::chrono::milliseconds timeout = default_timeout) {
        detail::or_throw([&](Error &error) { close(timeout, error); });
    }

    // ---- Traces ----

    // Sets the function that receives the spans of the cache and of its views, in place of the
    // previous one; see yc_set_trace(). An empty function ends tracing. The library destroys a
    // function after its last call: spans that have begun still end there.
    //
    //     cache.set_trace([](std::int32_t phase, const yc_span &span) {
    //         if (phase == YC_SPAN_END)
    //             std::cerr << span.kind << ": " << span.duration_ns << " ns\n";
    //     }, TraceOptions{100, false});
    void set_trace(Trace trace, TraceOptions options, Error &error) noexcept {
        yc_trace_options plain = {};
        plain.struct_size = sizeof plain;
        plain.flags = options.keys ? YC_TRACE_KEYS : 0;
        plain.interval = options.interval;
        if (!trace) {
            yc_set_trace(native(), &plain, nullptr, nullptr, nullptr, detail::ErrorPlace(error));
            return;
        }
        auto owned = std::make_unique<Trace>(std::move(trace));
        if (yc_set_trace(native(), &plain, detail::write_span, owned.get(), detail::release_trace,
                         detail::ErrorPlace(error)) == YC_OK) {
            // The library owns it now, and may have destroyed it already.
            static_cast<void>(owned.release());
        }
    }

    void set_trace(Trace trace, TraceOptions options = {}) {
        detail::or_throw([&](Error &error) { set_trace(std::move(trace), options, error); });
    }

    // ---- Entries ----

    // Reads the value of a key without copying it. Empty on a miss.
    OptionalValue get(Bytes key, Error &error) const noexcept {
        yc_value *value = nullptr;
        yc_get(native(), key.data, key.len, &value, detail::ErrorPlace(error));
        return value == nullptr ? OptionalValue() : OptionalValue(Value(value));
    }

    OptionalValue get(Bytes key) const {
        return detail::or_throw([&](Error &error) { return get(key, error); });
    }

    // Reads the value of a key; Fresh::yes reads it from the servers, also if the near cache
    // has a copy.
    OptionalValue get(Bytes key, Fresh fresh, Error &error) const noexcept {
        if (fresh == Fresh::no) {
            return get(key, error);
        }
        yc_op op = {};
        op.kind = YC_OP_GET;
        op.key = key.data;
        op.key_len = key.len;
        run(op, fresh, error);
        return op.result == nullptr ? OptionalValue() : OptionalValue(Value(op.result));
    }

    OptionalValue get(Bytes key, Fresh fresh) const {
        return detail::or_throw([&](Error &error) { return get(key, fresh, error); });
    }

    // Returns a copy of the value of a key if it is in the memory of this process: that of the
    // memory backend, or of a near cache. Never waits and sends no request. Empty if this
    // process has no such value; on Redis and Memcached the key may exist nevertheless.
    OptionalValue get_near(Bytes key, Error &error) const {
        std::string bytes;
        std::size_t length = 4096;
        Status status = YC_OK;
        do {
            // The value may have grown since the last call.
            bytes.resize(length);
            status = yc_get_near(native(), key.data, key.len, &bytes[0], bytes.size(), &length,
                                 detail::ErrorPlace(error));
        } while (status == YC_E_BUFFER_TOO_SMALL);
        if (status != YC_OK) {
            return OptionalValue();
        }
        bytes.resize(length);
        return OptionalValue(Value(std::make_shared<const std::string>(std::move(bytes))));
    }

    OptionalValue get_near(Bytes key) const {
        return detail::or_throw([&](Error &error) { return get_near(key, error); });
    }

    // Copies the value that get_near() returns into a buffer, as get_into() does.
    std::optional<std::size_t> get_near_into(Bytes key, void *buffer, std::size_t capacity,
                                             Error &error) const noexcept {
        std::size_t length = 0;
        Status status = yc_get_near(native(), key.data, key.len, buffer, capacity, &length, detail::ErrorPlace(error));
        return length_of(status, length, error);
    }

    std::optional<std::size_t> get_near_into(Bytes key, void *buffer, std::size_t capacity) const {
        return detail::or_throw([&](Error &error) { return get_near_into(key, buffer, capacity, error); });
    }

    // Copies the value of a key into a buffer and returns its length. Empty on a miss. A
    // length above `capacity` is not an error: nothing was copied, and the value needs
    // that many bytes.
    std::optional<std::size_t> get_into(Bytes key, void *buffer, std::size_t capacity, Error &error) const noexcept {
        std::size_t length = 0;
        Status status = yc_get_into(native(), key.data, key.len, buffer, capacity, &length, detail::ErrorPlace(error));
        return length_of(status, length, error);
    }

    std::optional<std::size_t> get_into(Bytes key, void *buffer, std::size_t capacity) const {
        return detail::or_throw([&](Error &error) { return get_into(key, buffer, capacity, error); });
    }

    // Stores a value and replaces the previous value and tags of the key.
    void set(Bytes key, Bytes value, const SetOptions &options, Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        yc_set(native(), key.data, key.len, value.data, value.len, options.ttl.ttl_ms(), tags.data(), tags.size(),
               detail::ErrorPlace(error));
    }

    void set(Bytes key, Bytes value, const SetOptions &options = {}) {
        detail::or_throw([&](Error &error) { set(key, value, options, error); });
    }

    void set(Bytes key, Bytes value, Error &error) noexcept { set(key, value, SetOptions{}, error); }

    // Stores a value with a time to live and without tags: set(key, value, 5min).
    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl, Error &error) noexcept {
        set(key, value, SetOptions{ttl, {}}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl) {
        set(key, value, SetOptions{ttl, {}});
    }

    // Deletes a key. Returns false if it did not exist.
    bool remove(Bytes key, Error &error) noexcept {
        return yc_delete(native(), key.data, key.len, detail::ErrorPlace(error)) == YC_OK;
    }

    bool remove(Bytes key) {
        return detail::or_throw([&](Error &error) { return remove(key, error); });
    }

    // Returns true if a key exists.
    bool exists(Bytes key, Error &error) const noexcept {
        return yc_exists(native(), key.data, key.len, detail::ErrorPlace(error)) == YC_OK;
    }

    bool exists(Bytes key) const {
        return detail::or_throw([&](Error &error) { return exists(key, error); });
    }

    // Sets a new time to live, which starts now. Returns false if the key does not exist.
    bool expire(Bytes key, Ttl time, Error &error) noexcept {
        return yc_expire(native(), key.data, key.len, time.ttl_ms(), detail::ErrorPlace(error)) == YC_OK;
    }

    bool expire(Bytes key, Ttl time) {
        return detail::or_throw([&](Error &error) { return expire(key, time, error); });
    }

    // Returns the remaining time to live of a key. Empty on a miss.
    std::optional<Ttl> ttl(Bytes key, Error &error) const noexcept {
        std::int64_t ttl_ms = 0;
        Status status = yc_ttl(native(), key.data, key.len, &ttl_ms, detail::ErrorPlace(error));
        return status == YC_OK ? std::optional(detail::remaining(ttl_ms)) : std::nullopt;
    }

    std::optional<Ttl> ttl(Bytes key) const {
        return detail::or_throw([&](Error &error) { return ttl(key, error); });
    }

    // ---- Conditional writes and counters ----

    // Reads the value of a key and its version. Empty on a miss.
    // Reads a value with its version, age, remaining time to live and tags. An
    // entry that is older than max_age is a miss for this call, and stays; zero accepts any
    // age, and a negative time is rejected. An age may be up to 2200 ms too long.
    std::optional<EntryInfo> get_info(Bytes key, std::chrono::milliseconds max_age, Error &error) const noexcept {
        yc_value *value = nullptr;
        yc_entry_info info = YC_ENTRY_INFO_INIT;
        yc_get_info(native(), key.data, key.len, max_age.count(), &value, &info, detail::ErrorPlace(error));
        if (value == nullptr) {
            return std::nullopt;
        }
        return EntryInfo{Value(value), info.version, detail::age_of(info.age_ms), detail::remaining(info.remaining_ms),
                         info.tag_count};
    }

    std::optional<EntryInfo> get_info(Bytes key, std::chrono::milliseconds max_age = {}) const {
        return detail::or_throw([&](Error &error) { return get_info(key, max_age, error); });
    }

    std::optional<Versioned> get_versioned(Bytes key, Error &error) const noexcept {
        yc_value *value = nullptr;
        Version version = 0;
        yc_get_versioned(native(), key.data, key.len, &value, &version, detail::ErrorPlace(error));
        return value == nullptr ? std::nullopt : std::optional<Versioned>({Value(value), version});
    }

    std::optional<Versioned> get_versioned(Bytes key) const {
        return detail::or_throw([&](Error &error) { return get_versioned(key, error); });
    }

    // Stores a value as set() does if a condition holds. Returns the version of the new
    // entry, or nothing if the condition does not hold: then nothing has changed. YC_E_TIMEOUT
    // after a lost reply reports that the value may have been stored; YC_E_BUSY that other
    // writers changed the key again and again.
    std::optional<Version> set_if(Bytes key, Bytes value, Condition condition, const SetOptions &options,
                                  Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        Version version = 0;
        Status status = yc_set_if(native(), key.data, key.len, value.data, value.len, options.ttl.ttl_ms(), tags.data(),
                                  tags.size(), condition.kind(), condition.expected(), &version,
                                  detail::ErrorPlace(error));
        return status == YC_OK ? std::optional(version) : std::nullopt;
    }

    std::optional<Version> set_if(Bytes key, Bytes value, Condition condition, const SetOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return set_if(key, value, condition, options, error); });
    }

    std::optional<Version> set_if(Bytes key, Bytes value, Condition condition, Error &error) noexcept {
        return set_if(key, value, condition, SetOptions{}, error);
    }

    // Stores a value with a time to live and without tags if a condition holds.
    template <class Time, class = detail::if_time<Time>>
    std::optional<Version> set_if(Bytes key, Bytes value, Condition condition, Time ttl, Error &error) noexcept {
        return set_if(key, value, condition, SetOptions{ttl, {}}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    std::optional<Version> set_if(Bytes key, Bytes value, Condition condition, Time ttl) {
        return set_if(key, value, condition, SetOptions{ttl, {}});
    }

    // Deletes a key if its entry has a version. Returns false if the key does not exist or
    // has another version. YC_E_TIMEOUT after a lost reply reports that the key may have
    // been deleted.
    bool remove_if(Bytes key, Version version, Error &error) noexcept {
        return yc_delete_if(native(), key.data, key.len, version, detail::ErrorPlace(error)) == YC_OK;
    }

    bool remove_if(Bytes key, Version version) {
        return detail::or_throw([&](Error &error) { return remove_if(key, version, error); });
    }

    // Reads the value of a key and sets its time to live, which starts now, in one step.
    // Empty on a miss.
    OptionalValue get_and_expire(Bytes key, Ttl time, Error &error) noexcept {
        yc_value *value = nullptr;
        yc_get_and_expire(native(), key.data, key.len, time.ttl_ms(), &value, detail::ErrorPlace(error));
        return value == nullptr ? OptionalValue() : OptionalValue(Value(value));
    }

    OptionalValue get_and_expire(Bytes key, Ttl time) {
        return detail::or_throw([&](Error &error) { return get_and_expire(key, time, error); });
    }

    // Adds `delta`, which may be negative, to a counter and returns the new value. A counter
    // that does not exist is created with options.initial first. An addition does not change
    // the time to live of an existing counter. A counter is an entry whose value is a decimal
    // number. YC_E_INVALID reports another value, or a sum outside std::int64_t; nothing has
    // changed. YC_E_TIMEOUT after a lost reply reports that delta may have been added.
    // Returns 0 after an error.
    std::int64_t counter_add(Bytes key, std::int64_t delta, const CounterOptions &options, Error &error) noexcept {
        std::int64_t value = 0;
        yc_counter_add(native(), key.data, key.len, delta, options.initial, options.ttl.ttl_ms(), &value,
                       detail::ErrorPlace(error));
        return value;
    }

    std::int64_t counter_add(Bytes key, std::int64_t delta, const CounterOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return counter_add(key, delta, options, error); });
    }

    std::int64_t counter_add(Bytes key, std::int64_t delta, Error &error) noexcept {
        return counter_add(key, delta, CounterOptions{}, error);
    }

    // Adds to a counter that is created with a time to live: counter_add("requests", 1, 1min).
    template <class Time, class = detail::if_time<Time>>
    std::int64_t counter_add(Bytes key, std::int64_t delta, Time ttl, Error &error) noexcept {
        return counter_add(key, delta, CounterOptions{ttl}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    std::int64_t counter_add(Bytes key, std::int64_t delta, Time ttl) {
        return counter_add(key, delta, CounterOptions{ttl});
    }

    // ---- Redis commands ----

    // Runs a command of Redis on a connection of the cache. `args` is the name of the command
    // and its arguments; `key_index` is the index of a key among them, which decides the
    // server of a cluster. redis_name() returns a name under key_prefix. The data lies outside
    // the entries of the cache. YC_E_INVALID reports a command that blocks or that changes the
    // state of a connection, YC_E_SERVER one that the server refused, YC_E_UNSUPPORTED a
    // backend that is not Redis. The library never sends the command twice; a Batch can allow
    // that. Returns nil after an error.
    Reply redis_command(const BytesList &args, int key_index, Error &error) noexcept {
        yc_reply *reply = nullptr;
        yc_redis_command(native(), args.data(), args.size(), key_index, &reply, detail::ErrorPlace(error));
        return Reply(reply);
    }

    Reply redis_command(const BytesList &args, int key_index = YC_NO_KEY) {
        return detail::or_throw([&](Error &error) { return redis_command(args, key_index, error); });
    }

    Reply redis_command(const BytesList &args, Error &error) noexcept {
        return redis_command(args, YC_NO_KEY, error);
    }

    // Returns the name of a key for redis_command(): under key_prefix, apart from entries.
    std::string redis_name(Bytes key, Error &error) {
        yc_value *name = nullptr;
        yc_redis_name(native(), key.data, key.len, &name, detail::ErrorPlace(error));
        return name == nullptr ? std::string() : Value(name).text();
    }

    std::string redis_name(Bytes key) {
        return detail::or_throw([&](Error &error) { return redis_name(key, error); });
    }

    // ---- Channels ----

    // Sends a message to every subscription that selects the channel, in every process that
    // uses the same servers and key_prefix. It is not stored: who is not subscribed does not
    // get it. Returns the number of subscriptions that it was sent to; empty if that is not
    // known, as in a cluster of Redis. YC_E_UNSUPPORTED reports a backend without channels. The
    // library never sends a message twice: after YC_E_TIMEOUT it may have been sent.
    std::optional<std::uint64_t> publish(Bytes channel, Bytes message, Error &error) noexcept {
        std::uint64_t receivers = YC_COUNT_UNKNOWN;
        yc_publish(native(), channel.data, channel.len, message.data, message.len, &receivers,
                   detail::ErrorPlace(error));
        return detail::known(receivers);
    }

    std::optional<std::uint64_t> publish(Bytes channel, Bytes message) {
        return detail::or_throw([&](Error &error) { return publish(channel, message, error); });
    }

    // Subscribes to channels: what is published after this call has returned is received. On
    // Redis each subscription has a connection of its own. Returns an empty handle after an
    // error.
    Subscription subscribe(const Filter &filter, Error &error) const noexcept {
        const detail::TagSlices channels(filter.channels);
        const detail::TagSlices patterns(filter.patterns);
        yc_filter raw = {};
        raw.struct_size = sizeof raw;
        raw.channels = channels.data();
        raw.n_channels = channels.size();
        raw.patterns = patterns.data();
        raw.n_patterns = patterns.size();
        raw.max_bytes = filter.max_bytes;
        yc_subscription *subscription = nullptr;
        yc_subscribe(native(), &raw, &subscription, detail::ErrorPlace(error));
        return Subscription(subscription);
    }

    Subscription subscribe(const Filter &filter) const {
        return detail::or_throw([&](Error &error) { return subscribe(filter, error); });
    }

    // ---- Events ----

    // Begins to read what other caches with the same servers and key_prefix invalidate, flush
    // and delete: what is removed after this call has returned causes an event. Redis and
    // Memcached need the option events; without it the call fails with YC_E_UNSUPPORTED. No
    // result of the cache depends on an event. At a gap, events may be missing: build all copies
    // again. Returns an empty handle after an error.
    Events events(const EventFilter &filter, Error &error) const noexcept {
        const detail::TagSlices tags(filter.tags);
        const detail::TagSlices keys(filter.keys);
        yc_events_filter raw = {};
        raw.struct_size = sizeof raw;
        raw.flags = filter.own ? YC_EVENTS_OWN : 0;
        raw.kinds = filter.kinds;
        raw.tags = tags.data();
        raw.n_tags = tags.size();
        raw.keys = keys.data();
        raw.n_keys = keys.size();
        raw.max_bytes = filter.max_bytes;
        yc_events *events = nullptr;
        yc_events_open(native(), &raw, &events, detail::ErrorPlace(error));
        return Events(events);
    }

    Events events(const EventFilter &filter = {}) const {
        return detail::or_throw([&](Error &error) { return events(filter, error); });
    }

    // ---- Loading ----

    // Reads the value of a key, or gives the caller the right to load it. If another caller
    // loads the key, the function waits for that load. get_or_load() does all of this.
    // YC_E_BUSY: the wait has elapsed and the other caller is still loading, or the last load
    // failed and its holder asked for a pause.
    Lookup get_or_lease(Bytes key, const LeaseOptions &options, Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        const yc_lease_options raw =
            detail::raw_lease(options.lease, options.wait ? detail::wait_ms(*options.wait) : 0, tags);
        yc_op op = {};
        op.kind = YC_OP_GET_OR_LEASE;
        op.key = key.data;
        op.key_len = key.len;
        op.value = &raw;
        op.value_len = sizeof raw;
        Lookup found;
        found.status = options.fresh == Fresh::yes ? run(op, options.fresh, error)
                                                   : yc_get_or_lease(native(), key.data, key.len, &raw, &op.result,
                                                                     &op.lease, detail::ErrorPlace(error));
        if (op.result != nullptr) {
            found.value.emplace(op.result);
        }
        if (op.lease != nullptr) {
            found.lease.emplace(op.lease);
        }
        return found;
    }

    Lookup get_or_lease(Bytes key, const LeaseOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return get_or_lease(key, options, error); });
    }

    // Returns the value of a key, or loads and stores it. The loader takes a Fill & and
    // returns any type that converts to Bytes, or a std::optional of one. Empty if the loader
    // returns std::nullopt, and while the cache remembers that.
    //
    // - One caller at a time loads a key, among all processes that share the store. The others
    //   wait for its value at most options.wait: by default for `socket_timeout`, or 1 s on the
    //   memory backend. Then they get YC_E_BUSY. Set options.wait if loads take longer.
    // - A value that was loaded before an invalidation is returned only to calls that began
    //   before it.
    // - A stale value is returned at once. One caller refreshes it in the background: on
    //   another thread, with a copy of the loader, possibly after this function has returned.
    //   Capture by value, or refer to objects that outlive the cache. The destructor of the
    //   cache waits for background loads that run.
    // - An exception of the loader is thrown to its caller and to the callers of this cache
    //   object that wait for it, by both overloads. A failure is never cached.
    // - If the store is down, the callers of this object that find it down share one load at a
    //   time, and nothing is stored. The store is down if its error is YC_E_CONNECT, YC_E_AUTH,
    //   YC_E_TLS, YC_E_TIMEOUT, YC_E_SERVER_MEMORY, or another retryable one except YC_E_BUSY.
    //   Any other error is returned without a load.
    // - If only the storing fails, as for a value that is too large, the value is returned
    //   nevertheless; callers that wait for it share the next load. Terms of the Fill that are
    //   not allowed are YC_E_INVALID, also for the callers that wait. A value with more than 128
    //   tags, or with a tag over 64 KiB, counts as too large.
    // - A loader may load other keys, and must not load its own: YC_E_INVALID.
    // - The tags of the options cost less than those that the loader adds.
    template <class Loader>
    OptionalValue get_or_load(Bytes key, Loader &&loader, const LoadOptions &options, Error &error) {
        const detail::TagSlices tags(options.tags);
        const yc_lease_options raw = detail::raw_lease(options.lease, detail::no_wait, tags);
        yc_value *value = nullptr;
        yc_lease *lease = nullptr;
        const Status status =
            yc_get_or_lease(native(), key.data, key.len, &raw, &value, &lease, detail::ErrorPlace(error));
        if (status == YC_OK && lease == nullptr) {
            return OptionalValue(Value(value));
        }
        std::vector<detail::Read> reads(1);
        reads.front() = {0, status, Value(value), detail::Handle<yc_lease, yc_lease_free>(lease), error};
        error = Error();
        detail::LoadCall call(native(), loads_, options, raw, error);
        std::vector<std::optional<Value>> values =
            call.run({detail::view(key)}, std::move(reads), detail::loaders<detail::LoaderOfOne>(loader));
        return error ? OptionalValue() : OptionalValue(std::move(values.front()));
    }

    template <class Loader>
    OptionalValue get_or_load(Bytes key, Loader &&loader, const LoadOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return get_or_load(key, loader, options, error); });
    }

    template <class Loader>
    OptionalValue get_or_load(Bytes key, Loader &&loader, Error &error) {
        return get_or_load(key, loader, LoadOptions{}, error);
    }

    template <class Loader, class Time, class = detail::if_time<Time>>
    OptionalValue get_or_load(Bytes key, Loader &&loader, Time ttl) {
        return get_or_load(key, loader, LoadOptions{ttl, {}});
    }

    // Returns the values of many keys in the order of the keys, as get_or_load() does. The
    // loader is called once with the keys that this caller must load, fill.keys(), and again
    // only for a key whose load by another caller has failed. It returns a range of pairs of a
    // key and a value, such as a std::map. A key without a pair is absent.
    template <class Loader>
    std::vector<std::optional<Value>> get_or_load_many(const BytesList &keys, Loader &&loader,
                                                       const LoadOptions &options, Error &error) {
        error = Error();
        const detail::TagSlices tags(options.tags);
        const yc_lease_options raw = detail::raw_lease(options.lease, detail::no_wait, tags);
        const detail::DistinctKeys distinct(keys);
        detail::LoadCall call(native(), loads_, options, raw, error);
        std::vector<detail::Read> reads = call.read(distinct.keys, distinct.places);
        std::vector<std::optional<Value>> values;
        if (!error) {
            values = call.run(distinct.keys, std::move(reads), detail::loaders<detail::LoaderOfMany>(loader));
        }
        return error ? std::vector<std::optional<Value>>(keys.size()) : distinct.spread(values);
    }

    template <class Loader>
    std::vector<std::optional<Value>> get_or_load_many(const BytesList &keys, Loader &&loader,
                                                       const LoadOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return get_or_load_many(keys, loader, options, error); });
    }

    template <class Loader>
    std::vector<std::optional<Value>> get_or_load_many(const BytesList &keys, Loader &&loader, Error &error) {
        return get_or_load_many(keys, loader, LoadOptions{}, error);
    }

    template <class Loader, class Time, class = detail::if_time<Time>>
    std::vector<std::optional<Value>> get_or_load_many(const BytesList &keys, Loader &&loader, Time ttl) {
        return get_or_load_many(keys, loader, LoadOptions{ttl, {}});
    }

    // ---- Tags, patterns and flush ----

    // Invalidates every entry with the tag. This function and the next four return the
    // number of removed entries if it was requested and the backend can count it. With
    // Count::dry_run they return the number of entries that they would remove, and remove
    // nothing; see yc_invalidate_tags().
    //
    //     std::cout << cache.invalidate_tag("users", Count::dry_run).value_or(0) << " entries\n";
    std::optional<std::uint64_t> invalidate_tag(Bytes tag, Count count, Error &error) noexcept {
        if (count == Count::dry_run) {
            return would_remove(YC_OP_INVALIDATE_TAGS, {}, &tag, 1, error);
        }
        detail::RemovedPlace removed(count);
        yc_invalidate_tag(native(), tag.data, tag.len, removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_tag(Bytes tag, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_tag(tag, count, error); });
    }

    // Invalidates every entry with at least one of the tags.
    std::optional<std::uint64_t> invalidate_tags(const BytesList &tags, Count count, Error &error) noexcept {
        if (count == Count::dry_run) {
            return would_remove(YC_OP_INVALIDATE_TAGS, {}, tags.data(), tags.size(), error);
        }
        detail::RemovedPlace removed(count);
        yc_invalidate_tags(native(), tags.data(), tags.size(), removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_tags(const BytesList &tags, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_tags(tags, count, error); });
    }

    // Removes every key that matches a glob.
    std::optional<std::uint64_t> invalidate_pattern(Bytes pattern, Count count, Error &error) noexcept {
        if (count == Count::dry_run) {
            return would_remove(YC_OP_INVALIDATE_PATTERN, pattern, nullptr, 0, error);
        }
        detail::RemovedPlace removed(count);
        yc_invalidate_pattern(native(), pattern.data, pattern.len, removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_pattern(Bytes pattern, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_pattern(pattern, count, error); });
    }

    // Makes misses of all entries of a view with a namespace, or of a cache with the option
    // generations, in one step; see yc_clear().
    //
    //     cache.view({"users"}).clear();
    std::optional<std::uint64_t> clear(Count count, Error &error) noexcept {
        if (count == Count::dry_run) {
            return would_remove(YC_OP_CLEAR, {}, nullptr, 0, error);
        }
        detail::RemovedPlace removed(count);
        yc_clear(native(), removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> clear(Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return clear(count, error); });
    }

    // Removes every entry under the key_prefix of this cache.
    std::optional<std::uint64_t> flush(Count count, Error &error) noexcept {
        if (count == Count::dry_run) {
            return would_remove(YC_OP_FLUSH, {}, nullptr, 0, error);
        }
        detail::RemovedPlace removed(count);
        yc_flush(native(), removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> flush(Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return flush(count, error); });
    }

    // ---- Keys and search ----

    // Lists the keys that match a glob; see Keys.
    Keys keys(Bytes pattern, Error &error) const noexcept {
        yc_cursor *cursor = nullptr;
        yc_keys_open(native(), pattern.data, pattern.len, &cursor, detail::ErrorPlace(error));
        return Keys(cursor);
    }

    Keys keys(Bytes pattern = "*") const {
        return detail::or_throw([&](Error &error) { return keys(pattern, error); });
    }

    // Lists the keys that match a glob and whose entries have at least one of the tags; an
    // empty list of tags selects all.
    //
    //     Keys keys = cache.keys("*", {"users", "eu"});
    Keys keys(Bytes pattern, const BytesList &tags, Error &error) const noexcept {
        yc_cursor *cursor = nullptr;
        yc_keys_open_tagged(native(), pattern.data, pattern.len, tags.data(), tags.size(), &cursor,
                            detail::ErrorPlace(error));
        return Keys(cursor);
    }

    Keys keys(Bytes pattern, const BytesList &tags) const {
        return detail::or_throw([&](Error &error) { return keys(pattern, tags, error); });
    }

    // Finds the keys that are most similar to a query of at most 1 KiB, best first.
    Matches search(Bytes query, const SearchOptions &options, Error &error) const noexcept {
        const detail::TagSlices tags(options.tags);
        const yc_search_options raw = detail::search_options(options, tags);
        yc_matches *matches = nullptr;
        yc_search(native(), query.data, query.len, &raw, &matches, detail::ErrorPlace(error));
        return Matches(matches);
    }

    Matches search(Bytes query, const SearchOptions &options = {}) const {
        return detail::or_throw([&](Error &error) { return search(query, options, error); });
    }

    // ---- Many keys and batches ----

    // Reads many keys. The values have the order of the keys. The overload with statuses
    // reports a miss or a failure for each key: statuses[i] is YC_OK, YC_MISS or the
    // failure of keys[i].
    std::vector<std::optional<Value>> get_many(const BytesList &keys, std::vector<Status> &statuses,
                                               Error &error) const noexcept {
        std::vector<yc_value *> raw(keys.size(), nullptr);
        statuses.assign(keys.size(), unwritten);
        yc_get_many(native(), keys.data(), keys.size(), raw.data(), statuses.data(), detail::ErrorPlace(error));
        complete(statuses, error);
        return adopt(raw);
    }

    std::vector<std::optional<Value>> get_many(const BytesList &keys, Error &error) const noexcept {
        std::vector<Status> statuses;
        return get_many(keys, statuses, error);
    }

    std::vector<std::optional<Value>> get_many(const BytesList &keys) const {
        return detail::or_throw([&](Error &error) { return get_many(keys, error); });
    }

    // Stores many entries with the same time to live and the same tags.
    void set_many(const EntryList &entries, const SetOptions &options, std::vector<Status> &statuses,
                  Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        statuses.assign(entries.size(), unwritten);
        yc_set_many(native(), entries.keys(), entries.values(), entries.size(), options.ttl.ttl_ms(), tags.data(),
                    tags.size(), statuses.data(), detail::ErrorPlace(error));
        complete(statuses, error);
    }

    void set_many(const EntryList &entries, const SetOptions &options, Error &error) noexcept {
        std::vector<Status> statuses;
        set_many(entries, options, statuses, error);
    }

    void set_many(const EntryList &entries, const SetOptions &options = {}) {
        detail::or_throw([&](Error &error) { set_many(entries, options, error); });
    }

    void set_many(const EntryList &entries, Error &error) noexcept { set_many(entries, SetOptions{}, error); }

    // Stores many entries with a time to live and without tags.
    template <class Time, class = detail::if_time<Time>>
    void set_many(const EntryList &entries, Time ttl, Error &error) noexcept {
        set_many(entries, SetOptions{ttl, {}}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    void set_many(const EntryList &entries, Time ttl) {
        set_many(entries, SetOptions{ttl, {}});
    }

    // Deletes many keys. Returns the number of keys that existed.
    std::size_t remove_many(const BytesList &keys, std::vector<Status> &statuses, Error &error) noexcept {
        statuses.assign(keys.size(), unwritten);
        yc_delete_many(native(), keys.data(), keys.size(), statuses.data(), detail::ErrorPlace(error));
        complete(statuses, error);
        return static_cast<std::size_t>(std::count(statuses.begin(), statuses.end(), YC_OK));
    }

    std::size_t remove_many(const BytesList &keys, Error &error) noexcept {
        std::vector<Status> statuses;
        return remove_many(keys, statuses, error);
    }

    std::size_t remove_many(const BytesList &keys) {
        return detail::or_throw([&](Error &error) { return remove_many(keys, error); });
    }

    // Runs the operations of a batch. Each has its own outcome. An error concerns the
    // batch as a whole: no operation was run.
    std::vector<Outcome> run(const Batch &batch, Error &error) noexcept {
        std::vector<yc_op> ops = batch.ops_;
        Status status = yc_batch(native(), ops.data(), ops.size(), sizeof(yc_op), detail::ErrorPlace(error));
        std::vector<Outcome> outcomes;
        if (status == YC_OK) {
            for (const yc_op &op : ops) {
                detail::adopt(outcomes.emplace_back(), op);
            }
        }
        return outcomes;
    }

    std::vector<Outcome> run(const Batch &batch) {
        return detail::or_throw([&](Error &error) { return run(batch, error); });
    }

    // ---- Reports ----

    // Returns counters, sizes and latencies as a JSON object.
    std::string stats(Error &error) const noexcept {
        yc_value *json = nullptr;
        yc_stats(native(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string stats() const {
        return detail::or_throw([&](Error &error) { return stats(error); });
    }

    // Returns the state of the cache and its servers as a JSON object.
    std::string health(Error &error) const noexcept {
        yc_value *json = nullptr;
        yc_health(native(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string health() const {
        return detail::or_throw([&](Error &error) { return health(error); });
    }

    // Returns a JSON object that says whether a key is a hit, why, and where it is; see
    // yc_explain(). Tags of the entry that are among tags are reported by name. The call
    // is not counted as a hit or a miss and changes nothing.
    //
    //     std::string why = cache.explain("user:1", {"users"});
    std::string explain(Bytes key, const Tags &tags, Error &error) const noexcept {
        const detail::TagSlices names(tags);
        yc_value *json = nullptr;
        yc_explain(native(), key.data, key.len, names.data(), names.size(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string explain(Bytes key, const Tags &tags = {}) const {
        return detail::or_throw([&](Error &error) { return explain(key, tags, error); });
    }

    // Returns counters, gauges and a histogram in the text format of Prometheus. The text
    // describes this cache alone; see metrics_of().
    std::string metrics(Error &error) const noexcept {
        yc_value *text = nullptr;
        yc_metrics(native(), &text, detail::ErrorPlace(error));
        return Value(text).text();
    }

    std::string metrics() const {
        return detail::or_throw([&](Error &error) { return metrics(error); });
    }

    // Returns the number of entries and their size.
    Size size(Error &error) const noexcept {
        Size size;
        yc_size(native(), &size.keys, &size.bytes, detail::ErrorPlace(error));
        return size;
    }

    Size size() const {
        return detail::or_throw([&](Error &error) { return size(error); });
    }

    // ---- Views ----

    // Opens a view: a second cache on the same connections and threads, with other
    // defaults. Every function accepts a view, except switch_to() and migrate(). With a
    // namespace its keys and tags are apart from those of the cache, and flush() removes the
    // entries of the namespace. A view of a view has the options of both. Closing it closes
    // no connection; closing the cache closes its views. Errors: YC_E_CONFIG; YC_E_INVALID
    // for a namespace in a view that has one.
    Cache view(const ViewOptions &options, Error &error) const noexcept {
        yc_cache *view = nullptr;
        yc_view(native(), detail::text_of(options).c_str(), &view, detail::ErrorPlace(error));
        detail::LoadTimes times = loads_ == nullptr ? detail::LoadTimes() : loads_->times();
        times.call = options.timeout.value_or(times.call);
        return Cache(view, times);
    }

    Cache view(const ViewOptions &options) const {
        return detail::or_throw([&](Error &error) { return view(options, error); });
    }

    // ---- Credentials ----

    // Sets the function that supplies the credentials of the cache, in place of the previous
    // one; an empty one: there is none. The cache needs the option "credentials: callback",
    // with which open() does not wait for the servers. Unless the cache has "connect: lazy",
    // waits for the answer and for the servers, for at most socket_connect_timeout each. All
    // connections share the answer. It is renewed shortly before it expires, and no call
    // fails because of that. Errors: YC_E_UNSUPPORTED if no server of the cache takes
    // credentials of a function; YC_E_AUTH; the errors of the servers. After an error of a
    // server the function remains set.
    void set_credentials(CredentialsSupplier supplier, Error &error) const noexcept {
        if (!supplier) {
            yc_set_credentials(native(), nullptr, nullptr, nullptr, detail::ErrorPlace(error));
            return;
        }
        // The library owns it from now on, also if the call fails.
        auto owned = std::make_unique<CredentialsSupplier>(std::move(supplier));
        yc_set_credentials(native(), detail::supply_credentials, owned.release(), detail::release_supplier,
                           detail::ErrorPlace(error));
    }

    void set_credentials(CredentialsSupplier supplier) const {
        detail::or_throw([&](Error &error) { set_credentials(std::move(supplier), error); });
    }

    // ---- Switch and migrate ----

    // Replaces the backend of the cache. config is a text that open() accepts. Calls in
    // flight finish on the old backend, later calls use the new one, and no call fails.
    // Blocks until the old backend is closed. Returns a report as a JSON object. Errors:
    // YC_E_CONFIG, the errors of open(), YC_E_BUSY during another switch, YC_E_UNSUPPORTED
    // if the old backend cannot list the keys to copy. After an error the cache uses the
    // old backend.
    std::string switch_to(const Text &config, const SwitchOptions &options, Error &error) noexcept {
        yc_value *json = nullptr;
        yc_switch(native(), config.c_str(), detail::text_of(options).c_str(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string switch_to(const Text &config, const SwitchOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return switch_to(config, options, error); });
    }

    // Copies the entries of this cache to another: values, tags and remaining times to
    // live. Existing entries of the target are kept. Both caches remain in use;
    // switch_to() also applies writes during the copy. Returns a report as a JSON object.
    // Errors: YC_E_INVALID if both caches have the same servers and prefix, or for an
    // invalid resume; YC_E_CONFIG; YC_E_UNSUPPORTED if this cache cannot list keys; the
    // errors of the servers. Both overloads throw the exceptions of progress.
    std::string migrate(Cache &target, const MigrateOptions &options, const OnProgress &progress, Error &error) const {
        yc_value *json = nullptr;
        detail::ProgressCall call{progress};
        yc_migrate(native(), target.native(), detail::text_of(options).c_str(),
                   progress ? detail::report_progress : nullptr, &call, nullptr, &json, detail::ErrorPlace(error));
        const Value report(json);
        if (call.thrown) {
            std::rethrow_exception(call.thrown);
        }
        return report.text();
    }

    std::string migrate(Cache &target, const MigrateOptions &options = {}, const OnProgress &progress = nullptr) const {
        return detail::or_throw([&](Error &error) { return migrate(target, options, progress, error); });
    }

    // ---- Backend ----

    // Checks that every server of the backend replies.
    void ping(Error &error) const noexcept { yc_ping(native(), detail::ErrorPlace(error)); }

    void ping() const {
        detail::or_throw([&](Error &error) { ping(error); });
    }

    // Returns the capabilities of the backend: a sum of YC_CAN_ numbers.
    std::uint64_t capabilities(Error &error) const noexcept {
        std::uint64_t flags = 0;
        yc_capabilities(native(), &flags, detail::ErrorPlace(error));
        return flags;
    }

    std::uint64_t capabilities() const {
        return detail::or_throw([&](Error &error) { return capabilities(error); });
    }

private:
    // Marks a status that the library has not written.
    static constexpr Status unwritten = std::numeric_limits<Status>::max();

    static bool fits(Error &error) noexcept {
        check_abi(error);
        return !error;
    }

    // Counts the entries that an operation of this kind would remove.
    std::optional<std::uint64_t> would_remove(std::int32_t kind, Bytes key, const yc_slice *tags, std::size_t n_tags,
                                              Error &error) noexcept {
        yc_op op = {};
        op.kind = kind;
        op.flags = YC_OP_DRY_RUN;
        op.key = key.data;
        op.key_len = key.len;
        op.tags = tags;
        op.n_tags = n_tags;
        if (yc_batch(native(), &op, 1, sizeof op, detail::ErrorPlace(error)) != YC_OK) {
            return std::nullopt;
        }
        error = Error(op.error);
        yc_error_free(op.error);
        return detail::known(op.removed);
    }

    Cache(yc_cache *owned, detail::LoadTimes times) noexcept
        : handle_(owned), loads_(owned == nullptr ? nullptr : std::make_shared<detail::Loads>(times)) {}

    // Adopts a cache. The function returns the summary of its configuration.
    template <class Check>
    static Cache opened(yc_cache *cache, Check check) noexcept {
        detail::LoadTimes times;
        if (cache != nullptr) {
            Error ignored;
            const std::string summary = check(ignored);
            times.call = time_in(summary, "\"socket_timeout_ms\":", times.call);
            times.lease = time_in(summary, "\"lease_ms\":", times.lease);
        }
        return Cache(cache, times);
    }

    // Returns a time of a summary, which is a JSON object. The memory backend has no
    // socket_timeout.
    static std::chrono::milliseconds time_in(const std::string &summary, std::string_view member,
                                             std::chrono::milliseconds absent) noexcept {
        const std::size_t place = summary.find(member);
        if (place == std::string::npos) {
            return absent;
        }
        return std::chrono::milliseconds(std::strtoll(summary.c_str() + place + member.size(), nullptr, 10));
    }

    // Returns the summary of the configuration that open_env() opens.
    static std::string check_env(Error &error) noexcept {
        const auto text = [](const char *name) {
            const char *given = std::getenv(name);
            return Text(std::string(given == nullptr ? "" : given));
        };
        if (const Text url = text("YOKEDCACHE_URL"); !url.empty()) {
            return check_config(url, error);
        }
        if (const Text file = text("YOKEDCACHE_CONFIG"); !file.empty()) {
            return check_config_file(file, "", error);
        }
        return check_config(text("REDIS_URL"), error);
    }

    // Runs one operation, which gets its results, and returns its status.
    Status run(yc_op &op, Fresh fresh, Error &error) const noexcept {
        op.flags = detail::flags(fresh);
        const Status refused = yc_batch(native(), &op, 1, sizeof op, detail::ErrorPlace(error));
        if (refused == YC_OK) {
            error = Error(op.error);
            yc_error_free(op.error);
        }
        return refused == YC_OK ? op.status : refused;
    }

    // Returns the length of a value that was copied or has no room, which is no error.
    static std::optional<std::size_t> length_of(Status status, std::size_t length, Error &error) noexcept {
        if (status == YC_E_BUFFER_TOO_SMALL) {
            error = Error();
        }
        bool hit = status == YC_OK || status == YC_E_BUFFER_TOO_SMALL;
        return hit ? std::optional(length) : std::nullopt;
    }

    // Completes the statuses of a refused call: each key has the failure of the call.
    static void complete(std::vector<Status> &statuses, const Error &error) noexcept {
        std::replace(statuses.begin(), statuses.end(), unwritten, error.status());
    }

    static std::vector<std::optional<Value>> adopt(const std::vector<yc_value *> &raw) {
        std::vector<std::optional<Value>> values(raw.size());
        std::transform(raw.begin(), raw.end(), values.begin(), [](yc_value *value) {
            return value == nullptr ? std::nullopt : std::optional<Value>(value);
        });
        return values;
    }

    // Returns true if the parent of this process opened the cache.
    bool is_forked() const noexcept {
        std::uint64_t flags = 0;
        return yc_capabilities(native(), &flags, nullptr) == YC_E_FORKED;
    }

    detail::Handle<yc_cache, yc_cache_free> handle_;
    std::shared_ptr<detail::Loads> loads_;
};

// Identifies an operation of a queue. A ticket is never reused in one queue.
using Ticket = yc_ticket;

// The completion of an operation of a queue.
//
//     Queue queue = Queue::open(cache);
//     queue.get_many({"user:1", "user:2"}, 42);
//     for (const Completion &done : queue.wait())
//         std::cout << done.user_data << ": " << done.values.size() << " values\n";
struct Completion : Outcome {
    Ticket ticket = 0;
    // The user_data of the submission.
    std::uint64_t user_data = 0;
    // The kind of the operation: a YC_OP_ number.
    std::int32_t kind = 0;
    // The status of each key of an operation on many keys, and the values of get_many().
    std::vector<Status> statuses = {};
    std::vector<std::optional<Value>> values = {};
    // The page of next_page(), unless status is YC_END, and the matches of search().
    std::optional<KeyPage> keys = {};
    std::optional<Matches> matches = {};
    // The message of next_message().
    std::optional<Message> message = {};
    // The event of next_event().
    std::optional<Event> event = {};
};

// Reports that completions are available: poll the queue. The library calls the
// function on one of its own threads. It must not block. Its exceptions are ignored.
using Wake = std::function<void()>;

namespace detail {

inline void call_wake(void *wake) noexcept {
    try {
        (*static_cast<Wake *>(wake))();
    } catch (...) {
        // No exception may cross the library.
    }
}

inline void release_wake(void *wake) noexcept {
    delete static_cast<Wake *>(wake);
}

} // namespace detail

// A completion queue: submissions return at once, and poll() or wait() returns their
// completions. yokedcache.h documents the guarantees of yc_queue. All arguments are
// copied. The destructor drops operations in flight without waiting; close() waits. Any
// thread may call any function.
//
//     Queue queue = Queue::open(cache);
//     Batch batch;
//     batch.set("hits", "1");
//     batch.get("user:1");
//     batch.user_data(42);
//     std::size_t pending = queue.submit(batch).size();
//     while (pending > 0)
//         for (const Completion &done : queue.wait()) {
//             std::cout << done.user_data << ": " << status_name(done.status) << '\n';
//             --pending;
//         }
class Queue {
public:
    // Creates an empty handle.
    Queue() noexcept = default;

    // Takes ownership of a queue of the C API.
    explicit Queue(yc_queue *owned) noexcept : handle_(owned) {}

    yc_queue *native() const & noexcept { return handle_.get(); }
    yc_queue *native() const && = delete;
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Opens a queue for up to `capacity` operations that are in flight or not yet taken
    // (0: 1024). wake may be empty; it is destroyed after its last call.
    static Queue open(const Cache &cache, std::size_t capacity, Wake wake, Error &error) noexcept {
        yc_queue *queue = nullptr;
        if (!wake) {
            yc_queue_open(cache.native(), capacity, nullptr, nullptr, nullptr, &queue, detail::ErrorPlace(error));
            return Queue(queue);
        }
        auto owned = std::make_unique<Wake>(std::move(wake));
        yc_queue_open(cache.native(), capacity, detail::call_wake, owned.get(), detail::release_wake, &queue,
                      detail::ErrorPlace(error));
        if (queue != nullptr) {
            // The library owns it now.
            static_cast<void>(owned.release());
        }
        return Queue(queue);
    }

    static Queue open(const Cache &cache, std::size_t capacity = 0, Wake wake = nullptr) {
        return detail::or_throw([&](Error &error) { return open(cache, capacity, std::move(wake), error); });
    }

    // Submits the operations of a batch, starting at index `first`. Returns a ticket for
    // each accepted operation. If the queue is full, these are the first ones only.
    std::vector<Ticket> submit(const Batch &batch, std::size_t first, Error &error) noexcept {
        first = std::min(first, batch.size());
        std::vector<Ticket> tickets(batch.size() - first);
        std::size_t accepted = 0;
        Status status = yc_queue_submit(native(), batch.ops_.data() + first, tickets.size(), sizeof(yc_op),
                                        tickets.data(), &accepted, detail::ErrorPlace(error));
        clear_if_full(status, error);
        tickets.resize(accepted);
        return tickets;
    }

    std::vector<Ticket> submit(const Batch &batch, std::size_t first = 0) {
        return detail::or_throw([&](Error &error) { return submit(batch, first, error); });
    }

    // Submits Cache::get_many(). This function and the next five return a ticket, or
    // nothing if the queue is full.
    std::optional<Ticket> get_many(const BytesList &keys, std::uint64_t user_data, Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_get_many(native(), keys.data(), keys.size(), user_data, ticket, place);
        });
    }

    std::optional<Ticket> get_many(const BytesList &keys, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return get_many(keys, user_data, error); });
    }

    std::optional<Ticket> set_many(const EntryList &entries, const SetOptions &options,
                                   std::uint64_t user_data, Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_set_many(native(), entries.keys(), entries.values(), entries.size(), options.ttl.ttl_ms(),
                                     tags.data(), tags.size(), user_data, ticket, place);
        });
    }

    std::optional<Ticket> set_many(const EntryList &entries, const SetOptions &options = {},
                                   std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return set_many(entries, options, user_data, error); });
    }

    std::optional<Ticket> remove_many(const BytesList &keys, std::uint64_t user_data, Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_delete_many(native(), keys.data(), keys.size(), user_data, ticket, place);
        });
    }

    std::optional<Ticket> remove_many(const BytesList &keys, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return remove_many(keys, user_data, error); });
    }

    // Submits the reading of the next page of a listing, at most `limit` keys (0: 512).
    std::optional<Ticket> next_page(const Keys &keys, std::size_t limit, std::uint64_t user_data,
                                    Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_keys_next(native(), keys.native(), limit, user_data, ticket, place);
        });
    }

    std::optional<Ticket> next_page(const Keys &keys, std::size_t limit = 0, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return next_page(keys, limit, user_data, error); });
    }

    // Submits Subscription::next() without a limit. The message of a cancelled operation goes
    // to the next one.
    std::optional<Ticket> next_message(const Subscription &subscription, std::uint64_t user_data,
                                       Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_subscription_next(native(), subscription.native(), user_data, ticket, place);
        });
    }

    std::optional<Ticket> next_message(const Subscription &subscription, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return next_message(subscription, user_data, error); });
    }

    // Submits Events::next() without a limit. The event of a cancelled operation goes to the
    // next one.
    std::optional<Ticket> next_event(const Events &events, std::uint64_t user_data, Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_events_next(native(), events.native(), user_data, ticket, place);
        });
    }

    std::optional<Ticket> next_event(const Events &events, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return next_event(events, user_data, error); });
    }

    std::optional<Ticket> search(Bytes query, const SearchOptions &options, std::uint64_t user_data,
                                 Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        const yc_search_options raw = detail::search_options(options, tags);
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_search(native(), query.data, query.len, &raw, user_data, ticket, place);
        });
    }

    std::optional<Ticket> search(Bytes query, const SearchOptions &options = {}, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return search(query, options, user_data, error); });
    }

    // Takes up to `max` completions in the order of their arrival. Fails with YC_E_CLOSED
    // if the queue is closed and its last completion has been taken.
    std::vector<Completion> poll(std::size_t max, Error &error) noexcept {
        std::vector<yc_completion> raw(max);
        std::size_t count = 0;
        yc_queue_poll(native(), raw.data(), max, sizeof(yc_completion), &count, detail::ErrorPlace(error));
        return adopt(raw, count);
    }

    std::vector<Completion> poll(std::size_t max = default_max) {
        return detail::or_throw([&](Error &error) { return poll(max, error); });
    }

    // Timeout of wait(): no limit.
    static constexpr std::chrono::milliseconds no_limit{-1};

    // Takes completions as poll() does, but waits for the first one. Returns an empty
    // vector if the timeout passes.
    std::vector<Completion> wait(std::chrono::milliseconds timeout, std::size_t max, Error &error) noexcept {
        std::vector<yc_completion> raw(max);
        std::size_t count = 0;
        Status status = yc_queue_wait(native(), raw.data(), max, sizeof(yc_completion), timeout.count(), &count,
                                      detail::ErrorPlace(error));
        if (status == YC_E_TIMEOUT) {
            error = Error();
        }
        return adopt(raw, count);
    }

    std::vector<Completion> wait(std::chrono::milliseconds timeout = no_limit, std::size_t max = default_max) {
        return detail::or_throw([&](Error &error) { return wait(timeout, max, error); });
    }

    // Returns a file descriptor that is readable while completions are available, or -1
    // after an error. Watch it; do not read or close it.
    int fd(Error &error) const noexcept {
        int fd = -1;
        yc_queue_fd(native(), &fd, detail::ErrorPlace(error));
        return fd;
    }

    int fd() const {
        return detail::or_throw([&](Error &error) { return fd(error); });
    }

    // Cancels an operation, which completes with YC_E_CANCELLED. Returns false if it has
    // already completed.
    bool cancel(Ticket ticket, Error &error) noexcept {
        return yc_queue_cancel(native(), ticket, detail::ErrorPlace(error)) == YC_OK;
    }

    bool cancel(Ticket ticket) {
        return detail::or_throw([&](Error &error) { return cancel(ticket, error); });
    }

    // Closes the queue. It accepts no more operations, waits up to `timeout` for those in
    // flight and cancels the rest. All completions can still be taken.
    void close(std::chrono::milliseconds timeout, Error &error) noexcept {
        yc_queue_close(native(), timeout.count(), detail::ErrorPlace(error));
    }

    void close(std::chrono::milliseconds timeout = Cache::default_timeout) {
        detail::or_throw([&](Error &error) { close(timeout, error); });
    }

private:
    static constexpr std::size_t default_max = 64;

    // Clears YC_E_BUSY: the return value reports a full queue.
    static void clear_if_full(Status status, Error &error) noexcept {
        if (status == YC_E_BUSY) {
            error = Error();
        }
    }

    template <class Call>
    static std::optional<Ticket> one(Error &error, Call call) noexcept {
        Ticket ticket = 0;
        Status status = call(&ticket, detail::ErrorPlace(error));
        clear_if_full(status, error);
        return status == YC_OK ? std::optional(ticket) : std::nullopt;
    }

    static std::vector<Completion> adopt(std::vector<yc_completion> &raw, std::size_t count) {
        std::vector<Completion> completions(count);
        for (std::size_t index = 0; index < count; ++index) {
            adopt(completions[index], raw[index]);
        }
        return completions;
    }

    static void adopt(Completion &completion, const yc_completion &raw) {
        detail::adopt(completion, raw);
        completion.ticket = raw.ticket;
        completion.user_data = raw.user_data;
        completion.kind = raw.kind;
        adopt_results(completion, raw.results);
        if (raw.keys != nullptr) {
            completion.keys.emplace(raw.keys);
        }
        if (raw.matches != nullptr) {
            completion.matches.emplace(raw.matches);
        }
        if (raw.message != nullptr) {
            completion.message.emplace(raw.message);
        }
        if (raw.event != nullptr) {
            completion.event.emplace(raw.event);
        }
    }

    static void adopt_results(Completion &completion, yc_results *results) {
        std::size_t count = 0;
        const Status *statuses = yc_results_statuses(results, &count);
        const yc_value *const *values = yc_results_values(results, nullptr);
        completion.statuses.assign(statuses, statuses + count);
        if (completion.kind == YC_OP_GET_MANY) {
            completion.values.resize(count);
            std::transform(values, values + count, completion.values.begin(), [](const yc_value *value) {
                return value == nullptr ? std::nullopt : std::optional<Value>(yc_value_clone(value));
            });
        }
        yc_results_free(results);
    }

    detail::Handle<yc_queue, yc_queue_free> handle_;
};

// A cache and its name, of metrics_of().
using NamedCache = std::pair<std::string, std::reference_wrapper<const Cache>>;

// Returns the metrics of many caches as one text, as cache.metrics() does for one. Each sample
// has the name of its cache as the label `cache`. A cache that is closed is left out; one that
// is empty is an error. A name is 1 to 256 bytes of UTF-8; no two are equal.
//
//     Cache pages = Cache::open("memory://?key_prefix=pages");
//     std::string text = metrics_of({{"app", cache}, {"pages", pages}});
inline std::string metrics_of(const std::vector<NamedCache> &caches, Error &error) noexcept {
    std::vector<yc_cache *> handles;
    std::vector<const char *> names;
    for (const auto &[name, cache] : caches) {
        if (name.find('\0') != std::string::npos) {
            error = Error(YC_E_INVALID, "the name of a cache contains a NUL byte", false);
            return {};
        }
        handles.push_back(cache.get().native());
        names.push_back(name.c_str());
    }
    yc_value *text = nullptr;
    yc_metrics_many(handles.data(), names.data(), handles.size(), &text, detail::ErrorPlace(error));
    return Value(text).text();
}

inline std::string metrics_of(const std::vector<NamedCache> &caches) {
    return detail::or_throw([&](Error &error) { return metrics_of(caches, error); });
}

// Receives a log line, from any thread of the library, also from several at the same
// time. It must not block for long, because the thread waits for it. It may call the
// library; such calls write no log lines. Its exceptions are ignored.
using Log = std::function<void(std::int32_t level, std::string_view line)>;

namespace detail {

// The end of a log function: it was destroyed.
class LogEnd {
public:
    void reach() {
        const std::lock_guard<std::mutex> guard(lock_);
        is_reached_ = true;
        reached_.notify_all();
    }

    void wait() {
        std::unique_lock<std::mutex> guard(lock_);
        reached_.wait(guard, [this] { return is_reached_; });
    }

private:
    std::mutex lock_;
    std::condition_variable reached_;
    bool is_reached_ = false;
};

struct OwnedLog {
    Log log;
    std::shared_ptr<LogEnd> end;
};

// Held while the log of the process is replaced. Recursive, because that may destroy the
// previous function, which may set a log.
inline std::recursive_mutex log_lock;
inline std::shared_ptr<LogEnd> last_log_end;
// True while a thread runs or destroys a log function.
inline thread_local bool is_in_log = false;

inline void write_log(void *owned, std::int32_t level, const char *line, std::size_t length) noexcept {
    is_in_log = true;
    try {
        static_cast<OwnedLog *>(owned)->log(level, std::string_view(line, length));
    } catch (...) {
        // No exception may cross the library, and a log cannot report one.
    }
    is_in_log = false;
}

inline void release_log(void *released) noexcept {
    const std::unique_ptr<OwnedLog> owned(static_cast<OwnedLog *>(released));
    const bool was_in_log = std::exchange(is_in_log, true);
    owned->log = nullptr;
    is_in_log = was_in_log;
    owned->end->reach();
}

// Replaces the log function; an empty one ends logging. Returns the end of the previous one.
inline std::shared_ptr<LogEnd> replace_log(std::int32_t level, Log log, Error &error) noexcept {
    const std::lock_guard<std::recursive_mutex> guard(log_lock);
    std::shared_ptr<LogEnd> previous = last_log_end;
    Status status = YC_OK;
    if (log) {
        auto owned = std::make_unique<OwnedLog>(OwnedLog{std::move(log), std::make_shared<LogEnd>()});
        last_log_end = owned->end;
        status = yc_set_log(level, write_log, owned.get(), release_log, ErrorPlace(error));
        if (status == YC_OK) {
            // The library owns it now, and may have destroyed it already.
            static_cast<void>(owned.release());
        }
    } else {
        last_log_end = nullptr;
        status = yc_set_log(level, nullptr, nullptr, nullptr, ErrorPlace(error));
    }
    if (status != YC_OK) {
        last_log_end = previous;
        return nullptr;
    }
    return previous;
}

} // namespace detail

// Sets the log function of the process for all caches, in place of the previous one. It
// receives the lines of a YC_LOG_ level and of the more severe ones. YC_LOG_INFO is a
// useful level for operation. An empty function or YC_LOG_OFF ends logging.
//
// When the call returns, the previous function has ended and is destroyed: what it refers
// to may be destroyed too. A log function may call set_log(), which does not wait then:
// the library destroys the previous function after its last call.
//
//     set_log(YC_LOG_WARN, [](std::int32_t, std::string_view line) { std::cerr << line << '\n'; });
inline void set_log(std::int32_t level, Log log, Error &error) noexcept {
    const std::shared_ptr<detail::LogEnd> previous = detail::replace_log(level, std::move(log), error);
    if (previous != nullptr && !detail::is_in_log) {
        previous->wait();
    }
}

inline void set_log(std::int32_t level, Log log) {
    detail::or_throw([&](Error &error) { set_log(level, std::move(log), error); });
}

} // namespace yokedcache

#endif // YOKEDCACHE_HPP
