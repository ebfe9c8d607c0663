/*
 * yokedcache.hpp - yokedcache.h for C++17: handles that release themselves.
 *
 *   using namespace std::chrono_literals;
 *
 *   auto cache = yokedcache::Cache::open("memory://?max_size=10000");
 *   cache.set("user:1", "Ada", {5min, {"users"}});
 *   if (auto value = cache.get("user:1"))
 *       std::cout << value->view() << '\n';
 *   cache.invalidate_tag("users");
 *
 * Conventions, true of every function; what each operation means is told in
 * yokedcache.h:
 *
 * - A miss is an empty std::optional or false, never an error.
 * - Every operation comes twice, in the manner of std::filesystem: one throws
 *   yokedcache::Error, the other takes an Error & as its last argument and
 *   does not throw. It clears that error when nothing went wrong. (Without
 *   memory the second ends the process, as the library itself does. migrate()
 *   throws what the function that it tells its progress throws.)
 * - Keys, tags, patterns and values are Bytes: any text, any contiguous range
 *   of bytes (std::vector<std::byte>, std::array, std::span), or a pointer and a
 *   length. They are read during the call only. Everything that is kept for
 *   longer (SetOptions, SearchOptions, Entry, Batch) owns a copy.
 * - A std::string_view that comes back lives as long as the Value, KeyPage,
 *   Keys or Matches it points into. Those outlive the cache. A view into a
 *   temporary does not compile; text() copies.
 * - Handles move and do not copy. A handle that is empty (default, moved-from,
 *   failed to open) or closed gives an error, never a crash.
 * - Any thread may call any function on a Cache, but not while another moves,
 *   assigns or destroys the object.
 *
 * Link with the library as a C program does; there is nothing else to link.
 */

#ifndef YOKEDCACHE_HPP
#define YOKEDCACHE_HPP

#include "yokedcache.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace yokedcache {

// YC_OK, YC_MISS, YC_END, or one of the negative YC_E_ numbers.
using Status = yc_status;

// What went wrong, or nothing: it is true when something did.
class Error : public std::runtime_error {
public:
    // No error.
    Error() : std::runtime_error("") {}

    // A copy of an error of the C API; NULL is no error.
    explicit Error(const yc_error *error)
        : std::runtime_error(yc_error_message(error)),
          status_(yc_error_status(error)),
          retryable_(yc_error_retryable(error) != 0) {}

    // One of the YC_E_ numbers, or YC_OK without an error. what() is the message.
    Status status() const noexcept { return status_; }

    // Whether the same call may succeed later with nothing changed.
    bool retryable() const noexcept { return retryable_; }

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

// A view of bytes that the caller owns, for the time of a call: a key, a tag, a
// pattern or a value.
struct Bytes : yc_slice {
    Bytes() noexcept : yc_slice{nullptr, 0} {}

    Bytes(const void *first, std::size_t length) noexcept : yc_slice{first, length} {}

    // From a std::string, a std::string_view or a literal (up to its NUL). The
    // operation refuses a pointer that is NULL at run time with YC_E_INVALID.
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

    // From a contiguous range of bytes, such as std::vector<std::byte>.
    template <class Range, std::enable_if_t<detail::is_byte_range<Range>, unsigned> = 0>
    Bytes(const Range &range) noexcept : yc_slice{std::data(range), std::size(range)} {}

    Bytes(std::nullptr_t) = delete;
};

static_assert(sizeof(Bytes) == sizeof(yc_slice), "an array of Bytes is handed to C as one of yc_slice");

// How long an entry lives: Ttl() as long as the cache's default_ttl, Ttl(5min)
// exactly that long, Ttl::never() without end.
class Ttl {
public:
    constexpr Ttl() noexcept = default;

    // Exactly this long. Nothing and less is refused by the operation it is
    // given to: a time that has run out must not turn into "never expires".
    template <class Number, class Unit>
    constexpr Ttl(std::chrono::duration<Number, Unit> time) noexcept : kind_(Kind::exactly), time_(time) {}

    static constexpr Ttl never() noexcept { return Ttl(Kind::never); }

    constexpr bool is_default() const noexcept { return kind_ == Kind::by_cache; }
    constexpr bool is_never() const noexcept { return kind_ == Kind::never; }

    // How long exactly; 0 for the default and for never.
    constexpr std::chrono::milliseconds time() const noexcept { return time_; }

    // As the C API writes it.
    constexpr std::int64_t ttl_ms() const noexcept {
        if (kind_ != Kind::exactly) {
            return is_never() ? YC_TTL_NEVER : YC_TTL_DEFAULT;
        }
        return time_.count() > 0 ? time_.count() : refused;
    }

private:
    enum class Kind { by_cache, never, exactly };

    // A number that means nothing to the library, which says so.
    static constexpr std::int64_t refused = -2;

