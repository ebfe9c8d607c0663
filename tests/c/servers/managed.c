/* A managed service as its documents describe it: a proxy before a real server that refuses what the service refuses.
 * managed PROFILE COMMAND... runs a command with YC_TEST_URL and YC_TEST_SERVICE: see tests/servers/README.md. */
#include "resp.h"
#include "server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { MAX_RULES = 128, MAX_NAME = 64, MAX_TEXT = 256, READ_SIZE = 65536 };

/* What happens to a command, or to one of its subcommands (`NAME|SUB`; `NAME|*` has any). */
typedef struct rule {
    enum { REFUSE, ANSWER, LIMIT } kind;
    char name[MAX_NAME];
    char text[MAX_TEXT]; /* REFUSE: the error, with %s for the name. ANSWER: the reply. */
    size_t most;         /* LIMIT: the longest line. */
} rule;

typedef struct profile {
    bool is_redis, is_cluster, has_no_binary, tells_servers;
    char database[16]; /* The one that clients select. */
    char options[MAX_TEXT], hidden[MAX_TEXT];
    rule rules[MAX_RULES];
    size_t count;
} profile;

static profile service;
static server backend;

static void give_up(const char *what, const char *detail) {
    fprintf(stderr, "managed: %s: %s\n", what, detail);
    exit(2);
}

/* ---- The profile ---- */

static rule *add_rule(int kind, const char *name) {
    if (service.count == MAX_RULES) give_up("too many rules", name);
    rule *added = &service.rules[service.count++];
    added->kind = kind;
    snprintf(added->name, sizeof added->name, "%s", name);
    return added;
}

/* Replaces \r and \n as they are written by the bytes they stand for. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        bool is_escape = from[0] == '\\' && (from[1] == 'r' || from[1] == 'n');
        *to++ = !is_escape ? *from : *++from == 'r' ? '\r' : '\n';
    }
    *to = '\0';
}

static void read_server(const char *words) {
    service.is_redis = strncmp(words, "redis", 5) == 0;
    service.is_cluster = strcmp(words, "redis cluster") == 0;
    if (!service.is_redis && strcmp(words, "memcached") != 0) give_up("no such server", words);
}

/* `refuse NAME...` takes the last `error`. */
static void read_refused(char *names, const char *error) {
    for (char *name; (name = strsep(&names, " "));) {
        if (*name) snprintf(add_rule(REFUSE, name)->text, MAX_TEXT, "%s", error);
    }
}

static void read_limit(char *rest) {
    char *name = strsep(&rest, " ");
    if (!rest) give_up("a limit without a number", name);
    add_rule(LIMIT, name)->most = strtoul(rest, NULL, 10);
}

static void read_answer(char *rest) {
    char *name = strsep(&rest, " ");
    if (!rest) give_up("an answer without a text", name);
    unescape(rest);
    snprintf(add_rule(ANSWER, name)->text, MAX_TEXT, "%s", rest);
}

static void read_profile(const char *path) {
    char line[1024], error[MAX_TEXT] = "ERROR";
    FILE *file = fopen(path, "r");
    if (!file) give_up("cannot be read", path);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line, *word = strsep(&rest, " ");
        if (!rest) rest = line + strlen(line);
        if (!strcmp(word, "server")) read_server(rest);
        else if (!strcmp(word, "options")) snprintf(service.options, sizeof service.options, "%s", rest);
        else if (!strcmp(word, "hide")) snprintf(service.hidden, sizeof service.hidden, "%s", rest);
        else if (!strcmp(word, "error")) snprintf(error, sizeof error, "%s", rest);
        else if (!strcmp(word, "refuse")) read_refused(rest, error);
        else if (!strcmp(word, "limit")) read_limit(rest);
        else if (!strcmp(word, "answer")) read_answer(rest);
        else if (!strcmp(word, "database")) snprintf(service.database, sizeof service.database, "%s", rest);
        else if (!strcmp(word, "tells-servers")) service.tells_servers = true;
        else if (!strcmp(word, "no-binary")) service.has_no_binary = true;
    }
    fclose(file);
}

