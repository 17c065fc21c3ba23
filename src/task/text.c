// Small readings of text that users and scripts wrote: numbers, names, and what of it to show.
#include <ctype.h>
#include <float.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "task/internal.h"

#define FAST_DIGITS 18              // 10^18 < 2^63
#define FAST_POWER 27               // 10^27 = 5^27 2^27 has 63 bits besides its zeros
#define ROUNDED_BITS (64 - DBL_MANT_DIG)

// digits * 10^power where that is beyond doubt what strtod gives. Both factors are exact in 64
// bits, so the product or quotient is rounded once, by at most half of the last of them; rounded
// again to a double it is the nearest one unless it seems to lie half-way between two.
static bool scale(uint64_t digits, int power, double *out) {
#if LDBL_MANT_DIG == 64
    static const long double powers[FAST_POWER + 1] = {
        1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
        1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
        1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    if (power < -FAST_POWER || power > FAST_POWER) return false;
    long double value = (long double)(int64_t)digits;
    value = power < 0 ? value / powers[-power] : value * powers[power];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);         // the significand
    *out = (double)value;
    return (bits & ((1u << ROUNDED_BITS) - 1)) != 1u << (ROUNDED_BITS - 1);
#else
    (void)digits, (void)power, (void)out;
    return false;
#endif
}

// The exponent at `p`, up to the end of the text; false for what is none or large.
static bool read_exponent(const char *p, int *out) {
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    *out = 0;
    if (!isdigit((unsigned char)*p)) return false;
    for (; isdigit((unsigned char)*p) && *out < 1000; p++) *out = 10 * *out + (*p - '0');
    if (negative) *out = -*out;
    return *p == '\0';
}

// Appends the digits at `p` to *value, where more than fit overflow, and tells where they end.
static const char *read_digits(const char *p, uint64_t *value) {
    uint64_t v = *value;
    for (unsigned digit; (digit = (unsigned char)*p - (unsigned)'0') <= 9; p++) v = 10 * v + digit;
    *value = v;
    return p;
}

// How many zeros are before the first other digit.
static ptrdiff_t leading_zeros(const char *p) {
    ptrdiff_t zeros = 0;
    for (; *p == '0' || *p == '.'; p++) zeros += *p == '0';
    return zeros;
}

// Plain decimals of few digits, as most are: several times as fast as strtod. False: ask strtod.
static bool parse_fast(const char *text, double *out) {
    const char *first = text + (*text == '-' || *text == '+');
    uint64_t value = 0;
    const char *end = read_digits(first, &value);
    ptrdiff_t digits = end - first, places = 0;
    if (*end == '.') {
        const char *from = end + 1;
        end = read_digits(from, &value);
        places = end - from;
        digits += places;
    }
    if (digits > FAST_DIGITS) digits -= leading_zeros(first);
    if (digits <= 0 || digits > FAST_DIGITS) return false;
    int exponent = 0;
    if (*end == 'e' || *end == 'E') {
        if (!read_exponent(end + 1, &exponent)) return false;
    } else if (*end != '\0') {
        return false;
    }
    if (value == 0) *out = 0;
    else if (!scale(value, exponent - (int)places, out)) return false;
    if (*text == '-') *out = -*out;
    return true;
}

// strtod takes more than Python's float(): hexadecimal, "nan(...)" and the C locale's spaces.
bool mla__number_parse(const char *text, double *out) {
    if (parse_fast(text, out)) return true;
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
