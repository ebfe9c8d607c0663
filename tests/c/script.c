/* Reads the words of a conformance script, and holds results against them. */
#include "script.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *old, size_t size) {
    void *grown_block = realloc(old, size ? size : 1);
    if (!grown_block) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return grown_block;
}

static bytes copied(const void *data, size_t len) {
    bytes copy = {grown(NULL, len + 1), len};
    if (len) memcpy(copy.data, data, len);
    copy.data[len] = '\0';
    return copy;
}

void tokens_add(tokens *list, enum token_kind kind, const void *text, size_t len) {
    list->items = grown(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (token){kind, copied(text, len)};
}

void tokens_free(tokens *list) {
    for (size_t at = 0; at < list->count; at++) free(list->items[at].text.data);
    free(list->items);
    *list = (tokens){NULL, 0};
}

static void print_quoted(const bytes *text) {
    size_t shown = text->len > 200 ? 200 : text->len;
    putchar('"');
    for (size_t at = 0; at < shown; at++) {
        unsigned char byte = (unsigned char)text->data[at];
        if (byte == '"' || byte == '\\') printf("\\%c", byte);
        else if (isprint(byte)) putchar(byte);
        else printf("\\x%02x", byte);
    }
    putchar('"');
    if (shown < text->len) printf("... (%zu bytes)", text->len);
}

void tokens_print(const token *items, size_t count) {
    for (size_t at = 0; at < count; at++) {
        if (at) putchar(' ');
        if (items[at].kind == TOKEN_QUOTED) print_quoted(&items[at].text);
        else fwrite(items[at].text.data, 1, items[at].text.len, stdout);
    }
}

static bool is_bare(char letter) {
    return isalnum((unsigned char)letter) || (letter && strchr("_.:*?-", letter));
}

static int hex_digit(char digit) {
    const char *digits = "0123456789abcdef", *found = digit ? strchr(digits, tolower((unsigned char)digit)) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Reads one escape after its backslash. Returns the number of its letters, 0 for an unknown escape. */
static size_t read_escape(const char *text, char *byte) {
    const char *names = "\"\\nrt", *found = *text ? strchr(names, *text) : NULL;
    if (found) {
        *byte = "\"\\\n\r\t"[found - names];
        return 1;
    }
    if (*text != 'x' || hex_digit(text[1]) < 0 || hex_digit(text[2]) < 0) return 0;
    *byte = (char)(hex_digit(text[1]) * 16 + hex_digit(text[2]));
    return 3;
}

/* The bytes of a quoted word behind its first quote; where it ends, or NULL. */
static const char *read_quoted(const char *text, bytes *word) {
    *word = copied(text, strlen(text));
    word->len = 0;
    while (*text && *text != '"') {
        char byte = *text;
        size_t taken = byte == '\\' ? read_escape(text + 1, &byte) : 0;
        if (*text == '\\' && !taken) return NULL;
        text += 1 + taken;
        word->data[word->len++] = byte;
    }
    return *text == '"' ? text + 1 : NULL;
}

static void repeat(bytes *word, size_t times) {
    size_t once = word->len;
    word->data = grown(word->data, once * times + 1);
    for (size_t at = 1; at < times; at++) memcpy(word->data + at * once, word->data, once);
    word->len = once * times;
}

static const char *add_quoted(const char *text, tokens *list) {
    bytes word = {NULL, 0};
    const char *end = read_quoted(text, &word);
    if (end && end[0] == '*' && isdigit((unsigned char)end[1])) {
        char *after;
        repeat(&word, strtoul(end + 1, &after, 10));
        end = after;
    }
    if (end) tokens_add(list, TOKEN_QUOTED, word.data, word.len);
    free(word.data);
    return end;
}

static const char *add_bare(const char *text, tokens *list) {
    size_t len = 0;
    while (is_bare(text[len])) len++;
    tokens_add(list, TOKEN_BARE, text, len);
    return text + len;
}

static const char *add_mark(const char *text, tokens *list) {
    size_t len = strncmp(text, "=>", 2) == 0 ? 2 : strchr(",=[]@|", *text) ? 1 : 0;
    if (!len) return NULL;
    tokens_add(list, TOKEN_MARK, text, len);
    return text + len;
}

const char *tokens_read(const char *line, tokens *list) {
    while (*(line += strspn(line, " \t\r\n")) && *line != '#') {
        if (*line == '"') line = add_quoted(line + 1, list);
        else if (is_bare(*line)) line = add_bare(line, list);
        else line = add_mark(line, list);
        if (!line) return "this line has an invalid word";
    }
    return NULL;
}

bool bytes_are(const bytes *text, const char *wanted) {
    return text->len == strlen(wanted) && memcmp(text->data, wanted, text->len) == 0;
}

bool token_is(const token *item, const char *text) {
    return item->kind != TOKEN_QUOTED && bytes_are(&item->text, text);
}

static bool is_word(const tokens *words, size_t at) {
    return at < words->count && words->items[at].kind != TOKEN_MARK;
}

static bool is_mark(const tokens *words, size_t at, const char *mark) {
    return at < words->count && words->items[at].kind == TOKEN_MARK && token_is(&words->items[at], mark);
}

/* `name=word,word` at `at`; behind it. */
static size_t read_option(statement *step, size_t at) {
    const tokens *words = &step->words;
    step->options = grown(step->options, (step->n_options + 1) * sizeof *step->options);
    named *option = &step->options[step->n_options++];
    *option = (named){&words->items[at].text, NULL, 0};
    at += 1;
    while (is_mark(words, at, option->count ? "," : "=") && is_word(words, at + 1)) {
        option->values = grown(option->values, (option->count + 1) * sizeof *option->values);
        option->values[option->count++] = words->items[at + 1].text;
        at += 2;
    }
    return at;
}

static size_t read_argument(statement *step, size_t at) {
    if (is_mark(&step->words, at + 1, "=") && is_word(&step->words, at + 2)) return read_option(step, at);
    step->arguments = grown(step->arguments, (step->n_arguments + 1) * sizeof *step->arguments);
    step->arguments[step->n_arguments++] = step->words.items[at].text;
    return at + 1;
}

static bool names_cache(const tokens *words, size_t at) {
    return is_word(words, at) && words->items[at].kind == TOKEN_BARE && words->items[at].text.len > 1 &&
           words->items[at].text.data[words->items[at].text.len - 1] == ':';
}

static const char *read_wanted(statement *step, size_t at) {
    static char text[] = "ok";
    static const token ok = {TOKEN_BARE, {text, 2}};
    step->wanted = &ok;
    step->n_wanted = 1;
    if (at == step->words.count) return NULL;
    if (!is_mark(&step->words, at, "=>") || at + 1 == step->words.count) return "what follows the arguments is no result";
    step->wanted = &step->words.items[at + 1];
    step->n_wanted = step->words.count - at - 1;
    return NULL;
}

const char *statement_read(tokens words, size_t from, int line, statement *step) {
    *step = (statement){.line = line, .words = words};
    if (names_cache(&words, from)) step->cache = &words.items[from++].text;
    if (!is_word(&words, from)) return "a step begins with its operation";
    step->operation = &words.items[from++].text;
    while (is_word(&words, from)) from = read_argument(step, from);
    return read_wanted(step, from);
}

void statement_free(statement *step) {
    for (size_t at = 0; at < step->n_options; at++) free(step->options[at].values);
    free(step->options);
    free(step->arguments);
    tokens_free(&step->words);
}

const named *statement_option(const statement *step, const char *name) {
    for (size_t at = 0; at < step->n_options; at++) {
        if (bytes_are(step->options[at].name, name)) return &step->options[at];
    }
    return NULL;
}

static bool read_range(const char *text, intmax_t *low, intmax_t *high) {
    char *end;
    *low = *high = strtoimax(text, &end, 10);
    if (end == text) return false;
    if (strncmp(end, "..", 2) == 0) *high = strtoimax(end + 2, &end, 10);
    return *end == '\0';
}

static bool in_range(const char *wanted, const char *came) {
    intmax_t low, high, value, same;
    return read_range(wanted, &low, &high) && read_range(came, &value, &same) && low <= value && value <= high;
}

static bool same_text(const bytes *left, const bytes *right) {
    return left->len == right->len && memcmp(left->data, right->data, left->len) == 0;
}

static bool near_score(const token *wanted, const token *came) {
    return wanted->kind == TOKEN_BARE && fabs(strtod(wanted->text.data, NULL) - strtod(came->text.data, NULL)) <= 0.01;
}

static bool token_matches(const token *wanted, const token *came) {
    if (wanted->kind != came->kind) return false;
    return same_text(&wanted->text, &came->text) ||
           (wanted->kind == TOKEN_BARE && in_range(wanted->text.data, came->text.data));
}

bool tokens_match(const token *wanted, size_t n_wanted, const token *came, size_t n_came) {
    if (n_wanted != n_came) return false;
    for (size_t at = 0; at < n_wanted; at++) {
        bool scored = at && wanted[at - 1].kind == TOKEN_MARK && token_is(&wanted[at - 1], "@");
        if (!(scored ? near_score(&wanted[at], &came[at]) : token_matches(&wanted[at], &came[at]))) return false;
    }
    return true;
}
