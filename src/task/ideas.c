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

#define TEXT(key, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, mla_idea, member, 0, MAX_TEXT)

static const cyaml_schema_field_t idea_fields[] = {
    TEXT("id", id),
    TEXT("family", family),
    TEXT("text", text),
    TEXT("why", why),
    TEXT("edit", blocks),
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
    }
    mla__keys_clear(&ids);
    return rc;
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
    }
    free(ideas->items);
    *ideas = (mla_ideas){0};
}
