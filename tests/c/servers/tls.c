/* TLS to servers with good and bad certificates: needs the servers of kind tls (tests/servers). */
#include "proxy.h"
#include "ports.h"
#include "refused.h"
#include "server.h"

#include <unistd.h>

#define CANARY "canary-S3cr3t"


static int port_of(const char *name) { return atoi(variable(name)); }

/* rediss://HOST:PORT/0 with an authority, if one is named, and more options. Overwritten by the next call. */
static const char *url_to(const char *host, int port, const char *authority, const char *more) {
    static char url[MAX_URL];
    int len = snprintf(url, sizeof url, "rediss://%s:%d/0?%s%s", host, port, REFUSED_OPTIONS, more);
    if (authority) snprintf(url + len, sizeof url - (size_t)len, "&ssl_ca_certs=%s", variable(authority));
    return url;
}

/* As above, with one of the certificates by its name. */
static const char *url_with(const char *host, int port, const char *certificate, const char *more) {
    static char url[MAX_URL];
    snprintf(url, sizeof url, "%s&ssl_ca_certs=%s/%s", url_to(host, port, NULL, more), variable("YC_TEST_CERTIFICATES"), certificate);
    return url;
}

static const char *with_client(void) {
    static char options[MAX_URL];
    snprintf(options, sizeof options, "&ssl_certfile=%s&ssl_keyfile=%s", variable("YC_TEST_CLIENT_CERTIFICATE"), variable("YC_TEST_CLIENT_KEY"));
    return options;
}

static void check_works(const char *url) {
    yc_cache *cache = open_cache(url);
    CHECK_STATUS(yc_ping(cache, NULL), YC_OK);
    CHECK_STATUS(set_numbered(cache, 1), YC_OK);
    CHECK_STATUS(get_numbered(cache, 1, NULL), YC_OK);
    close_cache(cache);
}

static void check_trust(int port) {
    check_works(url_to("127.0.0.1", port, "YC_TEST_CA", ""));
    check_works(url_to("localhost", port, "YC_TEST_CA", ""));
    check_works(url_to("127.0.0.1", port, "YC_TEST_CA", "&ssl_cert_reqs=optional"));
    check_works(url_to("127.0.0.1", port, NULL, "&ssl_cert_reqs=none"));
    CHECK_REFUSED(url_to("127.0.0.1", port, "YC_TEST_WRONG_CA", ""), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_to("127.0.0.1", port, NULL, ""), "127.0.0.1", YC_E_TLS);
}

static void check_certificates(void) {
    int expired = port_of("YC_TEST_TLS_EXPIRED_PORT"), other = port_of("YC_TEST_TLS_OTHER_HOST_PORT");
    CHECK_REFUSED(url_to("127.0.0.1", expired, "YC_TEST_CA", ""), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_to("127.0.0.1", expired, "YC_TEST_CA", "&ssl_check_hostname=false"), "127.0.0.1", YC_E_TLS);
    check_works(url_to("127.0.0.1", expired, NULL, "&ssl_cert_reqs=none"));
    CHECK_REFUSED(url_to("127.0.0.1", other, "YC_TEST_CA", ""), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_to("localhost", other, "YC_TEST_CA", ""), "localhost", YC_E_TLS);
    CHECK_REFUSED(url_to("localhost", other, "YC_TEST_WRONG_CA", "&ssl_check_hostname=false"), "localhost", YC_E_TLS);
    check_works(url_to("localhost", other, "YC_TEST_CA", "&ssl_check_hostname=false"));
}

static void check_client_certificate(void) {
    int port = port_of("YC_TEST_TLS_CLIENTS_PORT");
    check_works(url_to("127.0.0.1", port, "YC_TEST_CA", with_client()));
    CHECK_REFUSED(url_to("127.0.0.1", port, "YC_TEST_CA", ""), "127.0.0.1", YC_E_TLS);
}

