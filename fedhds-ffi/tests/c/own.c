// What a method of the app's own is made of beside reducers, clusterers and selectors: scores, an upload stage, a memory; and how a
// round ends whose adapters the app joins. Each check fails where the library does not listen.

#include "fixtures.h"

#include <math.h>

static const char* const TWO = "preset = \"fedhds_coverage\"\ncount = { budget = 2 }\nclient = { shared_dims = 4 }";

// A server and a client of number 0 that live on from round to round.
typedef struct {
    fedhds_method_t* method;
    fedhds_server_t* server;
    fedhds_client_t* client;
    features_t features;
} pair_t;

static pair_t pair_of(fedhds_method_t* method) {
    pair_t pair = {method, NULL, NULL, {{0}, {NULL, 0, 0, 0}}};
    features_of(0, &pair.features);
    pair.features.view.data = NULL;  // it points into a copy; `view_of` sets it
    OK(fedhds_server_new(method, 1, 5, &pair.server));
    OK(fedhds_client_new(0, method, 1, 5, &pair.client));
    return pair;
}

static fedhds_matrix_view_t view_of(const pair_t* pair) {
    const fedhds_matrix_view_t view = {pair->features.values, ROWS, COLS, COLS};
    return view;
}

static void pair_free(pair_t* pair) {
    OK(fedhds_client_free(pair->client));
    OK(fedhds_server_free(pair->server));
    OK(fedhds_method_free(pair->method));
}

static message_t start_of(const pair_t* pair, uint32_t round) {
    const uint32_t number = 0;
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_server_begin_round(pair->server, round, &number, 1, NULL, &bytes));
    return taken(bytes);
}

// The client's answer to a round's beginning, also where it fails.
static fedhds_status_t answer(fedhds_client_t* client, const pair_t* pair, const message_t* start,
    const fedhds_scores_t* scores, message_t* summary) {
    const fedhds_matrix_view_t view = view_of(pair);
    fedhds_bytes_t* bytes = NULL;
    const fedhds_status_t status =
        fedhds_client_summarize(client, start->data, start->length, &view, 0, scores, NULL, &bytes);
    if (status == FEDHDS_STATUS_OK) *summary = taken(bytes);
    return status;
}

// From the summary to the rows that train.
static size_t rest_of_round(const pair_t* pair, const message_t* summary, uint32_t rows[ROWS]) {
    fedhds_bytes_t* bytes = NULL;
    size_t records = 0, count = 0;
    OK(fedhds_server_receive(pair->server, 0, summary->data, summary->length));
    OK(fedhds_server_select(pair->server, NULL));
    OK(fedhds_server_order(pair->server, 0, &bytes, &records));
    message_t order = taken(bytes);
    OK(fedhds_client_choose(pair->client, order.data, order.length, NULL, rows, ROWS, &count));
    CHECK(count == records);
    free(order.data);
    return count;
}

static size_t whole_round(const pair_t* pair, uint32_t round, const fedhds_scores_t* scores, uint32_t rows[ROWS]) {
    message_t start = start_of(pair, round), summary = {NULL, 0};
    OK(answer(pair->client, pair, &start, scores, &summary));
    const size_t count = rest_of_round(pair, &summary, rows);
    free(start.data);
    free(summary.data);
    return count;
}

static bool says(fedhds_bytes_t* report, const char* text) {
    const uint8_t* data = NULL;
    size_t length = 0;
    OK(fedhds_bytes_view(report, &data, &length));
    const bool found = strstr((const char*)data, text) != NULL;  // a NUL stands behind it
    if (!found) fprintf(stderr, "%s\n", (const char*)data);
    OK(fedhds_bytes_free(report));
    return found;
}

static void end_round(const pair_t* pair, uint32_t records) {
    const uint32_t number = 0;
    fedhds_bytes_t* report = NULL;
    OK(fedhds_server_end_round(pair->server, &number, &records, 1, &report));
    OK(fedhds_bytes_free(report));
}

// --- scores

static size_t on_client, on_server;

