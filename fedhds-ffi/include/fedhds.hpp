// fedhds for C++17: all of fedhds.h with owners, views, lambdas and results. Header only.
//
// - Every object owns its handle and frees it; objects move and do not copy.
// - A call that can fail returns a Result. `.value()` gives what it holds or throws fedhds::Error; a program without
//   exceptions asks `if (result)` first and reads `.error()`. There, `.value()` of a failure prints the message and
//   aborts.
// - Views (Span, BytesView, MatrixView) point into the caller's memory, which the library reads during the call alone.
// - Functions of the caller's may be called from worker threads, several at once. They live as long as the library may
//   call them, and an exception that leaves one never reaches the library: the call that used it fails with its
//   message.
// - An object that changes (Client, Server, Records, Method) serves one call at a time; a second thread gets
//   FEDHDS_STATUS_BUSY. Models, adapters, matrices and bytes may be used by any number of threads. As everywhere in
//   C++, an object must not be destroyed or moved while another thread uses it.
//
//     fedhds::Method method = fedhds::Method::create("preset = \"fedhds_coverage\"\ncount = { budget = 20 }").value();
//     fedhds::Client client = fedhds::Client::create(0, method, 1, 7).value();
//     fedhds::Bytes summary = client.summarize(start, fedhds::MatrixView(features.data(), rows, cols)).value();
//
// A program that is compiled with FEDHDS_SELECTION_ONLY has none of the models, as in fedhds.h.

#ifndef FEDHDS_HPP
#define FEDHDS_HPP

#include "fedhds.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#define FEDHDS_EXCEPTIONS 1
#else
#define FEDHDS_EXCEPTIONS 0
#endif

namespace fedhds {

// What a call returns, by the names of fedhds.h: FEDHDS_STATUS_INPUT and so on.
using Status = fedhds_status_t;

// -------- results

// Why a call failed: a status to decide by, and a message that says what was expected and what came.
class Error : public std::runtime_error {
public:
    Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}

    // The status; never FEDHDS_STATUS_OK.
    Status status() const noexcept { return status_; }

    // The status's name, for example "FEDHDS_STATUS_INPUT".
    const char* name() const noexcept { return fedhds_status_name(status_); }

private:
    Status status_;
};

namespace detail {

[[noreturn]] inline void raise(const Error& error) {
#if FEDHDS_EXCEPTIONS
    throw error;
#else
    std::fprintf(stderr, "fedhds: %s: %s\n", error.name(), error.what());
    std::abort();
#endif
}

}  // namespace detail

// What a call gave, or why it failed; as std::expected of C++23, but that access is always checked.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return content_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    // What the call gave; a failure is thrown (without exceptions: printed, and the program aborts).
    T& value() & { return check(), *std::get_if<0>(&content_); }
    const T& value() const& { return check(), *std::get_if<0>(&content_); }
    T value() && { return check(), std::move(*std::get_if<0>(&content_)); }

    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    // What the call gave, or this in its place.
    T value_or(T other) && { return has_value() ? std::move(*this).value() : std::move(other); }

    // Why it failed; there is none where it did not.
    const Error& error() const { return *std::get_if<1>(&content_); }

private:
    void check() const {
        if (!has_value()) detail::raise(error());
    }

    std::variant<T, Error> content_;
};

// Whether a call succeeded, and why not.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() noexcept = default;
    Result(Error error) : error_(std::move(error)) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    // Nothing; a failure is thrown (without exceptions: printed, and the program aborts).
    void value() const {
        if (error_) detail::raise(*error_);
    }

    // Why it failed; there is none where it did not.
    const Error& error() const { return *error_; }

private:
    std::optional<Error> error_;
};

// -------- views

// Values side by side in memory of the caller's: std::span of C++20.
template <class T>
class Span {
public:
    using value_type = std::remove_cv_t<T>;

    constexpr Span() noexcept = default;
    constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

    // A vector, an array, a std::span: whatever has data() and size().
    template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C&>().data()), T*>>>
    constexpr Span(C&& values) noexcept : data_(values.data()), size_(values.size()) {}

    template <std::size_t N>
    constexpr Span(T (&values)[N]) noexcept : data_(values), size_(N) {}

    // A list in braces as an argument; it lives until the call has ended.
    template <class U = T, class = std::enable_if_t<std::is_const_v<U>>>
    constexpr Span(std::initializer_list<value_type> values) noexcept : data_(values.begin()), size_(values.size()) {}

    constexpr T* data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T* begin() const noexcept { return data_; }
    constexpr T* end() const noexcept { return data_ + size_; }
    constexpr T& operator[](std::size_t at) const noexcept { return data_[at]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

// Bytes in memory of the caller's.
using BytesView = Span<const std::uint8_t>;

// Rows of float32 in memory of the caller's.
class MatrixView {
public:
    constexpr MatrixView() noexcept = default;

    // `row_stride` is the number of values from one row's beginning to the next's; 0 is `cols`.
    constexpr MatrixView(const float* data, std::size_t rows, std::size_t cols, std::size_t row_stride = 0) noexcept
        : view_{data, rows, cols, row_stride == 0 ? cols : row_stride} {}

    constexpr MatrixView(const fedhds_matrix_view_t& view) noexcept
        : MatrixView(view.data, view.rows, view.cols, view.row_stride) {}

    // Values row after row, `cols` in each; FEDHDS_STATUS_INPUT where they are no whole number of rows.
    static Result<MatrixView> of(Span<const float> values, std::size_t cols) {
        if (cols == 0 ? !values.empty() : values.size() % cols != 0) {
            const std::string got = std::to_string(values.size());
            return Error(
                FEDHDS_STATUS_INPUT, "expected rows of " + std::to_string(cols) + " values, got " + got + " values");
        }
        return MatrixView(values.data(), cols == 0 ? 0 : values.size() / cols, cols);
    }

    constexpr const float* data() const noexcept { return view_.data; }
    constexpr std::size_t rows() const noexcept { return view_.rows; }
    constexpr std::size_t cols() const noexcept { return view_.cols; }

    // Row `at`; it must be below rows().
    constexpr Span<const float> row(std::size_t at) const noexcept {
        return {view_.data + at * view_.row_stride, view_.cols};
    }
    constexpr float operator()(std::size_t at, std::size_t col) const noexcept { return row(at)[col]; }

    // The view of the C ABI.
    constexpr const fedhds_matrix_view_t& raw() const noexcept { return view_; }

private:
    fedhds_matrix_view_t view_{nullptr, 0, 0, 0};
};

// Rows of equal length, copied side by side: what vectors in a vector become before the library can look at them.
class PackedRows {
public:
    // FEDHDS_STATUS_INPUT for rows of different lengths.
    static Result<PackedRows> of(const std::vector<std::vector<float>>& rows) {
        PackedRows packed;
        packed.rows_ = rows.size();
        packed.cols_ = rows.empty() ? 0 : rows.front().size();
        packed.values_.reserve(packed.rows_ * packed.cols_);
        for (const std::vector<float>& row : rows) {
            if (row.size() != packed.cols_) {
                const std::string expected =
                    "row " + std::to_string(&row - rows.data()) + ": expected " + std::to_string(packed.cols_);
                return Error(FEDHDS_STATUS_INPUT, expected + " values, got " + std::to_string(row.size()));
            }
            packed.values_.insert(packed.values_.end(), row.begin(), row.end());
        }
        return packed;
    }

    operator MatrixView() const noexcept { return MatrixView(values_.data(), rows_, cols_); }

private:
    PackedRows() = default;
    std::vector<float> values_;
    std::size_t rows_ = 0;
    std::size_t cols_ = 0;
};

// A text argument: UTF-8 that ends with NUL. Without one it is NULL, where a function takes that.
class Text {
public:
    constexpr Text() noexcept = default;
    constexpr Text(std::nullptr_t) noexcept {}
    constexpr Text(const char* text) noexcept : text_(text) {}
    Text(const std::string& text) noexcept : text_(text.c_str()), whole_(text.find('\0') == std::string::npos) {}

    constexpr const char* raw() const noexcept { return text_; }

    // Whether there is no NUL inside, at which the library would take it to end.
    constexpr bool whole() const noexcept { return whole_; }

private:
    const char* text_ = nullptr;
    bool whole_ = true;
};

// -------- inside

namespace detail {

// Why the library that was found at run time cannot be used by this header, if it cannot.
inline const std::optional<Error>& mismatch() {
    static const std::optional<Error> found = []() -> std::optional<Error> {
        const std::uint32_t library = fedhds_abi_version();
        if (library == FEDHDS_ABI_VERSION) return std::nullopt;
        const std::string expected = std::to_string(FEDHDS_ABI_VERSION);
        return Error(FEDHDS_STATUS_CONFIG,
            "expected a fedhds library of ABI version " + expected + ", got " + std::to_string(library));
    }();
    return found;
}

// One call of the C ABI.
template <class Call>
Result<void> run(std::initializer_list<Text> texts, Call&& call) {
    if (mismatch()) return *mismatch();
    for (const Text& text : texts) {
        if (!text.whole()) {
            return Error(FEDHDS_STATUS_PARAMETER,
                std::string("expected a text without NUL inside, got one after `") + text.raw() + "`");
        }
    }
    const Status status = call();
    if (status != FEDHDS_STATUS_OK) return Error(status, fedhds_last_error_message());
    return {};
}

// A call that makes an object.
template <class T, class Call>
Result<T> made(std::initializer_list<Text> texts, Call&& call) {
    typename T::Raw* raw = nullptr;
    if (Result<void> done = run(texts, [&] { return call(&raw); }); !done) return done.error();
    return T(raw);
}

// A call that fills a buffer, of which `guess` is a size that may do.
template <class V, class Call>
Result<std::vector<V>> filled(std::size_t guess, Call&& call) {
    std::vector<V> values(guess);
    for (;;) {
        std::size_t count = 0;
        V* buffer = values.empty() ? nullptr : values.data();
        Result<void> done = run({}, [&] { return call(buffer, values.size(), &count); });
        const bool small = !done && done.error().status() == FEDHDS_STATUS_BUFFER_TOO_SMALL && count > values.size();
        if (!done && !small) return done.error();
        const bool whole = count <= values.size();
        values.resize(count);
        if (whole) return values;
    }
}

// Frees a handle of the C ABI.
template <auto Free>
struct Deleter {
    template <class Raw>
    void operator()(Raw* raw) const noexcept {
        Free(raw);
    }
};

template <class Raw, auto Free>
using Owner = std::unique_ptr<Raw, Deleter<Free>>;

// The functions that objects of the library call, kept for as long as they may.
using Kept = std::vector<std::shared_ptr<void>>;

// Keeps a function until the process has ended: worker threads may call it even then.
inline void keep_for_ever(std::shared_ptr<void> function) {
    static std::mutex& lock = *new std::mutex;
    static Kept& kept = *new Kept;
    const std::lock_guard<std::mutex> guard(lock);
    kept.push_back(std::move(function));
}

// What the last function of the caller's that failed on this thread said.
inline std::string& complaint() {
    thread_local std::string text;
    return text;
}

// Runs a function of the caller's, which returns nothing or a Result<void>: 0, or 1 with its message in `complaint`.
template <class F, class... Args>
std::int32_t guarded(F& function, Args&&... args) noexcept {
    const auto work = [&]() -> std::int32_t {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, Args...>>) {
            function(std::forward<Args>(args)...);
        } else {
            const Result<void> result = function(std::forward<Args>(args)...);
            if (!result) return complaint() = result.error().what(), 1;
        }
        return 0;
    };
#if FEDHDS_EXCEPTIONS
    // Out of memory for the message: the failure goes without one.
    const auto keep = [](const char* message) {
        try {
            complaint() = message;
        } catch (...) {
            complaint().clear();
        }
        return 1;
    };
    try {
        return work();
    } catch (const std::exception& error) {
        return keep(error.what());
    } catch (...) {
        return keep("an exception that is no std::exception");
    }
#else
    return work();
#endif
}

// A call that may run functions of the caller's: what they said goes into the error.
template <class R, class Call>
R explained(Call&& call) {
    complaint().clear();
    R result = call();
    if (!result && result.error().status() == FEDHDS_STATUS_STAGE && !complaint().empty()) {
        return Error(result.error().status(), result.error().what() + (": " + complaint()));
    }
    return result;
}

}  // namespace detail

