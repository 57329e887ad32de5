// The transport of this example: frames over TCP on loopback. Four bytes of length, big-endian, then as many bytes.
//
// Only this file knows sockets. fedhds gives and takes messages as bytes, and an app sends them as it likes.

#ifndef EDGE_FRAMES_HPP
#define EDGE_FRAMES_HPP

#include <fedhds.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace edge {

using Frame = std::vector<std::uint8_t>;

// A socket that closes itself; -1 is none.
class Socket {
public:
    explicit Socket(int descriptor = -1) noexcept : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~Socket();

    int descriptor() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

// Failures of the functions below are std::system_error or std::runtime_error.

// Listens on a port of loopback; port 0 is any, and `port` becomes the one that it is.
Socket listen_on(std::uint16_t& port);

// Takes a connection that is waiting.
Socket accept_from(const Socket& listener);

// Connects to a port of loopback, and tries for so many seconds where nobody listens yet.
Socket connect_to(std::uint16_t port, int seconds);

// Sends one frame. A peer that takes nothing for ten seconds, or not all of it in a minute, counts as lost.
void send_frame(const Socket& socket, fedhds::BytesView bytes);

// No message of this federation is longer; a peer that claims so is not believed.
constexpr std::size_t longest_frame = std::size_t{64} << 20;

// The bytes that came from a peer, cut into frames.
class Inbox {
public:
    // Takes frames of at most so many bytes; a longer one is a failure before its bytes are here.
    void accept(std::size_t most) { most_ = most; }

    // Reads what is there, and waits where nothing is; false: the peer has closed.
    bool read(const Socket& socket);

    // The next whole frame, if there is one.
    std::optional<Frame> next();

private:
    std::vector<std::uint8_t> bytes_;
    std::size_t most_ = longest_frame;
};

// The bytes of a hello.
constexpr std::size_t hello_bytes = 4;

// The first thing that a client sends: its number.
Frame hello(std::uint32_t client);

// The number in a client's hello; none where the frame is no hello.
std::optional<std::uint32_t> number_of(const Frame& hello);

}  // namespace edge

#endif
