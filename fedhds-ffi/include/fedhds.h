// The C ABI of fedhds. Made by cbindgen of fedhds-ffi; changes belong there.
//
// - Every function that can fail returns a fedhds_status_t; fedhds_last_error_message() says what was expected and what came.
// - Out-parameters stand last and are written only on success.
// - Objects are handles with a _free; a handle is looked up, so that a freed or foreign one is an error. NULL may be freed.
// - Objects that never change (models, adapters, matrices, bytes, clusterings, principal components, text features) may be used by any
//   number of threads at once; one that changes (clients, servers, records, near copies, methods, controls) serves one call at a time,
//   and a second thread gets FEDHDS_STATUS_BUSY.
// - What a pointer of the caller's points to is read during the call and not kept, but for callbacks' user_data.


#ifndef FEDHDS_H
#define FEDHDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A library without models (a build of selection alone) has none of what stands under FEDHDS_MODELS.
#if !defined(FEDHDS_SELECTION_ONLY) && !defined(FEDHDS_MODELS)
#define FEDHDS_MODELS
#endif

// The version of the ABI that this library has; a header is good for libraries of its own number.
#define FEDHDS_ABI_VERSION 2

// What a call returns. Everything but `FEDHDS_STATUS_OK` leaves the out-parameters as they were, and
// `fedhds_last_error_message` says what was expected and what came.
enum fedhds_status_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  FEDHDS_STATUS_OK = 0,
  // A pointer that must not be NULL is NULL.
  FEDHDS_STATUS_NULL_POINTER = 1,
  // A handle that is of another type, was freed, or never was one.
  FEDHDS_STATUS_INVALID_HANDLE = 2,
  // A handle that another thread is using: a stateful object serves one call at a time.
  FEDHDS_STATUS_BUSY = 3,
  // A parameter outside its documented range, text that is not UTF-8, an unknown enum value.
  FEDHDS_STATUS_PARAMETER = 4,
  // An input whose shape, length or content does not fit.
  FEDHDS_STATUS_INPUT = 5,
  // A value that is NaN or infinite.
  FEDHDS_STATUS_NOT_FINITE = 6,
  // The caller's buffer is too small; the needed length was written.
  FEDHDS_STATUS_BUFFER_TOO_SMALL = 7,
  // A record or line of a data set that cannot be used.
  FEDHDS_STATUS_DATA = 8,
  // A method or configuration that cannot be run.
  FEDHDS_STATUS_CONFIG = 9,
  // A model file or folder that cannot be loaded.
  FEDHDS_STATUS_MODEL = 10,
  // An adapter that does not fit the model or another adapter.
  FEDHDS_STATUS_ADAPTER = 11,
  // A message that cannot be read, or that comes at the wrong time.
  FEDHDS_STATUS_PROTOCOL = 12,
  // A stage, possibly the caller's own, that failed or returned something unusable.
  FEDHDS_STATUS_STAGE = 13,
  // A device that is not there, or is not compiled in ("no GPU").
  FEDHDS_STATUS_DEVICE = 14,
  // A checkpoint of another run, or a damaged one.
  FEDHDS_STATUS_CHECKPOINT = 15,
  // A file that could not be read or written.
  FEDHDS_STATUS_IO = 16,
  // The work was cancelled through its control.
  FEDHDS_STATUS_CANCELLED = 17,
  // A defect of the library: it panicked, and the panic was stopped at the boundary.
  FEDHDS_STATUS_PANIC = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fedhds_status_t fedhds_status_t;
#else
typedef int32_t fedhds_status_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How rows are chosen.
enum fedhds_selector_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Those nearest to their cluster's centroid (eq. 9 and 10).
  FEDHDS_SELECTOR_NEAREST_CENTROID = 0,
  // Those that together lie nearest to all rows.
  FEDHDS_SELECTOR_FACILITY_LOCATION = 1,
  // Any of each cluster.
  FEDHDS_SELECTOR_RANDOM_MEMBER = 2,
  // Any rows: the baseline.
  FEDHDS_SELECTOR_RANDOM = 3,
  // Any rows, spread evenly over owners: the second baseline.
  FEDHDS_SELECTOR_STRATIFIED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fedhds_selector_t fedhds_selector_t;
#else
typedef int32_t fedhds_selector_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A LoRA adapter; it never changes. Freed with `fedhds_adapter_free`.
typedef struct fedhds_adapter_t fedhds_adapter_t;

// Bytes that never change. Freed with `fedhds_bytes_free`.
typedef struct fedhds_bytes_t fedhds_bytes_t;

// A client. Its state survives in `fedhds_client_state`. Freed with `fedhds_client_free`.
typedef struct fedhds_client_t fedhds_client_t;

// Groups of rows. Freed with `fedhds_clustering_free`.
typedef struct fedhds_clustering_t fedhds_clustering_t;

// Watches and stops calls that are given it; NULL in its place neither watches nor stops. Any thread may cancel while another works.
// Freed with `fedhds_control_free`.
typedef struct fedhds_control_t fedhds_control_t;

// Rows of float32 that the library made and that never change. Freed with `fedhds_matrix_free`.
typedef struct fedhds_matrix_t fedhds_matrix_t;

// A selection method: settings, and stages of the caller's own. Clients and servers that were made of it keep what it was then. Freed with
// `fedhds_method_free`.
typedef struct fedhds_method_t fedhds_method_t;

#if defined(FEDHDS_MODELS)
// A language model or encoder; it never changes, and any number of threads may use it at once. Freed with `fedhds_model_free`.
typedef struct fedhds_model_t fedhds_model_t;
#endif

// Finds near copies in records that come one by one: copies that differ in blanks, case, punctuation or template wording. It keeps a few
// hashes of each record, and no text. Freed with `fedhds_near_copies_free`.
typedef struct fedhds_near_copies_t fedhds_near_copies_t;

// Principal components that were found of some rows and take others. They never change. Freed with `fedhds_pca_free`.
typedef struct fedhds_pca_t fedhds_pca_t;

// Records in an order that stays: row i of their features is record i. Freed with `fedhds_records_free`.
typedef struct fedhds_records_t fedhds_records_t;

// A client's secret, which the server does not know, during one call of an upload stage. The library owns it and frees it after the call.
typedef struct fedhds_secret_t fedhds_secret_t;

// The server. Its state between a round's beginning and the first update survives in `fedhds_server_state`. Freed with `fedhds_server_free`.
typedef struct fedhds_server_t fedhds_server_t;

// What makes features of texts: a hash of the runs of letters in them, straight into the coordinates that all clients share. It never
// changes. Freed with `fedhds_text_features_free`.
typedef struct fedhds_text_features_t fedhds_text_features_t;

#if defined(FEDHDS_MODELS)
// What a training gave. Freed with `fedhds_trained_free`.
typedef struct fedhds_trained_t fedhds_trained_t;
#endif

// Settings of `fedhds_hdbscan`, filled by `fedhds_hdbscan_config_init`.
typedef struct fedhds_hdbscan_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Least number of points of a cluster, at least 2; default 5.
  size_t min_cluster_size;
  // Points within a core distance, the point itself included; 0 (the default) is `min_cluster_size`.
  size_t min_samples;
  // How clusters are chosen: 0 eom, the most stable ones (the default), 1 leaf, the leaves of the hierarchy.
  int32_t cluster_selection_method;
  // 1: all points may be one cluster; default 0.
  uint8_t allow_single_cluster;
  // Clusters that split below this distance stay whole; default 0.
  double cluster_selection_epsilon;
} fedhds_hdbscan_config_t;

// Settings of `fedhds_kmeans`, filled by `fedhds_kmeans_config_init`.
typedef struct fedhds_kmeans_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Clusters that are wanted, at least 1; default 8.
  size_t n_clusters;
  // Starts from different initial centroids, at least 1, of which the best is kept; default 10.
  size_t n_init;
  // Most iterations of a start, at least 1; default 300.
  uint64_t max_iter;
  // A start ends when the centroids' squared moves sum to at most this times the mean variance of the columns, at least 0; default 1e-4.
  double tol;
} fedhds_kmeans_config_t;

// Rows of float32 in memory of the caller's, which the library reads during the call and does not keep.
typedef struct fedhds_matrix_view_t {
  // The first value; may be NULL where there are no values.
  const float *data;
  // Number of rows.
  size_t rows;
  // Number of columns.
  size_t cols;
  // Values from one row's beginning to the next's, at least `cols`; 0 means `cols`.
  size_t row_stride;
} fedhds_matrix_view_t;

// Hears of progress. `event` is 0 for the beginning of a stage (`units` are expected, 0 where that is not known), 1 for `units` more done, 2
// for its end. `stage` is valid during the call.
typedef void (*fedhds_progress_fn)(const char *stage, int32_t event, uint64_t units, void *user_data);

// A reducer: fills `reduced`, `features.rows` times `columns` values, row after row. 0 is success, anything else a failure.
typedef int32_t (*fedhds_reduce_fn)(struct fedhds_matrix_view_t features,
                                    uint64_t seed,
                                    size_t columns,
                                    float *reduced,
                                    void *user_data);