    explicit constexpr Ttl(Kind kind) noexcept : kind_(kind) {}

    Kind kind_ = Kind::by_cache;
    std::chrono::milliseconds time_{0};
};

// A text for the C API, which takes no NULL.
struct Text : std::string {
    using std::string::string;
    Text() = default;
    Text(const std::string &text) : std::string(text) {}
    Text(std::string &&text) noexcept : std::string(std::move(text)) {}
    explicit Text(std::string_view text) : std::string(text) {}
    Text(std::nullptr_t) = delete;
};

// An owned copy of bytes.
struct OwnedBytes : std::string {
    OwnedBytes() = default;
    OwnedBytes(std::string bytes) noexcept : std::string(std::move(bytes)) {}
    OwnedBytes(const void *first, std::size_t length) : std::string(static_cast<const char *>(first), length) {}

    // From every type that converts to Bytes. Throws for NULL.
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

// Owned copies of tags: from {"a", b}, or from any range of what converts to Bytes.
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

// A view of many keys or tags, for the time of a call: from {"a", b}, or from any
// range of what converts to Bytes. The caller owns the bytes.
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

    const yc_slice *data() const noexcept { return slices_.data(); }
    std::size_t size() const noexcept { return slices_.size(); }
    std::vector<Bytes>::const_iterator begin() const noexcept { return slices_.begin(); }
    std::vector<Bytes>::const_iterator end() const noexcept { return slices_.end(); }

private:
    std::vector<Bytes> slices_;
};

// The time to live and the tags of cache.set(): {}, {5min}, {5min, {"tag"}} or
// {{}, {"tag"}}. The tags replace those the key had.
struct SetOptions {
    Ttl ttl = {};
    Tags tags = {};
};

// One entry of cache.set_many(); it owns its key and value.
struct Entry {
    OwnedBytes key;
    OwnedBytes value;
};

namespace detail {

// A view of a key and a value, for the time of a call.
struct Pair {
    Pair(Bytes its_key, Bytes its_value) noexcept : key(its_key), value(its_value) {}
    Pair(const Entry &entry) noexcept : key(entry.key), value(entry.value) {}

    template <class First, class Second>
    Pair(const std::pair<First, Second> &pair) noexcept : key(pair.first), value(pair.second) {}

    Bytes key;
    Bytes value;
};

} // namespace detail

// A view of many entries, for the time of a call: from {{"key", "value"}, ...}, or from
// any range of Entry or std::pair, such as a std::map. The caller owns the bytes.
class EntryList {
public:
    EntryList() = default;
    EntryList(std::initializer_list<detail::Pair> list) { add_all(list); }

    template <class Range, std::enable_if_t<std::is_convertible_v<
                               decltype(*std::begin(std::declval<const Range &>())), detail::Pair>, int> = 0>
    EntryList(const Range &range) {
        add_all(range);
    }

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

// The options of a search; with tags, only entries that have one of them.
struct SearchOptions {
    double threshold = YC_SEARCH_THRESHOLD;
    std::size_t limit = YC_SEARCH_LIMIT;
    Tags tags = {};
};

// How cache.switch_to() replaces a backend.
struct SwitchOptions {
    // Whether what the cache holds is copied before the new backend serves.
    bool copy = false;
    // The most entries copied a second; 0: no limit.
    std::uint64_t rate = 0;
};

// What cache.migrate() copies, and how.
struct MigrateOptions {
    // Only keys that match this glob, which is UTF-8; empty: all.
    Text pattern = {};
    // The most entries a second; 0: no limit.
    std::uint64_t rate = 0;
    // Count what would be copied, and store nothing.
    bool dry_run = false;
    // Go on where an earlier run was: the `resume` that it told last.
    Text resume = {};
};

// How far a migration is.
struct MigrateProgress {
    // Keys looked at.
    std::uint64_t examined = 0;
    // Entries stored at the target, or that would be.
    std::uint64_t copied = 0;
    // Entries that were not, for a reason that is no failure.
    std::uint64_t skipped = 0;
    // Entries that could not be.
    std::uint64_t failed = 0;
    // What MigrateOptions take to go on from here, or a little before; empty at
    // the end. It lives during the call.
    std::string_view resume = {};
};

// Told how far a migration is, after each few hundred keys, on the thread
// that called migrate(); false ends it there. It may call the library. What it
// throws ends the migration, and migrate() throws it.
using OnProgress = std::function<bool(const MigrateProgress &)>;

// Whether to count what is removed. Memory counts a tag's entries one by one,
// and forgets them uncounted at once.
enum class Count { no, yes };

// What a cache holds.
struct Size {
    std::uint64_t keys = 0;
    std::uint64_t bytes = 0;
};

namespace detail {

// Where a C function writes its error: it is in the Error when the statement
// that made this is over.
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

// Where a C function writes how many entries it removed, if that is wanted.
class RemovedPlace {
public:
    explicit RemovedPlace(Count count) noexcept : wanted_(count == Count::yes) {}