// -------- bytes and matrices

// Bytes that the library made: messages, states, JSON. They never change.
class Bytes {
public:
    using Raw = fedhds_bytes_t;

    // Takes over a handle of the C ABI.
    explicit Bytes(Raw* raw) noexcept : owner_(raw) {
        const std::uint8_t* data = nullptr;
        std::size_t size = 0;
        if (fedhds_bytes_view(raw, &data, &size) == FEDHDS_STATUS_OK) view_ = {data, size};
    }

    Bytes(Bytes&& other) noexcept : owner_(std::move(other.owner_)), view_(std::exchange(other.view_, {})) {}
    Bytes& operator=(Bytes&& other) noexcept {
        owner_ = std::move(other.owner_);
        view_ = std::exchange(other.view_, {});
        return *this;
    }
    ~Bytes() = default;

    const std::uint8_t* data() const noexcept { return view_.data(); }
    std::size_t size() const noexcept { return view_.size(); }
    bool empty() const noexcept { return view_.empty(); }
    const std::uint8_t* begin() const noexcept { return view_.begin(); }
    const std::uint8_t* end() const noexcept { return view_.end(); }

    // The bytes as text; valid as long as this object.
    std::string_view text() const noexcept {
        return empty() ? std::string_view() : std::string_view(reinterpret_cast<const char*>(data()), size());
    }
    std::string to_string() const { return std::string(text()); }
    std::vector<std::uint8_t> to_vector() const { return {begin(), end()}; }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_bytes_free> owner_;
    BytesView view_;
};

// Rows of float32 that the library made. They never change.
class Matrix {
public:
    using Raw = fedhds_matrix_t;

    // Takes over a handle of the C ABI.
    explicit Matrix(Raw* raw) noexcept : owner_(raw) {
        fedhds_matrix_view_t view{nullptr, 0, 0, 0};
        if (fedhds_matrix_view(raw, &view) == FEDHDS_STATUS_OK) view_ = view;
    }

    Matrix(Matrix&& other) noexcept : owner_(std::move(other.owner_)), view_(std::exchange(other.view_, {})) {}
    Matrix& operator=(Matrix&& other) noexcept {
        owner_ = std::move(other.owner_);
        view_ = std::exchange(other.view_, {});
        return *this;
    }
    ~Matrix() = default;

    std::size_t rows() const noexcept { return view_.rows(); }
    std::size_t cols() const noexcept { return view_.cols(); }
    // Row `at`; it must be below rows().
    Span<const float> row(std::size_t at) const noexcept { return view_.row(at); }
    float operator()(std::size_t at, std::size_t col) const noexcept { return view_(at, col); }

    // A view that is valid as long as this object.
    MatrixView view() const noexcept { return view_; }
    operator MatrixView() const noexcept { return view_; }

    // The values, row after row.
    std::vector<float> to_vector() const { return {view_.data(), view_.data() + rows() * cols()}; }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_matrix_free> owner_;
    MatrixView view_;
};

// -------- process and control

// The library's version, for example "0.1.0".
inline std::string_view version() noexcept { return fedhds_version(); }

// Whether models, features, training and evaluation are in the library; selection always is.
inline bool has_models() noexcept { return fedhds_has_models(); }

// Sets the number of worker threads of the process, from 1, once, before the first heavy call. Results do not depend on
// it.
inline Result<void> set_threads(std::size_t threads) {
    return detail::run({}, [&] { return fedhds_set_threads(threads); });
}

// The number of worker threads of the process.
inline Result<std::size_t> threads() {
    std::size_t count = 0;
    if (Result<void> done = detail::run({}, [&] { return fedhds_threads(&count); }); !done) return done.error();
    return count;
}

// How much a log line matters.
enum class Level : std::int32_t { error = 1, warning = 2, info = 3, debug = 4, trace = 5 };

// Passes log lines of at most this level, of the whole process, to `log(Level, std::string_view target,
// std::string_view message)`. An exception of it is dropped. The function stays in memory when another takes its place:
// a worker may be calling it.
template <class F>
Result<void> set_log(Level level, F&& log) {
    using Log = std::decay_t<F>;
    const auto call = [](std::int32_t at, const char* target, const char* message, void* user_data) {
        detail::guarded(
            *static_cast<Log*>(user_data), static_cast<Level>(at), std::string_view(target), std::string_view(message));
    };
    auto held = std::make_shared<Log>(std::forward<F>(log));
    void* const user_data = held.get();
    detail::keep_for_ever(std::move(held));
    return detail::run({}, [&] { return fedhds_set_log(static_cast<std::int32_t>(level), call, user_data); });
}

// Lets nobody hear log lines.
inline Result<void> clear_log() {
    return detail::run({}, [] { return fedhds_set_log(1, nullptr, nullptr); });
}

// What a listener hears of a stage: it begins (so many units are expected, 0 where that is not known), so many more are
// done, it ends.
enum class Progress : std::int32_t { begin = 0, advance = 1, end = 2 };

// Watches and stops the calls that are given it. Any thread may cancel. It must live until those calls have ended.
class Control {
public:
    using Raw = fedhds_control_t;

    // A control that reports nowhere.
    static Result<Control> create() {
        return detail::made<Control>({}, [](Raw** out) { return fedhds_control_new(out); });
    }

    // Takes over a handle of the C ABI.
    explicit Control(Raw* raw) : heard_(std::make_unique<Heard>()), owner_(raw) {}

    // Passes progress on to `hear(std::string_view stage, Progress event, std::uint64_t units)`, in calls that begin
    // afterwards. An exception of it does not stop the work; `progress_error` keeps its message.
    template <class F>
    Result<void> set_progress(F&& hear) {
        struct Listener {
            std::decay_t<F> hear;
            Heard* heard;
        };
        const auto call = [](const char* stage, std::int32_t event, std::uint64_t units, void* user_data) {
            Listener& listener = *static_cast<Listener*>(user_data);
            if (detail::guarded(listener.hear, std::string_view(stage), static_cast<Progress>(event), units) != 0) {
                listener.heard->keep(detail::complaint());
            }
        };
        // Earlier listeners stay: a call that began before may still be telling them.
        auto held = std::make_shared<Listener>(Listener{std::forward<F>(hear), heard_.get()});
        void* const user_data = held.get();
        heard_->listeners.push_back(std::move(held));
        return detail::run({}, [&] { return fedhds_control_set_progress(raw(), call, user_data); });
    }

    // Lets nobody hear of progress, in calls that begin afterwards.
    Result<void> clear_progress() {
        return detail::run({}, [&] { return fedhds_control_set_progress(raw(), nullptr, nullptr); });
    }

    // The first message of a listener that failed; empty where none did.
    std::string progress_error() const {
        const std::lock_guard<std::mutex> guard(heard_->lock);
        return heard_->message;
    }

    // Asks the calls that were given this control to stop; they end with FEDHDS_STATUS_CANCELLED at their next check.
    Result<void> cancel() const {
        return detail::run({}, [&] { return fedhds_control_cancel(raw()); });
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    struct Heard {
        detail::Kept listeners;
        std::mutex lock;
        std::string message;

        void keep(const std::string& text) noexcept {
            const std::lock_guard<std::mutex> guard(lock);
            if (message.empty()) message = text;
        }
    };

    std::unique_ptr<Heard> heard_;
    detail::Owner<Raw, fedhds_control_free> owner_;
};

namespace detail {

inline const fedhds_control_t* raw(const Control* control) noexcept {
    return control == nullptr ? nullptr : control->raw();
}

}  // namespace detail

// -------- numerics

// Settings of `tsne` with the defaults of the library; the fields stand in fedhds.h.
struct TsneConfig : fedhds_tsne_config_t {
    // For `perplexity_limit`.
    enum : std::int32_t { third = 0, rows = 1 };

    TsneConfig() noexcept : fedhds_tsne_config_t{} {
        if (!detail::mismatch()) fedhds_tsne_config_init(this, sizeof(fedhds_tsne_config_t));
    }
};

// Settings of `kernel_pca` with the defaults of the library.
struct KernelPcaConfig : fedhds_kernel_pca_config_t {
    // For `kernel`.
    enum : std::int32_t { linear = 0, rbf = 1, poly = 2, cosine = 3 };

    KernelPcaConfig() noexcept : fedhds_kernel_pca_config_t{} {
        if (!detail::mismatch()) fedhds_kernel_pca_config_init(this, sizeof(fedhds_kernel_pca_config_t));
    }
};

// Settings of `hdbscan` with the defaults of the library.
struct HdbscanConfig : fedhds_hdbscan_config_t {
    // For `cluster_selection_method`.
    enum : std::int32_t { eom = 0, leaf = 1 };

    HdbscanConfig() noexcept : fedhds_hdbscan_config_t{} {
        if (!detail::mismatch()) fedhds_hdbscan_config_init(this, sizeof(fedhds_hdbscan_config_t));
    }
};

// Settings of `kmeans` with the defaults of the library.
struct KMeansConfig : fedhds_kmeans_config_t {
    KMeansConfig() noexcept : fedhds_kmeans_config_t{} {
        if (!detail::mismatch()) fedhds_kmeans_config_init(this, sizeof(fedhds_kmeans_config_t));
    }
};

// Groups of rows. They never change.
class Clustering {
public:
    using Raw = fedhds_clustering_t;

