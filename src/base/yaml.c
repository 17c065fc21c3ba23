// YAML by schema, through libcyaml. Its log (a message, then a backtrace from the innermost place
// outwards) becomes one line: "<file> line 9: limits.seconds: what is wrong". Types beyond text,
// mappings and lists are left to the callers: libcyaml would read "30x" as 30.
#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/yaml.h"

#define MAX_DEPTH 8

typedef struct trouble {
    char message[256];              // the first message, without "Load: "
    char place[MAX_DEPTH][80];      // innermost first
    size_t depth;
    size_t line;                    // of the innermost place; 0: unknown
} trouble;

// "  in mapping field 'limits' (line: 9, column: 1)", "  in mapping (line: ...)" before its first
// field, or "  in sequence entry '2' (line: ...)", which counts from 1 and our paths from 0.
static void take_place(trouble *t, const char *text) {
    const char *at = strstr(text, "(line: ");
    if (at && t->line == 0) t->line = strtoul(at + strlen("(line: "), NULL, 10);
    const char *from = strchr(text, '\'');
    const char *to = from ? strchr(from + 1, '\'') : NULL;
    if (t->depth == MAX_DEPTH) return;
    char *place = t->place[t->depth++];
    if (!to) return;
    if (strstr(text, "in sequence entry")) {
        unsigned long entry = strtoul(from + 1, NULL, 10);
        snprintf(place, sizeof t->place[0], "[%lu]", entry > 0 ? entry - 1 : 0);
    } else {
        snprintf(place, sizeof t->place[0], "%.*s", (int)(to - from - 1), from + 1);
    }
}

static void take_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

static void take_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args) {
    trouble *t = ctx;
    char text[256];
    (void)level;
    vsnprintf(text, sizeof text, fmt, args);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20) *p = ' ';
    }
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ') text[--len] = '\0';
    if (strncmp(text, "  in ", 5) == 0) {
        take_place(t, text);
    } else if (t->message[0] == '\0') {
        const char *from = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
        snprintf(t->message, sizeof t->message, "%s", from);
    }
}

static const cyaml_config_t *configure(cyaml_config_t *config, trouble *t) {
    *config = (cyaml_config_t){.log_fn = take_log, .log_ctx = t, .mem_fn = cyaml_mem,
                               .log_level = CYAML_LOG_WARNING, .flags = CYAML_CFG_NO_ALIAS};
    return config;
}

// limits.seconds, source.packages[2]: outermost first. When a mapping has wrong keys, the innermost
// place is whichever field libcyaml saw last.
static void put_path(mla_buf *out, trouble *t) {
    if (strncmp(t->message, "Missing required", 16) == 0 ||
        strncmp(t->message, "Mapping field already", 21) == 0) {
        t->place[0][0] = '\0';
    }
    for (size_t i = t->depth; i-- > 0;) {
        const char *place = t->place[i];
        if (out->len > 0 && place[0] != '[' && place[0] != '\0') mla_buf_puts(out, ".");
        mla_buf_puts(out, place);
    }
}

// libcyaml's words in ours, where the user would not know what they mean; after a space at the end
// its own go on.
static void put_message(mla_buf *out, const trouble *t, cyaml_err_t code) {
    static const struct {
        const char *theirs, *ours;
    } words[] = {
        {"Unexpected key: ", "unknown key "},
        {"Missing required mapping field: ", "missing key "},
        {"Mapping field already seen: ", "there twice: "},
        {"STRING length > ", "the text is too long: more bytes than "},
        {"STRING length < ", "the text is too short: fewer bytes than "},
        {"Expecting STRING, ", "a text was expected"},
        {"Expecting MAPPING, ", "keys with values were expected"},
        {"Expecting SEQUENCE, ", "a list was expected"},
        {"Ignoring documents after first", "more than one YAML document"},
        {"libyaml: ", "not YAML: "},
    };
    if (code == CYAML_ERR_ALIAS) {
        mla_buf_puts(out, "aliases (*name) are not allowed");
        return;
    }
    for (size_t i = 0; i < MLA_COUNT(words); i++) {
        size_t len = strlen(words[i].theirs);
        if (strncmp(t->message, words[i].theirs, len) != 0) continue;
        mla_buf_puts(out, words[i].ours);
        if (out->data[out->len - 1] == ' ') mla_buf_printf(out, "%.60s", t->message + len);
        return;
    }
    mla_buf_puts(out, t->message[0] ? t->message : "not laid out as it must be");
}

static void explain(const char *path, trouble *t, cyaml_err_t code, mla_err *err) {
    mla_buf where, what;
    mla_buf_init(&where, 256);
    mla_buf_init(&what, 256);
    put_path(&where, t);
    put_message(&what, t, code);
    char line[32] = "";
    if (t->line > 0) snprintf(line, sizeof line, " line %zu", t->line);
    mla_err_set(err, "%s%s: %s%s%s", path, line, mla_buf_text(&where), where.len ? ": " : "",
                mla_buf_text(&what));
    mla_buf_clear(&where);
    mla_buf_clear(&what);
}

void *mla_yaml_load(const char *path, size_t max, const struct cyaml_schema_value *schema,
                     mla_err *err) {
    mla_buf file;
    if (mla_fs_read(path, max, &file, err) < 0) return NULL;
    trouble t = {0};
    cyaml_config_t config;
    cyaml_data_t *data = NULL;
    cyaml_err_t code = cyaml_load_data((const uint8_t *)mla_buf_text(&file), file.len,
                                       configure(&config, &t), schema, &data, NULL);
    mla_buf_clear(&file);
    if (code == CYAML_OK && data && t.message[0] == '\0') return data;
    if (code == CYAML_OK && !data) {
        mla_err_set(err, "%s: the file is empty", path);
    } else {
        explain(path, &t, code, err);
    }
    mla_yaml_free(schema, data);
    return NULL;
}

void mla_yaml_free(const struct cyaml_schema_value *schema, void *data) {
    trouble t = {0};
    cyaml_config_t config;
    if (data) cyaml_free(configure(&config, &t), schema, data, 0);
}