// Named numbers of rows: losses, ranks, lengths.
typedef struct fedhds_scores_t {
  // `values.cols` distinct names, each ending with NUL; the owner of the structure owns them.
  const char *const *names;
  // One row for each record or group, one column for each name. A value may be NaN where there is nothing to say; it is never infinite.
  struct fedhds_matrix_view_t values;
} fedhds_scores_t;

// What a clusterer or selector of the caller's looks at: records on a client, uploaded groups on the server. All of it is the
// library's and valid during the call. Later versions add fields at the end.
typedef struct fedhds_rows_t {
  // `[n, d]`; no columns where no features were looked at.
  struct fedhds_matrix_view_t points;
  // How many records each row stands for, n values; NULL where every row is one record.
  const float *weights;
  // The cluster of each row, -1 for none, n values; NULL where nothing was clustered before.
  const int32_t *labels;
  // The client that sent each row, n values; NULL where there is one owner.
  const uint32_t *owners;
  // Scores of each row: of a record, or the mean over a group's records; NULL where there are none.
  const struct fedhds_scores_t *scores;
  // Points that earlier rounds have covered, `[m, d]`; no rows where there is no memory, or nothing is covered yet.
  struct fedhds_matrix_view_t covered;
  // Records that were trained on at each covered point, m values; NULL where there are none.
  const float *covered_mass;
} fedhds_rows_t;

// A clusterer: fills `labels`, one for each row, with cluster numbers that are dense from 0, or -1 for noise. `wanted` is how many groups
// the method needs, 0 where it does not know; a clusterer that finds the number by itself ignores it. What `rows` points to is the
// library's and valid during the call. 0 is success.
typedef int32_t (*fedhds_cluster_fn)(const struct fedhds_rows_t *rows,
                                     size_t wanted,
                                     uint64_t seed,
                                     int32_t *labels,
                                     void *user_data);

// A selector: fills `chosen` with `count` distinct row numbers, in any order. `per_cluster` is 0 where `count` is over all rows; else so many
// are wanted of each cluster (all of a smaller one, no noise), and `count` is their sum. What `rows` points to is the library's and
// valid during the call. 0 is success.
typedef int32_t (*fedhds_select_fn)(const struct fedhds_rows_t *rows,
                                    uint64_t seed,
                                    size_t count,
                                    size_t per_cluster,
                                    uint32_t *chosen,
                                    void *user_data);

// A response under a prompt: its loss is asked for, in nats, the mean over the tokens of the response, by any model.
typedef struct fedhds_pair_t {
  // The row of the record whose response it is.
  uint32_t response;
  // The row of the record whose prompt (instruction and input) it is put under: its own, or another one's.
  uint32_t prompt;
} fedhds_pair_t;

// Losses of responses under prompts: fills `losses`, one for each of `count` pairs, in nats, mean over the response's tokens; what it leaves NaN
// has none. `pairs` is the library's and valid during the call. The same few prompts come again and again: whoever keeps what a model made
// of a prompt makes it once. 0 is success.
typedef int32_t (*fedhds_losses_fn)(const struct fedhds_pair_t *pairs, size_t count, float *losses, void *user_data);

// Hears of a log line. `level` is 1 error, 2 warning, 3 info, 4 debug, 5 trace; `target` and `message` are valid during the call.
typedef void (*fedhds_log_fn)(int32_t level, const char *target, const char *message, void *user_data);

// Records of one uploaded group that were trained on.
typedef struct fedhds_trained_group_t {
  // Whose group it is.
  uint32_t client;
  // The client's number for it.
  uint32_t cluster;
  // Its centroid as it was uploaded, `dims` values; the library's, valid during the call.
  const float *centroid;
  // Columns of the centroid.
  size_t dims;
  // Records of it that were trained on, at least 1.
  size_t records;
} fedhds_trained_group_t;

// What a server keeps of the selection between rounds, as functions of the caller's. Each returns 0, or anything else for a failure.
// Begin with `fedhds_memory_t mine = {sizeof mine}`: what is not set is NULL.
typedef struct fedhds_memory_t {
  // The size of this structure.
  size_t struct_size;
  // The most points that it ever keeps, at least 1; more are an error.
  size_t bound;
  // A round begins; what an earlier one began and never committed is forgotten. NULL does nothing.
  int32_t (*begin)(uint32_t round, void *user_data);
  // A round ended: what the accepted updates trained on, in the order of (client, cluster). `groups` is the library's and valid during
  // the call, NULL where `count` is 0. Not NULL.
  int32_t (*commit)(const struct fedhds_trained_group_t *groups, size_t count, void *user_data);
  // What is covered: points `[m, d]` in the space of the uploaded centroids, and `mass`, m values above 0 (records trained on there). Both
  // stay the caller's, and are copied before the next call. Called when a server is made and after each of the other functions. Not NULL.
  int32_t (*covered)(struct fedhds_matrix_view_t *points, const float **mass, void *user_data);
  // Everything it knows, for a checkpoint: bytes of `fedhds_bytes_new`, which the library takes over and frees. NULL keeps nothing.
  int32_t (*state)(struct fedhds_bytes_t **state, void *user_data);
  // Goes on from what `state` gave, which is the library's and valid during the call. NULL refuses every state that is not empty.
  int32_t (*resume)(const uint8_t *state, size_t length, void *user_data);
} fedhds_memory_t;

// Precision, recall and F1 of Rouge-L, each in [0, 1].
typedef struct fedhds_rouge_t {
  // Of the prediction's words, the share that the reference has.
  double precision;
  // Of the reference's words, the share that the prediction has.
  double recall;
  // Their harmonic mean.
  double f1;
} fedhds_rouge_t;

// Settings of `fedhds_tsne`, filled by `fedhds_tsne_config_init`.
typedef struct fedhds_tsne_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Effective number of neighbours, at least 1; default 30.
  double perplexity;
  // What perplexity is clamped to: 0 third, (n - 1) / 3 (the default), 1 rows, n - 1 as in the paper.
  int32_t perplexity_limit;
  // Columns that come out, 1 to 3; default 2.
  size_t n_components;
  // Steps in all; default 1000.
  size_t max_iter;
  // Step size; 0 (the default) is n over the exaggeration.
  double learning_rate;
  // Factor on the attraction in the first steps, at least 1; default 12.
  double early_exaggeration;
  // How many steps are exaggerated; default 250.
  size_t early_exaggeration_iter;
  // Accuracy of the repulsion in [0, 1], 0 is exact; default 0.5.
  double angle;
} fedhds_tsne_config_t;

// Settings of `fedhds_kernel_pca`, filled by `fedhds_kernel_pca_config_init`.
typedef struct fedhds_kernel_pca_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Columns that come out; default 2.
  size_t n_components;
  // 0 linear, 1 rbf (the default), 2 poly, 3 cosine.
  int32_t kernel;
  // Of rbf and poly, above 0; 0 (the default) is 1 / columns.
  double gamma;
  // Of poly, 1 to 16; default 3.
  uint32_t degree;
  // Of poly; default 1.
  double coef0;
} fedhds_kernel_pca_config_t;

// A group that a client reported, and what became of it.
typedef struct fedhds_group_t {
  // Whose it is.
  uint32_t client;
  // The client's number for it.
  uint32_t cluster;
  // Records in it.
  uint32_t records;
  // The server's cluster of it; -1 for none.
  int32_t server_cluster;
  // Records that were ordered of it.
  uint32_t ordered;
} fedhds_group_t;

// What an app knows of its records beside their features. Begin with `fedhds_summarize_options_t mine = {sizeof mine}`: what is not set is 0
// or NULL.
typedef struct fedhds_summarize_options_t {
  // The size of this structure.
  size_t struct_size;
  // How many records there are, where there are no features: for methods that look at none.
  size_t records;
  // Numbers of the records, row i of record i, or NULL: a scorer of the app's own is the app calling its own function before. The client's
  // clusterer and selector see them; the mean over each group goes up where the method has `client.share_scores`.
  const struct fedhds_scores_t *scores;
  // Which near copy each record is of, one number for each, as of `fedhds_near_copies_labels`; NULL where nothing is known. A method with
  // `client.near_copies = "collapse"` counts records of one number once, and one of them may train.
  const uint32_t *copies;
  // Features of the records' prompts alone, row i of record i, as of `fedhds_text_features_of_prompts`, which tell topics apart where the gate
  // puts responses under other prompts; NULL takes the features.
  const struct fedhds_matrix_view_t *prompts;
  // Tokens of each record, one number for each: prompt, response and end of sequence, from 1; NULL where they are not known. A method whose
  // budget is in tokens (`count = { budget = { tokens = N } }`) needs them.
  const uint32_t *tokens;
} fedhds_summarize_options_t;

// Settings of `fedhds_text_features_new`, filled by `fedhds_text_features_config_init`. Clients of one federation have them alike.
typedef struct fedhds_text_features_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Columns, 4 to 4096; default 128, which is also the default of a method's `client.shared_dims`: the two must be equal.
  size_t dims;
  // The seed of the hash; default 241010926, which never changes.
  uint64_t seed;
} fedhds_text_features_config_t;