    // Takes over a handle of the C ABI.
    explicit Clustering(Raw* raw) noexcept : owner_(raw) {}

    // The cluster of each row, -1 for noise.
    Result<std::vector<std::int32_t>> labels() const {
        const auto call = [&](std::int32_t* to, std::size_t capacity, std::size_t* count) {
            return fedhds_clustering_labels(raw(), to, capacity, count);
        };
        return detail::filled<std::int32_t>(0, call);
    }

    // The membership probability of each row, in [0, 1], 0 for noise.
    Result<std::vector<float>> probabilities() const {
        const auto call = [&](float* to, std::size_t capacity, std::size_t* count) {
            return fedhds_clustering_probabilities(raw(), to, capacity, count);
        };
        return detail::filled<float>(0, call);
    }

    // The centroids, one row for each cluster.
    Result<Matrix> centroids() const {
        return detail::made<Matrix>({}, [&](auto** out) { return fedhds_clustering_centroids(raw(), out); });
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_clustering_free> owner_;
};

// Layer-norm of each layer's part of every row: `layers` equal parts to mean 0 and variance 1.
inline Result<Matrix> layer_norm(MatrixView features, std::size_t layers) {
    return detail::made<Matrix>({}, [&](auto** out) { return fedhds_layer_norm(&features.raw(), layers, out); });
}

// Barnes-Hut t-SNE: [n, d] to [n, n_components]. The same seed gives the same bits at any number of threads.
inline Result<Matrix> tsne(
    MatrixView features, const TsneConfig& config, std::uint64_t seed, const Control* control = nullptr) {
    return detail::made<Matrix>(
        {}, [&](auto** out) { return fedhds_tsne(&features.raw(), &config, seed, detail::raw(control), out); });
}

// Principal components: [n, d] to [n, n_components], each scaled to unit variance where `whiten`.
inline Result<Matrix> pca(
    MatrixView features, std::size_t n_components, bool whiten = false, const Control* control = nullptr) {
    return detail::made<Matrix>({}, [&](auto** out) {
        return fedhds_pca(&features.raw(), n_components, static_cast<std::uint8_t>(whiten), detail::raw(control), out);
    });
}

// Principal components that were found of some rows and take others. They never change.
class Pca {
public:
    using Raw = fedhds_pca_t;

    // Takes over a handle of the C ABI.
    explicit Pca(Raw* raw) noexcept : owner_(raw) {}

    // The components of [n, d] rows, n at least 1; `transform` scales each to unit variance where `whiten`.
    static Result<Pca> fit(
        MatrixView features, std::size_t n_components, bool whiten = false, const Control* control = nullptr) {
        return detail::made<Pca>({}, [&](auto** out) {
            return fedhds_pca_fit(
                &features.raw(), n_components, static_cast<std::uint8_t>(whiten), detail::raw(control), out);
        });
    }

    // Rows by these components: [m, d] to [m, n_components].
    Result<Matrix> transform(MatrixView features, const Control* control = nullptr) const {
        return detail::made<Matrix>(
            {}, [&](auto** out) { return fedhds_pca_transform(raw(), &features.raw(), detail::raw(control), out); });
    }

    // The directions of most variance, [k, d] with k the least of n_components, n and d.
    Result<Matrix> components() const {
        return detail::made<Matrix>({}, [&](auto** out) { return fedhds_pca_components(raw(), out); });
    }

    // The variance of the rows along each component.
    Result<std::vector<double>> explained_variance() const {
        const auto call = [&](double* to, std::size_t capacity, std::size_t* count) {
            return fedhds_pca_explained_variance(raw(), to, capacity, count);
        };
        return detail::filled<double>(0, call);
    }

    // The share of each component in the variance of all columns, in [0, 1].
    Result<std::vector<double>> explained_variance_ratio() const {
        const auto call = [&](double* to, std::size_t capacity, std::size_t* count) {
            return fedhds_pca_explained_variance_ratio(raw(), to, capacity, count);
        };
        return detail::filled<double>(0, call);
    }

    // The mean of each column of the rows.
    Result<std::vector<double>> mean() const {
        const auto call = [&](double* to, std::size_t capacity, std::size_t* count) {
            return fedhds_pca_mean(raw(), to, capacity, count);
        };
        return detail::filled<double>(0, call);
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_pca_free> owner_;
};

// Kernel PCA: [n, d] to [n, n_components].
inline Result<Matrix> kernel_pca(MatrixView features, const KernelPcaConfig& config, const Control* control = nullptr) {
    return detail::made<Matrix>(
        {}, [&](auto** out) { return fedhds_kernel_pca(&features.raw(), &config, detail::raw(control), out); });
}

// The random projection that all clients of one seed share: [n, d] to [n, n_components].
inline Result<Matrix> shared_projection(
    MatrixView features, std::size_t n_components, std::uint64_t seed, const Control* control = nullptr) {
    return detail::made<Matrix>({}, [&](auto** out) {
        return fedhds_shared_projection(&features.raw(), n_components, seed, detail::raw(control), out);
    });
}

// HDBSCAN*: finds the number of clusters, and noise.
inline Result<Clustering> hdbscan(MatrixView points, const HdbscanConfig& config, const Control* control = nullptr) {
    return detail::made<Clustering>(
        {}, [&](auto** out) { return fedhds_hdbscan(&points.raw(), &config, detail::raw(control), out); });
}

// k-means with greedy k-means++ starts, the best of several.
inline Result<Clustering> kmeans(
    MatrixView points, const KMeansConfig& config, std::uint64_t seed, const Control* control = nullptr) {
    return detail::made<Clustering>(
        {}, [&](auto** out) { return fedhds_kmeans(&points.raw(), &config, seed, detail::raw(control), out); });
}

// How rows are chosen.
enum class Selector : std::int32_t {
    nearest_centroid = FEDHDS_SELECTOR_NEAREST_CENTROID,    // those nearest to their cluster's centroid
    facility_location = FEDHDS_SELECTOR_FACILITY_LOCATION,  // those that together lie nearest to all rows
    random_member = FEDHDS_SELECTOR_RANDOM_MEMBER,          // any of each cluster
    random = FEDHDS_SELECTOR_RANDOM,                        // any rows
    stratified = FEDHDS_SELECTOR_STRATIFIED,                // any rows, spread evenly over owners
};

// What is known of the rows that `select` chooses from, beside their points.
struct RowFacts {
    // Records that each row stands for; empty is 1 for each.
    Span<const float> weights{};
    // The client of each row; empty is one client.
    Span<const std::uint32_t> owners{};
    // The clusters of the rows, where the selector needs them.
    const Clustering* clustering = nullptr;
};

// How many rows: in all, or of each cluster.
struct Budget {
    std::size_t count;
    bool each = false;

    static constexpr Budget total(std::size_t count) noexcept { return {count, false}; }
    static constexpr Budget per_cluster(std::size_t count) noexcept { return {count, true}; }
};

// Chooses rows, in ascending order.
inline Result<std::vector<std::uint32_t>> select(Selector selector, MatrixView points, Budget budget,
    std::uint64_t seed, const RowFacts& facts = {}, const Control* control = nullptr) {
    for (const std::size_t size : {facts.weights.size(), facts.owners.size()}) {
        if (size != 0 && size != points.rows()) {
            const std::string expected = "expected a weight and an owner for each of " + std::to_string(points.rows());
            return Error(FEDHDS_STATUS_INPUT, expected + " rows, got " + std::to_string(size));
        }
    }
    const auto call = [&](std::uint32_t* to, std::size_t capacity, std::size_t* count) {
        return fedhds_select(static_cast<std::int32_t>(selector), &points.raw(), facts.weights.data(),
            facts.owners.data(), facts.clustering == nullptr ? nullptr : facts.clustering->raw(), budget.count,
            static_cast<std::uint8_t>(budget.each), seed, detail::raw(control), to, capacity, count);
    };
    // Choosing is work, so that it is not done twice to learn the size: rows that do not exist are not chosen.
    return detail::filled<std::uint32_t>(budget.each ? points.rows() : std::min(budget.count, points.rows()), call);
}

// Which package Rouge-L is compatible with: `rouge` 1.0.1 (the paper's), `rouge_score`, the same with its stemmer.
enum class RougeFlavor : std::int32_t { rouge = 0, rouge_score = 1, rouge_score_stemmed = 2 };

// Precision, recall and F1 in [0, 1].
using Rouge = fedhds_rouge_t;

// Rouge-L of a text against the reference that fits best by F1.
inline Result<Rouge> rouge_l(
    Text prediction, const std::vector<std::string>& references, RougeFlavor flavor = RougeFlavor::rouge) {
    std::vector<const char*> raw;
    raw.reserve(references.size());
    for (const std::string& reference : references) {
        if (Result<void> fits = detail::run({reference}, [] { return FEDHDS_STATUS_OK; }); !fits) return fits.error();
        raw.push_back(reference.c_str());
    }
    Rouge rouge{0, 0, 0};
    Result<void> done = detail::run({prediction}, [&] {
        return fedhds_rouge_l(prediction.raw(), raw.data(), raw.size(), static_cast<std::int32_t>(flavor), &rouge);
    });
    if (!done) return done.error();
    return rouge;
}

// -------- records

// An instruction record with one response. `id` is unique among the records of a client.
struct Record {
    std::string id;
    std::string instruction;
    std::string input;
    std::string response;
    std::string category;
};

// Records in an order that stays: row i of their features is record i.
class Records {
public:
    using Raw = fedhds_records_t;

    // Takes over a handle of the C ABI.
    explicit Records(Raw* raw) noexcept : owner_(raw) {}

    // No records yet.
    static Result<Records> create() {
        return detail::made<Records>({}, [](Raw** out) { return fedhds_records_new(out); });
    }

    // Reads a data set. `format` is the name of a format ("jsonl", "alpaca", "dolly", "messages", "table",
    // "natural_instructions", ...: an unknown one is answered with all of them), or "guess" for what the file looks
    // like. `options` is JSON: {"fields": {"instruction": "q", "response": "a"}, "blank_response": "skip"}, or {"split":
    // "test"} for a format that keeps its test records apart.
    static Result<Records> load(Text path, Text format, Text options = {}, const Control* control = nullptr) {
        return detail::made<Records>({path, format, options}, [&](Raw** out) {
            return fedhds_records_load(path.raw(), format.raw(), options.raw(), detail::raw(control), out);
        });
    }

#if defined(FEDHDS_MODELS)
    struct Embedded;

