// Runs a task's prepare.py in a staging folder, checks what it made, and moves it into place. The
// version file is the commit: removed before anything is replaced, written when all is in place.
// One preparation at a time under one home; what an interrupted one left in staging is removed by
// the next. The packages themselves are found by prepare.py, not here.
#include "task/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "task/csv.h"
#include "task/internal.h"
#include "task/trial.h"

#define MAX_OUTPUT ((size_t)4 << 20)
#define MAX_SECONDS 1800.0
#define MAX_FILES 100000
#define MAX_DEPTH 8

typedef struct names {
    char **items;
    size_t len, cap;
} names;

static void names_clear(names *list) {
    mla_fs_names_free(list->items, list->len);
    *list = (names){0};
}

static int collect(names *out, const char *root, const char *under, int depth, mla_err *err);

// One entry of a folder: its path below root goes into the list, a folder's files likewise.
static int collect_entry(names *out, const char *root, const char *path, int depth, mla_err *err) {
    struct stat st;
    char *full = mla_fs_join(root, path);
    int rc = 0;
    if (lstat(full, &st) < 0) {
        rc = mla_err_set(err, "%s: %s", full, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        rc = collect(out, root, path, depth + 1, err);
    } else if (!S_ISREG(st.st_mode)) {
        rc = mla_err_set(err, "%s: neither a file nor a folder", full);
    } else if (out->len == MAX_FILES) {
        rc = mla_err_set(err, "%s: more than %d files", root, MAX_FILES);
    } else {
        MLA_GROW(out->items, out->cap, out->len + 1);
        out->items[out->len++] = mla_strdup(path);
    }
    free(full);
    return rc;
}

static int collect(names *out, const char *root, const char *under, int depth, mla_err *err) {
    if (depth > MAX_DEPTH) return mla_err_set(err, "%s/%s: folders too deep", root, under);
    char *dir = mla_fs_join(root, under);
    char **entries;
    size_t count;
    int rc = mla_fs_list(dir, &entries, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char *path = under[0] ? mla_fs_join(under, entries[i]) : mla_strdup(entries[i]);
        rc = collect_entry(out, root, path, depth, err);
        free(path);
    }
    mla_fs_names_free(entries, count);
    free(dir);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The files below `root`, by their paths from it, sorted.
static int list_files(names *out, const char *root, mla_err *err) {
    *out = (names){0};
    if (collect(out, root, "", 0, err) < 0) {
        names_clear(out);
        return -1;
    }
    if (out->len > 0) qsort(out->items, out->len, sizeof *out->items, by_name);
    return 0;
}

static int add_hash(mla_buf *sums, const char *path, const char *name, mla_err *err) {
    char hex[65];
    if (mla_sha256_file(path, hex, err) < 0) return -1;
    mla_buf_printf(sums, "%s  %s\n", hex, name);
    return 0;
}

int mla__data_hash(const char *public_dir, const char *answers, char hex[65], mla_err *err) {
    names files;
    if (list_files(&files, public_dir, err) < 0) return -1;
    mla_buf sums;
    mla_buf_init(&sums, MAX_FILES * (size_t)1024);
    int rc = add_hash(&sums, answers, "answers.csv", err);
    for (size_t i = 0; rc == 0 && i < files.len; i++) {
        char *path = mla_fs_join(public_dir, files.items[i]);
        char *name = mla_fs_join("public", files.items[i]);
        rc = add_hash(&sums, path, name, err);
        free(name);
        free(path);
    }
    mla_sha256(mla_buf_text(&sums), sums.len, hex);
    mla_buf_clear(&sums);
    names_clear(&files);
    return rc;
}

static void add_lines(mla_buf *text, char *const *lines, size_t count) {
    for (size_t i = 0; i < count; i++) mla_buf_printf(text, "%s\n", lines[i]);
}

// What the data is made from: prepare.py, the common.py beside the tasks' folders where there is
// one, and those lines of task.yaml that they or the checks obey.
static int hash_source(const mla_task *task, char hex[65], mla_err *err) {
    char *script = mla_fs_join(task->dir, "prepare.py");
    char *common = mla_fs_join(task->dir, "../common.py");
    mla_buf text;
    mla_buf_init(&text, (size_t)1 << 20);
    int rc = add_hash(&text, script, "prepare.py", err);
    if (rc == 0 && mla_fs_exists(common)) rc = add_hash(&text, common, "common.py", err);
    mla_buf_printf(&text, "%s\n%s\n%zu %zu %d\n", mla_metric_name(task->metric), task->id_column,
                   task->target_count, task->class_count, task->splits);
    add_lines(&text, task->target_columns, task->target_count);
    add_lines(&text, task->classes, task->class_count);
    for (size_t i = 0; i < task->source.package_count; i++) {
        const mla_package *p = &task->source.packages[i];
        mla_buf_printf(&text, "%s\n%s\n%s\n%s\n%s\n", p->from, p->name, p->version, p->file,
                       p->sha256);
    }
    mla_sha256(mla_buf_text(&text), text.len, hex);
    mla_buf_clear(&text);
    free(common);
    free(script);
    return rc;
}

char *mla__last_line(const char *text) {
    size_t end = strlen(text);
    while (end > 0 && strchr(" \t\r\n", text[end - 1])) end--;
    size_t from = end;
    while (from > 0 && text[from - 1] != '\n' && text[from - 1] != '\r') from--;
    return mla_utf8_repair(text + from, end - from, NULL);
}

// A script that ends with status 1 and words has said why.
static int explain(const mla_proc_result *result, const char *output, const char *script,
                   mla_err *err) {
    char *line = mla__last_line(output);
    if (result->exit_code == 1 && line[0]) {
        mla_err_set(err, "prepare.py: %.800s", line);
    } else {
        mla_err_set(err, "%s: failed (%s %d): %.600s", script,
                    result->signal ? "signal" : "exit status",
                    result->signal ? result->signal : result->exit_code,
                    line[0] ? line : "it said nothing");
    }
    free(line);
    return -1;
}

// What a preparation is given besides the task.
typedef struct prepare_means {
    const char *python, *from;  // from: the download, or NULL
} prepare_means;

static int run_script(const mla_task *task, const char *staging, const char *packages,
                      const prepare_means *means, mla_err *err) {
    char *script = mla_fs_join(task->dir, "prepare.py");
    char *from = means->from ? mla__absolute(means->from) : NULL;
    char *argv[] = {(char *)means->python, "-B", script, "--out", (char *)staging, "--packages",
                    (char *)packages, from ? "--from" : NULL, from, NULL};
    mla_buf output;
    mla_buf_init(&output, MAX_OUTPUT);
    mla_proc_result result;
    int rc = mla_proc_run(argv, NULL, NULL, MAX_SECONDS, &output, &result, err);
    if (rc == 0 && result.stopped) {
        rc = mla_err_set(err, "stopped; what was there before is there still");
    } else if (rc == 0 && result.timed_out) {
        rc = mla_err_set(err, "%s: ran longer than %.0f s", script, MAX_SECONDS);
    } else if (rc == 0 && result.exit_code != 0) {
        rc = explain(&result, mla_buf_text(&output), script, err);
    }
    mla_buf_clear(&output);
    free(from);
    free(script);
    return rc;
}

// A file that any script can read: UTF-8, and each row as wide as the header.
static int check_csv(const char *path, mla_err *err) {
    mla_buf file;
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, err) < 0) return -1;
    mla__csv csv;
    size_t line = mla__csv_foreign_line(mla_buf_text(&file), file.len), rows = 0;
    mla__csv_init(&csv, mla_buf_text(&file), file.len);
    mla_buf_clear(&file);
    int rc = 1;
    while (!line && (rc = mla__csv_next(&csv, err)) > 0) rows++;
    if (rc < 0) mla_err_wrap(err, "%s", path);
    if (line) {
        rc = mla_err_set(err, "%s: line %zu is not UTF-8; have prepare.py write it with "
                         "encoding=\"utf-8\"", path, line);
    }
    if (rc == 0 && rows == 0) rc = mla_err_set(err, "%s: is empty", path);
    mla__csv_clear(&csv);
    return rc;
}

