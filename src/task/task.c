// Loads and checks tasks/<name>/task.yaml. Numbers are read as text and parsed here, strictly.
// The ideas are in ideas.c, the making of data in prepare.c.
#include "task/task.h"

#include <cyaml/cyaml.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "task/internal.h"

#define MAX_TASK_BYTES ((size_t)64 << 10)
#define MAX_TEXT 16384
#define MAX_PACKAGES 64
#define MAX_COLUMNS 1024        // targets or classes
#define MAX_SPLITS 100

// task.yaml as written: every scalar a text.
typedef struct yaml_halves {
    char *public_half, *private_half;
} yaml_halves;

typedef struct yaml_limits {
    char *seconds, *memory_mb;
} yaml_limits;

typedef struct yaml_task {
    char *name, *description, *metric, *direction, *id_column, *script, *split;
    char *target_column, **target_columns, **classes, *splits;      // any may be NULL
    unsigned target_count, class_count;
    yaml_limits limits;
    yaml_halves baseline, reference;
    mla_source source;
    mla_variant_origin *variant;                                    // may be NULL
} yaml_task;

#define TEXT(type, key, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 0, MAX_TEXT)

#define OPTIONAL_TEXT(type, key, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, MAX_TEXT)
#define OPTIONAL_TEXTS(type, key, member, count)                                                  \
    CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, count, \
                               &text_schema, 1, MAX_COLUMNS)

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, MAX_TEXT),
};

