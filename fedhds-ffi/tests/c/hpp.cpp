// fedhds.hpp: owners, views, results, lambdas, exceptions.
//
// `hpp FOLDER OUT` with the folder of the embedded model and an empty folder; `hpp` alone leaves out what needs a
// model.

#include "check.h"

#include <fedhds.hpp>

#include <array>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using fedhds::Error;
using fedhds::Result;

constexpr std::uint64_t seed = 5;
const char* const coverage = "preset = \"fedhds_coverage\"\ncount = { budget = 4 }\nclient = { shared_dims = 4 }";

std::vector<std::vector<float>> rows_of(unsigned client) {
    std::vector<std::vector<float>> rows;
    for (unsigned i = 0; i < 18; ++i) {
        const auto wobble = static_cast<float>((i * 7 + client * 3) % 5) / 10;
        rows.push_back({i % 3 == 0 ? 9.0F : wobble, i % 3 == 1 ? 9.0F : wobble, i % 3 == 2 ? 9.0F : wobble, wobble});
    }
    return rows;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The error that a call throws; the call must fail.
template <class Call>
Error thrown(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error;
    }
    check_failed(__FILE__, __LINE__, "expected an exception");
    std::abort();
}

template <class T>
constexpr bool moves_only = std::is_nothrow_move_constructible_v<T>&& std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(moves_only<fedhds::Bytes> && moves_only<fedhds::Matrix> && moves_only<fedhds::Clustering>);
static_assert(moves_only<fedhds::Control> && moves_only<fedhds::Method> && moves_only<fedhds::Client>);
static_assert(moves_only<fedhds::Server> && moves_only<fedhds::Records>);
static_assert(moves_only<fedhds::TextFeatures> && moves_only<fedhds::NearCopies>);
#if defined(FEDHDS_MODELS)
static_assert(moves_only<fedhds::Model> && moves_only<fedhds::Adapter> && moves_only<fedhds::Trained>);
#endif

void results() {
    const Result<fedhds::Method> bad = fedhds::Method::create("preset = \"nowhere\"");
    CHECK(!bad && !bad.has_value() && bad.error().status() == FEDHDS_STATUS_CONFIG);
    CHECK(contains(bad.error().what(), "nowhere") && std::string(bad.error().name()) == "FEDHDS_STATUS_CONFIG");
    const Error error = thrown([&] { static_cast<void>(bad.value()); });
    CHECK(error.status() == FEDHDS_STATUS_CONFIG && std::string(error.what()) == bad.error().what());
    // What happens later on this thread does not change an error that was kept.
    CHECK(!fedhds::Method::create("preset = \"elsewhere\""));
    CHECK(contains(bad.error().what(), "nowhere"));

    Result<std::size_t> threads = fedhds::threads();
    CHECK(threads && *threads >= 1 && threads.value() == *threads);
    CHECK(Result<int>(Error(FEDHDS_STATUS_INPUT, "no")).value_or(7) == 7 && Result<int>(3).value_or(7) == 3);
    const Result<void> done;
    done.value();
    CHECK(thrown([] { fedhds::set_threads(0).value(); }).status() == FEDHDS_STATUS_PARAMETER);
    CHECK(fedhds::version() == fedhds_version());
    // A text with a NUL inside is not cut off there.
    CHECK(thrown([] { fedhds::Method::create(std::string("preset = \"random\"\0x", 19)).value(); }).status() ==
          FEDHDS_STATUS_PARAMETER);
}

void views() {
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    const fedhds::MatrixView view = fedhds::MatrixView::of(values, 3).value();
    CHECK(view.rows() == 2 && view.cols() == 3 && view(1, 0) == 4 && view.row(1)[2] == 6);
    CHECK(fedhds::MatrixView::of(values, 4).error().status() == FEDHDS_STATUS_INPUT);
    CHECK(!fedhds::MatrixView::of(values, 0) && fedhds::MatrixView::of({}, 0)->rows() == 0);
    const fedhds::MatrixView strided(values.data() + 1, 2, 2, 3);
    CHECK(strided(1, 1) == 6);
    const fedhds::PackedRows packed = fedhds::PackedRows::of({{1, 2}, {3, 4}, {5, 6}}).value();
    CHECK(fedhds::MatrixView(packed).rows() == 3 && fedhds::MatrixView(packed)(2, 1) == 6);
    CHECK(contains(fedhds::PackedRows::of({{1, 2}, {3}}).error().what(), "row 1"));
    const std::array<float, 4> array = {1, 2, 3, 4};
    const float plain[] = {1, 2};
    CHECK(fedhds::MatrixView::of(array, 2)->rows() == 2 && fedhds::Span<const float>(plain).size() == 2);
    float sum = 0;
    for (const float value : view.row(0)) sum += value;
    CHECK(sum == 6);
}