    // Generated records, no file: the train tasks and the unseen test tasks of the embedded data. `json` is settings
    // such as {"records_per_task": 30, "test_records_per_task": 15, "seed": 1}.
    static Result<Embedded> embedded(Text json = {});
#endif

    Result<void> add(const Record& record) {
        const std::initializer_list<Text> texts = {
            record.id, record.instruction, record.input, record.response, record.category};
        return detail::run(texts, [&] {
            return fedhds_records_add(raw(), record.id.c_str(), record.instruction.c_str(), record.input.c_str(),
                record.response.c_str(), record.category.c_str());
        });
    }

    Result<std::size_t> count() const {
        std::size_t count = 0;
        if (Result<void> done = detail::run({}, [&] { return fedhds_records_count(raw(), &count); }); !done)
            return done.error();
        return count;
    }

    // One record as JSON: id, instruction, input, responses, category, family.
    Result<Bytes> get(std::size_t row) const {
        return detail::made<Bytes>({}, [&](auto** out) { return fedhds_records_get(raw(), row, out); });
    }

    // The records of these rows, in this order.
    Result<Records> subset(Span<const std::uint32_t> rows) const {
        return detail::made<Records>(
            {}, [&](Raw** out) { return fedhds_records_subset(raw(), rows.data(), rows.size(), out); });
    }

    // The records of one client of a federation that these are dealt to; `json` says how, for example {"kind":
    // "dirichlet", "clients": 4, "alpha": 0.5}. Each call of the same seed deals alike.
    Result<Records> part(Text json, std::uint64_t seed, std::size_t client) const {
        return detail::made<Records>(
            {json}, [&](Raw** out) { return fedhds_records_part(raw(), json.raw(), seed, client, out); });
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_records_free> owner_;
};

// Settings of `TextFeatures` with the defaults of the library; the fields stand in fedhds.h.
struct TextFeaturesConfig : fedhds_text_features_config_t {
    TextFeaturesConfig() noexcept : fedhds_text_features_config_t{} {
        if (!detail::mismatch()) fedhds_text_features_config_init(this, sizeof(fedhds_text_features_config_t));
    }
};

// Features of texts without a model, in the coordinates that all clients share. It never changes.
class TextFeatures {
public:
    using Raw = fedhds_text_features_t;

    // Clients of one federation have the settings alike.
    static Result<TextFeatures> create(const TextFeaturesConfig& config = {}) {
        return detail::made<TextFeatures>({}, [&](Raw** out) { return fedhds_text_features_new(&config, out); });
    }

    // Takes over a handle of the C ABI.
    explicit TextFeatures(Raw* raw) noexcept : owner_(raw) {}

    // The row of one record; of its prompt alone without input and response.
    Result<std::vector<float>> row(Text instruction, Text input = {}, Text response = {}) const {
        if (Result<void> fit = detail::run({instruction, input, response}, [] { return FEDHDS_STATUS_OK; }); !fit)
            return fit.error();
        const auto call = [&](float* to, std::size_t capacity, std::size_t* count) {
            return fedhds_text_features_row(
                raw(), instruction.raw(), input.raw(), response.raw(), to, capacity, count);
        };
        return detail::filled<float>(0, call);
    }

    // The rows of records: of instruction, input and response.
    Result<Matrix> of_records(const Records& records, const Control* control = nullptr) const {
        return detail::made<Matrix>({}, [&](auto** out) {
            return fedhds_text_features_of_records(raw(), records.raw(), detail::raw(control), out);
        });
    }

    // The rows of the records' instructions alone: what RecordFacts has as `prompts`.
    Result<Matrix> of_prompts(const Records& records, const Control* control = nullptr) const {
        return detail::made<Matrix>({}, [&](auto** out) {
            return fedhds_text_features_of_prompts(raw(), records.raw(), detail::raw(control), out);
        });
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_text_features_free> owner_;
};

// Finds near copies in records that come one by one. It keeps a few hashes of each, and no text.
class NearCopies {
public:
    using Raw = fedhds_near_copies_t;

    // `options` is JSON such as {"extra_words": 6, "template_words": ["please", "task"]}.
    static Result<NearCopies> create(Text options = {}) {
        return detail::made<NearCopies>({options}, [&](Raw** out) { return fedhds_near_copies_new(options.raw(), out); });
    }

    // Takes over a handle of the C ABI.
    explicit NearCopies(Raw* raw) noexcept : owner_(raw) {}

    Result<void> add(Text instruction, Text input, Text response) {
        return detail::run({instruction, input, response}, [&] {
            return fedhds_near_copies_add(raw(), instruction.raw(), input.raw(), response.raw());
        });
    }

    Result<void> add(const Records& records) {
        return detail::run({}, [&] { return fedhds_near_copies_add_records(raw(), records.raw()); });
    }

    // A number for each record that came; near copies have the same one. It is what RecordFacts has as `copies`.
    Result<std::vector<std::uint32_t>> labels() const {
        const auto call = [&](std::uint32_t* to, std::size_t capacity, std::size_t* count) {
            return fedhds_near_copies_labels(raw(), to, capacity, count);
        };
        return detail::filled<std::uint32_t>(0, call);
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_near_copies_free> owner_;
};

#if defined(FEDHDS_MODELS)

// The records of the embedded data.
struct Records::Embedded {
    Records train;
    Records test;
};

inline Result<Records::Embedded> Records::embedded(Text json) {
    Raw* test = nullptr;
    Result<Records> train =
        detail::made<Records>({json}, [&](Raw** out) { return fedhds_records_embedded(json.raw(), out, &test); });
    if (!train) return train.error();
    return Embedded{std::move(train).value(), Records(test)};
}

#endif

// -------- selection methods

// Named numbers of rows in memory of the caller's: losses, ranks, lengths. The names live as long as this.
class Scores {
public:
    // One name for each column of `values`; a value may be NaN where there is nothing to say.
    Scores(std::vector<std::string> names, MatrixView values) : names_(std::move(names)), values_(values) {}

    std::size_t size() const noexcept { return names_.size(); }
    const std::string& name(std::size_t at) const { return names_.at(at); }
    MatrixView values() const noexcept { return values_; }

private:
    std::vector<std::string> names_;
    MatrixView values_;
};

// What a clusterer or selector of the caller's own looks at: records on a client, uploaded groups on the server. It is
// valid during the call.
class Rows {
public:
    explicit Rows(const fedhds_rows_t& rows) noexcept : rows_(rows) {}

    MatrixView points() const noexcept { return rows_.points; }
    std::size_t size() const noexcept { return rows_.points.rows; }
    // How many records each row stands for; empty where every row is one record.
    Span<const float> weights() const noexcept { return of(rows_.weights); }
    // The cluster of each row, -1 for none; empty where nothing was clustered before.
    Span<const std::int32_t> labels() const noexcept { return of(rows_.labels); }
    // The client of each row; empty where there is one.
    Span<const std::uint32_t> owners() const noexcept { return of(rows_.owners); }
    // How many scores each row has.
    std::size_t scores() const noexcept { return rows_.scores == nullptr ? 0 : rows_.scores->values.cols; }
    // The name of a score; `at` is below scores().
    std::string_view score_name(std::size_t at) const noexcept { return rows_.scores->names[at]; }
    // The scores, one row for each row, one column for each name; NaN where there is nothing to say.
    MatrixView score_values() const noexcept { return scores() == 0 ? MatrixView() : rows_.scores->values; }
    // Points that earlier rounds have covered, and the records that were trained on at each.
    MatrixView covered() const noexcept { return rows_.covered; }
    Span<const float> covered_mass() const noexcept {
        return {rows_.covered_mass, rows_.covered_mass == nullptr ? 0 : rows_.covered.rows};
    }

private:
    template <class V>
    Span<const V> of(const V* values) const noexcept {
        return {values, values == nullptr ? 0 : size()};
    }

    const fedhds_rows_t& rows_;
};

// How many rows a selector of the caller's own is to choose; the room that it is given has `count`.
struct Wanted {
    std::size_t count;
    // 0 where `count` is over all rows; else so many of each cluster, all of a smaller one, no noise.
    std::size_t per_cluster;
};

// A client's secret, which the server does not know, during one call of an upload stage.
class Secret {
public:
    explicit Secret(fedhds_secret_t* raw) noexcept : raw_(raw) {}

    // Draws secret random bytes; no draw comes twice.
    Result<void> draw(Span<std::uint8_t> bytes) {
        return detail::run({}, [&] { return fedhds_secret_draw(raw_, bytes.data(), bytes.size()); });
    }

private:
    fedhds_secret_t* raw_;
};

// What a client is about to send, for its upload stage: it may lower `groups` and write to the arrays; the fields stand in
// fedhds.h.
using Summary = fedhds_summary_t;

// Records of one uploaded group that were trained on; the fields stand in fedhds.h.
using TrainedGroup = fedhds_trained_group_t;

// What a server keeps of the selection between rounds: derive from it to have a memory of your own. Functions fail by an
// exception or by a Result.
class Memory {
public:
    // Points in the space of the uploaded centroids, and records trained on at each, above 0. They stay the memory's.
    struct Covered {
        MatrixView points;
        Span<const float> mass;
    };

    virtual ~Memory() = default;

    // A round begins; what an earlier one began and never committed is forgotten.
    virtual Result<void> begin(std::uint32_t round) { return static_cast<void>(round), Result<void>(); }
    // A round ended: what the accepted updates trained on, in the order of (client, cluster).
    virtual Result<void> commit(Span<const TrainedGroup> groups) = 0;
    // What is covered; asked for when a server is made, and after each of the other functions.
    virtual Covered covered() = 0;
    // Everything it knows, for a checkpoint.
    virtual std::vector<std::uint8_t> state() = 0;
    // Goes on from what `state` gave.
    virtual Result<void> resume(BytesView state) = 0;
    // The most points that it ever keeps, at least 1.
    virtual std::size_t bound() const = 0;
};

// A selection method: settings, and stages of the caller's own. Clients and servers that were made of it keep what it
// was then.
//
// Functions return nothing, or a Result<void> whose error makes the call fail; they live as long as the method, its
// clients and its servers.
class Method {
public:
    using Raw = fedhds_method_t;

    // Takes over a handle of the C ABI.
    explicit Method(Raw* raw) : kept_(std::make_shared<detail::Kept>()), owner_(raw) {}

    // A method from TOML or JSON: a preset and what differs from it.
    static Result<Method> create(Text settings) {
        return detail::made<Method>({settings}, [&](Raw** out) { return fedhds_method_new(settings.raw(), out); });
    }

    // Every setting, as JSON.
    Result<Bytes> settings() const {
        return detail::made<Bytes>({}, [&](auto** out) { return fedhds_method_settings(raw(), out); });
    }

