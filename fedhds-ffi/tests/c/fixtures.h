// What the tests start from: features with groups in them, methods, and a round up to any of its messages.

#ifndef FIXTURES_H
#define FIXTURES_H

#include "check.h"

#define ROWS 24u
#define COLS 6u

// Three groups of rows that lie far apart, differently on each client.
typedef struct {
    float values[ROWS * COLS];
    fedhds_matrix_view_t view;
} features_t;

static inline void features_of(unsigned client, features_t* features) {
    unsigned state = client * 7919u + 17u;
    for (unsigned row = 0; row < ROWS; ++row) {
        for (unsigned col = 0; col < COLS; ++col) {
            state = state * 1664525u + 1013904223u;
            const float noise = (float)(state >> 16 & 0xFFu) / 512.0f;
            features->values[row * COLS + col] = (col == row % 3u ? 9.0f : 0.0f) + (float)client + noise;
        }
    }
    features->view.data = features->values;
    features->view.rows = ROWS;
    features->view.cols = COLS;
    features->view.row_stride = COLS;
}

static const char* const COVERAGE =
    "preset = \"fedhds_coverage\"\ncount = { budget = 6 }\nclient = { shared_dims = 4 }";
static const char* const RANDOM = "preset = \"random\"\ncount = { budget = 6 }";

static inline fedhds_method_t* method_of(const char* settings) {
    fedhds_method_t* method = NULL;
    OK(fedhds_method_new(settings, &method));
    CHECK(method != NULL);
    return method;
}

// A copy of the library's bytes that malloc made, so that a sanitizer sees a step beyond it; the handle is freed.
typedef struct {
    uint8_t* data;
    size_t length;
} message_t;

static inline message_t taken(fedhds_bytes_t* bytes) {
    message_t message = {NULL, 0};
    OK(fedhds_bytes_copy(bytes, NULL, 0, &message.length));
    message.data = (uint8_t*)malloc(message.length == 0 ? 1 : message.length);
    CHECK(message.data != NULL);
    size_t copied = 0;
    OK(fedhds_bytes_copy(bytes, message.data, message.length, &copied));
    CHECK(copied == message.length);
    OK(fedhds_bytes_free(bytes));
    return message;
}

// A server and a client of number 0 with seed 5, and the first messages of a round.
typedef struct {
    fedhds_method_t* method;
    fedhds_server_t* server;
    fedhds_client_t* client;
    features_t features;
    message_t start;
    message_t summary;
    message_t order;
    size_t ordered;
} round_t;

// `global` is the adapter that the round begins with, NULL for a round that selects alone.
static inline void round_from(const char* settings, const fedhds_adapter_t* global, round_t* round) {
    memset(round, 0, sizeof *round);
    const uint32_t number = 0;
    fedhds_bytes_t* bytes = NULL;
    features_of(0, &round->features);
    const fedhds_matrix_view_t* view = &round->features.view;
    round->method = method_of(settings);
    OK(fedhds_server_new(round->method, 1, 5, &round->server));
    OK(fedhds_client_new(number, round->method, 1, 5, &round->client));
    OK(fedhds_server_begin_round(round->server, 0, &number, 1, global, &bytes));
    round->start = taken(bytes);
    OK(fedhds_client_summarize(round->client, round->start.data, round->start.length, view, 0, NULL, NULL, &bytes));
    round->summary = taken(bytes);
    OK(fedhds_server_receive(round->server, 0, round->summary.data, round->summary.length));
    OK(fedhds_server_select(round->server, NULL));
    OK(fedhds_server_order(round->server, number, &bytes, &round->ordered));
    round->order = taken(bytes);
}

static inline void round_of(const char* settings, round_t* round) { round_from(settings, NULL, round); }

static inline void round_free(round_t* round) {
    free(round->start.data);
    free(round->summary.data);
    free(round->order.data);
    OK(fedhds_client_free(round->client));
    OK(fedhds_server_free(round->server));
    OK(fedhds_method_free(round->method));
}

#endif
