// The server: begins rounds, selects over the clients' groups, joins their adapters, and writes the last one.
//
// A client that is lost in the middle of a round is waited for, up to `--wait` seconds. When it comes back it is asked again
// for what is open. One that stays silent, or whose message is no good, is left out of the round; the others go on, and the
// next round asks it again.

#include "federation.hpp"
#include "frames.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <poll.h>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using edge::Frame;

struct Peer {
    edge::Socket socket;
    edge::Inbox inbox;
};

// The clients' connections. A client is known by its number, whichever connection it comes over.
class Clients {
public:
    Clients(edge::Socket listener, std::uint32_t count, std::chrono::seconds patience)
        : listener_(std::move(listener)), count_(count), patience_(patience) {}

    // Asks each of these clients with its frames, and waits until `take` has had an answer of each, with who sent it: the
    // connection says so, whatever the answer says. An answer that `take` has no use for counts as one. Gives the clients that
    // stayed silent for too long: their connections are closed, so that a late answer is not taken for that of a later round.
    using Take = std::function<void(std::uint32_t, const Frame&)>;
    std::vector<std::uint32_t> ask(std::map<std::uint32_t, std::vector<Frame>> open, const Take& take) {
        const Clock::time_point end = Clock::now() + patience_;
        for (const auto& [client, frames] : open) send(client, frames);
        while (!open.empty() && Clock::now() < end) {
            for (auto& [client, answer] : wait(open, end)) {
                if (open.count(client) == 0) continue;  // a second answer
                open.erase(client);
                take(client, answer);
            }
        }
        std::vector<std::uint32_t> silent;
        for (const auto& [client, frames] : open) {
            silent.push_back(client);
            if (known_.count(client) != 0) drop(client, "it stayed silent");
        }
        return silent;
    }

    // An empty frame to every client: the federation is over.
    void dismiss() {
        for (std::uint32_t client = 0; client < count_; ++client) send(client, {Frame()});
    }

private:
    using Clock = std::chrono::steady_clock;

    // Connections that may be open without having said who they are; beyond it the oldest is closed.
    static constexpr std::size_t most_strangers = 64;

    void send(std::uint32_t client, const std::vector<Frame>& frames) {
        const auto peer = known_.find(client);
        if (peer == known_.end()) return;  // it is asked when it comes
        try {
            for (const Frame& frame : frames) edge::send_frame(peer->second.socket, frame);
        } catch (const std::exception& error) {
            drop(client, error.what());
        }
    }

    void drop(std::uint32_t client, const char* why) {
        known_.erase(client);
        std::printf("client %u is gone (%s), waiting for it\n", client, why);
    }

    // What came from clients; new ones, and those that come back, are asked what is open.
    std::vector<std::pair<std::uint32_t, Frame>> wait(
        const std::map<std::uint32_t, std::vector<Frame>>& open, Clock::time_point end) {
        std::vector<pollfd> polled = {{listener_.descriptor(), POLLIN, 0}};
        for (const auto& [client, peer] : known_) polled.push_back({peer.socket.descriptor(), POLLIN, 0});
        for (const Peer& peer : strangers_) polled.push_back({peer.socket.descriptor(), POLLIN, 0});
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        const int most = static_cast<int>(std::clamp<decltype(left)>(left, 0, 1000));
        if (poll(polled.data(), polled.size(), most) < 0) return {};
        std::set<int> ready;
        for (const pollfd& one : polled) {
            if (one.revents != 0) ready.insert(one.fd);
        }

        std::vector<std::pair<std::uint32_t, Frame>> answers;
        std::vector<std::pair<std::uint32_t, std::string>> lost;
        for (auto& [client, peer] : known_) {
            if (ready.count(peer.socket.descriptor()) == 0) continue;
            try {
                const bool open_still = peer.inbox.read(peer.socket);
                while (auto frame = peer.inbox.next()) answers.emplace_back(client, std::move(*frame));
                if (!open_still) lost.emplace_back(client, "it closed its connection");
            } catch (const std::exception& error) {
                lost.emplace_back(client, error.what());
            }
        }
        for (const auto& [client, why] : lost) drop(client, why.c_str());
        greet(ready, open);
        if (ready.count(listener_.descriptor()) != 0) welcome();
        return answers;
    }

    // Takes a connection that is waiting; one that is gone again is nobody's loss.
    void welcome() {
        try {
            if (strangers_.size() >= most_strangers) strangers_.erase(strangers_.begin());
            strangers_.push_back({edge::accept_from(listener_), {}});
            strangers_.back().inbox.accept(edge::hello_bytes);  // a hello, and nothing longer
        } catch (const std::exception& error) {
            std::printf("a connection is not taken: %s\n", error.what());
        }
    }

