// Models, adapters, training, updates: what they give, and what they make of arguments that are none.
//
// `models FOLDER OUT` with the folder of the embedded model and an empty folder to write to; `models FOLDER OUT quick`
// does less of it, for Valgrind.

#include "fixtures.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static const char* folder;
static const char* out;
static bool quick;
static fedhds_model_t* model;
static fedhds_records_t* records;
static fedhds_train_config_t train;
static fedhds_features_config_t features_config;
static fedhds_adapter_t* adapter;
static fedhds_trained_t* trained;
static round_t r;
static uint32_t chosen[ROWS];
static size_t chosen_count;

#define NULLS(call) FAILS(FEDHDS_STATUS_NULL_POINTER, call)
#define INVALID(call) FAILS(FEDHDS_STATUS_INVALID_HANDLE, call)

static const char* path_of(const char* name) {
    static char path[4096];
    CHECK(snprintf(path, sizeof path, "%s/%s", out, name) < (int)sizeof path);
    return path;
}

static void write_file(const char* path, const char* text) {
    FILE* file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(text, 1, strlen(text), file) == strlen(text));
    CHECK(fclose(file) == 0);
}

// --- what calls give

static void features(void) {
    fedhds_model_info_t info;
    OK(fedhds_model_info(model, &info));
    CHECK(info.layers == 4 && info.hidden_size == 128 && info.vocab_size == 2048 && info.max_positions == 256 &&
          info.causal);
    fedhds_matrix_t *all = NULL, *last = NULL, *with_adapter = NULL;
    fedhds_matrix_view_t view, part;
    OK(fedhds_model_features(model, records, NULL, "short", &features_config, NULL, &all));
    OK(fedhds_matrix_view(all, &view));
    CHECK(view.rows == 4 && view.cols == info.layers * info.hidden_size);
    features_config.layers = 1;
    OK(fedhds_model_features(model, records, NULL, "short", &features_config, NULL, &last));
    OK(fedhds_matrix_view(last, &part));
    CHECK(part.cols == info.hidden_size);
    CHECK(memcmp(part.data, view.data + view.cols - part.cols, part.cols * sizeof(float)) == 0);
    // A fresh adapter changes nothing, a trained one does.
    OK(fedhds_model_features(model, records, adapter, "short", &features_config, NULL, &with_adapter));
    OK(fedhds_matrix_view(with_adapter, &view));
    CHECK(memcmp(part.data, view.data, part.cols * sizeof(float)) == 0);
    OK(fedhds_matrix_free(with_adapter));
    fedhds_adapter_t* after = NULL;
    OK(fedhds_trained_adapter(trained, &after));
    OK(fedhds_model_features(model, records, after, "short", &features_config, NULL, &with_adapter));
    OK(fedhds_matrix_view(with_adapter, &view));
    CHECK(memcmp(part.data, view.data, part.cols * sizeof(float)) != 0);
    features_config.layers = 0;
    OK(fedhds_adapter_free(after));
    OK(fedhds_matrix_free(all));
    OK(fedhds_matrix_free(last));
    OK(fedhds_matrix_free(with_adapter));
}

static void texts(void) {
    fedhds_bytes_t* text = NULL;
    OK(fedhds_model_generate(model, NULL, "The cat says", 4, NULL, &text));
    message_t plain = taken(text);
    CHECK(plain.length > 0);
    OK(fedhds_model_generate(model, adapter, "The cat says", 4, NULL, &text));
    message_t same = taken(text);
    CHECK(plain.length == same.length && memcmp(plain.data, same.data, same.length) == 0);
    free(plain.data);
    free(same.data);
    OK(fedhds_model_evaluate(model, adapter, records, "short", quick ? 0 : 3, 0, NULL, &text));
    const uint8_t* data = NULL;
    size_t length = 0;
    OK(fedhds_bytes_view(text, &data, &length));
    CHECK(data[0] == '[' && strstr((const char*)data, "\"loss\"") != NULL);
    CHECK(quick || strstr((const char*)data, "\"rouge_l\"") != NULL);
    OK(fedhds_bytes_free(text));
}

