// The method `fedhds_robust` with features of texts alone, from texts to the rows that train: near copies, groups that are sent once, a
// gate that opens by made-up losses and leaves bad records out, and states that go on elsewhere.

#include "fixtures.h"

#include <math.h>

#define CLIENTS 3u
#define RECORDS 64u
#define TOPICS 8u
#define DIMS 128u
// The last records of the first client say what its first ones say.
#define COPIES 4u

static const char* const METHOD = "preset = \"fedhds_robust\"\n[server.gate]\nrepresentatives = 16";
static const char* const ASKS[TOPICS] = {
    "Translate this sentence into Italian",
    "Count how many apples remain",
    "Write a haiku about mountains",
    "Which bug breaks my Python loop?",
    "Name the planet that orbits nearest",
    "Summarise today's court ruling",
    "Suggest dinner without gluten",
    "Explain compound interest",
};

// What a client's losses are made of, and what was asked.
typedef struct {
    int32_t answer;  // what the function returns
    unsigned calls;
    bool asked[RECORDS];
} judge_t;

// A client with its records.
typedef struct {
    uint32_t number;
    fedhds_client_t* client;
    fedhds_records_t* records;
    fedhds_matrix_t *features, *prompts;
    uint32_t copies[RECORDS];
    bool trained[RECORDS];
    judge_t judge;
    message_t summary, order;
    size_t ordered;
} member_t;

static void texts_of(uint32_t number, unsigned row, char* instruction, char* input, char* response) {
    const bool copy = number == 0 && row >= RECORDS - COPIES;
    const unsigned said = copy ? row - (RECORDS - COPIES) : row;
    sprintf(instruction, copy ? "Please: %s" : "%s", ASKS[said / 2 % TOPICS]);
    sprintf(input, copy ? "Case %u-%u." : "case %u-%u", number, said);
    sprintf(response, copy ? "it is  number %u" : "It is number %u.", 100 * number + said);
}

// Every second record is bad: its response has nothing to do with its prompt.
static bool is_good(uint32_t row) { return row % 2 == 0; }

static float loss_of(fedhds_pair_t pair) {
    if (is_good(pair.response) && pair.response == pair.prompt) return 0.5f;
    const uint32_t mixed = (pair.response * 2654435761u) ^ (pair.prompt * 40503u);
    return 2.0f + (float)(mixed >> 8 & 0xFFu) / 2560.0f;
}

static int32_t losses_of(const fedhds_pair_t* pairs, size_t count, float* losses, void* user_data) {
    judge_t* judge = user_data;
    judge->calls += 1;
    if (judge->answer != 0) return judge->answer;
    for (size_t i = 0; i < count; ++i) {
        if (pairs[i].response >= RECORDS || pairs[i].prompt >= RECORDS || !isnan(losses[i])) return 99;
        if (pairs[i].response == pairs[i].prompt) {
            // Who passed trains, and who did not is remembered: nobody is looked at twice.
            if (judge->asked[pairs[i].response]) return 98;
            judge->asked[pairs[i].response] = true;
        }
        losses[i] = loss_of(pairs[i]);
    }
    return 0;
}

static fedhds_matrix_view_t view_of(const fedhds_matrix_t* matrix) {
    fedhds_matrix_view_t view;
    OK(fedhds_matrix_view(matrix, &view));
    return view;
}

