// Every function that takes a handle, with handles that are none, of another type, or freed; and every handle freed
// twice.

#include "fixtures.h"

typedef enum { BYTES, MATRIX, CLUSTERING, CONTROL, METHOD, CLIENT, SERVER, RECORDS, PCA, TEXT, COPIES, KINDS, ADAPTER = KINDS, SECRET, ALL } kind_t;

static const char* const NAMES[ALL] = {
    "fedhds_bytes_t",
    "fedhds_matrix_t",
    "fedhds_clustering_t",
    "fedhds_control_t",
    "fedhds_method_t",
    "fedhds_client_t",
    "fedhds_server_t",
    "fedhds_records_t",
    "fedhds_pca_t",
    "fedhds_text_features_t",
    "fedhds_near_copies_t",
    "fedhds_adapter_t",  // of this and the next this program has none that are alive
    "fedhds_secret_t",
};

// The other arguments are good ones.
static round_t good;
static fedhds_pca_t* good_pca;
static fedhds_text_features_t* good_text;
static fedhds_near_copies_t* good_copies;
static fedhds_records_t* good_records;
static message_t state, of_client;
static fedhds_tsne_config_t tsne;
static fedhds_kernel_pca_config_t kernel;
static fedhds_hdbscan_config_t hdbscan;
static fedhds_kmeans_config_t kmeans;
static fedhds_text_features_config_t text;
static fedhds_bytes_t* bytes;
static fedhds_matrix_t* matrix;
static fedhds_clustering_t* clustering;
static fedhds_client_t* client;
static fedhds_server_t* server;
static fedhds_records_t* records;
static fedhds_pca_t* pca;
static const uint8_t* data;
static fedhds_matrix_view_t view;
static size_t count;
static int32_t factors;
static const uint32_t one = 0;
static uint8_t byte[1];

static int32_t reduce(fedhds_matrix_view_t features, uint64_t seed, size_t columns, float* reduced, void* user_data) {
    (void)features, (void)seed, (void)columns, (void)reduced, (void)user_data;
    return 1;
}
static int32_t cluster(const fedhds_rows_t* rows, size_t wanted, uint64_t seed, int32_t* labels, void* user_data) {
    (void)rows, (void)wanted, (void)seed, (void)labels, (void)user_data;
    return 1;
}
static int32_t choose(
    const fedhds_rows_t* rows, uint64_t seed, size_t wanted, size_t per_cluster, uint32_t* chosen, void* user_data) {
    (void)rows, (void)seed, (void)wanted, (void)per_cluster, (void)chosen, (void)user_data;
    return 1;
}
static int32_t send(fedhds_summary_t* summary, fedhds_secret_t* secret, void* user_data) {
    (void)summary, (void)secret, (void)user_data;
    return 1;
}
static int32_t losses_of(const fedhds_pair_t* pairs, size_t number, float* losses, void* user_data) {
    (void)pairs, (void)number, (void)losses, (void)user_data;
    return 1;
}
static int32_t commit(const fedhds_trained_group_t* groups, size_t number, void* user_data) {
    (void)groups, (void)number, (void)user_data;
    return 1;
}
static int32_t covered(fedhds_matrix_view_t* points, const float** mass, void* user_data) {
    (void)points, (void)mass, (void)user_data;
    return 1;
}
static const fedhds_memory_t MEMORY = {sizeof MEMORY, 1, NULL, commit, covered, NULL, NULL};

#define START good.start.data, good.start.length
#define ORDER good.order.data, good.order.length
#define VIEW &good.features.view
#define JSON "{\"kind\": \"iid\", \"clients\": 1}"

// One small function for each handle argument of each function.
#define USE(number, call) \
    static fedhds_status_t use_##number(void* handle) { return call; }