    // Whether a client should run this method where a server named it: presets within the default limits.
    Result<void> check_allowed() const {
        return detail::run({}, [&] { return fedhds_method_check_allowed(raw(), nullptr); });
    }

    // The same within limits of one's own, in JSON or TOML.
    Result<void> check_allowed(Text limits) const {
        return detail::run({limits}, [&] { return fedhds_method_check_allowed(raw(), limits.raw()); });
    }

    // Takes `reduce(MatrixView features, std::uint64_t seed, Span<float> reduced)` as "client.reducer" or
    // "client.normalizer": it fills `columns` values for each row, row after row.
    template <class F>
    Result<void> set_reducer(Text stage, std::size_t columns, F&& reduce) {
        using Reduce = std::decay_t<F>;
        const auto call = [](fedhds_matrix_view_t features, std::uint64_t seed, std::size_t wide, float* reduced,
                              void* user_data) {
            const Span<float> to(reduced, features.rows * wide);
            return detail::guarded(*static_cast<Reduce*>(user_data), MatrixView(features), seed, to);
        };
        void* const user_data = keep(std::forward<F>(reduce));
        return detail::run(
            {stage}, [&] { return fedhds_method_set_reducer(raw(), stage.raw(), call, columns, user_data); });
    }

    // Takes `cluster(const Rows&, std::size_t wanted, std::uint64_t seed, Span<std::int32_t> labels)` as
    // "client.clusterer" or "server.clusterer": it fills a cluster number for each row, dense from 0, -1 for noise. `wanted`
    // is how many groups the method needs, 0 where it does not know.
    template <class F>
    Result<void> set_clusterer(Text stage, F&& cluster) {
        using Cluster = std::decay_t<F>;
        const auto call = [](const fedhds_rows_t* rows, std::size_t wanted, std::uint64_t seed, std::int32_t* labels,
                              void* user_data) {
            const Span<std::int32_t> to(labels, rows->points.rows);
            return detail::guarded(*static_cast<Cluster*>(user_data), Rows(*rows), wanted, seed, to);
        };
        void* const user_data = keep(std::forward<F>(cluster));
        return detail::run({stage}, [&] { return fedhds_method_set_clusterer(raw(), stage.raw(), call, user_data); });
    }

    // What a selector of the caller's own looks at, beside the points.
    struct Uses {
        // Whether labels have a say in how a total is chosen.
        bool groups = false;
        // Whether the covered points have.
        bool covered = false;
    };

    // Takes `select(const Rows&, Wanted, std::uint64_t seed, Span<std::uint32_t> chosen)` as "client.selector" or
    // "server.selector": it fills as many distinct row numbers as there is room for. A method that clusters, or has a memory,
    // for a selector which does not look at it is refused when a server or client is made.
    template <class F>
    Result<void> set_selector(Text stage, Uses uses, F&& select) {
        using Select = std::decay_t<F>;
        const auto call = [](const fedhds_rows_t* rows, std::uint64_t seed, std::size_t count, std::size_t per_cluster,
                              std::uint32_t* chosen, void* user_data) {
            const Span<std::uint32_t> to(chosen, count);
            return detail::guarded(
                *static_cast<Select*>(user_data), Rows(*rows), Wanted{count, per_cluster}, seed, to);
        };
        void* const user_data = keep(std::forward<F>(select));
        return detail::run({stage}, [&] {
            return fedhds_method_set_selector(raw(), stage.raw(), call, static_cast<std::uint8_t>(uses.groups),
                static_cast<std::uint8_t>(uses.covered), user_data);
        });
    }

    // Takes `upload(Summary&, Secret&)` as "client.upload", between grouping and sending: clipping, noise, groups that are
    // too small to show. It is called once a round.
    template <class F>
    Result<void> set_upload(F&& upload) {
        using Upload = std::decay_t<F>;
        const auto call = [](fedhds_summary_t* summary, fedhds_secret_t* raw_secret, void* user_data) {
            Secret secret(raw_secret);
            return detail::guarded(*static_cast<Upload*>(user_data), *summary, secret);
        };
        void* const user_data = keep(std::forward<F>(upload));
        return detail::run({}, [&] { return fedhds_method_set_upload(raw(), call, user_data); });
    }

    // Takes a memory as "server.memory". Servers of one method share it: a program with several servers makes a method for
    // each.
    Result<void> set_memory(std::shared_ptr<Memory> memory);

    Raw* raw() const noexcept { return owner_.get(); }

private:
    friend class Client;
    friend class Server;

    template <class F>
    void* keep(F&& function) {
        auto held = std::make_shared<std::decay_t<F>>(std::forward<F>(function));
        void* const user_data = held.get();
        kept_->push_back(std::move(held));
        return user_data;
    }

    std::shared_ptr<detail::Kept> kept_;
    detail::Owner<Raw, fedhds_method_free> owner_;
};

namespace detail {

// A function of an object of the caller's, called by the library: 0, or 1 with its message in `complaint`.
template <class T, class F>
std::int32_t on(void* object, F&& call) noexcept {
    T& own = *static_cast<T*>(object);
    const auto work = [&]() -> Result<void> { return call(own); };
    return guarded(work);
}

// Bytes that the library takes over.
inline Result<void> give(BytesView values, fedhds_bytes_t** to) {
    return run({}, [&] { return fedhds_bytes_new(values.data(), values.size(), to); });
}

}  // namespace detail

inline Result<void> Method::set_memory(std::shared_ptr<Memory> memory) {
    if (memory == nullptr) return Error(FEDHDS_STATUS_NULL_POINTER, "memory: expected an object, got none");
    fedhds_memory_t calls{};
    calls.struct_size = sizeof calls;
    calls.bound = memory->bound();
    calls.begin = [](std::uint32_t round, void* own) {
        return detail::on<Memory>(own, [&](Memory& it) { return it.begin(round); });
    };
    calls.commit = [](const fedhds_trained_group_t* groups, std::size_t count, void* own) {
        return detail::on<Memory>(own, [&](Memory& it) { return it.commit({groups, count}); });
    };
    calls.covered = [](fedhds_matrix_view_t* points, const float** mass, void* own) {
        return detail::on<Memory>(own, [&](Memory& it) -> Result<void> {
            const Memory::Covered covered = it.covered();
            if (covered.mass.size() != covered.points.rows()) {
                const std::string expected = "covered: expected a mass for each of " +
                                             std::to_string(covered.points.rows()) + " points, got ";
                return Error(FEDHDS_STATUS_INPUT, expected + std::to_string(covered.mass.size()));
            }
            *points = covered.points.raw();
            *mass = covered.mass.data();
            return {};
        });
    };
    calls.state = [](fedhds_bytes_t** state, void* own) {
        return detail::on<Memory>(own, [&](Memory& it) { return detail::give(it.state(), state); });
    };
    calls.resume = [](const std::uint8_t* state, std::size_t length, void* own) {
        return detail::on<Memory>(own, [&](Memory& it) { return it.resume({state, length}); });
    };
    void* const user_data = memory.get();
    kept_->push_back(std::move(memory));
    return detail::run({}, [&] { return fedhds_method_set_memory(raw(), &calls, user_data); });
}

// -------- client and server

// What a message is.
enum class MessageKind : std::int32_t {
    round_start = 1,
    client_summary = 2,
    selection_order = 3,
    global_adapter = 4,
    local_update = 5,
};

inline Result<MessageKind> message_kind(BytesView message) {
    std::int32_t kind = 0;
    Result<void> done = detail::run({}, [&] { return fedhds_message_kind(message.data(), message.size(), &kind); });
    if (!done) return done.error();
    return static_cast<MessageKind>(kind);
}

#if defined(FEDHDS_MODELS)
class Trained;
class Aggregator;
#endif
class Adapter;

// A response under a prompt, by the rows of their records: its mean loss over the response's tokens is asked for, in nats.
using Pair = fedhds_pair_t;

// What an app knows of its records beside their features, row i of record i.
struct RecordFacts {
    // Numbers of the records.
    const Scores* scores = nullptr;
    // Which near copy each record is of, as of NearCopies::labels; empty where nothing is known.
    Span<const std::uint32_t> copies{};
    // Features of the prompts alone, as of TextFeatures::of_prompts; without rows the features are taken.
    MatrixView prompts{};
    // Tokens of each record, prompt, response and end of sequence; empty where they are not known. A budget in tokens needs them.
    Span<const std::uint32_t> tokens{};
};

// A client. What it remembers survives in `state`.
class Client {
public:
    using Raw = fedhds_client_t;

    // A client of this number. `layers` is the number of equal parts of a feature vector, one for each layer of the
    // model, 1 for one vector; `seed` is the experiment's.
    static Result<Client> create(std::uint32_t number, const Method& method, std::size_t layers, std::uint64_t seed) {
        Result<Client> client = detail::made<Client>(
            {}, [&](Raw** out) { return fedhds_client_new(number, method.raw(), layers, seed, out); });
        if (client) client->kept_ = method.kept_;
        return client;
    }

    // Takes over a handle of the C ABI.
    explicit Client(Raw* raw) noexcept : owner_(raw) {}

    // Groups the records and reports the groups, in answer to the server's round start. Row i of the features is record
    // i.
    Result<Bytes> summarize(BytesView start, MatrixView features, const Control* control = nullptr) {
        return summarize(start, &features.raw(), features.rows(), {}, control);
    }

    // The same with scores of the records: a scorer of the app's own is the app calling its own function before. Row i of
    // the scores is record i.
    Result<Bytes> summarize(
        BytesView start, MatrixView features, const Scores& scores, const Control* control = nullptr) {
        return summarize(start, &features.raw(), features.rows(), {&scores}, control);
    }

    // The same with what else is known of the records.
    Result<Bytes> summarize(
        BytesView start, MatrixView features, const RecordFacts& facts, const Control* control = nullptr) {
        return summarize(start, &features.raw(), features.rows(), facts, control);
    }

    // The same for methods that look at no features, with the number of records.
    Result<Bytes> summarize(BytesView start, std::size_t records, const Control* control = nullptr) {
        return summarize(start, nullptr, records, {}, control);
    }

    // What the server's gate asks of it after its summary: the pairs whose losses `answer` takes. None where it does not ask,
    // or knows the answer. A client may decline by sending its summary as it is.
    Result<std::vector<Pair>> pilot(BytesView start) const {
        const auto call = [&](Pair* to, std::size_t capacity, std::size_t* count) {
            return fedhds_client_pilot(raw(), start.data(), start.size(), to, capacity, count);
        };
        return detail::filled<Pair>(0, call);
    }