// The rows of the highest first score: what only somebody who sees the scores can choose.
static int32_t by_score(const fedhds_rows_t* rows, uint64_t seed, size_t count, size_t per_cluster, uint32_t* chosen,
    void* user_data) {
    (void)seed, (void)per_cluster;
    if (rows->scores == NULL || strcmp(rows->scores->names[0], "loss") != 0) return 4;
    if (strcmp(rows->scores->names[1], "rank") != 0 || rows->scores->values.cols != 2) return 5;
    if (rows->scores->values.rows != rows->points.rows) return 6;
    bool gone[ROWS] = {false};
    for (size_t i = 0; i < count; ++i) {
        size_t best = ROWS;
        for (size_t row = 0; row < rows->points.rows; ++row) {
            const float value = rows->scores->values.data[row * rows->scores->values.row_stride];
            const float most = best == ROWS ? -1 : rows->scores->values.data[best * rows->scores->values.row_stride];
            if (!gone[row] && (best == ROWS || value > most)) best = row;
        }
        gone[best] = true, chosen[i] = (uint32_t)best;
    }
    ++*(size_t*)user_data;
    return 0;
}

static void scores(void) {
    static const char* const names[] = {"loss", "rank"};
    float values[ROWS * 2];
    // Topic 1 has the highest losses, and of each topic the later rows.
    for (size_t row = 0; row < ROWS; ++row) {
        values[2 * row] = (row % 3 == 1 ? 100.0f : 0.0f) + (float)row;
        values[2 * row + 1] = NAN;
    }
    const fedhds_matrix_view_t view = {values, ROWS, 2, 2};
    const fedhds_scores_t given = {names, view};
    fedhds_method_t* method = method_of("preset = \"fedhds_coverage\"\ncount = { budget = 1 }\n"
                                        "client = { shared_dims = 4, share_scores = true }");
    OK(fedhds_method_set_selector(method, "client.selector", by_score, 0, 0, &on_client));
    OK(fedhds_method_set_selector(method, "server.selector", by_score, 0, 0, &on_server));
    pair_t pair = pair_of(method);
    uint32_t rows[ROWS];
    CHECK(whole_round(&pair, 0, &given, rows) == 1);
    // Of the group of the highest mean, the row of the highest loss; numbers that are not there pass through the state.
    CHECK(rows[0] == 22 && on_client == 1 && on_server == 1);
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_state(pair.client, &bytes));
    message_t state = taken(bytes);
    OK(fedhds_client_resume(pair.client, state.data, state.length));
    free(state.data);
    OK(fedhds_server_abandon_round(pair.server));

    message_t start = start_of(&pair, 1), summary = {NULL, 0};
    fedhds_scores_t wrong = given;
    wrong.values.rows = ROWS - 1;
    SAYS(FEDHDS_STATUS_INPUT, "scores", answer(pair.client, &pair, &start, &wrong, &summary));
    static const char* const twice[] = {"loss", "loss"};
    wrong = given, wrong.names = twice;
    SAYS(FEDHDS_STATUS_INPUT, "distinct", answer(pair.client, &pair, &start, &wrong, &summary));
    values[4] = INFINITY;
    SAYS(FEDHDS_STATUS_INPUT, "row 2 of `loss`", answer(pair.client, &pair, &start, &given, &summary));
    free(start.data);
    pair_free(&pair);
}

// --- upload

typedef struct {
    int32_t answer;
    enum { WELL, MORE_GROUPS, NEW_GROUP, NAN_CENTROID } what;
    unsigned calls;
    uint8_t drawn[13];
    fedhds_secret_t* kept;
} upload_t;

// Leaves out the first group, says that the others have 20 records, and moves their centroids by what it draws.
static int32_t send(fedhds_summary_t* summary, fedhds_secret_t* secret, void* user_data) {
    upload_t* upload = user_data;
    upload->calls += 1;
    if (summary->client != 0 || summary->groups < 2 || summary->dims != 4 || summary->scores != 0) return 4;
    if (fedhds_secret_draw(secret, upload->drawn, sizeof upload->drawn) != FEDHDS_STATUS_OK) return 5;
    upload->kept = secret;
    summary->groups -= 1;
    for (size_t group = 0; group < summary->groups; ++group) {
        summary->clusters[group] = summary->clusters[group + 1];
        summary->sizes[group] = 20;
        for (size_t col = 0; col < summary->dims; ++col) {
            float* value = &summary->centroids[group * summary->dims + col];
            *value = value[summary->dims] + (float)upload->drawn[col];
        }
    }
    if (upload->what == MORE_GROUPS) summary->groups += 2;
    if (upload->what == NEW_GROUP) summary->clusters[summary->groups - 1] = 1000;
    if (upload->what == NAN_CENTROID) summary->centroids[0] = NAN;
    return upload->answer;
}