USE(0, fedhds_bytes_view(handle, &data, &count))
USE(1, fedhds_bytes_copy(handle, NULL, 0, &count))
USE(2, fedhds_matrix_view(handle, &view))
USE(3, fedhds_matrix_copy(handle, NULL, 0, &count))
USE(4, fedhds_clustering_labels(handle, NULL, 0, &count))
USE(5, fedhds_clustering_probabilities(handle, NULL, 0, &count))
USE(6, fedhds_clustering_centroids(handle, &matrix))
USE(7, fedhds_select(0, VIEW, NULL, NULL, handle, 1, 0, 0, NULL, NULL, 0, &count))
USE(8, fedhds_control_set_progress(handle, NULL, NULL))
USE(9, fedhds_control_cancel(handle))
USE(10, fedhds_client_summarize(good.client, START, VIEW, 0, NULL, handle, &bytes))
USE(11, fedhds_client_choose(good.client, ORDER, handle, NULL, 0, &count))
USE(12, fedhds_server_select(good.server, handle))
USE(13, fedhds_tsne(VIEW, &tsne, 0, handle, &matrix))
USE(14, fedhds_pca(VIEW, 2, false, handle, &matrix))
USE(15, fedhds_kernel_pca(VIEW, &kernel, handle, &matrix))
USE(16, fedhds_shared_projection(VIEW, 2, 0, handle, &matrix))
USE(17, fedhds_hdbscan(VIEW, &hdbscan, handle, &clustering))
USE(18, fedhds_kmeans(VIEW, &kmeans, 0, handle, &clustering))
USE(19, fedhds_select(3, VIEW, NULL, NULL, NULL, 1, 0, 0, handle, NULL, 0, &count))
USE(20, fedhds_records_load("absent", "jsonl", NULL, handle, &records))
USE(21, fedhds_method_settings(handle, &bytes))
USE(22, fedhds_method_set_reducer(handle, "client.reducer", reduce, 2, NULL))
USE(23, fedhds_method_set_clusterer(handle, "client.clusterer", cluster, NULL))
USE(24, fedhds_method_set_selector(handle, "client.selector", choose, 0, 0, NULL))
USE(25, fedhds_client_new(0, handle, 1, 0, &client))
USE(26, fedhds_server_new(handle, 1, 0, &server))
USE(27, fedhds_client_summarize(handle, START, VIEW, 0, NULL, NULL, &bytes))
USE(28, fedhds_client_choose(handle, ORDER, NULL, NULL, 0, &count))
USE(29, fedhds_client_mark_trained(handle, &one, 1))
USE(30, fedhds_client_groups(handle, NULL, 0, &count))
USE(31, fedhds_client_state(handle, &bytes))
USE(32, fedhds_client_resume(handle, of_client.data, of_client.length))
USE(33, fedhds_server_begin_round(handle, 1, &one, 1, NULL, &bytes))
USE(34, fedhds_server_receive(handle, 0, good.summary.data, good.summary.length))
USE(35, fedhds_server_select(handle, NULL))
USE(36, fedhds_server_order(handle, 0, &bytes, &count))
USE(37, fedhds_server_selection(handle, NULL, 0, &count))
USE(38, fedhds_server_abandon_round(handle))
USE(39, fedhds_server_state(handle, &bytes))
USE(40, fedhds_server_resume(handle, state.data, state.length, NULL))
USE(41, fedhds_records_add(handle, "id", "a", NULL, "b", NULL))
USE(42, fedhds_records_count(handle, &count))
USE(43, fedhds_records_get(handle, 0, &bytes))
USE(44, fedhds_records_subset(handle, &one, 1, &records))
USE(45, fedhds_records_part(handle, JSON, 0, 0, &records))
USE(46, fedhds_bytes_free(handle))
USE(47, fedhds_matrix_free(handle))
USE(48, fedhds_clustering_free(handle))
USE(49, fedhds_control_free(handle))
USE(50, fedhds_method_free(handle))
USE(51, fedhds_client_free(handle))
USE(52, fedhds_server_free(handle))
USE(53, fedhds_records_free(handle))
USE(54, fedhds_pca_free(handle))
USE(55, fedhds_pca_fit(VIEW, 2, false, handle, &pca))
USE(56, fedhds_pca_transform(handle, VIEW, NULL, &matrix))
USE(57, fedhds_pca_transform(good_pca, VIEW, handle, &matrix))
USE(58, fedhds_pca_components(handle, &matrix))
USE(59, fedhds_pca_explained_variance(handle, NULL, 0, &count))
USE(60, fedhds_pca_explained_variance_ratio(handle, NULL, 0, &count))
USE(61, fedhds_pca_mean(handle, NULL, 0, &count))
USE(62, fedhds_method_set_upload(handle, send, NULL))
USE(63, fedhds_method_set_memory(handle, &MEMORY, NULL))
USE(64, fedhds_client_set_secret(handle, (const uint8_t*)&good))
USE(65, fedhds_server_leave_out(handle, 0, "gone"))
USE(66, fedhds_server_end_round(handle, &one, &one, 1, &bytes))
USE(67, fedhds_server_begin_round(good.server, 9, &one, 1, handle, &bytes))
USE(68, fedhds_server_resume(good.server, state.data, state.length, handle))
USE(69, fedhds_secret_draw(handle, byte, 1))
USE(70, fedhds_text_features_row(handle, "a", NULL, NULL, NULL, 0, &count))
USE(71, fedhds_text_features_of_records(handle, good_records, NULL, &matrix))
USE(72, fedhds_text_features_of_records(good_text, handle, NULL, &matrix))
USE(73, fedhds_text_features_of_records(good_text, good_records, handle, &matrix))
USE(74, fedhds_text_features_of_prompts(handle, good_records, NULL, &matrix))
USE(75, fedhds_text_features_of_prompts(good_text, handle, NULL, &matrix))
USE(76, fedhds_text_features_of_prompts(good_text, good_records, handle, &matrix))
USE(77, fedhds_near_copies_add(handle, "a", NULL, "b"))
USE(78, fedhds_near_copies_add_records(handle, good_records))
USE(79, fedhds_near_copies_add_records(good_copies, handle))
USE(80, fedhds_near_copies_labels(handle, NULL, 0, &count))
USE(81, fedhds_client_summarize_with(handle, START, VIEW, NULL, NULL, &bytes))
USE(82, fedhds_client_summarize_with(good.client, START, VIEW, NULL, handle, &bytes))
USE(83, fedhds_client_pilot(handle, START, NULL, 0, &count))
USE(84, fedhds_client_answer(handle, START, good.summary.data, good.summary.length, NULL, 0, &bytes))
USE(85, fedhds_client_choose_scored(handle, ORDER, losses_of, NULL, NULL, NULL, 0, &count))
USE(86, fedhds_client_choose_scored(good.client, ORDER, losses_of, NULL, handle, NULL, 0, &count))
USE(87, fedhds_client_set_least_group(handle, 1))
USE(88, fedhds_text_features_free(handle))
USE(89, fedhds_near_copies_free(handle))
USE(90, fedhds_client_set_max_records(handle, 1))
USE(91, fedhds_client_unpin(handle))
USE(92, fedhds_method_check_allowed(handle, NULL))
USE(93, fedhds_client_set_rank(handle, 1))
USE(94, fedhds_client_factors(handle, &factors))