    // The summary with the answer to the gate's question, to be sent in its place: the losses of `pilot`'s pairs, in their
    // order, NaN where there is none.
    Result<Bytes> answer(BytesView start, BytesView summary, Span<const float> losses) const {
        return detail::made<Bytes>({}, [&](auto** out) {
            return fedhds_client_answer(raw(), start.data(), start.size(), summary.data(), summary.size(),
                losses.data(), losses.size(), out);
        });
    }

    // The rows of the records to train on, ascending. None: the client does not train in this round.
    Result<std::vector<std::uint32_t>> choose(BytesView order, const Control* control = nullptr) const {
        // Choosing is work, so that it is not done twice to learn the size: no more rows than it summarized are chosen.
        std::size_t rows = 0;
        Result<void> counted = detail::run({}, [&] { return fedhds_client_groups(raw(), nullptr, 0, &rows); });
        if (!counted) return counted.error();
        const auto call = [&](std::uint32_t* to, std::size_t capacity, std::size_t* count) {
            return fedhds_client_choose(raw(), order.data(), order.size(), detail::raw(control), to, capacity, count);
        };
        using Chosen = Result<std::vector<std::uint32_t>>;
        return detail::explained<Chosen>([&] { return detail::filled<std::uint32_t>(rows, call); });
    }

    // `choose`, leaving out bad records where the order says that the gate is open. `losses(Span<const Pair>, Span<float>)`
    // fills in the loss of each pair, where there is one; it returns nothing or a Result<void>. What did not pass is
    // remembered, and not asked for again.
    template <class F>
    Result<std::vector<std::uint32_t>> choose_scored(BytesView order, F&& losses, const Control* control = nullptr) {
        using Losses = std::remove_reference_t<F>;
        const auto judge = [](const Pair* pairs, std::size_t count, float* to, void* user_data) {
            return detail::guarded(
                *static_cast<Losses*>(user_data), Span<const Pair>(pairs, count), Span<float>(to, count));
        };
        const auto call = [&](std::uint32_t* to, std::size_t capacity, std::size_t* count) {
            void* const user_data = const_cast<void*>(static_cast<const void*>(std::addressof(losses)));
            return fedhds_client_choose_scored(
                raw(), order.data(), order.size(), judge, user_data, detail::raw(control), to, capacity, count);
        };
        using Chosen = Result<std::vector<std::uint32_t>>;
        return detail::explained<Chosen>([&] { return detail::filled<std::uint32_t>(0, call); });
    }

    // Remembers rows that it has trained on: most methods prefer others in later rounds.
    Result<void> mark_trained(Span<const std::uint32_t> rows) {
        return detail::run({}, [&] { return fedhds_client_mark_trained(raw(), rows.data(), rows.size()); });
    }

    // Agrees to show groups of at least so many distinct records: where the method's are smaller, it answers without groups,
    // and does not train. It is not in its state.
    Result<void> set_least_group(std::size_t records) {
        return detail::run({}, [&] { return fedhds_client_set_least_group(raw(), records); });
    }

    // Agrees to train on at most so many records a round: an order that comes to more is refused. It is not in its state.
    Result<void> set_max_records(std::size_t records) {
        return detail::run({}, [&] { return fedhds_client_set_max_records(raw(), records); });
    }

    // Agrees to train adapters of at most this rank, where the server's aggregator takes ranks. It is not in its state.
    Result<void> set_rank(std::size_t rank) {
        return detail::run({}, [&] { return fedhds_client_set_rank(raw(), rank); });
    }

    // Which factors of the adapter the round trains, 0 both, 1 A alone, 2 B alone: the `factors` of a TrainConfig.
    Result<std::int32_t> factors() const {
        std::int32_t factors = 0;
        if (Result<void> done = detail::run({}, [&] { return fedhds_client_factors(raw(), &factors); }); !done)
            return done.error();
        return factors;
    }

    // Forgets what it was told at first contact and which round it answered last: for another federation, or a server that
    // begins again.
    Result<void> unpin() {
        return detail::run({}, [&] { return fedhds_client_unpin(raw()); });
    }

    // The group of each record after `summarize`, -1 for none.
    Result<std::vector<std::int32_t>> groups() const {
        const auto call = [&](std::int32_t* to, std::size_t capacity, std::size_t* count) {
            return fedhds_client_groups(raw(), to, capacity, count);
        };
        return detail::filled<std::int32_t>(0, call);
    }

    // Gives it the 32 bytes that its upload stage's secret is made of, for tests: what is drawn from a known secret protects
    // nobody. Without it the operating system gives one.
    Result<void> set_secret(Span<const std::uint8_t> secret) {
        if (secret.size() != 32)
            return Error(FEDHDS_STATUS_INPUT, "secret: expected 32 bytes, got " + std::to_string(secret.size()));
        return detail::run({}, [&] { return fedhds_client_set_secret(raw(), secret.data()); });
    }

    // What it remembers, to go on in another process; with the secret of its upload stage. It belongs on its disk alone.
    Result<Bytes> state() const {
        return detail::made<Bytes>({}, [&](auto** out) { return fedhds_client_state(raw(), out); });
    }

    // Goes on from `state`.
    Result<void> resume(BytesView state) {
        return detail::run({}, [&] { return fedhds_client_resume(raw(), state.data(), state.size()); });
    }

#if defined(FEDHDS_MODELS)
    // The message of what training on these rows of the order gave: those that `choose` answered, or fewer.
    Result<Bytes> update(BytesView order, Span<const std::uint32_t> rows, const Trained& trained) const;

    // The adapter that it trains from: the global one, at its own rank where that is smaller.
    Result<Adapter> start_from(const Adapter& global) const;
#endif

    Raw* raw() const noexcept { return owner_.get(); }

private:
    Result<Bytes> summarize(BytesView start, const fedhds_matrix_view_t* features, std::size_t records,
        const RecordFacts& facts, const Control* control) {
        std::vector<const char*> names;
        fedhds_scores_t given{nullptr, {nullptr, 0, 0, 0}};
        const Scores* const scores = facts.scores;
        if (scores != nullptr) {
            if (scores->size() != scores->values().cols()) {
                const std::string expected = std::to_string(scores->values().cols());
                return Error(FEDHDS_STATUS_INPUT, "scores: expected " + expected + " names, one for each column, got " +
                                                      std::to_string(scores->size()));
            }
            for (std::size_t i = 0; i < scores->size(); ++i) {
                if (Result<void> named = detail::run({scores->name(i)}, [] { return FEDHDS_STATUS_OK; }); !named)
                    return named.error();
                names.push_back(scores->name(i).c_str());
            }
            given = {names.data(), scores->values().raw()};
        }
        const auto fits = [&](const char* name, Span<const std::uint32_t> values) -> Result<void> {
            if (values.empty() || values.size() == records) return {};
            const std::string expected = std::string(name) + ": expected one for each of " + std::to_string(records);
            return Error(FEDHDS_STATUS_INPUT, expected + " records, got " + std::to_string(values.size()));
        };
        if (Result<void> whole = fits("copies", facts.copies); !whole) return whole.error();
        if (Result<void> whole = fits("tokens", facts.tokens); !whole) return whole.error();
        fedhds_summarize_options_t options{};
        options.struct_size = sizeof options;
        options.records = records;
        options.scores = scores == nullptr ? nullptr : &given;
        options.copies = facts.copies.empty() ? nullptr : facts.copies.data();
        options.prompts = facts.prompts.rows() == 0 ? nullptr : &facts.prompts.raw();
        options.tokens = facts.tokens.empty() ? nullptr : facts.tokens.data();
        return detail::explained<Result<Bytes>>([&] {
            return detail::made<Bytes>({}, [&](auto** out) {
                return fedhds_client_summarize_with(
                    raw(), start.data(), start.size(), features, &options, detail::raw(control), out);
            });
        });
    }

    std::shared_ptr<detail::Kept> kept_;
    detail::Owner<Raw, fedhds_client_free> owner_;
};

// A group that a client reported, and what became of it; the fields stand in fedhds.h.
using Group = fedhds_group_t;

// The order for a client, and how many records it asks for: 0 is no training in this round.
struct Order {
    Bytes message;
    std::size_t records;
};

// The server. Its state between a round's beginning and the first update survives in `state`.
class Server {
public:
    using Raw = fedhds_server_t;

    // `layers` and `seed` are those of its clients; adapters are joined by their mean, weighted by records.
    static Result<Server> create(const Method& method, std::size_t layers, std::uint64_t seed) {
        Result<Server> server =
            detail::made<Server>({}, [&](Raw** out) { return fedhds_server_new(method.raw(), layers, seed, out); });
        return kept(std::move(server), method);
    }

#if defined(FEDHDS_MODELS)
    // The same with one of the library's aggregators: JSON as {"kind": "fedadam", "learning_rate": 0.01}.
    static Result<Server> create_with_aggregator(
        const Method& method, std::size_t layers, std::uint64_t seed, Text aggregator) {
        Result<Server> server = detail::made<Server>({aggregator}, [&](Raw** out) {
            return fedhds_server_new_with_aggregator(method.raw(), layers, seed, aggregator.raw(), out);
        });
        return kept(std::move(server), method);
    }

    // The same with an aggregator of the caller's own, which lives as long as the server.
    static Result<Server> create_with_aggregator(
        const Method& method, std::size_t layers, std::uint64_t seed, std::shared_ptr<Aggregator> aggregator);
#endif

    // Takes over a handle of the C ABI.
    explicit Server(Raw* raw) noexcept : owner_(raw) {}

    // Begins a round with these clients; the message goes to each of them. `global` is the adapter that they train. Without
    // one the round selects and takes no updates: the app joins adapters itself, and `end_round` ends the round.
    Result<Bytes> begin_round(
        std::uint32_t round, Span<const std::uint32_t> clients, const Adapter* global = nullptr);

    // Takes in a message that client `from` sent: its summary before the selection, its update after it. After a failure the
    // message is as if it had not come: log the error, which names the client, and go on with the others.
    Result<void> receive(std::uint32_t from, BytesView message) {
        return detail::explained<Result<void>>([&] {
            return detail::run(
                {}, [&] { return fedhds_server_receive(raw(), from, message.data(), message.size()); });
        });
    }

    // Notes that a client is left out of the round, for a reason that the app's transport knows. The round's report says so.
    Result<void> leave_out(std::uint32_t client, Text reason) {
        return detail::run({reason}, [&] { return fedhds_server_leave_out(raw(), client, reason.raw()); });
    }

    // Selects from what came. Clients that stay silent are left out.
    Result<void> select(const Control* control = nullptr) {
        return detail::explained<Result<void>>(
            [&] { return detail::run({}, [&] { return fedhds_server_select(raw(), detail::raw(control)); }); });
    }

    // The order for a client that sent a summary.
    Result<Order> order(std::uint32_t client) const {
        std::size_t records = 0;
        Result<Bytes> message =
            detail::made<Bytes>({}, [&](auto** out) { return fedhds_server_order(raw(), client, out, &records); });
        if (!message) return message.error();
        return Order{std::move(message).value(), records};
    }

