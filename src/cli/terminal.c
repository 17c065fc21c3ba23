// Control characters, told by their UTF-8 bytes.
#include "cli/terminal.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

// The bytes of the control character at p; 0: it is none.
static size_t control_length(const unsigned char *p) {
    if (p[0] < ' ') return p[0] != '\n' && p[0] != '\t';
    if (p[0] == 127) return 1;
    if (p[0] == 0xC2) return p[1] >= 0x80 && p[1] <= 0x9F ? 2 : 0;               // U+0080 to 9F
    if (p[0] != 0xE2) return 0;
    bool embedding = p[1] == 0x80 && p[2] >= 0xAA && p[2] <= 0xAE;               // U+202A to 2E
    bool isolate = p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9;                 // U+2066 to 69
    return embedding || isolate ? 3 : 0;
}

char *mla_terminal_text(const char *text) {
    char *out = mla_strdup(text), *to = out;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = control_length(p);
        *to++ = n ? '?' : (char)*p;
        p += n ? n : 1;
    }
    *to = '\0';
    return out;
}
