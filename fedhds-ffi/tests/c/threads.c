// Several threads: on objects of their own, on one that never changes, on one that changes, cancelling, and failing
// apart.
//
// `threads` alone; `threads quick` does less of it, for Valgrind.

#include "fixtures.h"

#include <pthread.h>
#include <stdatomic.h>

static int repeats = 200;

static void start(pthread_t* thread, void* (*work)(void*), void* argument) {
    CHECK(pthread_create(thread, NULL, work, argument) == 0);
}

static void join(pthread_t thread) { CHECK(pthread_join(thread, NULL) == 0); }

// --- two threads on two clients

static round_t shared;

typedef struct {
    uint32_t number;
    message_t summary;
} own_t;

static void* work_alone(void* argument) {
    own_t* own = argument;
    features_t features;
    fedhds_client_t* client = NULL;
    fedhds_bytes_t* bytes = NULL;
    features_of(own->number, &features);
    OK(fedhds_client_new(own->number, shared.method, 1, 5, &client));
    for (int i = 0; i < 1 + repeats / 20; ++i) {
        OK(fedhds_client_summarize(client, shared.start.data, shared.start.length, &features.view, 0, NULL, NULL, &bytes));
        free(own->summary.data);
        own->summary = taken(bytes);
    }
    OK(fedhds_client_free(client));
    return NULL;
}

static void two_threads_on_two_clients(void) {
    own_t at_once[2] = {{1, {NULL, 0}}, {2, {NULL, 0}}}, one_by_one[2] = {{1, {NULL, 0}}, {2, {NULL, 0}}};
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i) start(&threads[i], work_alone, &at_once[i]);
    for (int i = 0; i < 2; ++i) join(threads[i]);
    for (int i = 0; i < 2; ++i) {
        work_alone(&one_by_one[i]);
        CHECK(at_once[i].summary.length == one_by_one[i].summary.length);
        CHECK(memcmp(at_once[i].summary.data, one_by_one[i].summary.data, one_by_one[i].summary.length) == 0);
        free(at_once[i].summary.data);
        free(one_by_one[i].summary.data);
    }
}

// --- objects that never change, by two threads

static fedhds_matrix_t* matrix;
static fedhds_clustering_t* clustering;

static void* work_on_what_stays(void* unused) {
    (void)unused;
    for (int i = 0; i < repeats; ++i) {
        fedhds_matrix_view_t view;
        size_t count = 0;
        uint32_t rows[4];
        fedhds_matrix_t* centroids = NULL;
        OK(fedhds_matrix_view(matrix, &view));
        CHECK(view.rows == ROWS);
        OK(fedhds_clustering_labels(clustering, NULL, 0, &count));
        OK(fedhds_clustering_centroids(clustering, &centroids));
        OK(fedhds_matrix_free(centroids));
        OK(fedhds_select(0, &shared.features.view, NULL, NULL, clustering, 4, 0, 3, NULL, rows, 4, &count));
        CHECK(count == 4);
    }
    return NULL;
}

static void objects_that_never_change(void) {
    fedhds_kmeans_config_t kmeans;
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    OK(fedhds_pca(&shared.features.view, 2, false, NULL, &matrix));
    OK(fedhds_kmeans(&shared.features.view, &kmeans, 1, NULL, &clustering));
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i) start(&threads[i], work_on_what_stays, NULL);
    for (int i = 0; i < 2; ++i) join(threads[i]);
    OK(fedhds_matrix_free(matrix));
    OK(fedhds_clustering_free(clustering));
}

// --- one object that changes, by two threads: done or busy, and nothing in between

static fedhds_client_t* one_client;
static fedhds_records_t* one_records;
static atomic_int added, busy, next_id;

static void count_busy(fedhds_status_t status) {
    if (status == FEDHDS_STATUS_BUSY) {
        atomic_fetch_add(&busy, 1);
    } else {
        CHECK(status == FEDHDS_STATUS_OK);
    }
}

static void* work_on_the_same(void* unused) {
    (void)unused;
    for (int i = 0; i < repeats; ++i) {
        fedhds_bytes_t* bytes = NULL;
        size_t count = 0;
        const uint32_t row = (uint32_t)i % ROWS;
        count_busy(fedhds_client_summarize(one_client, shared.start.data, shared.start.length, &shared.features.view, 0, NULL, NULL, &bytes));
        OK(fedhds_bytes_free(bytes));
        bytes = NULL;
        count_busy(fedhds_client_mark_trained(one_client, &row, 1));
        count_busy(fedhds_client_choose(one_client, shared.order.data, shared.order.length, NULL, NULL, 0, &count));
        count_busy(fedhds_client_state(one_client, &bytes));
        OK(fedhds_bytes_free(bytes));
        char id[32];
        snprintf(id, sizeof id, "r%d", atomic_fetch_add(&next_id, 1));
        const fedhds_status_t status = fedhds_records_add(one_records, id, "say", NULL, "so", NULL);
        count_busy(status);
        if (status == FEDHDS_STATUS_OK) atomic_fetch_add(&added, 1);
    }
    return NULL;
}

static void one_object_that_changes(void) {
    OK(fedhds_records_new(&one_records));
    OK(fedhds_client_new(0, shared.method, 1, 5, &one_client));
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_summarize(one_client, shared.start.data, shared.start.length, &shared.features.view, 0, NULL, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i) start(&threads[i], work_on_the_same, NULL);
    for (int i = 0; i < 2; ++i) join(threads[i]);
    size_t count = 0;
    OK(fedhds_records_count(one_records, &count));
    CHECK((int)count == atomic_load(&added));
    OK(fedhds_records_free(one_records));
    OK(fedhds_client_free(one_client));
}