    // Strangers that have said who they are become known.
    void greet(const std::set<int>& ready, const std::map<std::uint32_t, std::vector<Frame>>& open) {
        std::vector<Peer> still;
        for (Peer& peer : strangers_) {
            std::optional<Frame> frame;
            bool here = true;
            try {
                if (ready.count(peer.socket.descriptor()) != 0) here = peer.inbox.read(peer.socket);
                frame = peer.inbox.next();
            } catch (const std::exception&) {
                here = false;
            }
            const std::optional<std::uint32_t> client = frame ? edge::number_of(*frame) : std::nullopt;
            if (client && known_.count(*client) != 0) {
                std::printf("client %u is here already: a second one with its number is turned away\n", *client);
            } else if (client && *client < count_) {
                peer.inbox.accept(edge::longest_frame);
                std::printf("client %u is here\n", *client);
                known_.emplace(*client, std::move(peer));
                if (const auto asked = open.find(*client); asked != open.end()) send(*client, asked->second);
            } else if (!frame && here) {
                still.push_back(std::move(peer));
            }  // else it is no client of ours, or it left: its connection closes here
        }
        strangers_ = std::move(still);
    }

    edge::Socket listener_;
    std::uint32_t count_;
    std::chrono::seconds patience_;
    std::map<std::uint32_t, Peer> known_;
    std::vector<Peer> strangers_;
};

// Takes in what a client sent. A message that is no good leaves the round as if it had not come: it is logged, and all
// others go on. Whether it was good.
bool hear(fedhds::Server& server, std::uint32_t client, const Frame& message) {
    const fedhds::Result<void> taken = server.receive(client, message);
    if (!taken) std::printf("client %u is left out of the round: %s\n", client, taken.error().what());
    return taken.has_value();
}

// The round's report says of these that they stayed silent.
void note(fedhds::Server& server, const std::vector<std::uint32_t>& silent) {
    for (const std::uint32_t client : silent) {
        const fedhds::Result<void> noted = server.leave_out(client, "it stayed silent");
        if (!noted) std::printf("client %u: %s\n", client, noted.error().what());
    }
}

// One round; the joined adapter, none where nobody trained. What is thrown is no client's fault.
std::optional<fedhds::Adapter> run_round(fedhds::Server& server, Clients& clients,
    const std::vector<std::uint32_t>& numbers, std::uint32_t round, const fedhds::Adapter& adapter) {
    const Frame start = server.begin_round(round, numbers, &adapter).value().to_vector();
    std::map<std::uint32_t, std::vector<Frame>> asked;
    for (const std::uint32_t client : numbers) asked[client] = {start};
    std::set<std::uint32_t> heard;
    note(server, clients.ask(std::move(asked), [&](std::uint32_t client, const Frame& summary) {
        if (hear(server, client, summary)) heard.insert(client);
    }));

    server.select().value();
    const Frame global = adapter.encode(round).value().to_vector();
    asked.clear();
    std::size_t records = 0;
    for (const std::uint32_t client : heard) {
        // Who sent a summary that does not go with the others has none; the round's report says why.
        const fedhds::Result<fedhds::Order> order = server.order(client);
        if (!order) continue;
        records += order->records;
        // A client without records hears nothing more of this round.
        if (order->records > 0) asked[client] = {order->message.to_vector(), global};
    }
    std::printf("round %u: %zu records of %zu clients train\n", round, records, asked.size());
    note(server, clients.ask(std::move(asked),
                     [&](std::uint32_t client, const Frame& update) { hear(server, client, update); }));
    fedhds::Server::Finished finished = server.finish_round().value();
    std::printf("round %u: %s\n", round, finished.report.to_string().c_str());
    return std::move(finished.adapter);
}

void run(int count, char** arguments) {
    std::uint16_t port = 0;
    std::uint64_t wait = 600;
    std::string out;
    const edge::Federation federation =
        edge::parse(count, arguments, [&](const std::string& name, const std::string& value) {
            if (name == "--port") port = static_cast<std::uint16_t>(edge::whole(name, value, 0, 65535));
            if (name == "--wait") wait = edge::whole(name, value, 1, 1'000'000);
            if (name == "--out") out = value;
            return name == "--port" || name == "--wait" || name == "--out";
        });
    if (out.empty()) throw std::invalid_argument("--out: expected the folder that the adapter goes to");

    const fedhds::Model model = fedhds::Model::load(federation.model).value();
    const fedhds::Method method = fedhds::Method::create(federation.method()).value();
    fedhds::Server server = fedhds::Server::create(method, model.info()->layers, federation.seed).value();
    fedhds::Adapter adapter = model.init_adapter(federation.training(), fedhds::init_seed(federation.seed)).value();

    Clients clients(edge::listen_on(port), federation.clients, std::chrono::seconds(wait));
    std::printf("listening on port %u\n", unsigned{port});
    std::vector<std::uint32_t> numbers;
    for (std::uint32_t client = 0; client < federation.clients; ++client) numbers.push_back(client);
    for (std::uint32_t round = 0; round < federation.rounds; ++round) {
        if (auto joined = run_round(server, clients, numbers, round, adapter)) adapter = std::move(*joined);
    }
    clients.dismiss();
    adapter.save(out, "embedded").value();
    std::printf("the adapter is in %s\n", out.c_str());
}

}  // namespace

int main(int count, char** arguments) {
    std::signal(SIGPIPE, SIG_IGN);  // a peer that is gone is an error of `send`, not the end
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    try {
        run(count, arguments);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "server: %s\n", error.what());
        return 1;
    }
}
