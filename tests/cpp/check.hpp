// Checks for the C++ tests: each prints where it failed. A program returns failures == 0 ? 0 : 1.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <yokedcache.hpp>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace {

std::atomic<int> failures{0};

void check(bool holds, const char *text, const char *file, int line) {
    if (!holds) {
        const char *slash = std::strrchr(file, '/');
        std::fprintf(stderr, "%s:%d: not true: %s\n", slash == nullptr ? file : slash + 1, line, text);
        ++failures;
    }
}

#define CHECK(condition) check(condition, #condition, __FILE__, __LINE__)

// The status an operation throws; YC_OK when it does not.
template <class Operation>
yokedcache::Status thrown_by(Operation operation) {
    try {
        operation();
    } catch (const yokedcache::Error &error) {
        CHECK(std::string_view(error.what()).size() > 10);
        return error.status();
    }
    return YC_OK;
}

}  // namespace

#endif