    operator std::uint64_t *() noexcept { return wanted_ ? &written_ : nullptr; }

    static std::optional<std::uint64_t> known(std::uint64_t removed) noexcept {
        return removed == YC_COUNT_UNKNOWN ? std::nullopt : std::optional(removed);
    }

    std::optional<std::uint64_t> known() const noexcept { return known(written_); }

private:
    bool wanted_;
    std::uint64_t written_ = YC_COUNT_UNKNOWN;
};

// Makes the operation that throws of the one that takes an Error &.
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

// As the C API takes them; the tags stay the caller's.
inline yc_search_options search_options(const SearchOptions &options, const TagSlices &tags) noexcept {
    yc_search_options raw = YC_SEARCH_OPTIONS_INIT;
    raw.threshold = options.threshold;
    raw.limit = options.limit;
    raw.tags = tags.data();
    raw.n_tags = tags.size();
    return raw;
}

// A text as JSON has it. What is no UTF-8 stays so: the library says it.
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

inline std::string text_of(const MigrateOptions &options) {
    std::string text = std::string("{dry_run: ") + (options.dry_run ? "true" : "false");
    text += ", rate: " + std::to_string(options.rate);
    text += options.pattern.empty() ? "" : ", pattern: " + quoted(options.pattern);
    text += options.resume.empty() ? "" : ", resume: " + quoted(options.resume);
    return text + "}";
}

// Who is told how far a migration is, and what that threw.
struct Told {
    const OnProgress &function;
    std::exception_ptr thrown = {};
};

inline std::int32_t tell_progress(void *data, const yc_progress *raw) noexcept {
    Told &told = *static_cast<Told *>(data);
    try {
        const std::string_view resume = raw->resume == nullptr ? std::string_view() : std::string_view(raw->resume);
        return told.function({raw->examined, raw->copied, raw->skipped, raw->failed, resume}) ? 0 : 1;
    } catch (...) {
        // No exception may cross the library: migrate() throws it again.
        told.thrown = std::current_exception();
        return 1;
    }
}

// A place in something with operator[].
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

// A value the library handed out, not copied: immutable, and valid also when
// its entry is replaced or gone.
class Value {
public:
    // An empty handle: no bytes.
    Value() noexcept = default;

    // Takes a value of the C API over.
    explicit Value(yc_value *owned) noexcept : handle_(owned) {}

    // Returns a view of the bytes, which this object owns. For a temporary use text().
    std::string_view view() const & noexcept {
        std::size_t length = 0;
        const void *first = yc_value_data(handle_.get(), &length);
        return {static_cast<const char *>(first), length};
    }
    std::string_view view() const && = delete;

    const void *data() const & noexcept { return yc_value_data(handle_.get(), nullptr); }
    const void *data() const && = delete;

    std::size_t size() const noexcept { return view().size(); }

    // A copy of the bytes.
    std::string text() const { return std::string(view()); }

    // A second handle on the same bytes.
    Value clone() const noexcept { return Value(yc_value_clone(handle_.get())); }

    explicit operator bool() const noexcept { return handle_ != nullptr; }

private:
    detail::Handle<yc_value, yc_value_free> handle_;
};

// Some keys of a listing.
class KeyPage {
public:
    KeyPage() noexcept = default;
    explicit KeyPage(yc_keys *owned) noexcept : handle_(owned) {}

    std::size_t size() const noexcept {
        std::size_t count = 0;
        yc_keys_data(handle_.get(), &count);
        return count;
    }

    // The key at an index; empty from size() on.
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

// A listing of keys that is under way, to be walked once: with a range-for,
// which reads page after page and throws, or page by page with next_page().
class Keys {
public:
    class Iterator;

    Keys() noexcept = default;
    explicit Keys(yc_cursor *owned) noexcept : handle_(owned) {}

    // For the C API; stays this object's.
    yc_cursor *native() const & noexcept { return handle_.get(); }
    yc_cursor *native() const && = delete;

    // The next keys, at most `limit` (0: 512); empty at the end.
    std::optional<KeyPage> next_page(std::size_t limit, Error &error) noexcept {
        yc_keys *page = nullptr;
        yc_keys_next(handle_.get(), limit, &page, detail::ErrorPlace(error));
        return page == nullptr ? std::nullopt : std::optional<KeyPage>(page);
    }

    std::optional<KeyPage> next_page(std::size_t limit = 0) {
        return detail::or_throw([&](Error &error) { return next_page(limit, error); });
    }

    // A key lives until the iterator has moved on.
    Iterator begin() &;
    Iterator begin() && = delete;
    Iterator end() & noexcept;
    Iterator end() && = delete;

private:
    // Whether there is another key.
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

