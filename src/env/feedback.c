// What the agent reads after a run: what came of it, the public score and its change, and the ends
// of the script's streams. Each line of a stream is quoted ("| "), so that what a script prints
// cannot be taken for the environment's word or for an entry of a reply. It never sees the private
// half of a score.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/internal.h"

#define LINE_MAX_BYTES 200

void mla__feedback_cut(mla_buf *text, size_t max) {
    if (text->len <= max) return;
    while (max && ((unsigned char)text->data[max] & 0xC0) == 0x80) max--;
    text->data[text->len = max] = '\0';
}

// --- streams -----------------------------------------------------------------------------------

// Skips a terminal's escape sequence; p is at ESC.
static const char *skip_escape(const char *p) {
    p++;
    if (*p != '[') return *p ? p + 1 : p;
    p++;
    while (*p && (*p < '@' || *p > '~') && *p != '\n') p++;
    return *p && *p != '\n' ? p + 1 : p;
}

// One line as a terminal would leave it (a carriage return starts it anew), quoted.
static const char *clean_line(const char *p, mla_buf *line) {
    mla_buf_reset(line);
    mla_buf_puts(line, "| ");
    while (*p && *p != '\n') {
        unsigned char c = (unsigned char)*p;
        if (c == 0x1B) {
            p = skip_escape(p);
            continue;
        }
        if (c == '\r' && p[1] != '\n' && p[1]) {
            mla_buf_reset(line);
            mla_buf_puts(line, "| ");
        } else if (c == '\t') {
            mla_buf_puts(line, "    ");
        } else if (c >= ' ' && c != 127) {
            mla_buf_append(line, p, 1);
        }
        p++;
    }
    if (line->len > LINE_MAX_BYTES) {
        mla__feedback_cut(line, LINE_MAX_BYTES);
        mla_buf_puts(line, " ...");
    }
    mla_buf_puts(line, "\n");
    return *p ? p + 1 : p;
}

typedef struct {
    char **items;
    size_t len, cap, bytes;
} quoted;

static quoted quote(const char *stream) {
    quoted q = {0};
    mla_buf line;
    mla_buf_init(&line, MLA__STREAM_MAX * 4 + 16);
    for (const char *p = stream ? stream : ""; *p;) {
        p = clean_line(p, &line);
        if (line.len <= 3) continue;       // blank lines say nothing
        MLA_GROW(q.items, q.cap, q.len + 1);
        q.bytes += line.len;
        q.items[q.len++] = mla_strndup(mla_buf_text(&line), line.len);
    }
    mla_buf_clear(&line);
    return q;
}

static void quoted_clear(quoted *q) {
    for (size_t i = 0; i < q->len; i++) free(q->items[i]);
    free(q->items);
}

// All lines if they fit into `room` bytes; else a quarter of it from the start, the rest from the
// end, where results and exceptions stand.
static void add_quoted(mla_buf *out, const quoted *q, size_t room) {
    size_t head = 0, tail = q->len, used = 0;
    if (q->bytes > room) {
        room = room > 40 ? room - 40 : 0;
        while (head < tail && used + strlen(q->items[head]) <= room / 4) {
            used += strlen(q->items[head++]);
        }
        while (tail > head && used + strlen(q->items[tail - 1]) <= room) {
            used += strlen(q->items[--tail]);
        }
    } else {
        head = tail;
    }
    for (size_t i = 0; i < head; i++) mla_buf_puts(out, q->items[i]);
    if (tail > head) mla_buf_printf(out, "| ... (%zu lines left out)\n", tail - head);
    for (size_t i = tail; i < q->len; i++) mla_buf_puts(out, q->items[i]);
}

static void add_stream(mla_buf *out, const char *title, const quoted *q, size_t room) {
    if (!q->len) return;
    mla_buf_puts(out, title);
    add_quoted(out, q, room);
}

// Both streams within the ceiling; the less telling one gets at most a third.
static void add_streams(mla_buf *out, const mla__result *result) {
    quoted o = quote(result->out), e = quote(result->err);
    const size_t titles = 60;
    size_t taken = out->len + titles;
    size_t room = taken < MLA__FEEDBACK_MAX ? MLA__FEEDBACK_MAX - taken : 0;
    bool ran = result->outcome == MLA_OUTCOME_OK;
    const quoted *minor = ran ? &e : &o;
    size_t minor_room = minor->bytes < room / 3 ? minor->bytes : room / 3;
    size_t major_room = room - minor_room;
    add_stream(out, "Printed by the script:\n", &o, ran ? major_room : minor_room);
    add_stream(out, "Its errors and warnings:\n", &e, ran ? minor_room : major_room);
    quoted_clear(&o);
    quoted_clear(&e);
}