    // Every group of the round, after `select`.
    Result<std::vector<Group>> selection() const {
        const auto call = [&](Group* to, std::size_t capacity, std::size_t* count) {
            return fedhds_server_selection(raw(), to, capacity, count);
        };
        return detail::filled<Group>(0, call);
    }

    // Records that a client trained on, whose update the app accepted.
    struct TrainedRecords {
        std::uint32_t client;
        std::uint32_t records;
    };

    // Ends a round whose adapters the app joined itself; the method's memory learns what was trained on. A report as JSON:
    // `left_out` (reasons by client) and `trained` (records by client).
    Result<Bytes> end_round(Span<const TrainedRecords> trained) {
        std::vector<std::uint32_t> clients, records;
        for (const TrainedRecords& one : trained) clients.push_back(one.client), records.push_back(one.records);
        return detail::explained<Result<Bytes>>([&] {
            return detail::made<Bytes>({}, [&](auto** out) {
                return fedhds_server_end_round(raw(), clients.data(), records.data(), clients.size(), out);
            });
        });
    }

    // Leaves the round as if it had not selected anyone; what came in is dropped. Between rounds it does nothing.
    Result<void> abandon_round() {
        return detail::run({}, [&] { return fedhds_server_abandon_round(raw()); });
    }

    // What it knows, to go on in another process: the round, what aggregator and memory keep. Not once an update of the round
    // came in.
    Result<Bytes> state() const {
        return detail::explained<Result<Bytes>>(
            [&] { return detail::made<Bytes>({}, [&](auto** out) { return fedhds_server_state(raw(), out); }); });
    }

    // Goes on from `state`. In the middle of a round that began with a global adapter, `global` is that adapter.
    Result<void> resume(BytesView state, const Adapter* global = nullptr);

#if defined(FEDHDS_MODELS)
    // What a round ended with.
    struct Finished;

    // Ends the round with the joined adapter, and a report.
    Result<Finished> finish_round();
#endif

    Raw* raw() const noexcept { return owner_.get(); }

private:
    static Result<Server> kept(Result<Server> server, const Method& method, std::shared_ptr<void> own = nullptr) {
        if (server) server->kept_ = method.kept_, server->own_ = std::move(own);
        return server;
    }

    std::shared_ptr<detail::Kept> kept_;
    std::shared_ptr<void> own_;
    detail::Owner<Raw, fedhds_server_free> owner_;
};

#if defined(FEDHDS_MODELS)

// -------- models, adapters

// Settings of `Model::features` with the defaults of the library; the fields stand in fedhds.h.
struct FeaturesConfig : fedhds_features_config_t {
    // For `layers` and for `pooling`.
    enum : std::int32_t { all_layers = 0, last_layer = 1 };
    enum : std::int32_t { last_token = 0, mean = 1 };

    FeaturesConfig() noexcept : fedhds_features_config_t{} {
        if (!detail::mismatch()) fedhds_features_config_init(this, sizeof(fedhds_features_config_t));
    }
};

// A LoRA adapter's and its training's settings with the paper's values; the fields stand in fedhds.h.
struct TrainConfig : fedhds_train_config_t {
    TrainConfig() noexcept : fedhds_train_config_t{} {
        if (!detail::mismatch()) fedhds_train_config_init(this, sizeof(fedhds_train_config_t));
    }
};

// Sizes of a model.
using ModelInfo = fedhds_model_info_t;

// Whether a device can be used: "cpu", "cuda", "cuda:1". FEDHDS_STATUS_DEVICE: it is not there, or not compiled in.
inline Result<void> device_check(Text device) {
    return detail::run({device}, [&] { return fedhds_device_check(device.raw()); });
}

// The seed that the core's simulation gives to the training of a client in a round, from the experiment's seed.
inline std::uint64_t train_seed(std::uint64_t seed, std::uint32_t round, std::uint32_t client) noexcept {
    return fedhds_train_seed(seed, round, client);
}

// The seed that the core's simulation gives to the first adapter, from the experiment's seed.
inline std::uint64_t init_seed(std::uint64_t seed) noexcept { return fedhds_init_seed(seed); }

// A language model or encoder. It never changes, and any number of threads may use it.
class Model {
public:
    using Raw = fedhds_model_t;

    // Loads a Hugging Face folder (config.json, safetensors, tokenizer.json) or a .gguf file. With activations "int8" features, losses and
    // generation multiply bytes where the file's weights are in blocks (Q8_0, Q4_0, Q4_1): about twice as fast on processors that can.
    static Result<Model> load(Text path, Text device = "cpu", Text activations = "f32") {
        return detail::made<Model>({path, device, activations}, [&](Raw** out) {
            return fedhds_model_load_with(path.raw(), device.raw(), activations.raw(), out);
        });
    }

    // Takes over a handle of the C ABI.
    explicit Model(Raw* raw) noexcept : owner_(raw) {}

    Result<ModelInfo> info() const {
        ModelInfo info{};
        if (Result<void> done = detail::run({}, [&] { return fedhds_model_info(raw(), &info); }); !done)
            return done.error();
        return info;
    }

    // Features of records, one row each: the hidden states of the layers side by side. `adapter` is applied where it is
    // not null: leave it out for a frozen proxy. `prompt` is a template's name or JSON.
    Result<Matrix> features(const Records& records, Text prompt = "alpaca", const FeaturesConfig& config = {},
        const Adapter* adapter = nullptr, const Control* control = nullptr) const;

    // Continues a text greedily by at most `max_new_tokens` tokens.
    Result<std::string> generate(Text prompt, std::size_t max_new_tokens, const Adapter* adapter = nullptr,
        const Control* control = nullptr) const;

    // Scores of records as a JSON list, in order: id, category, loss (mean over the response's tokens, in nats), and
    // where text is generated output, rouge_l and exact_match. `max_new_tokens` of 0 generates nothing.
    Result<Bytes> evaluate(const Records& records, std::size_t max_new_tokens, Text prompt = "alpaca",
        const Adapter* adapter = nullptr, RougeFlavor flavor = RougeFlavor::rouge,
        const Control* control = nullptr) const;

    // A fresh adapter: A drawn by the seed, B zero.
    Result<Adapter> init_adapter(const TrainConfig& config, std::uint64_t seed) const;

    // Trains an adapter on records; their order and dropout come from the seed.
    Result<Trained> train(const Adapter& start, const Records& records, const TrainConfig& config, std::uint64_t seed,
        Text prompt = "alpaca", const Control* control = nullptr) const;

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_model_free> owner_;
};

// A LoRA adapter. It never changes.
class Adapter {
public:
    using Raw = fedhds_adapter_t;

    // An adapter as PEFT's tensors (a safetensors file) and settings (JSON).
    struct Files {
        Bytes tensors;
        Bytes config;
    };

    // An adapter that came as a message, and its round.
    struct Decoded;

    // Takes over a handle of the C ABI.
    explicit Adapter(Raw* raw) noexcept : owner_(raw) {}

    // Reads PEFT's folder: adapter_config.json and adapter_model.safetensors.
    static Result<Adapter> load(Text folder) {
        return detail::made<Adapter>({folder}, [&](Raw** out) { return fedhds_adapter_load(folder.raw(), out); });
    }

    // The adapter of `to_bytes`.
    static Result<Adapter> from_bytes(BytesView tensors, Text config) {
        return detail::made<Adapter>({config},
            [&](Raw** out) { return fedhds_adapter_from_bytes(tensors.data(), tensors.size(), config.raw(), out); });
    }

    // The adapter of `encode`, and its round.
    static Result<Decoded> decode(BytesView message);

    // The mean of adapters, weighted by the records that each was trained on, summed in this order.
    static Result<Adapter> mean(const std::vector<std::pair<const Adapter*, std::size_t>>& adapters) {
        std::vector<const Raw*> raw;
        std::vector<std::size_t> records;
        for (const auto& [adapter, count] : adapters) {
            raw.push_back(adapter == nullptr ? nullptr : adapter->raw());
            records.push_back(count);
        }
        return detail::made<Adapter>(
            {}, [&](Raw** out) { return fedhds_adapter_mean(raw.data(), records.data(), raw.size(), out); });
    }

    // Writes PEFT's folder. `base_model` is the name that PEFT shall find the base model by.
    Result<void> save(Text folder, Text base_model = {}) const {
        return detail::run(
            {folder, base_model}, [&] { return fedhds_adapter_save(raw(), folder.raw(), base_model.raw()); });
    }

    // Writes the file that llama.cpp's --lora reads, for a base model of this family and size.
    Result<void> save_gguf(const Model& model, Text path) const {
        return detail::run({path}, [&] { return fedhds_adapter_save_gguf(raw(), model.raw(), path.raw()); });
    }

    Result<Files> to_bytes() const {
        fedhds_bytes_t* config = nullptr;
        Result<Bytes> tensors =
            detail::made<Bytes>({}, [&](auto** out) { return fedhds_adapter_to_bytes(raw(), out, &config); });
        if (!tensors) return tensors.error();
        return Files{std::move(tensors).value(), Bytes(config)};
    }

    // The message that tells clients what a round starts from.
    Result<Bytes> encode(std::uint32_t round) const {
        return detail::made<Bytes>({}, [&](auto** out) { return fedhds_adapter_encode(raw(), round, out); });
    }

    // The values, tensor after tensor in the order of their names, row after row.
    Result<std::vector<float>> values() const {
        const auto call = [&](float* to, std::size_t capacity, std::size_t* count) {
            return fedhds_adapter_values(raw(), to, capacity, count);
        };
        return detail::filled<float>(0, call);
    }

    // An adapter of the same settings, names and shapes with these values, in the order of `values`.
    Result<Adapter> with_values(Span<const float> values) const {
        return detail::made<Adapter>({}, [&](Raw** out) {
            return fedhds_adapter_with_values(raw(), values.data(), values.size(), out);
        });
    }

    // Whether both have the same settings and the same values, bit for bit.
    Result<bool> equals(const Adapter& other) const {
        bool equal = false;
        Result<void> done = detail::run({}, [&] { return fedhds_adapter_equal(raw(), other.raw(), &equal); });
        if (!done) return done.error();
        return equal;
    }

    Raw* raw() const noexcept { return owner_.get(); }