static void adapters(void) {
    fedhds_adapter_t *again = NULL, *after = NULL;
    fedhds_bytes_t *tensors = NULL, *config = NULL, *message = NULL;
    bool equal = false;
    uint32_t round = 0;
    OK(fedhds_trained_adapter(trained, &after));
    OK(fedhds_adapter_equal(adapter, after, &equal));
    CHECK(!equal);

    OK(fedhds_adapter_to_bytes(after, &tensors, &config));
    const uint8_t *tensor_bytes = NULL, *config_bytes = NULL;
    size_t length = 0, config_length = 0;
    OK(fedhds_bytes_view(tensors, &tensor_bytes, &length));
    OK(fedhds_bytes_view(config, &config_bytes, &config_length));
    OK(fedhds_adapter_from_bytes(tensor_bytes, length, (const char*)config_bytes, &again));
    OK(fedhds_adapter_equal(after, again, &equal));
    CHECK(equal);
    OK(fedhds_adapter_free(again));
    OK(fedhds_bytes_free(tensors));
    OK(fedhds_bytes_free(config));

    OK(fedhds_adapter_encode(after, 6, &message));
    message_t global = taken(message);
    OK(fedhds_adapter_decode(global.data, global.length, &again, &round));
    OK(fedhds_adapter_equal(after, again, &equal));
    CHECK(equal && round == 6);
    OK(fedhds_adapter_free(again));
    free(global.data);

    OK(fedhds_adapter_save(after, path_of("adapter"), "embedded"));
    OK(fedhds_adapter_load(path_of("adapter"), &again));
    OK(fedhds_adapter_equal(after, again, &equal));
    CHECK(equal);
    OK(fedhds_adapter_free(again));
    OK(fedhds_adapter_save_gguf(after, model, path_of("adapter.gguf")));

    // The mean of one is that one; of two it is another.
    const fedhds_adapter_t* both[] = {after, adapter};
    const size_t weights[] = {3, 1};
    OK(fedhds_adapter_mean(both, weights, 1, &again));
    OK(fedhds_adapter_equal(after, again, &equal));
    CHECK(equal);
    OK(fedhds_adapter_free(again));
    OK(fedhds_adapter_mean(both, weights, 2, &again));
    OK(fedhds_adapter_equal(after, again, &equal));
    CHECK(!equal);
    OK(fedhds_adapter_free(again));
    OK(fedhds_adapter_free(after));

    float losses[64];
    OK(fedhds_trained_losses(trained, losses, 64, &length));
    CHECK(length == 4);
    for (size_t i = 0; i < length; ++i) CHECK(isfinite(losses[i]) && losses[i] > 0);
    CHECK(fedhds_train_seed(3, 0, 1) != fedhds_train_seed(3, 1, 0) && fedhds_init_seed(3) != fedhds_init_seed(4));
}

// --- arguments that are none

