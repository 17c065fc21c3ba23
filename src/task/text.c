// Small readings of text that users and scripts wrote: numbers, names, and what of it to show.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "task/internal.h"

// strtod takes more than Python's float(): hexadecimal, "nan(...)" and the C locale's spaces.
bool mla__number_parse(const char *text, double *out) {
    if (text[0] == '\0' || isspace((unsigned char)text[0])) return false;
    for (const char *p = text; *p; p++) {
        if (*p == 'x' || *p == 'X' || *p == '(') return false;
    }
    char *end;
    *out = strtod(text, &end);
    return *end == '\0' && end != text;
}

bool mla__is_name(const char *text) {
    size_t len = strlen(text);
    if (len == 0 || len > 64 || text[0] == '-' || text[0] == '_') return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

mla__shown mla__show(const char *text) {
    mla__shown out;
    size_t len = 0, max = sizeof out.text - sizeof "...";
    for (; text[len] != '\0' && len < max; len++) {
        unsigned char c = (unsigned char)text[len];
        out.text[len] = c < 0x20 || c == 0x7F ? ' ' : (char)c;
    }
    if (text[len] != '\0') {
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80) len--;  // no half character
        memcpy(out.text + len, "...", 3);
        len += 3;
    }
    out.text[len] = '\0';
    return out;
}
