// Values outside of what the documentation allows: sizes, strides, alignment, numbers, texts, buffers, enum values.

#include "fixtures.h"

#include <math.h>

static features_t f;
static fedhds_matrix_t* matrix;
static fedhds_clustering_t* clustering;
static fedhds_pca_t* pca;

// Every function that takes a matrix.
static fedhds_tsne_config_t tsne;
static fedhds_kernel_pca_config_t kernel;
static fedhds_hdbscan_config_t hdbscan;
static fedhds_kmeans_config_t kmeans;
static round_t one_round;
static fedhds_bytes_t* summary;
static size_t chosen;

#define TAKES(name, call) \
    static fedhds_status_t name(const fedhds_matrix_view_t* v) { return call; }
TAKES(by_layer_norm, fedhds_layer_norm(v, 1, &matrix))
TAKES(by_tsne, fedhds_tsne(v, &tsne, 1, NULL, &matrix))
TAKES(by_pca, fedhds_pca(v, 1, false, NULL, &matrix))
TAKES(by_pca_fit, fedhds_pca_fit(v, 1, false, NULL, &pca))
TAKES(by_kernel_pca, fedhds_kernel_pca(v, &kernel, NULL, &matrix))
TAKES(by_projection, fedhds_shared_projection(v, 1, 1, NULL, &matrix))
TAKES(by_hdbscan, fedhds_hdbscan(v, &hdbscan, NULL, &clustering))
TAKES(by_kmeans, fedhds_kmeans(v, &kmeans, 1, NULL, &clustering))
TAKES(by_select, fedhds_select(3, v, NULL, NULL, NULL, 1, 0, 1, NULL, NULL, 0, &chosen))
TAKES(by_client,
    fedhds_client_summarize(one_round.client, one_round.start.data, one_round.start.length, v, 0, NULL, NULL, &summary))

typedef fedhds_status_t (*takes_t)(const fedhds_matrix_view_t* view);
static const takes_t TAKERS[] = {
    by_layer_norm, by_tsne, by_pca, by_pca_fit, by_kernel_pca, by_projection, by_hdbscan, by_kmeans, by_select, by_client};
#define TAKER_COUNT (sizeof TAKERS / sizeof *TAKERS)

static void drop(void) {
    OK(fedhds_matrix_free(matrix));
    OK(fedhds_clustering_free(clustering));
    OK(fedhds_pca_free(pca));
    OK(fedhds_bytes_free(summary));
    matrix = NULL, clustering = NULL, pca = NULL, summary = NULL;
}

static fedhds_matrix_view_t view_of(const float* data, size_t rows, size_t cols, size_t row_stride) {
    fedhds_matrix_view_t view = {data, rows, cols, row_stride};
    return view;
}

static void shapes(void) {
    float* values = malloc(12 * sizeof *values);  // a step beyond it is seen by a sanitizer
    CHECK(values != NULL);
    for (int i = 0; i < 12; ++i) values[i] = (float)(i * i % 7);
    const void* askew = (const unsigned char*)values + 1;
    for (size_t i = 0; i < TAKER_COUNT; ++i) {
        const takes_t take = TAKERS[i];
        const fedhds_matrix_view_t narrow = view_of(values, 3, 4, 3), nothing = view_of(NULL, 3, 4, 0),
                                   tall = view_of(values, SIZE_MAX, 4, 0), wide = view_of(values, 3, SIZE_MAX, 0),
                                   far = view_of(values, SIZE_MAX / 2, 1, SIZE_MAX / 2),
                                   tall_and_empty = view_of(values, SIZE_MAX, 0, 0),
                                   wide_and_empty = view_of(values, 0, SIZE_MAX, 0), crooked = view_of(askew, 2, 2, 0);
        FAILS(FEDHDS_STATUS_INPUT, take(&narrow));
        FAILS(FEDHDS_STATUS_NULL_POINTER, take(&nothing));
        FAILS(FEDHDS_STATUS_INPUT, take(&tall));
        FAILS(FEDHDS_STATUS_INPUT, take(&wide));
        FAILS(FEDHDS_STATUS_INPUT, take(&tall_and_empty));
        FAILS(FEDHDS_STATUS_INPUT, take(&wide_and_empty));
        const fedhds_status_t too_far = take(&far);
        CHECK(too_far == FEDHDS_STATUS_INPUT || too_far == FEDHDS_STATUS_PARAMETER);
        FAILS(FEDHDS_STATUS_PARAMETER, take(&crooked));

        // No rows, no columns, one row with any stride: whatever a function makes of them, it is no defect.
        const fedhds_matrix_view_t empty[] = {view_of(values, 0, 4, 0), view_of(NULL, 0, 0, 0),
            view_of(values, 3, 0, 0), view_of(values, 1, 4, SIZE_MAX)};
        for (size_t j = 0; j < sizeof empty / sizeof *empty; ++j) {
            CHECK(take(&empty[j]) != FEDHDS_STATUS_PANIC);
            drop();
        }
        // Rows 0 1, 4 5 and 8 9 of a wider matrix, which ends with the memory.
        const fedhds_matrix_view_t part = view_of(values + 2, 3, 2, 4);
        const fedhds_status_t status = take(&part);
        CHECK(status == FEDHDS_STATUS_OK);
        drop();
    }
    free(values);
}

