// NULL in the place of every pointer: a status, or what the documentation says that NULL means. Never a crash, never a
// write.

#include "fixtures.h"

static void on_progress(const char* stage, int32_t event, uint64_t units, void* user_data) {
    (void)stage, (void)event, (void)units, (void)user_data;
}

static int32_t reduce(fedhds_matrix_view_t features, uint64_t seed, size_t columns, float* reduced, void* user_data) {
    (void)seed, (void)user_data;
    memset(reduced, 0, features.rows * columns * sizeof *reduced);
    return 0;
}

#define NULLS(call) FAILS(FEDHDS_STATUS_NULL_POINTER, call)

static void bytes_and_matrices(void) {
    round_t round;
    round_of(COVERAGE, &round);
    fedhds_bytes_t* bytes = NULL;
    const uint8_t* data = NULL;
    size_t length = 0;
    OK(fedhds_client_state(round.client, &bytes));
    NULLS(fedhds_bytes_view(NULL, &data, &length));
    NULLS(fedhds_bytes_view(bytes, NULL, &length));
    NULLS(fedhds_bytes_view(bytes, &data, NULL));
    CHECK(data == NULL && length == 0);
    NULLS(fedhds_bytes_copy(NULL, NULL, 0, &length));
    NULLS(fedhds_bytes_copy(bytes, NULL, 0, NULL));
    OK(fedhds_bytes_copy(bytes, NULL, 1000000, &length));
    OK(fedhds_bytes_view(bytes, &data, &length));
    CHECK(data[length] == '\0');
    OK(fedhds_bytes_free(bytes));

    fedhds_matrix_t* matrix = NULL;
    fedhds_matrix_view_t view;
    OK(fedhds_pca(&round.features.view, 2, false, NULL, &matrix));
    NULLS(fedhds_matrix_view(NULL, &view));
    fedhds_bytes_t* own = NULL;
    NULLS(fedhds_bytes_new(NULL, 1, &own));
    NULLS(fedhds_bytes_new((const uint8_t*)"ab", 2, NULL));
    OK(fedhds_bytes_new(NULL, 0, &own));
    OK(fedhds_bytes_free(own));
    OK(fedhds_bytes_new((const uint8_t*)"ab", 2, &own));
    message_t copied = taken(own);
    CHECK(copied.length == 2 && memcmp(copied.data, "ab", 2) == 0);
    free(copied.data);
    NULLS(fedhds_matrix_view(matrix, NULL));
    NULLS(fedhds_matrix_copy(NULL, NULL, 0, &length));
    NULLS(fedhds_matrix_copy(matrix, NULL, 0, NULL));
    OK(fedhds_matrix_copy(matrix, NULL, 0, &length));
    CHECK(length == ROWS * 2);
    OK(fedhds_matrix_free(matrix));
    round_free(&round);
}

static int32_t send(fedhds_summary_t* summary, fedhds_secret_t* secret, void* user_data) {
    (void)summary, (void)secret, (void)user_data;
    return 0;
}
static int32_t losses_of(const fedhds_pair_t* pairs, size_t count, float* losses, void* user_data) {
    (void)pairs, (void)count, (void)losses, (void)user_data;
    return 0;
}
static int32_t commit(const fedhds_trained_group_t* groups, size_t count, void* user_data) {
    (void)groups, (void)count, (void)user_data;
    return 0;
}
static int32_t covered(fedhds_matrix_view_t* points, const float** mass, void* user_data) {
    (void)points, (void)mass, (void)user_data;
    return 0;
}

