// Aggregators: the library's by their settings, and the app's own; both go on from a state with the same bits.
//
// `aggregators FOLDER` with the folder of the embedded model, whose adapters they join.

#include "fixtures.h"

#include <math.h>

enum { CLIENTS = 2 };

static const char* const STRATIFIED = "preset = \"stratified\"\ncount = { budget = 4 }";
static const uint32_t NUMBERS[CLIENTS] = {3, 8};

static fedhds_adapter_t* global;
static size_t values;

static float* values_of(const fedhds_adapter_t* adapter) {
    size_t count = 0;
    float* to = malloc(values * sizeof *to);
    CHECK(to != NULL);
    OK(fedhds_adapter_values(adapter, to, values, &count));
    CHECK(count == values);
    return to;
}

static bool equal(const fedhds_adapter_t* one, const fedhds_adapter_t* other) {
    bool same = false;
    OK(fedhds_adapter_equal(one, other, &same));
    return same;
}

// The global adapter with this added to every value.
static fedhds_adapter_t* moved(const fedhds_adapter_t* from, float by) {
    fedhds_adapter_t* made = NULL;
    float* all = values_of(from);
    for (size_t i = 0; i < values; ++i) all[i] += by;
    OK(fedhds_adapter_with_values(from, all, values, &made));
    free(all);
    return made;
}

// The update of a client that trained to this adapter with a mean loss of `loss`.
static message_t update_of(fedhds_client_t* client, const message_t* order, const fedhds_adapter_t* after, float loss) {
    uint32_t rows[10];
    size_t count = 0;
    const float losses[] = {loss, loss};
    fedhds_trained_t* trained = NULL;
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_choose(client, order->data, order->length, NULL, rows, 10, &count));
    CHECK(count == 2);
    OK(fedhds_trained_new(after, losses, isnan(loss) ? 0 : 2, 1, 99, &trained));
    rows[2] = 11;
    FAILS(FEDHDS_STATUS_INPUT, fedhds_client_update(client, order->data, order->length, rows, 3, trained, &bytes));
    // Client 8 trains on fewer records than it was told to.
    const size_t used = count - (loss > 1 ? 1 : 0);
    OK(fedhds_client_update(client, order->data, order->length, rows, used, trained, &bytes));
    OK(fedhds_trained_free(trained));
    return taken(bytes);
}

// A round up to its end: client 3 trains `by` further than `from`, client 8 five times as far, and is heard first. What `receive` says to
// client 8.
static fedhds_status_t rounds(fedhds_server_t* server, uint32_t round, const fedhds_adapter_t* from, float by) {
    fedhds_method_t* method = method_of(STRATIFIED);
    fedhds_bytes_t* bytes = NULL;
    fedhds_client_t* clients[CLIENTS] = {NULL, NULL};
    OK(fedhds_server_begin_round(server, round, NUMBERS, CLIENTS, from, &bytes));
    message_t start = taken(bytes), updates[CLIENTS];
    for (int i = 0; i < CLIENTS; ++i) {
        OK(fedhds_client_new(NUMBERS[i], method, 1, 5, &clients[i]));
        OK(fedhds_client_summarize(clients[i], start.data, start.length, NULL, 10, NULL, NULL, &bytes));
        message_t summary = taken(bytes);
        OK(fedhds_server_receive(server, NUMBERS[i], summary.data, summary.length));
        free(summary.data);
    }
    OK(fedhds_server_select(server, NULL));
    for (int i = 0; i < CLIENTS; ++i) {
        size_t records = 0;
        OK(fedhds_server_order(server, NUMBERS[i], &bytes, &records));
        message_t order = taken(bytes);
        fedhds_adapter_t* after = moved(from, i == 0 ? by : 5 * by);
        updates[i] = update_of(clients[i], &order, after, i == 0 ? NAN : 2.5f);
        OK(fedhds_adapter_free(after));
        free(order.data);
    }
    // Heard first: it waits for the client before it, whose call then says nothing of it.
    OK(fedhds_server_receive(server, NUMBERS[1], updates[1].data, updates[1].length));
    const fedhds_status_t status = fedhds_server_receive(server, NUMBERS[0], updates[0].data, updates[0].length);
    for (int i = 0; i < CLIENTS; ++i) {
        free(updates[i].data);
        OK(fedhds_client_free(clients[i]));
    }
    free(start.data);
    OK(fedhds_method_free(method));
    return status;
}