// What a client is about to send, for its upload stage. The library owns all of it.
typedef struct fedhds_summary_t {
  // Who sends it.
  uint32_t client;
  // The round that it answers.
  uint32_t round;
  // Number of groups; the stage may lower it, and moves those that it keeps to the front.
  size_t groups;
  // The client's numbers of its groups, ascending, `groups` values. Groups may be left out; no number may be new.
  uint32_t *clusters;
  // Records of each group, `groups` values, at least 1 each; an order for more than a group holds is an order for all of it.
  uint32_t *sizes;
  // Columns of the centroids.
  size_t dims;
  // Row after row, `groups` times `dims` values, finite; NULL where there are no values.
  float *centroids;
  // Scores of each group that go up with it; 0 where the method does not share them.
  size_t scores;
  // `scores` names, each ending with NUL.
  const char *const *score_names;
  // Row after row, `groups` times `scores` values: the mean over the group's records, or NaN.
  float *score_values;
} fedhds_summary_t;

// An upload stage: changes what a client sends. It may lower `summary->groups` and write to the arrays behind the pointers; the
// pointers, `dims` and what is const stay as they are. All of it, and `secret`, is the library's and valid during the call. 0 is success.
typedef int32_t (*fedhds_upload_fn)(struct fedhds_summary_t *summary, struct fedhds_secret_t *secret, void *user_data);

#if defined(FEDHDS_MODELS)
// One client's result of a round, for an aggregator of the caller's.
typedef struct fedhds_client_update_t {
  // Who trained; updates come in the order of clients.
  uint32_t client;
  // Records trained on: the weight in the mean.
  size_t records;
  // Mean loss over the optimiser steps, in nats; NaN where none was measured.
  float loss;
  // The adapter after training: names, shapes and settings of the global one, every value finite. The function owns the handle and
  // frees it, now or later.
  struct fedhds_adapter_t *adapter;
} fedhds_client_update_t;
#endif

#if defined(FEDHDS_MODELS)
// How a server makes the clients' adapters one, as functions of the caller's. Each returns 0, or anything else for a failure. Begin with
// `fedhds_aggregator_t mine = {sizeof mine}`: what is not set is NULL.
typedef struct fedhds_aggregator_t {
  // The size of this structure.
  size_t struct_size;
  // A round begins from this global adapter; what an earlier one began and never finished is forgotten. The function owns the handle and
  // frees it, now or later. Not NULL.
  int32_t (*begin)(struct fedhds_adapter_t *global, uint32_t round, void *user_data);
  // Takes in one update; after a failure everything is as if it had not come, and its client is left out. `update` is the library's and
  // valid during the call, but for the adapter in it. Not NULL.
  int32_t (*add)(const struct fedhds_client_update_t *update, void *user_data);
  // The joined adapter, a handle that the library takes over and frees; leave NULL there to keep the global one. `report` may be given bytes
  // of `fedhds_bytes_new`, which the library takes over too: JSON with any of `weights` (shares by client), `limited` (reasons by client),
  // `measures` (numbers by name), `discarded` (why the result is not taken). Not NULL.
  int32_t (*finish)(struct fedhds_adapter_t **adapter, struct fedhds_bytes_t **report, void *user_data);
  // What it keeps between rounds, for `fedhds_server_state`: bytes of `fedhds_bytes_new`, which the library takes over and frees. NULL
  // keeps nothing.
  int32_t (*state)(struct fedhds_bytes_t **state, void *user_data);
  // Goes on from what `state` gave, which is the library's and valid during the call. NULL refuses every state that is not empty.
  int32_t (*resume)(const uint8_t *state, size_t length, void *user_data);
  // The most bytes that it holds at once, for so many clients in a round and values in an adapter. NULL says 0.
  uint64_t (*memory)(size_t clients, size_t values, void *user_data);
} fedhds_aggregator_t;
#endif

#if defined(FEDHDS_MODELS)
// Settings of `fedhds_model_features`, filled by `fedhds_features_config_init`.
typedef struct fedhds_features_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // 0 every layer (the default), 1 the last one.
  int32_t layers;
  // Put the embedding's output in front; 1 is yes; default 0.
  uint8_t embedding;
  // 0 the last token (the default), 1 the mean over tokens.
  int32_t pooling;
  // Scale each layer's vector to length 1; 1 is yes; default 0.
  uint8_t normalize;
  // Longest record in tokens; default 1024.
  size_t max_tokens;
  // Cut longer records off; otherwise they are errors. 1 is yes; default 0.
  uint8_t truncate;
  // Most tokens that go through the model together; 0 (the default) is record by record.
  size_t batch_tokens;
} fedhds_features_config_t;
#endif

#if defined(FEDHDS_MODELS)
// A LoRA adapter and its training, filled by `fedhds_train_config_init` with the paper's values.
typedef struct fedhds_train_config_t {
  // The size of this structure, as `_init` set it.
  size_t struct_size;
  // Rank of a fresh adapter, at least 1; default 8.
  size_t r;
  // The update is scaled by `lora_alpha / r`; default 16.
  float lora_alpha;
  // Dropout on a fresh adapter's input, in [0, 1); default 0.05.
  float lora_dropout;
  // Scale by `lora_alpha / sqrt(r)`; 1 is yes; default 0.
  uint8_t use_rslora;
  // Above 0; default 3e-4.
  double learning_rate;
  // Records of a batch, at least 1; default 1.
  size_t batch_size;
  // Passes over the records, at least 1; default 1.
  size_t local_epochs;
  // Most optimiser steps; 0 (the default) is no limit.
  size_t max_steps;
  // Batches of an optimiser step, at least 1; default 1.
  size_t gradient_accumulation_steps;
  // Gradients are clipped to this norm; 0 (the default) does not clip.
  double max_grad_norm;
  // Less memory, more time; 1 is yes; default 0.
  uint8_t gradient_checkpointing;
  // Longest record in tokens; a longer one is an error. Default 1024.
  size_t max_tokens;
  // Names of the modules that a fresh adapter adapts, with commas between them: `q_proj,v_proj`. NULL (the default) is the model's own choice.
  const char *target_modules;
  // Which factors are trained: 0 both (the default), 1 A alone, 2 B alone, as `fedhds_client_factors` says. The other stays as it is.
  int32_t factors;
} fedhds_train_config_t;
#endif

#if defined(FEDHDS_MODELS)
// Sizes of a model.
typedef struct fedhds_model_info_t {
  // Number of layers.
  size_t layers;
  // Width of the hidden states.
  size_t hidden_size;
  // Number of token ids.
  size_t vocab_size;
  // Longest sequence, in tokens.
  size_t max_positions;
  // Whether it predicts the next token; encoders do not.
  bool causal;
} fedhds_model_info_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Bytes of the caller's, copied: what functions of the caller's give to the library. `values` stays the caller's; NULL is fine where
// `length` is 0.
//
// # Safety
// `values` is readable for `length` bytes; `bytes` is valid for a write.
fedhds_status_t fedhds_bytes_new(const uint8_t *values,
                                 size_t length,
                                 struct fedhds_bytes_t **bytes);

// Where the bytes are and how many; the pointer is valid until the handle is freed. A NUL that does not count follows them, so that a
// text is a C string.
//
// # Safety
// `data` and `length` are valid for a write each.
fedhds_status_t fedhds_bytes_view(const struct fedhds_bytes_t *bytes,
                                  const uint8_t **data,
                                  size_t *length);

// Copies the bytes into a buffer of `capacity` bytes and writes their number. A buffer of NULL asks for the number alone.
//
// # Safety
// `buffer` is NULL or valid for writes of `capacity` bytes; `length` is valid for a write.
fedhds_status_t fedhds_bytes_copy(const struct fedhds_bytes_t *bytes,
                                  uint8_t *buffer,
                                  size_t capacity,
                                  size_t *length);

// Frees the bytes; NULL is fine.
fedhds_status_t fedhds_bytes_free(struct fedhds_bytes_t *bytes);

// What a message is: 1 round start, 2 client summary, 3 selection order, 4 global adapter, 5 local update.
//
// # Safety
// `message` is readable for `length` bytes; `kind` is valid for a write.
fedhds_status_t fedhds_message_kind(const uint8_t *message, size_t length, int32_t *kind);

// A client of this number. `layers` is the number of equal parts of a feature vector, one for each layer of the model, 1 for one vector; `seed`
// is the experiment's.
//
// # Safety
// `client` is valid for a write.
fedhds_status_t fedhds_client_new(uint32_t number,
                                  const struct fedhds_method_t *method,
                                  size_t layers,
                                  uint64_t seed,
                                  struct fedhds_client_t **client);

// The rows of the records to train on, ascending, into a buffer of `capacity` numbers; NULL asks for their number alone. No rows: the client
// does not train in this round.
//
// # Safety
// `order` is readable for `length` bytes; `rows` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_client_choose(const struct fedhds_client_t *client,
                                     const uint8_t *order,
                                     size_t length,
                                     const struct fedhds_control_t *watch,
                                     uint32_t *rows,
                                     size_t capacity,
                                     size_t *count);

// Remembers rows that it has trained on: most methods prefer others in later rounds.
//
// # Safety
// `rows` is readable for `count` numbers.
fedhds_status_t fedhds_client_mark_trained(struct fedhds_client_t *client, const uint32_t *rows, size_t count);

// The group of each record after `fedhds_client_summarize`, -1 for none, into a buffer of `capacity` numbers; NULL asks for their number
// alone. It stays on the client.
//
// # Safety
// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_client_groups(const struct fedhds_client_t *client,
                                     int32_t *labels,
                                     size_t capacity,
                                     size_t *count);