/* ---- One direction of a connection ---- */

typedef struct line {
    int client, server;
    bool is_binary, has_selected;
} line;

static bool send_all(int fd, const char *bytes, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t more = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        if (more <= 0) return false;
        sent += (size_t)more;
    }
    return true;
}

static void *copy_replies(void *argument) {
    line *on = argument;
    char bytes[READ_SIZE];
    for (ssize_t len; (len = recv(on->server, bytes, sizeof bytes, 0)) > 0;) {
        if (!send_all(on->client, bytes, (size_t)len)) break;
    }
    shutdown(on->client, SHUT_RDWR);
    return NULL;
}

/* The rule of a command and its subcommand, or NULL. */
static const rule *find_rule(const char *name, const char *sub, size_t len) {
    for (size_t at = 0; at < service.count; at++) {
        const rule *it = &service.rules[at];
        size_t end = strcspn(it->name, "|");
        const char *of = it->name[end] ? it->name + end + 1 : NULL;
        bool fits = !of || (*sub && (!strcmp(of, "*") || !strcasecmp(of, sub)));
        if (strlen(name) == end && !strncasecmp(it->name, name, end) && fits && (it->kind != LIMIT || len > it->most)) return it;
    }
    return NULL;
}

/* ---- Redis ---- */

/* The server itself answers in the place of a refused command, so that replies stay in their order. */
static bool send_error(int fd, const rule *on, const char *name, const char *sub) {
    static const char script[] = "return {err = ARGV[1]}";
    char text[2 * MAX_TEXT], full[2 * MAX_NAME + 2], request[4 * MAX_TEXT];
    snprintf(full, sizeof full, "%s%s%s", name, strchr(on->name, '|') ? "|" : "", strchr(on->name, '|') ? sub : "");
    const char *place = strstr(on->text, "%s");
    if (place) snprintf(text, sizeof text, "%.*s%s%s", (int)(place - on->text), on->text, full, place + 2);
    else snprintf(text, sizeof text, "%s", on->text);
    int len = snprintf(request, sizeof request, "*4\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n0\r\n$%zu\r\n%s\r\n", sizeof script - 1,
                       script, strlen(text), text);
    return send_all(fd, request, (size_t)len);
}

/* A cluster with numbered databases: SELECT is accepted, and names are read and written only behind it. */
static const rule *database_rule(line *on, const char *name, const char *argument) {
    static const rule out_of_range = {.text = "ERR DB index is out of range"}, unselected = {.text = "ERR a name of another database"};
    static const char *const of_names[] = {"GET", "MGET", "SET", "UNLINK", "SCAN", "EVAL", "EVALSHA", "GETRANGE", "PTTL", "XADD"};
    if (!strcasecmp(name, "SELECT")) {
        on->has_selected = !strcmp(argument, service.database);
        return on->has_selected ? NULL : &out_of_range;
    }
    for (size_t at = 0; !on->has_selected && at < sizeof of_names / sizeof *of_names; at++) {
        if (!strcasecmp(name, of_names[at])) return &unselected;
    }
    return NULL;
}