void numerics() {
    const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(0)).value();
    fedhds::KMeansConfig kmeans;
    CHECK(kmeans.n_init == 10 && kmeans.tol == 1e-4 && kmeans.struct_size == sizeof(fedhds_kmeans_config_t));
    kmeans.n_clusters = 3;
    const fedhds::Clustering groups = fedhds::kmeans(rows, kmeans, 1).value();
    const std::vector<std::int32_t> labels = groups.labels().value();
    CHECK(labels.size() == 18 && labels[0] == labels[3] && labels[0] != labels[1]);
    CHECK(groups.probabilities()->size() == 18 && groups.centroids()->rows() == 3);

    const std::vector<std::uint32_t> nearest =
        fedhds::select(fedhds::Selector::nearest_centroid, rows, fedhds::Budget::per_cluster(2), 1, {{}, {}, &groups})
            .value();
    CHECK(nearest.size() == 6);
    const std::vector<float> weights(18, 2.0F);
    std::vector<std::uint32_t> owners(18, 0);
    owners[4] = 1;
    CHECK(fedhds::select(fedhds::Selector::stratified, rows, fedhds::Budget::total(2), 1, {weights, owners})->size() ==
          2);
    CHECK(fedhds::select(fedhds::Selector::random, rows, fedhds::Budget::total(100), 1)->size() == 18);
    const std::vector<float> few = {1, 2};
    CHECK(fedhds::select(fedhds::Selector::random, rows, fedhds::Budget::total(1), 1, {few}).error().status() ==
          FEDHDS_STATUS_INPUT);

    fedhds::HdbscanConfig hdbscan;
    CHECK(fedhds::hdbscan(rows, hdbscan)->labels()->size() == 18);
    hdbscan.cluster_selection_method = fedhds::HdbscanConfig::leaf;
    CHECK(fedhds::hdbscan(rows, hdbscan)->labels()->size() == 18);
    hdbscan.min_cluster_size = 1;
    CHECK(fedhds::hdbscan(rows, hdbscan).error().status() == FEDHDS_STATUS_PARAMETER);
    CHECK(fedhds::layer_norm(rows, 2)->cols() == 4);
    fedhds::Matrix reduced = fedhds::pca(rows, 2).value();
    CHECK(reduced.rows() == 18 && reduced.cols() == 2 && reduced.to_vector().size() == 36);
    const fedhds::Pca pca = fedhds::Pca::fit(rows, 2).value();
    const std::vector<float> own = reduced.to_vector(), again = pca.transform(rows)->to_vector();
    CHECK(again.size() == own.size());
    for (std::size_t i = 0; i < own.size(); ++i) CHECK(std::abs(again[i] - own[i]) < 1e-3);
    CHECK(pca.components()->rows() == 2 && pca.components()->cols() == 4 && pca.mean()->size() == 4);
    CHECK(pca.explained_variance()->size() == 2 && pca.explained_variance_ratio()->at(0) <= 1);
    CHECK(pca.transform(reduced).error().status() == FEDHDS_STATUS_INPUT);
    CHECK(fedhds::Pca::fit(rows, 0).error().status() == FEDHDS_STATUS_PARAMETER);
    CHECK(fedhds::shared_projection(reduced, 1, seed)->cols() == 1);
    const fedhds::Matrix moved = std::move(reduced);
    CHECK(moved.rows() == 18 && reduced.rows() == 0 && reduced.raw() == nullptr);
    fedhds::KernelPcaConfig kernel;
    kernel.kernel = fedhds::KernelPcaConfig::cosine;
    CHECK(fedhds::kernel_pca(rows, kernel)->cols() == 2);
    fedhds::TsneConfig tsne;
    tsne.max_iter = 250;
    tsne.perplexity_limit = fedhds::TsneConfig::rows;
    CHECK(fedhds::tsne(rows, tsne, 1)->to_vector() == fedhds::tsne(rows, tsne, 1)->to_vector());

    const fedhds::Rouge rouge = fedhds::rouge_l("a b", {"c", "a b"}).value();
    CHECK(std::abs(rouge.f1 - 1) < 1e-6);
    CHECK(fedhds::rouge_l("a", {}, fedhds::RougeFlavor::rouge_score).error().status() == FEDHDS_STATUS_INPUT);
    CHECK(!fedhds::rouge_l("a", {std::string("b\0c", 3)}));
}

