// Names of tasks with patterns in them: `titanic-v*` stands for all that are there.
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/tasks.h"

typedef struct naming {
    char **items;                // [len], owned
    size_t len, cap;
} naming;

static void add_name(naming *names, const char *name) {
    for (size_t i = 0; i < names->len; i++) {
        if (strcmp(names->items[i], name) == 0) return;
    }
    MLA_GROW(names->items, names->cap, names->len + 1);
    names->items[names->len++] = mla_strdup(name);
}

static bool is_pattern(const char *name) {
    return strpbrk(name, "*?[") && !strchr(name, '/');
}

static int add_matches(naming *names, const char *root, const char *pattern, mla_err *err) {
    char **all;
    size_t n;
    if (!mla_fs_is_dir(root)) return 0;
    if (mla_task_list(root, &all, &n, err) < 0) return -1;
    for (size_t i = 0; i < n; i++) {
        if (fnmatch(pattern, all[i], FNM_PERIOD) == 0) add_name(names, all[i]);
    }
    mla_fs_names_free(all, n);
    return 0;
}

static int add_pattern(naming *names, const mla_options *o, const char *pattern, mla_err *err) {
    char *roots[] = {mla_options_tasks(o), mla_options_own_tasks(o), mla_options_variants(o)};
    size_t before = names->len;
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(roots); i++) {
        if (rc == 0) rc = add_matches(names, roots[i], pattern, err);
    }
    if (rc == 0 && names->len == before) {
        rc = mla_err_set(err, "no task is called like \"%s\" in %s, %s or %s; variants are made "
                         "with: mlagent tasks vary NAME", pattern, roots[0], roots[1], roots[2]);
    }
    for (size_t i = 0; i < MLA_COUNT(roots); i++) free(roots[i]);
    return rc;
}

int mla_task_names_expand(char ***names, size_t *count, const mla_options *o, mla_err *err) {
    naming out = {0};
    int rc = 0;
    bool any = false;
    for (size_t i = 0; i < *count; i++) any |= is_pattern((*names)[i]);
    for (size_t i = 0; any && rc == 0 && i < *count; i++) {
        if (is_pattern((*names)[i])) rc = add_pattern(&out, o, (*names)[i], err);
        else add_name(&out, (*names)[i]);
    }
    if (!any) return 0;
    if (rc < 0) {
        mla_fs_names_free(out.items, out.len);
        return -1;
    }
    mla_fs_names_free(*names, *count);
    *names = out.items;
    *count = out.len;
    return 0;
}