// Gives the client the 32 bytes that its upload stage's secret is made of, for tests: what is drawn from a known secret protects nobody.
// Without it the operating system gives one at the first draw.
//
// # Safety
// `secret` is readable for 32 bytes.
fedhds_status_t fedhds_client_set_secret(struct fedhds_client_t *client,
                                         const uint8_t *secret);

// Agrees to show groups of at least so many distinct records, whatever the method asks for: where the method's `client.min_group_size` is
// smaller, this client answers without groups, and so does not train. It is the app's to say in each process: it is not in the client's
// state. 1 at first.
fedhds_status_t fedhds_client_set_least_group(struct fedhds_client_t *client,
                                              size_t records);

// Agrees to train on at most so many records a round: an order that comes to more is refused with `FEDHDS_STATUS_PROTOCOL`. It is the app's
// to say in each process: it is not in the client's state. No limit at first.
fedhds_status_t fedhds_client_set_max_records(struct fedhds_client_t *client,
                                              size_t records);

// Agrees to train adapters of at most this rank, 1 to 16,384; the server's aggregator must take ranks, as `flexlora` does. The global adapter at
// that rank is `fedhds_client_start_from`. It is the app's to say in each process: it is not in the client's state. Any rank at first.
fedhds_status_t fedhds_client_set_rank(struct fedhds_client_t *client,
                                       size_t rank);

// Which factors of the adapter the round trains, as its start said: 0 both, 1 A alone, 2 B alone. The other factor must stay as it is, to the
// bit: `factors` of `fedhds_train_config_t` sees to it.
//
// # Safety
// `factors` is valid for a write.
fedhds_status_t fedhds_client_factors(const struct fedhds_client_t *client,
                                      int32_t *factors);

// Forgets what the client was told at first contact (what keys of records come from, what the quality gate asks) and which round it answered
// last: for another federation, or a server that begins again. Until then another value, another question or order for an answered round, and
// an earlier round are refused with `FEDHDS_STATUS_PROTOCOL`; the same question or order gets the same answer again. Both are in
// `fedhds_client_state`.
fedhds_status_t fedhds_client_unpin(struct fedhds_client_t *client);

// What the client remembers, to go on in another process; with the secret of its upload stage, and how often it drew, so that no draw
// comes twice. It belongs on the client's disk alone.
//
// # Safety
// `state` is valid for a write.
fedhds_status_t fedhds_client_state(const struct fedhds_client_t *client,
                                    struct fedhds_bytes_t **state);

// Goes on from `fedhds_client_state` of a client with the same number, method, layers and seed; another's is refused, and the message names what
// differs.
//
// # Safety
// `state` is readable for `length` bytes.
fedhds_status_t fedhds_client_resume(struct fedhds_client_t *client,
                                     const uint8_t *state,
                                     size_t length);

// Frees the client; NULL is fine.
fedhds_status_t fedhds_client_free(struct fedhds_client_t *client);

// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_hdbscan_config_init(struct fedhds_hdbscan_config_t *config,
                                           size_t size);

// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_kmeans_config_init(struct fedhds_kmeans_config_t *config,
                                          size_t size);

// HDBSCAN* (Campello 2013, 2015): finds the number of clusters, and noise.
//
// # Safety
// `points` and its values, and `config`, are readable; `clustering` is valid for a write.
fedhds_status_t fedhds_hdbscan(const struct fedhds_matrix_view_t *points,
                               const struct fedhds_hdbscan_config_t *config,
                               const struct fedhds_control_t *watch,
                               struct fedhds_clustering_t **clustering);

// k-means (greedy k-means++ starts, the best of several).
//
// # Safety
// `points` and its values, and `config`, are readable; `clustering` is valid for a write.
fedhds_status_t fedhds_kmeans(const struct fedhds_matrix_view_t *points,
                              const struct fedhds_kmeans_config_t *config,
                              uint64_t seed,
                              const struct fedhds_control_t *control,
                              struct fedhds_clustering_t **clustering);

// The cluster of each row, -1 for noise, into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_clustering_labels(const struct fedhds_clustering_t *clustering,
                                         int32_t *labels,
                                         size_t capacity,
                                         size_t *count);

// The membership probability of each row, in [0, 1], 0 for noise, into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `probabilities` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_clustering_probabilities(const struct fedhds_clustering_t *clustering,
                                                float *probabilities,
                                                size_t capacity,
                                                size_t *count);

// The centroids, one row for each cluster, as a matrix of its own.
//
// # Safety
// `centroids` is valid for a write.
fedhds_status_t fedhds_clustering_centroids(const struct fedhds_clustering_t *clustering,
                                            struct fedhds_matrix_t **centroids);

// Frees the clustering; NULL is fine.
fedhds_status_t fedhds_clustering_free(struct fedhds_clustering_t *clustering);

// A control that reports nowhere and was not cancelled.
//
// # Safety
// `control` is valid for a write.
fedhds_status_t fedhds_control_new(struct fedhds_control_t **control);

// Sets who hears of progress, in calls that begin afterwards; NULL is nobody.
//
// # Safety
// `user_data` lives as long as the control and bears calls from worker threads.
fedhds_status_t fedhds_control_set_progress(struct fedhds_control_t *control,
                                            fedhds_progress_fn progress,
                                            void *user_data);

// Asks the calls that were given this control to stop; they end with `FEDHDS_STATUS_CANCELLED` at their next check.
fedhds_status_t fedhds_control_cancel(const struct fedhds_control_t *control);

// Frees the control; NULL is fine. Calls that were given it go on.
fedhds_status_t fedhds_control_free(struct fedhds_control_t *control);

// Puts the caller's reducer in the place of the method's `client.reducer` or `client.normalizer`; it gives `columns` columns, at least 1.
//
// # Safety
// `stage` ends with NUL; `user_data` lives as long as clients and servers of this method and bears calls from worker threads.
fedhds_status_t fedhds_method_set_reducer(struct fedhds_method_t *method,
                                          const char *stage,
                                          fedhds_reduce_fn reduce,
                                          size_t columns,
                                          void *user_data);

// Puts the caller's clusterer in the place of the method's `client.clusterer` or `server.clusterer`.
//
// # Safety
// As `fedhds_method_set_reducer`.
fedhds_status_t fedhds_method_set_clusterer(struct fedhds_method_t *method,
                                            const char *stage,
                                            fedhds_cluster_fn cluster,
                                            void *user_data);

// Puts the caller's selector in the place of the method's `client.selector` or `server.selector`. `uses_groups` is 1 where `labels` have a say
// in how a total is chosen, `uses_covered` is 1 where the covered points have, else 0: a method that clusters, or has a memory, for a
// selector which does not look at it is refused when a server or client is made.
//
// # Safety
// As `fedhds_method_set_reducer`.
fedhds_status_t fedhds_method_set_selector(struct fedhds_method_t *method,
                                           const char *stage,
                                           fedhds_select_fn select,
                                           uint8_t uses_groups,
                                           uint8_t uses_covered,
                                           void *user_data);

// Notes that a client is left out of the round, for a reason that the app's transport knows: it failed, or went away. The round's report says
// so. Clients that stay silent need not be noted.
//
// # Safety
// `reason` ends with NUL.
fedhds_status_t fedhds_server_leave_out(struct fedhds_server_t *server,
                                        uint32_t client,
                                        const char *reason);

#if defined(FEDHDS_MODELS)
// Ends the round: the joined adapter, NULL where nobody trained or what was joined is not taken (`discarded` in the report says why): then
// the adapter stays as it was.
//
// `report` is JSON: `left_out` (reasons by client), `trained` (records by client), `aggregation` with `weights`, `limited`, `measures` and
// `discarded`. After a failure of the aggregator the round may be finished again or left by `fedhds_server_abandon_round`.
//
// # Safety
// `adapter` and `report` are valid for a write each.
fedhds_status_t fedhds_server_finish_round(struct fedhds_server_t *server,
                                           struct fedhds_adapter_t **adapter,
                                           struct fedhds_bytes_t **report);
#endif

// Ends a round whose adapters the app joined itself: `clients[i]` trained on `records[i]` records, for the clients whose update the app
// accepted. The method's memory learns of them. `report` is JSON as of `fedhds_server_finish_round`.
//
// # Safety
// `clients` and `records` are readable for `count` numbers; `report` is valid for a write.
fedhds_status_t fedhds_server_end_round(struct fedhds_server_t *server,
                                        const uint32_t *clients,
                                        const uint32_t *records,
                                        size_t count,
                                        struct fedhds_bytes_t **report);

// Leaves the round as if it had not selected anyone; what came in is dropped. Between rounds it does nothing.
fedhds_status_t fedhds_server_abandon_round(struct fedhds_server_t *server);

// What the server's gate asks of this client after its summary: the pairs whose losses `fedhds_client_answer` takes, into a buffer of
// `capacity` pairs; NULL asks for their number alone. None where the server does not ask, or knows the answer, and where the client's
// records are of too few topics to tell. A client may decline by sending its summary as it is.
//
// # Safety
// `start` is readable for `length` bytes; `pairs` is NULL or valid for writes of `capacity` pairs; `count` is valid for a write.
fedhds_status_t fedhds_client_pilot(const struct fedhds_client_t *client,
                                    const uint8_t *start,
                                    size_t length,
                                    struct fedhds_pair_t *pairs,
                                    size_t capacity,
                                    size_t *count);