static void nulls(void) {
    fedhds_model_t* m = NULL;
    fedhds_model_info_t info;
    fedhds_adapter_t* a = NULL;
    fedhds_trained_t* t = NULL;
    fedhds_matrix_t* x = NULL;
    fedhds_bytes_t *b = NULL, *c = NULL;
    uint32_t round = 77;
    size_t count = 77;
    bool equal = true;
    const size_t one = 1;
    const fedhds_adapter_t* none = NULL;

    NULLS(fedhds_device_check(NULL));
    NULLS(fedhds_model_load(NULL, NULL, &m));
    NULLS(fedhds_model_load(folder, NULL, NULL));
    NULLS(fedhds_model_load_with(NULL, NULL, NULL, &m));
    NULLS(fedhds_model_load_with(folder, NULL, "int8", NULL));
    NULLS(fedhds_model_info(NULL, &info));
    NULLS(fedhds_model_info(model, NULL));
    NULLS(fedhds_features_config_init(NULL, sizeof features_config));
    NULLS(fedhds_train_config_init(NULL, sizeof train));
    NULLS(fedhds_model_features(NULL, records, NULL, NULL, &features_config, NULL, &x));
    NULLS(fedhds_model_features(model, NULL, NULL, NULL, &features_config, NULL, &x));
    NULLS(fedhds_model_features(model, records, NULL, NULL, NULL, NULL, &x));
    NULLS(fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, NULL));
    NULLS(fedhds_model_generate(NULL, NULL, "a", 1, NULL, &b));
    NULLS(fedhds_model_generate(model, NULL, NULL, 1, NULL, &b));
    NULLS(fedhds_model_generate(model, NULL, "a", 1, NULL, NULL));
    NULLS(fedhds_model_evaluate(NULL, NULL, records, NULL, 0, 0, NULL, &b));
    NULLS(fedhds_model_evaluate(model, NULL, NULL, NULL, 0, 0, NULL, &b));
    NULLS(fedhds_model_evaluate(model, NULL, records, NULL, 0, 0, NULL, NULL));
    NULLS(fedhds_model_init_adapter(NULL, &train, 1, &a));
    NULLS(fedhds_model_init_adapter(model, NULL, 1, &a));
    NULLS(fedhds_model_init_adapter(model, &train, 1, NULL));
    NULLS(fedhds_model_train(NULL, adapter, records, NULL, &train, 1, NULL, &t));
    NULLS(fedhds_model_train(model, NULL, records, NULL, &train, 1, NULL, &t));
    NULLS(fedhds_model_train(model, adapter, NULL, NULL, &train, 1, NULL, &t));
    NULLS(fedhds_model_train(model, adapter, records, NULL, NULL, 1, NULL, &t));
    NULLS(fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, NULL));
    NULLS(fedhds_trained_adapter(NULL, &a));
    NULLS(fedhds_trained_adapter(trained, NULL));
    NULLS(fedhds_trained_losses(NULL, NULL, 0, &count));
    NULLS(fedhds_trained_losses(trained, NULL, 0, NULL));
    NULLS(fedhds_client_update(NULL, r.order.data, r.order.length, chosen, chosen_count, trained, &b));
    NULLS(fedhds_client_update(r.client, NULL, 1, chosen, chosen_count, trained, &b));
    NULLS(fedhds_client_update(r.client, r.order.data, r.order.length, chosen, chosen_count, NULL, &b));
    NULLS(fedhds_client_update(r.client, r.order.data, r.order.length, chosen, chosen_count, trained, NULL));
    NULLS(fedhds_adapter_load(NULL, &a));
    NULLS(fedhds_adapter_load(folder, NULL));
    NULLS(fedhds_adapter_save(NULL, folder, NULL));
    NULLS(fedhds_adapter_save(adapter, NULL, NULL));
    NULLS(fedhds_adapter_save_gguf(NULL, model, "x"));
    NULLS(fedhds_adapter_save_gguf(adapter, NULL, "x"));
    NULLS(fedhds_adapter_save_gguf(adapter, model, NULL));
    NULLS(fedhds_adapter_to_bytes(NULL, &b, &c));
    NULLS(fedhds_adapter_to_bytes(adapter, NULL, &c));
    NULLS(fedhds_adapter_to_bytes(adapter, &b, NULL));
    NULLS(fedhds_adapter_from_bytes(NULL, 1, "{}", &a));
    NULLS(fedhds_adapter_from_bytes((const uint8_t*)"x", 1, NULL, &a));
    NULLS(fedhds_adapter_from_bytes((const uint8_t*)"x", 1, "{}", NULL));
    NULLS(fedhds_adapter_encode(NULL, 0, &b));
    NULLS(fedhds_adapter_encode(adapter, 0, NULL));
    NULLS(fedhds_adapter_decode(NULL, 1, &a, &round));
    NULLS(fedhds_adapter_decode((const uint8_t*)"x", 1, NULL, &round));
    NULLS(fedhds_adapter_decode((const uint8_t*)"x", 1, &a, NULL));
    NULLS(fedhds_adapter_equal(NULL, adapter, &equal));
    NULLS(fedhds_adapter_equal(adapter, NULL, &equal));
    NULLS(fedhds_adapter_equal(adapter, adapter, NULL));
    NULLS(fedhds_adapter_mean(NULL, &one, 1, &a));
    NULLS(fedhds_adapter_mean(&none, NULL, 1, &a));
    NULLS(fedhds_adapter_mean(&none, &one, 1, &a));
    NULLS(fedhds_adapter_mean(&none, &one, 1, NULL));
    FAILS(FEDHDS_STATUS_INPUT, fedhds_adapter_mean(NULL, NULL, 0, &a));
    NULLS(fedhds_client_update(r.client, r.order.data, r.order.length, NULL, 1, trained, &b));
    NULLS(fedhds_client_start_from(NULL, adapter, &a));
    NULLS(fedhds_client_start_from(r.client, NULL, &a));
    NULLS(fedhds_client_start_from(r.client, adapter, NULL));
    NULLS(fedhds_trained_new(NULL, NULL, 0, 0, 0, &t));
    NULLS(fedhds_trained_new(adapter, NULL, 1, 0, 0, &t));
    NULLS(fedhds_trained_new(adapter, NULL, 0, 0, 0, NULL));
    fedhds_server_t* s = NULL;
    NULLS(fedhds_server_new_with_aggregator(NULL, 1, 0, "{\"kind\": \"fedadam\"}", &s));
    NULLS(fedhds_server_new_with_aggregator(r.method, 1, 0, NULL, &s));
    NULLS(fedhds_server_new_with_aggregator(r.method, 1, 0, "{\"kind\": \"fedadam\"}", NULL));
    const fedhds_aggregator_t nothing = {sizeof nothing, NULL, NULL, NULL, NULL, NULL, NULL};
    NULLS(fedhds_server_new_with_own_aggregator(r.method, 1, 0, NULL, NULL, &s));
    NULLS(fedhds_server_new_with_own_aggregator(r.method, 1, 0, &nothing, NULL, &s));
    size_t length = 0;
    float value = 0;
    NULLS(fedhds_adapter_values(NULL, NULL, 0, &length));
    NULLS(fedhds_adapter_values(adapter, NULL, 0, NULL));
    NULLS(fedhds_adapter_with_values(NULL, &value, 1, &a));
    NULLS(fedhds_adapter_with_values(adapter, NULL, 1, &a));
    NULLS(fedhds_adapter_with_values(adapter, &value, 1, NULL));
    NULLS(fedhds_server_receive(r.server, 0, NULL, 1));
    CHECK(t == NULL && s == NULL && length == 0);
    NULLS(fedhds_server_finish_round(NULL, &a, &b));
    NULLS(fedhds_server_finish_round(r.server, NULL, &b));
    NULLS(fedhds_server_finish_round(r.server, &a, NULL));
    OK(fedhds_model_free(NULL));
    OK(fedhds_adapter_free(NULL));
    OK(fedhds_trained_free(NULL));
    CHECK(m == NULL && a == NULL && t == NULL && x == NULL && b == NULL && c == NULL && round == 77 && count == 77 &&
          equal);
}