typedef struct {
    fedhds_status_t (*call)(void* handle);
    kind_t kind;
    bool may_be_null;
} use_t;

static const use_t USES[] = {
    {use_0, BYTES, false},
    {use_1, BYTES, false},
    {use_2, MATRIX, false},
    {use_3, MATRIX, false},
    {use_4, CLUSTERING, false},
    {use_5, CLUSTERING, false},
    {use_6, CLUSTERING, false},
    {use_7, CLUSTERING, true},
    {use_8, CONTROL, false},
    {use_9, CONTROL, false},
    {use_10, CONTROL, true},
    {use_11, CONTROL, true},
    {use_12, CONTROL, true},
    {use_13, CONTROL, true},
    {use_14, CONTROL, true},
    {use_15, CONTROL, true},
    {use_16, CONTROL, true},
    {use_17, CONTROL, true},
    {use_18, CONTROL, true},
    {use_19, CONTROL, true},
    {use_20, CONTROL, true},
    {use_21, METHOD, false},
    {use_22, METHOD, false},
    {use_23, METHOD, false},
    {use_24, METHOD, false},
    {use_25, METHOD, false},
    {use_26, METHOD, false},
    {use_27, CLIENT, false},
    {use_28, CLIENT, false},
    {use_29, CLIENT, false},
    {use_30, CLIENT, false},
    {use_31, CLIENT, false},
    {use_32, CLIENT, false},
    {use_33, SERVER, false},
    {use_34, SERVER, false},
    {use_35, SERVER, false},
    {use_36, SERVER, false},
    {use_37, SERVER, false},
    {use_38, SERVER, false},
    {use_39, SERVER, false},
    {use_40, SERVER, false},
    {use_41, RECORDS, false},
    {use_42, RECORDS, false},
    {use_43, RECORDS, false},
    {use_44, RECORDS, false},
    {use_45, RECORDS, false},
    {use_46, BYTES, true},
    {use_47, MATRIX, true},
    {use_48, CLUSTERING, true},
    {use_49, CONTROL, true},
    {use_50, METHOD, true},
    {use_51, CLIENT, true},
    {use_52, SERVER, true},
    {use_53, RECORDS, true},
    {use_54, PCA, true},
    {use_55, CONTROL, true},
    {use_56, PCA, false},
    {use_57, CONTROL, true},
    {use_58, PCA, false},
    {use_59, PCA, false},
    {use_60, PCA, false},
    {use_61, PCA, false},
    {use_62, METHOD, false},
    {use_63, METHOD, false},
    {use_64, CLIENT, false},
    {use_65, SERVER, false},
    {use_66, SERVER, false},
    {use_67, ADAPTER, true},
    {use_68, ADAPTER, true},
    {use_69, SECRET, false},
    {use_70, TEXT, false},
    {use_71, TEXT, false},
    {use_72, RECORDS, false},
    {use_73, CONTROL, true},
    {use_74, TEXT, false},
    {use_75, RECORDS, false},
    {use_76, CONTROL, true},
    {use_77, COPIES, false},
    {use_78, COPIES, false},
    {use_79, RECORDS, false},
    {use_80, COPIES, false},
    {use_81, CLIENT, false},
    {use_82, CONTROL, true},
    {use_83, CLIENT, false},
    {use_84, CLIENT, false},
    {use_85, CLIENT, false},
    {use_86, CONTROL, true},
    {use_87, CLIENT, false},
    {use_88, TEXT, true},
    {use_89, COPIES, true},
    {use_90, CLIENT, false},
    {use_91, CLIENT, false},
    {use_92, METHOD, false},
    {use_93, CLIENT, false},
    {use_94, CLIENT, false},
};