// A round of two clients; what each chose.
std::vector<std::vector<std::uint32_t>> round_of(const fedhds::Method& method) {
    fedhds::Server server = fedhds::Server::create(method, 1, seed).value();
    const fedhds::Bytes start = server.begin_round(0, {0, 1}).value();
    CHECK(fedhds::message_kind(start).value() == fedhds::MessageKind::round_start);
    std::vector<fedhds::Client> clients;
    for (std::uint32_t number = 0; number < 2; ++number) {
        clients.push_back(fedhds::Client::create(number, method, 1, seed).value());
        const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(number)).value();
        server.receive(number, clients.back().summarize(start, rows).value()).value();
    }
    server.select().value();
    CHECK(!server.selection()->empty());
    std::vector<std::vector<std::uint32_t>> chosen;
    for (std::uint32_t number = 0; number < 2; ++number) {
        const fedhds::Order order = server.order(number).value();
        // It goes on in another object, as it would in another process.
        fedhds::Client later = fedhds::Client::create(number, method, 1, seed).value();
        later.resume(clients[number].state().value()).value();
        CHECK(later.groups()->size() == 18);
        chosen.push_back(later.choose(order.message).value());
        CHECK(chosen.back().size() == order.records);
        later.mark_trained(chosen.back()).value();
    }
    server.abandon_round().value();
    return chosen;
}

void rounds() {
    const fedhds::Method method = fedhds::Method::create(coverage).value();
    CHECK(contains(method.settings()->to_string(), "fedhds_coverage"));
    const auto chosen = round_of(method);
    CHECK(chosen[0].size() + chosen[1].size() == 4);
    CHECK(chosen == round_of(method));

    fedhds::Client client = fedhds::Client::create(0, method, 1, seed).value();
    const std::vector<std::uint8_t> nonsense = {1, 2, 3};
    const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(0)).value();
    CHECK(client.summarize(nonsense, rows).error().status() == FEDHDS_STATUS_PROTOCOL);
    CHECK(client.choose(nonsense).error().status() == FEDHDS_STATUS_PROTOCOL);
    fedhds::Client moved = std::move(client);
    CHECK(client.state().error().status() == FEDHDS_STATUS_NULL_POINTER && moved.state());

    const fedhds::Method random =
        fedhds::Method::create("{\"preset\": \"random\", \"count\": {\"budget\": 3}}").value();
    fedhds::Server server = fedhds::Server::create(random, 1, seed).value();
    const fedhds::Bytes start = server.begin_round(0, {7}).value();
    fedhds::Client counting = fedhds::Client::create(7, random, 1, seed).value();
    server.receive(7, counting.summarize(start, 10).value()).value();
    fedhds::Server resumed = fedhds::Server::create(random, 1, seed).value();
    resumed.resume(server.state().value()).value();
    resumed.select().value();
    CHECK(resumed.order(7)->records == 3);
}

// A lambda that can only be moved, and that lives as long as what was made of the method.
void own_stages() {
    struct Guard {
        std::atomic<int>* alive;
        explicit Guard(std::atomic<int>* count) : alive(count) { ++*alive; }
        Guard(Guard&& other) noexcept : alive(std::exchange(other.alive, nullptr)) {}
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        Guard& operator=(Guard&&) = delete;
        ~Guard() {
            if (alive != nullptr) --*alive;
        }
    };
    std::atomic<int> alive{0}, calls{0};
    {
        std::vector<fedhds::Client> clients;
        fedhds::Server server = [&] {
            fedhds::Method method = fedhds::Method::create(coverage).value();
            auto two = [guard = Guard(&alive), &calls](const fedhds::Rows& from, std::size_t wanted, std::uint64_t,
                           fedhds::Span<std::int32_t> labels) {
                ++calls;
                CHECK(from.points().rows() == labels.size() && guard.alive != nullptr && wanted == 0);
                CHECK(from.weights().empty() && from.owners().empty() && from.scores() == 0);
                for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 2);
            };
            method.set_clusterer("client.clusterer", std::move(two)).value();
            method
                .set_reducer("client.reducer", 2,
                    [](fedhds::MatrixView from, std::uint64_t, fedhds::Span<float> to) {
                        for (std::size_t i = 0; i < from.rows(); ++i)
                            to[2 * i] = from(i, 0), to[2 * i + 1] = from(i, 1);
                    })
                .value();
            method
                .set_selector("server.selector", {},
                    [](const fedhds::Rows& from, fedhds::Wanted wanted, std::uint64_t,
                        fedhds::Span<std::uint32_t> to) {
                        CHECK(from.weights().size() == from.size() && from.owners().size() == from.size());
                        CHECK(from.labels().empty() && wanted.count == to.size() && wanted.per_cluster == 0);
                        for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::uint32_t>(i);
                    })
                .value();
            clients.push_back(fedhds::Client::create(0, method, 1, seed).value());
            return fedhds::Server::create(method, 1, seed).value();
        }();
        CHECK(alive == 1);
        const fedhds::Bytes start = server.begin_round(0, {0}).value();
        const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(0)).value();
        server.receive(0, clients[0].summarize(start, rows).value()).value();
        server.select().value();
        CHECK(calls == 1 && clients[0].choose(server.order(0)->message)->size() == 4);
    }
    CHECK(alive == 0);

    // What a stage throws, or returns as an error, is in the message of the call that failed.
    const auto message_of = [](auto&& set) {
        fedhds::Method method = fedhds::Method::create(coverage).value();
        set(method);
        return thrown([&] { round_of(method); });
    };
    using View = fedhds::MatrixView;
    using Labels = fedhds::Span<std::int32_t>;
    const Error by_exception = message_of([](fedhds::Method& method) {
        method
            .set_clusterer(
                "client.clusterer", [](const fedhds::Rows&, std::size_t, std::uint64_t, Labels) { throw std::runtime_error("it rains"); })
            .value();
    });
    CHECK(by_exception.status() == FEDHDS_STATUS_STAGE && contains(by_exception.what(), "client.clusterer"));
    CHECK(contains(by_exception.what(), "it rains"));
    const Error by_number = message_of([](fedhds::Method& method) {
        method
            .set_selector("server.selector", {},
                [](const fedhds::Rows&, fedhds::Wanted, std::uint64_t, fedhds::Span<std::uint32_t>) { throw 7; })
            .value();
    });
    CHECK(by_number.status() == FEDHDS_STATUS_STAGE && contains(by_number.what(), "server.selector"));
    const Error by_result = message_of([](fedhds::Method& method) {
        method
            .set_selector("client.selector", {},
                [](const fedhds::Rows&, fedhds::Wanted, std::uint64_t, fedhds::Span<std::uint32_t>) -> Result<void> {
                    return Error(FEDHDS_STATUS_INPUT, "no umbrella");
                })
            .value();
    });
    CHECK(by_result.status() == FEDHDS_STATUS_STAGE && contains(by_result.what(), "no umbrella"));
    // A stage may use the library itself.
    const Error inner = message_of([](fedhds::Method& method) {
        method
            .set_reducer("client.reducer", 1,
                [](View from, std::uint64_t, fedhds::Span<float>) { static_cast<void>(fedhds::pca(from, 0).value()); })
            .value();
    });
    CHECK(contains(inner.what(), "n_components"));
    fedhds::Method method = fedhds::Method::create(coverage).value();
    CHECK(method.set_clusterer("nowhere", [](const fedhds::Rows&, std::size_t, std::uint64_t, Labels) {}).error().status() ==
          FEDHDS_STATUS_PARAMETER);
}