static fedhds_adapter_t* finished(fedhds_server_t* server, const char* part_of_report) {
    fedhds_adapter_t* adapter = NULL;
    fedhds_bytes_t* report = NULL;
    OK(fedhds_server_finish_round(server, &adapter, &report));
    const uint8_t* data = NULL;
    size_t length = 0;
    OK(fedhds_bytes_view(report, &data, &length));
    if (strstr((const char*)data, part_of_report) == NULL) {
        fprintf(stderr, "expected %s in %s\n", part_of_report, (const char*)data);
        exit(1);
    }
    OK(fedhds_bytes_free(report));
    return adapter;
}

static fedhds_server_t* server_of(const char* aggregator) {
    fedhds_method_t* method = method_of(STRATIFIED);
    fedhds_server_t* server = NULL;
    if (aggregator == NULL) {
        OK(fedhds_server_new(method, 1, 5, &server));
    } else {
        OK(fedhds_server_new_with_aggregator(method, 1, 5, aggregator, &server));
    }
    OK(fedhds_method_free(method));
    return server;
}

static fedhds_adapter_t* one_round(fedhds_server_t* server, uint32_t round, const fedhds_adapter_t* from) {
    OK(rounds(server, round, from, 0.25f));
    fedhds_adapter_t* joined = finished(server, "\"trained\":{\"3\":2,\"8\":1}");
    CHECK(joined != NULL);
    return joined;
}

// --- values

static void flat_values(void) {
    size_t count = 0;
    float few[2] = {7, 7};
    fedhds_adapter_t* made = NULL;
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_adapter_values(global, few, 2, &count));
    CHECK(count == values && few[0] == 7);
    SAYS(FEDHDS_STATUS_INPUT, "values", fedhds_adapter_with_values(global, few, 2, &made));
    float* all = values_of(global);
    OK(fedhds_adapter_with_values(global, all, values, &made));
    CHECK(equal(made, global));
    OK(fedhds_adapter_free(made));
    made = NULL;
    all[1] = NAN;
    SAYS(FEDHDS_STATUS_NOT_FINITE, "at 1", fedhds_adapter_with_values(global, all, values, &made));
    CHECK(made == NULL);
    free(all);
}

// --- the library's

static void the_librarys(void) {
    static const char* const wrong[] = {"", "{", "[]", "{}", "{\"kind\": \"median\"}",
        "{\"kind\": \"fedadam\", \"learning_rat\": 1}", "{\"kind\": \"fedadam\", \"tau\": -1}"};
    fedhds_method_t* method = method_of(STRATIFIED);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        fedhds_server_t* none = NULL;
        const fedhds_status_t status = fedhds_server_new_with_aggregator(method, 1, 5, wrong[i], &none);
        CHECK((status == FEDHDS_STATUS_CONFIG || status == FEDHDS_STATUS_PARAMETER) && none == NULL);
    }
    OK(fedhds_method_free(method));

    // The mean by records: two of the one at 0.25, one of the other at 1.25.
    fedhds_server_t* server = server_of(NULL);
    fedhds_adapter_t *mean = one_round(server, 0, global), *same = NULL;
    OK(fedhds_server_free(server));
    float *before = values_of(global), *after = values_of(mean);
    for (size_t i = 0; i < values; ++i) CHECK(fabsf(after[i] - before[i] - 1.75f / 3) < 1e-5f);
    free(before);
    free(after);
    server = server_of("{\"kind\": \"weighted_mean\"}");
    same = one_round(server, 0, global);
    CHECK(equal(mean, same));
    OK(fedhds_adapter_free(same));
    OK(fedhds_server_free(server));

    static const char* const stateful[] = {"{\"kind\": \"fedadam\", \"learning_rate\": 0.1}", "{\"kind\": \"fedavgm\"}"};
    for (int i = 0; i < 2; ++i) {
        server = server_of(stateful[i]);
        fedhds_adapter_t* first = one_round(server, 0, global);
        CHECK(i == 1 || !equal(first, mean));
        fedhds_bytes_t* bytes = NULL;
        OK(fedhds_server_state(server, &bytes));
        message_t state = taken(bytes);
        fedhds_adapter_t* second = one_round(server, 1, first);
        // From the state the same bits; without it others.
        fedhds_server_t *resumed = server_of(stateful[i]), *fresh = server_of(stateful[i]);
        OK(fedhds_server_resume(resumed, state.data, state.length, NULL));
        fedhds_adapter_t *again = one_round(resumed, 1, first), *other = one_round(fresh, 1, first);
        CHECK(equal(second, again) && !equal(second, other));
        // Another aggregator has no use for it.
        fedhds_server_t* foreign = server_of(i == 0 ? stateful[1] : NULL);
        CHECK(fedhds_server_resume(foreign, state.data, state.length, NULL) != FEDHDS_STATUS_OK);
        fedhds_adapter_t* made[] = {first, second, again, other};
        for (int j = 0; j < 4; ++j) OK(fedhds_adapter_free(made[j]));
        fedhds_server_t* servers[] = {server, resumed, fresh, foreign};
        for (int j = 0; j < 4; ++j) OK(fedhds_server_free(servers[j]));
        free(state.data);
    }
    OK(fedhds_adapter_free(mean));
}