static void rounds(void) {
    round_t r;
    round_of(COVERAGE, &r);
    fedhds_bytes_t* bytes = NULL;
    fedhds_client_t* client = NULL;
    fedhds_server_t* server = NULL;
    fedhds_method_t* method = NULL;
    size_t count = 77;
    int32_t kind = 77;
    const uint32_t number = 0;

    NULLS(fedhds_message_kind(NULL, 4, &kind));
    NULLS(fedhds_message_kind(r.start.data, r.start.length, NULL));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_message_kind(NULL, 0, &kind));
    CHECK(kind == 77);

    NULLS(fedhds_method_new(NULL, &method));
    NULLS(fedhds_method_new(RANDOM, NULL));
    NULLS(fedhds_method_settings(NULL, &bytes));
    NULLS(fedhds_method_settings(r.method, NULL));
    NULLS(fedhds_method_set_reducer(NULL, "client.reducer", reduce, 2, NULL));
    NULLS(fedhds_method_set_reducer(r.method, NULL, reduce, 2, NULL));
    NULLS(fedhds_method_set_reducer(r.method, "client.reducer", NULL, 2, NULL));
    NULLS(fedhds_method_set_clusterer(NULL, "client.clusterer", NULL, NULL));
    NULLS(fedhds_method_set_clusterer(r.method, NULL, NULL, NULL));
    NULLS(fedhds_method_set_clusterer(r.method, "client.clusterer", NULL, NULL));
    NULLS(fedhds_method_set_selector(NULL, "client.selector", NULL, 0, 0, NULL));
    NULLS(fedhds_method_set_selector(r.method, NULL, NULL, 0, 0, NULL));
    NULLS(fedhds_method_set_selector(r.method, "client.selector", NULL, 0, 0, NULL));

    NULLS(fedhds_method_set_upload(NULL, send, NULL));
    NULLS(fedhds_method_set_upload(r.method, NULL, NULL));
    fedhds_memory_t memory = {sizeof memory, 1, NULL, commit, covered, NULL, NULL};
    NULLS(fedhds_method_set_memory(NULL, &memory, NULL));
    NULLS(fedhds_method_set_memory(r.method, NULL, NULL));
    memory.commit = NULL;
    NULLS(fedhds_method_set_memory(r.method, &memory, NULL));
    memory.commit = commit, memory.covered = NULL;
    NULLS(fedhds_method_set_memory(r.method, &memory, NULL));
    uint8_t byte = 77;
    NULLS(fedhds_secret_draw(NULL, &byte, 1));
    NULLS(fedhds_secret_draw(NULL, NULL, 1));
    CHECK(byte == 77);

    NULLS(fedhds_client_new(0, NULL, 1, 0, &client));
    NULLS(fedhds_client_new(0, r.method, 1, 0, NULL));
    NULLS(fedhds_client_summarize(NULL, r.start.data, r.start.length, &r.features.view, 0, NULL, NULL, &bytes));
    NULLS(fedhds_client_summarize(r.client, NULL, r.start.length, &r.features.view, 0, NULL, NULL, &bytes));
    NULLS(fedhds_client_summarize(r.client, r.start.data, r.start.length, &r.features.view, 0, NULL, NULL, NULL));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_client_summarize(r.client, NULL, 0, &r.features.view, 0, NULL, NULL, &bytes));
    const fedhds_matrix_view_t losses = {r.features.values, ROWS, 1, COLS};
    fedhds_scores_t scores = {NULL, losses};
    NULLS(fedhds_client_summarize(
        r.client, r.start.data, r.start.length, &r.features.view, 0, &scores, NULL, &bytes));
    const char* const nameless[] = {NULL};
    scores.names = nameless;
    NULLS(fedhds_client_summarize(
        r.client, r.start.data, r.start.length, &r.features.view, 0, &scores, NULL, &bytes));
    fedhds_summarize_options_t options = {sizeof options, 0, &scores, NULL, NULL, NULL};
    NULLS(fedhds_client_summarize_with(NULL, r.start.data, r.start.length, &r.features.view, NULL, NULL, &bytes));
    NULLS(fedhds_client_summarize_with(r.client, NULL, r.start.length, &r.features.view, NULL, NULL, &bytes));
    NULLS(fedhds_client_summarize_with(r.client, r.start.data, r.start.length, &r.features.view, NULL, NULL, NULL));
    NULLS(fedhds_client_summarize_with(
        r.client, r.start.data, r.start.length, &r.features.view, &options, NULL, &bytes));
    NULLS(fedhds_client_pilot(NULL, r.start.data, r.start.length, NULL, 0, &count));
    NULLS(fedhds_client_pilot(r.client, NULL, r.start.length, NULL, 0, &count));
    NULLS(fedhds_client_pilot(r.client, r.start.data, r.start.length, NULL, 0, NULL));
    NULLS(fedhds_client_answer(NULL, r.start.data, r.start.length, r.summary.data, r.summary.length, NULL, 0, &bytes));
    NULLS(fedhds_client_answer(r.client, NULL, r.start.length, r.summary.data, r.summary.length, NULL, 0, &bytes));
    NULLS(fedhds_client_answer(r.client, r.start.data, r.start.length, NULL, r.summary.length, NULL, 0, &bytes));
    NULLS(fedhds_client_answer(
        r.client, r.start.data, r.start.length, r.summary.data, r.summary.length, NULL, 1, &bytes));
    NULLS(fedhds_client_answer(r.client, r.start.data, r.start.length, r.summary.data, r.summary.length, NULL, 0, NULL));
    NULLS(fedhds_client_choose_scored(NULL, r.order.data, r.order.length, losses_of, NULL, NULL, NULL, 0, &count));
    NULLS(fedhds_client_choose_scored(r.client, NULL, r.order.length, losses_of, NULL, NULL, NULL, 0, &count));
    NULLS(fedhds_client_choose_scored(r.client, r.order.data, r.order.length, NULL, NULL, NULL, NULL, 0, &count));
    NULLS(fedhds_client_choose_scored(r.client, r.order.data, r.order.length, losses_of, NULL, NULL, NULL, 0, NULL));
    NULLS(fedhds_client_set_least_group(NULL, 1));
    NULLS(fedhds_client_set_max_records(NULL, 1));
    int32_t factors = 0;
    NULLS(fedhds_client_set_rank(NULL, 1));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_client_set_rank(r.client, 0));
    NULLS(fedhds_client_factors(NULL, &factors));
    NULLS(fedhds_client_factors(r.client, NULL));
    OK(fedhds_client_factors(r.client, &factors));
    NULLS(fedhds_client_unpin(NULL));
    NULLS(fedhds_method_check_allowed(NULL, NULL));
    const uint8_t secret[32] = {0};
    NULLS(fedhds_client_set_secret(NULL, secret));
    NULLS(fedhds_client_set_secret(r.client, NULL));
    NULLS(fedhds_client_choose(NULL, r.order.data, r.order.length, NULL, NULL, 0, &count));
    NULLS(fedhds_client_choose(r.client, NULL, r.order.length, NULL, NULL, 0, &count));
    NULLS(fedhds_client_choose(r.client, r.order.data, r.order.length, NULL, NULL, 0, NULL));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_client_choose(r.client, NULL, 0, NULL, NULL, 0, &count));
    NULLS(fedhds_client_mark_trained(NULL, &number, 1));
    NULLS(fedhds_client_mark_trained(r.client, NULL, 1));
    OK(fedhds_client_mark_trained(r.client, NULL, 0));
    NULLS(fedhds_client_groups(NULL, NULL, 0, &count));
    NULLS(fedhds_client_groups(r.client, NULL, 0, NULL));
    NULLS(fedhds_client_state(NULL, &bytes));
    NULLS(fedhds_client_state(r.client, NULL));
    OK(fedhds_client_state(r.client, &bytes));
    message_t of_client = taken(bytes);
    bytes = NULL;
    NULLS(fedhds_client_resume(NULL, of_client.data, of_client.length));
    free(of_client.data);
    NULLS(fedhds_client_resume(r.client, NULL, 2));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_client_resume(r.client, NULL, 0));

    NULLS(fedhds_server_new(NULL, 1, 0, &server));
    NULLS(fedhds_server_new(r.method, 1, 0, NULL));
    NULLS(fedhds_server_begin_round(NULL, 1, &number, 1, NULL, &bytes));
    NULLS(fedhds_server_begin_round(r.server, 1, NULL, 1, NULL, &bytes));
    NULLS(fedhds_server_begin_round(r.server, 1, &number, 1, NULL, NULL));
    NULLS(fedhds_server_receive(NULL, 0, r.summary.data, r.summary.length));
    NULLS(fedhds_server_receive(r.server, 0, NULL, r.summary.length));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_receive(r.server, 0, NULL, 0));
    NULLS(fedhds_server_select(NULL, NULL));
    NULLS(fedhds_server_order(NULL, 0, &bytes, &count));
    NULLS(fedhds_server_order(r.server, 0, NULL, &count));
    NULLS(fedhds_server_order(r.server, 0, &bytes, NULL));
    NULLS(fedhds_server_selection(NULL, NULL, 0, &count));
    NULLS(fedhds_server_selection(r.server, NULL, 0, NULL));
    NULLS(fedhds_server_leave_out(NULL, 0, "gone"));
    NULLS(fedhds_server_leave_out(r.server, 0, NULL));
    NULLS(fedhds_server_end_round(NULL, &number, &number, 1, &bytes));
    NULLS(fedhds_server_end_round(r.server, NULL, &number, 1, &bytes));
    NULLS(fedhds_server_end_round(r.server, &number, NULL, 1, &bytes));
    NULLS(fedhds_server_end_round(r.server, &number, &number, 1, NULL));
    NULLS(fedhds_server_abandon_round(NULL));
    NULLS(fedhds_server_state(NULL, &bytes));
    NULLS(fedhds_server_state(r.server, NULL));
    OK(fedhds_server_state(r.server, &bytes));
    message_t state = taken(bytes);
    bytes = NULL;
    NULLS(fedhds_server_resume(NULL, state.data, state.length, NULL));
    free(state.data);
    NULLS(fedhds_server_resume(r.server, NULL, 2, NULL));

    CHECK(bytes == NULL && client == NULL && server == NULL && method == NULL && count == 77);
    round_free(&r);
}