static const cyaml_schema_field_t halves_fields[] = {
    TEXT(yaml_halves, "public", public_half),
    TEXT(yaml_halves, "private", private_half),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t limits_fields[] = {
    TEXT(yaml_limits, "seconds", seconds),
    TEXT(yaml_limits, "memory_mb", memory_mb),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t package_fields[] = {
    TEXT(mla_package, "from", from),
    TEXT(mla_package, "name", name),
    TEXT(mla_package, "version", version),
    TEXT(mla_package, "file", file),
    TEXT(mla_package, "sha256", sha256),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t package_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, mla_package, package_fields),
};

static const cyaml_schema_field_t source_fields[] = {
    TEXT(mla_source, "mirrors", mirrors),
    TEXT(mla_source, "licence", licence),
    CYAML_FIELD_SEQUENCE_COUNT("packages", CYAML_FLAG_POINTER, mla_source, packages, package_count,
                               &package_schema, 0, MAX_PACKAGES),
    TEXT(mla_source, "notes", notes),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t variant_fields[] = {
    TEXT(mla_variant_origin, "of", of),
    TEXT(mla_variant_origin, "seed", seed),
    TEXT(mla_variant_origin, "recipe", recipe),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t task_fields[] = {
    TEXT(yaml_task, "name", name),
    TEXT(yaml_task, "description", description),
    TEXT(yaml_task, "metric", metric),
    TEXT(yaml_task, "direction", direction),
    TEXT(yaml_task, "id_column", id_column),
    OPTIONAL_TEXT(yaml_task, "target_column", target_column),
    OPTIONAL_TEXTS(yaml_task, "target_columns", target_columns, target_count),
    OPTIONAL_TEXTS(yaml_task, "classes", classes, class_count),
    TEXT(yaml_task, "script", script),
    TEXT(yaml_task, "split", split),
    OPTIONAL_TEXT(yaml_task, "splits", splits),
    CYAML_FIELD_MAPPING("limits", CYAML_FLAG_DEFAULT, yaml_task, limits, limits_fields),
    CYAML_FIELD_MAPPING("baseline", CYAML_FLAG_DEFAULT, yaml_task, baseline, halves_fields),
    CYAML_FIELD_MAPPING("reference", CYAML_FLAG_DEFAULT, yaml_task, reference, halves_fields),
    CYAML_FIELD_MAPPING("source", CYAML_FLAG_DEFAULT, yaml_task, source, source_fields),
    CYAML_FIELD_MAPPING_PTR("variant", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, yaml_task, variant,
                            variant_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t task_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, yaml_task, task_fields),
};

// A finite number, or an error that names the key.
static int read_number(const char *path, const char *key, const char *text, double *out,
                       mla_err *err) {
    if (mla__number_parse(text, out) && isfinite(*out)) return 0;
    return mla_err_set(err, "%s: %s: '%s' is not a finite number", path, key,
                       mla__show(text).text);
}

static int read_halves(const char *path, const char *key, yaml_halves from, mla_halves *out,
                       mla_err *err) {
    char name[32];
    snprintf(name, sizeof name, "%s.public", key);
    if (read_number(path, name, from.public_half, &out->public_half, err) < 0) return -1;
    snprintf(name, sizeof name, "%s.private", key);
    return read_number(path, name, from.private_half, &out->private_half, err);
}

static int read_limits(const char *path, const yaml_task *raw, mla_limits *out, mla_err *err) {
    double seconds, memory;
    if (read_number(path, "limits.seconds", raw->limits.seconds, &seconds, err) < 0) return -1;
    if (read_number(path, "limits.memory_mb", raw->limits.memory_mb, &memory, err) < 0) return -1;
    if (!(seconds > 0 && seconds <= 86400)) {
        return mla_err_set(err, "%s: limits.seconds: must be above 0 and at most 86400", path);
    }
    if (!(memory >= 1 && memory <= 1 << 24) || memory != floor(memory)) {
        return mla_err_set(err, "%s: limits.memory_mb: must be a whole number of MB from 1 to %d",
                           path, 1 << 24);
    }
    *out = (mla_limits){.seconds = seconds, .memory_mb = (int)memory};
    return 0;
}

// Which of two words a key has: 0 or 1, else -1 and the error.
static int read_choice(const char *path, const char *key, const char *text, const char *first,
                       const char *second, mla_err *err) {
    if (strcmp(text, first) == 0) return 0;
    if (strcmp(text, second) == 0) return 1;
    return mla_err_set(err, "%s: %s: '%s' is neither %s nor %s", path, key, mla__show(text).text,
                       first, second);
}

// A text that must say something on one line.
static int check_line(const char *path, const char *key, const char *text, mla_err *err) {
    if (text[0] == '\0') return mla_err_set(err, "%s: %s: is empty", path, key);
    if (strpbrk(text, "\r\n")) return mla_err_set(err, "%s: %s: has a line break", path, key);
    return 0;
}

// A column's name: a header's cells are read without the blanks around them.
static int check_column(const char *path, const char *key, const char *name, mla_err *err) {
    if (check_line(path, key, name, err) < 0) return -1;
    size_t last = strlen(name) - 1;
    if (strchr(" \t", name[0]) || strchr(" \t", name[last])) {
        return mla_err_set(err, "%s: %s: '%s' begins or ends with a blank", path, key,
                           mla__show(name).text);
    }
    return 0;
}

// Columns of the answers: the id's and the targets'.
static int check_own_column(const char *path, const char *key, const char *name, mla_err *err) {
    if (check_column(path, key, name, err) < 0) return -1;
    if (strcmp(name, "half") != 0 && strcmp(name, "split") != 0) return 0;
    return mla_err_set(err, "%s: %s: '%s' is the name of a column of the answers' own", path, key,
                       name);
}

// The columns that a submission has besides the id.
typedef struct columns {
    const char *key;            // of task.yaml
    char **names;               // [count]
    size_t count;
} columns;

static int check_distinct(const char *path, const char *id, columns c, mla_err *err) {
    mla__keys seen = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c.count; i++) {
        bool added;
        mla__keys_add(&seen, mla__key_label(c.names[i]), &added);
        if (!added) {
            rc = mla_err_set(err, "%s: %s: '%s' is there twice", path, c.key,
                             mla__show(c.names[i]).text);
        } else if (strcmp(id, c.names[i]) == 0) {
            rc = mla_err_set(err, "%s: %s: '%s' is the id_column too", path, c.key,
                             mla__show(id).text);
        }
    }
    mla__keys_clear(&seen);
    return rc;
}

// The targets as a list, whichever of the two keys they are under.
static columns targets_of(yaml_task *raw) {
    if (raw->target_columns) {
        return (columns){"target_columns", raw->target_columns, raw->target_count};
    }
    return (columns){"target_column", &raw->target_column, 1};
}

static int check_targets(const char *path, yaml_task *raw, mla_metric metric, mla_err *err) {
    if (!raw->target_column && !raw->target_columns) {
        return mla_err_set(err, "%s: missing key target_column (of several: target_columns)", path);
    }
    if (raw->target_column && raw->target_columns) {
        return mla_err_set(err, "%s: has both target_column and target_columns", path);
    }
    bool several = mla_metric_about(metric)->columns == MLA_COLUMNS_SEVERAL;
    columns targets = targets_of(raw);
    if (several != (raw->target_columns != NULL)) {
        return mla_err_set(err, "%s: %s: metric %s wants %s", path, targets.key,
                           mla_metric_name(metric), several ? "target_columns" : "target_column");
    }
    for (size_t i = 0; i < targets.count; i++) {
        if (check_own_column(path, targets.key, targets.names[i], err) < 0) return -1;
    }
    return check_distinct(path, raw->id_column, targets, err);
}

static int check_classes(const char *path, const yaml_task *raw, mla_metric metric, mla_err *err) {
    if (!raw->classes) return 0;
    if (mla_metric_about(metric)->columns != MLA_COLUMNS_ONE_OR_CLASSES) {
        return mla_err_set(err, "%s: classes: metric %s has none", path, mla_metric_name(metric));
    }
    if (raw->class_count < 2) return mla_err_set(err, "%s: classes: fewer than two", path);
    for (size_t i = 0; i < raw->class_count; i++) {
        if (check_column(path, "classes", raw->classes[i], err) < 0) return -1;
    }
    return check_distinct(path, raw->id_column,
                          (columns){"classes", raw->classes, raw->class_count}, err);
}

static int check_columns(const char *path, yaml_task *raw, mla_metric metric, mla_err *err) {
    if (check_own_column(path, "id_column", raw->id_column, err) < 0) return -1;
    if (check_targets(path, raw, metric, err) < 0) return -1;
    return check_classes(path, raw, metric, err);
}

static int read_splits(const char *path, const char *text, int *out, mla_err *err) {
    double splits = 1;
    if (text && read_number(path, "splits", text, &splits, err) < 0) return -1;
    if (!(splits >= 1 && splits <= MAX_SPLITS) || splits != floor(splits)) {
        return mla_err_set(err, "%s: splits: must be a whole number from 1 to %d", path,
                           MAX_SPLITS);
    }
    *out = (int)splits;
    return 0;
}

static int check_package(const char *path, size_t at, const mla_package *p, mla_err *err) {
    const char *keys[] = {"name", "version", "file"}, *texts[] = {p->name, p->version, p->file};
    char key[64];
    snprintf(key, sizeof key, "source.packages[%zu].from", at);
    if (read_choice(path, key, p->from, "pypi", "debian", err) < 0) return -1;
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "source.packages[%zu].%s", at, keys[i]);
        if (check_line(path, key, texts[i], err) < 0) return -1;
    }
    if (strlen(p->sha256) != 64 || strspn(p->sha256, "0123456789abcdef") != 64) {
        return mla_err_set(err, "%s: source.packages[%zu].sha256: is not 64 lower-case hex digits",
                           path, at);
    }
    return 0;
}