static void numbers_that_are_none(void) {
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < TAKER_COUNT; ++i) {
        for (size_t j = 0; j < 3; ++j) {
            features_of(1, &f);
            f.values[7] = bad[j];
            SAYS(FEDHDS_STATUS_NOT_FINITE, "row 1", TAKERS[i](&f.view));
        }
    }
    features_of(1, &f);
    float weights[ROWS];
    for (size_t i = 0; i < ROWS; ++i) weights[i] = 1.0f;
    const float bad_weights[] = {NAN, INFINITY, -1.0f};
    for (size_t j = 0; j < 3; ++j) {
        weights[3] = bad_weights[j];
        const fedhds_status_t status =
            fedhds_select(1, &f.view, weights, NULL, NULL, 2, 0, 1, NULL, NULL, 0, &chosen);
        CHECK(status != FEDHDS_STATUS_OK && status != FEDHDS_STATUS_PANIC);
    }
}

static fedhds_status_t with_options(const fedhds_summarize_options_t* options) {
    const message_t start = one_round.start;
    return fedhds_client_summarize_with(one_round.client, start.data, start.length, &f.view, options, NULL, &summary);
}

static void settings(void) {
    // The size that a structure says it has.
    const size_t sizes[] = {0, 1, 7, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        tsne.struct_size = kernel.struct_size = hdbscan.struct_size = kmeans.struct_size = sizes[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
        FAILS(FEDHDS_STATUS_PARAMETER, by_kernel_pca(&f.view));
        FAILS(FEDHDS_STATUS_PARAMETER, by_hdbscan(&f.view));
        FAILS(FEDHDS_STATUS_PARAMETER, by_kmeans(&f.view));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_tsne_config_init(&tsne, sizes[i]));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kernel_pca_config_init(&kernel, sizes[i]));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_hdbscan_config_init(&hdbscan, sizes[i]));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kmeans_config_init(&kmeans, sizes[i]));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        fedhds_text_features_config_t config = {sizes[i], 128, 1};
        fedhds_text_features_t* text = NULL;
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_text_features_config_init(&config, sizes[i]));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_text_features_new(&config, &text));
        const fedhds_summarize_options_t options = {sizes[i], 0, NULL, NULL, NULL, NULL};
        FAILS(FEDHDS_STATUS_PARAMETER, with_options(&options));
    }
    // The structure of an older program is shorter: only that much of it is written and read.
    const fedhds_summarize_options_t short_options = {
        offsetof(fedhds_summarize_options_t, scores), 0, (const void*)1, (const void*)1, (const void*)1, (const void*)1};
    OK(with_options(&short_options));
    drop();
    // Prompts of another number of rows, and with values that are none; copies and tokens of a misplaced pointer.
    float no_value[ROWS] = {0};
    no_value[5] = NAN;
    const fedhds_matrix_view_t few = view_of(f.values, ROWS - 1, COLS, 0), nan = view_of(no_value, ROWS, 1, 0);
    fedhds_summarize_options_t options = {sizeof options, 0, NULL, NULL, &few, NULL};
    SAYS(FEDHDS_STATUS_INPUT, "prompts", with_options(&options));
    options.prompts = &nan;
    SAYS(FEDHDS_STATUS_NOT_FINITE, "prompts", with_options(&options));
    options.prompts = NULL, options.copies = (const void*)((const unsigned char*)f.values + 1);
    SAYS(FEDHDS_STATUS_PARAMETER, "copies", with_options(&options));
    options.copies = NULL, options.tokens = (const void*)((const unsigned char*)f.values + 1);
    SAYS(FEDHDS_STATUS_PARAMETER, "tokens", with_options(&options));
    const size_t old_size = offsetof(fedhds_kmeans_config_t, n_init);
    fedhds_kmeans_config_t* old = malloc(old_size);
    CHECK(old != NULL);
    OK(fedhds_kmeans_config_init(old, old_size));
    size_t head[2];
    memcpy(head, old, sizeof head);
    CHECK(head[0] == old_size && head[1] == 8);
    OK(fedhds_kmeans(&f.view, old, 1, NULL, &clustering));
    drop();
    free(old);
    // That of a newer program is longer: what this library does not know is left as it is.
    struct {
        fedhds_kmeans_config_t known;
        unsigned char later[64];
    } newer;
    memset(&newer, 0x5A, sizeof newer);
    OK(fedhds_kmeans_config_init(&newer.known, sizeof newer));
    CHECK(newer.known.struct_size == sizeof newer && newer.known.n_clusters == 8 && newer.later[0] == 0x5A);
    OK(fedhds_kmeans(&f.view, &newer.known, 1, NULL, &clustering));
    drop();

    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    tsne.max_iter = 250;

    const fedhds_tsne_config_t good_tsne = tsne;
    const double bad[] = {NAN, INFINITY, -1.0};
    for (size_t i = 0; i < 3; ++i) {
        tsne = good_tsne, tsne.perplexity = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
        tsne = good_tsne, tsne.learning_rate = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
        tsne = good_tsne, tsne.early_exaggeration = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
        tsne = good_tsne, tsne.angle = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
        fedhds_kernel_pca_config_t k = kernel;
        k.gamma = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kernel_pca(&f.view, &k, NULL, &matrix));
        fedhds_hdbscan_config_t h = hdbscan;
        h.cluster_selection_epsilon = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_hdbscan(&f.view, &h, NULL, &clustering));
        fedhds_kmeans_config_t c = kmeans;
        c.tol = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kmeans(&f.view, &c, 1, NULL, &clustering));
    }
    for (size_t i = 0; i < 3; ++i) {
        const size_t counts[] = {0, 4, SIZE_MAX};
        tsne = good_tsne, tsne.n_components = counts[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
    }
    tsne = good_tsne;
    // Flags are 0 or 1: a byte that nobody has set is something else.
    const uint8_t no_flags[] = {2, 0x80, 0xFF};
    for (size_t i = 0; i < 3; ++i) {
        fedhds_hdbscan_config_t h = hdbscan;
        h.allow_single_cluster = no_flags[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_hdbscan(&f.view, &h, NULL, &clustering));
        SAYS(FEDHDS_STATUS_PARAMETER, "whiten", fedhds_pca(&f.view, 2, no_flags[i], NULL, &matrix));
        SAYS(FEDHDS_STATUS_PARAMETER, "whiten", fedhds_pca_fit(&f.view, 2, no_flags[i], NULL, &pca));
        SAYS(FEDHDS_STATUS_PARAMETER, "per_cluster",
            fedhds_select(3, &f.view, NULL, NULL, NULL, 1, no_flags[i], 1, NULL, NULL, 0, &chosen));
    }
    tsne = good_tsne;
    // A structure's size that ends within a field.
    tsne.struct_size = sizeof tsne - 1;
    FAILS(FEDHDS_STATUS_PARAMETER, by_tsne(&f.view));
    tsne = good_tsne;
    const int32_t no_choice[] = {-1, 2, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; ++i) {
        tsne.perplexity_limit = no_choice[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "perplexity_limit", by_tsne(&f.view));
        fedhds_hdbscan_config_t h = hdbscan;
        h.cluster_selection_method = no_choice[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "cluster_selection_method", fedhds_hdbscan(&f.view, &h, NULL, &clustering));
    }
    tsne = good_tsne;
    const int32_t kernels[] = {-1, 4, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; ++i) {
        kernel.kernel = kernels[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "kernel", by_kernel_pca(&f.view));
    }
    kernel.kernel = 2;
    const uint32_t degrees[] = {0, 17, UINT32_MAX};
    for (size_t i = 0; i < 3; ++i) {
        kernel.degree = degrees[i];
        FAILS(FEDHDS_STATUS_PARAMETER, by_kernel_pca(&f.view));
    }
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));

    // Columns and clusters without measure.
    const size_t many[] = {0, SIZE_MAX / 1024, SIZE_MAX / 64, SIZE_MAX};
    for (size_t i = 0; i < 4; ++i) {
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_pca(&f.view, many[i], false, NULL, &matrix));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_pca_fit(&f.view, many[i], false, NULL, &pca));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_shared_projection(&f.view, many[i], 1, NULL, &matrix));
        fedhds_kernel_pca_config_t k = kernel;
        k.n_components = many[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kernel_pca(&f.view, &k, NULL, &matrix));
        CHECK(fedhds_layer_norm(&f.view, many[i], &matrix) != FEDHDS_STATUS_PANIC);
        drop();
        fedhds_kmeans_config_t c = kmeans;
        c.n_clusters = many[i];
        CHECK(
            fedhds_kmeans(&f.view, &c, 1, NULL, &clustering) == (i == 0 ? FEDHDS_STATUS_PARAMETER : FEDHDS_STATUS_OK));
        drop();
        fedhds_hdbscan_config_t h = hdbscan;
        h.min_cluster_size = many[i];
        CHECK(fedhds_hdbscan(&f.view, &h, NULL, &clustering) == (i == 0 ? FEDHDS_STATUS_PARAMETER : FEDHDS_STATUS_OK));
        drop();
        h = hdbscan, h.min_samples = many[i];
        OK(fedhds_hdbscan(&f.view, &h, NULL, &clustering));
        drop();
    }
    FAILS(FEDHDS_STATUS_INPUT, fedhds_layer_norm(&f.view, 4, &matrix));  // 6 columns
}