// test.csv must name its rows and must not hold what is to be predicted.
static int check_test(const mla_task *task, const char *path, mla_err *err) {
    mla_buf file;
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, err) < 0) return -1;
    mla__csv csv;
    mla__csv_init(&csv, mla_buf_text(&file), file.len);
    mla_buf_clear(&file);
    int rc = mla__csv_next(&csv, err);
    if (rc < 0) mla_err_wrap(err, "%s", path);
    if (rc == 0) rc = mla_err_set(err, "%s: is empty", path);
    if (rc > 0 && mla__csv_find(&csv, task->id_column) < 0) {
        rc = mla_err_set(err, "%s: has no column %s", path, task->id_column);
    }
    for (size_t i = 0; rc > 0 && i < task->target_count; i++) {
        if (mla__csv_find(&csv, task->target_columns[i]) == -1) continue;
        rc = mla_err_set(err, "%s: has the target column %s", path, task->target_columns[i]);
    }
    mla__csv_clear(&csv);
    return rc < 0 ? -1 : 0;
}

// The sample submission must be one that scores: the same ids as the answers, and its columns.
static int check_sample(const mla_answers *answers, size_t split, const char *path, mla_err *err) {
    mla_buf file;
    mla_halves scores;
    mla_err why = {0};
    int rc = mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, err);
    if (rc == 0 &&
        mla_score_submission(answers, split, mla_buf_text(&file), file.len, &scores, &why) < 0) {
        rc = mla_err_set(err, "%s: does not fit the answers: %s", path, why.text);
    }
    mla_buf_clear(&file);
    return rc;
}

