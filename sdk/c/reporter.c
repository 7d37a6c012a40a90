// Reporters: what they are told, and how they tell it.

#include <string.h>

#include "internal.h"

bool exports_capstan_plugin_reporter_check(wit_string_t *config, capstan_plugin_types_plugin_error_t *error) {
    return cap_check(config, error);
}

bool exports_capstan_plugin_reporter_deliver(
    wit_string_t *config, capstan_plugin_reports_borrow_report_t report, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    wit_string_t json;
    capstan_plugin_reports_method_report_to_json(report, &json);
    const char *text = cap_take(json.ptr, json.len);
    const cap_json *members = cap_parse(text);
    if (!members) cap_panic("expected a report without zeros in texts");
    reporter_deliver(params, members, text);
    capstan_plugin_reports_report_drop_borrow(report);
    return !cap_failure(error);
}

static capstan_plugin_http_list_header_t listed(const cap_header *headers) {
    size_t count = 0;
    while (headers && headers[count].name) count++;
    capstan_plugin_http_list_header_t list = {cap_allocate(count * sizeof *list.ptr), count};
    for (size_t place = 0; place < count; place++) {
        list.ptr[place].name = cap_give(headers[place].name);
        list.ptr[place].value = cap_give(headers[place].value);
    }
    return list;
}

static wit_list_u8_t bytes(const char *text) {
    wit_string_t given = cap_give(text);
    return (wit_list_u8_t){given.ptr, given.len};
}

static bool unsent(const capstan_plugin_http_http_error_t *error) {
    bool has_text = error->tag != CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_TIMEOUT && error->tag != CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_TOO_LARGE;
    const char *text = has_text ? cap_take(error->val.denied.ptr, error->val.denied.len) : "";
    switch (error->tag) {
    case CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_TIMEOUT:
        cap_transient("the server did not answer in time");
        break;
    case CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_TRANSPORT:
        cap_transient(cap_join("the server cannot be reached: ", text, NULL));
        break;
    case CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_TOO_LARGE:
        cap_permanent("the server's answer is larger than the limit");
        break;
    case CAPSTAN_PLUGIN_HTTP_HTTP_ERROR_INVALID:
        cap_permanent(cap_join("the request is malformed: ", text, NULL));
        break;
    default:
        cap_permanent(text);
    }
    return false;
}

bool cap_fetch(const cap_request *request, cap_response *response) {
    capstan_plugin_http_request_t given = {
        .method = cap_give(request->method),
        .url = cap_give(request->url),
        .headers = listed(request->headers),
        .secret_headers = listed(request->secret_headers),
        .body = bytes(request->body),
        .timeout_ms = request->timeout_ms ? request->timeout_ms : 30000,
    };
    capstan_plugin_http_response_t answer;
    capstan_plugin_http_http_error_t error;
    if (!capstan_plugin_http_fetch(&given, &answer, &error)) return unsent(&error);
    response->status = answer.status;
    response->body = cap_take(answer.body.ptr, answer.body.len);
    return true;
}

bool cap_accepted(const cap_response *response) {
    uint16_t status = response->status;
    if (status >= 200 && status < 300) return true;
    // What is quoted may end within a character: then it ends before it.
    size_t length = strlen(response->body);
    size_t end = length < 300 ? length : 300;
    while (end < length && end > 0 && (response->body[end] & 0xC0) == 0x80) end--;
    const char *quoted = cap_take((const uint8_t *)response->body, end);
    const char *text = cap_join("the server answered ", cap_decimal(status), ": ", quoted, NULL);
    if (status == 408 || status == 425 || status == 429 || status >= 500) cap_transient(text);
    else cap_permanent(text);
    return false;
}

bool cap_append_line(const char *path, const char *line) {
    wit_string_t given = cap_give(path), words = cap_give(line);
    capstan_plugin_report_files_file_error_t error;
    if (capstan_plugin_report_files_append_line(&given, &words, &error)) return true;
    const char *text = cap_take(error.val.io.ptr, error.val.io.len);
    if (error.tag == CAPSTAN_PLUGIN_REPORT_FILES_FILE_ERROR_IO) cap_transient(text);
    else cap_permanent(text);
    return false;
}

static bool unkept(const capstan_plugin_state_state_error_t *error) {
    const char *text = cap_take(error->val.denied.ptr, error->val.denied.len);
    if (error->tag == CAPSTAN_PLUGIN_STATE_STATE_ERROR_UNAVAILABLE) cap_transient(text);
    else cap_permanent(text);
    return false;
}

bool cap_recall(const char *key, const char **value) {
    wit_string_t given = cap_give(key);
    wit_option_list_u8_t found;
    capstan_plugin_state_state_error_t error;
    if (!capstan_plugin_state_get(&given, &found, &error)) return unkept(&error);
    *value = found.is_some ? cap_take(found.val.ptr, found.val.len) : NULL;
    return true;
}

bool cap_remember(const char *key, const char *value) {
    wit_string_t given = cap_give(key);
    wit_list_u8_t kept = bytes(value);
    capstan_plugin_state_state_error_t error;
    return capstan_plugin_state_set(&given, &kept, &error) || unkept(&error);
}

bool cap_forget(const char *key) {
    wit_string_t given = cap_give(key);
    capstan_plugin_state_state_error_t error;
    return capstan_plugin_state_delete(&given, &error) || unkept(&error);
}

typedef capstan_plugin_mail_borrow_message_t message_t;

static void addressed(message_t message, const char *const *addresses, void add(message_t, wit_string_t *)) {
    for (; addresses && *addresses; addresses++) {
        wit_string_t address = cap_give(*addresses);
        add(message, &address);
    }
}

static void set(message_t message, const char *text, void with(message_t, wit_string_t *)) {
    wit_string_t given = cap_give(text);
    if (text) with(message, &given);
}

bool cap_send(const cap_mail *mail) {
    capstan_plugin_mail_own_message_t own = capstan_plugin_mail_constructor_message();
    message_t message = capstan_plugin_mail_borrow_message(own);
    addressed(message, mail->to, capstan_plugin_mail_method_message_add_to);
    addressed(message, mail->cc, capstan_plugin_mail_method_message_add_cc);
    addressed(message, mail->bcc, capstan_plugin_mail_method_message_add_bcc);
    set(message, mail->subject, capstan_plugin_mail_method_message_set_subject);
    set(message, mail->text, capstan_plugin_mail_method_message_set_text);
    set(message, mail->html, capstan_plugin_mail_method_message_set_html);
    for (const cap_header *header = mail->headers; header && header->name; header++) {
        wit_string_t name = cap_give(header->name), value = cap_give(header->value);
        capstan_plugin_mail_method_message_add_header(message, &name, &value);
    }
    capstan_plugin_mail_mail_error_t error;
    bool sent = capstan_plugin_mail_send(message, &error);
    capstan_plugin_mail_message_drop_own(own);
    if (sent) return true;
    const char *text = cap_take(error.val.denied.ptr, error.val.denied.len);
    if (error.tag == CAPSTAN_PLUGIN_MAIL_MAIL_ERROR_UNAVAILABLE) cap_transient(text);
    else cap_permanent(text);
    return false;
}