static void enums(void) {
    const int32_t unknown[] = {-1, 5, INT32_MAX, INT32_MIN};
    fedhds_rouge_t rouge;
    const char* reference = "a";
    for (size_t i = 0; i < 4; ++i) {
        SAYS(FEDHDS_STATUS_PARAMETER, "selector",
            fedhds_select(unknown[i], &f.view, NULL, NULL, NULL, 1, 0, 1, NULL, NULL, 0, &chosen));
        SAYS(FEDHDS_STATUS_PARAMETER, "flavor", fedhds_rouge_l("a", &reference, 1, unknown[i], &rouge));
    }
    const int32_t levels[] = {0, 6, -1, INT32_MAX};
    for (size_t i = 0; i < 4; ++i) SAYS(FEDHDS_STATUS_PARAMETER, "level", fedhds_set_log(levels[i], NULL, NULL));
    const size_t threads[] = {0, 4097, SIZE_MAX};
    for (size_t i = 0; i < 3; ++i) SAYS(FEDHDS_STATUS_PARAMETER, "threads", fedhds_set_threads(threads[i]));
}

static void texts(void) {
    static const char* const broken[] = {"\x80", "a\xC3", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xC0\x80"};
    fedhds_method_t* method = NULL;
    fedhds_records_t *records = NULL, *other = NULL;
    fedhds_rouge_t rouge;
    OK(fedhds_records_new(&records));
    for (size_t i = 0; i < sizeof broken / sizeof *broken; ++i) {
        const char* b = broken[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_method_new(b, &method));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_add(records, b, "i", "n", "r", "c"));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_add(records, "id", b, "n", "r", "c"));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_add(records, "id", "i", b, "r", "c"));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_add(records, "id", "i", "n", b, "c"));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_add(records, "id", "i", "n", "r", b));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_load(b, "jsonl", NULL, NULL, &other));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_load("x", b, NULL, NULL, &other));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_load("x", "jsonl", b, NULL, &other));
