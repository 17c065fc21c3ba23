// Fuzzes the CSV reader, the scorer and `tasks new`: any bytes as a submission must give a score or
// a reason of one line, any bytes as answers are either refused or score themselves, and any bytes
// as a person's data are refused in one line or become a task that can be read. libFuzzer, by `make
// fuzz`.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/csv.h"
#include "task/new.h"
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

static void put(const char *dir, const char *name, const char *text, size_t len) {
    mla_err err;
    char *path = mla_fs_join(dir, name);
    FILE *file = fopen(path, "wb");
    MLA_ASSERT(file && mla_fs_write_all(fileno(file), text, len, &err) == 0);
    fclose(file);
    free(path);
}

static void make_task(const char *root, const mla_new_task *task) {
    mla_new_facts facts;
    mla_err err = {0};
    char *made = mla_fs_join(root, "made");
    if (mla_new_task_write(task, made, &facts, &err) < 0) {
        MLA_ASSERT(err.text[0] != '\0' && !strpbrk(err.text, "\r\n"));
    } else {
        mla_task *read = mla_task_load(made, root, false, &err);
        MLA_ASSERT(read && facts.rows >= 20);
        mla_task_free(read);
    }
    free(made);
}

// The bytes as a CSV file, or, with a NUL in them, as a folder's train.csv and test.csv.
static void fuzz_new(int form, const char *text, size_t len) {
    char root[] = "/tmp/mla-fuzz-XXXXXX";
    mla_err err;
    MLA_ASSERT(mkdtemp(root));
    const char *cut = memchr(text, '\0', len);
    char *source = cut ? mla_strdup(root) : mla_fs_join(root, "train.csv");
    size_t train = cut ? (size_t)(cut - text) : len;
    put(root, "train.csv", text, train);
    if (cut) put(root, "test.csv", cut + 1, len - train - 1);
    if (cut) put(root, "train.py", "", 0);
    const mla_new_task task = {.source = source, .script = "train.py", .target = "y", .id = "id",
                               .metric = form_of(form).metric, .seconds = 10, .memory_mb = 512};
    make_task(root, &task);
    MLA_ASSERT(mla_fs_remove_tree(root, &err) == 0);
    free(source);
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
    if (data[0] & 0x20) fuzz_new(form, text, len);
    mla_answers *answers = data[0] & 0x80 ? load(form, text, len) : NULL;
    if (answers) fuzz_submission(answers, split, text, len);
    mla_answers_free(answers);
    return 0;
}