static void uploads(void) {
    upload_t upload = {0};
    fedhds_method_t* method = method_of(TWO);
    OK(fedhds_method_set_upload(method, send, &upload));
    pair_t pair = pair_of(method);
    uint8_t secret[32];
    for (uint8_t i = 0; i < 32; ++i) secret[i] = i;
    OK(fedhds_client_set_secret(pair.client, secret));
    message_t start = start_of(&pair, 0), first = {NULL, 0}, again = {NULL, 0}, later = {NULL, 0}, other = {NULL, 0};
    OK(answer(pair.client, &pair, &start, NULL, &first));
    CHECK(upload.calls == 1);
    // Asked again, the same bytes again, and nothing is drawn.
    OK(answer(pair.client, &pair, &start, NULL, &again));
    CHECK(upload.calls == 1 && first.length == again.length && memcmp(first.data, again.data, first.length) == 0);
    // Once its call has ended, the secret is nobody's.
    uint8_t byte = 0;
    FAILS(FEDHDS_STATUS_INVALID_HANDLE, fedhds_secret_draw(upload.kept, &byte, 1));

    // The server has what the stage made of it, and orders more than a group holds are orders for all of it.
    fedhds_group_t groups[8];
    size_t count = 0, records = 0;
    uint32_t rows[ROWS];
    records = rest_of_round(&pair, &first, rows);
    CHECK(records == 2);
    OK(fedhds_server_selection(pair.server, groups, 8, &count));
    CHECK(count == 2 && groups[0].cluster == 1 && groups[0].records == 20 && groups[1].records == 20);

    // A client that goes on from its state goes on drawing; one that begins anew with the secret draws the same again.
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_state(pair.client, &bytes));
    message_t state = taken(bytes);
    uint8_t drawn[2][13];
    memcpy(drawn[0], upload.drawn, 13);
    OK(fedhds_server_abandon_round(pair.server));
    message_t next = start_of(&pair, 1);
    OK(answer(pair.client, &pair, &next, NULL, &later));
    memcpy(drawn[1], upload.drawn, 13);
    CHECK(memcmp(drawn[0], drawn[1], 13) != 0);
    fedhds_client_t* resumed = NULL;
    OK(fedhds_client_new(0, method, 1, 5, &resumed));
    OK(fedhds_client_resume(resumed, state.data, state.length));
    OK(answer(resumed, &pair, &next, NULL, &other));
    CHECK(memcmp(drawn[1], upload.drawn, 13) == 0);
    CHECK(later.length == other.length && memcmp(later.data, other.data, later.length) == 0);
    free(other.data);
    fedhds_client_t* anew = NULL;
    OK(fedhds_client_new(0, method, 1, 5, &anew));
    OK(fedhds_client_set_secret(anew, secret));
    OK(answer(anew, &pair, &start, NULL, &other));
    CHECK(memcmp(drawn[0], upload.drawn, 13) == 0);
    free(other.data);
    OK(fedhds_client_free(anew));
    // Without one the operating system gives it.
    OK(fedhds_client_new(0, method, 1, 5, &anew));
    OK(answer(anew, &pair, &start, NULL, &other));
    CHECK(memcmp(drawn[0], upload.drawn, 13) != 0);
    free(other.data);
    OK(fedhds_client_free(anew));

    // What breaks the stage's promise is named; draws of a failed call stay drawn.
    OK(fedhds_client_resume(resumed, state.data, state.length));
    upload.answer = 77;
    SAYS(FEDHDS_STATUS_STAGE, "77", answer(resumed, &pair, &next, NULL, &other));
    CHECK(strstr(fedhds_last_error_message(), "client.upload") != NULL);
    upload.answer = 0;
    memcpy(drawn[1], upload.drawn, 13);
    for (int what = MORE_GROUPS; what <= NAN_CENTROID; ++what) {
        upload.what = what;
        SAYS(FEDHDS_STATUS_STAGE, "client.upload", answer(resumed, &pair, &next, NULL, &other));
        CHECK(memcmp(drawn[1], upload.drawn, 13) != 0);
        memcpy(drawn[1], upload.drawn, 13);
    }
    OK(fedhds_client_free(resumed));
    free(start.data);
    free(next.data);
    free(first.data);
    free(again.data);
    free(later.data);
    free(state.data);
    pair_free(&pair);
}

