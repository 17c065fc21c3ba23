// Understand File: what a data file, a script or any other text is, said in C without a model. What
// the agent looks for is plain words: they choose what is shown first and are never executed. What
// each kind of file gives is in understand_csv.c, understand_python.c and understand_text.c.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/internal.h"

size_t mla__source_read(mla__source *source, char *out, size_t room) {
    if (source->fd >= 0) {
        ssize_t got;
        do got = read(source->fd, out, room);
        while (got < 0 && errno == EINTR);
        if (got < 0) source->failed = errno;
        return got > 0 ? (size_t)got : 0;
    }
    size_t left = source->len - source->at, n = left < room ? left : room;
    memcpy(out, source->bytes + source->at, n);
    source->at += n;
    return n;
}

static void rewind_source(mla__source *source) {
    source->at = 0;
    if (source->fd >= 0 && lseek(source->fd, 0, SEEK_SET) < 0) source->failed = errno;
}

void mla__add_plain(mla_buf *out, const char *text, size_t len, size_t max) {
    size_t n = len;
    if (n > max) {
        n = max;
        while (n && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        mla_buf_append(out, c < ' ' || c == 127 ? " " : &text[i], 1);
    }
    if (n < len) mla_buf_puts(out, " ...");
}

// --- words -------------------------------------------------------------------------------------

static bool is_letter(char c) {
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

// Words that stand in any question say nothing about what is looked for.
static bool says_nothing(const char *word) {
    static const char *const common[] = {
        "a", "all", "an", "and", "any", "are", "at", "by", "column", "columns", "data", "do",
        "each", "file", "find", "for", "from", "have", "how", "in", "is", "it", "line", "lines",
        "many", "of", "on", "or", "script", "show", "that", "the", "there", "this", "to",
        "used", "value", "values", "what", "where", "which", "with"};
    for (size_t i = 0; i < MLA_COUNT(common); i++)
        if (strcmp(word, common[i]) == 0) return true;
    return false;
}

void mla__words_read(mla__words *words, const char *text) {
    *words = (mla__words){.len = 0};
    const char *p = text ? text : "";
    while (*p && words->len < MLA_COUNT(words->items)) {
        size_t n = 0;
        while (is_letter(p[n])) n++;
        char *word = mla_strndup(p, n);
        for (char *c = word; *c; c++) *c = (char)tolower((unsigned char)*c);
        if (n && !says_nothing(word)) words->items[words->len++] = word;
        else free(word);
        p += n ? n : 1;
    }
}

void mla__words_clear(mla__words *words) {
    for (size_t i = 0; i < words->len; i++) free(words->items[i]);
    words->len = 0;
}

// Whether a word stands in the text: a short one by itself, a longer one also inside another.
static bool stands_in(const char *word, const char *text, size_t len) {
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= len; at++) {
        if (strncasecmp(text + at, word, n)) continue;
        bool alone = (at == 0 || !is_letter(text[at - 1])) &&
                     (at + n == len || !is_letter(text[at + n]));
        if (alone || n > 2) return true;
    }
    return false;
}

bool mla__words_match(const mla__words *words, const char *text, size_t len) {
    for (size_t i = 0; i < words->len; i++)
        if (stands_in(words->items[i], text, len)) return true;
    return false;
}

// --- files -------------------------------------------------------------------------------------

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && !strcasecmp(name + n - m, end);
}

static void describe(mla__source *source, const mla__words *words, mla_buf *out) {
    bool table = ends_with(source->name, ".csv") || ends_with(source->name, ".tsv");
    if (table && mla__understand_csv(source, words, out) == 0) return;
    mla_buf_reset(out);
    rewind_source(source);
    if (ends_with(source->name, ".py") && source->fd < 0 && source->bytes) {
        mla__understand_python(source->name, source->bytes, source->len, words, out);
    } else {
        mla__understand_text(source, words, out);
    }
}

// Opens a named file of the state or the data folder; false when there is none.
static bool open_source(const mla__look *look, const char *name, mla__source *out) {
    *out = (mla__source){.name = name, .fd = -1};
    if (!name || !*name) return false;
    if (!strncmp(name, "data/", 5)) {
        out->fd = mla__data_open(look->task, name + 5);
        return out->fd >= 0;
    }
    const mla__file *file = mla__files_get(look->files, name);
    if (!file) return false;
    out->bytes = file->bytes;
    out->len = file->len;
    return true;
}

// A description that met its ceiling ends at a whole line.
static void end_cut(mla_buf *out) {
    if (!out->truncated) return;
    while (out->len && (out->len + 4 > out->max || out->data[out->len - 1] != '\n')) out->len--;
    out->data[out->len] = '\0';
    mla_buf_puts(out, "...");
}

char *mla__understand(const mla__look *look, bool *ok, mla_err *err) {
    const mla_action *action = look->action;
    char *name = mla__path_clean(action->inputs[0]);
    mla__source source;
    mla_buf out;
    mla_buf_init(&out, MLA__UNDERSTAND_MAX);
    *ok = open_source(look, name, &source);
    if (*ok) {
        mla__words words;
        mla__words_read(&words, action->inputs[1]);
        describe(&source, &words, &out);
        mla__words_clear(&words);
    } else {
        mla_buf_printf(&out, "There is no file \"%.100s\" that could be described.",
                       action->inputs[0]);
    }
    if (source.fd >= 0) close(source.fd);
    free(name);
    end_cut(&out);
    while (out.len && out.data[out.len - 1] == '\n') out.data[--out.len] = '\0';
    char *text = mla_utf8_repair(mla_buf_text(&out), out.len, NULL);
    mla_buf_clear(&out);
    if (!source.failed) return text;
    mla_err_set(err, "%s of task %s cannot be read: %s", action->inputs[0], look->task->name,
                strerror(source.failed));
    free(text);
    return NULL;
}