// The summary with the answer to the gate's question, a histogram of what the losses say: it goes to the server in the summary's place. `losses` are those of
// `fedhds_client_pilot`'s pairs, in their order, NaN where there is none. With no pairs the answer is that this client abstains; where
// the server does not ask, the summary stays as it is.
//
// # Safety
// `start`, `summary` and `losses` are readable for so many bytes and numbers; `answered` is valid for a write.
fedhds_status_t fedhds_client_answer(const struct fedhds_client_t *client,
                                     const uint8_t *start,
                                     size_t start_length,
                                     const uint8_t *summary,
                                     size_t summary_length,
                                     const float *losses,
                                     size_t count,
                                     struct fedhds_bytes_t **answered);

// `fedhds_client_choose`, leaving out bad records where the order says that the gate is open; else `losses` is not called. What did not pass is
// remembered, also in `fedhds_client_state`, and not asked for again.
//
// `losses` is called with the candidates, and again for those that take the place of what did not pass. Where it fails, the call does, and
// nothing is remembered. A buffer of NULL asks for the most rows there may be, and a buffer that has no room for so many is too small: then
// `losses` is not called. As many as the order asks for always suffice; for an order in tokens as many as there are records do.
//
// # Safety
// `order` is readable for `length` bytes; `user_data` bears what `losses` does with it; `rows` is NULL or valid for writes of `capacity`
// numbers; `chosen` is valid for a write.
fedhds_status_t fedhds_client_choose_scored(struct fedhds_client_t *client,
                                            const uint8_t *order,
                                            size_t length,
                                            fedhds_losses_fn losses,
                                            void *user_data,
                                            const struct fedhds_control_t *watch,
                                            uint32_t *rows,
                                            size_t capacity,
                                            size_t *chosen);

// Sets who hears log lines of at most this `level` (1 errors to 5 everything), for the whole process; NULL is nobody.
//
// # Safety
// `user_data` lives as long as the process or until another listener is set, and bears calls from worker threads.
fedhds_status_t fedhds_set_log(int32_t level, fedhds_log_fn log, void *user_data);

// A view of the library's matrix; it is valid until the handle is freed.
//
// # Safety
// `view` is valid for a write.
fedhds_status_t fedhds_matrix_view(const struct fedhds_matrix_t *matrix, struct fedhds_matrix_view_t *view);

// Copies the values, row after row, into a buffer of `capacity` values and writes their number. A buffer of NULL asks for the number alone.
//
// # Safety
// `buffer` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
fedhds_status_t fedhds_matrix_copy(const struct fedhds_matrix_t *matrix,
                                   float *buffer,
                                   size_t capacity,
                                   size_t *count);

// Frees the matrix; NULL is fine.
fedhds_status_t fedhds_matrix_free(struct fedhds_matrix_t *matrix);

// Puts the caller's memory in the place of the method's `server.memory`. The method must have `client.frame = "shared"` and a
// `server.selector` that looks at what is covered. `memory` is read during the call. Servers of one method share the functions and
// `user_data`: an app with several servers makes a method for each.
//
// # Safety
// `memory` points to a structure of the size that it begins with; `user_data` lives as long as servers of this method.
fedhds_status_t fedhds_method_set_memory(struct fedhds_method_t *method,
                                         const struct fedhds_memory_t *memory,
                                         void *user_data);

// A method from TOML or JSON: a preset, and what differs from it; or a preset's bare name. `preset = "fedhds_coverage"` and
// `count = { budget = 20 }` on two lines are facility location with 20 records a round. Unknown keys are errors.
//
// # Safety
// `settings` ends with NUL; `method` is valid for a write.
fedhds_status_t fedhds_method_new(const char *settings,
                                  struct fedhds_method_t **method);

// Every setting of the method, as JSON.
//
// # Safety
// `json` is valid for a write.
fedhds_status_t fedhds_method_settings(const struct fedhds_method_t *method, struct fedhds_bytes_t **json);

// Whether a client should run a method whose settings a server named: `FEDHDS_STATUS_PROTOCOL` says which setting asks for more work, or shows
// more, than it may. `limits` is a JSON object or TOML of `presets` (names), `max_clusters`, `max_init`, `max_iter`, `max_components` and
// `max_shared_dims`, each with a default; NULL takes all defaults, which allow every preset.
//
// # Safety
// `limits` is NULL or ends with NUL.
fedhds_status_t fedhds_method_check_allowed(const struct fedhds_method_t *method,
                                            const char *limits);

// Frees the method; NULL is fine.
fedhds_status_t fedhds_method_free(struct fedhds_method_t *method);

// Rouge-L of a text against the reference that fits best by F1. `flavor` is 0 for package `rouge` 1.0.1 (the paper's), 1 for `rouge_score`, 2
// for the same with its stemmer.
//
// # Safety
// `prediction` and the `count` texts at `references` end with NUL; `rouge` is valid for a write.
fedhds_status_t fedhds_rouge_l(const char *prediction,
                               const char *const *references,
                               size_t count,
                               int32_t flavor,
                               struct fedhds_rouge_t *rouge);

// No records yet. `options` is NULL or JSON such as `{"extra_words": 6, "template_words": ["please", "task"]}`: how many words a template may
// add to an instruction, and the words that say nothing at the ends of an instruction or an input.
//
// # Safety
// `options` is NULL or ends with NUL; `copies` is valid for a write.
fedhds_status_t fedhds_near_copies_new(const char *options,
                                       struct fedhds_near_copies_t **copies);

// Takes in a record; `input` may be NULL, `response` is the one that training uses.
//
// # Safety
// The texts that are not NULL end with NUL.
fedhds_status_t fedhds_near_copies_add(struct fedhds_near_copies_t *copies,
                                       const char *instruction,
                                       const char *input,
                                       const char *response);

// Takes in records, in their order, each with its first response.
fedhds_status_t fedhds_near_copies_add_records(struct fedhds_near_copies_t *copies,
                                               const struct fedhds_records_t *records);

// A number for each record that came, in their order, into a buffer of `capacity` numbers; NULL asks for their number alone. Near copies have
// the same one; numbers are dense, in the order of the first of each. It is what `copies` of `fedhds_summarize_options_t` takes.
//
// # Safety
// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_near_copies_labels(const struct fedhds_near_copies_t *copies,
                                          uint32_t *labels,
                                          size_t capacity,
                                          size_t *count);

// Frees it; NULL is fine.
fedhds_status_t fedhds_near_copies_free(struct fedhds_near_copies_t *copies);

// Principal components: `[n, d]` to `[n, n_components]`, each scaled to unit variance where `whiten` is 1.
//
// # Safety
// `features` and its values are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_pca(const struct fedhds_matrix_view_t *features,
                           size_t n_components,
                           uint8_t whiten,
                           const struct fedhds_control_t *control,
                           struct fedhds_matrix_t **reduced);

// Finds the principal components of `[n, d]` rows, n at least 1. `fedhds_pca_transform` of the same rows gives what `fedhds_pca` does, to rounding.
//
// # Safety
// `features` and its values are readable; `pca` is valid for a write.
fedhds_status_t fedhds_pca_fit(const struct fedhds_matrix_view_t *features,
                               size_t n_components,
                               uint8_t whiten,
                               const struct fedhds_control_t *watch,
                               struct fedhds_pca_t **pca);

// Rows by these components: `[m, d]` to `[m, n_components]`, each row by itself.
//
// # Safety
// `features` and its values are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_pca_transform(const struct fedhds_pca_t *pca,
                                     const struct fedhds_matrix_view_t *features,
                                     const struct fedhds_control_t *watch,
                                     struct fedhds_matrix_t **reduced);

// The components as a matrix of its own, `[k, d]` with k the least of `n_components`, n and d: the directions of most variance, each of length 1
// and orthogonal to the others, 0 beyond the rank of the rows.
//
// # Safety
// `components` is valid for a write.
fedhds_status_t fedhds_pca_components(const struct fedhds_pca_t *pca,
                                      struct fedhds_matrix_t **components);

// The variance of the rows along each component (over n - 1), into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `variances` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_pca_explained_variance(const struct fedhds_pca_t *pca,
                                              double *variances,
                                              size_t capacity,
                                              size_t *count);

// The share of each component in the variance of all columns, in [0, 1], into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `ratios` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_pca_explained_variance_ratio(const struct fedhds_pca_t *pca,
                                                    double *ratios,
                                                    size_t capacity,
                                                    size_t *count);

// The mean of each column of the rows, into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `means` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_pca_mean(const struct fedhds_pca_t *pca, double *means, size_t capacity, size_t *count);

// Frees the components; NULL is fine.
fedhds_status_t fedhds_pca_free(struct fedhds_pca_t *pca);

// No records yet.
//
// # Safety
// `records` is valid for a write.
fedhds_status_t fedhds_records_new(struct fedhds_records_t **records);

// Adds a record with one response. `input` and `category` may be NULL.
//
// # Safety
// The texts that are not NULL end with NUL.
fedhds_status_t fedhds_records_add(struct fedhds_records_t *records,
                                   const char *id,
                                   const char *instruction,
                                   const char *input,
                                   const char *response,
                                   const char *category);