static void foreign_handles(void) {
    fedhds_adapter_t *freed = NULL, *a = NULL;
    fedhds_matrix_t* x = NULL;
    fedhds_bytes_t* b = NULL;
    fedhds_trained_t* t = NULL;
    fedhds_model_info_t info;
    bool equal = false;
    OK(fedhds_trained_adapter(trained, &freed));
    OK(fedhds_adapter_free(freed));
    const uintptr_t made_up = 0x7000;
    const void* const strange[] = {freed, records, (const void*)made_up};
    for (size_t i = 0; i < 3; ++i) {
        void* h = (void*)(uintptr_t)strange[i];
        INVALID(fedhds_adapter_free(h));
        INVALID(fedhds_model_free(h));
        INVALID(fedhds_trained_free(h));
        INVALID(fedhds_model_info(h, &info));
        INVALID(fedhds_model_features(h, records, NULL, NULL, &features_config, NULL, &x));
        INVALID(fedhds_model_features(model, records, h, NULL, &features_config, NULL, &x));
        INVALID(fedhds_model_features(model, records, NULL, NULL, &features_config, h, &x));
        INVALID(fedhds_model_generate(model, h, "a", 1, NULL, &b));
        INVALID(fedhds_model_evaluate(model, h, records, NULL, 0, 0, NULL, &b));
        INVALID(fedhds_model_train(model, h, records, NULL, &train, 1, NULL, &t));
        INVALID(fedhds_model_train(model, adapter, records, NULL, &train, 1, h, &t));
        INVALID(fedhds_trained_adapter(h, &a));
        INVALID(fedhds_client_update(r.client, r.order.data, r.order.length, chosen, chosen_count, h, &b));
        INVALID(fedhds_adapter_equal(adapter, h, &equal));
        INVALID(fedhds_adapter_values(h, NULL, 0, &(size_t){0}));
        INVALID(fedhds_adapter_with_values(h, NULL, 0, &a));
        INVALID(fedhds_trained_new(h, NULL, 0, 0, 0, &t));
        INVALID(fedhds_adapter_save(h, out, NULL));
        INVALID(fedhds_adapter_save_gguf(adapter, h, "x"));
        INVALID(fedhds_adapter_encode(h, 0, &b));
    }
    INVALID(fedhds_model_features(model, (const fedhds_records_t*)model, NULL, NULL, &features_config, NULL, &x));
    CHECK(a == NULL && x == NULL && b == NULL && t == NULL);
}