/* INFO without the fields that the service does not report. */
static bool send_info(int fd, const char *section) {
    static const char script[] = "local text = redis.call('INFO', ARGV[2]) for field in ARGV[1]:gmatch('%S+') do "
                                 "text = text:gsub('%f[^\\n%z]' .. field .. ':[^\\r]*\\r\\n', '') end return text";
    char request[4 * MAX_TEXT];
    if (!*section) section = "default";
    int len = snprintf(request, sizeof request, "*5\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n0\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                       sizeof script - 1, script, strlen(service.hidden), service.hidden, strlen(section), section);
    return send_all(fd, request, (size_t)len);
}

/* The length of the first request, 0 if it is not complete; its first two words. */
static size_t read_request(const char *bytes, size_t len, char *name, char *sub) {
    size_t at = 0;
    *name = *sub = '\0';
    const char *end = memchr(bytes, '\n', len);
    if (!end) return 0;
    long words = strtol(bytes + 1, NULL, 10);
    at = (size_t)(end - bytes) + 1;
    for (long word = 0; word < words; word++) {
        if (!(end = memchr(bytes + at, '\n', len - at))) return 0;
        size_t size = strtoul(bytes + at + 1, NULL, 10);
        at = (size_t)(end - bytes) + 1;
        if (len - at < size + 2) return 0;
        char *into = word == 0 ? name : word == 1 ? sub : NULL;
        if (into) snprintf(into, MAX_NAME, "%.*s", (int)(size < MAX_NAME ? size : MAX_NAME - 1), bytes + at);
        at += size + 2;
    }
    return at;
}

static size_t take_redis(line *on, const char *bytes, size_t len, bool *alive) {
    char name[MAX_NAME], sub[MAX_NAME];
    size_t taken = read_request(bytes, len, name, sub), sent = taken;
    if (!taken) return 0;
    const rule *found = find_rule(name, sub, taken);
    if (*service.database && !found) found = database_rule(on, name, sub);
    /* The server behind the proxy has no such database. */
    if (*service.database && !found && !strcasecmp(name, "SELECT")) bytes = "*1\r\n$8\r\nREADONLY\r\n", sent = strlen(bytes);
    bool hides = *service.hidden && !strcasecmp(name, "INFO");
    *alive = found   ? send_error(on->server, found, name, sub)
             : hides ? send_info(on->server, sub)
                     : send_all(on->server, bytes, sent);
    return taken;
}

/* ---- Memcached ---- */

/* The bytes behind a line: the value of a command that stores one. */
static size_t value_size(const char *text) {
    char name[16] = "", words[4][32] = {""};
    sscanf(text, "%15s %*s %31s %31s %31s", name, words[0], words[1], words[2]);
    if (!strcmp(name, "ms")) return strtoul(words[0], NULL, 10) + 2;
    bool stores = !strcmp(name, "set") || !strcmp(name, "add") || !strcmp(name, "replace") || !strcmp(name, "cas");
    return stores ? strtoul(words[2], NULL, 10) + 2 : 0;
}

static size_t take_memcached(line *on, const char *bytes, size_t len, bool *alive) {
    static const char unknown[] = "refused\r\n";
    char name[MAX_NAME] = "", sub[MAX_NAME] = "", head[512];
    if (on->is_binary) {
        *alive = !service.has_no_binary && send_all(on->server, bytes, len);
        return len;
    }
    const char *end = memchr(bytes, '\n', len);
    if (!end) return 0;
    size_t line_len = (size_t)(end - bytes) + 1;
    snprintf(head, sizeof head, "%.*s", (int)(line_len < sizeof head ? line_len : sizeof head - 1), bytes);
    size_t all = line_len + value_size(head);
    if (len < all) return 0;
    sscanf(head, "%63s %63s", name, sub);
    const rule *found = find_rule(name, sub, line_len);
    /* A fixed reply is for a command that is sent by itself. */
    if (found && found->kind == ANSWER) *alive = send_all(on->client, found->text, strlen(found->text));
    /* The server answers an unknown command with ERROR. */
    else if (found) *alive = send_all(on->server, unknown, sizeof unknown - 1);
    else *alive = send_all(on->server, bytes, all);
    return all;
}

/* ---- Connections ---- */

static void *serve(void *argument) {
    line *on = argument;
    pthread_t replies;
    size_t len = 0, room = READ_SIZE;
    char *bytes = malloc(room);
    bool alive = pthread_create(&replies, NULL, copy_replies, on) == 0;
    while (alive) {
        if (room - len < READ_SIZE) bytes = realloc(bytes, room *= 2);
        ssize_t more = recv(on->client, bytes + len, room - len, 0);
        if (more <= 0) break;
        on->is_binary |= !len && (unsigned char)bytes[0] == 0x80;
        len += (size_t)more;
        size_t at = 0;
        for (size_t taken = 1; alive && taken && at < len; at += taken) {
            taken = (service.is_redis ? take_redis : take_memcached)(on, bytes + at, len - at, &alive);
        }
        memmove(bytes, bytes + at, len -= at);
    }
    shutdown(on->server, SHUT_RDWR);
    shutdown(on->client, SHUT_RDWR);
    pthread_join(replies, NULL);
    close(on->server);
    close(on->client);
    free(bytes);
    free(on);
    return NULL;
}

static void *accept_all(void *argument) {
    int listener = *(int *)argument;
    for (int client; (client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        line *on = malloc(sizeof *on);
        struct timeval forever = {0};
        pthread_t thread;
        *on = (line){.client = client, .server = connect_to(backend.port)};
        setsockopt(on->server, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
        setsockopt(on->server, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (on->server < 0 || pthread_create(&thread, NULL, serve, on) != 0) give_up("no connection to", "the server");
        pthread_detach(thread);
    }
    return NULL;
}

/* ---- The program ---- */

/* Listens on a free port of loopback. */
static int listen_on_any(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 128) != 0) give_up("cannot listen", "127.0.0.1");
    getsockname(fd, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    return fd;
}

/* The list of the servers that a service tells: the proxy itself. */
static void tell_servers(int port) {
    char list[64];
    int len = snprintf(list, sizeof list, "1\n|127.0.0.1|%d\n", port);
    snprintf(add_rule(ANSWER, "config")->text, MAX_TEXT, "CONFIG cluster 0 %d\r\n%s\r\nEND\r\n", len, list);
}

static void start_backend(int port) {
    const char *cluster[] = {"--cluster-enabled", "yes", NULL};
    server_start(&backend, service.is_redis ? SERVER_REDIS : SERVER_MEMCACHED, service.is_cluster ? cluster : NULL);
    if (!service.is_cluster) return;
    bool done = tell(backend.port, "CONFIG SET cluster-announce-ip 127.0.0.1") &&
                tell(backend.port, "CONFIG SET cluster-announce-port %d", port) &&
                tell(backend.port, "CLUSTER ADDSLOTSRANGE 0 16383");
    if (!done) give_up("no cluster", "CLUSTER ADDSLOTSRANGE");
    for (int waited = 0; waited < 500; waited++) {
        reply *info = ask(backend.port, "CLUSTER INFO");
        bool is_ok = info && info->text && strstr(info->text, "cluster_state:ok");
        reply_free(info);
        if (is_ok) return;
        usleep(20000);
    }
    give_up("no cluster", "its state is not ok");
}

static int run_command(char **command) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(command[0], command);
        _exit(127);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

int main(int count, char **words) {
    static int listener;
    int port;
    char url[2 * MAX_TEXT];
    pthread_t thread;
    if (count < 3) give_up("usage", "managed PROFILE COMMAND...");
    read_profile(words[1]);
    listener = listen_on_any(&port);
    start_backend(port);
    if (service.tells_servers) tell_servers(port);
    if (pthread_create(&thread, NULL, accept_all, &listener) != 0) give_up("no thread", words[1]);
    snprintf(url, sizeof url, "%s", url_of(backend.kind, port, service.options));
    char *path = *service.database ? strstr(url, "/0?") : NULL;
    if (path) snprintf(url, sizeof url, "redis://127.0.0.1:%d/%s?%s", port, service.database, service.options);
    setenv("YC_TEST_URL", url, 1);
    setenv("YC_TEST_SERVICE", words[1], 1);
    int status = run_command(words + 2);
    unlink(strcat(strcpy(url, backend.folder), "/nodes.conf"));
    server_stop(&backend);
    return status;
}