// A memory of what was trained on: its first round's points, and what it is told to say of them.
class Points : public fedhds::Memory {
public:
    explicit Points(bool fails) : fails_(fails) {}

    Result<void> commit(fedhds::Span<const fedhds::TrainedGroup> groups) override {
        if (fails_) throw std::runtime_error("too full");
        for (const fedhds::TrainedGroup& group : groups) {
            points_.insert(points_.end(), group.centroid, group.centroid + group.dims);
            mass_.push_back(1000.0F * static_cast<float>(group.records));
        }
        return {};
    }
    Covered covered() override { return {fedhds::MatrixView(points_.data(), mass_.size(), 4), mass_}; }
    std::vector<std::uint8_t> state() override { return {static_cast<std::uint8_t>(mass_.size())}; }
    Result<void> resume(fedhds::BytesView state) override {
        if (state.size() != 1) return Error(FEDHDS_STATUS_INPUT, "no state of mine");
        resumed_ = state[0];
        return {};
    }
    std::size_t bound() const override { return 100; }

    std::size_t size() const { return mass_.size(); }
    int resumed() const { return resumed_; }

private:
    bool fails_;
    int resumed_ = -1;
    std::vector<float> points_, mass_;
};

// Scores, an upload stage and a memory of the program's own.
void own_method() {
    fedhds::Method method =
        fedhds::Method::create("preset = \"fedhds_coverage\"\ncount = { budget = 2 }\n"
                               "client = { shared_dims = 4, min_group_size = 1 }")
            .value();
    std::vector<std::uint8_t> drawn(9);
    method
        .set_upload([&](fedhds::Summary& summary, fedhds::Secret& secret) {
            summary.groups = std::min<std::size_t>(summary.groups, 2);
            secret.draw(drawn).value();
        })
        .value();
    std::size_t seen = 0;
    method
        .set_selector("client.selector", {},
            [&](const fedhds::Rows& from, fedhds::Wanted, std::uint64_t, fedhds::Span<std::uint32_t> to) {
                CHECK(from.scores() == 1 && from.score_name(0) == "loss");
                CHECK(from.score_values().rows() == from.size());
                for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::uint32_t>(i);
                ++seen;
            })
        .value();
    auto memory = std::make_shared<Points>(false);
    const std::weak_ptr<Points> alive = memory;
    method.set_memory(memory).value();
    CHECK(method.set_memory(nullptr).error().status() == FEDHDS_STATUS_NULL_POINTER);

    fedhds::Server server = fedhds::Server::create(method, 1, seed).value();
    fedhds::Client client = fedhds::Client::create(0, method, 1, seed).value();
    const std::vector<std::uint8_t> secret(32, 7);
    client.set_secret(secret).value();
    CHECK(client.set_secret({1, 2}).error().status() == FEDHDS_STATUS_INPUT);
    const fedhds::Bytes start = server.begin_round(0, {0}).value();
    const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(0)).value();
    const std::vector<float> losses(18, 0.5F);
    const fedhds::Scores scores({"loss"}, fedhds::MatrixView::of(losses, 1).value());
    CHECK(client.summarize(start, rows, fedhds::Scores({}, scores.values())).error().status() == FEDHDS_STATUS_INPUT);
    const fedhds::Bytes summary = client.summarize(start, rows, scores).value();
    CHECK(drawn != std::vector<std::uint8_t>(9));
    // It speaks for nobody else, and whoever is refused is named; the round goes on.
    const Result<void> refused = server.receive(1, summary);
    CHECK(refused.error().status() == FEDHDS_STATUS_PROTOCOL && contains(refused.error().what(), "client 1"));
    server.receive(0, summary).value();
    server.select().value();
    CHECK(server.selection()->size() == 2);
    CHECK(client.choose(server.order(0)->message)->size() == 2 && seen > 0);
    server.leave_out(0, "its battery is empty").value();
    const fedhds::Bytes report = server.end_round(std::vector<fedhds::Server::TrainedRecords>{{0, 2}}).value();
    CHECK(contains(report.to_string(), "battery") && contains(report.to_string(), "\"trained\":{\"0\":2}"));
    CHECK(memory->size() > 0);

    fedhds::Server later = fedhds::Server::create(method, 1, seed).value();
    later.resume(server.state().value()).value();
    CHECK(memory->resumed() == static_cast<int>(memory->size()));
    memory.reset();
    CHECK(!alive.expired());

    fedhds::Method full = fedhds::Method::create(coverage).value();
    full.set_memory(std::make_shared<Points>(true)).value();
    fedhds::Server failing = fedhds::Server::create(full, 1, seed).value();
    static_cast<void>(failing.begin_round(0, {0}).value());
    failing.select().value();
    const Result<fedhds::Bytes> ended = failing.end_round({});
    CHECK(ended.error().status() == FEDHDS_STATUS_STAGE && contains(ended.error().what(), "too full"));
}

