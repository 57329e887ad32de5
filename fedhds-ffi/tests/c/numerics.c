// What reducers, clusterers, selectors, records and metrics give: shapes, groups that are plain to see, the same bits
// again.

#include "fixtures.h"

#include <math.h>

static features_t f;

static void check_matrix(fedhds_matrix_t* matrix, size_t rows, size_t cols) {
    fedhds_matrix_view_t view;
    OK(fedhds_matrix_view(matrix, &view));
    CHECK(view.rows == rows && view.cols == cols && view.row_stride >= cols);
    size_t count = 0;
    float* values = malloc(rows * cols * sizeof *values);
    CHECK(values != NULL);
    OK(fedhds_matrix_copy(matrix, values, rows * cols, &count));
    CHECK(count == rows * cols);
    for (size_t row = 0; row < rows; ++row) {
        for (size_t col = 0; col < cols; ++col) {
            const float value = view.data[row * view.row_stride + col];
            CHECK(isfinite(value) && value == values[row * cols + col]);
        }
    }
    free(values);
    OK(fedhds_matrix_free(matrix));
}

// Rows 0, 3, 6, ... are one group, rows 1, 4, 7, ... the next, rows 2, 5, 8, ... the third.
static void check_groups(const fedhds_clustering_t* clustering) {
    int32_t labels[ROWS];
    float probabilities[ROWS];
    size_t count = 0;
    OK(fedhds_clustering_labels(clustering, labels, ROWS, &count));
    CHECK(count == ROWS);
    for (size_t row = 0; row < ROWS; ++row)
        CHECK(labels[row] == labels[row % 3] && labels[row] >= 0 && labels[row] < 3);
    CHECK(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2]);
    OK(fedhds_clustering_probabilities(clustering, probabilities, ROWS, &count));
    for (size_t row = 0; row < ROWS; ++row) CHECK(probabilities[row] >= 0 && probabilities[row] <= 1);
    fedhds_matrix_t* centroids = NULL;
    OK(fedhds_clustering_centroids(clustering, &centroids));
    check_matrix(centroids, 3, COLS);
}

// A basis that is kept: its own rows are where `fedhds_pca` puts them, and others find their place.
static void principal_components(void) {
    for (uint8_t whiten = 0; whiten < 2; ++whiten) {
        fedhds_pca_t* pca = NULL;
        fedhds_matrix_t *scores = NULL, *again = NULL, *components = NULL;
        fedhds_matrix_view_t own, placed, basis;
        OK(fedhds_pca(&f.view, 3, whiten, NULL, &scores));
        OK(fedhds_pca_fit(&f.view, 3, whiten, NULL, &pca));
        OK(fedhds_pca_transform(pca, &f.view, NULL, &again));
        OK(fedhds_matrix_view(scores, &own));
        OK(fedhds_matrix_view(again, &placed));
        CHECK(placed.rows == ROWS && placed.cols == 3);
        for (size_t i = 0; i < ROWS * 3; ++i) CHECK(fabsf(own.data[i] - placed.data[i]) < 1e-3f);

        double mean[COLS], variance[3], ratio[3], sum = 0;
        size_t count = 0;
        OK(fedhds_pca_mean(pca, mean, COLS, &count));
        CHECK(count == COLS);
        OK(fedhds_pca_explained_variance(pca, variance, 3, &count));
        CHECK(count == 3);
        OK(fedhds_pca_explained_variance_ratio(pca, ratio, 3, &count));
        CHECK(count == 3);
        for (size_t j = 0; j < 3; ++j) {
            CHECK(variance[j] >= 0 && ratio[j] >= 0 && (j == 0 || variance[j] <= variance[j - 1]));
            sum += ratio[j];
        }
        CHECK(sum > 0.9 && sum <= 1 + 1e-9);

        OK(fedhds_pca_components(pca, &components));
        OK(fedhds_matrix_view(components, &basis));
        CHECK(basis.rows == 3 && basis.cols == COLS);
        for (size_t a = 0; a < 3; ++a) {
            for (size_t b = 0; b <= a; ++b) {
                double product = 0;
                for (size_t col = 0; col < COLS; ++col)
                    product += (double)basis.data[a * COLS + col] * basis.data[b * COLS + col];
                CHECK(fabs(product - (a == b)) < 1e-5);
            }
        }
        // Another client's rows, by the formula.
        features_t others;
        features_of(3, &others);
        fedhds_matrix_t* moved = NULL;
        OK(fedhds_pca_transform(pca, &others.view, NULL, &moved));
        OK(fedhds_matrix_view(moved, &placed));
        for (size_t j = 0; j < 3; ++j) {
            double expected = 0;
            for (size_t col = 0; col < COLS; ++col)
                expected += (others.values[col] - mean[col]) * basis.data[j * COLS + col];
            if (whiten) expected /= sqrt(variance[j]);
            CHECK(fabs(placed.data[j] - expected) < 1e-4);
        }
        others.view.cols = COLS - 1;
        SAYS(FEDHDS_STATUS_INPUT, "6 columns", fedhds_pca_transform(pca, &others.view, NULL, &moved));
        others.view.cols = COLS, others.values[COLS + 2] = NAN;
        SAYS(FEDHDS_STATUS_NOT_FINITE, "row 1", fedhds_pca_transform(pca, &others.view, NULL, &moved));
        others.view.rows = 0;
        SAYS(FEDHDS_STATUS_INPUT, "at least 1 row", fedhds_pca_fit(&others.view, 3, whiten, NULL, &pca));
        OK(fedhds_pca_free(pca));
        OK(fedhds_matrix_free(moved));
        OK(fedhds_matrix_free(components));
        OK(fedhds_matrix_free(again));
        OK(fedhds_matrix_free(scores));
    }
}