#if defined(FEDHDS_MODELS)
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_embedded(b, &other, &other));
#endif
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_records_part(records, b, 0, 0, &other));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_rouge_l(b, &b, 1, 0, &rouge));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_rouge_l("a", &b, 1, 0, &rouge));
        SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_method_set_reducer(one_round.method, b, NULL, 1, NULL));
    }
    size_t count = 9;
    OK(fedhds_records_count(records, &count));
    CHECK(count == 0);

    static const char* const wrong[] = {"", "preset", "preset = \"none\"", "preset = \"random\"\nbudget = 3", "{", "{}",
        "[]", "{\"preset\": 7}", "preset = \"random\"\ncount = { budget = -1 }"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i)
        FAILS(FEDHDS_STATUS_CONFIG, fedhds_method_new(wrong[i], &method));
    FAILS(FEDHDS_STATUS_IO, fedhds_records_load("/absent/file.jsonl", "jsonl", NULL, NULL, &other));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_records_load("x", "csv", NULL, NULL, &other));
    SAYS(FEDHDS_STATUS_PARAMETER, "did you mean `jsonl`?", fedhds_records_load("x", "josnl", NULL, NULL, &other));
    SAYS(FEDHDS_STATUS_PARAMETER, "natural_instructions", fedhds_records_load("x", "", NULL, NULL, &other));
    SAYS(FEDHDS_STATUS_PARAMETER, "`guess`", fedhds_records_load("x", "natural_instructions:train", NULL, NULL, &other));
    SAYS(FEDHDS_STATUS_PARAMETER, "split", fedhds_records_load("x", "jsonl", "{\"split\": \"test\"}", NULL, &other));
    FAILS(FEDHDS_STATUS_IO, fedhds_records_load("/absent/file.jsonl", "guess", NULL, NULL, &other));
    FAILS(FEDHDS_STATUS_CONFIG, fedhds_records_load("x", "jsonl", "{\"q\": 1}", NULL, &other));
    // In 32 bits these are no number of records at all.
    const fedhds_status_t beyond = sizeof(size_t) > 4 ? FEDHDS_STATUS_PARAMETER : FEDHDS_STATUS_CONFIG;