void controls() {
    const fedhds::PackedRows rows = fedhds::PackedRows::of(rows_of(0)).value();
    fedhds::TsneConfig tsne;
    tsne.max_iter = 250;
    fedhds::Control control = fedhds::Control::create().value();
    std::atomic<int> events{0};
    std::atomic<std::uint64_t> units{0};
    control
        .set_progress([&](std::string_view stage, fedhds::Progress event, std::uint64_t more) {
            CHECK(stage == "t-SNE");
            ++events;
            if (event == fedhds::Progress::advance) units += more;
        })
        .value();
    fedhds::Control moved = std::move(control);
    fedhds::tsne(rows, tsne, 1, &moved).value();
    CHECK(events > 2 && units == 250 && moved.progress_error().empty());
    // A listener that throws does not stop the work.
    moved.set_progress([](std::string_view, fedhds::Progress, std::uint64_t) { throw std::runtime_error("deaf"); })
        .value();
    fedhds::tsne(rows, tsne, 1, &moved).value();
    CHECK(moved.progress_error() == "deaf");
    moved.clear_progress().value();

    tsne.max_iter = 1000000000;
    std::atomic<bool> begun{false};
    moved.set_progress([&](std::string_view, fedhds::Progress, std::uint64_t) { begun = true; }).value();
    std::thread other([&] {
        while (!begun) std::this_thread::yield();
        moved.cancel().value();
    });
    CHECK(thrown([&] { fedhds::tsne(rows, tsne, 1, &moved).value(); }).status() == FEDHDS_STATUS_CANCELLED);
    other.join();
    fedhds::set_log(fedhds::Level::trace, [](fedhds::Level, std::string_view, std::string_view) {}).value();
    fedhds::clear_log().value();
}

void records() {
    fedhds::Records records = fedhds::Records::create().value();
    records.add({"a", "Say hi.", "", "hi", "greetings"}).value();
    records.add({"b", "Say bye.", "", "bye", "greetings"}).value();
    CHECK(records.add({"a", "Say hi.", "", "hi", ""}).error().status() == FEDHDS_STATUS_INPUT);
    CHECK(!records.add({std::string("c\0d", 3), "x", "", "y", ""}));
    CHECK(records.count().value() == 2 && contains(std::string(records.get(1)->text()), "Say bye."));
    CHECK(records.subset({1, 0, 1})->count().value() == 3);
    CHECK(records.part("{\"kind\": \"iid\", \"clients\": 2}", 1, 0)->count().value() == 1);
    CHECK(fedhds::Records::load("/absent.jsonl", "jsonl").error().status() == FEDHDS_STATUS_IO);
#if defined(FEDHDS_MODELS)
    const fedhds::Records::Embedded data =
        fedhds::Records::embedded("{\"records_per_task\": 1, \"test_records_per_task\": 1}").value();
    CHECK(data.train.count().value() > 0 && data.test.count().value() > 0);
#endif
}

