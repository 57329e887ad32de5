// fedhds.hpp in a program that is compiled with -fno-exceptions: results are asked, and a stage fails by what it
// returns.

#include "check.h"

#include <fedhds.hpp>

#include <string>
#include <vector>

static_assert(FEDHDS_EXCEPTIONS == 0, "this program is compiled with -fno-exceptions");

namespace {

constexpr std::uint64_t seed = 5;

fedhds::Result<std::size_t> chosen(const fedhds::Method& method, fedhds::MatrixView features) {
    fedhds::Result<fedhds::Server> server = fedhds::Server::create(method, 1, seed);
    if (!server) return server.error();
    const fedhds::Result<fedhds::Bytes> start = server->begin_round(0, {0});
    if (!start) return start.error();
    fedhds::Result<fedhds::Client> client = fedhds::Client::create(0, method, 1, seed);
    if (!client) return client.error();
    const fedhds::Result<fedhds::Bytes> summary = client->summarize(*start, features);
    if (!summary) return summary.error();
    if (fedhds::Result<void> taken = server->receive(0, *summary); !taken) return taken.error();
    if (fedhds::Result<void> selected = server->select(); !selected) return selected.error();
    const fedhds::Result<fedhds::Order> order = server->order(0);
    if (!order) return order.error();
    const fedhds::Result<std::vector<std::uint32_t>> rows = client->choose(order->message);
    if (!rows) return rows.error();
    return rows->size();
}

}  // namespace

int main() {
    std::vector<float> values;
    for (int i = 0; i < 40; ++i) values.push_back(static_cast<float>(i * i % 11));
    const fedhds::Result<fedhds::MatrixView> features = fedhds::MatrixView::of(values, 4);
    CHECK(features);
    fedhds::Result<fedhds::Method> method =
        fedhds::Method::create("preset = \"fedhds_coverage\"\ncount = { budget = 3 }");
    CHECK(method);
    const fedhds::Result<std::size_t> count = chosen(*method, *features);
    CHECK(count && *count == 3);

    const auto failing = [](const fedhds::Rows&, std::size_t, std::uint64_t, fedhds::Span<std::int32_t>) -> fedhds::Result<void> {
        return fedhds::Error(FEDHDS_STATUS_INPUT, "it rains");
    };
    CHECK(method->set_clusterer("client.clusterer", failing));
    const fedhds::Result<std::size_t> failed = chosen(*method, *features);
    CHECK(!failed && failed.error().status() == FEDHDS_STATUS_STAGE);
    CHECK(std::string(failed.error().what()).find("it rains") != std::string::npos);
    return DONE;
}
