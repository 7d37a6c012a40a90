// Memory and texts.

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void *cap_allocate(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory) cap_panic("out of memory");
    return memory;
}

char *cap_take(const uint8_t *bytes, size_t length) {
    char *text = cap_allocate(length + 1);
    if (length) memcpy(text, bytes, length);
    return text;
}

wit_string_t cap_give(const char *text) {
    text = text ? text : "";
    return (wit_string_t){(uint8_t *)text, strlen(text)};
}

char *cap_join(const char *first, ...) {
    va_list texts;
    size_t length = 0;
    va_start(texts, first);
    for (const char *text = first; text; text = va_arg(texts, const char *)) length += strlen(text);
    va_end(texts);
    char *joined = cap_allocate(length + 1), *end = joined;
    va_start(texts, first);
    for (const char *text = first; text; text = va_arg(texts, const char *)) {
        size_t part = strlen(text);
        memcpy(end, text, part);
        end += part;
    }
    va_end(texts);
    return joined;
}

const char *cap_decimal(int64_t number) {
    char *digits = cap_allocate(24), *start = digits + 23;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) *--start = '-';
    return start;
}

char *cap_quote(const char *text) {
    static const char hex[] = "0123456789abcdef";
    char *quoted = cap_allocate(strlen(text) * 6 + 3), *end = quoted;
    *end++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            *end++ = '\\';
            *end++ = (char)c;
        } else if (c == '\n') {
            *end++ = '\\';
            *end++ = 'n';
        } else if (c < 0x20) {
            memcpy(end, "\\u00", 4);
            end[4] = hex[c >> 4];
            end[5] = hex[c & 15];
            end += 6;
        } else {
            *end++ = (char)c;
        }
    }
    *end++ = '"';
    return quoted;
}
