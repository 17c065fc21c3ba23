// Which idea of a task's pool an edit comes to. Words stand for meaning here: an idea is covered by
// an edit that brings in the same names and numbers, however it is laid out.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/internal.h"

#define LEAST_SHARE 0.5        // of the words of both that are common to them

// Words of a text, each once, sorted.
typedef struct {
    char **items;              // owned
    size_t len, cap;
} words;

static void words_clear(words *w) {
    for (size_t i = 0; i < w->len; i++) free(w->items[i]);
    free(w->items);
    *w = (words){0};
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static void add_line(words *w, const char *line, size_t n) {
    for (size_t at = 0, len; at < n; at += len ? len : 1) {
        len = 0;
        while (at + len < n && word_char(line[at + len])) len++;
        if (!len) continue;
        MLA_GROW(w->items, w->cap, w->len + 1);
        w->items[w->len++] = mla_strndup(line + at, len);
    }
}

static void sort_words(words *w) {
    if (!w->len) return;
    qsort(w->items, w->len, sizeof *w->items, by_text);
    size_t kept = 1;
    for (size_t i = 1; i < w->len; i++) {
        if (strcmp(w->items[i], w->items[kept - 1])) w->items[kept++] = w->items[i];
        else free(w->items[i]);
    }
    w->len = kept;
}

static bool holds(const words *w, const char *word) {
    return w->len && bsearch(&word, w->items, w->len, sizeof *w->items, by_text);
}

static bool begins(const char *line, const char *with) {
    return !strncmp(line, with, strlen(with));
}

// The words of the REPLACE parts that are not in the SEARCH parts.
static words new_words(const char *blocks) {
    words old = {0}, fresh = {0}, out = {0};
    words *into = NULL;
    for (const char *p = blocks; *p;) {
        size_t n = strcspn(p, "\n");
        if (begins(p, "<<<<<<<")) into = &old;
        else if (begins(p, "=======")) into = &fresh;
        else if (begins(p, ">>>>>>>")) into = NULL;
        else if (into) add_line(into, p, n);
        p += p[n] ? n + 1 : n;
    }
    sort_words(&old);
    sort_words(&fresh);
    for (size_t i = 0; i < fresh.len; i++) {
        if (holds(&old, fresh.items[i])) continue;
        MLA_GROW(out.items, out.cap, out.len + 1);
        out.items[out.len++] = mla_strdup(fresh.items[i]);
    }
    words_clear(&old);
    words_clear(&fresh);
    return out;
}

static double jaccard(const words *a, const words *b) {
    size_t both = 0;
    for (size_t i = 0; i < a->len; i++) both += holds(b, a->items[i]);
    size_t either = a->len + b->len - both;
    return either ? (double)both / (double)either : 0;
}

long mla__nearest_idea(const mla_ideas *ideas, const char *blocks) {
    words mine = new_words(blocks);
    double best = 0;
    long at = -1;
    for (size_t i = 0; i < ideas->len && mine.len; i++) {
        words theirs = new_words(ideas->items[i].blocks);
        double share = jaccard(&mine, &theirs);
        if (share >= LEAST_SHARE && share > best) {
            best = share;
            at = (long)i;
        }
        words_clear(&theirs);
    }
    words_clear(&mine);
    return at;
}
