// A JSON document piece by piece: see json.h.
#include "client/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/decimal.h"
#include "core/spec/emit.h"

static void lead(struct json *j, const char *key)
{
    if (j->follows)
        strbuf_add(&j->text, ", ", 2);
    j->follows = true;
    if (key) {
        emit_string(&j->text, key);
        strbuf_add(&j->text, ": ", 2);
    }
}

void json_begin(struct json *j, const char *key, char bracket)
{
    lead(j, key);
    strbuf_add(&j->text, &bracket, 1);
    j->follows = false;
}

void json_end(struct json *j, char bracket)
{
    strbuf_add(&j->text, &bracket, 1);
    j->follows = true;
}

void json_text(struct json *j, const char *key, const char *value)
{
    if (!value) {
        json_null(j, key);
        return;
    }
    lead(j, key);
    emit_string(&j->text, value);
}

void json_integer(struct json *j, const char *key, int64_t value)
{
    lead(j, key);
    strbuf_printf(&j->text, "%" PRId64, value);
}

void json_number(struct json *j, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    char text[DECIMAL_MAX];
    lead(j, key);
    strbuf_add(&j->text, text, decimal_put(text, value, 9));
}

void json_boolean(struct json *j, const char *key, bool value)
{
    json_raw(j, key, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    json_raw(j, key, "null");
}

void json_time(struct json *j, const char *key, int64_t ms)
{
    char text[64];
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    if (ms <= 0 || !gmtime_r(&seconds, &tm)) {
        json_null(j, key);
        return;
    }
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
    json_text(j, key, text);
}

void json_hash(struct json *j, const char *key, const uint8_t *bytes, size_t size)
{
    if (!size) {
        json_null(j, key);
        return;
    }
    lead(j, key);
    strbuf_add(&j->text, "\"", 1);
    for (size_t i = 0; i < size; i++)
        strbuf_printf(&j->text, "%02x", bytes[i]);
    strbuf_add(&j->text, "\"", 1);
}

void json_raw(struct json *j, const char *key, const char *json)
{
    lead(j, key);
    strbuf_add(&j->text, json, strlen(json));
}

void json_print(struct json *j, FILE *stream)
{
    strbuf_add(&j->text, "\n", 1);
    fwrite(j->text.text, 1, j->text.length, stream);
    j->text.length = 0;
    j->follows = false;
    if (j->text.capacity > (1 << 16)) {
        free(j->text.text);
        memset(&j->text, 0, sizeof j->text);
    }
}