#if defined(FEDHDS_MODELS)
    SAYS(FEDHDS_STATUS_INPUT, "generated", fedhds_records_load("x", "embedded", NULL, NULL, &other));
    FAILS(FEDHDS_STATUS_CONFIG, fedhds_records_embedded("{\"records\": 1}", &other, &other));
    static const char* const too_many[] = {
        "{\"records_per_task\": 4294967295}", "{\"tasks\": 100000}", "{\"records_per_task\": 0}"};
    for (size_t i = 0; i < 3; ++i) FAILS(FEDHDS_STATUS_PARAMETER, fedhds_records_embedded(too_many[i], &other, &other));
    FAILS(beyond, fedhds_records_embedded("{\"records_per_task\": 4294967296}", &other, &other));
    FAILS(beyond, fedhds_records_embedded("{\"records_per_task\": 18446744073709551615}", &other, &other));
#endif

    OK(fedhds_records_add(records, "a", "i", NULL, "r", NULL));
    FAILS(FEDHDS_STATUS_INPUT, fedhds_records_add(records, "a", "i", NULL, "r", NULL));
    static const char* const no_part[] = {"{\"kind\": \"iid\", \"clients\": 4294967295}",
        "{\"kind\": \"dirichlet\", \"clients\": 1, \"alpha\": 0}", "{\"kind\": \"iid\", \"clients\": 0}"};
    for (size_t i = 0; i < 3; ++i)
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_records_part(records, no_part[i], 0, 0, &other));
    FAILS(beyond,
        fedhds_records_part(records, "{\"kind\": \"iid\", \"clients\": 18446744073709551615}", 0, 0, &other));
    FAILS(FEDHDS_STATUS_CONFIG, fedhds_records_part(records, "{\"kind\": \"by hand\"}", 0, 0, &other));
    FAILS(FEDHDS_STATUS_PARAMETER,
        fedhds_records_part(records, "{\"kind\": \"iid\", \"clients\": 1}", 0, SIZE_MAX, &other));
    fedhds_bytes_t* json = NULL;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_records_get(records, SIZE_MAX, &json));
    const uint32_t rows[] = {0, UINT32_MAX};
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_records_subset(records, rows, 2, &other));
    CHECK(other == NULL && method == NULL && json == NULL);
    OK(fedhds_records_free(records));
}