static void texts(const fedhds_text_features_t* text) {
    float row[DIMS], other[DIMS];
    size_t count = 77;
    OK(fedhds_text_features_row(text, "Name a fruit.", NULL, "apple", NULL, 0, &count));
    CHECK(count == DIMS);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_text_features_row(text, "a", NULL, NULL, row, DIMS - 1, &count));
    OK(fedhds_text_features_row(text, "Name a fruit.", NULL, "apple", row, DIMS, &count));
    OK(fedhds_text_features_row(text, "name a  fruit", "", "Apple", other, DIMS, &count));
    float square = 0, alike = 0;
    for (size_t i = 0; i < DIMS; ++i) square += row[i] * row[i], alike += row[i] * other[i];
    CHECK(fabsf(square - 1.0f) < 1e-5f && alike > 0.8f);
    OK(fedhds_text_features_row(text, "", NULL, NULL, row, DIMS, &count));
    for (size_t i = 0; i < DIMS; ++i) CHECK(row[i] == 0);
    SAYS(FEDHDS_STATUS_PARAMETER, "input", fedhds_text_features_row(text, "a", "\xff", NULL, row, DIMS, &count));

    fedhds_text_features_config_t config;
    fedhds_text_features_t* strange = NULL;
    OK(fedhds_text_features_config_init(&config, sizeof config));
    CHECK(config.dims == DIMS && config.seed == 241010926);
    config.dims = 3;
    SAYS(FEDHDS_STATUS_PARAMETER, "dims", fedhds_text_features_new(&config, &strange));
    CHECK(strange == NULL);
    config.dims = DIMS, config.seed = 1;
    OK(fedhds_text_features_new(&config, &strange));
    OK(fedhds_text_features_row(strange, "Name a fruit.", NULL, NULL, row, DIMS, &count));
    OK(fedhds_text_features_row(text, "Name a fruit.", NULL, NULL, other, DIMS, &count));
    CHECK(memcmp(row, other, sizeof row) != 0);
    OK(fedhds_text_features_free(strange));
}

static void near_copies(void) {
    fedhds_near_copies_t* copies = NULL;
    uint32_t labels[3];
    size_t count = 77;
    FAILS(FEDHDS_STATUS_CONFIG, fedhds_near_copies_new("{\"extra_word\": 1}", &copies));
    SAYS(FEDHDS_STATUS_PARAMETER, "extra_words", fedhds_near_copies_new("{\"extra_words\": 17}", &copies));
    CHECK(copies == NULL);
    OK(fedhds_near_copies_new("{\"extra_words\": 2}", &copies));
    OK(fedhds_near_copies_labels(copies, NULL, 0, &count));
    CHECK(count == 0);
    OK(fedhds_near_copies_add(copies, "Name the sound of this animal.", "cow", "moo"));
    OK(fedhds_near_copies_add(copies, "Name the sound of this animal.", "sheep", "baa"));
    OK(fedhds_near_copies_add(copies, "Please: name the  sound of this animal", "Cow", "Moo."));
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_near_copies_labels(copies, labels, 2, &count));
    CHECK(count == 3);
    OK(fedhds_near_copies_labels(copies, labels, 3, &count));
    CHECK(labels[0] == 0 && labels[1] == 1 && labels[2] == 0);
    OK(fedhds_near_copies_free(copies));
}

static void member_of(uint32_t number, const fedhds_method_t* method, const fedhds_text_features_t* text, member_t* m) {
    memset(m, 0, sizeof *m);
    m->number = number;
    OK(fedhds_client_new(number, method, 1, 5, &m->client));
    OK(fedhds_records_new(&m->records));
    for (unsigned row = 0; row < RECORDS; ++row) {
        char id[16], instruction[96], input[32], response[48];
        sprintf(id, "r%u", row);
        texts_of(number, row, instruction, input, response);
        OK(fedhds_records_add(m->records, id, instruction, input, response, NULL));
    }
    OK(fedhds_text_features_of_records(text, m->records, NULL, &m->features));
    OK(fedhds_text_features_of_prompts(text, m->records, NULL, &m->prompts));
    // One by one they are the same bits.
    const fedhds_matrix_view_t features = view_of(m->features), prompts = view_of(m->prompts);
    CHECK(features.rows == RECORDS && features.cols == DIMS && prompts.rows == RECORDS && prompts.cols == DIMS);
    for (unsigned row = 0; row < RECORDS; row += 9) {
        char instruction[96], input[32], response[48];
        float values[DIMS];
        size_t count = 0;
        texts_of(number, row, instruction, input, response);
        OK(fedhds_text_features_row(text, instruction, input, response, values, DIMS, &count));
        CHECK(memcmp(values, features.data + row * DIMS, sizeof values) == 0);
        OK(fedhds_text_features_row(text, instruction, NULL, NULL, values, DIMS, &count));
        CHECK(memcmp(values, prompts.data + row * DIMS, sizeof values) == 0);
    }
    fedhds_near_copies_t* copies = NULL;
    size_t count = 0;
    OK(fedhds_near_copies_new(NULL, &copies));
    OK(fedhds_near_copies_add_records(copies, m->records));
    OK(fedhds_near_copies_labels(copies, m->copies, RECORDS, &count));
    CHECK(count == RECORDS);
    OK(fedhds_near_copies_free(copies));
    for (uint32_t row = 0; row < RECORDS; ++row) {
        const bool copy = number == 0 && row >= RECORDS - COPIES;
        CHECK(m->copies[row] == (copy ? row - (RECORDS - COPIES) : row));
    }
}

