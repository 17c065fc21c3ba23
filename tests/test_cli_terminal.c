// What is shown on a terminal of texts by scripts and models.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/terminal.h"

static void expect(const char *text, const char *shown) {
    char *got = mla_terminal_text(text);
    assert_string_equal(got, shown);
    free(got);
}

static void what_a_terminal_obeys_is_not_sent(void **state) {
    (void)state;
    expect("\x1b[2J\x1b]0;title\a", "?[2J?]0;title?");
    expect("over\rwritten\b\b\x7f", "over?written???");
    expect("\xC2\x9B" "31m \xC2\x85 \xC2\x80\xC2\x9F", "?31m ? ??");
    expect("a\xE2\x80\xAE" "b\xE2\x81\xA6" "c\xE2\x80\xAA", "a?b?c?");
}

static void text_stays_as_it_is(void **state) {
    (void)state;
    static const char *const texts[] = {"", "two\n\tlines\n", "\xC2\xA0\xC3\xA9 \xE2\x82\xAC",
                                        "\xE2\x80\xA9\xE2\x80\xAF\xE2\x81\xA5\xE2\x81\xAA",
                                        "\xE4\xBD\xA0\xF0\x9F\x98\x80", "cut \xE2", "cut \xE2\x80",
                                        "cut \xC2"};
    for (size_t i = 0; i < MLA_COUNT(texts); i++) expect(texts[i], texts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_terminal_obeys_is_not_sent),
        cmocka_unit_test(text_stays_as_it_is),
    };
    return cmocka_run_group_tests_name("cli_terminal", tests, NULL, NULL);
}
