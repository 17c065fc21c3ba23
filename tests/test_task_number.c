// Numbers as cells write them: every bit is strtod's, whichever way they are read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "task/internal.h"

static void same(const char *text) {
    double got, wanted = strtod(text, NULL);
    if (!mla__number_parse(text, &got)) fail_msg("%s is no number", text);
    if (memcmp(&got, &wanted, sizeof got)) fail_msg("%s: %a, not %a", text, got, wanted);
}

static void edges(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0", "-0", "+0.0", "0e9", "-0.000e-400", "1", "-1", "+7", ".5", "5.", "1e0", "1E+05",
        "1e-05", "1e22", "1e23", "1e27", "1e28", "1e308", "1e309", "-1e400", "1e-308", "4.9e-324",
        "2.4703282292062327e-324", "2.2250738585072011e-308", "1.7976931348623157e308",
        "1.7976931348623159e308", "9007199254740992", "9007199254740993", "9007199254740995",
        "9007199254740993.00000000000000000000001", "0.30000000000000004", "999999999999999999",
        "9999999999999999999", "18446744073709551615", "18446744073709551616",
        "0.000000000000000000000000001", "1.00000000000000011102230246251565",
        "100000000000000000000000000000", "0.1e1000", "1e99999999999", "1e-99999999999",
        "123456789012345678e-27", "123456789012345678e27", "00000000000000000000000000001.5",
        "0.00000000000000000000000000000000015", "inf", "-inf", "4503599627370497.5",
        "4503599627370496.5", "9007199254740993e3", "1125899906842624.125", "8.5e15"};
    for (size_t i = 0; i < MLA_COUNT(texts); i++) same(texts[i]);
    static const char *const none[] = {"", ".", "-", "+", "e5", "1e", "1e+", "1.2.3", "1 ", " 1",
                                       "0x10", "1f", "--1", "1e5x", "1,5", "nan(1)", "\t1", "-.",
                                       ".e1", "1_0"};
    double out;
    for (size_t i = 0; i < MLA_COUNT(none); i++) {
        if (mla__number_parse(none[i], &out)) fail_msg("\"%s\" is a number", none[i]);
    }
}

// A random double in each of these forms, exponents small and large.
static void random_doubles(void **state) {
    (void)state;
    static const char *const forms[] = {"%.17g", "%.16g", "%.15g", "%.9g", "%.6f", "%.20f", "%.3e"};
    mla_rng rng;
    mla_rng_init(&rng, 7);
    for (int i = 0; i < 400000; i++) {
        uint64_t bits = mla_rng_u64(&rng);
        double value;
        char text[512];
        // Half of them near 1, where cells are.
        if (i % 2) bits = (bits & 0x800FFFFFFFFFFFFFu) | (uint64_t)(1023 - 40 + bits % 80) << 52;
        memcpy(&value, &bits, sizeof value);
        if (value - value != 0) continue;
        snprintf(text, sizeof text, forms[(size_t)i % MLA_COUNT(forms)], value);
        same(text);
    }
}

// Half-way between two doubles, and a little to either side, to as many digits as are read fast.
static void half_ways(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 8);
    for (int i = 0; i < 200000; i++) {
        uint64_t odd = (1ull << 53 | mla_rng_u64(&rng) >> 11) | 1;     // 54 bits: no double
        char text[64];
        long long whole = (long long)odd + (long long)(mla_rng_below(&rng, 3)) - 1;
        snprintf(text, sizeof text, "%lld", whole);
        same(text);
        snprintf(text, sizeof text, "%lld.%u", whole, (unsigned)mla_rng_below(&rng, 100));
        same(text);
        snprintf(text, sizeof text, "%llde-%u", whole, (unsigned)mla_rng_below(&rng, 30));
        same(text);
        snprintf(text, sizeof text, "%llde%u", whole, (unsigned)mla_rng_below(&rng, 30));
        same(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(random_doubles),
        cmocka_unit_test(half_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