static void member_free(member_t* m) {
    OK(fedhds_client_free(m->client));
    OK(fedhds_records_free(m->records));
    OK(fedhds_matrix_free(m->features));
    OK(fedhds_matrix_free(m->prompts));
}

// A client's answer to a round's beginning, with its answer to the gate where it is asked.
static message_t summary_of(const member_t* m, fedhds_client_t* client, const message_t* start, size_t expected) {
    const fedhds_matrix_view_t features = view_of(m->features), prompts = view_of(m->prompts);
    const fedhds_summarize_options_t options = {sizeof options, 0, NULL, m->copies, &prompts, NULL};
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_summarize_with(client, start->data, start->length, &features, &options, NULL, &bytes));
    message_t plain = taken(bytes);
    fedhds_pair_t pairs[RECORDS * 4];
    float losses[RECORDS * 4];
    size_t count = 77;
    OK(fedhds_client_pilot(client, start->data, start->length, NULL, 0, &count));
    CHECK(count == expected);
    if (count > 0) {
        FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL,
            fedhds_client_pilot(client, start->data, start->length, pairs, count - 1, &count));
    }
    OK(fedhds_client_pilot(client, start->data, start->length, pairs, RECORDS * 4, &count));
    CHECK(count == expected);
    for (size_t i = 0; i < count; ++i) {
        CHECK(pairs[i].response < RECORDS && pairs[i].prompt < RECORDS);
        CHECK(i % 5 != 0 || pairs[i].response == pairs[i].prompt);  // first its own prompt, then four others
        losses[i] = loss_of(pairs[i]);
    }
    bytes = NULL;
    if (count > 0) {
        SAYS(FEDHDS_STATUS_INPUT, "losses",
            fedhds_client_answer(client, start->data, start->length, plain.data, plain.length, losses, count - 1, &bytes));
        CHECK(bytes == NULL);
    }
    OK(fedhds_client_answer(client, start->data, start->length, plain.data, plain.length, losses, count, &bytes));
    message_t answered = taken(bytes);
    // Without a question the message stays as it is.
    const bool same = answered.length == plain.length && memcmp(answered.data, plain.data, plain.length) == 0;
    CHECK(same == (expected == 0));
    free(plain.data);
    return answered;
}

// Calls that fail, or ask for the number alone, before the one that counts: they leave no trace.
static void in_vain(member_t* m) {
    const message_t order = m->order;
    uint32_t rows[RECORDS];
    size_t most = 77;
    judge_t failing = {7, 0, {false}};
    SAYS(FEDHDS_STATUS_STAGE, "returned 7",
        fedhds_client_choose_scored(m->client, order.data, order.length, losses_of, &failing, NULL, rows, RECORDS, &most));
    CHECK(most == 77 && failing.calls == 1);
    fedhds_control_t* control = NULL;
    OK(fedhds_control_new(&control));
    OK(fedhds_control_cancel(control));
    FAILS(FEDHDS_STATUS_CANCELLED, fedhds_client_choose_scored(m->client, order.data, order.length, losses_of,
                                       &failing, control, rows, RECORDS, &most));
    OK(fedhds_control_free(control));
    CHECK(most == 77 && failing.calls == 1);
    OK(fedhds_client_choose_scored(
        m->client, order.data, order.length, losses_of, &failing, NULL, NULL, 0, &most));
    CHECK(most == m->ordered && failing.calls == 1);
    most = 77;
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_client_choose_scored(m->client, order.data, order.length, losses_of,
                                              &failing, NULL, rows, m->ordered - 1, &most));
    CHECK(most == m->ordered && failing.calls == 1);
}