static int check_source(const char *path, const mla_source *source, mla_err *err) {
    if (check_line(path, "source.mirrors", source->mirrors, err) < 0) return -1;
    if (check_line(path, "source.licence", source->licence, err) < 0) return -1;
    for (size_t i = 0; i < source->package_count; i++) {
        if (check_package(path, i, &source->packages[i], err) < 0) return -1;
    }
    return 0;
}

// The reference must beat the starter script in both halves, or the reward would have no scale.
static int check_scores(const char *path, const mla_task *task, mla_err *err) {
    const double gains[] = {task->best.public_half - task->init.public_half,
                            task->best.private_half - task->init.private_half};
    const char *halves[] = {"public", "private"};
    for (int i = 0; i < 2; i++) {
        if (task->direction * gains[i] > 0) continue;
        return mla_err_set(err, "%s: reference.%s: is not better than baseline.%s, where %s is "
                           "better", path, halves[i], halves[i],
                           task->direction > 0 ? "higher" : "lower");
    }
    return 0;
}

static int check_names(const char *path, const char *dir, const yaml_task *raw, mla_err *err) {
    const char *folder = strrchr(dir, '/') + 1;
    if (!mla__is_name(raw->name)) {
        return mla_err_set(err, "%s: name: '%s' is not made of a-z, 0-9, '-' and '_'", path,
                           mla__show(raw->name).text);
    }
    if (strcmp(raw->name, folder) != 0) {
        return mla_err_set(err, "%s: name: '%s' is not the folder's name, '%s'", path, raw->name,
                           folder);
    }
    if (raw->description[0] == '\0') return mla_err_set(err, "%s: description: is empty", path);
    if (check_line(path, "script", raw->script, err) < 0) return -1;
    if (strchr(raw->script, '/') || raw->script[0] == '.') {
        return mla_err_set(err, "%s: script: '%s' is not a plain file name", path,
                           mla__show(raw->script).text);
    }
    return 0;
}

static int check_variant(const char *path, const yaml_task *raw, bool held_out, mla_err *err) {
    const mla_variant_origin *v = raw->variant;
    if (!v) return 0;
    if (!mla__is_name(v->of) || strcmp(v->of, raw->name) == 0) {
        return mla_err_set(err, "%s: variant.of: '%s' is not the name of another task", path,
                           mla__show(v->of).text);
    }
    if (held_out) {
        return mla_err_set(err, "%s: split: held-out, but it is a variant: nothing is varied of a "
                           "held-out task", path);
    }
    return check_line(path, "variant.recipe", v->recipe, err);
}