static void reducers(void) {
    fedhds_matrix_t* matrix = NULL;
    fedhds_tsne_config_t tsne;
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    CHECK(tsne.struct_size == sizeof tsne && tsne.perplexity == 30 && tsne.n_components == 2 && tsne.max_iter == 1000);
    CHECK(tsne.early_exaggeration == 12 && tsne.early_exaggeration_iter == 250 && tsne.angle == 0.5 &&
          tsne.learning_rate == 0 && tsne.perplexity_limit == 0);
    tsne.max_iter = 260;
    float first[ROWS * 2], second[ROWS * 2];
    float* const both[] = {first, second};
    for (int i = 0; i < 2; ++i) {
        size_t count = 0;
        OK(fedhds_tsne(&f.view, &tsne, 11, NULL, &matrix));
        OK(fedhds_matrix_copy(matrix, both[i], ROWS * 2, &count));
        check_matrix(matrix, ROWS, 2);
    }
    CHECK(memcmp(first, second, sizeof first) == 0);
    OK(fedhds_layer_norm(&f.view, 2, &matrix));
    check_matrix(matrix, ROWS, COLS);
    for (int whiten = 0; whiten < 2; ++whiten) {
        OK(fedhds_pca(&f.view, 3, (uint8_t)whiten, NULL, &matrix));
        check_matrix(matrix, ROWS, 3);
    }
    fedhds_kernel_pca_config_t kernel;
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    CHECK(kernel.kernel == 1 && kernel.degree == 3 && kernel.coef0 == 1 && kernel.n_components == 2);
    for (kernel.kernel = 0; kernel.kernel < 4; ++kernel.kernel) {
        OK(fedhds_kernel_pca(&f.view, &kernel, NULL, &matrix));
        check_matrix(matrix, ROWS, 2);
    }
    OK(fedhds_shared_projection(&f.view, 4, 5, NULL, &matrix));
    check_matrix(matrix, ROWS, 4);
}

static void clusterers_and_selectors(void) {
    fedhds_clustering_t *by_kmeans = NULL, *by_hdbscan = NULL;
    fedhds_kmeans_config_t kmeans;
    fedhds_hdbscan_config_t hdbscan;
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    CHECK(kmeans.n_clusters == 8 && kmeans.n_init == 10 && kmeans.max_iter == 300 && kmeans.tol == 1e-4);
    CHECK(hdbscan.min_cluster_size == 5 && hdbscan.min_samples == 0 && hdbscan.cluster_selection_method == 0 &&
          !hdbscan.allow_single_cluster);
    kmeans.n_clusters = 3;
    OK(fedhds_kmeans(&f.view, &kmeans, 1, NULL, &by_kmeans));
    check_groups(by_kmeans);
    for (int leaf = 0; leaf < 2; ++leaf) {
        hdbscan.cluster_selection_method = leaf;
        OK(fedhds_hdbscan(&f.view, &hdbscan, NULL, &by_hdbscan));
        if (leaf == 0) check_groups(by_hdbscan);
        OK(fedhds_clustering_free(by_hdbscan));
    }

    float weights[ROWS];
    uint32_t owners[ROWS], rows[ROWS];
    size_t count = 0;
    for (uint32_t row = 0; row < ROWS; ++row) weights[row] = 1.0f + (float)(row % 5), owners[row] = row % 4;
    for (int32_t selector = FEDHDS_SELECTOR_NEAREST_CENTROID; selector <= FEDHDS_SELECTOR_STRATIFIED; ++selector) {
        for (int each = 0; each < 2; ++each) {
            OK(fedhds_select(selector, &f.view, weights, owners, by_kmeans, 3, (uint8_t)each, 1, NULL, rows, ROWS, &count));
            const bool by_cluster =
                selector == FEDHDS_SELECTOR_NEAREST_CENTROID || selector == FEDHDS_SELECTOR_RANDOM_MEMBER;
            if (each == 0) CHECK(count == 3);
            if (each != 0 && by_cluster) CHECK(count == 9);
            for (size_t i = 0; i < count; ++i) CHECK(rows[i] < ROWS && (i == 0 || rows[i] > rows[i - 1]));
        }
    }
    OK(fedhds_clustering_free(by_kmeans));
}