/* A certificate is trusted for itself where it is the one in the file; its dates and its name have to be right. */
static void check_self_signed(void) {
    int own = port_of("YC_TEST_TLS_SELF_SIGNED_PORT"), expired = port_of("YC_TEST_TLS_SELF_EXPIRED_PORT");
    int other = port_of("YC_TEST_TLS_SELF_OTHER_PORT"), stranger = port_of("YC_TEST_TLS_STRANGER_PORT");
    check_works(url_with("localhost", own, "self-signed.crt", ""));
    check_works(url_with("127.0.0.1", own, "self-signed.crt", ""));
    check_works(url_with("127.0.0.1", own, "self-signed.crt", "&ssl_check_hostname=false"));
    check_works(url_to("127.0.0.1", own, NULL, "&ssl_cert_reqs=none"));
    CHECK_REFUSED(url_with("localhost", other, "self-other.crt", ""), "localhost", YC_E_TLS);
    check_works(url_with("localhost", other, "self-other.crt", "&ssl_check_hostname=false"));
    CHECK_REFUSED(url_with("127.0.0.1", own, "self-expired.crt", ""), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_with("127.0.0.1", own, "ca.crt", "&ssl_check_hostname=false"), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_with("127.0.0.1", expired, "self-expired.crt", ""), "127.0.0.1", YC_E_TLS);
    CHECK_REFUSED(url_with("127.0.0.1", expired, "self-expired.crt", "&ssl_check_hostname=false"), "127.0.0.1", YC_E_TLS);
    check_works(url_with("127.0.0.1", stranger, "stranger.crt", ""));
    CHECK_REFUSED(url_with("127.0.0.1", stranger, "ca.crt", ""), "127.0.0.1", YC_E_TLS);
}

static void check_version_1(void) {
    int port = port_of("YC_TEST_TLS_VERSION_1_PORT"), expired = port_of("YC_TEST_TLS_VERSION_1_EXPIRED_PORT");
    int older = port_of("YC_TEST_TLS_VERSION_1_OLDER_PORT");
    check_works(url_to("127.0.0.1", port, NULL, "&ssl_cert_reqs=none"));
    CHECK_REFUSED(url_with("localhost", port, "ca.crt", ""), "localhost", YC_E_TLS);
    check_works(url_with("localhost", port, "ca.crt", "&ssl_check_hostname=false"));
    CHECK_REFUSED(url_with("localhost", port, "wrong-ca.crt", "&ssl_check_hostname=false"), "localhost", YC_E_TLS);
    CHECK_REFUSED(url_with("localhost", expired, "ca.crt", "&ssl_check_hostname=false"), "localhost", YC_E_TLS);
    check_works(url_with("localhost", older, "ca.crt", "&ssl_check_hostname=false"));
    CHECK_REFUSED(url_with("localhost", older, "wrong-ca.crt", "&ssl_check_hostname=false"), "localhost", YC_E_TLS);
}

/* The open says that the key is encrypted, and what to do. */
static void check_encrypted_key(const char *key) {
    char more[MAX_URL];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    snprintf(more, sizeof more, "&ssl_certfile=%s&ssl_keyfile=%s/%s", variable("YC_TEST_CLIENT_CERTIFICATE"), variable("YC_TEST_CERTIFICATES"), key);
    CHECK_STATUS(yc_open(url_to("127.0.0.1", port_of("YC_TEST_TLS_PORT"), "YC_TEST_CA", more), &cache, &error), YC_E_TLS);
    check_message(error, "encrypted");
    check_message(error, "openssl pkey");
    check_message(error, "ssl_keyfile");
    yc_error_free(error);
}

/* One side speaks TLS, the other does not; a plain Redis waits for the end of a line in a handshake. */
static void check_mismatch_with(server_kind kind, int tls_port, const char *plain_scheme, const char *tls_scheme) {
    server plain;
    char url[MAX_URL];
    snprintf(url, sizeof url, "%s://127.0.0.1:%d?%s", plain_scheme, tls_port, REFUSED_OPTIONS);
    CHECK_REFUSED(url, "speaks TLS", YC_E_TLS);
    server_start(&plain, kind, NULL);
    snprintf(url, sizeof url, "%s://127.0.0.1:%d?%s&ssl_cert_reqs=none", tls_scheme, plain.port, REFUSED_OPTIONS);
    CHECK_REFUSED(url, "does not speak TLS", YC_E_TLS);
    server_stop(&plain);
}