static void controls(void) {
    fedhds_control_t* control = NULL;
    size_t threads = 0;
    NULLS(fedhds_control_new(NULL));
    OK(fedhds_control_new(&control));
    NULLS(fedhds_control_set_progress(NULL, on_progress, NULL));
    OK(fedhds_control_set_progress(control, NULL, NULL));
    NULLS(fedhds_control_cancel(NULL));
    OK(fedhds_control_free(control));
    OK(fedhds_set_log(3, NULL, NULL));
    NULLS(fedhds_threads(NULL));
    OK(fedhds_threads(&threads));
    CHECK(threads >= 1);
}

static void numerics(void) {
    features_t f;
    features_of(0, &f);
    fedhds_tsne_config_t tsne;
    fedhds_kernel_pca_config_t kernel;
    fedhds_hdbscan_config_t hdbscan;
    fedhds_kmeans_config_t kmeans;
    NULLS(fedhds_tsne_config_init(NULL, sizeof tsne));
    NULLS(fedhds_kernel_pca_config_init(NULL, sizeof kernel));
    NULLS(fedhds_hdbscan_config_init(NULL, sizeof hdbscan));
    NULLS(fedhds_kmeans_config_init(NULL, sizeof kmeans));
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));

    fedhds_matrix_t* matrix = NULL;
    fedhds_clustering_t* clustering = NULL;
    size_t count = 77;
    NULLS(fedhds_tsne(NULL, &tsne, 0, NULL, &matrix));
    NULLS(fedhds_tsne(&f.view, NULL, 0, NULL, &matrix));
    NULLS(fedhds_tsne(&f.view, &tsne, 0, NULL, NULL));
    NULLS(fedhds_layer_norm(NULL, 1, &matrix));
    NULLS(fedhds_layer_norm(&f.view, 1, NULL));
    NULLS(fedhds_pca(NULL, 2, false, NULL, &matrix));
    NULLS(fedhds_pca(&f.view, 2, false, NULL, NULL));
    fedhds_pca_t* pca = NULL;
    NULLS(fedhds_pca_fit(NULL, 2, false, NULL, &pca));
    NULLS(fedhds_pca_fit(&f.view, 2, false, NULL, NULL));
    CHECK(pca == NULL);
    OK(fedhds_pca_fit(&f.view, 2, false, NULL, &pca));
    NULLS(fedhds_pca_transform(NULL, &f.view, NULL, &matrix));
    NULLS(fedhds_pca_transform(pca, NULL, NULL, &matrix));
    NULLS(fedhds_pca_transform(pca, &f.view, NULL, NULL));
    NULLS(fedhds_pca_components(NULL, &matrix));
    NULLS(fedhds_pca_components(pca, NULL));
    NULLS(fedhds_pca_explained_variance(NULL, NULL, 0, &count));
    NULLS(fedhds_pca_explained_variance(pca, NULL, 0, NULL));
    NULLS(fedhds_pca_explained_variance_ratio(NULL, NULL, 0, &count));
    NULLS(fedhds_pca_explained_variance_ratio(pca, NULL, 0, NULL));
    NULLS(fedhds_pca_mean(NULL, NULL, 0, &count));
    NULLS(fedhds_pca_mean(pca, NULL, 0, NULL));
    CHECK(count == 77);
    OK(fedhds_pca_free(pca));
    NULLS(fedhds_kernel_pca(NULL, &kernel, NULL, &matrix));
    NULLS(fedhds_kernel_pca(&f.view, NULL, NULL, &matrix));
    NULLS(fedhds_kernel_pca(&f.view, &kernel, NULL, NULL));
    NULLS(fedhds_shared_projection(NULL, 2, 0, NULL, &matrix));
    NULLS(fedhds_shared_projection(&f.view, 2, 0, NULL, NULL));
    NULLS(fedhds_hdbscan(NULL, &hdbscan, NULL, &clustering));
    NULLS(fedhds_hdbscan(&f.view, NULL, NULL, &clustering));
    NULLS(fedhds_hdbscan(&f.view, &hdbscan, NULL, NULL));
    NULLS(fedhds_kmeans(NULL, &kmeans, 0, NULL, &clustering));
    NULLS(fedhds_kmeans(&f.view, NULL, 0, NULL, &clustering));
    NULLS(fedhds_kmeans(&f.view, &kmeans, 0, NULL, NULL));
    CHECK(matrix == NULL && clustering == NULL);

    OK(fedhds_kmeans(&f.view, &kmeans, 0, NULL, &clustering));
    NULLS(fedhds_clustering_labels(NULL, NULL, 0, &count));
    NULLS(fedhds_clustering_labels(clustering, NULL, 0, NULL));
    NULLS(fedhds_clustering_probabilities(NULL, NULL, 0, &count));
    NULLS(fedhds_clustering_probabilities(clustering, NULL, 0, NULL));
    NULLS(fedhds_clustering_centroids(NULL, &matrix));
    NULLS(fedhds_clustering_centroids(clustering, NULL));

    NULLS(fedhds_select(0, NULL, NULL, NULL, clustering, 2, 0, 0, NULL, NULL, 0, &count));
    NULLS(fedhds_select(0, &f.view, NULL, NULL, clustering, 2, 0, 0, NULL, NULL, 0, NULL));
    CHECK(count == 77);
    OK(fedhds_select(0, &f.view, NULL, NULL, clustering, 2, 0, 0, NULL, NULL, 0, &count));
    CHECK(count == 2);
    OK(fedhds_clustering_free(clustering));

    fedhds_rouge_t rouge = {7, 7, 7};
    const char* references[] = {"a b", NULL};
    NULLS(fedhds_rouge_l(NULL, references, 1, 0, &rouge));
    NULLS(fedhds_rouge_l("a", NULL, 1, 0, &rouge));
    NULLS(fedhds_rouge_l("a", references, 2, 0, &rouge));
    NULLS(fedhds_rouge_l("a", references, 1, 0, NULL));
    FAILS(FEDHDS_STATUS_INPUT, fedhds_rouge_l("a", NULL, 0, 0, &rouge));
    CHECK(rouge.f1 == 7);
}