// Checks what was written and moves it into the task.
static int take_yaml(mla_task *task, const char *path, yaml_task *raw, mla_err *err) {
    int direction, split;
    if (check_names(path, task->dir, raw, err) < 0) return -1;
    if (mla_metric_read(raw->metric, &task->metric, err) < 0) {
        return mla_err_wrap(err, "%s: metric", path);
    }
    if (check_columns(path, raw, task->metric, err) < 0) return -1;
    if (read_splits(path, raw->splits, &task->splits, err) < 0) return -1;
    direction = read_choice(path, "direction", raw->direction, "higher", "lower", err);
    if (direction < 0) return -1;
    split = read_choice(path, "split", raw->split, "train", "held-out", err);
    if (split < 0) return -1;
    task->direction = direction == 0 ? 1 : -1;
    task->held_out = split == 1;
    if (read_limits(path, raw, &task->limits, err) < 0) return -1;
    if (read_halves(path, "baseline", raw->baseline, &task->init, err) < 0) return -1;
    if (read_halves(path, "reference", raw->reference, &task->best, err) < 0) return -1;
    if (check_scores(path, task, err) < 0) return -1;
    if (check_variant(path, raw, task->held_out, err) < 0) return -1;
    return check_source(path, &raw->source, err);
}

static void copy_source(mla_source *out, const mla_source *from) {
    *out = (mla_source){.mirrors = mla_strdup(from->mirrors), .licence = mla_strdup(from->licence),
                        .notes = mla_strdup(from->notes), .package_count = from->package_count};
    out->packages = MLA_NEW_ARRAY(mla_package, from->package_count + 1);
    for (size_t i = 0; i < from->package_count; i++) {
        const mla_package *p = &from->packages[i];
        out->packages[i] = (mla_package){
            .from = mla_strdup(p->from), .name = mla_strdup(p->name),
            .version = mla_strdup(p->version), .file = mla_strdup(p->file),
            .sha256 = mla_strdup(p->sha256),
        };
    }
}

// The texts [count], each copied; NULL of none.
static char **copy_list(char *const *texts, size_t count) {
    char **out = count > 0 ? MLA_NEW_ARRAY(char *, count) : NULL;
    for (size_t i = 0; i < count; i++) out[i] = mla_strdup(texts[i]);
    return out;
}

static void copy_columns(mla_task *task, yaml_task *raw) {
    columns targets = targets_of(raw);
    task->id_column = mla_strdup(raw->id_column);
    task->target_columns = copy_list(targets.names, targets.count);
    task->target_count = targets.count;
    task->classes = copy_list(raw->classes, raw->class_count);
    task->class_count = raw->class_count;
}

static void copy_variant(mla_task *task, const mla_variant_origin *from) {
    task->family = mla_strdup(from ? from->of : task->name);
    if (!from) return;
    task->variant = MLA_NEW(mla_variant_origin);
    *task->variant = (mla_variant_origin){.of = mla_strdup(from->of),
                                          .seed = mla_strdup(from->seed),
                                          .recipe = mla_strdup(from->recipe)};
}

static void copy_texts(mla_task *task, yaml_task *raw, const char *home) {
    task->name = mla_strdup(raw->name);
    task->description = mla_strdup(raw->description);
    copy_columns(task, raw);
    task->script = mla_strdup(raw->script);
    copy_source(&task->source, &raw->source);
    copy_variant(task, raw->variant);
    task->env_dir = mla_fs_join(task->dir, "env");
    if (!task->data_name) task->data_name = mla_strdup(raw->name);
    task->prepared_dir = mla_format("%s/data/%s", home, task->data_name);
    task->data_dir = mla_task_split_dir(task, 0);
    task->answers_path = mla_format("%s/answers/%s.csv", home, task->data_name);
}

static int check_script(const char *path, const mla_task *task, mla_err *err) {
    char *script = mla_fs_join(task->env_dir, task->script);
    bool there = mla_fs_exists(script) && !mla_fs_is_dir(script);
    free(script);
    if (there) return 0;
    return mla_err_set(err, "%s: script: there is no env/%s", path, task->script);
}

