// Blocks of metric records: see metric_block.h.
#include "core/store/metric_block.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "core/base/memory.h"

enum { VERSION = 1, ZSTD_LEVEL = 3, ZSTD_FROM = 512, PLAIN_MAX = 32 << 20 };
enum packing { PACKING_PLAIN = 0, PACKING_ZSTD = 1 };
enum column { COLUMN_DOUBLE = 0, COLUMN_FLOAT = 1, COLUMN_SAME = 2 };

// ---- writing --------------------------------------------------------------------------------------------------------

static void put_byte(struct strbuf *b, uint8_t v)
{
    strbuf_add(b, &v, 1);
}

static void put_varint(struct strbuf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (uint8_t)(v & 0x7f) | (v > 0x7f ? 0x80 : 0);
        v >>= 7;
    } while (bytes[n++] & 0x80);
    strbuf_add(b, bytes, n);
}

// The difference b - a of two's complement numbers, small whichever its sign.
static uint64_t zigzag(uint64_t a, uint64_t b)
{
    uint64_t d = b - a;
    return d << 1 ^ (d >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t a, uint64_t z)
{
    return a + (z >> 1 ^ (z & 1 ? UINT64_MAX : 0));
}

static int fits_float(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double back = (double)(float)v[i];
        if (memcmp(&back, &v[i], sizeof back))
            return 0;
    }
    return 1;
}

static int all_same(const double *v, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (memcmp(&v[0], &v[i], sizeof *v))
            return 0;
    return 1;
}

// n numbers of `width` bytes, all lowest bytes first.
static void put_transposed(struct strbuf *b, const uint8_t *data, size_t n, size_t width)
{
    uint8_t *turned = xmalloc(n * width);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            turned[k * n + i] = data[i * width + k];
    strbuf_add(b, turned, n * width);
    free(turned);
}

static void put_reals(struct strbuf *b, const double *v, size_t n)
{
    if (all_same(v, n)) {
        put_byte(b, COLUMN_SAME);
        strbuf_add(b, v, sizeof *v);
    } else if (fits_float(v, n)) {
        float *narrow = xmalloc(n * sizeof *narrow);
        for (size_t i = 0; i < n; i++)
            narrow[i] = (float)v[i];
        put_byte(b, COLUMN_FLOAT);
        put_transposed(b, (const uint8_t *)narrow, n, sizeof *narrow);
        free(narrow);
    } else {
        put_byte(b, COLUMN_DOUBLE);
        put_transposed(b, (const uint8_t *)v, n, sizeof *v);
    }
}

static int same_group(const struct metric_record *a, const struct metric_record *b)
{
    return a->attempt == b->attempt && a->evaluation == b->evaluation && a->count == b->count &&
           (!a->count || !memcmp(a->names, b->names, a->count * sizeof *a->names));
}

// of[i]: the group of record i; heads[g]: the first record of group g. Returns the number of groups.
static size_t find_groups(const struct metric_record *records, size_t count, uint32_t *of, uint32_t *heads)
{
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        size_t g = groups; // the latest groups first: neighbours are alike
        while (g > 0 && !same_group(&records[heads[g - 1]], &records[i]))
            g--;
        if (g == 0) {
            heads[groups++] = (uint32_t)i;
            g = groups;
        }
        of[i] = (uint32_t)(g - 1);
    }
    return groups;
}

static void put_group(struct strbuf *b, const struct metric_record *const *rows, size_t n, double *column)
{
    const struct metric_record *head = rows[0];
    put_varint(b, head->attempt);
    put_byte(b, head->evaluation != 0);
    put_varint(b, head->count);
    for (uint32_t i = 0; i < head->count; i++)
        put_varint(b, head->names[i]);
    put_varint(b, n);
    for (size_t i = 0; i < n; i++)
        put_varint(b, i ? rows[i]->seq - rows[i - 1]->seq : rows[i]->seq);
    for (size_t i = 0; i < n; i++)
        put_varint(b, zigzag(i ? (uint64_t)rows[i - 1]->time_ms : 0, (uint64_t)rows[i]->time_ms));
    for (size_t i = 0; i < n; i++)
        put_varint(b, zigzag(i ? rows[i - 1]->step : 0, rows[i]->step));
    for (size_t i = 0; i < n; i++)
        column[i] = rows[i]->epoch;
    put_reals(b, column, n);
    for (uint32_t k = 0; k < head->count; k++) {
        for (size_t i = 0; i < n; i++)
            column[i] = rows[i]->values[k];
        put_reals(b, column, n);
    }
}

