// Server-sent events: what is written is read again, however the bytes are cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/events.h"

static int collect(void *ctx, const char *data) {
    mla_buf *out = ctx;
    mla_buf_printf(out, "[%s]", data);
    return strcmp(data, "enough") == 0;
}

// Feeds `text` cut into pieces of `piece` bytes; returns what the last feed returned.
static int feed(const char *text, size_t piece, size_t max, mla_buf *out) {
    mla_err err = {{0}};
    mla_events events;
    mla_events_init(&events, max, collect, out);
    int rc = 0;
    for (size_t at = 0, len = strlen(text); at < len && rc == 0; at += piece) {
        rc = mla_events_feed(&events, text + at, len - at < piece ? len - at : piece, &err);
    }
    assert_true(rc >= 0 || err.text[0]);
    mla_events_clear(&events);
    return rc;
}

static void check(const char *text, const char *wanted) {
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        mla_buf out;
        mla_buf_init(&out, 4096);
        assert_int_equal(feed(text, piece, 1024, &out), 0);
        assert_string_equal(mla_buf_text(&out), wanted);
        mla_buf_clear(&out);
    }
}

static void events_are_read_however_they_are_cut(void **state) {
    (void)state;
    check("data: one\n\ndata:two\n\n", "[one][two]");
    check("data: a\ndata: b\n\n", "[a\nb]");
    check("data: x\r\n\r\ndata: y\r\r", "[x][y]");
    check(": a comment\nevent: e\nid: 7\nretry: 3\ndata:  kept\n\n", "[ kept]");
    check("\n\n\ndata\n\n", "[]");
    check("database: no\n\ndata: unfinished\n", "");
}

static void the_sink_can_have_enough(void **state) {
    (void)state;
    mla_buf out;
    mla_buf_init(&out, 4096);
    assert_int_equal(feed("data: enough\n\ndata: more\n\n", 100, 1024, &out), 1);
    assert_string_equal(mla_buf_text(&out), "[enough]");
    mla_buf_clear(&out);
}

static void what_is_too_long_is_an_error(void **state) {
    (void)state;
    mla_buf out;
    mla_buf_init(&out, 4096);
    assert_int_equal(feed("data: 0123456789\n\n", 3, 10, &out), -1);
    assert_int_equal(feed("data: 01\ndata: 02\ndata: 03\ndata: 45\n\n", 5, 10, &out), -1);
    assert_int_equal(out.len, 0);
    assert_int_equal(feed("data: 0123\n\n", 3, 10, &out), 0);
    assert_string_equal(mla_buf_text(&out), "[0123]");
    mla_buf_clear(&out);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    mla_buf text;
    mla_buf_init(&text, 4096);
    mla_events_write(&text, "{\"a\": 1}");
    mla_events_write(&text, "two\n\nlines");
    mla_events_write(&text, "");
    check(mla_buf_text(&text), "[{\"a\": 1}][two\n\nlines][]");
    mla_buf_clear(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_read_however_they_are_cut),
        cmocka_unit_test(the_sink_can_have_enough),
        cmocka_unit_test(what_is_too_long_is_an_error),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