#if defined(FEDHDS_MODELS)

// The last update, moved by how many rounds it has seen.
class Last : public fedhds::Aggregator {
public:
    Result<void> begin(fedhds::Adapter, std::uint32_t) override {
        last_.reset();
        return {};
    }
    Result<void> add(fedhds::ClientUpdate update) override {
        if (update.loss && *update.loss > 100) return Error(FEDHDS_STATUS_INPUT, "it has not learnt");
        last_.emplace(std::move(update.adapter));
        return {};
    }
    Result<fedhds::Aggregated> finish() override {
        if (!last_) return fedhds::Aggregated{std::nullopt, ""};
        std::vector<float> values = last_->values().value();
        for (float& value : values) value += static_cast<float>(rounds_);
        ++rounds_;
        return fedhds::Aggregated{last_->with_values(values).value(), "{\"measures\": {\"seen\": 1.5}}"};
    }
    std::vector<std::uint8_t> state() override { return {rounds_}; }
    Result<void> resume(fedhds::BytesView state) override {
        if (state.size() != 1) throw std::runtime_error("no state of mine");
        rounds_ = state[0];
        return {};
    }

private:
    std::optional<fedhds::Adapter> last_;
    std::uint8_t rounds_ = 1;
};

// A round of one client that trains to `after`; how it ended.
fedhds::Server::Finished aggregated(
    fedhds::Server& server, std::uint32_t round, const fedhds::Adapter& global, const fedhds::Adapter& after, float loss) {
    const fedhds::Method method =
        fedhds::Method::create("{\"preset\": \"random\", \"count\": {\"budget\": 3}}").value();
    fedhds::Client client = fedhds::Client::create(4, method, 1, seed).value();
    server.receive(4, client.summarize(server.begin_round(round, {4}, &global).value(), 10).value()).value();
    server.select().value();
    const fedhds::Order order = server.order(4).value();
    const std::vector<std::uint32_t> rows = client.choose(order.message).value();
    const std::vector<float> losses = {loss};
    const fedhds::Trained trained = fedhds::Trained::create(after, losses, 0, 7).value();
    const Result<void> taken = server.receive(4, client.update(order.message, rows, trained).value());
    CHECK(loss <= 100 ? static_cast<bool>(taken) : contains(taken.error().what(), "it has not learnt"));
    return server.finish_round().value();
}

void aggregators(const fedhds::Adapter& global) {
    const fedhds::Method method =
        fedhds::Method::create("{\"preset\": \"random\", \"count\": {\"budget\": 3}}").value();
    std::vector<float> values = global.values().value();
    for (float& value : values) value += 0.5F;
    const fedhds::Adapter after = global.with_values(values).value();
    CHECK(!global.with_values({1.0F}));
    const auto create = [&] {
        return fedhds::Server::create_with_aggregator(method, 1, seed, std::make_shared<Last>()).value();
    };
    fedhds::Server server = create(), resumed = create();
    const fedhds::Server::Finished first = aggregated(server, 0, global, after, 2);
    const auto further = [&](float by) {
        std::vector<float> moved = values;
        for (float& value : moved) value += by;
        return moved;
    };
    CHECK(first.adapter && *first.adapter->values() == further(1) && contains(first.report.to_string(), "\"seen\":1.5"));
    resumed.resume(server.state().value()).value();
    const fedhds::Server::Finished second = aggregated(resumed, 1, global, after, 2);
    CHECK(second.adapter && *second.adapter->values() == further(2));
    const fedhds::Server::Finished refused = aggregated(server, 1, global, after, 1000);
    CHECK(!refused.adapter && contains(refused.report.to_string(), "\"left_out\":{\"4\""));

    fedhds::Server adam =
        fedhds::Server::create_with_aggregator(method, 1, seed, "{\"kind\": \"fedadam\"}").value();
    CHECK(!aggregated(adam, 0, global, after, 2).adapter->equals(after).value());
    const Result<void> wrong = adam.resume(server.state().value());
    CHECK(!wrong);
    CHECK(!fedhds::Server::create_with_aggregator(method, 1, seed, "{\"kind\": \"median\"}"));
    CHECK(!fedhds::Server::create_with_aggregator(method, 1, seed, std::shared_ptr<fedhds::Aggregator>()));
}