// Reads a data set. `format` is the name of a format (`jsonl`, `alpaca`, `dolly`, `messages`, `table`, `natural_instructions`, ...: an unknown
// one is answered with all of them), or `guess` for what the file looks like by its name and its first object. `options` is NULL or JSON such as
// `{"fields": {"instruction": "q", "response": "a"}, "blank_response": "skip"}`, or `{"split": "test"}` for a format that keeps its test records
// apart. `path` is a file, or a folder for `natural_instructions`.
//
// # Safety
// The texts that are not NULL end with NUL; `records` is valid for a write.
fedhds_status_t fedhds_records_load(const char *path,
                                    const char *format,
                                    const char *options,
                                    const struct fedhds_control_t *watch,
                                    struct fedhds_records_t **records);

#if defined(FEDHDS_MODELS)
// Generated records, no file: the train tasks and the unseen test tasks of the embedded data. `json` is NULL or settings such as
// `{"records_per_task": 30, "test_records_per_task": 15, "seed": 1}`.
//
// # Safety
// `json` is NULL or ends with NUL; `train` and `test` are valid for a write each.
fedhds_status_t fedhds_records_embedded(const char *json,
                                        struct fedhds_records_t **train,
                                        struct fedhds_records_t **test);
#endif

// How many records there are.
//
// # Safety
// `count` is valid for a write.
fedhds_status_t fedhds_records_count(const struct fedhds_records_t *records, size_t *count);

// One record as JSON: `id`, `instruction`, `input`, `responses`, `category`, `family`.
//
// # Safety
// `json` is valid for a write.
fedhds_status_t fedhds_records_get(const struct fedhds_records_t *records, size_t row, struct fedhds_bytes_t **json);

// The records of these rows, in this order; a row may come more than once.
//
// # Safety
// `rows` is readable for `count` numbers; `subset` is valid for a write.
fedhds_status_t fedhds_records_subset(const struct fedhds_records_t *records,
                                      const uint32_t *rows,
                                      size_t count,
                                      struct fedhds_records_t **subset);

// The records of one client of a federation that these records are dealt to: `json` says how, for example
// `{"kind": "dirichlet", "clients": 4, "alpha": 0.5}` or `{"kind": "iid", "clients": 4}`. Each call of the same seed deals alike.
//
// # Safety
// `json` ends with NUL; `part` is valid for a write.
fedhds_status_t fedhds_records_part(const struct fedhds_records_t *records,
                                    const char *json,
                                    uint64_t seed,
                                    size_t client,
                                    struct fedhds_records_t **part);

// Frees the records; NULL is fine.
fedhds_status_t fedhds_records_free(struct fedhds_records_t *records);

// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_tsne_config_init(struct fedhds_tsne_config_t *config,
                                        size_t size);

// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_kernel_pca_config_init(struct fedhds_kernel_pca_config_t *config,
                                              size_t size);

// Layer-norm of each layer's part of every row: `layers` equal parts to mean 0 and variance 1, as the presets in a shared frame do before
// anything else.
//
// # Safety
// `features` and its values are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_layer_norm(const struct fedhds_matrix_view_t *features,
                                  size_t layers,
                                  struct fedhds_matrix_t **reduced);

// Barnes-Hut t-SNE (van der Maaten 2014), the method's fusion step (eq. 7): `[n, d]` to `[n, n_components]`. The same seed gives the same
// bits at any number of threads.
//
// # Safety
// `features` and its values, and `config`, are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_tsne(const struct fedhds_matrix_view_t *features,
                            const struct fedhds_tsne_config_t *config,
                            uint64_t seed,
                            const struct fedhds_control_t *control,
                            struct fedhds_matrix_t **reduced);

// Kernel PCA: `[n, d]` to `[n, n_components]`.
//
// # Safety
// `features` and its values, and `config`, are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_kernel_pca(const struct fedhds_matrix_view_t *features,
                                  const struct fedhds_kernel_pca_config_t *config,
                                  const struct fedhds_control_t *control,
                                  struct fedhds_matrix_t **reduced);

// The random projection that all clients of one seed share: `[n, d]` to `[n, n_components]`.
//
// # Safety
// `features` and its values are readable; `reduced` is valid for a write.
fedhds_status_t fedhds_shared_projection(const struct fedhds_matrix_view_t *features,
                                         size_t n_components,
                                         uint64_t seed,
                                         const struct fedhds_control_t *control,
                                         struct fedhds_matrix_t **reduced);

// Chooses rows, in ascending order, into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// `selector` is a `fedhds_selector_t`. `weights` has one value for each row (records that it stands for), NULL is 1 for each; `clustering` may be
// NULL where the selector needs none; `owners` has one client for each row, or is NULL. `count` is meant for each cluster where `per_cluster` is 1,
// in all where it is 0.
//
// # Safety
// `points` and its values, and `weights` and `owners` where they are not NULL, are readable; `rows` is NULL or valid for writes of
// `capacity` numbers; `chosen` is valid for a write.
fedhds_status_t fedhds_select(int32_t selector,
                              const struct fedhds_matrix_view_t *points,
                              const float *weights,
                              const uint32_t *owners,
                              const struct fedhds_clustering_t *clustering,
                              size_t count,
                              uint8_t per_cluster,
                              uint64_t seed,
                              const struct fedhds_control_t *control,
                              uint32_t *rows,
                              size_t capacity,
                              size_t *chosen);

// A server. `layers` and `seed` are those of its clients; adapters are joined by their mean, weighted by records (eq. 12).
//
// # Safety
// `server` is valid for a write.
fedhds_status_t fedhds_server_new(const struct fedhds_method_t *method,
                                  size_t layers,
                                  uint64_t seed,
                                  struct fedhds_server_t **server);

// Begins a round with these clients; the message goes to each of them.
//
// `global` is the adapter that they train: updates must have its names, shapes and settings. With NULL the round selects and takes no
// updates: the app joins adapters itself, and `fedhds_server_end_round` ends the round. A build of selection alone has no adapters.
//
// # Safety
// `clients` is readable for `count` numbers; `start` is valid for a write.
fedhds_status_t fedhds_server_begin_round(struct fedhds_server_t *server,
                                          uint32_t round,
                                          const uint32_t *clients,
                                          size_t count,
                                          const struct fedhds_adapter_t *global,
                                          struct fedhds_bytes_t **start);

// Takes in a message that client `from` sent: its summary before the selection, its update after it. `from` is who the transport says
// it is; a client that speaks for another is refused.
//
// After a failure the message is as if it had not come, and the round goes on without it: log the message of the failure, which names the client,
// and go on with the others. The round's report repeats it.
//
// # Safety
// `message` is readable for `length` bytes.
fedhds_status_t fedhds_server_receive(struct fedhds_server_t *server,
                                      uint32_t from,
                                      const uint8_t *message,
                                      size_t length);

// Selects from what came. Clients that stay silent are left out.
fedhds_status_t fedhds_server_select(struct fedhds_server_t *server, const struct fedhds_control_t *watch);

// The order for a client that sent a summary, and how many records it asks for: 0 is no training in this round.
//
// # Safety
// `order` and `records` are valid for a write each.
fedhds_status_t fedhds_server_order(const struct fedhds_server_t *server,
                                    uint32_t client,
                                    struct fedhds_bytes_t **order,
                                    size_t *records);

// Every group of the round, after `fedhds_server_select`, into a buffer of `capacity` groups; NULL asks for their number alone.
//
// # Safety
// `groups` is NULL or valid for writes of `capacity` groups; `count` is valid for a write.
fedhds_status_t fedhds_server_selection(const struct fedhds_server_t *server,
                                        struct fedhds_group_t *groups,
                                        size_t capacity,
                                        size_t *count);

// What the server knows, to go on in another process: the round, what the aggregator and the memory keep between rounds. Not once an update
// of the round came in.
//
// # Safety
// `state` is valid for a write.
fedhds_status_t fedhds_server_state(const struct fedhds_server_t *server,
                                    struct fedhds_bytes_t **state);

// Goes on from `fedhds_server_state` of a server with the same method, layers and seed; another's is refused, and the message names what
// differs. In the middle of a round that began with a global adapter, `global` is that adapter; else it may be NULL, and one that is given
// must be like those of earlier rounds.
//
// # Safety
// `state` is readable for `length` bytes.
fedhds_status_t fedhds_server_resume(struct fedhds_server_t *server,
                                     const uint8_t *state,
                                     size_t length,
                                     const struct fedhds_adapter_t *global);

// Frees the server; NULL is fine.
fedhds_status_t fedhds_server_free(struct fedhds_server_t *server);

// The message of the last call of this thread that failed; empty where none did. It is valid until the next failing call of this
// thread, and never NULL.
const char *fedhds_last_error_message(void);

// The name of a status, for example `FEDHDS_STATUS_OK`; `unknown` for a number that is none. Never NULL, valid for ever.
const char *fedhds_status_name(int32_t status);