static size_t choose(member_t* m, uint32_t rows[RECORDS]) {
    size_t count = 0;
    OK(fedhds_client_choose_scored(
        m->client, m->order.data, m->order.length, losses_of, &m->judge, NULL, rows, m->ordered, &count));
    for (size_t i = 0; i < count; ++i) {
        CHECK(rows[i] < RECORDS && is_good(rows[i]) && !m->trained[rows[i]] && m->judge.asked[rows[i]]);
        // Of copies one may train.
        for (size_t other = 0; other < RECORDS; ++other)
            CHECK(!m->trained[other] || m->copies[other] != m->copies[rows[i]]);
        m->trained[rows[i]] = true;
    }
    OK(fedhds_client_mark_trained(m->client, rows, count));
    return count;
}

// The client's state in another client, which answers the round's beginning with the same bytes and goes on in its place.
static void go_on_elsewhere(member_t* m, const fedhds_method_t* method, const message_t* start) {
    fedhds_bytes_t* bytes = NULL;
    fedhds_client_t* other = NULL;
    OK(fedhds_client_state(m->client, &bytes));
    message_t state = taken(bytes);
    OK(fedhds_client_new(m->number, method, 1, 5, &other));
    OK(fedhds_client_resume(other, state.data, state.length));
    message_t here = summary_of(m, m->client, start, 0), there = summary_of(m, other, start, 0);
    CHECK(here.length == there.length && memcmp(here.data, there.data, here.length) == 0);
    free(state.data), free(here.data), free(there.data);
    OK(fedhds_client_free(m->client));
    m->client = other;
}

static fedhds_server_t* server_elsewhere(fedhds_server_t* server, const fedhds_method_t* method) {
    fedhds_bytes_t* bytes = NULL;
    fedhds_server_t* other = NULL;
    OK(fedhds_server_state(server, &bytes));
    message_t state = taken(bytes);
    OK(fedhds_server_free(server));
    OK(fedhds_server_new(method, 1, 5, &other));
    OK(fedhds_server_resume(other, state.data, state.length, NULL));
    free(state.data);
    return other;
}

static bool has(fedhds_bytes_t* report, const char* text) {
    message_t json = taken(report);
    char* whole = calloc(json.length + 1, 1);
    CHECK(whole != NULL);
    memcpy(whole, json.data, json.length);
    const bool found = strstr(whole, text) != NULL;
    if (!found) fprintf(stderr, "%s\n", whole);
    free(whole), free(json.data);
    return found;
}

static void federation(const fedhds_text_features_t* text) {
    fedhds_method_t* method = method_of(METHOD);
    fedhds_server_t* server = NULL;
    fedhds_bytes_t* bytes = NULL;
    member_t members[CLIENTS];
    uint32_t numbers[CLIENTS];
    OK(fedhds_server_new(method, 1, 5, &server));
    for (uint32_t i = 0; i < CLIENTS; ++i) numbers[i] = i, member_of(i, method, text, &members[i]);
    size_t of_all_rounds = 0;
    for (uint32_t round = 0; round < 4; ++round) {
        if (round == 2) server = server_elsewhere(server, method);
        OK(fedhds_server_begin_round(server, round, numbers, CLIENTS, NULL, &bytes));
        message_t start = taken(bytes);
        if (round == 2) go_on_elsewhere(&members[1], method, &start);
        for (uint32_t i = 0; i < CLIENTS; ++i) {
            member_t* m = &members[i];
            // Sixteen records among four decoys each, in the first round alone.
            m->summary = summary_of(m, m->client, &start, round == 0 ? 16 * 5 : 0);
            // Groups are sent once, then eight bytes that stand for them.
            CHECK(round == 0 ? m->summary.length > 4 * 4 * DIMS : m->summary.length < 100);
            OK(fedhds_server_receive(server, i, m->summary.data, m->summary.length));
        }
        OK(fedhds_server_select(server, NULL));
        uint32_t counts[CLIENTS];
        for (uint32_t i = 0; i < CLIENTS; ++i) {
            member_t* m = &members[i];
            uint32_t rows[RECORDS];
            OK(fedhds_server_order(server, i, &bytes, &m->ordered));
            m->order = taken(bytes);
            if (round == 1 && m->ordered > 0) in_vain(m);
            const size_t count = choose(m, rows);
            CHECK(count <= m->ordered);
            counts[i] = (uint32_t)count, of_all_rounds += count;
            free(m->order.data), free(m->summary.data);
        }
        OK(fedhds_server_end_round(server, numbers, counts, CLIENTS, &bytes));
        CHECK(has(bytes, "\"open\":true"));
        free(start.data);
    }
    // Records trained, and bad ones were looked at and left out.
    CHECK(of_all_rounds >= 16);
    size_t refused = 0;
    for (uint32_t i = 0; i < CLIENTS; ++i) {
        for (uint32_t row = 0; row < RECORDS; ++row) refused += members[i].judge.asked[row] && !is_good(row);
        CHECK(members[i].judge.calls > 0);
        member_free(&members[i]);
    }
    CHECK(refused >= 4);
    OK(fedhds_server_free(server));
    OK(fedhds_method_free(method));
}

