// TensorBoard's event files. A frame is length (8 bytes, little-endian), masked CRC-32C of these,
// the data, masked CRC-32C of it (TensorFlow, lib/io/record_writer.h); the data is an Event message
// (tensorflow/core/util/event.proto) in protobuf's encoding.
#include "record/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define EVENT_MAX ((size_t)16 << 20)      // one of ours has some kilobytes
#define HEAD 12                           // length and its checksum
#define VERSION "brain.Event:2"

struct mla_tensorboard {
    int fd;
    char *path;
    off_t end;      // where the last whole event ends
};

static int fail(mla_err *err, const char *path, const char *doing) {
    return mla_err_set(err, "%s: cannot %s: %s", path, doing, strerror(errno));
}

// ---- checksums ---------------------------------------------------------------------------------

// CRC-32C (Castagnoli), bit by bit: an event has some kilobytes.
static uint32_t crc32c(const unsigned char *bytes, size_t len) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

// A checksum of data that holds checksums would be weak: TFRecord turns and shifts it.
static uint32_t masked(const void *bytes, size_t len) {
    uint32_t crc = crc32c(bytes, len);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_bytes(mla_buf *out, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) mla_buf_append(out, &(unsigned char){value >> 8 * i & 0xff}, 1);
}

static uint64_t get_bytes(const unsigned char *from, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)from[i] << 8 * i;
    return value;
}

// ---- protobuf ----------------------------------------------------------------------------------

enum { VARINT = 0, FIXED64 = 1, COUNTED = 2, FIXED32 = 5 };       // wire types

// Fields of Event, Summary and Summary.Value.
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5,
       SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2 };

static void put_varint(mla_buf *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_bytes(out, value | 0x80, 1);
    put_bytes(out, value, 1);
}

static void put_field(mla_buf *out, int field, int wire) {
    put_varint(out, (uint64_t)field << 3 | (unsigned)wire);
}

static void put_counted(mla_buf *out, int field, const void *bytes, size_t len) {
    put_field(out, field, COUNTED);
    put_varint(out, len);
    mla_buf_append(out, bytes, len);
}

static void put_scalar(mla_buf *summary, const char *tag, double value) {
    mla_buf one;
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    mla_buf_init(&one, EVENT_MAX);
    put_counted(&one, VALUE_TAG, tag, strlen(tag));
    put_field(&one, VALUE_SIMPLE, FIXED32);
    put_bytes(&one, bits, 4);
    put_counted(summary, SUMMARY_VALUE, mla_buf_text(&one), one.len);
    mla_buf_clear(&one);
}

static void put_head(mla_buf *event, double wall, long long step) {
    uint64_t bits;
    memcpy(&bits, &wall, sizeof bits);
    put_field(event, EVENT_WALL_TIME, FIXED64);
    put_bytes(event, bits, 8);
    if (!step) return;                    // as protobuf leaves out what is zero
    put_field(event, EVENT_STEP, VARINT);
    put_varint(event, (uint64_t)step);
}

