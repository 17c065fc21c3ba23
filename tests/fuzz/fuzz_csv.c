// Fuzzes the CSV reader and the scorer: any bytes as a submission must give a score or a reason of
// one line, and any bytes as answers are either refused or score themselves. libFuzzer, by `make
// fuzz`.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "task/csv.h"
#include "task/score.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mla_answers *load(mla_metric metric, const char *text, size_t len) {
    char path[] = "/tmp/mla-fuzz-XXXXXX";
    mla_err err;
    int fd = mkstemp(path);
    MLA_ASSERT(fd >= 0 && mla_fs_write_all(fd, text, len, &err) == 0);
    close(fd);
    mla_task task = {.metric = metric, .id_column = "id", .target_column = "y",
                     .answers_path = path};
    mla_answers *answers = mla_answers_load(&task, &err);
    unlink(path);
    return answers;
}

static void fuzz_reader(const char *text, size_t len) {
    mla__csv csv;
    mla_err err = {0};
    mla__csv_init(&csv, text, len);
    int rc;
    while ((rc = mla__csv_next(&csv, &err)) > 0) {
        MLA_ASSERT(csv.count == csv.columns);
        for (size_t i = 0; i < csv.count; i++) {
            MLA_ASSERT(strlen(csv.cells[i].text) == csv.cells[i].len);
        }
    }
    MLA_ASSERT(rc == 0 || err.text[0] != '\0');
    mla__csv_clear(&csv);
}

static void fuzz_submission(const mla_answers *answers, const char *text, size_t len) {
    mla_halves scores;
    mla_err why = {0};
    if (mla_score_submission(answers, text, len, &scores, &why) < 0) {
        MLA_ASSERT(why.text[0] != '\0' && !strpbrk(why.text, "\r\n"));
    } else {
        MLA_ASSERT(isfinite(scores.public_half) && isfinite(scores.private_half));
    }
}

// The first byte chooses what the rest is.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mla_answers *known[MLA_METRIC_COUNT];
    static const char truth[] = "id,y,half\n1,0,public\n2,1,public\na b,1,private\n"
                                "\"x,\",0,private\n";
    for (int i = 0; i < MLA_METRIC_COUNT && !known[i]; i++) {
        known[i] = load((mla_metric)i, truth, strlen(truth));
    }
    if (size == 0) return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    mla_metric metric = (mla_metric)(data[0] % MLA_METRIC_COUNT);
    fuzz_reader(text, len);
    fuzz_submission(known[metric], text, len);
    mla_answers *answers = data[0] & 0x80 ? load(metric, text, len) : NULL;
    if (answers) fuzz_submission(answers, text, len);
    mla_answers_free(answers);
    return 0;
}
