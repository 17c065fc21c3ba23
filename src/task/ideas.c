// Loads and checks tasks/<name>/ideas.yaml: what to try on a training task and the edit that does
// it. Whether the edits apply to the starter script is for those who apply edits to say.
#include <cyaml/cyaml.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/internal.h"

#define MAX_IDEAS_BYTES ((size_t)8 << 20)
#define MAX_IDEAS 4096
#define MAX_TEXT ((uint32_t)64 << 10)
#define MAX_AFTER 16

#define TEXT(key, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, mla_idea, member, 0, MAX_TEXT)

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, MAX_TEXT),
};

static const cyaml_schema_field_t idea_fields[] = {
    TEXT("id", id),
    TEXT("family", family),
    TEXT("text", text),
    TEXT("why", why),
    TEXT("edit", blocks),
    CYAML_FIELD_SEQUENCE_COUNT("after", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, mla_idea, after,
                               n_after, &text_schema, 1, MAX_AFTER),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t idea_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, mla_idea, idea_fields),
};

static const cyaml_schema_field_t file_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("ideas", CYAML_FLAG_POINTER, mla_ideas, items, len, &idea_schema, 0,
                               MAX_IDEAS),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, mla_ideas, file_fields),
};

static int check_idea(const char *path, size_t at, const mla_idea *idea, mla_err *err) {
    const char *keys[] = {"family", "text", "why", "edit"};
    const char *texts[] = {idea->family, idea->text, idea->why, idea->blocks};
    if (!mla__is_name(idea->id)) {
        return mla_err_set(err, "%s: ideas[%zu].id: '%s' is not made of a-z, 0-9, '-' and '_'",
                           path, at, mla__show(idea->id).text);
    }
    for (int i = 0; i < 4; i++) {
        if (texts[i][0] != '\0') continue;
        return mla_err_set(err, "%s: ideas[%zu].%s: is empty (idea '%s')", path, at, keys[i],
                           idea->id);
    }
    return 0;
}

// An idea builds only on such as stand above it, so that none can need itself.
static int check_after(const char *path, const mla_ideas *ideas, size_t at, mla_err *err) {
    const mla_idea *idea = &ideas->items[at];
    for (size_t i = 0; i < idea->n_after; i++) {
        size_t found = mla_ideas_find(ideas, idea->after[i]);
        if (found < at) continue;
        return mla_err_set(err, "%s: ideas[%zu].after: '%s' is %s (idea '%s')", path, at,
                           mla__show(idea->after[i]).text,
                           found < ideas->len ? "not above it: move it there" : "no idea's id",
                           idea->id);
    }
    return 0;
}

static int check_ideas(const char *path, const mla_ideas *ideas, mla_err *err) {
    mla__keys ids = {0};
    int rc = ideas->len > 0 ? 0 : mla_err_set(err, "%s: ideas: the list is empty", path);
    for (size_t i = 0; rc == 0 && i < ideas->len; i++) {
        const mla_idea *idea = &ideas->items[i];
        bool added = true;
        rc = check_idea(path, i, idea, err);
        if (rc == 0) mla__keys_add(&ids, mla__key_text(idea->id), &added);
        if (!added) {
            rc = mla_err_set(err, "%s: ideas[%zu].id: '%s' is there twice", path, i, idea->id);
        }
        if (rc == 0) rc = check_after(path, ideas, i, err);
    }
    mla__keys_clear(&ids);
    return rc;
}

static char **copy_texts(char *const *texts, size_t n) {
    char **out = n ? MLA_NEW_ARRAY(char *, n) : NULL;
    for (size_t i = 0; i < n; i++) out[i] = mla_strdup(texts[i]);
    return out;
}

static void copy_ideas(mla_ideas *out, const mla_ideas *from) {
    out->items = MLA_NEW_ARRAY(mla_idea, from->len);
    out->len = from->len;
    for (size_t i = 0; i < from->len; i++) {
        const mla_idea *idea = &from->items[i];
        out->items[i] = (mla_idea){
            .id = mla_strdup(idea->id), .family = mla_strdup(idea->family),
            .text = mla_strdup(idea->text), .why = mla_strdup(idea->why),
            .blocks = mla_strdup(idea->blocks),
            .after = copy_texts(idea->after, idea->n_after), .n_after = idea->n_after,
        };
    }
}

int mla_ideas_load(mla_ideas *out, const mla_task *task, mla_err *err) {
    *out = (mla_ideas){0};
    char *path = mla_fs_join(task->dir, "ideas.yaml");
    mla_ideas *raw = mla_yaml_load(path, MAX_IDEAS_BYTES, &file_schema, err);
    int rc = raw ? check_ideas(path, raw, err) : -1;
    if (rc == 0) copy_ideas(out, raw);
    mla_yaml_free(&file_schema, raw);
    free(path);
    return rc;
}

void mla_ideas_clear(mla_ideas *ideas) {
    for (size_t i = 0; i < ideas->len; i++) {
        mla_idea *idea = &ideas->items[i];
        free(idea->id);
        free(idea->family);
        free(idea->text);
        free(idea->why);
        free(idea->blocks);
        for (size_t k = 0; k < idea->n_after; k++) free(idea->after[k]);
        free(idea->after);
    }
    free(ideas->items);
    *ideas = (mla_ideas){0};
}

size_t mla_ideas_find(const mla_ideas *ideas, const char *id) {
    size_t i = 0;
    while (i < ideas->len && strcmp(ideas->items[i].id, id) != 0) i++;
    return i;
}

char *mla_ideas_blocks_before(const mla_ideas *ideas, size_t at) {
    bool *needed = MLA_NEW_ARRAY(bool, at + 1);
    needed[at] = true;
    for (size_t i = at + 1; i-- > 0;) {     // what an idea needs stands above it
        const mla_idea *idea = &ideas->items[i];
        for (size_t k = 0; needed[i] && k < idea->n_after; k++) {
            needed[mla_ideas_find(ideas, idea->after[k])] = true;
        }
    }
    mla_buf out;
    mla_buf_init(&out, MAX_IDEAS_BYTES);
    for (size_t i = 0; i < at; i++) {
        if (needed[i]) mla_buf_printf(&out, "%s\n", ideas->items[i].blocks);
    }
    free(needed);
    return mla_buf_take(&out);
}