// --- memory

enum { MOST = 8, DIMS = 4 };

typedef struct {
    int32_t answer;
    float points[MOST * DIMS];
    float mass[MOST];
    size_t count;
    unsigned begun, committed;
    uint32_t round;
    float wrong;  // takes the place of the first mass
} memory_t;

static int32_t begin(uint32_t round, void* user_data) {
    memory_t* memory = user_data;
    memory->begun += 1, memory->round = round;
    return 0;
}

static int32_t commit(const fedhds_trained_group_t* groups, size_t count, void* user_data) {
    memory_t* memory = user_data;
    memory->committed += 1;
    for (size_t i = 0; i < count && memory->count < MOST; ++i) {
        if (groups[i].client != 0 || groups[i].dims != DIMS || groups[i].records == 0) return 3;
        if (i > 0 && groups[i].cluster <= groups[i - 1].cluster) return 4;
        memcpy(&memory->points[memory->count * DIMS], groups[i].centroid, DIMS * sizeof(float));
        memory->mass[memory->count] = 1000.0f * (float)groups[i].records;
        memory->count += 1;
    }
    return memory->answer;
}

static int32_t covered(fedhds_matrix_view_t* points, const float** mass, void* user_data) {
    memory_t* memory = user_data;
    if (memory->wrong != 0) memory->mass[0] = memory->wrong, memory->count = 1;
    points->data = memory->points, points->rows = memory->count, points->cols = DIMS, points->row_stride = DIMS;
    *mass = memory->mass;
    return 0;
}

static int32_t state(fedhds_bytes_t** bytes, void* user_data) {
    return (int32_t)fedhds_bytes_new((const uint8_t*)user_data, sizeof(memory_t), bytes);
}

static int32_t resume(const uint8_t* data, size_t length, void* user_data) {
    if (length != sizeof(memory_t)) return 5;
    memcpy(user_data, data, length);
    return 0;
}

static bool has_topic(const uint32_t* rows, size_t count, uint32_t topic) {
    for (size_t i = 0; i < count; ++i) {
        if (rows[i] % 3 == topic) return true;
    }
    return false;
}

// The topic that two records of the first round leave out.
static uint32_t left_out_of(const uint32_t* rows, size_t count) {
    uint32_t topic = 0;
    while (has_topic(rows, count, topic)) ++topic;
    CHECK(count == 2 && topic < 3);
    return topic;
}