// The files of one split, in `under` ("" or "split<i>/") of the public folder.
static int check_split(const mla_task *task, const mla_answers *answers, size_t split,
                       const char *public_dir, const char *under, mla_err *err) {
    static const char *const wanted[] = {"train.csv", "test.csv", "sample_submission.csv"};
    char *paths[MLA_COUNT(wanted)];
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(wanted); i++) {
        paths[i] = mla_format("%s/%s%s", public_dir, under, wanted[i]);
        if (rc == 0 && !mla_fs_exists(paths[i])) {
            rc = mla_err_set(err, "prepare.py made no public/%s%s", under, wanted[i]);
        }
        if (rc == 0) rc = check_csv(paths[i], err);
    }
    if (rc == 0) rc = check_test(task, paths[1], err);
    if (rc == 0) rc = check_sample(answers, split, paths[2], err);
    for (size_t i = 0; i < MLA_COUNT(wanted); i++) free(paths[i]);
    return rc;
}

static int check_made(const mla_task *task, const char *public_dir, const char *answers_path,
                      mla_err *err) {
    if (!mla_fs_exists(answers_path)) return mla_err_set(err, "prepare.py made no answers.csv");
    if (check_csv(answers_path, err) < 0) return -1;
    mla_task staged = *task;
    staged.answers_path = (char *)answers_path;
    mla_answers *answers = mla_answers_load(&staged, err);
    int rc = answers ? 0 : -1;
    for (int s = 0; rc == 0 && s < task->splits; s++) {
        char under[32] = "";
        if (task->splits > 1) snprintf(under, sizeof under, "split%d/", s);
        rc = check_split(task, answers, (size_t)s, public_dir, under, err);
    }
    mla_answers_free(answers);
    return rc;
}

