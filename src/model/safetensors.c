// Reads and writes safetensors files: an 8-byte length, a JSON header, the numbers. Leaves out
// element types other than F32, F16 and BF16.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/weights_internal.h"

enum { MAX_HEADER = 100 << 20, MAX_DIMS = 8, CHUNK = 1 << 16 };

// ---- reading ---------------------------------------------------------------------------------

static int read_dims(const json_t *shape, uint64_t dims[MAX_DIMS], size_t *n_dims) {
    *n_dims = json_array_size(shape);
    if (!json_is_array(shape) || *n_dims > MAX_DIMS) return -1;
    for (size_t i = 0; i < *n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0) return -1;
        dims[i] = (uint64_t)json_integer_value(dim);
    }
    return 0;
}

static int add_tensor(mla_weights *weights, const mla__mapping *map, uint64_t base,
                      const char *path, const char *name, const json_t *info, mla_err *err) {
    const mla__dtype *type = mla__dtype_by_name(mla_json_get_text(info, "dtype", ""));
    if (!type || type->block != 1)
        return mla_err_set(err, "%s: tensor '%s' has the element type '%s'; F32, F16 and BF16 are "
                           "known: convert the model to one of them", path, name,
                           mla_json_get_text(info, "dtype", "none"));
    uint64_t dims[MAX_DIMS];
    size_t n_dims;
    const json_t *offsets = json_object_get(info, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (read_dims(json_object_get(info, "shape"), dims, &n_dims) < 0 || !json_is_integer(begin) ||
        !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin))
        return mla_err_set(err, "%s: tensor '%s' has no sane shape and offsets; the file is "
                           "damaged", path, name);
    uint64_t offset = base + (uint64_t)json_integer_value(begin);
    if (mla__weights_add(weights, map, path, mla_strdup(name), type, dims, n_dims, offset, err) < 0)
        return -1;
    const mla__tensor *added = &weights->tensors[weights->n_tensors - 1];
    uint64_t length = (uint64_t)(json_integer_value(end) - json_integer_value(begin));
    if (length == (uint64_t)added->rows * added->cols * type->bytes) return 0;
    return mla_err_set(err, "%s: tensor '%s' has offsets that do not fit its shape; the file is "
                       "damaged", path, name);
}

int mla__safetensors_open(mla_weights *weights, const char *path, mla_err *err) {
    mla__mapping map;
    if (mla__weights_map(weights, path, 8, &map, err) < 0) return -1;
    uint64_t length = 0;
    for (int i = 0; i < 8; i++) length |= (uint64_t)map.data[i] << 8 * i;
    if (length > MAX_HEADER || length > map.size - 8)
        return mla_err_set(err, "%s: the header ends beyond the end of the file; the file is cut "
                           "off or not safetensors: fetch it again", path);
    json_t *header = mla_json_parse((const char *)map.data + 8, (size_t)length, path, err);
    if (!header) return -1;
    int rc = 0;
    const char *name;
    json_t *info;
    json_object_foreach(header, name, info) {
        if (rc == 0 && strcmp(name, "__metadata__") != 0)
            rc = add_tensor(weights, &map, 8 + length, path, name, info, err);
    }
    json_decref(header);
    return rc;
}

// ---- writing ---------------------------------------------------------------------------------

static bool skipped(const mla_model_config *config, const mla_tensor_out *tensor) {
    return config->tied && !strcmp(tensor->name, "lm_head.weight");
}

// The header as text, padded with spaces so that the numbers start at a multiple of 8.
static char *header_text(const mla_model_config *config, const mla_tensor_out *tensors, size_t n,
                         bool as_f32) {
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    json_int_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const mla_tensor_out *t = &tensors[i];
        if (skipped(config, t)) continue;
        json_int_t end = at + (json_int_t)(t->rows * t->cols * (as_f32 ? 4 : 2));
        json_t *shape = t->is_vector ? json_pack("[I]", (json_int_t)t->cols)
                                     : json_pack("[I,I]", (json_int_t)t->rows, (json_int_t)t->cols);
        json_t *info = json_pack("{s:s,s:o,s:[I,I]}", "dtype", as_f32 ? "F32" : "BF16", "shape",
                                 shape, "data_offsets", at, end);
        MLA_ASSERT(info && !json_object_get(header, t->name));
        json_object_set_new(header, t->name, info);
        at = end;
    }
    char *line = mla_json_line(header);
    json_decref(header);
    char *padded = mla_format("%s%*s", line, (int)(-strlen(line) & 7), "");
    free(line);
    return padded;
}

static int write_bf16(int fd, const float *data, size_t n, mla_err *err) {
    uint16_t *chunk = MLA_NEW_ARRAY(uint16_t, CHUNK);
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        for (size_t i = 0; i < count; i++) chunk[i] = mla__bf16_round(data[at + i]);
        rc = mla_fs_write_all(fd, chunk, count * 2, err);
    }
    free(chunk);
    return rc;
}

static int write_values(int fd, const mla_tensor_out *tensor, bool as_f32,
                        const mla_weights *source, mla_err *err) {
    size_t count = tensor->rows * tensor->cols;
    if (tensor->data)
        return as_f32 ? mla_fs_write_all(fd, tensor->data, count * 4, err)
                      : write_bf16(fd, tensor->data, count, err);
    const mla__tensor *from = mla__weights_find(source, tensor->name);
    MLA_ASSERT(from && from->rows == tensor->rows && from->cols == tensor->cols);
    return mla__rows_write(source, from, mla__dtype_by_name(as_f32 ? "F32" : "BF16"), 0, fd, err);
}

static int write_all(int fd, const mla_model_config *config, const mla_tensor_out *tensors,
                     size_t n, bool as_f32, const mla_weights *source, mla_err *err) {
    char *header = header_text(config, tensors, n, as_f32);
    uint64_t length = strlen(header);
    int rc = mla_fs_write_all(fd, &length, 8, err);
    if (rc == 0) rc = mla_fs_write_all(fd, header, length, err);
    free(header);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!skipped(config, &tensors[i])) rc = write_values(fd, &tensors[i], as_f32, source, err);
    if (rc == 0 && fsync(fd) < 0) rc = mla_err_set(err, "cannot sync: %s", strerror(errno));
    return rc;
}

int mla__safetensors_write(const char *path, const mla_model_config *config,
                           const mla_tensor_out *tensors, size_t n, bool as_f32,
                           const mla_weights *source, mla_err *err) {
    char *tmp = mla_format("%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = fd < 0 ? mla_err_set(err, "%s: cannot create: %s", tmp, strerror(errno)) : 0;
    if (rc == 0 && (rc = write_all(fd, config, tensors, n, as_f32, source, err)) < 0)
        mla_err_wrap(err, "%s", tmp);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = mla_err_set(err, "%s: cannot close: %s", tmp, strerror(errno));
    if (rc == 0 && rename(tmp, path) < 0)
        rc = mla_err_set(err, "%s: cannot rename to it: %s", path, strerror(errno));
    if (rc < 0) unlink(tmp);
    free(tmp);
    return rc;
}