static void make(void* handles[KINDS]) {
    fedhds_bytes_t* b = NULL;
    fedhds_matrix_t* m = NULL;
    fedhds_clustering_t* c = NULL;
    fedhds_control_t* o = NULL;
    fedhds_client_t* l = NULL;
    fedhds_server_t* s = NULL;
    fedhds_records_t* r = NULL;
    fedhds_pca_t* p = NULL;
    fedhds_text_features_t* t = NULL;
    fedhds_near_copies_t* n = NULL;
    OK(fedhds_client_state(good.client, &b));
    OK(fedhds_pca(VIEW, 2, false, NULL, &m));
    OK(fedhds_kmeans(VIEW, &kmeans, 0, NULL, &c));
    OK(fedhds_control_new(&o));
    OK(fedhds_client_new(0, good.method, 1, 0, &l));
    OK(fedhds_server_new(good.method, 1, 0, &s));
    OK(fedhds_records_new(&r));
    OK(fedhds_pca_fit(VIEW, 2, false, NULL, &p));
    OK(fedhds_text_features_new(&text, &t));
    OK(fedhds_near_copies_new(NULL, &n));
    handles[BYTES] = b, handles[MATRIX] = m, handles[CLUSTERING] = c, handles[CONTROL] = o;
    handles[METHOD] = method_of(RANDOM), handles[CLIENT] = l, handles[SERVER] = s, handles[RECORDS] = r;
    handles[PCA] = p, handles[TEXT] = t, handles[COPIES] = n;
}