    // NULL is the end.
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

// One match of a search.
struct Match {
    std::string_view key;
    double score;
};

// The matches of a search, best first.
class Matches {
public:
    Matches() noexcept = default;
    explicit Matches(yc_matches *owned) noexcept : handle_(owned) {}

    std::size_t size() const noexcept { return yc_matches_count(handle_.get()); }
    bool empty() const noexcept { return size() == 0; }

    // The match of a rank, 0 the best; an empty key from size() on.
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

// Different operations to run in one call, in their order; see Cache::run().
// The batch owns a copy of all keys, values and tags.
class Batch {
public:
    Batch() = default;
    Batch(Batch &&) = default;
    Batch &operator=(Batch &&) = default;

    void get(Bytes key) { add(YC_OP_GET, key); }
    void remove(Bytes key) { add(YC_OP_DELETE, key); }
    void exists(Bytes key) { add(YC_OP_EXISTS, key); }
    void ttl(Bytes key) { add(YC_OP_TTL, key); }
    void expire(Bytes key, Ttl ttl) { add(YC_OP_EXPIRE, key).ttl_ms = ttl.ttl_ms(); }
    void invalidate_pattern(Bytes pattern) { add(YC_OP_INVALIDATE_PATTERN, pattern); }
    void flush(Count count = Count::no) { add(YC_OP_FLUSH, {}).flags = flags(count); }
    void ping() { add(YC_OP_PING, {}); }
    void stats() { add(YC_OP_STATS, {}); }
    void health() { add(YC_OP_HEALTH, {}); }
    void metrics() { add(YC_OP_METRICS, {}); }

    void set(Bytes key, Bytes value, const SetOptions &options = {}) {
        yc_op &op = add(YC_OP_SET, key);
        const Bytes kept = keep(value);
        op.value = kept.data;
        op.value_len = kept.len;
        op.ttl_ms = options.ttl.ttl_ms();
        keep(op, options.tags);
    }

    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl) {
        set(key, value, SetOptions{ttl, {}});
    }

    void invalidate_tags(const BytesList &tags, Count count = Count::no) {
        yc_op &op = add(YC_OP_INVALIDATE_TAGS, {});
        op.flags = flags(count);
        keep(op, tags);
    }

    // What comes back with the completion of the operation that was added last;
    // see Queue::submit().
    void user_data(std::uint64_t data) noexcept {
        if (!ops_.empty()) {
            ops_.back().user_data = data;
        }
    }

    std::size_t size() const noexcept { return ops_.size(); }

private:
    friend class Cache;
    friend class Queue;

    static std::uint32_t flags(Count count) noexcept { return count == Count::yes ? YC_OP_COUNT : 0; }

    yc_op &add(std::int32_t kind, Bytes key) {
        const Bytes kept = keep(key);
        yc_op op = {};
        op.kind = kind;
        op.key = kept.data;
        op.key_len = kept.len;
        ops_.push_back(op);
        return ops_.back();
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

// What one operation of a batch came to.
struct Outcome {
    // As the operation's own C function would answer: YC_OK, YC_MISS, or what
    // went wrong, which is then in error.
    Status status = YC_OK;
    Error error = {};
    // Of a get that hit; the text of stats, health and metrics.
    std::optional<Value> value = {};
    // Of a ttl that hit.
    std::optional<Ttl> ttl = {};
    // Of a removal that was counted.
    std::optional<std::uint64_t> removed = {};
};

namespace detail {

// A yc_op or yc_completion, whose fields have the same names. Takes its value
// and error over.
template <class Raw>
void adopt(Outcome &outcome, const Raw &raw) {
    outcome.status = raw.status;
    outcome.error = Error(raw.error);
    yc_error_free(raw.error);
    if (raw.result != nullptr) {
        outcome.value.emplace(raw.result);
    }
    if (raw.kind == YC_OP_TTL && raw.status == YC_OK) {
        outcome.ttl = remaining(raw.remaining_ms);
    }
    outcome.removed = RemovedPlace::known(raw.removed);
}

} // namespace detail

// The version of the library that is linked, such as "0.1.0".
inline std::string_view version() noexcept {
    return yc_version();
}

// Whether the library serves programs compiled against this header; opening a
// cache asks too. Fails with YC_E_ABI_MISMATCH.
inline void check_abi(Error &error) noexcept {
    yc_check_abi(YC_VERSION_NUMBER, detail::ErrorPlace(error));
}

inline void check_abi() {
    detail::or_throw([](Error &error) { check_abi(error); });
}

// The name of a status, such as "YC_E_TIMEOUT".
inline std::string_view status_name(Status status) noexcept {
    return yc_status_name(status);
}

// A cache over memory, Redis or Memcached. Destroying it closes it without
// waiting; close() waits.
class Cache {
public:
    // An empty handle.
    Cache() noexcept = default;

    // Takes a cache of the C API over.
    explicit Cache(yc_cache *owned) noexcept : handle_(owned) {}

    // For what the C API has and this class has not. Stays this object's.
    yc_cache *native() const & noexcept { return handle_.get(); }
    yc_cache *native() const && = delete;

    // Whether it holds a cache, which may be closed.
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Opens a cache from a URL, or from a YAML or JSON text.
    static Cache open(const Text &config, Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            yc_open(config.c_str(), &cache, detail::ErrorPlace(error));
        }
        return Cache(cache);
    }

    static Cache open(const Text &config) {
        return detail::or_throw([&](Error &error) { return open(config, error); });
    }

    // Opens a cache from a YAML or JSON file. An empty environment stands for
    // that of the variable ENVIRONMENT.
    static Cache open_file(const Text &path, const Text &environment, Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            const char *name = environment.empty() ? nullptr : environment.c_str();
            yc_open_file(path.c_str(), name, &cache, detail::ErrorPlace(error));
        }
        return Cache(cache);
    }