static void wrong_values(void) {
    fedhds_model_t* m = NULL;
    fedhds_adapter_t* a = NULL;
    fedhds_trained_t* t = NULL;
    fedhds_matrix_t* x = NULL;
    fedhds_bytes_t* b = NULL;
    OK(fedhds_device_check("cpu"));
    FAILS(FEDHDS_STATUS_DEVICE, fedhds_device_check("cuda:63"));
    CHECK(fedhds_device_check("abacus") != FEDHDS_STATUS_OK);
    FAILS(FEDHDS_STATUS_DEVICE, fedhds_model_load(folder, "cuda:63", &m));
    CHECK(fedhds_model_load("/absent/folder", NULL, &m) != FEDHDS_STATUS_OK);
    CHECK(fedhds_model_load(out, NULL, &m) != FEDHDS_STATUS_OK);
    const char* file = path_of("broken.gguf");
    write_file(file, "GGUF\x03");
    CHECK(fedhds_model_load(file, NULL, &m) != FEDHDS_STATUS_OK);
    SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_model_load("\xFF", NULL, &m));
    SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_model_load(folder, "\xFF", &m));
    SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_device_check("\xFF"));
    SAYS(FEDHDS_STATUS_PARAMETER, "UTF-8", fedhds_model_load_with(folder, NULL, "\xFF", &m));
    SAYS(FEDHDS_STATUS_PARAMETER, "`f32` or `int8`", fedhds_model_load_with(folder, NULL, "int4", &m));
    SAYS(FEDHDS_STATUS_MODEL, "int8", fedhds_model_load_with(folder, NULL, "int8", &m));
    CHECK(m == NULL);
    fedhds_model_info_t info;
    OK(fedhds_model_load_with(folder, "cpu", "f32", &m));
    OK(fedhds_model_info(m, &info));
    CHECK(info.layers > 0 && info.causal);
    OK(fedhds_model_free(m));
    m = NULL;

    const int32_t unknown[] = {-1, 2, INT32_MAX};
    const fedhds_features_config_t good = features_config;
    for (size_t i = 0; i < 3; ++i) {
        features_config.layers = unknown[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "layers",
            fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x));
        features_config = good, features_config.pooling = unknown[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "pooling",
            fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x));
        features_config = good;
        const int32_t flavor = unknown[i] == 2 ? 3 : unknown[i];
        SAYS(FEDHDS_STATUS_PARAMETER, "flavor", fedhds_model_evaluate(model, NULL, records, NULL, 0, flavor, NULL, &b));
    }
    const size_t sizes[] = {0, 7, 5000};
    for (size_t i = 0; i < 3; ++i) {
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_features_config_init(&features_config, sizes[i]));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_train_config_init(&train, sizes[i]));
        features_config.struct_size = train.struct_size = sizes[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_init_adapter(model, &train, 1, &a));
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t));
    }
    features_config = good;
    train.struct_size = sizeof train;
    // A size that ends within a field.
    train.struct_size = offsetof(fedhds_train_config_t, target_modules) + 3;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_init_adapter(model, &train, 1, &a));
    train.struct_size = sizeof train;

    features_config.max_tokens = 2;
    FAILS(FEDHDS_STATUS_INPUT, fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x));
    features_config.max_tokens = 0;
    CHECK(fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x) != FEDHDS_STATUS_PANIC);
    features_config.max_tokens = SIZE_MAX, features_config.batch_tokens = SIZE_MAX;
    OK(fedhds_model_features(model, records, NULL, "raw", &features_config, NULL, &x));
    OK(fedhds_matrix_free(x));
    x = NULL;
    features_config = good;

    const fedhds_train_config_t paper = train;
    const double bad[] = {NAN, INFINITY, 0, -1};
    for (size_t i = 0; i < 4; ++i) {
        train = paper, train.learning_rate = bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t));
        train = paper, train.lora_alpha = (float)bad[i];
        CHECK(fedhds_model_init_adapter(model, &train, 1, &a) != FEDHDS_STATUS_PANIC);
        OK(fedhds_adapter_free(a));
        a = NULL;
        train = paper, train.lora_dropout = bad[i] == 0 ? 1.0f : (float)bad[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_init_adapter(model, &train, 1, &a));
    }
    // The setting and its value, in the words of a configuration file and of Python.
#define WRONG(setting, value, message)                                                                              \
    do {                                                                                                            \
        train = paper, train.setting = (value);                                                                     \
        SAYS(FEDHDS_STATUS_PARAMETER, message, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t)); \
    } while (0)
    WRONG(learning_rate, NAN, "learning_rate: expected a number above 0, got nan");
    WRONG(learning_rate, INFINITY, "learning_rate: expected a number above 0, got inf");
    WRONG(learning_rate, 0, "learning_rate: expected a number above 0, got 0.0");
    WRONG(max_grad_norm, NAN, "max_grad_norm: expected a number above 0, got nan");
    WRONG(max_grad_norm, -1, "max_grad_norm: expected a number above 0, got -1.0");
    WRONG(batch_size, 0, "batch_size: expected a whole number of at least 1, got 0");
    WRONG(local_epochs, 0, "local_epochs: expected a whole number of at least 1, got 0");
    WRONG(gradient_accumulation_steps, 0, "gradient_accumulation_steps: expected a whole number of at least 1, got 0");
    WRONG(max_tokens, 1, "max_tokens: expected a whole number of at least 2, got 1");
    WRONG(gradient_checkpointing, 2, "gradient_checkpointing: expected 0 or 1, got 2");
    WRONG(r, 0, "r: expected a whole number from 1 to 16384, got 0");
    WRONG(lora_alpha, NAN, "lora_alpha: expected a number above 0, got nan");
    WRONG(lora_dropout, 1, "lora_dropout: expected a number in [0, 1), got 1.0");
    WRONG(use_rslora, 2, "use_rslora: expected 0 or 1, got 2");