// Groups the records and reports the groups, in answer to the server's round start. `features` has row i for record i; NULL is for methods
// that look at none, with the number of `records`. `scores` are as in `fedhds_summarize_options_t`, or NULL.
//
// # Safety
// `start` is readable for `length` bytes; `features` and its values are where it is not NULL, and so are `scores`, its names and values;
// `summary` is valid for a write.
fedhds_status_t fedhds_client_summarize(struct fedhds_client_t *client,
                                        const uint8_t *start,
                                        size_t length,
                                        const struct fedhds_matrix_view_t *features,
                                        size_t records,
                                        const struct fedhds_scores_t *scores,
                                        const struct fedhds_control_t *watch,
                                        struct fedhds_bytes_t **summary);

// `fedhds_client_summarize` with what else the app knows of its records: near copies, features of the prompts, and tokens. `options` is read during the
// call; NULL is for nothing beside the features. Where the method groups once and the server knows the groups, the message is a digest.
//
// # Safety
// `start` is readable for `length` bytes; `features` and its values are where it is not NULL; `options` is NULL or points to a structure of the
// size that it begins with, and what is not NULL in it is readable, `copies` and `tokens` for as many numbers as there are records; `summary` is
// valid for a write.
fedhds_status_t fedhds_client_summarize_with(struct fedhds_client_t *client,
                                             const uint8_t *start,
                                             size_t length,
                                             const struct fedhds_matrix_view_t *features,
                                             const struct fedhds_summarize_options_t *options,
                                             const struct fedhds_control_t *watch,
                                             struct fedhds_bytes_t **summary);

// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_text_features_config_init(struct fedhds_text_features_config_t *config,
                                                 size_t size);

// What makes features of texts.
//
// # Safety
// `config` is readable; `features` is valid for a write.
fedhds_status_t fedhds_text_features_new(const struct fedhds_text_features_config_t *config,
                                         struct fedhds_text_features_t **features);

// The row of one record, into a buffer of `capacity` values; NULL asks for their number alone, which is `dims`. It has length 1, or is all 0
// where there is no word. It depends on nothing but the texts and the settings, to the last bit.
//
// `input` and `response` may be NULL: with both NULL it is the row of a prompt, of which `fedhds_summarize_options_t` takes a matrix.
//
// # Safety
// The texts that are not NULL end with NUL; `row` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
fedhds_status_t fedhds_text_features_row(const struct fedhds_text_features_t *features,
                                         const char *instruction,
                                         const char *input,
                                         const char *response,
                                         float *row,
                                         size_t capacity,
                                         size_t *count);

// The rows of records, `[records, dims]`: of instruction, input and first response.
//
// # Safety
// `matrix` is valid for a write.
fedhds_status_t fedhds_text_features_of_records(const struct fedhds_text_features_t *features,
                                                const struct fedhds_records_t *records,
                                                const struct fedhds_control_t *watch,
                                                struct fedhds_matrix_t **matrix);

// The rows of the records' instructions alone, `[records, dims]`: what `prompts` of `fedhds_summarize_options_t` takes.
//
// # Safety
// `matrix` is valid for a write.
fedhds_status_t fedhds_text_features_of_prompts(const struct fedhds_text_features_t *features,
                                                const struct fedhds_records_t *records,
                                                const struct fedhds_control_t *watch,
                                                struct fedhds_matrix_t **matrix);

// Frees it; NULL is fine.
fedhds_status_t fedhds_text_features_free(struct fedhds_text_features_t *features);

// Puts the caller's stage between grouping and sending: clipping, noise, groups that are too small to show. It takes the place of the
// method's `client.upload`. It is called once a round: a client that is asked again sends the same bytes again.
//
// # Safety
// `user_data` lives as long as clients of this method and bears calls from their threads.
fedhds_status_t fedhds_method_set_upload(struct fedhds_method_t *method,
                                         fedhds_upload_fn upload,
                                         void *user_data);

// Draws secret random bytes: `length` of them into `bytes`. No draw comes twice, also not after a resume of the client's state.
//
// # Safety
// `bytes` is valid for writes of `length` bytes.
fedhds_status_t fedhds_secret_draw(struct fedhds_secret_t *secret,
                                   uint8_t *bytes,
                                   size_t length);

// The version of the library, for example `0.1.0`. Never NULL, valid for ever.
const char *fedhds_version(void);

// The version of the ABI: compare it with `FEDHDS_ABI_VERSION` of the header.
uint32_t fedhds_abi_version(void);

// Whether models, features, training and evaluation are in this build; selection always is.
bool fedhds_has_models(void);

// Sets the number of worker threads of the process, from 1. It can be set once, before the first heavy call; results do not depend on it.
fedhds_status_t fedhds_set_threads(size_t threads);

// The number of worker threads of the process.
//
// # Safety
// `threads` is valid for a write.
fedhds_status_t fedhds_threads(size_t *threads);

#if defined(FEDHDS_MODELS)
// Reads PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`.
//
// # Safety
// `folder` ends with NUL; `adapter` is valid for a write.
fedhds_status_t fedhds_adapter_load(const char *folder, struct fedhds_adapter_t **adapter);
#endif

#if defined(FEDHDS_MODELS)
// Writes PEFT's folder, in float32. `base_model` is the name that PEFT shall find the base model by, or NULL.
//
// # Safety
// The texts that are not NULL end with NUL.
fedhds_status_t fedhds_adapter_save(const struct fedhds_adapter_t *adapter, const char *folder, const char *base_model);
#endif

#if defined(FEDHDS_MODELS)
// The tensors as a safetensors file under PEFT's names, and the settings as JSON.
//
// # Safety
// `tensors` and `config` are valid for a write each.
fedhds_status_t fedhds_adapter_to_bytes(const struct fedhds_adapter_t *adapter,
                                        struct fedhds_bytes_t **tensors,
                                        struct fedhds_bytes_t **config);
#endif

#if defined(FEDHDS_MODELS)
// The adapter of `fedhds_adapter_to_bytes`; `config` is its JSON as text.
//
// # Safety
// `tensors` is readable for `length` bytes; `config` ends with NUL; `adapter` is valid for a write.
fedhds_status_t fedhds_adapter_from_bytes(const uint8_t *tensors,
                                          size_t length,
                                          const char *config,
                                          struct fedhds_adapter_t **adapter);
#endif

#if defined(FEDHDS_MODELS)
// The message that tells clients what a round starts from.
//
// # Safety
// `message` is valid for a write.
fedhds_status_t fedhds_adapter_encode(const struct fedhds_adapter_t *adapter,
                                      uint32_t round,
                                      struct fedhds_bytes_t **message);
#endif

#if defined(FEDHDS_MODELS)
// The adapter of `fedhds_adapter_encode`, and its round.
//
// # Safety
// `message` is readable for `length` bytes; `adapter` and `round` are valid for a write each.
fedhds_status_t fedhds_adapter_decode(const uint8_t *message,
                                      size_t length,
                                      struct fedhds_adapter_t **adapter,
                                      uint32_t *round);
#endif

#if defined(FEDHDS_MODELS)
// Whether two adapters have the same settings and the same values, bit for bit.
//
// # Safety
// `equal` is valid for a write.
fedhds_status_t fedhds_adapter_equal(const struct fedhds_adapter_t *adapter,
                                     const struct fedhds_adapter_t *other,
                                     bool *equal);
#endif

#if defined(FEDHDS_MODELS)
// The mean of adapters, weighted by the records that each was trained on (eq. 12), summed in this order.
//
// # Safety
// `adapters` and `records` are readable for `count` values; `mean` is valid for a write.
fedhds_status_t fedhds_adapter_mean(const struct fedhds_adapter_t *const *adapters,
                                    const size_t *records,
                                    size_t count,
                                    struct fedhds_adapter_t **mean);
#endif

#if defined(FEDHDS_MODELS)
// The adapter's values, tensor after tensor in the order of their names, row after row, into a buffer of `capacity` values; NULL asks
// for their number alone.
//
// # Safety
// `values` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
fedhds_status_t fedhds_adapter_values(const struct fedhds_adapter_t *adapter,
                                      float *values,
                                      size_t capacity,
                                      size_t *count);
#endif

#if defined(FEDHDS_MODELS)
// An adapter of the settings, names and shapes of `like` with these values, in the order of `fedhds_adapter_values`. `values` stays the
// caller's.
//
// # Safety
// `values` is readable for `count` values; `adapter` is valid for a write.
fedhds_status_t fedhds_adapter_with_values(const struct fedhds_adapter_t *like,
                                           const float *values,
                                           size_t count,
                                           struct fedhds_adapter_t **adapter);
#endif

#if defined(FEDHDS_MODELS)
// Frees the adapter; NULL is fine.
fedhds_status_t fedhds_adapter_free(struct fedhds_adapter_t *adapter);
#endif

#if defined(FEDHDS_MODELS)
// A server that joins adapters by one of the library's aggregators: JSON with its `kind`, `weighted_mean`, `fedavgm`,
// `fedadam`, `flexlora`, `ffa_lora`, `rolora`, `fedsvd`, or a robust one: `norm_bound`, `centred_clipping`,
// `coordinate_median`, `trimmed_mean`, `multi_krum`, `geometric_median`, `nnm`; and what differs from that kind's settings, as
// `{"kind": "fedadam", "learning_rate": 0.01}`. The rest is as for `fedhds_server_new`.
//
// # Safety
// `aggregator` ends with NUL; `server` is valid for a write.
fedhds_status_t fedhds_server_new_with_aggregator(const struct fedhds_method_t *method,
                                                  size_t layers,
                                                  uint64_t seed,
                                                  const char *aggregator,
                                                  struct fedhds_server_t **server);
