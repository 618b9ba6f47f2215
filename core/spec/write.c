// Jobs as text: YAML for people, canonical JSON for programs and for the hash (spec.h).
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/spec/emit.h"
#include "core/spec/field.h"
#include "core/spec/spec.h"
#include "core/spec/write.h"

// What a value is written by: the differences between YAML and JSON.
struct style {
    bool yaml;
    const char *colon, *comma; // in flow collections
};
static const struct style yaml_style = {true, ": ", ", "}, json_style = {false, ":", ","};

// Jobs are written often (their hash is of their JSON), so what is constant is not formatted.
static void add(struct strbuf *b, const char *text)
{
    strbuf_add(b, text, strlen(text));
}

static bool digits_only(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == 0 && (text[0] != '0' || !text[1]);
}

// Text that YAML takes for text without quotes.
static bool plain_text(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "none", "yes", "no", "on", "off", "y", "n"};
    if (!isalpha((unsigned char)*text) && *text != '/')
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/._-+", *p))
            return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i]))
            return false;
    return true;
}

static void write_text(struct strbuf *b, const struct style *s, const ProtobufCFieldDescriptor *f, const char *text)
{
    // A fold's number is written as one, as users write it.
    bool number = !strcmp(f->name, "fold") && digits_only(text);
    if (number || (s->yaml && plain_text(text)))
        add(b, text);
    else
        emit_string(b, text);
}

static void write_flow(struct strbuf *b, const struct style *s, const ProtobufCMessage *message);

static void write_value(struct strbuf *b, const struct style *s, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *f, size_t i)
{
    const void *value = field_value(message, f, i);
    char *name;
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        strbuf_printf(b, "%lu", (unsigned long)*(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        strbuf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        emit_double(b, *(const double *)value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        add(b, *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        name = field_enum_name(f->descriptor, *(const int *)value);
        strbuf_printf(b, s->yaml ? "%s" : "\"%s\"", name ? name : "unknown");
        free(name);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        write_flow(b, s, *(ProtobufCMessage *const *)value);
        break;
    default:
        write_text(b, s, f, *(char *const *)value);
    }
}

static void write_field(struct strbuf *b, const struct style *s, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        write_value(b, s, message, f, 0);
        return;
    }
    add(b, "[");
    for (size_t i = 0; i < *field_count(message, f); i++) {
        if (i)
            add(b, s->comma);
        write_value(b, s, message, f, i);
    }
    add(b, "]");
}

// {a: 1, b: 2}
static void write_flow(struct strbuf *b, const struct style *s, const ProtobufCMessage *message)
{
    add(b, "{");
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        add(b, i ? s->comma : "");
        add(b, s->yaml ? "" : "\"");
        add(b, f->name);
        add(b, s->yaml ? "" : "\"");
        add(b, s->colon);
        write_field(b, s, message, f);
    }
    add(b, "}");
}

void write_json_field(struct strbuf *b, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    write_field(b, &json_style, message, field);
}

char *spec_to_json(const Islr__JobSpec *job)
{
    struct strbuf b = {0};
    write_flow(&b, &json_style, &job->base);
    return b.text;
}

// Two levels of lines, what is deeper in flow style.
char *spec_to_yaml(const Islr__JobSpec *job)
{
    struct strbuf b = {0};
    for (unsigned i = 0; i < job->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &job->base.descriptor->fields[i];
        strbuf_printf(&b, "%s:", f->name);
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
            strbuf_printf(&b, " ");
            write_field(&b, &yaml_style, &job->base, f);
            strbuf_printf(&b, "\n");
            continue;
        }
        const ProtobufCMessage *part = *(ProtobufCMessage **)field_member(&job->base, f);
        strbuf_printf(&b, "\n");
        for (unsigned k = 0; k < part->descriptor->n_fields; k++) {
            strbuf_printf(&b, "  %s: ", part->descriptor->fields[k].name);
            write_field(&b, &yaml_style, part, &part->descriptor->fields[k]);
            strbuf_printf(&b, "\n");
        }
    }
    return b.text;
}

struct hash spec_hash(const Islr__JobSpec *job)
{
    char *json = spec_to_json(job);
    struct hash h = hash_memory(json, strlen(json));
    free(json);
    return h;
}