static int read_yaml(mla_task *task, const char *home, mla_err *err) {
    char *path = mla_fs_join(task->dir, "task.yaml");
    yaml_task *raw = mla_yaml_load(path, MAX_TASK_BYTES, &task_schema, err);
    int rc = raw ? take_yaml(task, path, raw, err) : -1;
    if (rc == 0) {
        copy_texts(task, raw, home);
        rc = check_script(path, task, err);
    }
    mla_yaml_free(&task_schema, raw);
    free(path);
    return rc;
}

char *mla__version_path(const mla_task *task, const char *home) {
    return mla_format("%s/versions/%s.json", home, task->data_name);
}

// The version file is written last and removed first: where it is, the data is whole.
static int read_version(mla_task *task, const char *home, bool need_data, mla_err *err) {
    char *path = mla__version_path(task, home);
    json_t *version = NULL;
    int rc = 0;
    if (mla_fs_exists(path)) {
        version = mla_json_read_file(path, 1 << 16, err);
        rc = version ? 0 : -1;
    }
    if (version) task->data_version = mla_strdup(mla_json_get_text(version, "data", NULL));
    if (rc == 0 && need_data &&
        !(task->data_version && mla_fs_is_dir(task->data_dir) &&
          mla_fs_exists(task->answers_path))) {
        rc = mla_err_set(err, "task %s: data not prepared; run: mlagent tasks prepare %s",
                         task->name, task->name);
    }
    json_decref(version);
    free(path);
    return rc;
}

char *mla__absolute(const char *path) {
    char *real = realpath(path, NULL);
    if (real) return real;
    if (path[0] == '/') return mla_strdup(path);
    char *cwd = realpath(".", NULL);
    char *full = mla_fs_join(cwd ? cwd : "", path);
    free(cwd);
    return full;
}

// data_name NULL: the task's own.
static mla_task *load(const char *dir, const char *home, const char *data_name, bool need_data,
                      mla_err *err) {
    mla_task *task = MLA_NEW(mla_task);
    task->data_name = mla_strdup(data_name);
    char *root = mla__absolute(home);
    task->dir = mla__absolute(dir);
    if (read_yaml(task, root, err) < 0 || mla__wheels_read(task, err) < 0 ||
        read_version(task, root, need_data, err) < 0) {
        mla_task_free(task);
        task = NULL;
    }
    free(root);
    return task;
}

mla_task *mla_task_load(const char *dir, const char *home, bool need_data, mla_err *err) {
    return load(dir, home, NULL, need_data, err);
}

mla_task *mla_task_load_on(const char *dir, const char *home, const char *data_name, mla_err *err) {
    return load(dir, home, data_name, true, err);
}

static void clear_source(mla_source *source) {
    for (size_t i = 0; i < source->package_count; i++) {
        mla_package *p = &source->packages[i];
        free(p->from);
        free(p->name);
        free(p->version);
        free(p->file);
        free(p->sha256);
    }
    free(source->packages);
    free(source->mirrors);
    free(source->licence);
    free(source->notes);
}

static void free_variant(mla_variant_origin *variant) {
    if (!variant) return;
    free(variant->of);
    free(variant->seed);
    free(variant->recipe);
    free(variant);
}

static void free_list(char **texts, size_t count) {
    for (size_t i = 0; i < count; i++) free(texts[i]);
    free(texts);
}

void mla_task_free(mla_task *task) {
    if (!task) return;
    clear_source(&task->source);
    free_variant(task->variant);
    free_list(task->target_columns, task->target_count);
    free_list(task->classes, task->class_count);
    char *texts[] = {task->name, task->family, task->description, task->id_column, task->script,
                     task->dir, task->env_dir, task->data_name, task->prepared_dir, task->data_dir,
                     task->answers_path, task->data_version, task->wheels};
    for (size_t i = 0; i < MLA_COUNT(texts); i++) free(texts[i]);
    free(task);
}

char *mla_task_split_dir(const mla_task *task, size_t split) {
    if (task->splits == 1) return mla_strdup(task->prepared_dir);
    return mla_format("%s/split%zu", task->prepared_dir, split);
}

char **mla_task_guess_columns(const mla_task *task, size_t *count) {
    *count = task->class_count > 0 ? task->class_count : task->target_count;
    return task->class_count > 0 ? task->classes : task->target_columns;
}

int mla_task_list(const char *tasks_root, char ***names, size_t *count, mla_err *err) {
    if (mla_fs_list(tasks_root, names, count, err) < 0) return -1;
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        char *path = mla_format("%s/%s/task.yaml", tasks_root, (*names)[i]);
        if (mla_fs_exists(path)) {
            (*names)[kept++] = (*names)[i];
        } else {
            free((*names)[i]);
        }
        free(path);
    }
    *count = kept;
    return 0;
}
