// Reading ideas out of what a model says: JSON objects wherever they are (alone, in a list, in a
// fence, one a line, in a reply that was cut), else the items of a numbered or bulleted list.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "collect/internal.h"

#define TEXT_MIN 8             // bytes of an idea: less says nothing
#define TEXT_MAX 500
#define EDIT_MAX ((size_t)16 << 10)

// On one line, without Markdown's stars and backticks at the ends.
static char *tidy(const char *text, size_t len) {
    char *repaired = mla_utf8_repair(text, len, NULL), *out = mla_strdup(repaired);
    size_t n = 0;
    for (const char *p = repaired; *p; p++) {
        bool space = isspace((unsigned char)*p) || (unsigned char)*p < ' ';
        if (space && (!n || out[n - 1] == ' ')) continue;
        if (*p == '*' && p[1] == '*') {
            p++;
            continue;
        }
        out[n++] = space ? ' ' : *p;
    }
    while (n && strchr(" \"'`,", out[n - 1])) n--;
    out[n] = '\0';
    size_t skip = strspn(out, " \"'`");
    memmove(out, out + skip, strlen(out + skip) + 1);
    free(repaired);
    return out;
}

// Takes the three texts over; NULL is "".
static void add(mla_ideas *out, char *text, char *why, const char *blocks) {
    size_t len = strlen(text);
    if (len < TEXT_MIN || len > TEXT_MAX || !strpbrk(text, " \x80")) {
        free(text);
        free(why);
        return;
    }
    out->items = mla_realloc(out->items, out->len + 1, sizeof *out->items);
    out->items[out->len++] = (mla_idea){
        .text = text, .why = why ? why : mla_strdup(""),
        .blocks = mla_strdup(blocks && strlen(blocks) <= EDIT_MAX ? blocks : "")};
}

// --- JSON ---------------------------------------------------------------------------------------

static const char *first_text(const json_t *object, const char *const *keys) {
    for (; *keys; keys++) {
        const char *text = mla_json_get_text(object, *keys, NULL);
        if (text && *text) return text;
    }
    return NULL;
}

static bool take_value(mla_ideas *out, const json_t *value);

static bool take_list(mla_ideas *out, const json_t *list) {
    bool any = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        any |= take_value(out, json_array_get(list, i));
    }
    return any;
}

static bool take_object(mla_ideas *out, const json_t *object) {
    static const char *const texts[] = {"idea", "text", "description", "title", "name", NULL};
    static const char *const whys[] = {"why", "reason", "rationale", "explanation", NULL};
    static const char *const edits[] = {"edit", "blocks", "diff", "patch", NULL};
    const char *text = first_text(object, texts), *why = first_text(object, whys);
    if (text) {
        add(out, tidy(text, strlen(text)), why ? tidy(why, strlen(why)) : NULL,
            first_text(object, edits));
        return true;
    }
    bool any = false;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (json_is_array(value)) any |= take_list(out, value);
    }
    return any;
}

static bool take_value(mla_ideas *out, const json_t *value) {
    if (json_is_object(value)) return take_object(out, value);
    const char *text = json_string_value(value);
    if (text) add(out, tidy(text, strlen(text)), NULL, NULL);
    return text != NULL;
}

// The length of the JSON object or array at `at`, by its brackets; 0 when it has no end.
static size_t span_of(const char *at) {
    int depth = 0;
    bool quoted = false;
    for (const char *p = at; *p; p++) {
        if (quoted) {
            if (*p == '\\' && p[1]) p++;
            else if (*p == '"') quoted = false;
            continue;
        }
        if (*p == '"') quoted = true;
        if (*p == '{' || *p == '[') depth++;
        if ((*p == '}' || *p == ']') && --depth == 0) return (size_t)(p - at) + 1;
    }
    return 0;
}

