/* The library leaves every signal's handler and the thread's mask as they were. */
#include "every.h"

#include <signal.h>

enum { LAST_SIGNAL = 64 };

static struct sigaction before[LAST_SIGNAL + 1];
static sigset_t mask_before;

static void remember(void) {
    for (int number = 1; number <= LAST_SIGNAL; number++) sigaction(number, NULL, &before[number]);
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
}

static bool same_handler(int number) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) != 0) return true;
    return now.sa_handler == before[number].sa_handler && now.sa_flags == before[number].sa_flags;
}

static void check_unchanged(void) {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        if (!CHECK(same_handler(number))) printf("  signal %d\n", number);
        CHECK(sigismember(&mask, number) == sigismember(&mask_before, number));
    }
}

static void own_handler(int number) { (void)number; }

static void use_library(void) {
    yc_cache *cache = open_cache("{backend: memory, memory: {cleanup_interval: 1ms}}");
    for (size_t at = 0; at < EVERY_COUNT; at++) CHECK(EVERY[at].run(cache, NULL) >= 0);
    check_unchanged();
    close_cache(cache);
    check_unchanged();
}

int main(void) {
    struct sigaction own = {.sa_handler = own_handler};
    remember();
    CHECK(before[SIGPIPE].sa_handler == SIG_DFL);
    use_library();
    sigaction(SIGPIPE, &own, NULL);
    sigaction(SIGSEGV, &own, NULL);
    remember();
    use_library();
    return check_result();
}