static void check_mismatch(int port) {
    check_mismatch_with(SERVER_REDIS, port, "redis", "rediss");
    check_mismatch_with(SERVER_MEMCACHED, port, "memcached", "memcacheds");
}

/* A file of authorities that cannot be used, or has none; the message names the option. */
static void check_file(int port, const char *path) {
    char more[MAX_URL];
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    snprintf(more, sizeof more, "&ssl_ca_certs=%s", path);
    CHECK_ONE_OF(yc_open(url_to("127.0.0.1", port, NULL, more), &cache, &error), YC_E_CONFIG, YC_E_TLS);
    check_message(error, "ssl_ca_certs");
    yc_error_free(error);
}

static void check_files(int port) {
    char empty[] = "/tmp/yokedcache-empty-XXXXXX";
    int fd = mkstemp(empty);
    check_file(port, "/does/not/exist.crt");
    check_file(port, empty);
    check_file(port, variable("YC_TEST_CLIENT_KEY"));
    close(fd);
    unlink(empty);
}

/* What the server is not sent before it is known: the password, in any form; and a handshake that never ends. */
static void check_through_proxy(int port) {
    proxy *between = proxy_start(port);
    char url[MAX_URL];
    snprintf(url, sizeof url, "rediss://yoked:" CANARY "@127.0.0.1:%d/0?%s&ssl_ca_certs=%s", proxy_port(between), REFUSED_OPTIONS,
             variable("YC_TEST_WRONG_CA"));
    CHECK_REFUSED(url, "127.0.0.1", YC_E_TLS);
    CHECK(proxy_captured(between) > 0 && !proxy_saw(between, "S3cr3t", 6));
    proxy_set(between, (proxy_fault){.mode = PROXY_HOLE});
    CHECK_REFUSED(url, "127.0.0.1", YC_E_TIMEOUT, YC_E_CONNECT, YC_E_TLS);
    proxy_stop(between);
}

/* ---- Names, folders and files that change ---- */

/* The cache does not open, and the message names the option. */
static void check_option(int port, const char *more, const char *option) {
    yc_cache *cache = NULL;
    yc_error *error = NULL;
    CHECK_STATUS(yc_open(url_to("127.0.0.1", port, NULL, more), &cache, &error), YC_E_TLS);
    check_message(error, option);
    yc_error_free(error);
}

static void check_server_name(int port) {
    int other = port_of("YC_TEST_TLS_OTHER_HOST_PORT");
    check_works(url_to("127.0.0.1", other, "YC_TEST_CA", "&ssl_server_name=other.example"));
    check_works(url_to("127.0.0.1", port, "YC_TEST_CA", "&ssl_server_name=localhost"));
    CHECK_REFUSED(url_to("127.0.0.1", port, "YC_TEST_CA", "&ssl_server_name=other.example"), "127.0.0.1", YC_E_TLS);
    check_option(port, "&ssl_server_name=no%20name", "ssl_server_name");
}

/* Copies a file of the test's certificates, in one step. */
static void copy_to(const char *folder, const char *name, const char *certificate) {
    char from[MAX_URL], temporary[MAX_URL], to[MAX_URL], bytes[16384];
    snprintf(from, sizeof from, "%s/%s", variable("YC_TEST_CERTIFICATES"), certificate);
    snprintf(temporary, sizeof temporary, "%s/.new", folder);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    FILE *source = fopen(from, "r"), *copy = fopen(temporary, "w");
    if (!CHECK(source && copy)) exit(check_result());
    size_t len = fread(bytes, 1, sizeof bytes, source);
    CHECK(len > 0 && fwrite(bytes, 1, len, copy) == len);
    fclose(source);
    CHECK(fclose(copy) == 0 && rename(temporary, to) == 0);
}

static void remove_from(const char *folder, const char *name) {
    char path[MAX_URL];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK(remove(path) == 0);
}

