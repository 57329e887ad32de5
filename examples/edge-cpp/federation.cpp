#include "federation.hpp"

#include <limits>
#include <stdexcept>

namespace edge {

namespace {

double above_zero(const std::string& name, const std::string& value) {
    std::size_t used = 0;
    double number = 0;
    try {
        number = std::stod(value, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != value.size() || !(number > 0)) {
        throw std::invalid_argument(name + ": expected a number above 0, got " + value);
    }
    return number;
}

}  // namespace

std::uint64_t whole(const std::string& name, const std::string& value, std::uint64_t least, std::uint64_t most) {
    std::size_t used = 0;
    std::uint64_t number = 0;
    try {
        if (!value.empty() && value[0] != '-') number = std::stoull(value, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != value.size() || number < least || number > most) {
        const std::string range = std::to_string(least) + " to " + std::to_string(most);
        throw std::invalid_argument(name + ": expected a whole number from " + range + ", got " + value);
    }
    return number;
}

std::string Federation::method() const {
    return "preset = \"fedhds_coverage\"\ncount = { budget = " + std::to_string(budget) + " }";
}

std::string Federation::partition() const {
    return "{\"kind\": \"dirichlet\", \"clients\": " + std::to_string(clients) +
           ", \"alpha\": " + std::to_string(alpha) + ", \"min_records\": 8}";
}

fedhds::Records Federation::records(std::uint32_t client) const {
    const std::string json =
        "{\"records_per_task\": " + std::to_string(task_records) + ", \"test_records_per_task\": 1}";
    const fedhds::Records::Embedded data = fedhds::Records::embedded(json).value();
    return data.train.part(partition(), partition_seed(), client).value();
}

fedhds::TrainConfig Federation::training() const {
    fedhds::TrainConfig config;
    config.learning_rate = learning_rate;
    return config;
}

bool Federation::take(const std::string& name, const std::string& value) {
    constexpr std::uint32_t many = 1000;
    const auto small = [&](std::uint32_t most) { return static_cast<std::uint32_t>(whole(name, value, 1, most)); };
    if (name == "--model") {
        model = value;
    } else if (name == "--seed") {
        seed = whole(name, value, 0, std::numeric_limits<std::uint64_t>::max());
    } else if (name == "--clients") {
        clients = small(many);
    } else if (name == "--rounds") {
        rounds = small(many);
    } else if (name == "--budget") {
        budget = small(many * many);
    } else if (name == "--task-records") {
        task_records = small(many);
    } else if (name == "--alpha") {
        alpha = above_zero(name, value);
    } else if (name == "--learning-rate") {
        learning_rate = above_zero(name, value);
    } else {
        return false;
    }
    return true;
}

}  // namespace edge
