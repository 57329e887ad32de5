// What every process of the federation has to agree on, and the command line that says it.

#ifndef EDGE_FEDERATION_HPP
#define EDGE_FEDERATION_HPP

#include <fedhds.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace edge {

// The settings of a run. Server and clients are given the same.
struct Federation {
    std::string model;               // a Hugging Face folder or a GGUF file
    std::uint64_t seed = 3;          // of the experiment: every draw comes from it
    std::uint32_t clients = 4;       // how many, numbered from 0
    std::uint32_t rounds = 3;        // how many
    std::uint32_t budget = 8;        // records of a round, over all clients
    std::uint32_t task_records = 3;  // generated records of a task
    double alpha = 0.5;              // how unevenly tasks are dealt: the smaller, the more so
    double learning_rate = 1e-3;     // of the training on a client
    const char* prompt = "short";    // the template that turns records into text

    // The selection: facility location over groups that k-means found on each client.
    std::string method() const;

    // How the generated records are dealt to clients.
    std::string partition() const;

    // The seed that they are dealt by.
    std::uint64_t partition_seed() const { return seed; }

    // The records of one client. Each generates the whole data set and keeps its part: a real client reads what it has.
    fedhds::Records records(std::uint32_t client) const;

    // LoRA with the paper's values but for the learning rate.
    fedhds::TrainConfig training() const;

    // Whether this is one of the settings; then it is taken.
    bool take(const std::string& name, const std::string& value);
};

// Reads `--name value` pairs; `own` is asked for names that are not the federation's. Throws std::invalid_argument with
// the name.
template <class Own>
Federation parse(int count, char** arguments, Own&& own) {
    Federation federation;
    for (int at = 1; at < count; at += 2) {
        const std::string name = arguments[at];
        if (at + 1 >= count) throw std::invalid_argument(name + ": expected a value after it");
        const std::string value = arguments[at + 1];
        if (!federation.take(name, value) && !own(name, value)) {
            throw std::invalid_argument(name + ": expected one of the options of the README");
        }
    }
    if (federation.model.empty()) throw std::invalid_argument("--model: expected a folder or file of a model");
    return federation;
}

// A whole number of the command line, of `name`, in [least, most].
std::uint64_t whole(const std::string& name, const std::string& value, std::uint64_t least, std::uint64_t most);

}  // namespace edge

#endif