// --- outcome and score -------------------------------------------------------------------------

// No seconds: the same run must read the same on any day, or the same seed would not give the same
// trajectory. A run that comes near its limit is told so.
static void add_haste(mla_buf *out, const mla_task *task, double seconds) {
    if (seconds > task->limits.seconds / 2 * task->splits) {
        mla_buf_printf(out, ", taking more than half of its time limit of %.0f s",
                       task->limits.seconds);
    }
}

static void add_outcome(mla_buf *out, const mla_task *task, const mla__result *r) {
    const char *type = r->error_type ? r->error_type : "an error";
    switch (r->outcome) {
    case MLA_OUTCOME_OK:
        mla_buf_puts(out, "The script ran");
        add_haste(out, task, r->seconds);
        mla_buf_puts(out, ".");
        break;
    case MLA_OUTCOME_NO_SUBMISSION:
        mla_buf_puts(out, "The script ran, but wrote no submission.csv: no score.");
        break;
    case MLA_OUTCOME_BAD_SUBMISSION:
        mla_buf_printf(out, "The script ran, but its submission.csv cannot be scored: %s.", type);
        break;
    case MLA_OUTCOME_TIME_OUT:
        mla_buf_printf(out, "The script was stopped at its time limit of %.0f s: no score.",
                       task->limits.seconds);
        break;
    case MLA_OUTCOME_OUT_OF_MEMORY:
        mla_buf_printf(out, "The script was stopped at its memory limit of %d MB: no score.",
                       task->limits.memory_mb);
        break;
    case MLA_OUTCOME_SANDBOX_FAILED:
        mla_buf_printf(out, "The script could not be run (%s); this is not its fault. Nothing "
                       "changed.", r->error_type ? r->error_type : "the sandbox failed");
        break;
    case MLA_OUTCOME_KILLED:
        mla_buf_printf(out, "The script was killed by %s: no score.",
                       r->error_type ? r->error_type : "a signal");
        break;
    default:
        mla_buf_printf(out, "The script failed with %s: no score.", type);
    }
}

char *mla__feedback_score(const mla_task *task, double score) {
    if (!isfinite(score)) return mla_strdup("none yet");
    return mla_format("%.6g (%s, %s is better)", score, mla_metric_name(task->metric),
                      task->direction > 0 ? "higher" : "lower");
}

static void add_score(mla_buf *out, const mla_task *task, double score, const mla_state *before,
                      const mla_state *after) {
    char *text = mla__feedback_score(task, score);
    mla_buf_printf(out, "\nScore: %s.", text);
    free(text);
    if (isfinite(before->score)) {
        double change = score - before->score;
        if (change == 0) {
            mla_buf_puts(out, " It was the same before.");
        } else {
            mla_buf_printf(out, " Before: %.6g, so it is %s by %.3g.", before->score,
                           change * task->direction > 0 ? "better" : "worse", fabs(change));
        }
    }
    if (isfinite(after->best)) mla_buf_printf(out, " Best so far: %.6g.", after->best);
}

// A diff, quoted like the streams: it holds what others wrote.
static void add_change(mla_buf *out, const char *change) {
    if (!*change) return;
    quoted q = quote(change);
    mla_buf_puts(out, "The change:\n");
    for (size_t i = 0; i < q.len; i++) mla_buf_puts(out, q.items[i]);
    quoted_clear(&q);
}

char *mla__feedback_run(const mla_task *task, const char *did, const char *change,
                        const mla__result *result, const mla_state *before,
                        const mla_state *after) {
    mla_buf out;
    mla_buf_init(&out, MLA__FEEDBACK_MAX);
    mla_buf_printf(&out, "%.200s%s", did, *did ? " " : "");
    add_outcome(&out, task, result);
    if (result->outcome == MLA_OUTCOME_OK) {
        add_score(&out, task, result->score.public_half, before, after);
    }
    mla_buf_puts(&out, "\n");
    add_change(&out, change);
    add_streams(&out, result);
    while (out.len && out.data[out.len - 1] == '\n') out.data[--out.len] = '\0';
    char *text = mla_utf8_repair(mla_buf_text(&out), out.len, NULL);
    mla_buf_clear(&out);
    return text;
}