static uint8_t *pack(const struct strbuf *plain, size_t *size)
{
    struct strbuf out = {0};
    if (plain->length >= ZSTD_FROM) {
        size_t bound = ZSTD_compressBound(plain->length);
        uint8_t *packed = xmalloc(bound);
        size_t n = ZSTD_compress(packed, bound, plain->text, plain->length, ZSTD_LEVEL);
        if (!ZSTD_isError(n) && n < plain->length) {
            put_byte(&out, PACKING_ZSTD);
            put_varint(&out, plain->length);
            strbuf_add(&out, packed, n);
        }
        free(packed);
    }
    if (!out.length) {
        put_byte(&out, PACKING_PLAIN);
        put_varint(&out, plain->length);
        strbuf_add(&out, plain->text, plain->length);
    }
    *size = out.length;
    return (uint8_t *)out.text;
}

uint8_t *metric_block_encode(const struct metric_record *records, size_t count, size_t *size)
{
    uint32_t *of = xmalloc(count * sizeof *of), *heads = xmalloc(count * sizeof *heads);
    const struct metric_record **rows = xmalloc(count * sizeof *rows);
    double *column = xmalloc(count * sizeof *column);
    struct strbuf plain = {0};
    size_t groups = find_groups(records, count, of, heads);
    put_byte(&plain, VERSION);
    put_varint(&plain, groups);
    for (size_t g = 0; g < groups; g++) {
        size_t n = 0;
        for (size_t i = heads[g]; i < count; i++)
            if (of[i] == g)
                rows[n++] = &records[i];
        put_group(&plain, rows, n, column);
    }
    uint8_t *blob = pack(&plain, size);
    free(plain.text);
    free(column);
    free(rows);
    free(heads);
    free(of);
    return blob;
}

// ---- reading --------------------------------------------------------------------------------------------------------

struct bytes {
    const uint8_t *at, *end;
    int bad;
};

static uint64_t get_varint(struct bytes *b)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (b->at == b->end)
            break;
        uint8_t byte = *b->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    b->bad = 1;
    return 0;
}

static uint8_t get_byte(struct bytes *b)
{
    if (b->at == b->end) {
        b->bad = 1;
        return 0;
    }
    return *b->at++;
}

static const uint8_t *get_bytes(struct bytes *b, size_t n)
{
    if ((size_t)(b->end - b->at) < n) {
        b->bad = 1;
        return NULL;
    }
    b->at += n;
    return b->at - n;
}

static void untranspose(const uint8_t *turned, size_t n, size_t width, uint8_t *out)
{
    for (size_t k = 0; k < width; k++)
        for (size_t i = 0; i < n; i++)
            out[i * width + k] = turned[k * n + i];
}

union scratch {
    double wide[METRIC_BLOCK_RECORDS];
    float narrow[METRIC_BLOCK_RECORDS];
    uint8_t bytes[METRIC_BLOCK_RECORDS * sizeof(double)];
};

// n reals to out[0], out[stride], ..
static void get_reals(struct bytes *b, size_t n, double *out, size_t stride, union scratch *scratch)
{
    uint8_t kind = get_byte(b);
    if (kind > COLUMN_SAME) {
        b->bad = 1;
        return;
    }
    size_t width = kind == COLUMN_FLOAT ? sizeof(float) : sizeof(double);
    const uint8_t *data = get_bytes(b, kind == COLUMN_SAME ? width : n * width);
    if (!data)
        return;
    if (kind == COLUMN_SAME) {
        memcpy(scratch->bytes, data, width);
        for (size_t i = 0; i < n; i++)
            out[i * stride] = scratch->wide[0];
        return;
    }
    untranspose(data, n, width, scratch->bytes);
    for (size_t i = 0; i < n; i++)
        out[i * stride] = kind == COLUMN_FLOAT ? (double)scratch->narrow[i] : scratch->wide[i];
}

// Records point into `names` and `values` only at the end: the two move while they grow.
struct place {
    size_t names, values;
};

struct reading {
    struct bytes bytes;
    struct metric_block *out;
    struct place *places; // [out->count]
    struct place used, capacity;
    size_t record_capacity;
    double column[METRIC_BLOCK_RECORDS];
    union scratch scratch;
};

static size_t grown(size_t capacity, size_t wanted)
{
    return wanted > 2 * capacity ? wanted : 2 * capacity;
}

static void make_room(struct reading *r, size_t records, size_t names, size_t values)
{
    struct metric_block *out = r->out;
    if (out->count + records > r->record_capacity) {
        r->record_capacity = grown(r->record_capacity, out->count + records);
        out->records = xrealloc(out->records, r->record_capacity, sizeof *out->records);
        r->places = xrealloc(r->places, r->record_capacity, sizeof *r->places);
    }
    if (r->used.names + names > r->capacity.names) {
        r->capacity.names = grown(r->capacity.names, r->used.names + names);
        out->names = xrealloc(out->names, r->capacity.names, sizeof *out->names);
    }
    if (r->used.values + values > r->capacity.values) {
        r->capacity.values = grown(r->capacity.values, r->used.values + values);
        out->values = xrealloc(out->values, r->capacity.values, sizeof *out->values);
    }
}