static void check_folder(int port) {
    char folder[] = "/tmp/yokedcache-tls-XXXXXX", options[MAX_URL];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(options, sizeof options, "&ssl_ca_path=%s", folder);
    check_option(port, options, "ssl_ca_path");
    copy_to(folder, "b.key", "client.key");
    check_option(port, options, "ssl_ca_path");
    copy_to(folder, "a.pem", "wrong-ca.crt");
    CHECK_REFUSED(url_to("127.0.0.1", port, NULL, options), "127.0.0.1", YC_E_TLS);
    check_works(url_to("127.0.0.1", port, "YC_TEST_CA", options));
    copy_to(folder, "c.pem", "ca.crt");
    check_works(url_to("127.0.0.1", port, NULL, options));
    remove_from(folder, "a.pem"), remove_from(folder, "b.key"), remove_from(folder, "c.pem");
    CHECK(rmdir(folder) == 0);
}

/* Ends the connections of a cache, which makes new ones. */
static void end_connections(yc_cache *cache) {
    yc_slice words[] = {slice("CLIENT"), slice("KILL"), slice("TYPE"), slice("normal"), slice("SKIPME"), slice("no")};
    yc_reply *reply = NULL;
    CHECK(yc_redis_command(cache, words, 6, YC_NO_KEY, &reply, NULL) != YC_MISS);
    yc_reply_free(reply);
}

static bool works(yc_cache *cache) { return yc_ping(cache, NULL) == YC_OK; }

/* A connection that was being made with the former files may have come after the others ended. */
static bool is_refused(yc_cache *cache) {
    end_connections(cache);
    sleep_ms(20);
    return yc_ping(cache, NULL) == YC_E_TLS;
}

/* Files are read again when they have changed; those that cannot be used do not replace what was read before. */
static void check_changes(int port) {
    char folder[] = "/tmp/yokedcache-tls-XXXXXX", options[MAX_URL];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(options, sizeof options, "&connect=lazy&ssl_ca_certs=%s/ca.pem", folder);
    copy_to(folder, "ca.pem", "wrong-ca.crt");
    yc_cache *cache = open_cache(url_to("127.0.0.1", port, NULL, options));
    CHECK_STATUS(yc_ping(cache, NULL), YC_E_TLS);
    copy_to(folder, "ca.pem", "ca.crt");
    UNTIL(works(cache), 10000);
    copy_to(folder, "ca.pem", "client.key");
    end_connections(cache);
    UNTIL(works(cache), 10000);
    copy_to(folder, "ca.pem", "wrong-ca.crt");
    UNTIL(is_refused(cache), 10000);
    close_cache(cache);
    remove_from(folder, "ca.pem");
    CHECK(rmdir(folder) == 0);
}

/* A client's certificate and its key are replaced one after the other. */
static void check_changed_client(void) {
    char folder[] = "/tmp/yokedcache-tls-XXXXXX", options[MAX_URL];
    CHECK(mkdtemp(folder) != NULL);
    copy_to(folder, "c.pem", "client.crt"), copy_to(folder, "c.key", "client.key");
    snprintf(options, sizeof options, "&ssl_certfile=%s/c.pem&ssl_keyfile=%s/c.key", folder, folder);
    yc_cache *cache = open_cache(url_to("127.0.0.1", port_of("YC_TEST_TLS_CLIENTS_PORT"), "YC_TEST_CA", options));
    copy_to(folder, "c.pem", "stranger.crt");
    end_connections(cache);
    UNTIL(works(cache), 10000);
    copy_to(folder, "c.key", "stranger.key");
    UNTIL(is_refused(cache), 10000);
    copy_to(folder, "c.pem", "client.crt"), copy_to(folder, "c.key", "client.key");
    UNTIL(works(cache), 10000);
    close_cache(cache);
    remove_from(folder, "c.pem"), remove_from(folder, "c.key");
    CHECK(rmdir(folder) == 0);
}

int main(void) {
    int port = port_of("YC_TEST_TLS_PORT");
    watch_for("S3cr3t");
    check_trust(port);
    check_certificates();
    check_client_certificate();
    check_self_signed();
    check_version_1();
    check_encrypted_key("encrypted-new.key");
    check_encrypted_key("encrypted-old.key");
    check_mismatch(port);
    check_files(port);
    check_server_name(port);
    check_folder(port);
    check_changes(port);
    check_changed_client();
    check_through_proxy(port);
    watch_end();
    return check_result();
}