// A client that agrees to larger groups only than the method's shows none, and does not train.
static void least_group(const fedhds_text_features_t* text) {
    fedhds_method_t* method = method_of(METHOD);
    for (size_t least = 3; least <= 4; ++least) {
        fedhds_server_t* server = NULL;
        fedhds_bytes_t* bytes = NULL;
        member_t m;
        const uint32_t number = 1;
        OK(fedhds_server_new(method, 1, 5, &server));
        OK(fedhds_server_begin_round(server, 0, &number, 1, NULL, &bytes));
        message_t start = taken(bytes);
        member_of(number, method, text, &m);
        fedhds_pair_t pair;
        size_t count = 77;
        SAYS(FEDHDS_STATUS_PROTOCOL, "summary",
            fedhds_client_pilot(m.client, start.data, start.length, &pair, 1, &count));
        CHECK(count == 77);
        OK(fedhds_client_set_least_group(m.client, least));
        const fedhds_matrix_view_t features = view_of(m.features);
        OK(fedhds_client_summarize_with(m.client, start.data, start.length, &features, NULL, NULL, &bytes));
        m.summary = taken(bytes);
        OK(fedhds_server_receive(server, number, m.summary.data, m.summary.length));
        OK(fedhds_server_select(server, NULL));
        OK(fedhds_server_order(server, number, &bytes, &m.ordered));
        OK(fedhds_bytes_free(bytes));
        CHECK((m.ordered > 0) == (least == 3) && (m.summary.length > 100) == (least == 3));
        free(start.data), free(m.summary.data);
        member_free(&m);
        OK(fedhds_server_free(server));
    }
    OK(fedhds_method_free(method));
}

// An order that a server of this method gives the client in the first round.
static message_t order_of(const char* settings, uint64_t seed, const message_t* summary, size_t* records, message_t* start) {
    fedhds_method_t* method = method_of(settings);
    fedhds_server_t* server = NULL;
    fedhds_bytes_t* bytes = NULL;
    const uint32_t number = 1;
    OK(fedhds_server_new(method, 1, seed, &server));
    OK(fedhds_server_begin_round(server, 0, &number, 1, NULL, &bytes));
    message_t begun = taken(bytes), order = {NULL, 0};
    if (summary != NULL) {
        OK(fedhds_server_receive(server, number, summary->data, summary->length));
        OK(fedhds_server_select(server, NULL));
        OK(fedhds_server_order(server, number, &bytes, records));
        order = taken(bytes);
    }
    if (start != NULL) *start = begun;
    if (start == NULL) free(begun.data);
    OK(fedhds_server_free(server));
    OK(fedhds_method_free(method));
    return order;
}