// Line breaks inside of strings, which models like to write, are no JSON: made \n here.
static char *escape_breaks(const char *text, size_t len) {
    mla_buf out;
    mla_buf_init(&out, 2 * len + 2);
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && text[i] == '\\' && i + 1 < len) mla_buf_append(&out, &text[i++], 1);
        else if (text[i] == '"') quoted = !quoted;
        if (quoted && text[i] == '\n') mla_buf_puts(&out, "\\n");
        else if (quoted && text[i] == '\t') mla_buf_puts(&out, "\\t");
        else mla_buf_append(&out, &text[i], 1);
    }
    return mla_buf_take(&out);
}

static bool take_json(mla_ideas *out, const char *text, size_t len) {
    mla_err ignored;
    char *mended = escape_breaks(text, len);
    json_t *value = mla_json_parse(mended, strlen(mended), "", &ignored);
    bool any = json_is_array(value) ? take_list(out, value) : value && take_value(out, value);
    json_decref(value);
    free(mended);
    return any;
}

static bool read_json(mla_ideas *out, const char *answer) {
    bool any = false;
    for (const char *p = answer; (p = strpbrk(p, "{[")); p++) {
        size_t len = span_of(p);
        if (!len || !take_json(out, p, len)) continue;
        any = true;
        p += len - 1;
    }
    return any;
}

// --- lists --------------------------------------------------------------------------------------

// Behind the mark of a list's item: "12. ", "3) ", "- ", "* "; NULL: it is none.
static const char *behind_mark(const char *line) {
    line += strspn(line, " \t#*");
    size_t digits = strspn(line, "0123456789");
    if (digits && digits < 4 && strchr(".):", line[digits])) return line + digits + 1;
    if ((*line == '-' || !strncmp(line, "\xE2\x80\xA2", 3)) && strchr(line, ' ')) {
        return strchr(line, ' ');
    }
    return line[-1] == ' ' && line[-2] == '*' ? line : NULL;
}

static void take_item(mla_ideas *out, const char *item, size_t len) {
    static const char *const signs[] = {" Why: ", " Reason: ", " Rationale: ", " because "};
    char *text = tidy(item, len), *why = NULL;
    for (size_t i = 0; i < MLA_COUNT(signs) && !why; i++) {
        char *at = strstr(text, signs[i]);
        if (!at) continue;
        why = mla_strdup(at + strlen(signs[i]));
        *at = '\0';
    }
    add(out, text, why, NULL);
}

static void read_list(mla_ideas *out, const char *answer) {
    char *padded = mla_format("\n\n%s", answer);      // so that marks may be looked for behind
    for (char *line = padded + 2; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *item = behind_mark(line);
        const char *end = line + strcspn(line, "\n");
        if (item && item < end) take_item(out, item, (size_t)(end - item));
    }
    free(padded);
}

void mla__answer_read(mla_ideas *out, const char *answer) {
    if (!read_json(out, answer)) read_list(out, answer);
}

// Words that an idea means the same without.
static bool is_filler(const char *word, size_t len) {
    static const char *const fillers[] = {
        "a", "an", "the", "of", "with", "for", "to", "by", "in", "on", "as", "use", "using", "try",
        "apply", "add", "create", "include", "consider", "implement", "we", "you", "can", "could"};
    for (size_t i = 0; i < MLA_COUNT(fillers); i++) {
        if (strlen(fillers[i]) == len && !memcmp(fillers[i], word, len)) return true;
    }
    return false;
}

static char *without_fillers(char *words) {
    size_t n = 0;
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (!is_filler(p, len)) {
            if (n) words[n++] = ' ';
            memmove(words + n, p, len);
            n += len;
        }
        p += len;
    }
    if (n) words[n] = '\0';
    return words;
}

char *mla__answer_normalise(const char *text) {
    char *out = mla_strdup(text);
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (isalnum(c) || c >= 0x80) out[n++] = (char)tolower(c);
        else if (n && out[n - 1] != ' ') out[n++] = ' ';
    }
    while (n && out[n - 1] == ' ') n--;
    out[n] = '\0';
    return without_fillers(out);
}
