// The C++ peer: unordered_map, list and one mutex, behind the signatures of yokedcache.h.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

struct Value {
    std::shared_ptr<char[]> bytes;
    size_t length;
};

struct Entry {
    std::string key;
    Value value;
};

Value copy_of(const void *bytes, size_t length) {
    Value value{std::make_shared_for_overwrite<char[]>(length), length};
    std::memcpy(value.bytes.get(), bytes, length);
    return value;
}

class Lru {
public:
    explicit Lru(size_t capacity) : capacity_(capacity) { index_.reserve(capacity); }

    template <typename Read> bool read(std::string_view key, Read use) {
        std::lock_guard lock(mutex_);
        auto found = index_.find(key);
        if (found == index_.end()) {
            return false;
        }
        touch(found->second);
        use(found->second->value);
        return true;
    }

    void set(std::string_view key, Value value) {
        std::lock_guard lock(mutex_);
        auto found = index_.find(key);
        if (found == index_.end()) {
            insert(key, std::move(value));
        } else {
            touch(found->second);
            std::swap(found->second->value, value);
        }
    }

private:
    using Entries = std::list<Entry>;

    void touch(Entries::iterator entry) { entries_.splice(entries_.begin(), entries_, entry); }

    void insert(std::string_view key, Value value) {
        if (index_.size() == capacity_) {
            index_.erase(entries_.back().key);
            entries_.pop_back();
        }
        entries_.push_front(Entry{std::string(key), std::move(value)});
        index_.emplace(entries_.front().key, entries_.begin());
    }

    const size_t capacity_;
    std::mutex mutex_;
    Entries entries_;
    std::unordered_map<std::string_view, Entries::iterator> index_;
};

std::string_view view(const void *bytes, size_t length) { return {static_cast<const char *>(bytes), length}; }

// A second handle on the value.
void *share(Lru &lru, std::string_view key) {
    Value value;
    return lru.read(key, [&](const Value &found) { value = found; }) ? new Value(std::move(value)) : nullptr;
}

struct Slice {
    const void *data;
    size_t len;
};

} // namespace

extern "C" {

void *lru_peer_open(size_t capacity) { return new Lru(capacity); }

void lru_peer_close(void *cache) { delete static_cast<Lru *>(cache); }

int32_t lru_peer_get_into(void *cache, const void *key, size_t key_len, void *buf, size_t cap, size_t *len, void **) {
    return !static_cast<Lru *>(cache)->read(view(key, key_len), [&](const Value &found) {
        *len = found.length;
        std::memcpy(buf, found.bytes.get(), std::min(found.length, cap));
    });
}

int32_t lru_peer_get(void *cache, const void *key, size_t key_len, void **out, void **) {
    *out = share(*static_cast<Lru *>(cache), view(key, key_len));
    return *out == nullptr;
}

void lru_peer_free(void *value, size_t) { delete static_cast<Value *>(value); }

int32_t lru_peer_set(void *cache, const void *key, size_t key_len, const void *value, size_t value_len, int64_t,
                     const void *, size_t, void **) {
    static_cast<Lru *>(cache)->set(view(key, key_len), copy_of(value, value_len));
    return 0;
}

int32_t lru_peer_get_many(void *cache, const Slice *keys, size_t n, void **values, int32_t *, void **) {
    for (size_t at = 0; at < n; at++) {
        values[at] = share(*static_cast<Lru *>(cache), view(keys[at].data, keys[at].len));
    }
    return 0;
}
}
