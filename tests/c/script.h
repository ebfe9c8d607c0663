/* The words of a conformance script: see tests/conformance/README.md. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes on the heap. */
typedef struct bytes {
    char *data;
    size_t len;
} bytes;

enum token_kind { TOKEN_BARE, TOKEN_QUOTED, TOKEN_MARK };

typedef struct token {
    enum token_kind kind;
    bytes text;
} token;

/* A growing list of tokens. */
typedef struct tokens {
    token *items;
    size_t count;
} tokens;

/* `name=word,word`. */
typedef struct named {
    const bytes *name;
    bytes *values;
    size_t count;
} named;

/* `cache: operation argument name=value => wanted`; points into its tokens. */
typedef struct statement {
    int line;
    tokens words;
    const bytes *cache; /* NULL: the first one */
    const bytes *operation;
    bytes *arguments;
    size_t n_arguments;
    named *options;
    size_t n_options;
    const token *wanted;
    size_t n_wanted;
} statement;

/* Appends a token with a copy of the text. */
void tokens_add(tokens *list, enum token_kind kind, const void *text, size_t len);
void tokens_free(tokens *list);

/* Prints tokens as a script would have them. */
void tokens_print(const token *items, size_t count);

/* Splits a line; NULL, or what is wrong with it. */
const char *tokens_read(const char *line, tokens *list);

/* Reads a step out of its tokens, from token `from`; NULL, or what is wrong. Takes the tokens over. */
const char *statement_read(tokens words, size_t from, int line, statement *step);
void statement_free(statement *step);

bool bytes_are(const bytes *text, const char *wanted);
bool token_is(const token *item, const char *text);

/* The option of that name, or NULL. */
const named *statement_option(const statement *step, const char *name);

/* Whether what came is what was wanted: ranges and scores have some room. */
bool tokens_match(const token *wanted, size_t n_wanted, const token *came, size_t n_came);

#endif