static void records(void) {
    fedhds_records_t *records = NULL, *other = NULL;
    fedhds_bytes_t* bytes = NULL;
    size_t count = 77;
    const uint32_t row = 0;
    NULLS(fedhds_records_new(NULL));
    OK(fedhds_records_new(&records));
    NULLS(fedhds_records_add(NULL, "a", "b", "c", "d", "e"));
    NULLS(fedhds_records_add(records, NULL, "b", "c", "d", "e"));
    NULLS(fedhds_records_add(records, "a", NULL, "c", "d", "e"));
    NULLS(fedhds_records_add(records, "a", "b", "c", NULL, "e"));
    OK(fedhds_records_add(records, "a", "b", NULL, "d", NULL));
    NULLS(fedhds_records_load(NULL, "jsonl", NULL, NULL, &other));
    NULLS(fedhds_records_load("x", NULL, NULL, NULL, &other));
    NULLS(fedhds_records_load("x", "jsonl", NULL, NULL, NULL));
#if defined(FEDHDS_MODELS)
    NULLS(fedhds_records_embedded(NULL, NULL, &other));
    NULLS(fedhds_records_embedded(NULL, &other, NULL));
#endif
    NULLS(fedhds_records_count(NULL, &count));
    NULLS(fedhds_records_count(records, NULL));
    NULLS(fedhds_records_get(NULL, 0, &bytes));
    NULLS(fedhds_records_get(records, 0, NULL));
    NULLS(fedhds_records_subset(NULL, &row, 1, &other));
    NULLS(fedhds_records_subset(records, NULL, 1, &other));
    NULLS(fedhds_records_subset(records, &row, 1, NULL));
    NULLS(fedhds_records_part(NULL, "{\"kind\": \"iid\", \"clients\": 1}", 0, 0, &other));
    NULLS(fedhds_records_part(records, NULL, 0, 0, &other));
    NULLS(fedhds_records_part(records, "{\"kind\": \"iid\", \"clients\": 1}", 0, 0, NULL));
    CHECK(other == NULL && bytes == NULL && count == 77);
    OK(fedhds_records_subset(records, NULL, 0, &other));
    OK(fedhds_records_count(other, &count));
    CHECK(count == 0);
    OK(fedhds_records_free(other));
    OK(fedhds_records_free(records));
}