void models(const std::string& folder, const std::string& out) {
    CHECK(fedhds::has_models());
    fedhds::device_check("cpu").value();
    CHECK(fedhds::device_check("cuda:63").error().status() == FEDHDS_STATUS_DEVICE);
    const fedhds::Model model = fedhds::Model::load(folder).value();
    const std::size_t layers = model.info()->layers;
    fedhds::Records records = fedhds::Records::create().value();
    for (int i = 0; i < 6; ++i)
        records.add({std::to_string(i), "Add the numbers.", std::to_string(i) + " and 1", "3", "sums"}).value();
    fedhds::FeaturesConfig config;
    config.pooling = fedhds::FeaturesConfig::mean;
    const fedhds::Matrix features = model.features(records, "short", config).value();
    CHECK(features.rows() == 6 && features.cols() == layers * model.info()->hidden_size);

    fedhds::TrainConfig train;
    train.r = 1;
    const fedhds::Adapter start = model.init_adapter(train, fedhds::init_seed(seed)).value();
    const fedhds::Method method =
        fedhds::Method::create("preset = \"fedhds_coverage\"\ncount = { budget = 2 }").value();
    fedhds::Server server = fedhds::Server::create(method, layers, seed).value();
    fedhds::Client client = fedhds::Client::create(0, method, layers, seed).value();
    server.receive(0, client.summarize(server.begin_round(0, {0}, &start).value(), features).value()).value();
    server.select().value();
    const fedhds::Order order = server.order(0).value();
    const std::vector<std::uint32_t> rows = client.choose(order.message).value();
    const fedhds::Trained trained =
        model.train(start, records.subset(rows).value(), train, fedhds::train_seed(seed, 0, 0), "short").value();
    CHECK(trained.losses()->size() == 2);
    server.receive(0, client.update(order.message, rows, trained).value()).value();
    const fedhds::Server::Finished finished = server.finish_round().value();
    const std::optional<fedhds::Adapter>& joined = finished.adapter;
    CHECK(contains(finished.report.to_string(), "\"trained\":{\"0\":2}"));
    CHECK(joined && joined->equals(trained.adapter().value()).value() && !joined->equals(start).value());
    static_cast<void>(server.begin_round(1, {0}, &*joined).value());
    server.select().value();
    CHECK(!server.finish_round()->adapter);
    aggregators(start);

    joined->save(out + "/from-cpp", "embedded").value();
    CHECK(fedhds::Adapter::load(out + "/from-cpp")->equals(*joined).value());
    joined->save_gguf(model, out + "/from-cpp.gguf").value();
    const fedhds::Adapter::Files files = joined->to_bytes().value();
    CHECK(fedhds::Adapter::from_bytes(files.tensors, files.config.to_string())->equals(*joined).value());
    const fedhds::Adapter::Decoded decoded = fedhds::Adapter::decode(joined->encode(4).value()).value();
    CHECK(decoded.round == 4 && decoded.adapter.equals(*joined).value());
    CHECK(fedhds::Adapter::mean({{&*joined, 2}})->equals(*joined).value());
    CHECK(fedhds::Adapter::mean({{nullptr, 2}}).error().status() == FEDHDS_STATUS_NULL_POINTER);
    CHECK(fedhds::Adapter::mean({}).error().status() == FEDHDS_STATUS_INPUT);
    CHECK(model.generate("The cat", 3, &start).value() == model.generate("The cat", 3).value());
    CHECK(contains(model.evaluate(records, 0, "short", &*joined)->to_string(), "\"loss\""));
    CHECK(fedhds::Model::load(folder, "cpu", "f32").value().info().value().causal);
    CHECK(fedhds::Model::load(folder, "cpu", "int8").error().status() == FEDHDS_STATUS_MODEL);
    CHECK(fedhds::Model::load(folder, "cpu", "int4").error().status() == FEDHDS_STATUS_PARAMETER);
    CHECK(fedhds::Model::load("/absent").error().status() != FEDHDS_STATUS_PANIC);
}

#endif

