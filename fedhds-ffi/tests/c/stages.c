// Stages of the caller's own: that they are called, with what, and what happens when they fail or return nonsense.
//
// `stages` alone; `stages quick` does less of it, for Valgrind.

#include "fixtures.h"

#include <math.h>

// What a stage below shall do, and what it saw.
typedef struct {
    int32_t answer;  // what it returns
    float value;     // what a reducer fills in
    int32_t label;   // what a clusterer says beyond two groups; 0 for nothing
    uint32_t row;    // what a selector begins with
    unsigned calls;
    size_t rows, cols, count;
    uint64_t seed;
    bool labels, owners;
    fedhds_client_t* again;  // a handle to use from within
} stage_t;

static int32_t reduce(fedhds_matrix_view_t features, uint64_t seed, size_t columns, float* reduced, void* user_data) {
    stage_t* stage = user_data;
    stage->calls += 1, stage->rows = features.rows, stage->cols = features.cols, stage->seed = seed,
                       stage->count = columns;
    for (size_t row = 0; row < features.rows; ++row) {
        for (size_t col = 0; col < columns; ++col) {
            const float sum = features.data[row * features.row_stride + col % features.cols];
            reduced[row * columns + col] = isnan(stage->value) ? NAN : sum + stage->value;
        }
    }
    return stage->answer;
}

static int32_t cluster(const fedhds_rows_t* rows, size_t wanted, uint64_t seed, int32_t* labels, void* user_data) {
    stage_t* stage = user_data;
    const fedhds_matrix_view_t points = rows->points;
    stage->calls += 1, stage->rows = points.rows, stage->cols = points.cols, stage->seed = seed, stage->count = wanted;
    stage->owners = rows->owners != NULL;
    for (size_t row = 0; row < points.rows; ++row) labels[row] = (int32_t)(row % 2);
    if (stage->label != 0) labels[0] = stage->label;
    if (stage->again != NULL) {
        // The object that is at work is busy, even for its own stage; it is neither a deadlock nor a crash.
        fedhds_bytes_t* state = NULL;
        if (fedhds_client_state(stage->again, &state) != FEDHDS_STATUS_BUSY) return 9;
    }
    return stage->answer;
}

static int32_t choose(const fedhds_rows_t* rows, uint64_t seed, size_t count, size_t per_cluster, uint32_t* chosen,
    void* user_data) {
    stage_t* stage = user_data;
    const fedhds_matrix_view_t points = rows->points;
    stage->calls += 1, stage->rows = points.rows, stage->cols = points.cols, stage->seed = seed, stage->count = count;
    stage->labels = rows->labels != NULL, stage->owners = rows->owners != NULL;
    if (per_cluster != 0 || rows->scores != NULL || rows->covered.rows != 0) return 8;
    for (size_t row = 0; rows->weights != NULL && row < points.rows; ++row) {
        if (!(rows->weights[row] >= 1.0f)) return 7;
    }
    // Groups stand for records, records for themselves.
    if ((rows->weights != NULL) != stage->owners) return 6;
    // The last rows, from behind: any order will do.
    for (size_t i = 0; i < count; ++i) chosen[i] = (uint32_t)(points.rows - 1 - i);
    if (stage->row != 0 && count > 0) chosen[0] = stage->row == 1 ? chosen[count - 1] : stage->row;
    return stage->answer;
}

typedef enum { REDUCER, NORMALIZER, CLUSTERER, SELECTOR, SERVER_CLUSTERER, SERVER_SELECTOR } where_t;

// A round with one stage of ours; what it ended with, from the first call that failed.
static fedhds_status_t round_with(where_t where, stage_t* stage) {
    const char* settings = where == SERVER_CLUSTERER ? "preset = \"fedhds_shared\"\ncount = { budget = 2 "
                                                       "}\nclient.reducer = \"none\"\nclient.clusterer = \"kmeans\"\n"
                                                       "client.shared_dims = 4\nserver.clusterer = \"hdbscan\""
                                                     : COVERAGE;
    fedhds_method_t* method = method_of(settings);
    switch (where) {
        case REDUCER:
            OK(fedhds_method_set_reducer(method, "client.reducer", reduce, 3, stage));
            break;
        case NORMALIZER:
            OK(fedhds_method_set_reducer(method, "client.normalizer", reduce, COLS, stage));
            break;
        case CLUSTERER:
            OK(fedhds_method_set_clusterer(method, "client.clusterer", cluster, stage));
            break;
        case SELECTOR:
            OK(fedhds_method_set_selector(method, "client.selector", choose, 0, 0, stage));
            break;
        case SERVER_CLUSTERER:
            OK(fedhds_method_set_clusterer(method, "server.clusterer", cluster, stage));
            break;
        case SERVER_SELECTOR:
            OK(fedhds_method_set_selector(method, "server.selector", choose, 0, 0, stage));
            break;
    }
    fedhds_server_t* server = NULL;
    fedhds_bytes_t* bytes = NULL;
    const uint32_t numbers[] = {0, 1};
    OK(fedhds_server_new(method, 1, 5, &server));
    OK(fedhds_server_begin_round(server, 0, numbers, 2, NULL, &bytes));
    message_t start = taken(bytes);
    fedhds_client_t* clients[2] = {NULL, NULL};
    fedhds_status_t status = FEDHDS_STATUS_OK;
    for (uint32_t number = 0; number < 2 && status == FEDHDS_STATUS_OK; ++number) {
        features_t features;
        features_of(number, &features);
        OK(fedhds_client_new(number, method, 1, 5, &clients[number]));
        if (stage->again != NULL) stage->again = clients[number];
        status = fedhds_client_summarize(clients[number], start.data, start.length, &features.view, 0, NULL, NULL, &bytes);
        if (status != FEDHDS_STATUS_OK) break;
        message_t summary = taken(bytes);
        OK(fedhds_server_receive(server, number, summary.data, summary.length));
        free(summary.data);
    }
    if (status == FEDHDS_STATUS_OK) status = fedhds_server_select(server, NULL);
    for (uint32_t number = 0; number < 2 && status == FEDHDS_STATUS_OK; ++number) {
        size_t records = 0, count = 0;
        uint32_t rows[ROWS];
        OK(fedhds_server_order(server, number, &bytes, &records));
        message_t order = taken(bytes);
        status = fedhds_client_choose(clients[number], order.data, order.length, NULL, rows, ROWS, &count);
        CHECK(status != FEDHDS_STATUS_OK || count == records);
        free(order.data);
    }
    free(start.data);
    for (int number = 0; number < 2; ++number) OK(fedhds_client_free(clients[number]));
    OK(fedhds_server_free(server));
    OK(fedhds_method_free(method));
    return status;
}