#endif

#if defined(FEDHDS_MODELS)
// A server that joins adapters by functions of the caller's. `aggregator` is read during the call. The rest is as for `fedhds_server_new`.
//
// # Safety
// `aggregator` points to a structure of the size that it begins with; `user_data` lives as long as the server; `server` is valid for a
// write.
fedhds_status_t fedhds_server_new_with_own_aggregator(const struct fedhds_method_t *method,
                                                      size_t layers,
                                                      uint64_t seed,
                                                      const struct fedhds_aggregator_t *aggregator,
                                                      void *user_data,
                                                      struct fedhds_server_t **server);
#endif

#if defined(FEDHDS_MODELS)
// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_features_config_init(struct fedhds_features_config_t *config,
                                            size_t size);
#endif

#if defined(FEDHDS_MODELS)
// Fills in the paper's values. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
//
// # Safety
// `config` is valid for writes of `size` bytes.
fedhds_status_t fedhds_train_config_init(struct fedhds_train_config_t *config,
                                         size_t size);
#endif

#if defined(FEDHDS_MODELS)
// Whether a device can be used: `cpu`, `cuda`, `cuda:1`. `FEDHDS_STATUS_DEVICE` is no: it is not there, or not compiled in.
//
// # Safety
// `device` ends with NUL.
fedhds_status_t fedhds_device_check(const char *device);
#endif

#if defined(FEDHDS_MODELS)
// Loads a Hugging Face folder (config.json, safetensors, tokenizer.json) or a `.gguf` file. `device` is a name, NULL is `cpu`.
//
// # Safety
// The texts that are not NULL end with NUL; `model` is valid for a write.
fedhds_status_t fedhds_model_load(const char *path,
                                  const char *device,
                                  struct fedhds_model_t **model);
#endif

#if defined(FEDHDS_MODELS)
// The same with `activations`: `f32` (NULL too), or `int8`, in which features, losses and generation multiply bytes where the file's weights are in
// blocks (Q8_0, Q4_0, Q4_1): about twice as fast on processors that multiply bytes, with losses that move in the third digit. A model without such
// weights is refused (`FEDHDS_STATUS_MODEL`).
//
// # Safety
// The texts that are not NULL end with NUL; `model` is valid for a write.
fedhds_status_t fedhds_model_load_with(const char *path,
                                       const char *device,
                                       const char *activations,
                                       struct fedhds_model_t **model);
#endif

#if defined(FEDHDS_MODELS)
// The sizes of a model.
//
// # Safety
// `info` is valid for a write.
fedhds_status_t fedhds_model_info(const struct fedhds_model_t *model, struct fedhds_model_info_t *info);
#endif

#if defined(FEDHDS_MODELS)
// Features of records, one row each: the hidden states of the layers side by side (eq. 6). `adapter` is applied to the model where it is not
// NULL: leave it out for a frozen proxy. `prompt` is a template's name or JSON, NULL is `alpaca`.
//
// # Safety
// `prompt` is NULL or ends with NUL; `config` is readable; `features` is valid for a write.
fedhds_status_t fedhds_model_features(const struct fedhds_model_t *model,
                                      const struct fedhds_records_t *records,
                                      const struct fedhds_adapter_t *adapter,
                                      const char *prompt,
                                      const struct fedhds_features_config_t *config,
                                      const struct fedhds_control_t *control,
                                      struct fedhds_matrix_t **features);
#endif

#if defined(FEDHDS_MODELS)
// Continues a text greedily by at most `max_new_tokens` tokens.
//
// # Safety
// `prompt` ends with NUL; `output` is valid for a write.
fedhds_status_t fedhds_model_generate(const struct fedhds_model_t *model,
                                      const struct fedhds_adapter_t *adapter,
                                      const char *prompt,
                                      size_t max_new_tokens,
                                      const struct fedhds_control_t *watch,
                                      struct fedhds_bytes_t **output);
#endif

#if defined(FEDHDS_MODELS)
// Scores of records as a JSON list, in order: `id`, `category`, `loss` (mean over the response's tokens, in nats), and where text is generated `output`,
// `rouge_l` (F1 in [0, 1]) and `exact_match`. `max_new_tokens` of 0 generates nothing; `flavor` is that of `fedhds_rouge_l`.
//
// # Safety
// `prompt` is NULL or ends with NUL; `scores` is valid for a write.
fedhds_status_t fedhds_model_evaluate(const struct fedhds_model_t *model,
                                      const struct fedhds_adapter_t *adapter,
                                      const struct fedhds_records_t *records,
                                      const char *prompt,
                                      size_t max_new_tokens,
                                      int32_t flavor,
                                      const struct fedhds_control_t *control,
                                      struct fedhds_bytes_t **scores);
#endif

#if defined(FEDHDS_MODELS)
// Writes the file that llama.cpp's `--lora` reads, for a base model of this family and size.
//
// # Safety
// `path` ends with NUL.
fedhds_status_t fedhds_adapter_save_gguf(const struct fedhds_adapter_t *adapter,
                                         const struct fedhds_model_t *model,
                                         const char *path);
#endif

#if defined(FEDHDS_MODELS)
// Frees the model; NULL is fine.
fedhds_status_t fedhds_model_free(struct fedhds_model_t *model);
#endif

#if defined(FEDHDS_MODELS)
// The seed that the core's simulation gives to the training of a client in a round, from the experiment's seed.
uint64_t fedhds_train_seed(uint64_t seed, uint32_t round, uint32_t client);
#endif

#if defined(FEDHDS_MODELS)
// The seed that the core's simulation gives to the first adapter, from the experiment's seed.
uint64_t fedhds_init_seed(uint64_t seed);
#endif

#if defined(FEDHDS_MODELS)
// A fresh adapter of a model: A drawn by the seed, B zero.
//
// # Safety
// `config` is readable; `fresh` is valid for a write.
fedhds_status_t fedhds_model_init_adapter(const struct fedhds_model_t *model,
                                          const struct fedhds_train_config_t *config,
                                          uint64_t seed,
                                          struct fedhds_adapter_t **fresh);
#endif

#if defined(FEDHDS_MODELS)
// The adapter that a client trains from: the global one, at the client's rank where that is smaller (`fedhds_client_set_rank`).
//
// # Safety
// `start` is valid for a write.
fedhds_status_t fedhds_client_start_from(const struct fedhds_client_t *client,
                                         const struct fedhds_adapter_t *global,
                                         struct fedhds_adapter_t **start);
#endif

#if defined(FEDHDS_MODELS)
// Trains an adapter on records; their order and dropout come from the seed.
//
// # Safety
// `prompt` is NULL or ends with NUL; `config` is readable; `trained` is valid for a write.
fedhds_status_t fedhds_model_train(const struct fedhds_model_t *model,
                                   const struct fedhds_adapter_t *start,
                                   const struct fedhds_records_t *records,
                                   const char *prompt,
                                   const struct fedhds_train_config_t *config,
                                   uint64_t seed,
                                   const struct fedhds_control_t *watch,
                                   struct fedhds_trained_t **trained);
#endif

#if defined(FEDHDS_MODELS)
// The adapter after training.
//
// # Safety
// `after` is valid for a write.
fedhds_status_t fedhds_trained_adapter(const struct fedhds_trained_t *trained, struct fedhds_adapter_t **after);
#endif

#if defined(FEDHDS_MODELS)
// The mean loss of each optimiser step, in nats, into a buffer of `capacity` numbers; NULL asks for their number alone.
//
// # Safety
// `losses` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
fedhds_status_t fedhds_trained_losses(const struct fedhds_trained_t *trained,
                                      float *losses,
                                      size_t capacity,
                                      size_t *count);
#endif

#if defined(FEDHDS_MODELS)
// What a training of the caller's own gave: the adapter after it, the mean loss of each optimiser step in nats (`count` of them, 0 where
// none was measured), steps that were `skipped` since loss or gradient was not finite, and `tokens` that went through the model.
// `adapter` and `losses` stay the caller's.
//
// # Safety
// `losses` is readable for `count` numbers; `trained` is valid for a write.
fedhds_status_t fedhds_trained_new(const struct fedhds_adapter_t *adapter,
                                   const float *losses,
                                   size_t count,
                                   size_t skipped,
                                   uint64_t tokens,
                                   struct fedhds_trained_t **trained);
#endif

#if defined(FEDHDS_MODELS)
// The client's message of what training on these rows of the order gave, for `fedhds_server_receive`: those that `fedhds_client_choose`
// answered, or fewer.
//
// # Safety
// `order` is readable for `length` bytes, `rows` for `count` numbers; `update` is valid for a write.
fedhds_status_t fedhds_client_update(const struct fedhds_client_t *client,
                                     const uint8_t *order,
                                     size_t length,
                                     const uint32_t *rows,
                                     size_t count,
                                     const struct fedhds_trained_t *trained,
                                     struct fedhds_bytes_t **update);
#endif

#if defined(FEDHDS_MODELS)
// Frees what a training gave; NULL is fine.
fedhds_status_t fedhds_trained_free(struct fedhds_trained_t *trained);
#endif

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FEDHDS_H */