static void buffers(void) {
    // One place too few: nothing is written but the number that is needed.
    uint32_t rows[8] = {99, 99, 99, 99, 99, 99, 99, 99};
    OK(fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, NULL, 0, &chosen));
    CHECK(chosen == 5);
    chosen = 0;
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL,
        fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, rows, 4, &chosen));
    CHECK(chosen == 5 && rows[0] == 99 && rows[4] == 99);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL,
        fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, rows, 0, &chosen));
    OK(fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, rows, 8, &chosen));
    CHECK(chosen == 5 && rows[4] < ROWS && rows[5] == 99);

    uint8_t bytes[4] = {7, 7, 7, 7};
    fedhds_bytes_t* state = NULL;
    size_t length = 0;
    OK(fedhds_server_state(one_round.server, &state));
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_bytes_copy(state, bytes, 4, &length));
    CHECK(length > 4 && bytes[0] == 7);
    OK(fedhds_bytes_free(state));
    int32_t labels[ROWS];
    float values[4];
    OK(by_client(&one_round.features.view));  // the others of this program have made it forget its own
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_client_groups(one_round.client, labels, ROWS - 1, &length));
    CHECK(length == ROWS);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL,
        fedhds_client_choose(one_round.client, one_round.order.data, one_round.order.length, NULL, rows, 0, &length));
    fedhds_group_t groups[1];
    OK(fedhds_server_selection(one_round.server, NULL, 0, &length));
    CHECK(length == 3);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_server_selection(one_round.server, groups, 1, &length));
    OK(by_kmeans(&f.view));
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_clustering_labels(clustering, labels, ROWS - 1, &length));
    CHECK(length == ROWS);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_clustering_probabilities(clustering, values, 4, &length));
    OK(by_pca(&f.view));
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_matrix_copy(matrix, values, 4, &length));
    CHECK(length == ROWS);
    double numbers[COLS];
    OK(by_pca_fit(&f.view));
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_pca_mean(pca, numbers, COLS - 1, &length));
    CHECK(length == COLS);
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_pca_explained_variance(pca, numbers, 0, &length));
    CHECK(length == 1);
    length = 0;
    FAILS(FEDHDS_STATUS_BUFFER_TOO_SMALL, fedhds_pca_explained_variance_ratio(pca, numbers, 0, &length));
    CHECK(length == 1);
    drop();

    // Buffers and places at odd addresses.
    unsigned char* room = malloc(64);
    CHECK(room != NULL);
    FAILS(FEDHDS_STATUS_PARAMETER,
        fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, (void*)(room + 1), 8, &chosen));
    FAILS(FEDHDS_STATUS_PARAMETER,
        fedhds_select(3, &f.view, NULL, NULL, NULL, 5, 0, 1, NULL, NULL, 0, (void*)(room + 1)));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_method_new(RANDOM, (void*)(room + 1)));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kmeans_config_init((void*)(room + 1), sizeof kmeans));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_kmeans(&f.view, (void*)(room + 1), 1, NULL, &clustering));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_pca((void*)(room + 1), 1, false, NULL, &matrix));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_client_mark_trained(one_round.client, (void*)(room + 1), 2));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_client_mark_trained(one_round.client, (void*)room, SIZE_MAX));
    free(room);

    // Counts without measure.
    const int32_t with_clusters[] = {0, 2};
    OK(by_kmeans(&f.view));
    for (size_t i = 0; i < 2; ++i) {
        OK(fedhds_select(with_clusters[i], &f.view, NULL, NULL, clustering, SIZE_MAX, 1, 1, NULL, NULL, 0, &chosen));
        CHECK(chosen == ROWS);
    }
    OK(fedhds_select(3, &f.view, NULL, NULL, NULL, SIZE_MAX, 0, 1, NULL, NULL, 0, &chosen));
    CHECK(chosen == ROWS);
    OK(fedhds_select(3, &f.view, NULL, NULL, NULL, 0, 0, 1, NULL, NULL, 0, &chosen));
    CHECK(chosen == 0);
    const fedhds_matrix_view_t fewer = view_of(f.values, ROWS - 1, COLS, 0);
    FAILS(FEDHDS_STATUS_INPUT, fedhds_select(0, &fewer, NULL, NULL, clustering, 1, 1, 1, NULL, NULL, 0, &chosen));
    drop();
}