#undef WRONG
    features_config.max_tokens = 0;
    SAYS(FEDHDS_STATUS_PARAMETER, "max_tokens: expected a whole number of at least 1, got 0",
        fedhds_model_features(model, records, NULL, NULL, &features_config, NULL, &x));
    features_config = good;
    const size_t counts[] = {0, SIZE_MAX / 1024, SIZE_MAX};
    for (size_t i = 0; i < 3; ++i) {
        train = paper, train.r = counts[i];
        FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_init_adapter(model, &train, 1, &a));
    }
    train = paper, train.batch_size = 0;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t));
    train = paper, train.local_epochs = 0;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t));
    train = paper, train.gradient_accumulation_steps = 0;
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_train(model, adapter, records, NULL, &train, 1, NULL, &t));
    train = paper;
    static const char* const modules[] = {"nowhere", "q_proj,nowhere", "q_proj v_proj", "\xFF"};
    for (size_t i = 0; i < 4; ++i) {
        train.target_modules = modules[i];
        CHECK(fedhds_model_init_adapter(model, &train, 1, &a) != FEDHDS_STATUS_OK);
    }
    train = paper;

    CHECK(
        fedhds_model_features(model, records, NULL, "no template", &features_config, NULL, &x) == FEDHDS_STATUS_CONFIG);
    CHECK(fedhds_model_features(model, records, NULL, "{\"custom\": 1}", &features_config, NULL, &x) ==
          FEDHDS_STATUS_CONFIG);
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_features(model, records, NULL, "\xFF", &features_config, NULL, &x));
    FAILS(FEDHDS_STATUS_PARAMETER, fedhds_model_generate(model, NULL, "\xFF", 1, NULL, &b));
    CHECK(fedhds_model_generate(model, NULL, "", 1, NULL, &b) != FEDHDS_STATUS_PANIC);
    OK(fedhds_bytes_free(b));
    b = NULL;
    if (!quick) {
        CHECK(fedhds_model_generate(model, NULL, "The", SIZE_MAX, NULL, &b) != FEDHDS_STATUS_PANIC);
        OK(fedhds_bytes_free(b));
        b = NULL;
    }
    fedhds_records_t* nobody = NULL;
    OK(fedhds_records_new(&nobody));
    CHECK(fedhds_model_features(model, nobody, NULL, NULL, &features_config, NULL, &x) != FEDHDS_STATUS_PANIC);
    OK(fedhds_matrix_free(x));
    CHECK(fedhds_model_train(model, adapter, nobody, NULL, &train, 1, NULL, &t) != FEDHDS_STATUS_PANIC);
    OK(fedhds_trained_free(t));
    CHECK(fedhds_model_evaluate(model, NULL, nobody, NULL, 0, 0, NULL, &b) != FEDHDS_STATUS_PANIC);
    OK(fedhds_bytes_free(b));
    OK(fedhds_records_free(nobody));
    CHECK(m == NULL && a == NULL);
}

// --- cancelling and progress from work on a model; log lines

typedef struct {
    atomic_int events, lines;
    fedhds_control_t* control;
} heard_t;

static void on_progress(const char* stage, int32_t event, uint64_t units, void* user_data) {
    heard_t* heard = user_data;
    (void)stage, (void)units;
    atomic_fetch_add(&heard->events, 1);
    if (event == 1) OK(fedhds_control_cancel(heard->control));  // as soon as a unit is done
}

static void on_log(int32_t level, const char* target, const char* message, void* user_data) {
    heard_t* heard = user_data;
    CHECK(level >= 1 && level <= 5 && target[0] != '\0' && message[0] != '\0');
    if (strstr(message, "left out") != NULL) atomic_fetch_add(&heard->lines, 1);
}

static void watched(void) {
    heard_t heard;
    memset(&heard, 0, sizeof heard);
    fedhds_trained_t* t = NULL;
    fedhds_matrix_t* x = NULL;
    OK(fedhds_control_new(&heard.control));
    OK(fedhds_control_set_progress(heard.control, on_progress, &heard));
    FAILS(FEDHDS_STATUS_CANCELLED, fedhds_model_train(model, adapter, records, "short", &train, 1, heard.control, &t));
    CHECK(t == NULL && atomic_load(&heard.events) >= 2);
    FAILS(FEDHDS_STATUS_CANCELLED,
        fedhds_model_features(model, records, NULL, "short", &features_config, heard.control, &x));
    OK(fedhds_control_free(heard.control));

    // A setting of an adapter that nobody knows is an error that names it.
    char path[4096];
    fedhds_adapter_t *after = NULL, *read = NULL;
    OK(fedhds_trained_adapter(trained, &after));
    OK(fedhds_adapter_save(after, path_of("strange"), NULL));
    CHECK(snprintf(path, sizeof path, "%s/strange/adapter_config.json", out) < (int)sizeof path);
    write_file(path,
        "{\"peft_type\": \"LORA\", \"r\": 1, \"lora_alpha\": 16, \"target_modules\": [\"q_proj\"], \"surprise\": 1}");
    SAYS(FEDHDS_STATUS_ADAPTER, "surprise", fedhds_adapter_load(path_of("strange"), &read));
    CHECK(read == NULL);

    // A client that sends nonsense is worth a line, and only where one listens for warnings.
    const uint32_t clients[] = {0};
    const int32_t levels[] = {1, 2, 5};
    fedhds_server_t* server = NULL;
    OK(fedhds_server_new(r.method, 1, 5, &server));
    for (int i = 0; i < 3; ++i) {
        fedhds_bytes_t* start = NULL;
        OK(fedhds_server_begin_round(server, (uint32_t)i, clients, 1, NULL, &start));
        OK(fedhds_bytes_free(start));
        OK(fedhds_set_log(levels[i], on_log, &heard));
        CHECK(fedhds_server_receive(server, 0, (const uint8_t*)"nonsense", 8) == FEDHDS_STATUS_PROTOCOL);
        CHECK(atomic_load(&heard.lines) == i);
        OK(fedhds_server_abandon_round(server));
    }
    OK(fedhds_server_free(server));
    OK(fedhds_set_log(5, NULL, NULL));
    OK(fedhds_adapter_free(after));
}