// --- progress, cancelling, freeing what is in use

typedef struct {
    atomic_int begun, advanced, ended;
    fedhds_control_t* control;
} heard_t;

static void on_progress(const char* stage, int32_t event, uint64_t units, void* user_data) {
    heard_t* heard = user_data;
    CHECK(strcmp(stage, "t-SNE") == 0 && event >= 0 && event <= 2);
    if (event == 0) atomic_fetch_add(&heard->begun, 1);
    if (event == 1) atomic_fetch_add(&heard->advanced, (int)units);
    if (event == 2) atomic_fetch_add(&heard->ended, 1);
}

static fedhds_tsne_config_t tsne;

static void* run_tsne(void* argument) {
    heard_t* heard = argument;
    fedhds_matrix_t* reduced = NULL;
    const fedhds_status_t status = fedhds_tsne(&shared.features.view, &tsne, 3, heard->control, &reduced);
    CHECK((status == FEDHDS_STATUS_OK) == (reduced != NULL));
    OK(fedhds_matrix_free(reduced));
    return (void*)(intptr_t)status;
}

static fedhds_status_t status_of(pthread_t thread) {
    void* status = NULL;
    CHECK(pthread_join(thread, &status) == 0);
    return (fedhds_status_t)(intptr_t)status;
}

static void progress_and_cancelling(void) {
    heard_t heard;
    memset(&heard, 0, sizeof heard);
    pthread_t thread;
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    OK(fedhds_control_new(&heard.control));
    OK(fedhds_control_set_progress(heard.control, on_progress, &heard));
    tsne.max_iter = 251;
    start(&thread, run_tsne, &heard);
    CHECK(status_of(thread) == FEDHDS_STATUS_OK);
    CHECK(atomic_load(&heard.begun) == 1 && atomic_load(&heard.advanced) == 251 && atomic_load(&heard.ended) == 1);

    // It would take days.
    tsne.max_iter = 1000000000;
    start(&thread, run_tsne, &heard);
    while (atomic_load(&heard.advanced) < 252) continue;
    OK(fedhds_control_cancel(heard.control));
    CHECK(status_of(thread) == FEDHDS_STATUS_CANCELLED);
    // A control stays cancelled.
    start(&thread, run_tsne, &heard);
    CHECK(status_of(thread) == FEDHDS_STATUS_CANCELLED);
    OK(fedhds_control_free(heard.control));

    // A control that is freed while a call has it: the call goes on with it, and cancelling it is too late.
    atomic_store(&heard.advanced, 0);
    OK(fedhds_control_new(&heard.control));
    OK(fedhds_control_set_progress(heard.control, on_progress, &heard));
    tsne.max_iter = 100 * (size_t)repeats;
    start(&thread, run_tsne, &heard);
    while (atomic_load(&heard.advanced) < 1) continue;
    OK(fedhds_control_free(heard.control));
    FAILS(FEDHDS_STATUS_INVALID_HANDLE, fedhds_control_cancel(heard.control));
    CHECK(status_of(thread) == FEDHDS_STATUS_OK);
    CHECK(atomic_load(&heard.advanced) == 100 * repeats);
}

static void* make_and_free(void* unused) {
    (void)unused;
    for (int i = 0; i < repeats; ++i) {
        fedhds_control_t* control = NULL;
        fedhds_records_t* records = NULL;
        OK(fedhds_control_new(&control));
        OK(fedhds_records_new(&records));
        FAILS(FEDHDS_STATUS_INVALID_HANDLE, fedhds_control_free((fedhds_control_t*)records));
        OK(fedhds_control_free(control));
        OK(fedhds_records_free(records));
        FAILS(FEDHDS_STATUS_INVALID_HANDLE, fedhds_records_free(records));
    }
    return NULL;
}

// --- messages of failures stay with their thread

static void* fail_here(void* unused) {
    (void)unused;
    CHECK(fedhds_last_error_message()[0] == '\0');
    SAYS(FEDHDS_STATUS_PARAMETER, "level", fedhds_set_log(9, NULL, NULL));
    return NULL;
}

static void messages_of_threads(void) {
    fedhds_method_t* method = NULL;
    SAYS(FEDHDS_STATUS_CONFIG, "nowhere", fedhds_method_new("preset = \"nowhere\"", &method));
    pthread_t thread;
    start(&thread, fail_here, NULL);
    join(thread);
    CHECK(strstr(fedhds_last_error_message(), "nowhere") != NULL);
    OK(fedhds_method_free(NULL));  // a call that succeeds leaves it
    CHECK(strstr(fedhds_last_error_message(), "nowhere") != NULL);
}

int main(int count, char** arguments) {
    if (count > 1 && strcmp(arguments[1], "quick") == 0) repeats = 20;
    size_t threads = 0;
    OK(fedhds_set_threads(2));
    OK(fedhds_threads(&threads));
    CHECK(threads == 2);
    SAYS(FEDHDS_STATUS_PARAMETER, "once", fedhds_set_threads(3));
    round_of(COVERAGE, &shared);
    messages_of_threads();
    two_threads_on_two_clients();
    objects_that_never_change();
    one_object_that_changes();
    progress_and_cancelling();
    pthread_t makers[3];
    for (int i = 0; i < 3; ++i) start(&makers[i], make_and_free, NULL);
    for (int i = 0; i < 3; ++i) join(makers[i]);
    round_free(&shared);
    printf("busy %d times\n", atomic_load(&busy));
    return DONE;
}
