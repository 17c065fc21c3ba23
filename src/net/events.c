// Server-sent events, read and written.
#include "net/events.h"

#include <string.h>

void mla_events_init(mla_events *events, size_t max, mla_event_sink sink, void *ctx) {
    *events = (mla_events){.sink = sink, .ctx = ctx};
    mla_buf_init(&events->line, max);
    mla_buf_init(&events->data, max);
}

void mla_events_clear(mla_events *events) {
    mla_buf_clear(&events->line);
    mla_buf_clear(&events->data);
}

static int dispatch(mla_events *e) {
    int rc = e->has_data ? e->sink(e->ctx, mla_buf_text(&e->data)) : 0;
    mla_buf_reset(&e->data);
    e->has_data = false;
    return rc != 0;
}

static int end_line(mla_events *e, mla_err *err) {
    const char *line = mla_buf_text(&e->line);
    int rc = 0;
    if (e->line.truncated) return mla_err_set(err, "a line of an event is too long");
    if (!*line) {
        rc = dispatch(e);
    } else if (!strncmp(line, "data", 4) && (line[4] == ':' || !line[4])) {
        const char *value = line[4] ? line + 5 : line + 4;
        if (e->has_data) mla_buf_puts(&e->data, "\n");
        mla_buf_puts(&e->data, *value == ' ' ? value + 1 : value);
        e->has_data = true;
        if (e->data.truncated) return mla_err_set(err, "an event is too long");
    }
    mla_buf_reset(&e->line);
    return rc;
}

int mla_events_feed(mla_events *e, const char *bytes, size_t len, mla_err *err) {
    for (size_t at = 0; at < len;) {
        if (e->after_cr && bytes[at] == '\n') at++;
        e->after_cr = false;
        size_t end = at;
        while (end < len && bytes[end] != '\n' && bytes[end] != '\r') end++;
        mla_buf_append(&e->line, bytes + at, end - at);
        if (end == len) return 0;
        e->after_cr = bytes[end] == '\r';
        at = end + 1;
        int rc = end_line(e, err);
        if (rc) return rc;
    }
    return 0;
}

void mla_events_write(mla_buf *out, const char *data) {
    for (;;) {
        size_t n = strcspn(data, "\n");
        mla_buf_puts(out, "data: ");
        mla_buf_append(out, data, n);
        mla_buf_puts(out, "\n");
        if (!data[n]) break;
        data += n + 1;
    }
    mla_buf_puts(out, "\n");
}