int main(int count, char** arguments) {
    const bool quick = count > 1 && strcmp(arguments[1], "quick") == 0;
    static const char* const names[] = {"client.reducer", "client.normalizer", "client.clusterer", "client.selector",
        "server.clusterer", "server.selector"};
    for (int where = REDUCER; where <= SERVER_SELECTOR; ++where) {
        stage_t good = {0};
        OK(round_with((where_t)where, &good));
        CHECK(good.calls > 0 && good.rows > 0 && good.cols > 0 && good.seed != 0);
        if (where == REDUCER) CHECK(good.calls == 2 && good.rows == ROWS && good.cols == COLS && good.count == 3);
        if (where == NORMALIZER) CHECK(good.calls == 2 && good.rows == ROWS && good.cols == COLS && good.count == COLS);
        if (where == CLUSTERER) CHECK(good.calls == 2 && good.rows == ROWS && good.count == 0 && !good.owners);
        if (where == SERVER_CLUSTERER) CHECK(good.calls == 1 && good.count == 2 && good.owners);
        if (where == SELECTOR) CHECK(good.labels && !good.owners);
        if (where == SERVER_SELECTOR) CHECK(good.owners && !good.labels && good.cols == 4);
        // The same seed again: the same call.
        stage_t same = {0};
        if (quick) same = good;
        if (!quick) OK(round_with((where_t)where, &same));
        CHECK(same.seed == good.seed && same.calls == good.calls);
        static const int32_t answers[] = {1, -1, INT32_MAX, INT32_MIN};
        for (size_t i = 0; i < (quick ? 1 : 4); ++i) {
            stage_t failing = {0};
            failing.answer = answers[i];
            FAILS(FEDHDS_STATUS_STAGE, round_with((where_t)where, &failing));
            char code[16];
            snprintf(code, sizeof code, "%d", answers[i]);
            CHECK(strstr(fedhds_last_error_message(), names[where]) != NULL);
            CHECK(strstr(fedhds_last_error_message(), code) != NULL);
        }
    }

    stage_t stage = {0};
    stage.value = NAN;
    SAYS(FEDHDS_STATUS_STAGE, "client.reducer", round_with(REDUCER, &stage));
    const int32_t labels[] = {INT32_MAX, 1000, 3};  // 3 leaves 2 without a row
    for (size_t i = 0; i < 3; ++i) {
        memset(&stage, 0, sizeof stage);
        stage.label = labels[i];
        SAYS(FEDHDS_STATUS_STAGE, "client.clusterer", round_with(CLUSTERER, &stage));
    }
    memset(&stage, 0, sizeof stage);
    stage.label = INT32_MIN;  // below 0 is noise
    OK(round_with(CLUSTERER, &stage));
    const uint32_t rows[] = {1, ROWS, UINT32_MAX};  // one twice, and two that are not there
    for (size_t i = 0; i < 3; ++i) {
        memset(&stage, 0, sizeof stage);
        stage.row = rows[i];
        SAYS(FEDHDS_STATUS_STAGE, "server.selector", round_with(SERVER_SELECTOR, &stage));
    }
    memset(&stage, 0, sizeof stage);
    stage.again = (fedhds_client_t*)&stage;  // replaced by the client at work
    OK(round_with(CLUSTERER, &stage));

    fedhds_method_t* method = method_of(COVERAGE);
    static const char* const wrong[] = {"", "reducer", "client.frame", "server.reducer", "client.clusterer "};
    for (size_t i = 0; i < 5; ++i) {
        SAYS(FEDHDS_STATUS_PARAMETER, "stage", fedhds_method_set_reducer(method, wrong[i], reduce, 2, NULL));
        SAYS(FEDHDS_STATUS_PARAMETER, "stage", fedhds_method_set_clusterer(method, wrong[i], cluster, NULL));
        SAYS(FEDHDS_STATUS_PARAMETER, "stage", fedhds_method_set_selector(method, wrong[i], choose, 0, 0, NULL));
    }
    const size_t columns[] = {0, SIZE_MAX / 1024, SIZE_MAX};
    for (size_t i = 0; i < 3; ++i) {
        SAYS(FEDHDS_STATUS_PARAMETER, "columns",
            fedhds_method_set_reducer(method, "client.reducer", reduce, columns[i], NULL));
    }
    OK(fedhds_method_free(method));
    return DONE;
}
