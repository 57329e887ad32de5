// Damaged messages and states: every beginning of them, every byte changed. Each is refused or taken, and nothing
// breaks.
//
// `messages` alone does it all; `messages quick` tries every eighth damage, for Valgrind.

#include "fixtures.h"

static size_t step = 1;

// Something that takes bytes, and the bytes that it would take. `again` prepares it for the next try.
typedef struct {
    const char* name;
    fedhds_status_t (*take)(const uint8_t* data, size_t length);
    void (*again)(void);
    message_t message;
} taker_t;

static round_t r;
static fedhds_server_t* server;
static fedhds_client_t* client;
static message_t collecting;  // the state of a server that waits for the summary

static fedhds_status_t take_kind(const uint8_t* data, size_t length) {
    int32_t kind = 0;
    return fedhds_message_kind(data, length, &kind);
}

static fedhds_status_t take_start(const uint8_t* data, size_t length) {
    fedhds_bytes_t* summary = NULL;
    const fedhds_status_t status = fedhds_client_summarize(client, data, length, &r.features.view, 0, NULL, NULL, &summary);
    CHECK((status == FEDHDS_STATUS_OK) == (summary != NULL));
    OK(fedhds_bytes_free(summary));
    return status;
}

static fedhds_status_t take_summary(const uint8_t* data, size_t length) {
    const fedhds_status_t status = fedhds_server_receive(server, 0, data, length);
    // What was taken can be selected from.
    if (status == FEDHDS_STATUS_OK) CHECK(fedhds_server_select(server, NULL) != FEDHDS_STATUS_PANIC);
    return status;
}

static fedhds_status_t take_order(const uint8_t* data, size_t length) {
    uint32_t rows[ROWS];
    size_t count = 0;
    const fedhds_status_t status = fedhds_client_choose(r.client, data, length, NULL, rows, ROWS, &count);
    for (size_t i = 0; status == FEDHDS_STATUS_OK && i < count; ++i)
        CHECK(rows[i] < ROWS && (i == 0 || rows[i] > rows[i - 1]));
    return status;
}

static int32_t losses_of(const fedhds_pair_t* pairs, size_t count, float* losses, void* user_data) {
    (void)user_data;
    for (size_t i = 0; i < count; ++i) {
        CHECK(pairs[i].response < ROWS && pairs[i].prompt < ROWS);
        losses[i] = pairs[i].response == pairs[i].prompt ? 1.0f : 2.0f;
    }
    return 0;
}

static fedhds_status_t take_scored_order(const uint8_t* data, size_t length) {
    uint32_t rows[ROWS];
    size_t count = 0;
    const fedhds_status_t status =
        fedhds_client_choose_scored(r.client, data, length, losses_of, NULL, NULL, rows, ROWS, &count);
    for (size_t i = 0; status == FEDHDS_STATUS_OK && i < count; ++i)
        CHECK(rows[i] < ROWS && (i == 0 || rows[i] > rows[i - 1]));
    return status;
}

static fedhds_status_t take_pilot(const uint8_t* data, size_t length) {
    size_t count = 0;
    return fedhds_client_pilot(r.client, data, length, NULL, 0, &count);
}

static fedhds_status_t take_answered(const uint8_t* data, size_t length) {
    fedhds_bytes_t* answered = NULL;
    const fedhds_status_t status =
        fedhds_client_answer(r.client, r.start.data, r.start.length, data, length, NULL, 0, &answered);
    CHECK((status == FEDHDS_STATUS_OK) == (answered != NULL));
    OK(fedhds_bytes_free(answered));
    return status;
}

static fedhds_status_t take_client_state(const uint8_t* data, size_t length) {
    const fedhds_status_t status = fedhds_client_resume(client, data, length);
    size_t count = 0;
    if (status == FEDHDS_STATUS_OK) {
        CHECK(fedhds_client_choose(client, r.order.data, r.order.length, NULL, NULL, 0, &count) != FEDHDS_STATUS_PANIC);
    }
    return status;
}