    static Cache open_file(const Text &path, const Text &environment = "") {
        return detail::or_throw([&](Error &error) { return open_file(path, environment, error); });
    }

    // Opens a cache from the environment variables.
    static Cache open_env(Error &error) noexcept {
        yc_cache *cache = nullptr;
        if (fits(error)) {
            yc_open_env(&cache, detail::ErrorPlace(error));
        }
        return Cache(cache);
    }

    static Cache open_env() {
        return detail::or_throw([](Error &error) { return open_env(error); });
    }

    // What open() would use, as a JSON object without passwords; nothing is
    // opened.
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

    // What open_file() would use.
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

    // How long close() waits when nothing else is asked for: 5 s.
    static constexpr std::chrono::milliseconds default_timeout{-1};

    // Closes the cache: every later call gets YC_E_CLOSED. Again is fine.
    void close(std::chrono::milliseconds timeout, Error &error) noexcept {
        yc_close(native(), timeout.count(), detail::ErrorPlace(error));
    }

    void close(std::chrono::milliseconds timeout = default_timeout) {
        detail::or_throw([&](Error &error) { close(timeout, error); });
    }

    // The value of a key, not copied.
    std::optional<Value> get(Bytes key, Error &error) const noexcept {
        yc_value *value = nullptr;
        yc_get(native(), key.data, key.len, &value, detail::ErrorPlace(error));
        return value == nullptr ? std::nullopt : std::optional<Value>(value);
    }

    std::optional<Value> get(Bytes key) const {
        return detail::or_throw([&](Error &error) { return get(key, error); });
    }

    // Copies a value into a buffer and answers its length. A length over
    // `capacity` is no error: nothing was copied, and that much is needed.
    std::optional<std::size_t> get_into(Bytes key, void *buffer, std::size_t capacity, Error &error) const noexcept {
        std::size_t length = 0;
        Status status = yc_get_into(native(), key.data, key.len, buffer, capacity, &length, detail::ErrorPlace(error));
        if (status == YC_E_BUFFER_TOO_SMALL) {
            error = Error();
        }
        bool hit = status == YC_OK || status == YC_E_BUFFER_TOO_SMALL;
        return hit ? std::optional(length) : std::nullopt;
    }

    std::optional<std::size_t> get_into(Bytes key, void *buffer, std::size_t capacity) const {
        return detail::or_throw([&](Error &error) { return get_into(key, buffer, capacity, error); });
    }

    // Stores a value in place of any other under its key.
    void set(Bytes key, Bytes value, const SetOptions &options, Error &error) noexcept {
        const detail::TagSlices tags(options.tags);
        yc_set(native(), key.data, key.len, value.data, value.len, options.ttl.ttl_ms(), tags.data(), tags.size(),
               detail::ErrorPlace(error));
    }

    void set(Bytes key, Bytes value, const SetOptions &options = {}) {
        detail::or_throw([&](Error &error) { set(key, value, options, error); });
    }

    void set(Bytes key, Bytes value, Error &error) noexcept { set(key, value, SetOptions{}, error); }