// A client answers a round once, holds to what it was told first, and trains on no more records than it agrees to.
static void answers_once(const fedhds_text_features_t* text) {
    fedhds_method_t* method = method_of("fedhds_robust");
    fedhds_bytes_t* bytes = NULL;
    member_t m;
    message_t start, elsewhere;
    uint32_t rows[RECORDS], again[RECORDS];
    size_t count = 0, few = 0, many = 0, same = 0;
    order_of("fedhds_robust", 5, NULL, NULL, &start);
    order_of("fedhds_robust", 6, NULL, NULL, &elsewhere);
    member_of(1, method, text, &m);
    const fedhds_matrix_view_t features = view_of(m.features);
    for (int time = 0; time < 2; ++time) {
        OK(fedhds_client_summarize_with(m.client, start.data, start.length, &features, NULL, NULL, &bytes));
        message_t summary = taken(bytes);
        if (time == 0) m.summary = summary;
        CHECK(summary.length == m.summary.length && memcmp(summary.data, m.summary.data, summary.length) == 0);
        if (time == 1) free(summary.data);
    }
    bytes = NULL;
    SAYS(FEDHDS_STATUS_PROTOCOL, "record_keys", fedhds_client_summarize_with(m.client, elsewhere.data,
                                                    elsewhere.length, &features, NULL, NULL, &bytes));
    CHECK(bytes == NULL);
    message_t one = order_of("preset = \"fedhds_robust\"\ncount = { budget = 6 }", 5, &m.summary, &few, NULL);
    message_t other = order_of("preset = \"fedhds_robust\"\ncount = { budget = 9 }", 5, &m.summary, &many, NULL);
    CHECK(few == 6 && many == 9);
    OK(fedhds_client_set_max_records(m.client, 5));
    SAYS(FEDHDS_STATUS_PROTOCOL, "agrees to", fedhds_client_choose(m.client, one.data, one.length, NULL, rows, RECORDS, &count));
    OK(fedhds_client_set_max_records(m.client, 6));
    OK(fedhds_client_choose(m.client, one.data, one.length, NULL, rows, RECORDS, &count));
    OK(fedhds_client_mark_trained(m.client, rows, count));
    OK(fedhds_client_choose(m.client, one.data, one.length, NULL, again, RECORDS, &same));
    CHECK(same == count && memcmp(rows, again, count * sizeof *rows) == 0);
    OK(fedhds_client_set_max_records(m.client, RECORDS));
    SAYS(FEDHDS_STATUS_PROTOCOL, "answered", fedhds_client_choose(m.client, other.data, other.length, NULL, rows, RECORDS, &count));
    // In another process, too, until the owner lets it forget.
    fedhds_client_t* moved = NULL;
    OK(fedhds_client_state(m.client, &bytes));
    message_t state = taken(bytes);
    OK(fedhds_client_new(1, method, 1, 5, &moved));
    OK(fedhds_client_resume(moved, state.data, state.length));
    SAYS(FEDHDS_STATUS_PROTOCOL, "answered", fedhds_client_choose(moved, other.data, other.length, NULL, rows, RECORDS, &count));
    OK(fedhds_client_unpin(moved));
    OK(fedhds_client_choose(moved, other.data, other.length, NULL, rows, RECORDS, &count));
    OK(fedhds_client_summarize_with(moved, elsewhere.data, elsewhere.length, &features, NULL, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_client_free(moved));
    free(state.data), free(one.data), free(other.data), free(start.data), free(elsewhere.data), free(m.summary.data);
    member_free(&m);
    OK(fedhds_method_free(method));
}

// What a client runs of the methods that a server names.
static void allowed(void) {
    fedhds_method_t* ours = method_of(METHOD);
    OK(fedhds_method_check_allowed(ours, NULL));
    OK(fedhds_method_check_allowed(ours, "{\"presets\": [\"fedhds_robust\"], \"max_clusters\": 24}"));
    SAYS(FEDHDS_STATUS_PROTOCOL, "n_clusters", fedhds_method_check_allowed(ours, "max_clusters = 23"));
    SAYS(FEDHDS_STATUS_PROTOCOL, "preset", fedhds_method_check_allowed(ours, "presets = [\"random\"]"));
    SAYS(FEDHDS_STATUS_CONFIG, "max_cluster", fedhds_method_check_allowed(ours, "max_cluster = 23"));
    OK(fedhds_method_free(ours));
    ours = method_of("preset = \"fedhds_coverage\"\nclient.clusterer.n_clusters = 1048576");
    SAYS(FEDHDS_STATUS_PROTOCOL, "n_clusters", fedhds_method_check_allowed(ours, NULL));
    OK(fedhds_method_free(ours));
}

// A budget in tokens: clients say how long their records are, and train on as many as come nearest to it.
static void in_tokens(const fedhds_text_features_t* text) {
    const size_t budget = 600;
    fedhds_method_t* method =
        method_of("preset = \"fedhds_robust\"\ncount = { budget = { tokens = 600 } }\nserver.gate = \"none\"");
    fedhds_server_t* server = NULL;
    fedhds_bytes_t* bytes = NULL;
    member_t members[CLIENTS];
    uint32_t numbers[CLIENTS], counts[CLIENTS];
    OK(fedhds_server_new(method, 1, 5, &server));
    for (uint32_t i = 0; i < CLIENTS; ++i) numbers[i] = i, member_of(i, method, text, &members[i]);
    OK(fedhds_server_begin_round(server, 0, numbers, CLIENTS, NULL, &bytes));
    message_t start = taken(bytes);
    uint32_t tokens[CLIENTS][RECORDS], longest = 0;
    for (uint32_t i = 0; i < CLIENTS; ++i) {
        const fedhds_matrix_view_t features = view_of(members[i].features);
        for (uint32_t row = 0; row < RECORDS; ++row) tokens[i][row] = (i + 1) * (5 + 7 * row % 11);
        fedhds_summarize_options_t options = {sizeof options, 0, NULL, members[i].copies, NULL, NULL};
        SAYS(FEDHDS_STATUS_INPUT, "tokens", fedhds_client_summarize_with(members[i].client, start.data, start.length,
                                                &features, &options, NULL, &bytes));
        options.tokens = tokens[i];
        const uint32_t first = tokens[i][0];
        tokens[i][0] = 0;
        SAYS(FEDHDS_STATUS_INPUT, "tokens", fedhds_client_summarize_with(members[i].client, start.data, start.length,
                                                &features, &options, NULL, &bytes));
        tokens[i][0] = first;
        OK(fedhds_client_summarize_with(
            members[i].client, start.data, start.length, &features, &options, NULL, &bytes));
        members[i].summary = taken(bytes);
        OK(fedhds_server_receive(server, i, members[i].summary.data, members[i].summary.length));
        longest += (i + 1) * 15;  // none is longer than 5 + 10
    }
    OK(fedhds_server_select(server, NULL));
    size_t trained = 0;
    for (uint32_t i = 0; i < CLIENTS; ++i) {
        uint32_t rows[RECORDS];
        size_t count = 0;
        OK(fedhds_server_order(server, i, &bytes, &members[i].ordered));
        members[i].order = taken(bytes);
        OK(fedhds_client_choose(
            members[i].client, members[i].order.data, members[i].order.length, NULL, rows, RECORDS, &count));
        counts[i] = (uint32_t)count;
        for (size_t row = 0; row < count; ++row) trained += tokens[i][rows[row]];
        free(members[i].order.data), free(members[i].summary.data);
    }
    // Within one record of each client.
    CHECK(trained + longest >= budget && trained <= budget + longest);
    OK(fedhds_server_end_round(server, numbers, counts, CLIENTS, &bytes));
    OK(fedhds_bytes_free(bytes));
    free(start.data);
    for (uint32_t i = 0; i < CLIENTS; ++i) member_free(&members[i]);
    OK(fedhds_server_free(server));
    OK(fedhds_method_free(method));
}

int main(void) {
    fedhds_text_features_config_t config;
    fedhds_text_features_t* text = NULL;
    OK(fedhds_text_features_config_init(&config, sizeof config));
    OK(fedhds_text_features_new(&config, &text));
    texts(text);
    near_copies();
    federation(text);
    least_group(text);
    answers_once(text);
    allowed();
    in_tokens(text);
    OK(fedhds_text_features_free(text));
    return DONE;
}