static void get_counters(struct bytes *b, struct metric_record *rows, size_t n)
{
    uint64_t last = 0;
    for (size_t i = 0; i < n; i++)
        last = rows[i].seq = last + get_varint(b);
    last = 0;
    for (size_t i = 0; i < n; i++) {
        last = unzigzag(last, get_varint(b));
        rows[i].time_ms = (int64_t)last;
    }
    last = 0;
    for (size_t i = 0; i < n; i++)
        last = rows[i].step = unzigzag(last, get_varint(b));
}

// The values of a record lie beside each other, as its user reads them: a column goes to every `names`th place.
static void get_rows(struct reading *r, const struct metric_record *head, size_t n)
{
    struct bytes *b = &r->bytes;
    struct metric_record *rows = r->out->records + r->out->count;
    struct place *places = r->places + r->out->count;
    for (size_t i = 0; i < n; i++) {
        rows[i] = *head;
        places[i] = (struct place){r->used.names, r->used.values + i * head->count};
    }
    get_counters(b, rows, n);
    get_reals(b, n, r->column, 1, &r->scratch);
    for (size_t i = 0; i < n; i++)
        rows[i].epoch = r->column[i];
    for (uint32_t k = 0; k < head->count && !b->bad; k++)
        get_reals(b, n, r->out->values + r->used.values + k, head->count, &r->scratch);
}

static void get_group(struct reading *r)
{
    struct bytes *b = &r->bytes;
    struct metric_record head = {0};
    head.attempt = (uint32_t)get_varint(b);
    head.evaluation = get_byte(b);
    uint64_t names = get_varint(b);
    if (b->bad || names > METRIC_NAMES_MAX) {
        b->bad = 1;
        return;
    }
    head.count = (uint32_t)names;
    make_room(r, 0, names, 0);
    for (uint32_t i = 0; i < head.count; i++)
        r->out->names[r->used.names + i] = (uint32_t)get_varint(b);
    uint64_t n = get_varint(b);
    if (b->bad || n == 0 || n > METRIC_BLOCK_RECORDS - r->out->count ||
        n * names > METRIC_BLOCK_VALUES - r->used.values) {
        b->bad = 1;
        return;
    }
    make_room(r, n, 0, n * names);
    get_rows(r, &head, n);
    if (b->bad)
        return;
    r->out->count += n;
    r->used.names += names;
    r->used.values += n * names;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = ((const struct metric_record *)a)->seq, y = ((const struct metric_record *)b)->seq;
    return x < y ? -1 : x > y;
}

static void get_plain(struct reading *r)
{
    struct metric_block *out = r->out;
    if (get_byte(&r->bytes) != VERSION)
        r->bytes.bad = 1;
    uint64_t groups = get_varint(&r->bytes);
    for (uint64_t g = 0; g < groups && !r->bytes.bad; g++)
        get_group(r);
    if (r->bytes.at != r->bytes.end || !out->count)
        r->bytes.bad = 1;
    if (r->bytes.bad)
        return;
    for (size_t i = 0; i < out->count; i++) {
        out->records[i].names = out->names + r->places[i].names;
        out->records[i].values = out->values + r->places[i].values;
    }
    qsort(out->records, out->count, sizeof *out->records, by_seq);
}

int metric_block_decode(const uint8_t *data, size_t size, struct metric_block *out, struct error *e)
{
    memset(out, 0, sizeof *out);
    struct reading *r = xmalloc(sizeof *r);
    memset(r, 0, offsetof(struct reading, column));
    r->out = out;
    r->bytes = (struct bytes){data, data + size, 0};
    uint8_t packing = get_byte(&r->bytes), *unpacked = NULL;
    uint64_t plain = get_varint(&r->bytes);
    size_t rest = (size_t)(r->bytes.end - r->bytes.at);
    if (r->bytes.bad || plain > PLAIN_MAX || packing > PACKING_ZSTD || (packing == PACKING_PLAIN && plain != rest)) {
        r->bytes.bad = 1;
    } else if (packing == PACKING_ZSTD) {
        unpacked = xmalloc(plain ? plain : 1);
        r->bytes.bad = ZSTD_decompress(unpacked, plain, r->bytes.at, rest) != plain;
        r->bytes.at = unpacked;
        r->bytes.end = unpacked + plain;
    }
    if (!r->bytes.bad)
        get_plain(r);
    int bad = r->bytes.bad;
    free(unpacked);
    free(r->places);
    free(r);
    if (!bad)
        return 0;
    metric_block_free(out);
    return error_set(e, ERR_DAMAGED, "a block of metrics in the server's database is damaged");
}

void metric_block_free(struct metric_block *b)
{
    free(b->records);
    free(b->names);
    free(b->values);
    memset(b, 0, sizeof *b);
}