    // With a time to live, and without tags: set(key, value, 5min).
    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl, Error &error) noexcept {
        set(key, value, SetOptions{ttl, {}}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    void set(Bytes key, Bytes value, Time ttl) {
        set(key, value, SetOptions{ttl, {}});
    }

    // Removes a key; false when it was not there.
    bool remove(Bytes key, Error &error) noexcept {
        return yc_delete(native(), key.data, key.len, detail::ErrorPlace(error)) == YC_OK;
    }

    bool remove(Bytes key) {
        return detail::or_throw([&](Error &error) { return remove(key, error); });
    }

    // Whether a key is there.
    bool exists(Bytes key, Error &error) const noexcept {
        return yc_exists(native(), key.data, key.len, detail::ErrorPlace(error)) == YC_OK;
    }

    bool exists(Bytes key) const {
        return detail::or_throw([&](Error &error) { return exists(key, error); });
    }

    // Gives a key another time to live, from now; false when it is not there.
    bool expire(Bytes key, Ttl time, Error &error) noexcept {
        return yc_expire(native(), key.data, key.len, time.ttl_ms(), detail::ErrorPlace(error)) == YC_OK;
    }

    bool expire(Bytes key, Ttl time) {
        return detail::or_throw([&](Error &error) { return expire(key, time, error); });
    }

    // What is left to a key.
    std::optional<Ttl> ttl(Bytes key, Error &error) const noexcept {
        std::int64_t ttl_ms = 0;
        Status status = yc_ttl(native(), key.data, key.len, &ttl_ms, detail::ErrorPlace(error));
        return status == YC_OK ? std::optional(detail::remaining(ttl_ms)) : std::nullopt;
    }

    std::optional<Ttl> ttl(Bytes key) const {
        return detail::or_throw([&](Error &error) { return ttl(key, error); });
    }

    // Makes every entry with the tag a miss. This and the next three answer
    // how many were removed, if that was to be counted and can be known.
    std::optional<std::uint64_t> invalidate_tag(Bytes tag, Count count, Error &error) noexcept {
        detail::RemovedPlace removed(count);
        yc_invalidate_tag(native(), tag.data, tag.len, removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_tag(Bytes tag, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_tag(tag, count, error); });
    }

    // Makes every entry with one of the tags a miss.
    std::optional<std::uint64_t> invalidate_tags(const BytesList &tags, Count count, Error &error) noexcept {
        detail::RemovedPlace removed(count);
        yc_invalidate_tags(native(), tags.data(), tags.size(), removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_tags(const BytesList &tags, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_tags(tags, count, error); });
    }

    // Removes every key that matches a glob.
    std::optional<std::uint64_t> invalidate_pattern(Bytes pattern, Count count, Error &error) noexcept {
        detail::RemovedPlace removed(count);
        yc_invalidate_pattern(native(), pattern.data, pattern.len, removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> invalidate_pattern(Bytes pattern, Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return invalidate_pattern(pattern, count, error); });
    }

    // Removes every entry of this cache's key_prefix.
    std::optional<std::uint64_t> flush(Count count, Error &error) noexcept {
        detail::RemovedPlace removed(count);
        yc_flush(native(), removed, detail::ErrorPlace(error));
        return removed.known();
    }

    std::optional<std::uint64_t> flush(Count count = Count::no) {
        return detail::or_throw([&](Error &error) { return flush(count, error); });
    }

    // The keys that match a glob: for (std::string_view key : cache.keys()).
    Keys keys(Bytes pattern, Error &error) const noexcept {
        yc_cursor *cursor = nullptr;
        yc_keys_open(native(), pattern.data, pattern.len, &cursor, detail::ErrorPlace(error));
        return Keys(cursor);
    }

    Keys keys(Bytes pattern = "*") const {
        return detail::or_throw([&](Error &error) { return keys(pattern, error); });
    }

    // Finds the keys most like a query of at most 1 KiB, best first.
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

    // The values of many keys, each at the place of its key. The first of the
    // forms that do not throw is for who must tell a miss from a failure key
    // by key: statuses[i] is YC_OK, YC_MISS, or what went wrong with keys[i].
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

    // Stores many entries with one time to live and the same tags.
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

    // With a time to live, and without tags.
    template <class Time, class = detail::if_time<Time>>
    void set_many(const EntryList &entries, Time ttl, Error &error) noexcept {
        set_many(entries, SetOptions{ttl, {}}, error);
    }

    template <class Time, class = detail::if_time<Time>>
    void set_many(const EntryList &entries, Time ttl) {
        set_many(entries, SetOptions{ttl, {}});
    }

    // Removes many keys, and answers how many of them were there.
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

    // Runs the operations of a batch, each with an outcome of its own. The
    // error is for the batch as a whole: then none was run.
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

    // Counters, sizes and latencies, as a JSON object.
    std::string stats(Error &error) const noexcept {
        yc_value *json = nullptr;
        yc_stats(native(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string stats() const {
        return detail::or_throw([&](Error &error) { return stats(error); });
    }

    // Whether the cache can serve, as a JSON object.
    std::string health(Error &error) const noexcept {
        yc_value *json = nullptr;
        yc_health(native(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string health() const {
        return detail::or_throw([&](Error &error) { return health(error); });
    }

    // Counters, gauges and a histogram as the text that Prometheus scrapes.
    std::string metrics(Error &error) const noexcept {
        yc_value *text = nullptr;
        yc_metrics(native(), &text, detail::ErrorPlace(error));
        return Value(text).text();
    }

    std::string metrics() const {
        return detail::or_throw([&](Error &error) { return metrics(error); });
    }

    // What the cache holds.
    Size size(Error &error) const noexcept {
        Size size;
        yc_size(native(), &size.keys, &size.bytes, detail::ErrorPlace(error));
        return size;
    }

    Size size() const {
        return detail::or_throw([&](Error &error) { return size(error); });
    }

    // Replaces the backend by the one that a configuration asks for, as open()
    // takes it. Calls that are under way finish on the old one, later ones are
    // served by the new one, and none fails. Blocks until the old one is closed.
    // The report is a JSON object. After an error (YC_E_CONFIG, what opening
    // fails with, YC_E_BUSY while another switch is under way, YC_E_UNSUPPORTED
    // where what is to be copied cannot be listed) the cache goes on as it was.
    std::string switch_to(const Text &config, const SwitchOptions &options, Error &error) noexcept {
        yc_value *json = nullptr;
        yc_switch(native(), config.c_str(), detail::text_of(options).c_str(), &json, detail::ErrorPlace(error));
        return Value(json).text();
    }

    std::string switch_to(const Text &config, const SwitchOptions &options = {}) {
        return detail::or_throw([&](Error &error) { return switch_to(config, options, error); });
    }

    // Copies the entries of this cache into another: values, tags, and what is
    // left of their times to live. What the target has stays. Both caches stay
    // in use; switch_to() also follows what changes meanwhile. The report is a
    // JSON object. Errors: YC_E_INVALID for a cache onto itself and for a wrong
    // resume, YC_E_CONFIG, YC_E_UNSUPPORTED where keys cannot be listed, a
    // server's failure. Both functions throw what the progress throws.
    std::string migrate(Cache &target, const MigrateOptions &options, const OnProgress &progress, Error &error) const {
        yc_value *json = nullptr;
        detail::Told told{progress};
        yc_migrate(native(), target.native(), detail::text_of(options).c_str(),
                   progress ? detail::tell_progress : nullptr, &told, nullptr, &json, detail::ErrorPlace(error));
        const Value report(json);
        if (told.thrown) {
            std::rethrow_exception(told.thrown);
        }
        return report.text();
    }

    std::string migrate(Cache &target, const MigrateOptions &options = {}, const OnProgress &progress = nullptr) const {
        return detail::or_throw([&](Error &error) { return migrate(target, options, progress, error); });
    }

    // Asks the backend for a sign of life.
    void ping(Error &error) const noexcept { yc_ping(native(), detail::ErrorPlace(error)); }

    void ping() const {
        detail::or_throw([&](Error &error) { ping(error); });
    }

    // What the backend can do: a sum of YC_CAN_ numbers.
    std::uint64_t capabilities(Error &error) const noexcept {
        std::uint64_t flags = 0;
        yc_capabilities(native(), &flags, detail::ErrorPlace(error));
        return flags;
    }

    std::uint64_t capabilities() const {
        return detail::or_throw([&](Error &error) { return capabilities(error); });
    }

private:
    // In a place for a status that the library has not written.
    static constexpr Status unwritten = std::numeric_limits<Status>::max();

    static bool fits(Error &error) noexcept {
        check_abi(error);
        return !error;
    }

    // A refused call writes no statuses: each key failed as the call did.
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

    detail::Handle<yc_cache, yc_cache_free> handle_;
};

// What an operation of a queue is known by; never the same twice in one queue.
using Ticket = yc_ticket;

// What an operation of a queue came to, and which it was.
struct Completion : Outcome {
    Ticket ticket = 0;
    // What was submitted with it.
    std::uint64_t user_data = 0;
    // A YC_OP_ number.
    std::int32_t kind = 0;
    // Of many keys: the status of each, and of get_many() the values.
    std::vector<Status> statuses = {};
    std::vector<std::optional<Value>> values = {};
    // Of next_page(), unless status is YC_END; of search().
    std::optional<KeyPage> keys = {};
    std::optional<Matches> matches = {};
};

// Tells that there is something to take, on a thread of the library: a hint
// to poll. Must not block. What it throws is dropped.
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

// A queue of completions: operations are submitted and return at once, and
// what became of them is taken later. yokedcache.h tells what it promises.
// Everything that is submitted is copied. Destroying it drops what is in
// flight without waiting; close() waits. Any thread may call any function.
class Queue {
public:
    // An empty handle.
    Queue() noexcept = default;

    // Takes a queue of the C API over.
    explicit Queue(yc_queue *owned) noexcept : handle_(owned) {}

    yc_queue *native() const & noexcept { return handle_.get(); }
    yc_queue *native() const && = delete;
    explicit operator bool() const noexcept { return handle_ != nullptr; }

    // Opens a queue for so many operations, in flight or not taken (0: 1024).
    // The function, if there is one, is destroyed once it is not called again.
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
            // The library's now.
            static_cast<void>(owned.release());
        }
        return Queue(queue);
    }

    static Queue open(const Cache &cache, std::size_t capacity = 0, Wake wake = nullptr) {
        return detail::or_throw([&](Error &error) { return open(cache, capacity, std::move(wake), error); });
    }

    // Submits the operations of a batch, from the one at `first` on. A ticket
    // for each that was accepted: fewer than there are when the queue is full.
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

    // Cache::get_many() and its like. Nothing when the queue is full.
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

    // The next keys of a listing, at most `limit` (0: 512).
    std::optional<Ticket> next_page(const Keys &keys, std::size_t limit, std::uint64_t user_data,
                                    Error &error) noexcept {
        return one(error, [&](Ticket *ticket, yc_error **place) {
            return yc_queue_keys_next(native(), keys.native(), limit, user_data, ticket, place);
        });
    }

    std::optional<Ticket> next_page(const Keys &keys, std::size_t limit = 0, std::uint64_t user_data = 0) {
        return detail::or_throw([&](Error &error) { return next_page(keys, limit, user_data, error); });
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

    // What has completed, at most `max`, in the order it came. The error is
    // YC_E_CLOSED when nothing will come any more.
    std::vector<Completion> poll(std::size_t max, Error &error) noexcept {
        std::vector<yc_completion> raw(max);
        std::size_t count = 0;
        yc_queue_poll(native(), raw.data(), max, sizeof(yc_completion), &count, detail::ErrorPlace(error));
        return adopt(raw, count);
    }

    std::vector<Completion> poll(std::size_t max = default_max) {
        return detail::or_throw([&](Error &error) { return poll(max, error); });
    }

    // For wait(): until something comes.
    static constexpr std::chrono::milliseconds no_limit{-1};

    // As poll(), but waits for the first; empty when none came in time.
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

    // A file descriptor to watch, readable while there is something to take;
    // never to be read or closed. -1 after an error.
    int fd(Error &error) const noexcept {
        int fd = -1;
        yc_queue_fd(native(), &fd, detail::ErrorPlace(error));
        return fd;
    }

    int fd() const {
        return detail::or_throw([&](Error &error) { return fd(error); });
    }

    // Completes an operation with YC_E_CANCELLED; false when it had completed.
    bool cancel(Ticket ticket, Error &error) noexcept {
        return yc_queue_cancel(native(), ticket, detail::ErrorPlace(error)) == YC_OK;
    }

    bool cancel(Ticket ticket) {
        return detail::or_throw([&](Error &error) { return cancel(ticket, error); });
    }

    // Accepts no more, lets what is in flight finish and cancels the rest.
    // What has completed can still be taken.
    void close(std::chrono::milliseconds timeout, Error &error) noexcept {
        yc_queue_close(native(), timeout.count(), detail::ErrorPlace(error));
    }

    void close(std::chrono::milliseconds timeout = Cache::default_timeout) {
        detail::or_throw([&](Error &error) { close(timeout, error); });
    }

private:
    static constexpr std::size_t default_max = 64;

    // A full queue is told by what comes back, not by an error.
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

// Receives one log line, from any thread, also several at once. What it throws
// is dropped.
using Log = std::function<void(std::int32_t level, std::string_view line)>;

namespace detail {

inline void write_log(void *log, std::int32_t level, const char *line, std::size_t length) noexcept {
    try {
        (*static_cast<Log *>(log))(level, std::string_view(line, length));
    } catch (...) {
        // No exception may cross the library, and a log has nowhere to report one.
    }
}

inline void release_log(void *log) noexcept {
    delete static_cast<Log *>(log);
}

} // namespace detail

// Sends the log lines of all caches of the process, up to a YC_LOG_ level, to
// a function in place of any earlier one. The function is destroyed once no
// more lines come. An empty function or YC_LOG_OFF ends logging.
inline void set_log(std::int32_t level, Log log, Error &error) noexcept {
    if (!log) {
        yc_set_log(level, nullptr, nullptr, nullptr, detail::ErrorPlace(error));
        return;
    }
    auto owned = std::make_unique<Log>(std::move(log));
    Status status =
        yc_set_log(level, detail::write_log, owned.get(), detail::release_log, detail::ErrorPlace(error));
    if (status == YC_OK) {
        // The library's now; it may have finalised it already.
        static_cast<void>(owned.release());
    }
}

inline void set_log(std::int32_t level, Log log) {
    detail::or_throw([&](Error &error) { set_log(level, std::move(log), error); });
}

} // namespace yokedcache

#endif // YOKEDCACHE_HPP
