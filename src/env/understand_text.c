// The description of a text that is neither a table nor a script: its size, the lines that match
// what is looked for, its head. The file is read once, piece by piece; only shown lines are kept.
#include <stdlib.h>
#include <string.h>

#include "env/internal.h"

#define HEAD_LINES 10
#define MATCH_LINES 12
#define LINE_KEPT 512          // bytes of a line in which words are looked for
#define LINE_SHOWN 160

typedef struct {
    const mla__words *words;
    mla_buf matches, head;
    char line[LINE_KEPT];
    size_t line_len;           // of the line at hand, the bytes kept
    bool begun;                // the line at hand has a byte
    size_t lines, bytes, matched;
    bool binary;
} reading;

static void end_line(reading *r) {
    r->lines++;
    bool match = mla__words_match(r->words, r->line, r->line_len);
    mla_buf *to[] = {match && r->matched < MATCH_LINES ? &r->matches : NULL,
                     r->lines <= HEAD_LINES ? &r->head : NULL};
    for (int i = 0; i < 2; i++) {
        if (!to[i]) continue;
        mla_buf_printf(to[i], "%4zu | ", r->lines);
        mla__add_plain(to[i], r->line, r->line_len, LINE_SHOWN);
        mla_buf_puts(to[i], "\n");
    }
    r->matched += match;
    r->line_len = 0;
    r->begun = false;
}

static void take(reading *r, const char *bytes, size_t n) {
    r->bytes += n;
    if (memchr(bytes, '\0', n)) r->binary = true;
    for (const char *p = bytes, *end = bytes + n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);
        size_t room = LINE_KEPT - r->line_len, kept = len < room ? len : room;
        memcpy(r->line + r->line_len, p, kept);
        r->line_len += kept;
        r->begun = true;
        if (nl) end_line(r);
        p += len + 1;
    }
}

static void say(const reading *r, const char *name, mla_buf *out) {
    if (r->binary) {
        mla_buf_printf(out, "%s: %zu bytes, not a text.\n", name, r->bytes);
        return;
    }
    mla_buf_printf(out, "%s: a text of %zu lines, %zu bytes.\n", name, r->lines, r->bytes);
    if (r->words->len) {
        mla_buf_printf(out, "Lines that match: %zu%s\n%s", r->matched,
                       r->matched > MATCH_LINES ? ", the first of them:" : "",
                       mla_buf_text(&r->matches));
    }
    if (r->lines) mla_buf_printf(out, "Its head:\n%s", mla_buf_text(&r->head));
}

void mla__understand_text(mla__source *source, const mla__words *words, mla_buf *out) {
    reading r = {.words = words};
    mla_buf_init(&r.matches, MLA__UNDERSTAND_MAX / 2);
    mla_buf_init(&r.head, MLA__UNDERSTAND_MAX / 2);
    char chunk[65536];
    for (size_t n; (n = mla__source_read(source, chunk, sizeof chunk));) take(&r, chunk, n);
    if (r.begun) end_line(&r);
    say(&r, source->name, out);
    mla_buf_clear(&r.matches);
    mla_buf_clear(&r.head);
}