static void memories(void) {
    const fedhds_memory_t calls = {sizeof calls, MOST, begin, commit, covered, state, resume};
    uint32_t rows[ROWS];

    // Without a memory the second round selects as the first did.
    pair_t plain = pair_of(method_of(TWO));
    const uint32_t missed = left_out_of(rows, whole_round(&plain, 0, NULL, rows));
    end_round(&plain, 2);
    CHECK(!has_topic(rows, whole_round(&plain, 1, NULL, rows), missed));
    pair_free(&plain);

    // With it the second round goes where the first did not, also in another process.
    memory_t memory = {0}, other = {0};
    fedhds_method_t* method = method_of(TWO);
    OK(fedhds_method_set_memory(method, &calls, &memory));
    pair_t pair = pair_of(method);
    CHECK(left_out_of(rows, whole_round(&pair, 0, NULL, rows)) == missed);
    CHECK(memory.begun == 1 && memory.round == 0 && memory.committed == 0);
    end_round(&pair, 2);
    CHECK(memory.committed == 1 && memory.count == 2);
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_server_state(pair.server, &bytes));
    message_t kept = taken(bytes);
    CHECK(has_topic(rows, whole_round(&pair, 1, NULL, rows), missed));
    CHECK(memory.begun == 2 && memory.round == 1);
    // A round that is left commits nothing; the next one begins all the same.
    OK(fedhds_server_abandon_round(pair.server));
    CHECK(memory.committed == 1);

    fedhds_method_t* elsewhere = method_of(TWO);
    OK(fedhds_method_set_memory(elsewhere, &calls, &other));
    pair_t resumed = pair_of(elsewhere);
    OK(fedhds_server_resume(resumed.server, kept.data, kept.length, NULL));
    CHECK(other.count == 2 && memcmp(other.points, memory.points, sizeof other.points) == 0);
    CHECK(has_topic(rows, whole_round(&resumed, 1, NULL, rows), missed));
    // Failures, and what cannot be: named by the stage.
    other.answer = 66;
    const uint32_t number = 0, one = 1, three = 3;
    SAYS(FEDHDS_STATUS_STAGE, "server.memory", fedhds_server_end_round(resumed.server, &number, &one, 1, &bytes));
    OK(fedhds_server_abandon_round(resumed.server));
    static const float masses[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < 3; ++i) {
        memory_t bad = {0};
        bad.wrong = masses[i];
        fedhds_method_t* spoilt = method_of(TWO);
        fedhds_server_t* server = NULL;
        OK(fedhds_method_set_memory(spoilt, &calls, &bad));
        SAYS(FEDHDS_STATUS_STAGE, "mass", fedhds_server_new(spoilt, 1, 5, &server));
        OK(fedhds_method_free(spoilt));
    }
    fedhds_memory_t small = calls;
    small.bound = 1;
    fedhds_server_t* server = NULL;
    OK(fedhds_method_set_memory(elsewhere, &small, &other));
    SAYS(FEDHDS_STATUS_STAGE, "at most 1", fedhds_server_new(elsewhere, 1, 5, &server));
    small.bound = 0;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_method_set_memory(elsewhere, &small, &other));
    small.bound = MOST, small.struct_size = 3;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_method_set_memory(elsewhere, &small, &other));
    // A memory without `resume` refuses a state; a selector that does not look at it has no use for it.
    fedhds_memory_t without = calls;
    without.resume = NULL;
    OK(fedhds_method_set_memory(elsewhere, &without, &other));
    OK(fedhds_server_new(elsewhere, 1, 5, &server));
    SAYS(FEDHDS_STATUS_STAGE, "resume", fedhds_server_resume(server, kept.data, kept.length, NULL));
    OK(fedhds_server_free(server));
    size_t calls_of = 0;
    OK(fedhds_method_set_selector(elsewhere, "server.selector", by_score, 0, 0, &calls_of));
    SAYS(FEDHDS_STATUS_PARAMETER, "server.memory", fedhds_server_new(elsewhere, 1, 5, &server));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_method_set_selector(elsewhere, "server.selector", by_score, 0, 2, NULL));
    OK(fedhds_method_set_selector(elsewhere, "server.selector", by_score, 1, 1, NULL));
    SAYS(FEDHDS_STATUS_PARAMETER, "server.clusterer", fedhds_server_new(elsewhere, 1, 5, &server));

    // More than was ordered, and a client twice.
    CHECK(whole_round(&pair, 2, NULL, rows) == 2);
    SAYS(FEDHDS_STATUS_PROTOCOL, "client 0", fedhds_server_end_round(pair.server, &number, &three, 1, &bytes));
    const uint32_t twice[] = {0, 0}, ones[] = {1, 1};
    SAYS(FEDHDS_STATUS_INPUT, "twice", fedhds_server_end_round(pair.server, twice, ones, 2, &bytes));
    // The transport's reason stands in the report.
    OK(fedhds_server_leave_out(pair.server, 0, "the battery is empty"));
    OK(fedhds_server_end_round(pair.server, NULL, NULL, 0, &bytes));
    CHECK(says(bytes, "the battery is empty") && memory.committed == 2 && memory.count == 2);
    CHECK(whole_round(&pair, 3, NULL, rows) == 2);
    OK(fedhds_server_end_round(pair.server, &number, &one, 1, &bytes));
    CHECK(says(bytes, "\"trained\":{\"0\":1}"));
    free(kept.data);
    pair_free(&pair);
    pair_free(&resumed);
}

int main(void) {
    scores();
    uploads();
    memories();
    return DONE;
}
