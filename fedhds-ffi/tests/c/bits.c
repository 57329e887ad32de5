// Prints the bits of what every stage of selection gives, as sums over them: two builds of the library must print the same.

#include "fixtures.h"

// Enough rows and columns for the paths of big matrices.
enum { BIG_ROWS = 320, BIG_COLS = 96 };

static uint64_t summed(uint64_t sum, const void* data, size_t length) {
    const uint8_t* bytes = data;
    // FNV-1a.
    for (size_t i = 0; i < length; ++i) sum = (sum ^ bytes[i]) * 0x100000001B3u;
    return sum;
}

static void print(const char* what, const void* data, size_t length) {
    printf("%-24s %016llx\n", what, (unsigned long long)summed(0xCBF29CE484222325u, data, length));
}

static void print_matrix(const char* what, fedhds_matrix_t* matrix) {
    static float values[BIG_ROWS * BIG_COLS];
    size_t count = 0;
    OK(fedhds_matrix_copy(matrix, values, BIG_ROWS * BIG_COLS, &count));
    print(what, values, count * sizeof *values);
    OK(fedhds_matrix_free(matrix));
}

static void print_clustering(const char* what, fedhds_clustering_t* clustering) {
    static int32_t labels[BIG_ROWS];
    static float probabilities[BIG_ROWS];
    size_t count = 0;
    fedhds_matrix_t* centroids = NULL;
    OK(fedhds_clustering_labels(clustering, labels, BIG_ROWS, &count));
    print(what, labels, count * sizeof *labels);
    OK(fedhds_clustering_probabilities(clustering, probabilities, BIG_ROWS, &count));
    print("  probabilities", probabilities, count * sizeof *probabilities);
    OK(fedhds_clustering_centroids(clustering, &centroids));
    print_matrix("  centroids", centroids);
}

static void stages(const fedhds_matrix_view_t* view) {
    fedhds_matrix_t* matrix = NULL;
    fedhds_tsne_config_t tsne;
    OK(fedhds_tsne_config_init(&tsne, sizeof tsne));
    tsne.max_iter = 300;
    OK(fedhds_tsne(view, &tsne, 3, NULL, &matrix));
    print_matrix("tsne", matrix);
    OK(fedhds_layer_norm(view, 4, &matrix));
    print_matrix("layer_norm", matrix);
    OK(fedhds_pca(view, 8, 1, NULL, &matrix));
    print_matrix("pca, more rows", matrix);
    fedhds_matrix_view_t fewer = *view;
    fewer.rows = 80;
    OK(fedhds_pca(&fewer, 8, 0, NULL, &matrix));
    print_matrix("pca, more columns", matrix);
    fedhds_pca_t* pca = NULL;
    OK(fedhds_pca_fit(&fewer, 8, 1, NULL, &pca));
    OK(fedhds_pca_components(pca, &matrix));
    print_matrix("  components", matrix);
    OK(fedhds_pca_transform(pca, view, NULL, &matrix));
    print_matrix("  transformed", matrix);
    OK(fedhds_pca_free(pca));
    fedhds_kernel_pca_config_t kernel;
    OK(fedhds_kernel_pca_config_init(&kernel, sizeof kernel));
    for (kernel.kernel = 0; kernel.kernel < 4; ++kernel.kernel) {
        OK(fedhds_kernel_pca(view, &kernel, NULL, &matrix));
        print_matrix("kernel_pca", matrix);
    }
    OK(fedhds_shared_projection(view, 16, 9, NULL, &matrix));
    print_matrix("shared_projection", matrix);

    fedhds_clustering_t* groups = NULL;
    fedhds_hdbscan_config_t hdbscan;
    OK(fedhds_hdbscan_config_init(&hdbscan, sizeof hdbscan));
    OK(fedhds_hdbscan(view, &hdbscan, NULL, &groups));
    print_clustering("hdbscan", groups);
    OK(fedhds_clustering_free(groups));
    fedhds_kmeans_config_t kmeans;
    OK(fedhds_kmeans_config_init(&kmeans, sizeof kmeans));
    OK(fedhds_kmeans(view, &kmeans, 4, NULL, &groups));
    print_clustering("kmeans", groups);
    static uint32_t owners[BIG_ROWS], rows[BIG_ROWS];
    for (uint32_t row = 0; row < BIG_ROWS; ++row) owners[row] = row % 7;
    for (int32_t selector = FEDHDS_SELECTOR_NEAREST_CENTROID; selector <= FEDHDS_SELECTOR_STRATIFIED; ++selector) {
        size_t count = 0;
        OK(fedhds_select(selector, view, NULL, owners, groups, 20, 0, 2, NULL, rows, BIG_ROWS, &count));
        print("select", rows, count * sizeof *rows);
    }
    OK(fedhds_clustering_free(groups));
}

static void federation(const char* settings) {
    round_t round;
    uint32_t rows[ROWS];
    size_t count = 0;
    round_of(settings, &round);
    OK(fedhds_client_choose(round.client, round.order.data, round.order.length, NULL, rows, ROWS, &count));
    printf("%s\n", settings);
    print("  summary", round.summary.data, round.summary.length);
    print("  order", round.order.data, round.order.length);
    print("  rows", rows, count * sizeof *rows);
    round_free(&round);
}

int main(void) {
    static float values[BIG_ROWS * BIG_COLS];
    unsigned state = 5;
    for (unsigned row = 0; row < BIG_ROWS; ++row) {
        for (unsigned col = 0; col < BIG_COLS; ++col) {
            state = state * 1664525u + 1013904223u;
            values[row * BIG_COLS + col] = (col % 8u == row % 8u ? 3.0f : 0.0f) + (float)(state >> 8 & 0xFFFFu) / 65536.0f;
        }
    }
    fedhds_matrix_view_t view;
    view.data = values;
    view.rows = BIG_ROWS;
    view.cols = BIG_COLS;
    view.row_stride = BIG_COLS;
    stages(&view);
    federation(COVERAGE);
    federation(RANDOM);
    federation("preset = \"fedhds\"\nfeatures = \"proxy\"\n[client]\nclusterer = { min_cluster_size = 3 }");
    return DONE;
}