static void rounds(void) {
    fedhds_client_t* client = NULL;
    fedhds_server_t* server = NULL;
    fedhds_bytes_t* bytes = NULL;
    size_t count = 0;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_client_new(0, one_round.method, 0, 1, &client));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_server_new(one_round.method, 0, 1, &server));
    OK(fedhds_client_new(UINT32_MAX, one_round.method, SIZE_MAX, UINT64_MAX, &client));
    CHECK(fedhds_client_summarize(client, one_round.start.data, one_round.start.length, &f.view, 0, NULL, NULL, &bytes) !=
          FEDHDS_STATUS_PANIC);
    // No order without a summary of this client.
    FAILS(FEDHDS_STATUS_PROTOCOL,
        fedhds_client_choose(client, one_round.order.data, one_round.order.length, NULL, NULL, 0, &count));
    OK(fedhds_client_free(client));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_order(one_round.server, 1, &bytes, &count));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_begin_round(one_round.server, 1, NULL, 0, NULL, &bytes));
    OK(fedhds_server_new(one_round.method, 1, 5, &server));
    const uint32_t twice[] = {1, 1};
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_begin_round(server, 0, twice, 2, NULL, &bytes));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_server_begin_round(server, 0, twice, SIZE_MAX, NULL, &bytes));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_select(server, NULL));
    OK(fedhds_server_selection(server, NULL, 0, &count));
    CHECK(count == 0);
    // A round of nobody selects nothing.
    OK(fedhds_server_begin_round(server, 0, NULL, 0, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_server_select(server, NULL));
    OK(fedhds_server_abandon_round(server));
    OK(fedhds_server_abandon_round(server));
    OK(fedhds_server_free(server));

    // A method that looks at no features, for a number of records without measure.
    round_t round;
    round_of(RANDOM, &round);
    FAILS(FEDHDS_STATUS_INPUT,
        fedhds_client_summarize(round.client, round.start.data, round.start.length, NULL, SIZE_MAX, NULL, NULL, &bytes));
    OK(fedhds_client_summarize(round.client, round.start.data, round.start.length, NULL, 0, NULL, NULL, &bytes));
    OK(fedhds_bytes_free(bytes));
    const uint32_t marks[] = {0, UINT32_MAX};
    OK(fedhds_client_mark_trained(round.client, marks, 2));
    round_free(&round);
}

int main(void) {
    features_of(1, &f);
    round_of(COVERAGE, &one_round);
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    tsne.max_iter = 250;
    hdbscan.min_cluster_size = 2;
    shapes();
    numbers_that_are_none();
    settings();
    enums();
    texts();
    buffers();
    rounds();
    round_free(&one_round);
    return DONE;
}