// Text features, near copies and the gate, by lambdas.
void robust() {
    const char* const asks[] = {"Translate this into Italian", "Count how many apples remain", "Write about mountains",
        "Which bug breaks my loop?", "Name the nearest planet", "Suggest dinner without gluten"};
    fedhds::Records records = fedhds::Records::create().value();
    for (std::size_t i = 0; i < 48; ++i) {
        const std::string said = std::to_string(i);
        records.add({"r" + said, asks[i / 2 % 6], "case " + said, "It is " + said, ""}).value();
    }
    records.add({"copy", std::string("Please: ") + asks[0], "Case 0", "it is  0", ""}).value();
    const fedhds::TextFeatures text = fedhds::TextFeatures::create().value();
    const fedhds::Matrix features = text.of_records(records).value(), prompts = text.of_prompts(records).value();
    const std::vector<float> row = text.row(asks[0], "case 0", "It is 0").value();
    CHECK(row.size() == 128 && std::equal(row.begin(), row.end(), features.row(0).begin()));
    CHECK(!std::equal(row.begin(), row.end(), prompts.row(0).begin()));
    CHECK(text.row(std::string("a\0b", 3)).error().status() == FEDHDS_STATUS_PARAMETER);
    fedhds::TextFeaturesConfig narrow;
    narrow.dims = 2;
    CHECK(fedhds::TextFeatures::create(narrow).error().status() == FEDHDS_STATUS_PARAMETER);
    fedhds::NearCopies copies = fedhds::NearCopies::create().value();
    copies.add(records).value();
    copies.add(asks[0], "case  0", "It is 0").value();
    std::vector<std::uint32_t> labels = copies.labels().value();
    CHECK(labels.size() == 50 && labels[48] == 0 && labels[49] == 0 && labels[47] == 47);
    labels.pop_back();

    const fedhds::Method method = fedhds::Method::create("preset = \"fedhds_robust\"\n[server.gate]\n"
                                                         "representatives = 24\ncounted = 20").value();
    fedhds::Server server = fedhds::Server::create(method, 1, seed).value();
    fedhds::Client client = fedhds::Client::create(3, method, 1, seed).value();
    const fedhds::Bytes start = server.begin_round(0, {3}).value();
    CHECK(client.pilot(start).error().status() == FEDHDS_STATUS_PROTOCOL);
    const fedhds::RecordFacts facts{nullptr, labels, prompts};
    const fedhds::RecordFacts few{nullptr, {labels.data(), 3}, prompts};
    CHECK(client.summarize(start, features, few).error().status() == FEDHDS_STATUS_INPUT);
    fedhds::Bytes summary = client.summarize(start, features, facts).value();
    // Every second record is bad.
    const auto loss = [](fedhds::Pair pair) {
        const unsigned mixed = (pair.response * 2654435761U) ^ (pair.prompt * 40503U);
        const bool own = pair.response == pair.prompt && pair.response % 2 == 0;
        return own ? 0.5F : 2.0F + static_cast<float>(mixed >> 8 & 0xFFU) / 2560.0F;
    };
    const std::vector<fedhds::Pair> asked = client.pilot(start).value();
    CHECK(asked.size() == 24 * 5 && asked[0].response == asked[0].prompt);
    std::vector<float> answers;
    for (const fedhds::Pair& pair : asked) answers.push_back(loss(pair));
    CHECK(client.answer(start, summary, {answers.data(), 1}).error().status() == FEDHDS_STATUS_INPUT);
    summary = client.answer(start, summary, answers).value();
    server.receive(3, summary).value();
    server.select().value();
    const fedhds::Order order = server.order(3).value();
    CHECK(order.records > 0);
    const auto rains = [](fedhds::Span<const fedhds::Pair>, fedhds::Span<float>) {
        throw std::runtime_error("it rains");
    };
    const Error error = thrown([&] { client.choose_scored(order.message, rains).value(); });
    CHECK(error.status() == FEDHDS_STATUS_STAGE && contains(error.what(), "it rains"));
    std::size_t calls = 0;
    auto counting = [&](fedhds::Span<const fedhds::Pair> pairs, fedhds::Span<float> to) {
        for (std::size_t i = 0; i < pairs.size(); ++i) to[i] = loss(pairs[i]);
        ++calls;
    };
    const std::vector<std::uint32_t> rows = client.choose_scored(order.message, counting).value();
    CHECK(calls > 0 && !rows.empty() && rows.size() <= order.records);
    for (const std::uint32_t chosen : rows) CHECK(chosen % 2 == 0);
    client.set_least_group(5).value();
    CHECK(client.summarize(start, features, facts)->size() < 100);
    // A budget in tokens: short records, so that there are more of them than one.
    const fedhds::Method in_tokens =
        fedhds::Method::create("preset = \"fedhds_robust\"\nserver.gate = \"none\"\ncount = { budget = { tokens = 90 } }").value();
    fedhds::Server counting_server = fedhds::Server::create(in_tokens, 1, seed).value();
    fedhds::Client counting_client = fedhds::Client::create(3, in_tokens, 1, seed).value();
    const fedhds::Bytes begun = counting_server.begin_round(0, {3}).value();
    const std::vector<std::uint32_t> tokens(labels.size(), 10);
    const fedhds::RecordFacts told{nullptr, labels, {}, tokens};
    const fedhds::RecordFacts untold{nullptr, labels, {}, {tokens.data(), 3}};
    CHECK(contains(counting_client.summarize(begun, features, untold).error().what(), "tokens"));
    CHECK(contains(counting_client.summarize(begun, features, facts).error().what(), "tokens"));
    counting_server.receive(3, counting_client.summarize(begun, features, told).value()).value();
    counting_server.select().value();
    CHECK(counting_client.choose(counting_server.order(3).value().message)->size() == 9);
}

}  // namespace

int main(int count, char** arguments) {
    results();
    views();
    numerics();
    rounds();
    own_stages();
    own_method();
    controls();
    records();
    robust();
#if defined(FEDHDS_MODELS)
    if (count > 2) models(arguments[1], arguments[2]);
#else
    static_cast<void>(count), static_cast<void>(arguments);
#endif
    return DONE;
}