// --- the app's own

// The furthest of the clients' adapters, `rounds` times as far: what no mean gives, and no aggregator that forgets.
typedef struct {
    fedhds_adapter_t* global;
    float* best;
    float far;
    uint32_t rounds, round, clients[CLIENTS];
    size_t records[CLIENTS], updates;
    float losses[CLIENTS];
    int32_t begin_answer, add_answer, finish_answer;
    bool nothing, nonsense;
} own_t;

static int32_t begin(fedhds_adapter_t* from, uint32_t round, void* user_data) {
    own_t* own = user_data;
    OK(fedhds_adapter_free(own->global));
    own->global = from, own->round = round, own->updates = 0, own->far = -1;
    return own->begin_answer;
}

static int32_t add(const fedhds_client_update_t* update, void* user_data) {
    own_t* own = user_data;
    if (own->add_answer != 0 && update->client == NUMBERS[0]) {
        OK(fedhds_adapter_free(update->adapter));
        return own->add_answer;
    }
    if (own->updates == CLIENTS) return 5;
    own->clients[own->updates] = update->client, own->records[own->updates] = update->records;
    own->losses[own->updates] = update->loss, own->updates += 1;
    float *from = values_of(own->global), *to = values_of(update->adapter);
    const float far = fabsf(to[0] - from[0]);
    free(from);
    OK(fedhds_adapter_free(update->adapter));
    if (far > own->far) {
        free(own->best);
        own->best = to, own->far = far;
    } else {
        free(to);
    }
    return 0;
}

static int32_t finish(fedhds_adapter_t** adapter, fedhds_bytes_t** report, void* user_data) {
    own_t* own = user_data;
    if (own->finish_answer != 0) return own->finish_answer;
    if (own->nothing || own->updates == 0) return 0;
    own->rounds += 1;
    float* from = values_of(own->global);
    for (size_t i = 0; i < values; ++i) from[i] += (float)own->rounds * (own->best[i] - from[i]);
    OK(fedhds_adapter_with_values(own->global, from, values, adapter));
    free(from);
    const char* const json = own->nonsense ? "[" : "{\"measures\": {\"far\": 1.25}, \"limited\": {\"3\": \"near\"}}";
    OK(fedhds_bytes_new((const uint8_t*)json, strlen(json), report));
    return 0;
}

static int32_t state_of(fedhds_bytes_t** state, void* user_data) {
    return (int32_t)fedhds_bytes_new((const uint8_t*)&((own_t*)user_data)->rounds, sizeof(uint32_t), state);
}

static int32_t resume(const uint8_t* state, size_t length, void* user_data) {
    if (length != sizeof(uint32_t)) return 6;
    memcpy(&((own_t*)user_data)->rounds, state, length);
    return 0;
}

static uint64_t memory(size_t clients, size_t count, void* user_data) {
    (void)clients, (void)user_data;
    return 8 * (uint64_t)count;
}

static fedhds_server_t* own_server(const fedhds_aggregator_t* calls, own_t* own) {
    fedhds_method_t* method = method_of(STRATIFIED);
    fedhds_server_t* server = NULL;
    OK(fedhds_server_new_with_own_aggregator(method, 1, 5, calls, own, &server));
    OK(fedhds_method_free(method));
    return server;
}

static void own_free(own_t* own) {
    OK(fedhds_adapter_free(own->global));
    free(own->best);
}