// --- damaged updates and adapters

static message_t update_of(void) {
    fedhds_bytes_t* bytes = NULL;
    OK(fedhds_client_update(r.client, r.order.data, r.order.length, chosen, chosen_count, trained, &bytes));
    return taken(bytes);
}

static void try_update(const message_t* state, const uint8_t* data, size_t length, bool must_fail) {
    uint8_t* copy = malloc(length == 0 ? 1 : length);
    CHECK(copy != NULL);
    if (length > 0) memcpy(copy, data, length);
    fedhds_server_t* server = NULL;
    fedhds_adapter_t* joined = NULL;
    OK(fedhds_server_new(r.method, 1, 5, &server));
    OK(fedhds_server_resume(server, state->data, state->length, adapter));
    const fedhds_status_t status = fedhds_server_receive(server, 0, copy, length);
    CHECK(status != FEDHDS_STATUS_PANIC && (!must_fail || status == FEDHDS_STATUS_PROTOCOL));
    fedhds_bytes_t* report = NULL;
    CHECK(fedhds_server_finish_round(server, &joined, &report) != FEDHDS_STATUS_PANIC);
    OK(fedhds_bytes_free(report));
    OK(fedhds_adapter_free(joined));
    OK(fedhds_server_free(server));
    free(copy);
}

static void try_adapter(const uint8_t* data, size_t length, bool must_fail, bool message, const char* config) {
    uint8_t* copy = malloc(length == 0 ? 1 : length);
    CHECK(copy != NULL);
    if (length > 0) memcpy(copy, data, length);
    fedhds_adapter_t* read = NULL;
    uint32_t round = 0;
    const fedhds_status_t status = message ? fedhds_adapter_decode(copy, length, &read, &round)
                                           : fedhds_adapter_from_bytes(copy, length, config, &read);
    CHECK(status != FEDHDS_STATUS_PANIC && !(must_fail && status == FEDHDS_STATUS_OK));
    CHECK((status == FEDHDS_STATUS_OK) == (read != NULL));
    OK(fedhds_adapter_free(read));
    free(copy);
}