static fedhds_status_t take_server_state(const uint8_t* data, size_t length) {
    const fedhds_status_t status = fedhds_server_resume(server, data, length, NULL);
    if (status == FEDHDS_STATUS_OK) {
        fedhds_bytes_t* order = NULL;
        size_t records = 0;
        CHECK(fedhds_server_select(server, NULL) != FEDHDS_STATUS_PANIC);
        CHECK(fedhds_server_order(server, 0, &order, &records) != FEDHDS_STATUS_PANIC);
        OK(fedhds_bytes_free(order));
    }
    return status;
}

static void new_server(void) {
    OK(fedhds_server_free(server));
    OK(fedhds_server_new(r.method, 1, 5, &server));
}

static void waiting_server(void) {
    new_server();
    OK(fedhds_server_resume(server, collecting.data, collecting.length, NULL));
}

static void new_client(void) {
    OK(fedhds_client_free(client));
    OK(fedhds_client_new(0, r.method, 1, 5, &client));
}

static void nothing(void) {}

// A copy that ends with its memory.
static uint8_t* copy_of(const uint8_t* data, size_t length) {
    uint8_t* copy = malloc(length == 0 ? 1 : length);
    CHECK(copy != NULL);
    if (length > 0) memcpy(copy, data, length);
    return copy;
}

static void try_one(const taker_t* taker, const uint8_t* data, size_t length, bool must_fail) {
    uint8_t* copy = copy_of(data, length);
    taker->again();
    const fedhds_status_t status = taker->take(copy, length);
    free(copy);
    if (status == FEDHDS_STATUS_PANIC || status == FEDHDS_STATUS_NULL_POINTER ||
        (must_fail && status == FEDHDS_STATUS_OK)) {
        fprintf(stderr, "%s of %zu bytes: %s: %s\n", taker->name, length, fedhds_status_name(status),
            fedhds_last_error_message());
        exit(1);
    }
    if (status != FEDHDS_STATUS_OK) CHECK(fedhds_last_error_message()[0] != '\0');
}

static void damage(const taker_t* taker) {
    const message_t whole = taker->message;
    taker->again();
    OK(taker->take(whole.data, whole.length));
    // Of `message_kind` some beginnings are whole; of a message or a state none is.
    const bool must_fail = taker->take != take_kind;
    for (size_t length = 0; length < whole.length; length += step) try_one(taker, whole.data, length, must_fail);
    uint8_t* longer = copy_of(whole.data, whole.length);
    longer = realloc(longer, whole.length + 1);
    CHECK(longer != NULL);
    longer[whole.length] = 0;
    try_one(taker, longer, whole.length + 1, must_fail);
    free(longer);

    static const uint8_t flips[] = {0x01, 0x80, 0xFF};
    for (size_t at = 0; at < whole.length; at += step) {
        uint8_t* changed = copy_of(whole.data, whole.length);
        for (size_t i = 0; i < sizeof flips; ++i) {
            changed[at] = whole.data[at] ^ flips[i];
            try_one(taker, changed, whole.length, false);
        }
        free(changed);
    }
    // A number that says that much more follows, in the place of each byte.
    static const uint8_t huge[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    for (size_t at = 4; at < whole.length; at += step) {
        uint8_t* changed = malloc(whole.length + sizeof huge);
        CHECK(changed != NULL);
        memcpy(changed, whole.data, at);
        memcpy(changed + at, huge, sizeof huge);
        memcpy(changed + at + sizeof huge, whole.data + at, whole.length - at);
        try_one(taker, changed, whole.length + sizeof huge, false);
        free(changed);
    }
}

// Messages that are whole but come at the wrong time or to the wrong one.
static void misplaced(void) {
    const message_t all[] = {r.start, r.summary, r.order};
    static const int32_t kinds[] = {1, 2, 3};
    for (size_t i = 0; i < 3; ++i) {
        int32_t kind = 0;
        OK(fedhds_message_kind(all[i].data, all[i].length, &kind));
        CHECK(kind == kinds[i]);
        if (i != 0) FAILS(FEDHDS_STATUS_PROTOCOL, take_start(all[i].data, all[i].length));
        if (i != 2) FAILS(FEDHDS_STATUS_PROTOCOL, take_order(all[i].data, all[i].length));
        waiting_server();
        if (i != 1) FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_receive(server, 0, all[i].data, all[i].length));
    }
    // A summary twice, before the round, after the selection.
    waiting_server();
    OK(fedhds_server_receive(server, 0, r.summary.data, r.summary.length));
    SAYS(FEDHDS_STATUS_PROTOCOL, "second", fedhds_server_receive(server, 0, r.summary.data, r.summary.length));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_receive(r.server, 0, r.summary.data, r.summary.length));
    new_server();
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_receive(server, 0, r.summary.data, r.summary.length));
    // Another client's order.
    fedhds_client_t* other = NULL;
    fedhds_bytes_t* summary = NULL;
    size_t count = 0;
    OK(fedhds_client_new(9, r.method, 1, 5, &other));
    OK(fedhds_client_summarize(other, r.start.data, r.start.length, &r.features.view, 0, NULL, NULL, &summary));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_client_choose(other, r.order.data, r.order.length, NULL, NULL, 0, &count));
    const message_t stranger = taken(summary);
    waiting_server();
    // Of a client that is not in the round; and one that speaks for another. The failure names who sent it.
    SAYS(FEDHDS_STATUS_PROTOCOL, "client 9", fedhds_server_receive(server, 9, stranger.data, stranger.length));
    SAYS(FEDHDS_STATUS_PROTOCOL, "client 0", fedhds_server_receive(server, 0, stranger.data, stranger.length));
    free(stranger.data);
    OK(fedhds_client_free(other));
}

