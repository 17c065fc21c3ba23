// The report: reads the folder, puts the sections in order, writes the page.
#include "report/report.h"

#include <stdlib.h>

#include "base/fs.h"
#include "report/internal.h"

#define PAGE_MAX_BYTES ((size_t)64 << 20)

static void open_page(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<title>");
    mla__html_text(out, folder->name);
    mla_buf_puts(out, " \xC2\xB7 mlagent</title>\n<style>\n");
    mla_buf_puts(out, mla__style);
    mla_buf_puts(out, "</style>\n</head>\n<body>\n");
}

static void write_page(mla_buf *out, const mla__folder *folder) {
    open_page(out, folder);
    mla__section_summary(out, folder);
    mla__section_eval(out, folder);
    mla__section_actions(out, folder);
    mla__section_rl(out, folder);
    mla__section_edits(out, folder);
    mla__section_sft(out, folder);
    mla__section_expert(out, folder);
    mla__section_ideas(out, folder);
    mla__section_trajectory(out, folder);
    mla_buf_puts(out, "</body>\n</html>\n");
}

int mla_report_write(const char *run_dir, const char *out_path, mla_err *err) {
    mla__folder folder;
    if (mla__report_read(&folder, run_dir, err) < 0) return -1;
    mla_buf page;
    mla_buf_init(&page, PAGE_MAX_BYTES);
    write_page(&page, &folder);
    int rc = page.truncated
                 ? mla_err_set(err, "%s: the report is longer than %zu bytes", run_dir,
                               PAGE_MAX_BYTES)
                 : mla_fs_write(out_path, mla_buf_text(&page), page.len, err);
    mla_buf_clear(&page);
    mla__folder_clear(&folder);
    return rc;
}