// The value of one varint at `*at`, or false at the end of the data.
static bool get_varint(const unsigned char *data, size_t len, size_t *at, uint64_t *out) {
    *out = 0;
    for (int shift = 0; *at < len && shift < 64; shift += 7) {
        unsigned char byte = data[(*at)++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

// The step of an event of ours, 0 when it has none; -1 when the data is no such event.
static long long step_of(const unsigned char *data, size_t len) {
    uint64_t step = 0;
    size_t at = 9;
    if (len < at || data[0] != (EVENT_WALL_TIME << 3 | FIXED64)) return -1;
    if (at == len || data[at] != (EVENT_STEP << 3 | VARINT)) return 0;
    at++;
    return get_varint(data, len, &at, &step) && step <= INT64_MAX ? (long long)step : -1;
}

// ---- frames ------------------------------------------------------------------------------------

static int write_event(mla_tensorboard *b, const mla_buf *event, mla_err *err) {
    mla_buf frame;
    mla_buf_init(&frame, EVENT_MAX + 64);
    put_bytes(&frame, event->len, 8);
    put_bytes(&frame, masked(mla_buf_text(&frame), 8), 4);
    mla_buf_append(&frame, mla_buf_text(event), event->len);
    put_bytes(&frame, masked(mla_buf_text(event), event->len), 4);
    int rc = 0;
    if (lseek(b->fd, b->end, SEEK_SET) < 0 ||
        mla_fs_write_all(b->fd, mla_buf_text(&frame), frame.len, NULL) < 0) {
        rc = fail(err, b->path, "write an event");
        if (ftruncate(b->fd, b->end) < 0) mla_err_wrap(err, "half an event was left");
    } else {
        b->end += (off_t)frame.len;
    }
    mla_buf_clear(&frame);
    return rc;
}

// Where the whole event at the start of `data` ends, with its step; 0 when there is none.
static size_t event_at(const unsigned char *data, size_t len, long long *step) {
    if (len < HEAD) return 0;
    uint64_t n = get_bytes(data, 8);
    if (get_bytes(data + 8, 4) != masked(data, 8) || n > EVENT_MAX || n + HEAD + 4 > len) return 0;
    if (get_bytes(data + HEAD + n, 4) != masked(data + HEAD, (size_t)n)) return 0;
    *step = step_of(data + HEAD, (size_t)n);
    return *step < 0 ? 0 : (size_t)n + HEAD + 4;
}

static int cut(mla_tensorboard *b, long long last, mla_err *err) {
    mla_buf text;
    if (mla_fs_read(b->path, (size_t)4 << 30, &text, err) < 0) return -1;
    const unsigned char *data = (const unsigned char *)mla_buf_text(&text);
    size_t at = 0, n;
    long long step;
    while ((n = event_at(data + at, text.len - at, &step)) != 0 && step <= last) at += n;
    bool foreign = !at && text.len >= HEAD && get_bytes(data + 8, 4) != masked(data, 8);
    b->end = (off_t)at;
    mla_buf_clear(&text);
    if (foreign) {
        return mla_err_set(err, "%s: is no event file of TensorBoard's; remove it", b->path);
    }
    return ftruncate(b->fd, b->end) < 0 ? fail(err, b->path, "cut off its end") : 0;
}

static int write_version(mla_tensorboard *b, double wall, mla_err *err) {
    mla_buf event;
    mla_buf_init(&event, EVENT_MAX);
    put_head(&event, wall, 0);
    put_counted(&event, EVENT_VERSION, VERSION, strlen(VERSION));
    int rc = write_event(b, &event, err);
    mla_buf_clear(&event);
    return rc;
}

mla_tensorboard *mla_tensorboard_open(const char *path, long long last, double wall, mla_err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        fail(err, path, "open");
        return NULL;
    }
    mla_tensorboard *b = MLA_NEW(mla_tensorboard);
    b->fd = fd;
    b->path = mla_strdup(path);
    if (cut(b, last, err) == 0 && (b->end || write_version(b, wall, err) == 0)) return b;
    mla_tensorboard_close(b);
    return NULL;
}

static void put_numbers(mla_buf *summary, const json_t *object, const char *within,
                        const char *skip) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        char *tag = within ? mla_format("%s/%s", within, key) : mla_strdup(key);
        bool skipped = !within && skip && !strcmp(key, skip);
        if (json_is_number(value) && !skipped) put_scalar(summary, tag, json_number_value(value));
        if (json_is_object(value) && !within) put_numbers(summary, value, key, NULL);
        free(tag);
    }
}

int mla_tensorboard_append(mla_tensorboard *b, long long step, double wall, const json_t *object,
                           const char *skip, mla_err *err) {
    mla_buf event, summary;
    mla_buf_init(&event, EVENT_MAX);
    mla_buf_init(&summary, EVENT_MAX);
    put_numbers(&summary, object, NULL, skip);
    put_head(&event, wall, step);
    put_counted(&event, EVENT_SUMMARY, mla_buf_text(&summary), summary.len);
    MLA_ASSERT(!event.truncated && !summary.truncated);
    int rc = write_event(b, &event, err);
    mla_buf_clear(&event);
    mla_buf_clear(&summary);
    return rc;
}

void mla_tensorboard_close(mla_tensorboard *b) {
    if (!b) return;
    close(b->fd);
    free(b->path);
    free(b);
}
