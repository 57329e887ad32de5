// Checks with messages. The first that fails ends the program with 1 and says where and what.

#ifndef CHECK_H
#define CHECK_H

#include <fedhds.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void check_failed(const char* file, int line, const char* what) {
    fprintf(stderr, "%s:%d: %s\n  last message of the library: %s\n", file, line, what, fedhds_last_error_message());
    exit(1);
}

static inline void check_status(
    const char* file, int line, const char* call, fedhds_status_t got, fedhds_status_t expected) {
    if (got != expected) {
        fprintf(stderr, "%s:%d: %s\n  expected %s, got %s\n  last message of the library: %s\n", file, line, call,
            fedhds_status_name(expected), fedhds_status_name(got), fedhds_last_error_message());
        exit(1);
    }
    // A failure without a message helps nobody.
    if (got != FEDHDS_STATUS_OK && fedhds_last_error_message()[0] == '\0')
        check_failed(file, line, "expected a message");
}

// The condition holds.
#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, "expected " #condition))

// The call succeeds.
#define OK(call) check_status(__FILE__, __LINE__, #call, (call), FEDHDS_STATUS_OK)

// The call fails with this status and a message.
#define FAILS(status, call) check_status(__FILE__, __LINE__, #call, (call), (status))

// The call fails with this status, and its message has this text in it.
#define SAYS(status, text, call)                                                    \
    do {                                                                            \
        FAILS(status, call);                                                        \
        if (strstr(fedhds_last_error_message(), (text)) == NULL)                    \
            check_failed(__FILE__, __LINE__, "expected a message with `" text "`"); \
    } while (0)

// The last line of a test program's main.
#define DONE (printf("%s: ok\n", strrchr("/" __FILE__, '/') + 1), 0)

#endif