static void release(void* handles[KINDS]) {
    static fedhds_status_t (*const FREES[KINDS])(void*) = {
        use_46, use_47, use_48, use_49, use_50, use_51, use_52, use_53, use_54, use_88, use_89};
    for (int kind = BYTES; kind < KINDS; ++kind) OK(FREES[kind](handles[kind]));
}

static void* number(uintptr_t value) { return (void*)value; }

int main(void) {
    round_of(COVERAGE, &good);
    OK(fedhds_pca_fit(VIEW, 2, false, NULL, &good_pca));
    OK(fedhds_server_state(good.server, &bytes));
    state = taken(bytes);
    OK(fedhds_client_state(good.client, &bytes));
    of_client = taken(bytes);
    bytes = NULL;
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    OK(fedhds_text_features_config_init(&text, sizeof text));
    OK(fedhds_text_features_new(&text, &good_text));
    OK(fedhds_near_copies_new(NULL, &good_copies));
    OK(fedhds_records_new(&good_records));
    void *alive[KINDS], *freed[KINDS];
    make(alive);
    make(freed);
    release(freed);

    const void* somewhere = &good;
    void* strange[] = {
        number(1), number(7), number(8), (void*)(uintptr_t)somewhere, number(UINTPTR_MAX), number(UINTPTR_MAX / 2 + 1)};
    for (size_t i = 0; i < sizeof USES / sizeof *USES; ++i) {
        const use_t use = USES[i];
        if (!use.may_be_null) FAILS(FEDHDS_STATUS_NULL_POINTER, use.call(NULL));
        for (size_t j = 0; j < sizeof strange / sizeof *strange; ++j) {
            FAILS(FEDHDS_STATUS_INVALID_HANDLE, use.call(strange[j]));
            CHECK(strstr(fedhds_last_error_message(), NAMES[use.kind]) != NULL);
        }
        for (int kind = BYTES; kind < KINDS; ++kind) {
            FAILS(FEDHDS_STATUS_INVALID_HANDLE, use.call(freed[kind]));  // for the _free functions: twice
            if (kind == (int)use.kind) continue;
            FAILS(FEDHDS_STATUS_INVALID_HANDLE, use.call(alive[kind]));
            CHECK(strstr(fedhds_last_error_message(), NAMES[use.kind]) != NULL);
            CHECK(strstr(fedhds_last_error_message(), NAMES[kind]) != NULL);
        }
    }

    // Nothing above has touched the ones that are alive, and handles are not given out again.
    void* again[KINDS];
    make(again);
    for (int kind = BYTES; kind < KINDS; ++kind) {
        for (int other = BYTES; other < KINDS; ++other)
            CHECK(again[kind] != freed[other] && again[kind] != alive[other]);
    }
    release(again);
    release(alive);
    CHECK(bytes == NULL && matrix == NULL && clustering == NULL && client == NULL && server == NULL && records == NULL);

    // A client and a server keep what they need of their method.
    fedhds_method_t* method = method_of(COVERAGE);
    OK(fedhds_client_new(0, method, 1, 5, &client));
    OK(fedhds_method_free(method));
    OK(fedhds_client_summarize(client, START, VIEW, 0, NULL, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_client_free(client));
    OK(fedhds_text_features_free(good_text));
    OK(fedhds_near_copies_free(good_copies));
    OK(fedhds_records_free(good_records));
    free(state.data);
    free(of_client.data);
    round_free(&good);
    return DONE;
}
