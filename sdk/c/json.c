// Reads and writes JSON (RFC 8259); values live as long as the call.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAX_DEPTH = 64 };

struct cap_json {
    cap_kind kind;
    bool truth;
    double number;
    // Of a number it is how it was written: what is written again loses nothing.
    const char *text;
    // Of a list or an object.
    cap_json *items;
    const char **names;
    size_t count;
};

typedef struct {
    const char *at;
    int depth;
} reader;

static bool read_value(reader *in, cap_json *value);

static void skip(reader *in) {
    while (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r') in->at++;
}

static bool take(reader *in, char expected) {
    skip(in);
    if (*in->at != expected) return false;
    in->at++;
    return true;
}

static bool word(reader *in, const char *expected) {
    size_t length = strlen(expected);
    if (strncmp(in->at, expected, length) != 0) return false;
    in->at += length;
    return true;
}

static bool read_hex(reader *in, uint32_t *code) {
    *code = 0;
    for (int digit = 0; digit < 4; digit++) {
        char c = *in->at++;
        if (c >= '0' && c <= '9') *code = *code * 16 + (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f') *code = *code * 16 + (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') *code = *code * 16 + (uint32_t)(c - 'A' + 10);
        else return false;
    }
    return true;
}

static char *put_utf8(char *end, uint32_t code) {
    if (code < 0x80) {
        *end++ = (char)code;
    } else if (code < 0x800) {
        *end++ = (char)(0xC0 | code >> 6);
        *end++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *end++ = (char)(0xE0 | code >> 12);
        *end++ = (char)(0x80 | (code >> 6 & 0x3F));
        *end++ = (char)(0x80 | (code & 0x3F));
    } else {
        *end++ = (char)(0xF0 | code >> 18);
        *end++ = (char)(0x80 | (code >> 12 & 0x3F));
        *end++ = (char)(0x80 | (code >> 6 & 0x3F));
        *end++ = (char)(0x80 | (code & 0x3F));
    }
    return end;
}

// After `\u`: one code point, of two halves where it needs them.
static bool read_unicode(reader *in, uint32_t *code) {
    uint32_t low;
    if (!read_hex(in, code) || *code == 0) return false;
    if (*code < 0xD800 || *code > 0xDFFF) return true;
    if (*code > 0xDBFF || !word(in, "\\u") || !read_hex(in, &low) || low < 0xDC00 || low > 0xDFFF) return false;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static bool read_escape(reader *in, char **end) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t code;
    if (*in->at == 'u') {
        in->at++;
        if (!read_unicode(in, &code)) return false;
        *end = put_utf8(*end, code);
        return true;
    }
    const char *found = *in->at ? strchr(from, *in->at) : NULL;
    if (!found) return false;
    *(*end)++ = to[found - from];
    in->at++;
    return true;
}

static bool read_text(reader *in, const char **text) {
    if (!take(in, '"')) return false;
    size_t room = 0;
    for (const char *c = in->at; *c && *c != '"'; c++, room++) {
        if (*c == '\\' && c[1]) c++, room++;
    }
    // What is read is never longer than what it is read from.
    char *start = cap_allocate(room + 1), *end = start;
    while (*in->at != '"') {
        if ((unsigned char)*in->at < 0x20) return false;
        if (*in->at != '\\') {
            *end++ = *in->at++;
            continue;
        }
        in->at++;
        if (!read_escape(in, &end)) return false;
    }
    in->at++;
    *text = start;
    return true;
}

static bool read_number(reader *in, cap_json *value) {
    char *end;
    const char *digits = *in->at == '-' ? in->at + 1 : in->at;
    if (*digits < '0' || *digits > '9' || (*digits == '0' && digits[1] >= '0' && digits[1] <= '9')) return false;
    if (*digits == '0' && (digits[1] == 'x' || digits[1] == 'X')) return false;
    value->number = strtod(in->at, &end);
    value->text = cap_take((const uint8_t *)in->at, (size_t)(end - in->at));
    in->at = end;
    return true;
}

static void grow(cap_json *value, size_t *room) {
    if (value->count < *room) return;
    *room = *room ? *room * 2 : 8;
    cap_json *items = cap_allocate(*room * sizeof *items);
    const char **names = cap_allocate(*room * sizeof *names);
    if (value->count) {
        memcpy(items, value->items, value->count * sizeof *items);
        memcpy(names, value->names, value->count * sizeof *names);
    }
    value->items = items;
    value->names = names;
}

static bool read_items(reader *in, cap_json *value, char close) {
    size_t room = 0;
    if (take(in, close)) return true;
    do {
        grow(value, &room);
        if (close == '}' && (!read_text(in, &value->names[value->count]) || !take(in, ':'))) return false;
        if (!read_value(in, &value->items[value->count])) return false;
        value->count++;
    } while (take(in, ','));
    return take(in, close);
}

static bool read_nested(reader *in, cap_json *value) {
    if (++in->depth > MAX_DEPTH) return false;
    value->kind = *in->at == '{' ? CAP_OBJECT : CAP_LIST;
    char close = *in->at++ == '{' ? '}' : ']';
    bool good = read_items(in, value, close);
    in->depth--;
    return good;
}

static bool read_value(reader *in, cap_json *value) {
    skip(in);
    switch (*in->at) {
    case '{':
    case '[':
        return read_nested(in, value);
    case '"':
        value->kind = CAP_TEXT;
        return read_text(in, &value->text);
    case 't':
    case 'f':
        value->kind = CAP_BOOL;
        value->truth = *in->at == 't';
        return word(in, value->truth ? "true" : "false");
    case 'n':
        value->kind = CAP_NULL;
        return word(in, "null");
    default:
        value->kind = CAP_NUMBER;
        return read_number(in, value);
    }
}

const cap_json *cap_parse(const char *text) {
    reader in = {text, 0};
    cap_json *value = cap_allocate(sizeof *value);
    if (!read_value(&in, value)) return NULL;
    skip(&in);
    return *in.at ? NULL : value;
}

const cap_json *cap_members(const char *const *names, const char *const *values, size_t count) {
    cap_json *object = cap_allocate(sizeof *object);
    object->kind = CAP_OBJECT;
    object->items = cap_allocate(count * sizeof *object->items);
    object->names = cap_allocate(count * sizeof *object->names);
    object->count = count;
    for (size_t place = 0; place < count; place++) {
        const cap_json *value = cap_parse(values[place]);
        object->names[place] = names[place];
        object->items[place] = value ? *value : (cap_json){.kind = CAP_NULL};
    }
    return object;
}

// A list or an object as a text: what is before, between and behind its members.
static char *write_items(const cap_json *value, const char *open, const char *close) {
    const char **parts = cap_allocate(value->count * sizeof *parts);
    size_t length = 3;
    for (size_t place = 0; place < value->count; place++) {
        const char *item = cap_write(&value->items[place]);
        parts[place] = value->kind == CAP_OBJECT ? cap_join(cap_quote(value->names[place]), ":", item, NULL) : item;
        length += strlen(parts[place]) + 1;
    }
    char *text = cap_allocate(length), *end = text;
    *end++ = *open;
    for (size_t place = 0; place < value->count; place++) {
        if (place) *end++ = ',';
        size_t part = strlen(parts[place]);
        memcpy(end, parts[place], part);
        end += part;
    }
    *end++ = *close;
    return text;
}

const char *cap_write(const cap_json *value) {
    switch (cap_kind_of(value)) {
    case CAP_BOOL:
        return value->truth ? "true" : "false";
    case CAP_NUMBER:
        return value->text;
    case CAP_TEXT:
        return cap_quote(value->text);
    case CAP_LIST:
        return write_items(value, "[", "]");
    case CAP_OBJECT:
        return write_items(value, "{", "}");
    default:
        return "null";
    }
}

// A copy with room for one more.
static cap_json *copy_of(const cap_json *value, cap_kind kind) {
    cap_json *copy = cap_allocate(sizeof *copy);
    size_t count = cap_kind_of(value) == kind ? value->count : 0;
    copy->kind = kind;
    copy->items = cap_allocate((count + 1) * sizeof *copy->items);
    copy->names = cap_allocate((count + 1) * sizeof *copy->names);
    if (count) {
        memcpy(copy->items, value->items, count * sizeof *copy->items);
        memcpy(copy->names, value->names, count * sizeof *copy->names);
    }
    copy->count = count;
    return copy;
}

static cap_json parsed(const char *json) {
    const cap_json *value = cap_parse(json);
    if (!value) cap_panic(cap_join("expected JSON, found ", json, NULL));
    return *value;
}

const cap_json *cap_with(const cap_json *object, const char *name, const char *json) {
    cap_json *copy = copy_of(object, CAP_OBJECT);
    size_t place = 0;
    while (place < copy->count && strcmp(copy->names[place], name) != 0) place++;
    copy->names[place] = cap_join(name, NULL);
    copy->items[place] = parsed(json);
    if (place == copy->count) copy->count++;
    return copy;
}

const cap_json *cap_without(const cap_json *object, const char *name) {
    cap_json *copy = copy_of(object, CAP_OBJECT);
    size_t left = 0;
    for (size_t place = 0; place < copy->count; place++) {
        if (strcmp(copy->names[place], name) == 0) continue;
        copy->names[left] = copy->names[place];
        copy->items[left++] = copy->items[place];
    }
    copy->count = left;
    return copy;
}

const cap_json *cap_append(const cap_json *list, const char *json) {
    cap_json *copy = copy_of(list, CAP_LIST);
    copy->items[copy->count++] = parsed(json);
    return copy;
}

cap_kind cap_kind_of(const cap_json *value) { return value ? value->kind : CAP_NULL; }

size_t cap_count(const cap_json *value) { return value ? value->count : 0; }

const cap_json *cap_at(const cap_json *value, size_t place) {
    return place < cap_count(value) ? &value->items[place] : NULL;
}

const char *cap_name_at(const cap_json *object, size_t place) {
    return cap_kind_of(object) == CAP_OBJECT && place < object->count ? object->names[place] : NULL;
}

const cap_json *cap_get(const cap_json *object, const char *name) {
    for (size_t place = 0; cap_kind_of(object) == CAP_OBJECT && place < object->count; place++) {
        if (strcmp(object->names[place], name) == 0) return &object->items[place];
    }
    return NULL;
}

const char *cap_as_text(const cap_json *value, const char *fallback) {
    return cap_kind_of(value) == CAP_TEXT ? value->text : fallback;
}

double cap_as_number(const cap_json *value, double fallback) {
    return cap_kind_of(value) == CAP_NUMBER ? value->number : fallback;
}

bool cap_as_bool(const cap_json *value, bool fallback) {
    return cap_kind_of(value) == CAP_BOOL ? value->truth : fallback;
}

static bool span_of(const char *text, uint64_t *ms) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT64_MAX / 10000000000) return false;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (at == text) return false;
    while (*at == ' ') at++;
    for (size_t unit = 0; unit < sizeof units / sizeof *units; unit++) {
        if (strcmp(at, units[unit].name) == 0) {
            *ms = number * units[unit].ms;
            return true;
        }
    }
    return false;
}

uint64_t cap_as_span(const cap_json *value, uint64_t fallback) {
    uint64_t ms;
    if (cap_kind_of(value) == CAP_NUMBER && value->number >= 0 && value->number < 9e12) {
        return (uint64_t)(value->number * 1000 + 0.5);
    }
    return cap_kind_of(value) == CAP_TEXT && span_of(value->text, &ms) ? ms : fallback;
}

const char *cap_text(const cap_json *object, const char *name, const char *fallback) {
    return cap_as_text(cap_get(object, name), fallback);
}

double cap_number(const cap_json *object, const char *name, double fallback) {
    return cap_as_number(cap_get(object, name), fallback);
}

bool cap_bool(const cap_json *object, const char *name, bool fallback) {
    return cap_as_bool(cap_get(object, name), fallback);
}

uint64_t cap_span(const cap_json *object, const char *name, uint64_t fallback) {
    return cap_as_span(cap_get(object, name), fallback);
}
