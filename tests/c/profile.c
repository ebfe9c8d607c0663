/* What the profile of a managed service expects of a conformance run: see tests/servers/README.md. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOPICS = 32 };

static struct {
    bool is_read;
    uint64_t lacks;
    struct {
        char name[64];
        unsigned cases;
    } topics[MAX_TOPICS];
    size_t count;
} expected;

/* The capabilities that differ between services; the others follow from the backend. */
static const struct {
    const char *name;
    uint64_t bit;
} CAPABILITIES[] = {{"list", YC_CAN_LIST}, {"compare", YC_CAN_COMPARE}};

/* A capability and the reason, for the guide. */
static void read_lacks(const char *text) {
    for (size_t at = 0; at < sizeof CAPABILITIES / sizeof *CAPABILITIES; at++) {
        size_t len = strlen(CAPABILITIES[at].name);
        if (strncmp(CAPABILITIES[at].name, text, len) == 0 && text[len] == ' ') {
            expected.lacks |= CAPABILITIES[at].bit;
            return;
        }
    }
    fprintf(stderr, "the profile names no capability with a reason: %s\n", text);
    exit(2);
}

static void read_line(char *line) {
    char name[64];
    unsigned cases;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "lacks ", 6) == 0) read_lacks(line + 6);
    if (sscanf(line, "unsupported %63s %u", name, &cases) != 2 || expected.count == MAX_TOPICS) return;
    strcpy(expected.topics[expected.count].name, name);
    expected.topics[expected.count++].cases = cases;
}

void profile_read(void) {
    const char *path = getenv("YC_TEST_SERVICE");
    char *line = NULL;
    size_t room = 0;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!path) return;
    if (!file) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(2);
    }
    while (getline(&line, &room, file) >= 0) read_line(line);
    expected.is_read = true;
    free(line);
    fclose(file);
}

/* A command of the caller's own that the service refuses is an error of the server, as any unknown command is. */
bool profile_allows(const statement *step, const tokens *came) {
    if (!expected.is_read || came->count != 2 || !token_is(&came->items[0], "error")) return false;
    return token_is(&came->items[1], bytes_are(step->operation, "redis") ? "YC_E_SERVER" : "YC_E_UNSUPPORTED");
}

bool profile_has(uint64_t can) {
    uint64_t all = 0;
    for (size_t at = 0; at < sizeof CAPABILITIES / sizeof *CAPABILITIES; at++) all |= CAPABILITIES[at].bit;
    return !expected.is_read || (all & ~can) == expected.lacks;
}

unsigned profile_unsupported(const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    for (size_t at = 0; at < expected.count; at++) {
        size_t len = strlen(expected.topics[at].name);
        if (strncmp(name, expected.topics[at].name, len) == 0 && strcmp(name + len, ".test") == 0) return expected.topics[at].cases;
    }
    return 0;
}
