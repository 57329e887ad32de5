#include "frames.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/time.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace edge {

namespace {

constexpr std::size_t length_bytes = 4;

void check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

void prepare(const Socket& socket) {
    const int on = 1;
    const timeval patience{10, 0};
    // A peer that is gone without a word is found out within half a minute, so that it can come back under its number.
    const int idle = 10, again = 5, times = 3;
    check(setsockopt(socket.descriptor(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), "SO_KEEPALIVE");
    check(setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle), "TCP_KEEPIDLE");
    check(setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof again), "TCP_KEEPINTVL");
    check(setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times), "TCP_KEEPCNT");
    check(setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    check(setsockopt(socket.descriptor(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), "SO_SNDTIMEO");
}

void send_all(const Socket& socket, fedhds::BytesView bytes) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + std::chrono::minutes(1);
    for (std::size_t sent = 0; sent < bytes.size();) {
        // Who takes a byte now and then would hold up everybody else.
        if (Clock::now() >= end) throw std::runtime_error("it takes its message too slowly");
        const ssize_t now = send(socket.descriptor(), bytes.data() + sent, bytes.size() - sent, 0);
        if (now < 0 && errno == EINTR) continue;
        check(now < 0 ? -1 : 0, "send");
        sent += static_cast<std::size_t>(now);
    }
}

void put(std::vector<std::uint8_t>& to, std::uint32_t number) {
    for (const int shift : {24, 16, 8, 0}) to.push_back(static_cast<std::uint8_t>(number >> shift));
}

std::uint32_t get(const std::uint8_t* from) {
    return (std::uint32_t{from[0]} << 24) | (std::uint32_t{from[1]} << 16) | (std::uint32_t{from[2]} << 8) | from[3];
}

}  // namespace

Socket::~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
}

Socket listen_on(std::uint16_t& port) {
    Socket socket(::socket(AF_INET, SOCK_STREAM, 0));
    check(socket.descriptor(), "socket");
    const int on = 1;
    check(setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    check(bind(socket.descriptor(), reinterpret_cast<const sockaddr*>(&address), size), "bind");
    check(listen(socket.descriptor(), SOMAXCONN), "listen");
    check(getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
    port = ntohs(address.sin_port);
    return socket;
}

Socket accept_from(const Socket& listener) {
    Socket socket(accept(listener.descriptor(), nullptr, nullptr));
    check(socket.descriptor(), "accept");
    prepare(socket);
    return socket;
}

Socket connect_to(std::uint16_t port, int seconds) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + std::chrono::seconds(seconds);
    for (;;) {
        Socket socket(::socket(AF_INET, SOCK_STREAM, 0));
        check(socket.descriptor(), "socket");
        const sockaddr_in address = loopback(port);
        const int done = connect(socket.descriptor(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        if (done == 0) {
            prepare(socket);
            return socket;
        }
        if (Clock::now() >= end) check(done, "connect");
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

void send_frame(const Socket& socket, fedhds::BytesView bytes) {
    if (bytes.size() > longest_frame) throw std::runtime_error("a frame of " + std::to_string(bytes.size()) + " bytes");
    std::vector<std::uint8_t> length;
    put(length, static_cast<std::uint32_t>(bytes.size()));
    send_all(socket, length);
    send_all(socket, bytes);
}

bool Inbox::read(const Socket& socket) {
    std::uint8_t chunk[1 << 16];
    ssize_t got = -1;
    do {
        got = recv(socket.descriptor(), chunk, sizeof chunk, 0);
    } while (got < 0 && errno == EINTR);
    check(got < 0 ? -1 : 0, "recv");
    bytes_.insert(bytes_.end(), chunk, chunk + got);
    return got > 0;
}

std::optional<Frame> Inbox::next() {
    if (bytes_.size() < length_bytes) return std::nullopt;
    const std::size_t length = get(bytes_.data());
    if (length > most_) throw std::runtime_error("a frame of " + std::to_string(length) + " bytes");
    if (bytes_.size() - length_bytes < length) return std::nullopt;
    const auto begin = bytes_.begin() + length_bytes;
    const auto end = begin + static_cast<std::ptrdiff_t>(length);
    Frame frame(begin, end);
    bytes_.erase(bytes_.begin(), end);
    return frame;
}

Frame hello(std::uint32_t client) {
    Frame frame;
    put(frame, client);
    return frame;
}

std::optional<std::uint32_t> number_of(const Frame& hello) {
    if (hello.size() != hello_bytes) return std::nullopt;
    return get(hello.data());
}

}  // namespace edge