// Sets a file's mode and waits until it is on the disk.
static int settle(const char *path, mode_t mode, mla_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd >= 0 && fchmod(fd, mode) == 0 && fsync(fd) == 0 ? 0 : -1;
    if (rc < 0) mla_err_set(err, "%s: cannot settle: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

int mla__data_settle(const char *public_dir, const char *answers, mla_err *err) {
    names files;
    if (list_files(&files, public_dir, err) < 0) return -1;
    int rc = settle(answers, 0600, err);
    for (size_t i = 0; rc == 0 && i < files.len; i++) {
        char *path = mla_fs_join(public_dir, files.items[i]);
        rc = settle(path, 0444, err);
        free(path);
    }
    names_clear(&files);
    return rc;
}

// The folders of a home that preparing touches.
typedef struct places {
    char *packages, *staging_root, *staging, *public_dir, *answers;
    char *data_root, *answers_root, *version_root, *version;
} places;

static places places_of(const mla_task *task, const char *home) {
    char *staging = mla_format("%s/staging/%s", home, task->name);
    return (places){
        .packages = mla_fs_join(home, "packages"),
        .staging_root = mla_fs_join(home, "staging"),
        .staging = staging,
        .public_dir = mla_fs_join(staging, "public"),
        .answers = mla_fs_join(staging, "answers.csv"),
        .data_root = mla_fs_join(home, "data"),
        .answers_root = mla_fs_join(home, "answers"),
        .version_root = mla_fs_join(home, "versions"),
        .version = mla__version_path(task, home),
    };
}

static void places_clear(places *p) {
    char *all[] = {p->packages, p->staging_root, p->staging, p->public_dir, p->answers,
                   p->data_root, p->answers_root, p->version_root, p->version};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static int make_folders(const places *p, mla_err *err) {
    const char *all[] = {p->packages, p->staging_root, p->data_root, p->answers_root,
                         p->version_root};
    for (size_t i = 0; i < MLA_COUNT(all); i++) {
        if (mla_fs_mkdirs(all[i], err) < 0) return -1;
    }
    if (chmod(p->answers_root, 0700) == 0) return 0;
    return mla_err_set(err, "%s: cannot make it private: %s", p->answers_root, strerror(errno));
}

static int remove_file(const char *path, mla_err *err) {
    if (unlink(path) == 0 || errno == ENOENT) return 0;
    return mla_err_set(err, "%s: cannot remove: %s", path, strerror(errno));
}

static int write_version(const mla_task *task, const char *path, const char *source,
                         const char *data, mla_err *err) {
    json_t *version = json_pack("{s:s, s:s, s:s}", "task", task->name, "source", source, "data",
                                data);
    MLA_ASSERT(version);
    int rc = mla_json_write_file(path, version, err);
    json_decref(version);
    return rc;
}

static int install(const mla_task *task, const places *p, const char *source, mla_err *err) {
    char data[65];
    if (mla__data_settle(p->public_dir, p->answers, err) < 0) return -1;
    if (mla__data_hash(p->public_dir, p->answers, data, err) < 0) return -1;
    if (remove_file(p->version, err) < 0) return -1;
    if (mla_fs_replace_dir(p->public_dir, task->prepared_dir, err) < 0) return -1;
    if (rename(p->answers, task->answers_path) < 0) {
        return mla_err_set(err, "%s: cannot rename to: %s", task->answers_path, strerror(errno));
    }
    return write_version(task, p->version, source, data, err);
}

// Whether the data there was made by this prepare.py and nobody touched it since.
static bool up_to_date(const mla_task *task, const places *p, const char *source) {
    json_t *version = mla_json_read_file(p->version, 1 << 16, NULL);
    if (!version) return false;
    char data[65];
    bool same = strcmp(mla_json_get_text(version, "source", ""), source) == 0 &&
                mla__data_hash(task->prepared_dir, task->answers_path, data, NULL) == 0 &&
                strcmp(mla_json_get_text(version, "data", ""), data) == 0;
    json_decref(version);
    return same;
}

static int make(const mla_task *task, const places *p, const prepare_means *means, mla_err *err) {
    char source[65];
    if (hash_source(task, source, err) < 0) return -1;
    if (mla_fs_remove_tree(p->staging, err) < 0) return -1;     // what a killed one has left
    bool keep = !means->from && mla_fs_exists(p->version);
    int installed = keep ? mla__wheels_install(task, means->python, err) : 0;
    if (installed < 0 || (keep && up_to_date(task, p, source))) return installed;
    if (mla_fs_mkdirs(p->staging, err) < 0) return -1;
    int rc = run_script(task, p->staging, p->packages, means, err);
    if (rc == 0) rc = check_made(task, p->public_dir, p->answers, err);
    if (rc == 0) rc = mla__wheels_install(task, means->python, err) < 0 ? -1 : 0;
    if (rc == 0) rc = install(task, p, source, err);
    mla_err ignored;
    if (mla_fs_remove_tree(p->staging, rc < 0 ? &ignored : err) < 0) rc = -1;
    return rc < 0 ? -1 : 1;
}

// A variant's data was derived from its task's and is only looked at.
static int check_variant(const mla_task *task, const places *p, mla_err *err) {
    json_t *version = mla_json_read_file(p->version, 1 << 16, NULL);
    char data[65];
    bool whole = version &&
                 mla__data_hash(task->prepared_dir, task->answers_path, data, NULL) == 0 &&
                 strcmp(mla_json_get_text(version, "data", ""), data) == 0;
    json_decref(version);
    if (whole) return 0;
    return mla_err_set(err, "its data is not there or not whole; make the variants of %s anew with "
                       "mlagent tasks vary", task->variant->of);
}

// Waits for another preparation under this home, unless the program is to stop.
static int wait_for_lock(int fd, const char *path, mla_err *err) {
    bool told = false;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return mla_err_set(err, "%s: cannot lock: %s", path, strerror(errno));
        }
        if (mla_stop_wanted()) return mla_err_set(err, "stopped");
        if (!told) mla_info("another preparation is under way in %s; waiting for it", path);
        told = true;
        usleep(100000);
    }
    return 0;
}

// prepare.py inherits the lock: should we be killed, the next preparation waits until it has ended
// too, or both would write into one staging folder.
static int make_locked(const mla_task *task, const places *p, const char *home,
                       const prepare_means *means, mla_err *err) {
    if (make_folders(p, err) < 0) return -1;
    mla_trial_sweep(home);
    int lock = open(p->staging_root, O_RDONLY | O_DIRECTORY);
    if (lock < 0) {
        return mla_err_set(err, "%s: cannot open: %s", p->staging_root, strerror(errno));
    }
    int rc = wait_for_lock(lock, p->staging_root, err);
    if (rc == 0) rc = make(task, p, means, err);
    close(lock);
    return rc;
}

int mla_task_prepare(const char *task_dir, const char *home, const char *python, mla_err *err) {
    return mla_task_prepare_from(task_dir, NULL, home, python, err);
}

int mla_task_prepare_from(const char *task_dir, const char *from, const char *home,
                          const char *python, mla_err *err) {
    mla_task *task = mla_task_load(task_dir, home, false, err);
    if (!task) return -1;
    char *root = mla__absolute(home);
    places p = places_of(task, root);
    const prepare_means means = {.python = python ? python : "python3", .from = from};
    int rc = task->variant ? check_variant(task, &p, err)
                           : make_locked(task, &p, root, &means, err);
    if (rc < 0) mla_err_wrap(err, "task %s", task->name);
    places_clear(&p);
    free(root);
    mla_task_free(task);
    return rc;
}