static void texts(void) {
    fedhds_text_features_config_t config;
    fedhds_text_features_t *text = NULL, *other = NULL;
    fedhds_near_copies_t *copies = NULL, *none = NULL;
    fedhds_records_t* records = NULL;
    fedhds_matrix_t* matrix = NULL;
    size_t count = 77;
    NULLS(fedhds_text_features_config_init(NULL, sizeof config));
    OK(fedhds_text_features_config_init(&config, sizeof config));
    NULLS(fedhds_text_features_new(NULL, &text));
    NULLS(fedhds_text_features_new(&config, NULL));
    OK(fedhds_text_features_new(&config, &text));
    NULLS(fedhds_text_features_row(NULL, "a", "b", "c", NULL, 0, &count));
    NULLS(fedhds_text_features_row(text, NULL, "b", "c", NULL, 0, &count));
    NULLS(fedhds_text_features_row(text, "a", "b", "c", NULL, 0, NULL));
    OK(fedhds_records_new(&records));
    NULLS(fedhds_text_features_of_records(NULL, records, NULL, &matrix));
    NULLS(fedhds_text_features_of_records(text, NULL, NULL, &matrix));
    NULLS(fedhds_text_features_of_records(text, records, NULL, NULL));
    NULLS(fedhds_text_features_of_prompts(NULL, records, NULL, &matrix));
    NULLS(fedhds_text_features_of_prompts(text, NULL, NULL, &matrix));
    NULLS(fedhds_text_features_of_prompts(text, records, NULL, NULL));
    NULLS(fedhds_near_copies_new(NULL, NULL));
    OK(fedhds_near_copies_new(NULL, &copies));
    NULLS(fedhds_near_copies_add(NULL, "a", "b", "c"));
    NULLS(fedhds_near_copies_add(copies, NULL, "b", "c"));
    NULLS(fedhds_near_copies_add(copies, "a", "b", NULL));
    NULLS(fedhds_near_copies_add_records(NULL, records));
    NULLS(fedhds_near_copies_add_records(copies, NULL));
    NULLS(fedhds_near_copies_labels(NULL, NULL, 0, &count));
    NULLS(fedhds_near_copies_labels(copies, NULL, 0, NULL));
    CHECK(count == 77 && matrix == NULL);
    OK(fedhds_near_copies_add(copies, "a", NULL, "c"));
    OK(fedhds_near_copies_labels(copies, NULL, 0, &count));
    CHECK(count == 1);
    OK(fedhds_text_features_of_records(text, records, NULL, &matrix));
    OK(fedhds_matrix_free(matrix));
    OK(fedhds_records_free(records));
    OK(fedhds_text_features_free(text));
    OK(fedhds_text_features_free(other));
    OK(fedhds_near_copies_free(copies));
    OK(fedhds_near_copies_free(none));
}

static void frees(void) {
    OK(fedhds_bytes_free(NULL));
    OK(fedhds_matrix_free(NULL));
    OK(fedhds_clustering_free(NULL));
    OK(fedhds_control_free(NULL));
    OK(fedhds_method_free(NULL));
    OK(fedhds_client_free(NULL));
    OK(fedhds_server_free(NULL));
    OK(fedhds_records_free(NULL));
    CHECK(fedhds_last_error_message() != NULL);
    CHECK(strcmp(fedhds_status_name(0), "FEDHDS_STATUS_OK") == 0);
    CHECK(strcmp(fedhds_status_name(-1), "unknown") == 0 && strcmp(fedhds_status_name(INT32_MAX), "unknown") == 0);
    CHECK(fedhds_version()[0] != '\0');
    CHECK(fedhds_abi_version() == FEDHDS_ABI_VERSION);
}

int main(void) {
    bytes_and_matrices();
    rounds();
    controls();
    numerics();
    records();
    texts();
    frees();
    return DONE;
}
