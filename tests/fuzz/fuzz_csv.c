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

// Every metric, then log loss over classes and several splits.
enum { BY_CLASS = MLA_METRIC_COUNT, SPLITS, FORMS };

static mla_task form_of(int form) {
    static char *columns[] = {"y", "z"}, *classes[] = {"0", "1"};
    mla_task task = {.id_column = "id", .target_columns = columns, .target_count = 1, .splits = 1};
    task.metric = form < MLA_METRIC_COUNT ? (mla_metric)form
                  : form == BY_CLASS      ? MLA_METRIC_LOG_LOSS
                                          : MLA_METRIC_MAE;
    if (mla_metric_about(task.metric)->columns == MLA_COLUMNS_SEVERAL) task.target_count = 2;
    if (form == BY_CLASS) {
        task.classes = classes;
        task.class_count = 2;
    }
    if (form == SPLITS) task.splits = 2;
    return task;
}

static mla_answers *load(int form, const char *text, size_t len) {
    char path[] = "/tmp/mla-fuzz-XXXXXX";
    mla_err err;
    int fd = mkstemp(path);
    MLA_ASSERT(fd >= 0 && mla_fs_write_all(fd, text, len, &err) == 0);
    close(fd);
    mla_task task = form_of(form);
    task.answers_path = path;
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

static void fuzz_submission(const mla_answers *answers, size_t split, const char *text,
                            size_t len) {
    mla_halves scores;
    mla_err why = {0};
    if (mla_score_submission(answers, split, text, len, &scores, &why) < 0) {
        MLA_ASSERT(why.text[0] != '\0' && !strpbrk(why.text, "\r\n"));
    } else {
        MLA_ASSERT(isfinite(scores.public_half) && isfinite(scores.private_half));
    }
}

static mla_answers *load_known(int form) {
    static const char truth[] = "id,y,z,half\n1,0,1,public\n2,1,0,public\na b,1,0,private\n"
                                "\"x,\",0,1,private\n";
    static const char split[] = "id,y,split,half\n1,0,0,public\n2,1,0,private\n1,2,1,private\n"
                                "\"x,\",3,1,public\n";
    const char *text = form == SPLITS ? split : truth;
    mla_answers *answers = load(form, text, strlen(text));
    MLA_ASSERT(answers);
    return answers;
}

// The first byte chooses what the rest is.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mla_answers *known[FORMS];
    for (int i = 0; i < FORMS && !known[i]; i++) known[i] = load_known(i);
    if (size == 0) return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    int form = data[0] % FORMS;
    size_t split = form == SPLITS && (data[0] & 0x40);
    fuzz_reader(text, len);
    fuzz_submission(known[form], split, text, len);
    mla_answers *answers = data[0] & 0x80 ? load(form, text, len) : NULL;
    if (answers) fuzz_submission(answers, split, text, len);
    mla_answers_free(answers);
    return 0;
}