static void the_apps(void) {
    const fedhds_aggregator_t calls = {sizeof calls, begin, add, finish, state_of, resume, memory};
    own_t own = {0}, other = {0};
    fedhds_server_t* server = own_server(&calls, &own);
    OK(rounds(server, 0, global, 0.25f));
    fedhds_adapter_t *first = finished(server, "\"far\":1.25"), *expected = moved(global, 1.25f);
    CHECK(first != NULL && equal(first, expected));
    OK(fedhds_adapter_free(expected));
    // In the order of clients, whoever was heard first.
    CHECK(own.round == 0 && own.updates == 2 && own.clients[0] == 3 && own.clients[1] == 8);
    CHECK(own.records[0] == 2 && own.records[1] == 1 && isnan(own.losses[0]) && own.losses[1] == 2.5f);

    // It goes on from its state in another server: the second round goes twice as far.
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_server_state(server, &bytes));
    message_t state = taken(bytes);
    fedhds_server_t* resumed = own_server(&calls, &other);
    OK(fedhds_server_resume(resumed, state.data, state.length, NULL));
    CHECK(other.rounds == 1);
    OK(rounds(server, 1, first, 0.25f));
    OK(rounds(resumed, 1, first, 0.25f));
    fedhds_adapter_t *second = finished(server, "near"), *again = finished(resumed, "near");
    float *from = values_of(first), *to = values_of(second);
    CHECK(equal(second, again) && fabsf(to[0] - from[0] - 2.5f) < 1e-5f);
    free(from);
    free(to);

    // In the middle of a round the global adapter goes with the state.
    const uint32_t number = 3;
    OK(fedhds_server_begin_round(server, 2, &number, 1, first, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_server_state(server, &bytes));
    message_t middle = taken(bytes);
    own_t third = {0};
    fedhds_server_t* later = own_server(&calls, &third);
    SAYS(FEDHDS_STATUS_PROTOCOL, "global", fedhds_server_resume(later, middle.data, middle.length, NULL));
    OK(fedhds_server_resume(later, middle.data, middle.length, first));
    CHECK(third.round == 2 && third.global != NULL && equal(third.global, first));
    OK(fedhds_server_abandon_round(server));
    OK(fedhds_server_free(later));

    // A refused update leaves its client out, and nobody else.
    own.add_answer = 44;
    SAYS(FEDHDS_STATUS_STAGE, "client 3", rounds(server, 3, global, 0.25f));
    CHECK(strstr(fedhds_last_error_message(), "44") != NULL);
    fedhds_adapter_t* joined = finished(server, "\"trained\":{\"8\":1}");
    CHECK(joined != NULL && own.updates == 1 && own.clients[0] == 8);
    OK(fedhds_adapter_free(joined));
    own.add_answer = 0;
    // A failing end may be tried again; a report that is none is a failure.
    OK(rounds(server, 4, global, 0.25f));
    own.finish_answer = 55, joined = NULL, bytes = NULL;
    SAYS(FEDHDS_STATUS_STAGE, "55", fedhds_server_finish_round(server, &joined, &bytes));
    own.finish_answer = 0, own.nonsense = true;
    SAYS(FEDHDS_STATUS_STAGE, "report", fedhds_server_finish_round(server, &joined, &bytes));
    own.nonsense = false, own.nothing = true;
    CHECK(joined == NULL && bytes == NULL && finished(server, "\"discarded\":null") == NULL);
    own.begin_answer = 33;
    SAYS(FEDHDS_STATUS_STAGE, "33", fedhds_server_begin_round(server, 5, &number, 1, global, &bytes));
    own.begin_answer = 0;
    // An adapter unlike the global one is refused when it comes; a round without one takes none.
    OK(fedhds_server_begin_round(server, 5, &number, 1, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_server_abandon_round(server));

    // Without `state` and `resume` it keeps nothing, and refuses what another kept.
    fedhds_aggregator_t forgetful = calls;
    forgetful.struct_size = offsetof(fedhds_aggregator_t, state);  // an older program's structure ends here
    fedhds_server_t* stateless = own_server(&forgetful, &third);
    SAYS(FEDHDS_STATUS_STAGE, "resume", fedhds_server_resume(stateless, state.data, state.length, NULL));
    OK(fedhds_server_state(stateless, &bytes));
    OK(fedhds_bytes_free(bytes));
    fedhds_server_t* none = NULL;
    fedhds_method_t* method = method_of(STRATIFIED);
    forgetful.struct_size = 1;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_server_new_with_own_aggregator(method, 1, 5, &forgetful, &own, &none));
    OK(fedhds_method_free(method));

    fedhds_server_t* servers[] = {server, resumed, stateless};
    for (int i = 0; i < 3; ++i) OK(fedhds_server_free(servers[i]));
    fedhds_adapter_t* made[] = {first, second, again};
    for (int i = 0; i < 3; ++i) OK(fedhds_adapter_free(made[i]));
    free(state.data);
    free(middle.data);
    own_free(&own);
    own_free(&other);
    own_free(&third);
}

int main(int count, char** arguments) {
    CHECK(count == 2);
    fedhds_model_t* model = NULL;
    fedhds_train_config_t train;
    OK(fedhds_model_load(arguments[1], NULL, &model));
    OK(fedhds_train_config_init(&train, sizeof train));
    train.r = 1, train.target_modules = "q_proj";
    OK(fedhds_model_init_adapter(model, &train, 1, &global));
    OK(fedhds_model_free(model));
    OK(fedhds_adapter_values(global, NULL, 0, &values));
    CHECK(values > 2);
    flat_values();
    the_librarys();
    the_apps();
    OK(fedhds_adapter_free(global));
    return DONE;
}
