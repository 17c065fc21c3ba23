// Server-sent events (WHATWG HTML, section 9.2): a reader that takes bytes as they come, and a
// writer. Only the data of events; their names, ids and retry times are skipped.
#ifndef MLA_NET_EVENTS_H
#define MLA_NET_EVENTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

// The data of one event, its lines joined by '\n'. Not 0: enough, hang up.
typedef int (*mla_event_sink)(void *ctx, const char *data);

typedef struct mla_events {
    mla_buf line, data;
    bool has_data;          // the event that is being read has a data line
    bool after_cr;          // the last byte was '\r': a '\n' now belongs to it
    mla_event_sink sink;
    void *ctx;
} mla_events;

// max: ceiling in bytes of a line and of an event's data.
void mla_events_init(mla_events *events, size_t max, mla_event_sink sink, void *ctx);
void mla_events_clear(mla_events *events);
// 0; 1 when the sink has had enough; -1 when a line or an event is longer than the ceiling.
MLA_MUST_USE int mla_events_feed(mla_events *events, const char *bytes, size_t len, mla_err *err);
// Appends one event.
void mla_events_write(mla_buf *out, const char *data);

#endif