static void texts(void) {
    fedhds_rouge_t rouge;
    const char* references[] = {"a cat lay there", "the cat sat on the mat"};
    for (int32_t flavor = 0; flavor < 3; ++flavor) {
        OK(fedhds_rouge_l("the cat sat on the mat", references, 2, flavor, &rouge));
        CHECK(fabs(rouge.f1 - 1) < 1e-6 && fabs(rouge.recall - 1) < 1e-6 && fabs(rouge.precision - 1) < 1e-6);
        OK(fedhds_rouge_l("something else", references, 2, flavor, &rouge));
        CHECK(rouge.f1 >= 0 && rouge.f1 < 1e-6);
        OK(fedhds_rouge_l("", references, 2, flavor, &rouge));
        CHECK(rouge.f1 < 1e-6);
    }
}

static void records(void) {
    fedhds_records_t *train = NULL, *part = NULL, *subset = NULL;
    fedhds_bytes_t* json = NULL;
    size_t count = 0, sum = 0;
#if defined(FEDHDS_MODELS)
    fedhds_records_t* test = NULL;
    OK(fedhds_records_embedded("{\"records_per_task\": 2, \"test_records_per_task\": 1, \"tasks\": 8}", &train, &test));
    OK(fedhds_records_free(test));
#else
    OK(fedhds_records_new(&train));
    for (int i = 0; i < 16; ++i) {
        char id[16], task[16];
        snprintf(id, sizeof id, "r%d", i);
        snprintf(task, sizeof task, "t%d", i / 2);
        OK(fedhds_records_add(train, id, "Do.", NULL, "Done.", task));
    }
#endif
    OK(fedhds_records_count(train, &count));
    CHECK(count == 16);
    for (size_t client = 0; client < 3; ++client) {
        size_t own = 0;
        OK(fedhds_records_part(train, "{\"kind\": \"dirichlet\", \"clients\": 3, \"alpha\": 0.5}", 4, client, &part));
        OK(fedhds_records_count(part, &own));
        CHECK(own >= 1);
        sum += own;
        OK(fedhds_records_free(part));
    }
    CHECK(sum == count);
    const uint32_t rows[] = {5, 0, 5};
    OK(fedhds_records_subset(train, rows, 3, &subset));
    OK(fedhds_records_count(subset, &count));
    CHECK(count == 3);
    message_t texts[2];
    for (size_t i = 0; i < 2; ++i) {
        OK(i == 0 ? fedhds_records_get(train, 5, &json) : fedhds_records_get(subset, 0, &json));
        texts[i] = taken(json);
    }
    CHECK(texts[0].length == texts[1].length && memcmp(texts[0].data, texts[1].data, texts[0].length) == 0);
    free(texts[0].data);
    free(texts[1].data);
    OK(fedhds_records_free(subset));
    OK(fedhds_records_free(train));

    fedhds_method_t* method = method_of(COVERAGE);
    OK(fedhds_method_settings(method, &json));
    const uint8_t* data = NULL;
    OK(fedhds_bytes_view(json, &data, &count));
    CHECK(strstr((const char*)data, "\"fedhds_coverage\"") != NULL);
    // The settings are themselves a method.
    fedhds_method_t* again = method_of((const char*)data);
    OK(fedhds_method_free(again));
    OK(fedhds_bytes_free(json));
    OK(fedhds_method_free(method));
}

int main(void) {
    features_of(0, &f);
    reducers();
    principal_components();
    clusterers_and_selectors();
    texts();
    records();
    return DONE;
}
