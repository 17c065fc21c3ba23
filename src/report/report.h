// A run folder as one page for a person: a self-contained HTML file, readable from a disk or a
// mail, printable, in light and dark. Shows what the folder holds and computes nothing else.
#ifndef MLA_REPORT_REPORT_H
#define MLA_REPORT_REPORT_H

#include "base/err.h"

// Reads the run folder `run_dir` (docs/formats.md; stages that have not run are left out, with a
// line that says so) and writes the page to `out_path`. The folder is only read: a report can be
// made while the run goes on.
MLA_MUST_USE int mla_report_write(const char *run_dir, const char *out_path, mla_err *err);

#endif
