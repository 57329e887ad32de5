/* Federated selection in C99, without a model: which records of which client should be trained on.
 *
 * Three clients and a server in one process. They talk in messages, which are bytes: in an app each of them is on a device of its
 * own, and the app sends the bytes as it likes. Features are what the app has, here points that lie in groups; record i of a client is
 * row i.
 *
 * Every call returns a status. This program ends at the first that is not FEDHDS_STATUS_OK, with the library's message. */

#include <fedhds.h>

#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 3, RECORDS = 40, COLUMNS = 8, BUDGET = 12, ROUNDS = 2 };

static const uint64_t seed = 7;

static void check(fedhds_status_t status, const char *call) {
    if (status == FEDHDS_STATUS_OK) return;
    fprintf(stderr, "%s: %s: %s\n", call, fedhds_status_name(status), fedhds_last_error_message());
    exit(1);
}

#define CHECK(call) check((call), #call)

typedef struct {
    fedhds_client_t *handle;
    float features[RECORDS * COLUMNS];
} device_t;

/* Records about four topics. Client 0 knows all of them, client 1 mostly the first, client 2 mostly the last. */
static void measure(device_t *device, unsigned client) {
    unsigned state = client + 1;
    for (unsigned record = 0; record < RECORDS; ++record) {
        const unsigned topic = client == 0 ? record % 4 : record % 5 == 0 ? record % 4 : client == 1 ? 0 : 3;
        for (unsigned column = 0; column < COLUMNS; ++column) {
            state = state * 1103515245u + 12345u;
            const float noise = (float)(state >> 16 & 0x3FFu) / 1024.0f;
            device->features[record * COLUMNS + column] = (column % 4 == topic ? 4.0f : 0.0f) + noise;
        }
    }
}

/* What the client sends in answer to the server's round start. */
static fedhds_bytes_t *summarize(device_t *device, const fedhds_bytes_t *start) {
    const uint8_t *message = NULL;
    size_t length = 0;
    CHECK(fedhds_bytes_view(start, &message, &length));
    fedhds_matrix_view_t features;
    features.data = device->features;
    features.rows = RECORDS;
    features.cols = COLUMNS;
    features.row_stride = COLUMNS;
    fedhds_bytes_t *summary = NULL;
    CHECK(fedhds_client_summarize(device->handle, message, length, &features, 0, NULL, NULL, &summary));
    return summary;
}

/* The rows that an order means, which the client then trains on and remembers. */
static size_t carry_out(device_t *device, const fedhds_bytes_t *order, uint32_t rows[RECORDS]) {
    const uint8_t *message = NULL;
    size_t length = 0, count = 0;
    CHECK(fedhds_bytes_view(order, &message, &length));
    CHECK(fedhds_client_choose(device->handle, message, length, NULL, rows, RECORDS, &count));
    CHECK(fedhds_client_mark_trained(device->handle, rows, count));
    return count;
}

static void run_round(fedhds_server_t *server, device_t devices[CLIENTS], uint32_t round) {
    uint32_t numbers[CLIENTS];
    for (uint32_t client = 0; client < CLIENTS; ++client) numbers[client] = client;
    fedhds_bytes_t *start = NULL;
    CHECK(fedhds_server_begin_round(server, round, numbers, CLIENTS, NULL, &start));
    for (int client = 0; client < CLIENTS; ++client) {
        fedhds_bytes_t *summary = summarize(&devices[client], start);
        const uint8_t *message = NULL;
        size_t length = 0;
        CHECK(fedhds_bytes_view(summary, &message, &length));
        /* From whom it came is for the app's transport to say. A message that is refused leaves its client out, and nobody else. */
        if (fedhds_server_receive(server, (uint32_t)client, message, length) != FEDHDS_STATUS_OK)
            fprintf(stderr, "left out: %s\n", fedhds_last_error_message());
        CHECK(fedhds_bytes_free(summary));
    }
    CHECK(fedhds_bytes_free(start));

    CHECK(fedhds_server_select(server, NULL));
    size_t all = 0;
    uint32_t trained[CLIENTS];
    for (uint32_t client = 0; client < CLIENTS; ++client) {
        fedhds_bytes_t *order = NULL;
        size_t wanted = 0;
        CHECK(fedhds_server_order(server, client, &order, &wanted));
        uint32_t rows[RECORDS];
        const size_t count = carry_out(&devices[client], order, rows);
        CHECK(fedhds_bytes_free(order));
        printf("round %u, client %u trains on rows", (unsigned)round, (unsigned)client);
        for (size_t i = 0; i < count; ++i) printf(" %u", (unsigned)rows[i]);
        printf("\n");
        all += count;
        trained[client] = (uint32_t)count;
    }
    if (all != BUDGET) {
        fprintf(stderr, "expected %d rows, got %zu\n", BUDGET, all);
        exit(1);
    }
    /* The app joins what the clients have trained by itself, and says whose it took. */
    fedhds_bytes_t *report = NULL;
    CHECK(fedhds_server_end_round(server, numbers, trained, CLIENTS, &report));
    CHECK(fedhds_bytes_free(report));
}

int main(void) {
    if (fedhds_abi_version() != FEDHDS_ABI_VERSION) {
        fprintf(stderr, "expected ABI version %d, got %u\n", FEDHDS_ABI_VERSION, (unsigned)fedhds_abi_version());
        return 1;
    }
    char settings[64];
    snprintf(settings, sizeof settings, "preset = \"fedhds_coverage\"\ncount = { budget = %d }", BUDGET);
    fedhds_method_t *method = NULL;
    CHECK(fedhds_method_new(settings, &method));
    fedhds_server_t *server = NULL;
    CHECK(fedhds_server_new(method, 1, seed, &server));
    device_t devices[CLIENTS];
    for (unsigned client = 0; client < CLIENTS; ++client) {
        CHECK(fedhds_client_new(client, method, 1, seed, &devices[client].handle));
        measure(&devices[client], client);
    }
    /* Clients and server keep what they need of it. */
    CHECK(fedhds_method_free(method));

    for (uint32_t round = 0; round < ROUNDS; ++round) run_round(server, devices, round);

    for (int client = 0; client < CLIENTS; ++client) CHECK(fedhds_client_free(devices[client].handle));
    CHECK(fedhds_server_free(server));
    return 0;
}
