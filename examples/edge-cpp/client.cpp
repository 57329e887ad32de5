// A client: answers the server from records that never leave it. It may be killed at any moment and started again.

#include "federation.hpp"
#include "frames.hpp"
#include "memory.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using edge::Frame;

// Seconds that it looks for a server that is not there.
constexpr int patience = 30;

class Device {
public:
    Device(const edge::Federation& federation, std::uint32_t number, std::string memory_file)
        : federation_(federation),
          number_(number),
          memory_file_(std::move(memory_file)),
          model_(fedhds::Model::load(federation.model).value()),
          records_(federation.records(number)),
          features_(model_.features(records_, federation.prompt).value()),
          client_(fedhds::Client::create(
              number, fedhds::Method::create(federation.method()).value(), model_.info()->layers, federation.seed)
                      .value()),
          memory_(edge::Memory::load(memory_file_)) {
        if (!memory_.state.empty()) {
            client_.resume(memory_.state).value();
            std::printf("client %u goes on from %s\n", number_, memory_file_.c_str());
        }
    }

    // The answer to a message of the server, if it wants one.
    std::optional<Frame> answer(const Frame& message) {
        switch (fedhds::message_kind(message).value()) {
            case fedhds::MessageKind::round_start:
                return summarize(message);
            case fedhds::MessageKind::selection_order:
                order_ = message;
                return std::nullopt;
            case fedhds::MessageKind::global_adapter:
                return train(message);
            default:
                throw std::runtime_error("expected a message of the server");
        }
    }

private:
    Frame summarize(const Frame& start) {
        const Frame summary = client_.summarize(start, features_).value().to_vector();
        memory_ = {client_.state().value().to_vector(), {}, {}};
        memory_.save(memory_file_);
        return summary;
    }

    Frame train(const Frame& message) {
        const fedhds::Adapter::Decoded global = fedhds::Adapter::decode(message).value();
        if (memory_.update.empty() || memory_.order != order_) {
            const std::vector<std::uint32_t> rows = client_.choose(order_).value();
            const std::uint64_t seed = fedhds::train_seed(federation_.seed, global.round, number_);
            const fedhds::Trained trained = model_
                                                .train(global.adapter, records_.subset(rows).value(),
                                                    federation_.training(), seed, federation_.prompt)
                                                .value();
            client_.mark_trained(rows).value();
            const fedhds::Bytes update = client_.update(order_, rows, trained).value();
            memory_ = {client_.state().value().to_vector(), order_, update.to_vector()};
            memory_.save(memory_file_);
            std::printf("client %u, round %u: trained on %zu records\n", number_, global.round, rows.size());
        }
        return memory_.update;
    }

    const edge::Federation& federation_;
    std::uint32_t number_;
    std::string memory_file_;
    fedhds::Model model_;
    fedhds::Records records_;
    fedhds::Matrix features_;
    fedhds::Client client_;
    edge::Memory memory_;
    Frame order_;
};

const char* name(fedhds::MessageKind kind) {
    return kind == fedhds::MessageKind::client_summary ? "summary" : "update";
}

// Answers until the server says that it is over: true; false where the connection was lost before.
bool serve(Device& device, std::uint32_t number, std::uint16_t port) {
    const edge::Socket socket = edge::connect_to(port, patience);
    edge::Inbox inbox;
    try {
        edge::send_frame(socket, edge::hello(number));
        while (inbox.read(socket)) {
            while (const std::optional<Frame> frame = inbox.next()) {
                if (frame->empty()) return true;
                if (const std::optional<Frame> answer = device.answer(*frame)) {
                    edge::send_frame(socket, *answer);
                    std::printf("client %u: sent its %s\n", number, name(fedhds::message_kind(*answer).value()));
                }
            }
        }
    } catch (const std::system_error& error) {
        std::printf("client %u: %s\n", number, error.what());
    }
    return false;
}

void run(int count, char** arguments) {
    std::uint16_t port = 0;
    std::optional<std::uint32_t> number;
    std::string memory;
    const edge::Federation federation =
        edge::parse(count, arguments, [&](const std::string& option, const std::string& value) {
            if (option == "--port") port = static_cast<std::uint16_t>(edge::whole(option, value, 1, 65535));
            if (option == "--number") number = static_cast<std::uint32_t>(edge::whole(option, value, 0, 999));
            if (option == "--memory") memory = value;
            return option == "--port" || option == "--number" || option == "--memory";
        });
    if (port == 0) throw std::invalid_argument("--port: expected the server's port");
    if (!number || *number >= federation.clients) throw std::invalid_argument("--number: expected one below --clients");
    if (memory.empty()) throw std::invalid_argument("--memory: expected the file that this client keeps");

    Device device(federation, *number, memory);
    while (!serve(device, *number, port)) std::printf("client %u: the server is gone, looking for it\n", *number);
}

}  // namespace

int main(int count, char** arguments) {
    std::signal(SIGPIPE, SIG_IGN);  // a server that is gone is an error of `send`, not the end
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    try {
        run(count, arguments);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "client: %s\n", error.what());
        return 1;
    }
}