static void damage(void) {
    fedhds_bytes_t *bytes = NULL, *config = NULL;
    fedhds_adapter_t* after = NULL;
    OK(fedhds_server_state(r.server, &bytes));
    message_t state = taken(bytes), update = update_of();
    OK(fedhds_trained_adapter(trained, &after));
    OK(fedhds_adapter_encode(after, 0, &bytes));
    message_t global = taken(bytes);
    OK(fedhds_adapter_to_bytes(after, &bytes, &config));
    message_t tensors = taken(bytes);
    const uint8_t* json = NULL;
    size_t json_length = 0;
    OK(fedhds_bytes_view(config, &json, &json_length));

    // Header, names and the first values one by one; of the values behind them, which are all alike, some.
    const size_t dense = quick ? 64 : 700, sparse = quick ? 997 : 61;
    const message_t* all[] = {&update, &global, &tensors};
    for (int which = 0; which < 3; ++which) {
        const message_t* whole = all[which];
        for (size_t at = 0; at < whole->length; at += at < dense ? 1 : sparse) {
            uint8_t* changed = malloc(whole->length);
            CHECK(changed != NULL);
            memcpy(changed, whole->data, whole->length);
            static const uint8_t flips[] = {0x01, 0x80, 0xFF};
            for (int i = 0; i < (quick ? 1 : 3); ++i) {
                changed[at] = whole->data[at] ^ flips[i];
                if (which == 0) try_update(&state, changed, whole->length, false);
                if (which == 1) try_adapter(changed, whole->length, false, true, NULL);
                if (which == 2) try_adapter(changed, whole->length, false, false, (const char*)json);
            }
            free(changed);
            if (which == 0) try_update(&state, whole->data, at, true);
            if (which == 1) try_adapter(whole->data, at, true, true, NULL);
            if (which == 2) try_adapter(whole->data, at, true, false, (const char*)json);
        }
    }
    static const char* const configs[] = {"", "{", "{}", "[]", "{\"r\": 0}", "{\"r\": 18446744073709551615}", "\xFF"};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; ++i)
        try_adapter(tensors.data, tensors.length, false, false, configs[i]);

    // The round of the others: an update once, then no more; the joined adapter is the one that came.
    fedhds_adapter_t* joined = NULL;
    bool equal = false;
    NULLS(fedhds_server_receive(NULL, 0, update.data, update.length));
    OK(fedhds_server_receive(r.server, 0, update.data, update.length));
    SAYS(FEDHDS_STATUS_PROTOCOL, "second", fedhds_server_receive(r.server, 0, update.data, update.length));
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_state(r.server, &bytes));
    fedhds_bytes_t* report = NULL;
    OK(fedhds_server_finish_round(r.server, &joined, &report));
    OK(fedhds_adapter_equal(joined, after, &equal));
    CHECK(equal);
    message_t said = taken(report);
    report = NULL;
    said.data = realloc(said.data, said.length + 1);
    CHECK(said.data != NULL);
    said.data[said.length] = '\0';
    CHECK(strstr((const char*)said.data, "\"trained\":{\"0\":6}") != NULL);
    // The second update was refused, and the first one counts.
    CHECK(strstr((const char*)said.data, "\"left_out\":{\"0\":") != NULL);
    free(said.data);
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_finish_round(r.server, &joined, &report));
    CHECK(report == NULL);
    FAILS(FEDHDS_STATUS_PROTOCOL, fedhds_server_receive(r.server, 0, update.data, update.length));
    OK(fedhds_adapter_free(joined));
    // A round without updates leaves the adapter as it was.
    joined = after;
    const uint32_t number = 0;
    OK(fedhds_server_begin_round(r.server, 1, &number, 1, adapter, &bytes));
    OK(fedhds_bytes_free(bytes));
    OK(fedhds_server_select(r.server, NULL));
    OK(fedhds_server_finish_round(r.server, &joined, &bytes));
    OK(fedhds_bytes_free(bytes));
    CHECK(joined == NULL);

    OK(fedhds_bytes_free(config));
    OK(fedhds_adapter_free(after));
    free(state.data);
    free(update.data);
    free(global.data);
    free(tensors.data);
}

static void* extract(void* place) {
    OK(fedhds_model_features(model, records, adapter, "short", &features_config, NULL, place));
    return NULL;
}

// One model, two threads.
static void two_threads(void) {
    pthread_t threads[2];
    fedhds_matrix_t* made[2] = {NULL, NULL};
    fedhds_matrix_view_t views[2];
    for (int i = 0; i < 2; ++i) CHECK(pthread_create(&threads[i], NULL, extract, &made[i]) == 0);
    for (int i = 0; i < 2; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 2; ++i) OK(fedhds_matrix_view(made[i], &views[i]));
    CHECK(memcmp(views[0].data, views[1].data, views[0].rows * views[0].cols * sizeof(float)) == 0);
    for (int i = 0; i < 2; ++i) OK(fedhds_matrix_free(made[i]));
}

int main(int count, char** arguments) {
    CHECK(count >= 3);
    folder = arguments[1], out = arguments[2], quick = count > 3;
    CHECK(fedhds_has_models());
    OK(fedhds_model_load(folder, NULL, &model));
    OK(fedhds_records_new(&records));
    OK(fedhds_records_add(records, "a", "What does the cat say?", NULL, "meow", "sounds"));
    OK(fedhds_records_add(records, "b", "What does the dog say?", NULL, "woof", "sounds"));
    OK(fedhds_records_add(records, "c", "Add the numbers.", "1 and 2", "3", "sums"));
    OK(fedhds_records_add(records, "d", "Add the numbers.", "2 and 2", "4", "sums"));
    OK(fedhds_features_config_init(&features_config, sizeof features_config));
    OK(fedhds_train_config_init(&train, sizeof train));
    CHECK(train.r == 8 && train.lora_alpha == 16 && train.learning_rate == 3e-4 && train.target_modules == NULL);
    train.r = 1, train.target_modules = "q_proj", train.learning_rate = 1e-3;
    OK(fedhds_model_init_adapter(model, &train, 1, &adapter));
    OK(fedhds_model_train(model, adapter, records, "short", &train, 1, NULL, &trained));
    round_from(COVERAGE, adapter, &r);
    OK(fedhds_client_choose(r.client, r.order.data, r.order.length, NULL, chosen, ROWS, &chosen_count));

    features();
    texts();
    adapters();
    nulls();
    foreign_handles();
    wrong_values();
    watched();
    damage();
    two_threads();

    round_free(&r);
    OK(fedhds_trained_free(trained));
    OK(fedhds_adapter_free(adapter));
    OK(fedhds_records_free(records));
    OK(fedhds_model_free(model));
    return DONE;
}