    // The C handle, which is now the caller's to free.
    Raw* release() noexcept { return owner_.release(); }

private:
    detail::Owner<Raw, fedhds_adapter_free> owner_;
};

struct Adapter::Decoded {
    Adapter adapter;
    std::uint32_t round;
};

inline Result<Adapter::Decoded> Adapter::decode(BytesView message) {
    std::uint32_t round = 0;
    Result<Adapter> adapter = detail::made<Adapter>(
        {}, [&](Raw** out) { return fedhds_adapter_decode(message.data(), message.size(), out, &round); });
    if (!adapter) return adapter.error();
    return Decoded{std::move(adapter).value(), round};
}

// What a training gave.
class Trained {
public:
    using Raw = fedhds_trained_t;

    // Takes over a handle of the C ABI.
    explicit Trained(Raw* raw) noexcept : owner_(raw) {}

    // What a training of the caller's own gave: the adapter after it, the mean loss of each optimiser step in nats (empty
    // where none was measured), steps that were `skipped` since loss or gradient was not finite, and `tokens` that went
    // through the model.
    static Result<Trained> create(const Adapter& adapter, Span<const float> losses = {}, std::size_t skipped = 0,
        std::uint64_t tokens = 0) {
        return detail::made<Trained>({}, [&](Raw** out) {
            return fedhds_trained_new(adapter.raw(), losses.data(), losses.size(), skipped, tokens, out);
        });
    }

    // The adapter after training.
    Result<Adapter> adapter() const {
        return detail::made<Adapter>({}, [&](auto** out) { return fedhds_trained_adapter(raw(), out); });
    }

    // The mean loss of each optimiser step, in nats.
    Result<std::vector<float>> losses() const {
        const auto call = [&](float* to, std::size_t capacity, std::size_t* count) {
            return fedhds_trained_losses(raw(), to, capacity, count);
        };
        return detail::filled<float>(0, call);
    }

    Raw* raw() const noexcept { return owner_.get(); }

private:
    detail::Owner<Raw, fedhds_trained_free> owner_;
};

namespace detail {

inline const fedhds_adapter_t* raw(const Adapter* adapter) noexcept {
    return adapter == nullptr ? nullptr : adapter->raw();
}

}  // namespace detail

inline Result<Matrix> Model::features(const Records& records, Text prompt, const FeaturesConfig& config,
    const Adapter* adapter, const Control* control) const {
    return detail::made<Matrix>({prompt}, [&](auto** out) {
        return fedhds_model_features(
            raw(), records.raw(), detail::raw(adapter), prompt.raw(), &config, detail::raw(control), out);
    });
}

inline Result<std::string> Model::generate(
    Text prompt, std::size_t max_new_tokens, const Adapter* adapter, const Control* control) const {
    Result<Bytes> output = detail::made<Bytes>({prompt}, [&](auto** out) {
        return fedhds_model_generate(
            raw(), detail::raw(adapter), prompt.raw(), max_new_tokens, detail::raw(control), out);
    });
    if (!output) return output.error();
    return output->to_string();
}

inline Result<Bytes> Model::evaluate(const Records& records, std::size_t max_new_tokens, Text prompt,
    const Adapter* adapter, RougeFlavor flavor, const Control* control) const {
    return detail::made<Bytes>({prompt}, [&](auto** out) {
        return fedhds_model_evaluate(raw(), detail::raw(adapter), records.raw(), prompt.raw(), max_new_tokens,
            static_cast<std::int32_t>(flavor), detail::raw(control), out);
    });
}

inline Result<Adapter> Model::init_adapter(const TrainConfig& config, std::uint64_t seed) const {
    return detail::made<Adapter>({}, [&](auto** out) { return fedhds_model_init_adapter(raw(), &config, seed, out); });
}

inline Result<Trained> Model::train(const Adapter& start, const Records& records, const TrainConfig& config,
    std::uint64_t seed, Text prompt, const Control* control) const {
    return detail::made<Trained>({prompt}, [&](auto** out) {
        return fedhds_model_train(
            raw(), start.raw(), records.raw(), prompt.raw(), &config, seed, detail::raw(control), out);
    });
}

inline Result<Adapter> Client::start_from(const Adapter& global) const {
    return detail::made<Adapter>({}, [&](auto** out) { return fedhds_client_start_from(raw(), global.raw(), out); });
}

inline Result<Bytes> Client::update(
    BytesView order, Span<const std::uint32_t> rows, const Trained& trained) const {
    return detail::made<Bytes>({}, [&](auto** out) {
        return fedhds_client_update(
            raw(), order.data(), order.size(), rows.data(), rows.size(), trained.raw(), out);
    });
}

inline Result<Bytes> Server::begin_round(
    std::uint32_t round, Span<const std::uint32_t> clients, const Adapter* global) {
    return detail::explained<Result<Bytes>>([&] {
        return detail::made<Bytes>({}, [&](auto** out) {
            return fedhds_server_begin_round(
                raw(), round, clients.data(), clients.size(), detail::raw(global), out);
        });
    });
}

inline Result<void> Server::resume(BytesView state, const Adapter* global) {
    return detail::explained<Result<void>>([&] {
        return detail::run(
            {}, [&] { return fedhds_server_resume(raw(), state.data(), state.size(), detail::raw(global)); });
    });
}

// How a round ended.
struct Server::Finished {
    // The joined adapter; none where nobody trained, or what was joined is not taken: the adapter stays as it was.
    std::optional<Adapter> adapter;
    // JSON: `left_out` (reasons by client), `trained` (records by client), `aggregation` with `weights`, `limited`,
    // `measures` and `discarded`.
    Bytes report;
};

inline Result<Server::Finished> Server::finish_round() {
    return detail::explained<Result<Finished>>([&]() -> Result<Finished> {
        fedhds_adapter_t* adapter = nullptr;
        Result<Bytes> report = detail::made<Bytes>(
            {}, [&](auto** out) { return fedhds_server_finish_round(raw(), &adapter, out); });
        if (!report) return report.error();
        std::optional<Adapter> joined;
        if (adapter != nullptr) joined.emplace(adapter);
        return Finished{std::move(joined), std::move(report).value()};
    });
}

// One client's result of a round, for an aggregator of the caller's own.
struct ClientUpdate {
    std::uint32_t client;
    // Records trained on: the weight in the mean.
    std::size_t records;
    // Mean loss over the optimiser steps, in nats, where one was measured.
    std::optional<float> loss;
    // Names, shapes and settings of the global one, every value finite.
    Adapter adapter;
};

// What an aggregator made of a round.
struct Aggregated {
    // None: the global adapter stays.
    std::optional<Adapter> adapter;
    // JSON with any of `weights` (shares by client), `limited` (reasons by client), `measures` (numbers by name), `discarded`;
    // or empty.
    std::string report;
};

// How a server makes the clients' adapters one: derive from it to have one of your own. Functions fail by an exception or by
// a Result.
class Aggregator {
public:
    virtual ~Aggregator() = default;

    // A round begins from this global adapter; what an earlier one began and never finished is forgotten.
    virtual Result<void> begin(Adapter global, std::uint32_t round) = 0;
    // Takes in one update, in the order of clients; after a failure everything is as if it had not come.
    virtual Result<void> add(ClientUpdate update) = 0;
    // The joined adapter.
    virtual Result<Aggregated> finish() = 0;
    // What it keeps between rounds.
    virtual std::vector<std::uint8_t> state() { return {}; }
    // Goes on from what `state` gave.
    virtual Result<void> resume(BytesView state) {
        if (state.empty()) return {};
        return Error(FEDHDS_STATUS_INPUT, "state: expected none, got " + std::to_string(state.size()) + " bytes");
    }
    // The most bytes that it holds at once, for so many clients in a round and values in an adapter.
    virtual std::uint64_t memory(std::size_t clients, std::size_t values) {
        return static_cast<void>(clients), static_cast<void>(values), std::uint64_t{0};
    }
};

inline Result<Server> Server::create_with_aggregator(
    const Method& method, std::size_t layers, std::uint64_t seed, std::shared_ptr<Aggregator> aggregator) {
    if (aggregator == nullptr) return Error(FEDHDS_STATUS_NULL_POINTER, "aggregator: expected an object, got none");
    fedhds_aggregator_t calls{};
    calls.struct_size = sizeof calls;
    calls.begin = [](fedhds_adapter_t* global, std::uint32_t round, void* own) {
        return detail::on<Aggregator>(own, [&](Aggregator& it) { return it.begin(Adapter(global), round); });
    };
    calls.add = [](const fedhds_client_update_t* update, void* own) {
        return detail::on<Aggregator>(own, [&](Aggregator& it) {
            const bool measured = update->loss == update->loss;  // NaN is not
            return it.add({update->client, update->records,
                measured ? std::optional<float>(update->loss) : std::nullopt, Adapter(update->adapter)});
        });
    };
    calls.finish = [](fedhds_adapter_t** adapter, fedhds_bytes_t** report, void* own) {
        return detail::on<Aggregator>(own, [&](Aggregator& it) -> Result<void> {
            Result<Aggregated> made = it.finish();
            if (!made) return made.error();
            if (!made->report.empty()) {
                const auto* text = reinterpret_cast<const std::uint8_t*>(made->report.data());
                if (Result<void> given = detail::give({text, made->report.size()}, report); !given) return given;
            }
            if (made->adapter) *adapter = made->adapter->release();
            return {};
        });
    };
    calls.state = [](fedhds_bytes_t** state, void* own) {
        return detail::on<Aggregator>(own, [&](Aggregator& it) { return detail::give(it.state(), state); });
    };
    calls.resume = [](const std::uint8_t* state, std::size_t length, void* own) {
        return detail::on<Aggregator>(own, [&](Aggregator& it) { return it.resume({state, length}); });
    };
    calls.memory = [](std::size_t clients, std::size_t values, void* own) -> std::uint64_t {
        std::uint64_t bytes = 0;
        detail::on<Aggregator>(own, [&](Aggregator& it) { return bytes = it.memory(clients, values), Result<void>(); });
        return bytes;
    };
    void* const user_data = aggregator.get();
    Result<Server> server = detail::made<Server>({}, [&](Raw** out) {
        return fedhds_server_new_with_own_aggregator(method.raw(), layers, seed, &calls, user_data, out);
    });
    return kept(std::move(server), method, std::move(aggregator));
}

#else

inline Result<Bytes> Server::begin_round(
    std::uint32_t round, Span<const std::uint32_t> clients, const Adapter*) {
    return detail::explained<Result<Bytes>>([&] {
        return detail::made<Bytes>({}, [&](auto** out) {
            return fedhds_server_begin_round(raw(), round, clients.data(), clients.size(), nullptr, out);
        });
    });
}

inline Result<void> Server::resume(BytesView state, const Adapter*) {
    return detail::explained<Result<void>>([&] {
        return detail::run({}, [&] { return fedhds_server_resume(raw(), state.data(), state.size(), nullptr); });
    });
}

#endif  // FEDHDS_MODELS

}  // namespace fedhds

#endif  // FEDHDS_HPP