static message_t state_of_client(void) {
    fedhds_bytes_t* state = NULL;
    const uint32_t trained[] = {1, 4};
    OK(fedhds_client_mark_trained(r.client, trained, 2));
    OK(fedhds_client_state(r.client, &state));
    return taken(state);
}

static message_t state_of(const fedhds_server_t* of) {
    fedhds_bytes_t* state = NULL;
    OK(fedhds_server_state(of, &state));
    return taken(state);
}

// Lines that name what a round does.
static int heard[3];
static const char* const said[] = {"a round begins", "records are grouped", "records are selected"};

static void on_log(int32_t level, const char* target, const char* message, void* user_data) {
    CHECK(level == 4 && strncmp(target, "fedhds_core::", 13) == 0 && user_data == heard);
    for (int i = 0; i < 3; ++i) heard[i] += strstr(message, said[i]) != NULL && strstr(message, "round=0") != NULL;
}

int main(int count, char** arguments) {
    if (count > 1 && strcmp(arguments[1], "quick") == 0) step = 8;
    OK(fedhds_set_log(4, on_log, heard));
    round_of(COVERAGE, &r);
    for (int i = 0; i < 3; ++i) CHECK(heard[i] == 1);
    OK(fedhds_set_log(1, NULL, NULL));
    const uint32_t number = 0;
    fedhds_bytes_t* start = NULL;
    new_server();
    OK(fedhds_server_begin_round(server, 0, &number, 1, NULL, &start));
    OK(fedhds_bytes_free(start));
    collecting = state_of(server);
    new_client();

    misplaced();
    message_t of_client = state_of_client(), of_server = state_of(r.server);
    const taker_t takers[] = {
        {"message_kind", take_kind, nothing, r.summary},
        {"client_summarize", take_start, nothing, r.start},
        {"server_receive", take_summary, waiting_server, r.summary},
        {"client_choose", take_order, nothing, r.order},
        {"client_choose_scored", take_scored_order, nothing, r.order},
        {"client_pilot", take_pilot, nothing, r.start},
        {"client_answer", take_answered, nothing, r.summary},
        {"client_resume", take_client_state, new_client, of_client},
        {"server_resume", take_server_state, new_server, of_server},
        {"server_resume, collecting", take_server_state, new_server, collecting},
    };
    for (size_t i = 0; i < sizeof takers / sizeof *takers; ++i) damage(&takers[i]);

    OK(fedhds_server_free(server));
    OK(fedhds_client_free(client));
    free(collecting.data);
    free(of_client.data);
    free(of_server.data);
    round_free(&r);
    return DONE;
}
