// Fuzzes the readers of other programs' conversations: any bytes as a file give records or reasons
// of one line; what is read as a conversation is written in a form that reads back as the same.
// libFuzzer, by `make fuzz`.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/records.h"
#include "collect/talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_line(const char *text) {
    MLA_ASSERT(text[0] != '\0' && !strpbrk(text, "\r\n"));
}

static void assert_same(const json_t *a, const json_t *b) {
    char *x = mla_json_line(a), *y = mla_json_line(b);
    MLA_ASSERT(strcmp(x, y) == 0);
    free(x);
    free(y);
}

// ShareGPT has no weights: without such turns the form holds all.
static void come_back(const mla_talk *talk, mla_data_format format) {
    for (size_t i = 0; format == MLA_FORMAT_SHAREGPT && i < talk->n_turns; i++) {
        if (talk->turns[i].role == MLA_ROLE_ASSISTANT && !talk->turns[i].learn) return;
    }
    json_t *written = mla_talk_write(talk, format);
    mla_talk again;
    mla_err err = {{0}};
    MLA_ASSERT(mla_talk_read(&again, written, &err) == 0);
    MLA_ASSERT(again.n_turns == talk->n_turns && mla_talk_begins(talk, &again));
    json_t *twice = mla_talk_write(&again, format);
    assert_same(written, twice);
    json_decref(written);
    json_decref(twice);
    mla_talk_clear(&again);
}

static void make_steps(const mla_talk *talk) {
    size_t k = 0;
    for (size_t i = 0; i < talk->n_turns; i++) {
        if (!talk->turns[i].learn) continue;
        mla_step step;
        mla_err err = {{0}};
        if (mla_talk_step(talk, &talk->turns[i], k++, "name", &step, &err) == 0) {
            MLA_ASSERT(strcmp(step.text, talk->turns[i].text) == 0 && !step.action_ids);
            mla_step_clear(&step);
        } else {
            MLA_ASSERT(err.text[0] != '\0');
        }
    }
}

static int take(void *ctx, size_t number, const json_t *record, const char *why, mla_err *err) {
    (void)err;
    size_t *last = ctx;
    MLA_ASSERT(number > *last);
    *last = number;
    mla_err bad = {{0}};
    mla_talk talk;
    if (!record) {
        assert_line(why);
    } else if (mla_talk_read(&talk, record, &bad) < 0) {
        MLA_ASSERT(bad.text[0] != '\0');
    } else {
        come_back(&talk, MLA_FORMAT_SHAREGPT);
        if (!talk.steps) come_back(&talk, MLA_FORMAT_OPENAI);
        make_steps(&talk);
        mla_talk_clear(&talk);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    size_t last = 0, bytes = 0;
    mla_err err = {{0}};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    MLA_ASSERT(fd >= 0 && mla_fs_write_all(fd, data, size, &err) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (mla__records_read(path, take, &last, &bytes, &err) < 0) assert_line(err.text);
    MLA_ASSERT(bytes <= size);
    close(fd);
    return 0;
}
