// Splits text into the pieces that BPE works on, as the regular expressions of the models'
// tokenizer.json do, written out as scanners: each takes one look ahead and never goes back, so
// time is linear whatever the text. Classes are those of Hugging Face's tokenizers.
#include "policy/tokenizer_internal.h"

// END is the end of what one expression sees; for SmolLM2, whose digits are split off before the
// expression runs, a digit is such an end too.
enum { OTHER, LETTER, NUMBER, SPACE, END };

static const uint8_t ascii_class[128] = {
    ['a' ... 'z'] = LETTER, ['A' ... 'Z'] = LETTER, ['0' ... '9'] = NUMBER,
    ['\t' ... '\r'] = SPACE, [' '] = SPACE,
};

bool mla__in_ranges(const mla__range *ranges, size_t n, uint32_t point) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > ranges[middle].last) low = middle + 1;
        else high = middle;
    }
    return low < n && point >= ranges[low].first;
}

uint32_t mla__utf8_point(const char *text, size_t at, size_t *next) {
    const uint8_t *p = (const uint8_t *)text + at;
    if (p[0] < 0x80) return *next = at + 1, p[0];
    if (p[0] < 0xe0) return *next = at + 2, (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    if (p[0] < 0xf0)
        return *next = at + 3, (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return *next = at + 4, (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 |
                           (p[3] & 0x3fu);
}

// Beyond ASCII.
static bool is_space(uint32_t point) {
    return point == 0x85 || point == 0xa0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

typedef struct scan {
    mla__pre pre;
    const char *text;
    size_t len;
} scan;

static int class_of(const scan *s, uint32_t point) {
    if (point < 0x80) return ascii_class[point];
    if (mla__in_ranges(mla__letters, mla__letters_n, point)) return LETTER;
    if (mla__in_ranges(mla__numbers, mla__numbers_n, point)) return NUMBER;
    if (is_space(point)) return SPACE;
    if (s->pre == MLA__PRE_SMOLLM && mla__in_ranges(mla__late_digits, mla__late_digits_n, point))
        return NUMBER;
    return OTHER;
}

static int class_at(const scan *s, size_t at, size_t *next) {
    if (at >= s->len) return END;
    return class_of(s, mla__utf8_point(s->text, at, next));
}

static int class_inside(const scan *s, size_t at, size_t *next) {
    int class = class_at(s, at, next);
    return class == NUMBER && s->pre == MLA__PRE_SMOLLM ? END : class;
}

// The end of the run of one class that starts at `at`.
static size_t run_end(const scan *s, size_t at, int class) {
    for (size_t next = at;; at = next) {
        while (at < s->len && (uint8_t)s->text[at] < 0x80)
            if (ascii_class[(uint8_t)s->text[at++]] != class) return at - 1;
        if (class_at(s, at, &next) != class) return at;
    }
}

// The byte at `at`, or 0 at the end.
static char byte_at(const scan *s, size_t at) {
    return at < s->len ? s->text[at] : 0;
}

// \s+(?!\S)|\s+ : a run of white space leaves its last character to what follows.
static size_t space_end(const scan *s, size_t at) {
    size_t last = at, end = at, next = at;
    int class;
    while ((class = class_inside(s, end, &next)) == SPACE) {
        last = end;
        end = next;
    }
    return class == END || last == at ? end : last;
}

// '(s|t|re|ve|m|ll|d) ; returns its end, or `at`. Folded, an S may also be the long s, U+017F.
static size_t contraction_end(const scan *s, size_t at, bool fold) {
    if (byte_at(s, at) != '\'') return at;
    char first = byte_at(s, at + 1), second = byte_at(s, at + 2);
    if (fold && first == '\xc5' && second == '\xbf') return at + 3;
    if (fold && first >= 'A' && first <= 'Z') first |= 32;
    if (fold && second >= 'A' && second <= 'Z') second |= 32;
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
    return first == 'l' && second == 'l' ? at + 3 : at;
}

// '(s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ between single digits.
static size_t smollm_end(const scan *s, size_t at) {
    size_t next = at, end = contraction_end(s, at, false);
    if (end > at) return end;
    if (class_at(s, at, &next) == NUMBER) return next;
    size_t start = at + (s->text[at] == ' ');
    int class = class_inside(s, start, &next);
    if (class == LETTER || class == OTHER) return run_end(s, start, class);
    return space_end(s, at);
}

static bool is_newline(char byte) {
    return byte == '\r' || byte == '\n';
}

// \s*[\r\n]+ : white space up to its last line end; returns `at` when there is none.
static size_t newline_end(const scan *s, size_t at) {
    size_t end = at, next = at, found = at;
    while (class_at(s, end, &next) == SPACE) {
        if (is_newline(s->text[end])) found = next;
        end = next;
    }
    return found;
}

// MLA_PRE_QWEN2_SPLIT, alternative by alternative.
static size_t qwen2_end(const scan *s, size_t at) {
    size_t next = at, end = contraction_end(s, at, true);
    if (end > at) return end;
    int class = class_at(s, at, &next);
    if (class == LETTER) return run_end(s, at, LETTER);
    if (class == NUMBER) return next;
    size_t after = next;
    if (!is_newline(s->text[at]) && class_at(s, next, &after) == LETTER)
        return run_end(s, next, LETTER);
    size_t start = at + (s->text[at] == ' ');
    if (class_at(s, start, &after) == OTHER) {
        end = run_end(s, start, OTHER);
        while (is_newline(byte_at(s, end))) end++;
        return end;
    }
    end = newline_end(s, at);
    return end > at ? end : space_end(s, at);
}

size_t mla__pretok_end(mla__pre pre, const char *text, size_t at, size_t len) {
    scan s = {pre, text, len};
    return pre == MLA__PRE_SMOLLM ? smollm_end(&s, at) : qwen2_end(&s, at);
}
